"""The stations between a trained ANN and its deployment, what they cost, and where single samples part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Clip, ClipFloor, Neuron, Relu
from ..content import Array, Content
from ..findings import Measure
from ..network import INPUT, Branch, Dense, Layer, Network, Scale, per_channel
from ..oracles import Oracle
from ..strategies import SHAPES, dyadic, layered
from ..trace import Case
from . import check
from .common import differences

# Balanced thresholds that are half a maximum keep everything dyadic, and T a power of two every rate.
EXACT: dict[str, Any] = {"mode": "1/2", "form": "balance"}
TINY = 2.0**-40  # means of at most 2^10 float64 numbers, each off by a few roundings of 2^-53


@dataclass(frozen=True, eq=False)
class Fall(Content):
    """An ANN, samples, labels and T."""

    network: Network
    x: Array
    labels: Array
    steps: int
    start: str = "half"


@st.composite
def falls(draw: st.DrawFn, /, act: st.SearchStrategy[Any] | None = None) -> Fall:
    """Small ANNs on samples of which every other one is classified at random; outputs have one axis."""
    network = draw(layered(3, st.just(Relu()) if act is None else act, SHAPES).filter(_classifies))
    x = draw(dyadic((draw(st.integers(2, 6)), *network.input_shape), 0, 8))
    classes = network.shapes[network.output.name][0]
    labels = reference.forward(network, x)[network.output.name].argmax(-1)
    guesses = draw(st.lists(st.integers(0, classes - 1), min_size=len(x), max_size=len(x)))
    labels[1::2] = np.array(guesses)[1::2]
    return Fall(network, x, labels, 2 ** draw(st.integers(0, 4)), draw(st.sampled_from(["half", "zero", "0.25"])))


def _classifies(network: Network) -> bool:
    return len(network.shapes[network.output.name]) == 1 and network.output.act is None


def _acts(network: Network, acts: dict[str, Any]) -> Network:
    return replace(network, layers=tuple(replace(v, act=acts.get(v.name, v.act)) for v in network.layers))


def _expected(d: Fall, made: Any) -> dict[str, tuple[Array, dict[str, Array]]]:
    """Classes and values in thresholds of every station, by the reference, from the definition."""
    share = {"half": 0.5, "zero": 0.0, "0.25": 0.25}[d.start]
    scales = made.scales
    ways = {
        "ann": d.network, "folded": made.ann, "clipped": _acts(made.ann, {k: Clip(v) for k, v in scales.items()}),
        "quantised": _acts(made.ann, {k: ClipFloor(d.steps, v, share) for k, v in scales.items()}),
    }  # fmt: skip
    out = made.ann.output.name
    found = {}
    for key, network in ways.items():
        values = reference.forward(network, d.x)
        found[key] = (
            values[out].argmax(-1),
            {k: values[k] / per_channel(v, values[k].shape[1:]) for k, v in scales.items()},
        )
    trace = reference.run(Case(made.snn, d.x, d.steps))
    found["spiking"] = trace.readout[-1].argmax(-1), {k: trace.counts[k] / d.steps for k in scales}
    return found


@check("operators", falls())
def stations(d: Fall, subject: Oracle) -> Iterator[Measure]:
    """Every station is what it claims: ANN, max(z, 0), that cut at the threshold, theta / T clip(floor(z T / theta + v), 0, T), and spikes; classes and distances of layers are the exact reference's, bit for bit on dyadic weights [definition; Bu et al. 2022, eq. 10]."""
    options = EXACT | {"v_init": d.start}
    w = subject.operator("waterfall")(d.network, d.x, d.labels, d.steps, options, {})
    exactly = _expected(d, subject.convert(d.network, d.x, **options))
    yield Measure("other stations", float(tuple(w.keys) != tuple(exactly)), detail=str(w.keys))
    before = ann = next(iter(exactly.values()))[1]
    for i, (key, (classes, values)) in enumerate(exactly.items()):
        yield Measure("classes differ", differences(classes, w.classes[i]), where=key)
        for j, k in enumerate(values):
            for said, other in (("moved", before[k]), ("apart", ann[k])):
                size = float(np.abs(values[k] - other).mean())
                off = abs(float(getattr(w, said)[i, j]) - size)
                yield Measure(f"{said} off", off, TINY * max(1.0, size), where=f"{key}: {k}")
            most = float(np.abs(values[k] - before[k]).max())
            yield Measure("most off", abs(float(w.most[i, j]) - most), TINY * max(1.0, most), where=f"{key}: {k}")
        before = values


