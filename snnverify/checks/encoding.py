"""Laws of the stochastic rate encoding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from ..activation import Neuron
from ..content import Array, Content
from ..findings import Measure
from ..network import Branch, Layer, Network, Scale
from ..oracles import Oracle
from ..trace import Case
from . import check

FALSE_ALARM = 1e-9  # of one case; a suite of 10^4 cases raises a false alarm once in 10^5 runs


@dataclass(frozen=True, eq=False)
class Draw(Content):
    """A rate, a seed, and the size of what is drawn."""

    rate: float
    seed: int
    samples: int
    steps: int
    units: int = 64


def draws(rates: st.SearchStrategy[float]) -> st.SearchStrategy[Draw]:
    """Strategy for `Draw`."""
    return st.builds(Draw, rates, st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 24))


def _spikes(
    d: Draw, subject: Oracle, start: int = 0, stop: int | None = None, first: int = 0, samples: int | None = None
) -> Array:
    x = np.full((d.samples if samples is None else samples, d.units), d.rate)
    return np.asarray(subject.operator("poisson")(x, start, d.steps if stop is None else stop, d.seed, first))


RATES = st.sampled_from([0.001, 0.05, 0.25, 1 / 3, 0.5, 0.9, 0.999])


@check("operators", draws(RATES).map(lambda d: replace(d, units=1024)))
def unbiased(d: Draw, subject: Oracle) -> Iterator[Measure]:
    """Spikes of a rate p are Bernoulli(p): their number passes a two-sided exact binomial test at 1e-9 [Clopper & Pearson 1934]."""
    s = _spikes(d, subject)
    p = stats.binomtest(int(s.sum()), s.size, d.rate).pvalue
    yield Measure("1e-9 - p", FALSE_ALARM - p, detail=f"{int(s.sum())} spikes of {s.size} at rate {d.rate}")


@check("operators", draws(st.sampled_from([0.25, 0.5])))
def independent(d: Draw, subject: Oracle) -> Iterator[Measure]:
    """Neighbouring steps, samples and units agree as often as independent draws do: p^2 + (1 - p)^2 [exact binomial test at 1e-9]."""
    s = _spikes(d, subject)
    chance = d.rate**2 + (1 - d.rate) ** 2
    for axis, name in enumerate(("steps", "samples", "units")):
        a = np.moveaxis(s, axis, 0)
        half = len(a) // 2  # disjoint pairs, so that the agreements are independent of each other
        agree = a[0 : 2 * half : 2] == a[1 : 2 * half : 2]
        p = stats.binomtest(int(agree.sum()), agree.size, chance).pvalue
        yield Measure("1e-9 - p", FALSE_ALARM - p, where=name)
    for k in range(1, d.units // 2 + 1):  # by chance at most 2^-25 at a rate of 1/4 and 2 samples of 2 steps
        shifted = float(np.array_equal(s[:, 1:, :-k], s[:, :-1, k:]))
        yield Measure("a sample repeats another one's draws", shifted, where=f"shifted by {k} units")


@check("operators", draws(st.sampled_from([0.25, 0.5])))
def split_invariance(d: Draw, subject: Oracle) -> Iterator[Measure]:
    """Neither splitting the batch nor a longer or split run changes what a sample draws [counter-based generator, Salmon et al. 2011]."""
    whole = _spikes(d, subject)
    alone = _spikes(d, subject, first=d.samples - 1, samples=1)
    late = _spikes(d, subject, start=d.steps // 2)
    yield Measure("last sample alone differs", float((whole[:, -1:] != alone).sum()))
    yield Measure("second half alone differs", float((whole[d.steps // 2 :] != late).sum()))


@check("operators", draws(st.sampled_from([0.0, 1.0])))
def certain(d: Draw, subject: Oracle) -> Iterator[Measure]:
    """Rate 0 never fires and rate 1 always does [definition]."""
    yield Measure("spikes off", float((_spikes(d, subject) != bool(d.rate)).sum()))


@check("operators", draws(st.just(0.5)))
def seeded(d: Draw, subject: Oracle) -> Iterator[Measure]:
    """The same seed draws the same train, another seed another one [definition; equal by chance at most 2^-16]."""
    first, again = _spikes(d, subject), _spikes(d, subject)
    other = _spikes(Draw(d.rate, d.seed + 1, d.samples, d.steps, d.units), subject)
    yield Measure("differs on repetition", float((first != again).sum()))
    yield Measure("equal under another seed", float(np.array_equal(first, other)))
    # a seed added to the sample or the step would give neighbours each other's trains
    yield Measure("equal to the next sample", float(np.array_equal(first[:, 1:], other[:, :-1])))
    yield Measure("equal to the next step", float(np.array_equal(first[1:], other[:-1])))


@check("operators", draws(st.sampled_from([0.25, 0.5])))
def any_numbers(d: Draw, subject: Oracle) -> Iterator[Measure]:
    """A sample that is drawn out of a data set keeps the train of its own number, whichever others are drawn [counter-based generator: each sample has a counter of its own]."""
    relay = Network((d.units,), (Layer("relay", (Branch(Scale(1.0)),), Neuron()),))  # theta 1, no leak: spikes pass
    whole, first = _spikes(d, subject), d.seed % 2
    few = np.array(sorted({first, d.samples - 1, d.seed % d.samples}))  # two with a gap, or consecutive ones
    x = np.full((len(few), d.units), d.rate, np.float32)
    case = Case(relay, x, d.steps, "poisson", d.seed, few, "float32")
    for engine, memory in product(("numpy", "auto"), (1, 2**20)):
        spikes = subject.operator("simulate")(case, "spikes", memory=memory, engine=engine).spikes["relay"]
        where = f"samples {few.tolist()}, {engine}, {memory} bytes"
        yield Measure("spikes differ", float((spikes != whole[:, few]).sum()), where=where)


@check("operators", draws(st.sampled_from([0.25, 0.5])))
def simulated(d: Draw, subject: Oracle) -> Iterator[Measure]:
    """A simulation of the rates is one of the train that the encoder draws, however samples and steps are split [counter-based generator]."""
    relay = Network((d.units,), (Layer("relay", (Branch(Scale(1.0)),), Neuron()),))  # theta 1, no leak: spikes pass
    first = d.seed % 1000
    case = Case(relay, np.full((d.samples, d.units), d.rate), d.steps, "poisson", d.seed, first)
    train = _spikes(d, subject, first=first)
    for engine, memory in product(("numpy", "auto"), (1, 2**20)):
        trace = subject.operator("simulate")(case, "spikes", memory=memory, engine=engine)
        yield Measure("spikes differ", float((trace.spikes["relay"] != train).sum()), where=f"{engine}, {memory} bytes")
