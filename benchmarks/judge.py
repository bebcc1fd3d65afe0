"""Who is right: the exact reference on sampled units of the obvious loop, and the loop on everybody's spikes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from snnverify import reference
from snnverify.bounds import potential_error
from snnverify.content import Array
from snnverify.network import INPUT, Branch, per_channel
from snnverify.reference.operations import bias, exact, fan_in
from snnverify.trace import Case, Trace, compare

UNITS, WORK = 6, 2**19  # units of a layer, and products of all of them together, that exact arithmetic is given


@dataclass(frozen=True)
class Agreement:
    """How many spikes of a simulator differ from the loop's, and whether rounding explains all of them.

    Parameters
    ----------
    differ, compared : int
    rounding : bool
        Every causal divergence lies inside the derived bound of its potential's error; of exact cases False.
    """

    differ: int
    compared: int
    rounding: bool = False

    @property
    def counts(self) -> bool:
        """Whether the simulator's time may be compared."""
        return self.differ == 0 or self.rounding

    def __str__(self) -> str:
        if self.differ == 0:
            return "yes"
        return f"{self.differ:,} differ, {'by rounding' if self.rounding else 'WRONG'}"


def judged(case: Case, trace: Trace, rng: np.random.Generator) -> tuple[int, int]:
    """Spikes that the reference was asked for, and how many of them the trace has otherwise.

    Some units of every layer, over all steps, exactly, on the spikes that the trace has of their sources.
    """
    asked = wrong = 0
    sent = cache(lambda n: {name: _sent(case, trace, name, n) for name in (INPUT, *trace.spikes)})
    for layer in case.network.spiking:
        shape = case.network.shapes[layer.name]
        fan = sum(math.prod(getattr(b.op, "weight", np.zeros((1, 1))).shape[1:]) for b in layer.branches)
        many = min(UNITS, max(1, WORK // (fan * case.steps)), math.prod(shape))
        for k in rng.choice(math.prod(shape), many, replace=False):
            index = tuple(int(i) for i in np.unravel_index(k, shape))
            n = int(rng.integers(case.x.shape[1 if case.encoding == "spikes" else 0]))
            inputs = {b.source: _handed_on(case, sent(n), b, index) for b in layer.branches}
            expected, _, _ = reference.unit(case, layer.name, n, index, inputs)
            at: Any = (slice(None), n, *index)
            asked += case.steps
            wrong += int((trace.spikes[layer.name][at] != np.array(expected)).sum())
    return asked, wrong


def _sent(case: Case, trace: Trace, source: str, n: int) -> Array:
    """Values [T, *shape] that the input or a spiking layer hands on in sample n."""
    if source == INPUT:
        constant = case.encoding == "constant"
        return np.broadcast_to(case.x[n], (case.steps, *case.x.shape[1:])) if constant else case.x[:, n]
    amplitude = getattr(case.network[source].act, "amplitude", 1)
    return np.asarray(trace.spikes[source][:, n] * per_channel(amplitude, case.network.shapes[source]))


def _handed_on(case: Case, sent: Mapping[str, Array], branch: Branch, index: tuple[int, ...]) -> Array:
    """Values [T, *shape] of a branch's source; of an analog one those alone that the unit reads, summed exactly."""
    network, source = case.network, branch.source
    if source in sent:
        return sent[source]
    found = np.zeros((case.steps, *network.shapes[source]))
    for read, _ in fan_in(branch.op, network.shapes[source], index):
        for inner in network[source].branches:
            given = _handed_on(case, sent, inner, read)
            terms = fan_in(inner.op, network.shapes[inner.source], read)
            for t in range(case.steps):
                found[(t, *read)] += float(sum((w * exact(given[(t, *i)]) for i, w in terms), bias(inner.op, read)))
    return found


def agreement(case: Case, loop: Trace, spikes: Mapping[str, Array]) -> Agreement:
    """Compare the spikes of every layer with the loop's."""
    compared = sum(s.size for s in loop.spikes.values())
    differ = sum(int((spikes[k] != s).sum()) for k, s in loop.spikes.items())
    if not differ or case.kind != "rough":
        return Agreement(differ, compared)
    parted = compare(case.network, loop, replace(loop, spikes=dict(spikes), v={}, v_peak={}))
    x_max = float(np.abs(case.x).max())
    limits = (potential_error(case.network, p.layer, p.t + 1, x_max) / p.theta for p in parted.causal)
    return Agreement(differ, compared, all(p.margin <= limit for p, limit in zip(parted.causal, limits, strict=True)))


def rates(loop: Trace) -> Iterator[tuple[str, float]]:
    """Spikes per unit and step of every layer."""
    return ((name, float(s.mean())) for name, s in loop.spikes.items())