GIVEN = st.sampled_from([{}, {"encoding": "poisson"}, {"precision": "int4"}, {"precision": "binary", "fraction": 3},
                         {"encoding": "poisson", "precision": "int8", "fraction": 6}])  # fmt: skip


def _unit(d: Fall) -> Fall:
    """The same on samples in [0, 1], as probabilities are."""
    return replace(d, x=d.x / max(1.0, float(d.x.max())))


@check("operators", st.tuples(falls().map(_unit), GIVEN))
def adds_up(drawn: tuple[Fall, dict[str, Any]], subject: Oracle) -> Iterator[Measure]:
    """The losses of the changes add up to the whole loss, and those of a change's layers to its own, in whole right answers; each paired table has that difference [telescoping sums; b - c = right before - right after]."""
    d, given = drawn
    w = subject.operator("waterfall")(d.network, d.x, d.labels, d.steps, {}, given)
    right = [int((row == d.labels).sum()) for row in w.classes]
    stations = 5 + len({"encoding", "precision", "fraction"} & given.keys())
    yield Measure("stations missing or invented", float(len(w.keys) != stations), detail=str(w.keys))
    yield Measure("sum off", float(abs(sum(w.lost(i) for i in range(len(right))) - (right[0] - right[-1]))))
    for i, key in enumerate(w.keys[1:], 1):
        p = w.paired(i - 1, i)
        b = int(((w.classes[i - 1] == d.labels) & (w.classes[i] != d.labels)).sum())
        yield Measure("paired table off", float(abs(p.b - b) + abs(p.b - p.c - (right[i - 1] - right[i]))), where=key)
        yield Measure("loss off", float(abs(w.lost(i) - (right[i - 1] - right[i]))), where=key)
        yield Measure(
            "agreement off", float(abs(w.agreement(0, i) - int((w.classes[0] == w.classes[i]).sum()))), where=key
        )
        part = subject.operator("waterfall_split")(d.network, d.x, d.labels, d.steps, {}, given, key)
        if part is not None:
            yield Measure("layers do not add up", float(abs(sum(part.lost().values()) - w.lost(i))), where=key)


@check("operators", falls())
def layers_in_turn(d: Fall, subject: Oracle) -> Iterator[Measure]:
    """With the first j layers cut at their thresholds, and no other, as many samples are right as the reference finds [definition]."""
    part = subject.operator("waterfall_split")(d.network, d.x, d.labels, d.steps, EXACT, {}, "clipped")
    made = subject.convert(d.network, d.x, **EXACT)
    names, out = list(made.scales), made.ann.output.name
    yield Measure("other layers", float(list(part.layers) != [*names, out]))
    for j in range(len(names) + 1):
        network = _acts(made.ann, {k: Clip(made.scales[k]) for k in names[:j]})
        right = int((reference.forward(network, d.x)[out].argmax(-1) == d.labels).sum())
        yield Measure("right answers off", float(abs(part.right[j] - right)), where=f"{j} layers")


def _only_input(network: Network, name: str) -> bool:
    return all(b.source == INPUT or (network[b.source].act is None and _only_input(network, b.source))
               for b in network[name].branches)  # fmt: skip


@check("operators", falls())
def constant_current(d: Fall, subject: Oracle) -> Iterator[Measure]:
    """Where a layer sees the input alone, its spikes over T are the T levels of the station before, in every unit [Bu et al. 2022, theorem 1: IF, soft reset, constant current, 0 <= v_0 < theta]."""
    options = EXACT | {"v_init": d.start}
    w = subject.operator("waterfall")(d.network, d.x, d.labels, d.steps, options, {})
    ann = w.chain.stations[1].network
    for j, k in enumerate(w.chain.scales):
        if _only_input(ann, k):
            yield Measure("rates differ", float(w.most[w.keys.index("spiking"), j]), where=k)


