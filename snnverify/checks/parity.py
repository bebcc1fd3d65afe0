"""Parity with the exact reference: every oracle against `reference`, a star."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Clip, ClipFloor, Neuron
from ..bounds import potential_error
from ..content import Array
from ..findings import Measure
from ..network import INPUT, Branch, Conv, Dense, Layer, Network, Pool, Scale
from ..oracles import Oracle
from ..strategies import Conversion, conversions, convnets, exact_cases, rough_cases, wide_cases
from ..trace import Case, Trace, compare
from . import check
from .common import also, differences, identical, same, told


@check("simulator", exact_cases())
def exact(case: Case, subject: Oracle) -> Iterator[Measure]:
    """On exact cases every spike, potential, count, read-out and event equals the reference bit for bit [DESIGN 4: limit 0]."""
    ours, exactly = subject.run(case), reference.run(case)
    yield same(case, ours, exactly, "spikes differ")
    for name in exactly.spikes:
        for part in ("v", "v_peak", "v_end", "counts"):
            if getattr(ours, part) or not subject.families:  # a library need not tell its potentials
                a, b = getattr(ours, part)[name], getattr(exactly, part)[name]
                yield Measure(f"{part} differs", differences(a, b), where=name)
    yield Measure("read-out differs", differences(ours.readout, exactly.readout))
    for name, events in exactly.events.items() if ours.events or not subject.families else ():
        for kind, count in events.items():
            yield Measure(f"{kind} off", abs(ours.events[name][kind] - count), where=name)


@check("simulator", exact_cases())
def events(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Synaptic operations count the non-zero weights of every spike's fan-out, also where half of the weights are pruned [definition of Trace.events]."""
    layers = []
    for layer in case.network.layers:
        pruned = [replace(b.op, weight=b.op.weight * (np.indices(b.op.weight.shape).sum(0) % 2))
                  if isinstance(b.op, Dense | Conv) else b.op for b in layer.branches]  # fmt: skip
        branches = tuple(replace(b, op=op) for b, op in zip(layer.branches, pruned, strict=True))
        layers.append(replace(layer, branches=branches))
    case = replace(case, network=replace(case.network, layers=tuple(layers)))
    for tried in also(case, PRUNED, subject):
        ours, exactly = told(tried, subject, "events").events, reference.run(tried).events
        for name, expected in exactly.items():
            for kind, count in expected.items():
                yield Measure(f"{kind} off", abs(ours[name][kind] - count), where=name)


# Two units that spike in every step, into a convolution half of whose weights are zero.
PRUNED = Case(
    Network((2, 3), (
        Layer("relay", (Branch(Scale(1.0)),), Neuron()),
        Layer("conv", (Branch(Conv(np.array([[[1.0, 0.0], [0.0, 2.0]]])), "relay"),)),
    )),
    np.ones((1, 2, 3)),
    2,
)  # fmt: skip


@check("simulator", rough_cases())
def rough(case: Case, subject: Oracle) -> Iterator[Measure]:
    """On ordinary floats a causal divergence lies within the rounding bound of its potential [Higham 2002, eq. 3.5]."""
    ours, exactly = subject.run(case), reference.run(case)
    parted = compare(case.network, exactly, ours)
    x_max = float(np.abs(case.x).max())
    bounds = [potential_error(case.network, layer.name, case.steps, x_max) for layer in case.network.spiking]
    apart = 0.0 if np.isnan(parted.v_max) else parted.v_max
    yield Measure("potential error while spikes agree", apart, max(bounds), detail=str(parted))
    for p in parted.causal:
        limit = potential_error(case.network, p.layer, p.t + 1, x_max) / p.theta
        yield Measure("margin", p.margin, limit, where=p.layer, detail=str(p))


