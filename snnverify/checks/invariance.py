"""What must not change a run: batch, order, length, scale, memory, history."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..activation import Neuron
from ..findings import Measure
from ..network import Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale, per_channel
from ..oracles import Oracle
from ..simulate import MEMORY, TILE
from ..strategies import exact_cases
from ..trace import Case, Trace
from . import check
from .common import differences, same

ENGINES = ("numpy", "auto")


@check("simulator", exact_cases())
def prefix(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The first T' of T steps are those of a run of T' steps [causality]."""
    short = case.steps // 2 or 1
    head = replace(case, steps=short, x=case.x[:short] if case.encoding == "spikes" else case.x)
    whole, part = subject.run(case), subject.run(head)
    for name in part.spikes:
        yield Measure("spikes differ", differences(part.spikes[name], whole.spikes[name][:short]), where=name)
    for name in part.v:
        yield Measure("potentials differ", differences(part.v[name], whole.v[name][:short]), where=name)


@check("simulator", exact_cases())
def batch_invariance(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A sample does what it would do alone, and a batch in reverse is the reverse [samples are independent]."""
    whole = subject.run(case)
    axis = 1 if case.encoding == "spikes" else 0
    backward = subject.run(replace(case, x=np.flip(case.x, axis)))
    alone = subject.run(replace(case, x=case.x.take([0], axis)))
    for name in whole.spikes:
        yield Measure(
            "spikes of sample 0 alone", differences(alone.spikes[name], whole.spikes[name][:, :1]), where=name
        )
        yield Measure("spikes in reverse", differences(backward.spikes[name][:, ::-1], whole.spikes[name]), where=name)
    for name in whole.v:
        yield Measure("potentials of sample 0 alone", differences(alone.v[name], whole.v[name][:, :1]), where=name)
        yield Measure("potentials in reverse", differences(backward.v[name][:, ::-1], whole.v[name]), where=name)


@check("simulator", exact_cases())
def unit_permutation(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Renumbering the output channels of the last layer renumbers its spikes and nothing else [symmetry]."""
    last = case.network.output
    op = last.branches[0].op
    if (
        len(last.branches) > 1
        or not isinstance(op, Dense | Conv)
        or (isinstance(op, Conv) and (op.groups > 1 or op.transposed))
    ):
        return
    turned = replace(op, weight=op.weight[::-1], bias=None if op.bias is None else op.bias[::-1])
    layer = replace(last, branches=(replace(last.branches[0], op=turned),))
    there = subject.run(replace(case, network=replace(case.network, layers=(*case.network.layers[:-1], layer))))
    whole = subject.run(case)
    yield Measure("read-out differs", differences(there.readout[:, :, ::-1], whole.readout), where=last.name)
    if last.act is not None:
        yield Measure(
            "spikes differ", differences(there.spikes[last.name][:, :, ::-1], whole.spikes[last.name]), where=last.name
        )


@check("simulator", exact_cases())
def power_of_two_scale(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Input, biases, thresholds and potentials times 4 move no spike and scale potentials by 4 [homogeneity]."""
    layers = []
    for layer in case.network.layers:
        grown = tuple(replace(b, op=_grow(b.op)) for b in layer.branches)
        act = layer.act
        if isinstance(act, Neuron):
            sized = {k: getattr(act, k) * 4.0 for k in ("theta", "v_init", "v_reset", "v_rest", "amplitude")}
            act = replace(act, **sized, v_floor=None if act.v_floor is None else 4 * act.v_floor)
        layers.append(replace(layer, branches=grown, act=act))
    big = subject.run(replace(case, network=replace(case.network, layers=tuple(layers)), x=case.x * 4.0))
    small = subject.run(case)
    yield same(case, small, big, "spikes differ")
    for name in small.v:
        yield Measure("potentials differ", differences(big.v[name], small.v[name] * 4), where=name)


def _grow(op: Any) -> Any:
    """Scale what an operation adds; what it multiplies stays."""
    bias = getattr(op, "bias", None)
    return replace(op, bias=np.asarray(bias) * 4.0) if isinstance(op, Dense | Conv | Scale) and bias is not None else op


@check("simulator", exact_cases())
def no_memory_of_calls(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A run leaves nothing behind: the same case gives the same trace after another one [a simulator is a function]."""
    first = subject.run(case)
    subject.run(replace(case, x=1 - case.x))
    again = subject.run(case)
    yield same(case, first, again, "spikes differ")
    for name in first.v:
        yield Measure("potentials differ", differences(first.v[name], again.v[name]), where=name)


@check("simulator", exact_cases())
def trace_adds_up(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Counts are the sums of the spikes, v_end the last potential, and the read-out of a spiking output its counts times amplitude [definition of Trace]."""
    trace = subject.run(case)
    for name, s in trace.spikes.items():
        yield Measure("counts off", differences(trace.counts[name], s.sum(0)), where=name)
    for name, v in trace.v.items():
        yield Measure("v_end off", differences(trace.v_end[name], v[-1]), where=name)
    for name, events in trace.events.items():
        spikes = int(trace.spikes[name].sum()) if name in trace.spikes else 0
        yield Measure("spike events off", abs(events["spikes"] - spikes), where=name)
    out = case.network.output
    if isinstance(out.act, Neuron):
        worth = per_channel(out.act.amplitude, case.network.shapes[out.name])
        yield Measure("read-out off", differences(trace.readout[-1], trace.counts[out.name] * worth), where=out.name)


@check("operators", exact_cases())
def readouts(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The read-out kept after T' of T steps is that of a run of T' steps [causality]."""
    run = subject.operator("simulate")
    marks = sorted({1, (case.steps + 1) // 2, case.steps})
    kept = run(case, "counts", readout_at=marks)
    for row, mark in zip(kept.readout, marks, strict=True):
        head = replace(case, steps=mark, x=case.x[:mark] if case.encoding == "spikes" else case.x)
        yield Measure("read-out differs", differences(row, run(head, "counts").readout[-1]), where=f"T = {mark}")


@check("operators", exact_cases())
def memory_budget(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Splitting samples and steps to fit a memory budget changes no bit [state is carried, samples are independent]."""
    run = subject.operator("simulate")
    for tried, engine in [(case, engine) for engine in ENGINES] + [(GATED, "numpy")]:
        marks = sorted({1, tried.steps // 2 or 1})
        whole, split = (run(tried, "full", readout_at=marks, engine=engine, memory=m) for m in (MEMORY, 1))
        yield same(tried, whole, split, "spikes differ")
        for name in whole.v:
            yield Measure("potentials differ", differences(whole.v[name], split.v[name]), where=f"{engine}, {name}")
        yield Measure("read-out differs", differences(whole.readout, split.readout), where=engine)


# Max pooling of trains: the gate of the first sample has let four spikes through, that of the second starts at none.
GATED = Case(
    Network((1, 2), (
        Layer("in", (Branch(Scale()),), Neuron()),
        Layer("pool", (Branch(Pool("gate", (2,)), "in"),)),
        Layer("out", (Branch(Scale(), "pool"),), Neuron()),
    )),
    np.array([[[1.0, 0.5]], [[0.25, 0.5]]]),
    4,
)  # fmt: skip


@st.composite
def _batches(draw: st.DrawFn) -> Case:
    """Ordinary floats in more samples than a tile has, through layers wide enough for BLAS to have a choice of kernels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(50,), (2, 9), (3, 6, 6)]))
    axes, width, first = len(shape) - 1, draw(st.integers(5, 40)), Neuron(v_init=0.5)
    kernel = rng.normal(0, 0.3, (width if axes else 8 * width, shape[0], *(3,) * axes))
    op = Conv(kernel, padding=((1, 1),) * axes) if axes else Dense(kernel, rng.normal(0, 0.1, len(kernel)))
    units = len(kernel) * math.prod(shape[1:])
    layers = (
        Layer("first", (Branch(op),), first),
        Layer("flat", (Branch(Flatten(), "first"),)),
        Layer("last", (Branch(Dense(rng.normal(0, 1 / units**0.5, (10, units))), "flat"),), first),
    )
    x = rng.uniform(0, 1, (TILE + draw(st.integers(1, TILE + 9)), *shape))
    return Case(Network(shape, layers), x, draw(st.integers(1, 6)), dtype="float32")


@check("operators", exact_cases() | _batches())
def sharding(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Shards give the bits of the whole, whatever the number of threads: shards of whole tiles on ordinary floats, and any on exact cases [samples are independent, sums have a fixed order]."""
    run, axis = subject.operator("simulate"), 1 if case.encoding == "spikes" else 0
    samples = case.x.shape[axis]
    at = samples // 2 if case.kind == "exact" else TILE
    parts = {"head": slice(0, at), "tail": slice(at, samples), "head of tail": slice(at, at + 1)}
    for engine in ENGINES:
        whole = run(case, "counts", engine=engine, threads=1)
        yield from _apart(whole, run(case, "counts", engine=engine, threads=2), slice(None), f"{engine}, 2 threads")
        for name, rows in parts.items() if at else ():
            x = case.x[:, rows] if axis else case.x[rows]
            yield from _apart(whole, run(replace(case, x=x), "counts", engine=engine), rows, f"{engine}, {name}")


def _apart(whole: Trace, part: Trace, rows: slice, where: str) -> Iterator[Measure]:
    """Measure where a run of some rows parts from the run of all."""
    yield Measure("read-out differs", differences(part.readout, whole.readout[:, rows]), where=where)
    for name, v in part.v_end.items():
        yield Measure("potentials differ", differences(v, whole.v_end[name][rows]), where=f"{where}, {name}")
        yield Measure(
            "counts differ", differences(part.counts[name], whole.counts[name][rows]), where=f"{where}, {name}"
        )