QCFS = st.builds(ClipFloor, st.just(4), st.sampled_from([0.5, 1.0, 2.0]), st.just(0.5))


@check("operators", falls(act=QCFS))
def identities(drawn: Fall, subject: Oracle) -> Iterator[Measure]:
    """A change that changes nothing costs nothing: an ANN of 4 levels that is cut at its thresholds and put on 4 levels gives the same outputs, and no station stands for what is not deployed [definition]."""
    d = replace(drawn, steps=4)
    w = subject.operator("waterfall")(d.network, d.x, d.labels, 4, {"form": "balance"}, {"encoding": "constant"})
    yield Measure("other stations", float(w.keys != ("ann", "folded", "clipped", "quantised", "spiking")))
    for i in (1, 2, 3):
        yield Measure("classes differ", differences(w.classes[0], w.classes[i]), where=w.keys[i])
        yield Measure("layers moved", float(w.most[i].max(initial=0)), where=w.keys[i])


@st.composite
def chains(draw: st.DrawFn, /) -> tuple[Network, Array, int, int]:
    """Two dense spiking layers of ordinary numbers and a read-out, inputs of F places, F and T."""
    rng, F = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.integers(1, 8))
    # driven hard, a word has next to no room left: all weights pull one way, and a spike takes next to nothing back
    hard = draw(st.booleans())
    gain, signed = (32.0, np.abs) if hard else (1.0, np.asarray)
    layers = tuple(
        Layer(f"l{i}", (Branch(Dense(gain * signed(rng.normal(size=(m, n))) * 2.0 ** rng.integers(-2, 2),
                                     signed(rng.normal(size=m))), f"l{i - 1}" if i else INPUT),),
              Neuron(v_init=0.5) if i < 2 else None)
        for i, (n, m) in enumerate(pairwise((3, 4, 3, 2)))
    )  # fmt: skip
    x = np.full((2, 3), 1 - 2.0**-F) if hard else np.rint(rng.uniform(0, 1, (2, 3)) * 2**F) / 2**F
    return Network((3,), layers), x, F, draw(st.integers(1, 12))


@check("operators", chains())
def fixed_numbers(drawn: tuple[Network, Array, int, int], subject: Oracle) -> Iterator[Measure]:
    """In fixed point every number is the nearest multiple of 2^-F, ties to even; every potential, exactly computed, is one of 2^-2F and fits into the word that is named, sign included [products of F places; IEEE 754 rint]."""
    network, x, F, T = drawn
    fixed = subject.operator("fixed_point")(network, F)
    for was, now in zip(network.layers, fixed.layers, strict=True):
        for part in ("weight", "bias"):
            a, b = (np.ravel(getattr(v.branches[0].op, part)) for v in (was, now))
            exact = [float(Fraction(round(Fraction(float(v)) * 2**F), 2**F)) for v in a]
            yield Measure(f"{part} off", differences(np.array(exact), b), where=was.name)
    trace = reference.run(Case(fixed, x, T))
    bits = int(subject.operator("word")(fixed, F, T, float(np.abs(x).max())))
    most = 0.0
    for name, v in trace.v_peak.items():
        units = np.ldexp(v, 2 * F)
        yield Measure("finer than the grid", float(np.abs(units - np.rint(units)).max()), where=name)
        # in the coarsest unit that holds them all: a layer behind whole spikes has F places, not 2 F
        places = next((p for p in range(2 * F) if np.array_equal(np.ldexp(v, p), np.rint(np.ldexp(v, p)))), 2 * F)
        most = max(most, float(np.abs(np.ldexp(v, places)).max()))
    yield Measure("bits of the greatest potential", math.log2(max(most, 1.0)), bits - 1.0)


