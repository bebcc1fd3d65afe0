"""Parity with the exact reference: every oracle against `reference`, a star."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import reference
from ..activation import Neuron
from ..fidelity import reach
from ..findings import Measure
from ..network import INPUT
from ..oracles import Oracle
from ..strategies import Conversion, conversions, exact_cases, integer_cases, rough_cases
from ..trace import Case, compare
from . import check
from .common import differences, same


@check("simulator", exact_cases())
def exact(case: Case, subject: Oracle) -> Iterator[Measure]:
    """On exact cases every spike, potential, count, read-out and event equals the reference bit for bit [DESIGN 4: limit 0]."""
    ours, exactly = subject.run(case), reference.run(case)
    yield same(case, ours, exactly, "spikes differ")
    for name in exactly.spikes:
        for part in ("v", "v_peak", "v_end", "counts"):
            a, b = getattr(ours, part)[name], getattr(exactly, part)[name]
            yield Measure(f"{part} differs", differences(a, b), where=name)
    yield Measure("read-out differs", differences(ours.readout, exactly.readout))
    for name, events in exactly.events.items():
        for kind, count in events.items():
            yield Measure(f"{kind} off", abs(ours.events[name][kind] - count), where=name)


@check("simulator", rough_cases())
def rough(case: Case, subject: Oracle) -> Iterator[Measure]:
    """On ordinary floats a causal divergence lies within the rounding bound of its potential [Higham 2002, eq. 3.5]."""
    ours, exactly = subject.run(case), reference.run(case)
    parted = compare(case.network, exactly, ours)
    yield Measure("causal divergences listed", float(len(parted.causal)), limit=float("inf"), detail=str(parted))
    x_max = float(np.abs(case.x).max())
    for p in parted.causal:
        act = case.network[p.layer].act
        assert isinstance(act, Neuron)
        size, depth = reach(case.network, p.layer, x_max)
        v_max = float(np.max(np.abs(act.v_init))) + (p.t + 1) * size + p.theta
        # (depth + 1) roundings of each step's input, 2 of each step's potential, over p.t + 1 steps
        limit = 2.0**-24 * (p.t + 1) * ((depth + 1) * size + 2 * v_max) / p.theta * 1.01
        yield Measure("margin", p.margin, limit, where=p.layer, detail=str(p))


@check("simulator", integer_cases())
def integer(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Loihi's integer neuron equals the reference in every bit of v and every spike [Intel's recurrence, lava-dl 0.6.0 vectors]."""
    ours, exactly = subject.run(case), reference.run(case)
    yield same(case, ours, exactly, "spikes differ")
    for name in exactly.v:
        yield Measure("v differs", differences(ours.v[name], exactly.v[name]), where=name)


@check("operators", conversions())
def analog(drawn: Conversion, subject: Oracle) -> Iterator[Measure]:
    """On dyadic weights the ANN's activations equal the reference bit for bit [DESIGN 4: limit 0]."""
    ours, exactly = subject.operator("forward")(drawn.network, drawn.x), reference.forward(drawn.network, drawn.x)
    for name in exactly:
        if name != INPUT:
            yield Measure("activations differ", differences(ours[name], exactly[name]), where=name)