@check("operators", exact_cases())
def numpy_engine(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The numpy engine, too, equals the reference bit for bit on exact cases, also where `auto` takes the fused one [DESIGN 4: limit 0]."""
    run = subject.operator("simulate")
    for tried, exactly in ((case, reference.run(case)), (BURSTS, _exactly(BURSTS))):
        yield from identical(tried, run(tried, "full", engine="numpy"), exactly)


@check("operators", exact_cases() | rough_cases() | wide_cases())
def engines(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The engines give the same bits on exact cases; on ordinary floats a causal divergence lies within twice the rounding bound, one for either [DESIGN 4: limit 0; Higham 2002, eq. 3.5]."""
    run = subject.operator("simulate")
    for tried, exactly in ((WINDOWS, _exactly(WINDOWS)), (IMAGES, _exactly(IMAGES))):
        for record in ("full", "spikes"):
            yield from identical(tried, run(tried, record, engine="fused"), exactly)
    folded, fused = (run(case, "full", engine=engine) for engine in ("numpy", "fused"))
    yield from identical(case, run(case, "spikes", engine="fused"), fused)  # by shorter kernels
    if case.kind == "exact":
        yield from identical(case, folded, fused)
        return
    parted, x_max = compare(case.network, folded, fused), float(np.abs(case.x).max())
    for p in parted.causal:
        limit = 2 * potential_error(case.network, p.layer, p.t + 1, x_max) / p.theta
        yield Measure("margin", p.margin, limit, where=p.layer, detail=str(p))
    bounds = [potential_error(case.network, layer.name, case.steps, x_max) for layer in case.network.spiking]
    apart = 0.0 if np.isnan(parted.v_max) else parted.v_max
    yield Measure("potentials apart while spikes agree", apart, 2 * max(bounds), detail=str(parted))


@cache
def _exactly(case: Case) -> Trace:
    """What the reference gives for a case that is tried every time."""
    return reference.run(case)


# Two groups of two channels each, whose units fire more often than a byte counts.
BURSTS = Case(
    Network((4, 3), (
        Layer("in", (Branch(Conv(np.array([[[1.0], [0.5]], [[0.25], [0.75]]]), groups=2)),), Neuron(max_spikes=2)),
        Layer("out", (Branch(Conv(np.array([[[1.0, 0.5], [2.0, 0.25]]])), "in"),), Neuron(max_spikes=4)),
    )),
    np.arange(12.0).reshape(1, 4, 3) / 8,
    200,
    dtype="float32",
    kind="exact",
)  # fmt: skip


# Weight rows of which one fits into 16 bits, of which a window of four or a sum over channels does not; behind pools of
# units that fire in most steps. As many channels as kernels of 16 bits take.
_ODD = (2**14 + 1 + 2 * np.arange(32.0))[:, None, None]
WINDOWS = Case(
    Network((3, 8), (
        Layer("in", (Branch(Scale(1.0)),), Neuron()),
        Layer("average", (Branch(Pool("average", (4,)), "in"),)),
        Layer("sum", (Branch(Pool("sum", (2,)), "in"),)),
        Layer("window", (Branch(Conv(_ODD * [[1.0], [0.0], [0.0]]), "average"),), Neuron(theta=2.0**14)),
        Layer("sums", (Branch(Conv(_ODD * [[1.0], [-0.5], [1.5]]), "sum"),), Neuron(theta=2.0**15)),
        Layer("rows", (Branch(Conv(_ODD * [[1.0], [1.5], [1.0]]), "in"),), Neuron(theta=2.0**15)),
    )),
    np.arange(24.0).reshape(1, 3, 8)[:, ::-1] / 16,
    6,
    dtype="float32",
    kind="exact",
)  # fmt: skip


# Convolutions of small integer weights on frames that are full of spikes: strided, dilated, pooled, of two widths, and a
# dense layer on numbers of 8 bits; unlike in every channel and tap.
_RNG = np.random.default_rng(3)


def _bytes(*shape: int) -> Array:
    return _RNG.integers(-3, 5, shape) / 4


IMAGES = Case(
    Network((3, 6, 5), (
        Layer("in", (Branch(Scale(1.0)),), Neuron()),
        Layer("narrow", (Branch(Conv(_bytes(17, 3, 3, 3), padding=((1, 1), (1, 1))), "in"),), Neuron(theta=2.0)),
        Layer("strided", (Branch(Conv(_bytes(33, 17, 3, 3), _bytes(33), stride=(2, 1)), "narrow"),), Neuron(theta=4.0)),
        Layer("dilated", (Branch(Conv(_bytes(18, 17, 2, 2), dilation=(2, 3)), "narrow"),), Neuron(theta=1.5)),
        Layer("sum", (Branch(Pool("sum", (2, 2)), "narrow"),)),
        Layer("pooled", (Branch(Conv(_bytes(19, 17, 2, 2)), "sum"),), Neuron(theta=8.0)),
    )),
    _RNG.integers(2, 9, (1, 3, 6, 5)) / 8,
    5,
    dtype="float32",
    kind="exact",
)  # fmt: skip


QCFS = st.builds(
    ClipFloor, st.sampled_from([1, 2, 4, 8]), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.5, 0.25, 0.0])
)


CLIP = st.builds(Clip, st.sampled_from([0.25, 0.5, 1.0, 2.0]))


@check("operators", conversions() | convnets() | conversions(act=QCFS | CLIP))
def analog(drawn: Conversion, subject: Oracle) -> Iterator[Measure]:
    """On dyadic weights the ANN's activations equal the reference bit for bit [DESIGN 4: limit 0]."""
    ours, exactly = subject.operator("forward")(drawn.network, drawn.x), reference.forward(drawn.network, drawn.x)
    for name in exactly:
        if name != INPUT:
            yield Measure("activations differ", differences(ours[name], exactly[name]), where=name)


@check("operators", exact_cases())
def divergences_found(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Of spikes flipped in several samples the comparison names the earliest of each, with place and both counts, and nothing downstream of it [planted]."""
    true = reference.run(case)
    rng = np.random.default_rng(case.steps)
    first, last = (case.network.spiking[i].name for i in (0, -1))
    planted, flipped = set(), {k: np.array(s) for k, s in true.spikes.items()}
    for n in range(len(case.x) if case.encoding != "spikes" else case.x.shape[1]):
        name = first if n % 2 == 0 else last  # in every other sample nothing upstream of the flip has parted
        t, *unit = (int(rng.integers(k)) for k in (case.steps, *true.spikes[name].shape[2:]))
        flipped[name][(t, n, *unit)] ^= 1
        planted.add((name, t, n, tuple(unit)))
        for later in case.network.spiking[1:] if name == first else ():  # consequences, which are not causes
            if _downstream(case.network, later.name, first):
                flipped[later.name][t:, n] ^= 1
    found = subject.operator("compare")(case.network, true, replace(true, spikes=flipped))
    listed = {(p.layer, p.t, p.n, p.unit) for p in found.causal}
    yield Measure("planted flips not found as they are", float(len(planted - listed)))
    strays = [at for at in listed - planted if _downstream(case.network, at[0], first)]
    yield Measure("consequences taken for causes", float(len(strays)))
    differ = sum(int((flipped[k] != true.spikes[k]).sum()) for k in flipped)
    yield Measure("spikes that differ are miscounted", abs(found.spikes_differ - differ))
    yield Measure("equal traces differ", float(len(subject.operator("compare")(case.network, true, true).causal)))


def _downstream(network: Network, name: str, source: str) -> bool:
    """Whether a layer hangs on another one."""
    return name == source or any(
        b.source != INPUT and _downstream(network, b.source, source) for b in network[name].branches
    )