@st.composite
def foldings(draw: st.DrawFn, /) -> tuple[Network, Array, int, str, int]:
    """A dense layer with a batch normalisation, one without, and a read-out; what a converter gets wrong, and where."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["", "bias", "batch normalisation", "mean", "unexplained"]))
    at = draw(st.integers(0, 2)) if kind in ("bias", "unexplained") else 0
    w = [rng.normal(size=s) for s in ((5, 4), (4, 5), (3, 4))]
    b = [rng.uniform(0.25, 1, s) for s in (5, 4, 3)]
    norm = Layer("bn", (Branch(Scale(rng.uniform(0.5, 2, 5), rng.uniform(0.25, 1, 5)), "l"),))
    layers = (
        Layer("l", (Branch(Dense(w[0], b[0])),)), norm, Layer("r0", (Branch(Scale(), "bn"),), Relu()),
        Layer("r1", (Branch(Dense(w[1], b[1]), "r0"),), Relu()), Layer("out", (Branch(Dense(w[2], b[2]), "r1"),)),
    )  # fmt: skip
    return Network((4,), layers), rng.uniform(0, 1, (12, 4)), at, kind, draw(st.integers(0, 2**16))


@check("operators", foldings())
def faults_named(drawn: tuple[Network, Array, int, str, int], subject: Oracle) -> Iterator[Measure]:
    """A lost bias, a batch normalisation with another scale or mean, and weights that changed places are told apart, in the layer they are in alone; of a faithful folding nothing is said [planted: z' - z is constant, affine in z, or neither]."""
    ann, x, at, kind, state = drawn
    rng = np.random.default_rng(state)
    op, scale = (ann[k].branches[0].op for k in ("l", "bn"))
    assert isinstance(op, Dense)
    assert isinstance(scale, Scale)
    factor, offset = np.asarray(scale.factor), np.asarray(scale.bias)
    if kind == "batch normalisation":
        factor = factor * rng.uniform(1.25, 2, 5)
    if kind == "mean":
        offset = offset + rng.uniform(0.25, 1, 5)
    assert op.bias is not None
    first = Dense(factor[:, None] * op.weight, factor * op.bias + offset)
    ops: list[Any] = [first, ann["r1"].branches[0].op, ann["out"].branches[0].op]
    if kind == "bias":
        ops[at] = replace(ops[at], bias=None)
    if kind == "unexplained":
        ops[at] = replace(ops[at], weight=np.roll(ops[at].weight, 1, 1))
    names = ("r0", "r1", "out")
    layers = tuple(Layer(name, (Branch(o, source),), None if name == "out" else Relu())
                   for name, o, source in zip(names, ops, (INPUT, *names), strict=False))  # fmt: skip
    found = subject.operator("faults")(ann, Network((4,), layers), x)
    said = "batch normalisation" if kind == "mean" else kind
    expected = {names[at]: said} if said else {}
    yield Measure("another answer", float(found != expected), where=kind or "none", detail=f"{found}, not {expected}")


# +1 in every other step, -16 in every 32nd: a mean input of 0, and 15 spikes before the first inhibition.
LATE = Fall(
    Network((1,), (
        Layer("a", (Branch(Dense(np.array([[0.5], [1 / 32], [2.0]]))),), Relu()),
        Layer("b", (Branch(Dense(np.array([[1.0, -16.0, 0.0]])), "a"),), Relu()),
        Layer("c", (Branch(Dense(np.array([[1.0], [0.5]])), "b"),)),
    )),
    np.ones((1, 1)), np.zeros(1, np.int64), 64, "zero",
)  # fmt: skip


@check("operators", falls() | st.just(LATE))
def parts_of_errors(d: Fall, subject: Oracle) -> Iterator[Measure]:
    """A unit's r - t is the sum of clipping, inherited, quantisation and unevenness; clipping is what lies over the threshold, quantisation at most max(v, 1 - v) / T; a unit parts where |r - t| is over that, and units are counted as the reference does [identity; Bu et al. 2022]."""
    options = EXACT | {"v_init": d.start}
    made, parted = subject.operator("part")(d.network, d.x, d.steps, options)
    analog = reference.forward(made.ann, d.x)
    trace = reference.run(Case(made.snn, d.x, d.steps))
    share = {"half": 0.5, "zero": 0.0, "0.25": 0.25}[d.start]
    q = max(share, 1 - share) / d.steps
    yield Measure("classes differ", differences(analog[made.ann.output.name].argmax(-1), parted.ann))
    yield Measure("SNN's classes differ", differences(trace.readout[-1].argmax(-1), parted.snn))
    for layer in parted.layers:
        scale = per_channel(made.scales[layer.layer], made.snn.shapes[layer.layer])
        t, r = np.maximum(analog[layer.layer], 0) / scale, trace.counts[layer.layer] / d.steps
        yield Measure("bound below the law", q - layer.bound, where=layer.layer)
        yield Measure("bound beyond law and rounding", layer.bound - q, 2.0**-10, where=layer.layer)
        over = np.abs(r - t) > layer.bound
        yield Measure(
            "parted units off", differences(over.reshape(len(d.x), -1).sum(1), layer.samples), where=layer.layer
        )
        for u in layer.worst:
            at = (u.sample, *u.unit)
            yield Measure("sum off", abs(sum(u.parts.values()) - float(r[at] - t[at])), TINY * max(1.0, float(t[at])),
                          where=layer.layer)  # fmt: skip
            over_theta = -max(float(t[at]) - 1, 0.0)
            yield Measure("clipping off", abs(u.parts["clipping"] - over_theta), TINY * max(1.0, float(t[at])),
                          where=layer.layer)  # fmt: skip
            yield Measure("quantisation over the law", abs(u.parts["quantisation"]) - q, TINY, where=layer.layer)
            left = (trace.v_end[layer.layer][at] - share * float(np.max(scale))) / float(np.max(scale))
            if not np.ndim(made.scales[layer.layer]):
                yield Measure("left over off", abs(u.left - left), TINY * max(1.0, abs(left)), where=layer.layer)
            if not sum(abs(v) for k, v in u.parts.items() if k != "clipping") and u.parts["clipping"]:
                yield Measure("clipped unit is not full", abs(float(r[at]) - 1), where=layer.layer)


# Activations 1 and 3/4 are both cut at 1/2: the ANN says class 0 by 1 to 15/16, the rates class 1 by 5/8 to 1/2.
TURNING = Fall(
    Network((1,), (
        Layer("a", (Branch(Dense(np.array([[1.0], [0.75]]))),), Relu()),
        Layer("b", (Branch(Dense(np.array([[1.0, 0.0], [0.0, 1.25]])), "a"),)),
    )),
    np.ones((1, 1)), np.zeros(1, np.int64), 4,
)  # fmt: skip


@check("operators", falls() | st.just(TURNING))
def turning_layers(d: Fall, subject: Oracle) -> Iterator[Measure]:
    """With the SNN's rates in the place of the first j layers' activations the class is the reference's; a sample turns in the last layer before which it was another class than the SNN's [definition]."""
    made, parted = subject.operator("part")(d.network, d.x, d.steps, EXACT)
    trace = reference.run(Case(made.snn, d.x, d.steps))
    out = made.ann.output.name
    told: dict[str, Array] = {}
    for layer in parted.layers:
        scale = per_channel(made.scales[layer.layer], made.snn.shapes[layer.layer])
        told[layer.layer] = trace.counts[layer.layer] / d.steps * scale
        expected = np.array([_from(made.ann, {INPUT: d.x[n : n + 1], **{k: v[n : n + 1] for k, v in told.items()}}, out)
                             for n in range(len(d.x))])  # fmt: skip
        yield Measure("classes differ", differences(expected, layer.classes), where=layer.layer)


def _from(network: Network, told: dict[str, Array], out: str) -> int:
    """Class of one sample when some layers' values are given: each other layer by the reference, on its sources alone."""
    values = dict(told)
    for layer in network.layers:
        if layer.name not in values:
            sources = list(dict.fromkeys(b.source for b in layer.branches))
            values[layer.name] = _single(layer, network, {s: values[s] for s in sources})
    return int(values[out].argmax(-1)[0])


def _single(layer: Layer, network: Network, values: dict[str, Array]) -> Array:
    """One layer on given values, branch by branch by the reference, then its activation."""
    total: Any = 0
    for b in layer.branches:
        shape = network.input_shape if b.source == INPUT else network.shapes[b.source]
        alone = Network(shape, (Layer("y", (Branch(b.op),)),))
        total = total + reference.forward(alone, values[b.source])["y"]
    act = Network(np.shape(total)[1:], (Layer("y", (Branch(Scale()),), layer.act),))
    return np.asarray(reference.forward(act, total)["y"])
