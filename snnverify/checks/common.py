"""What several rooms measure with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ..content import Array
from ..errors import Unsupported
from ..findings import Measure
from ..oracles import Oracle, family_of
from ..trace import Case, Trace, compare


def differences(a: Array, b: Any) -> float:
    """Count entries that differ; all of them where the shapes do."""
    b = np.asarray(b)
    return float(np.sum(a != b)) if a.shape == b.shape else float(max(a.size, 1))


def same(case: Case, a: Trace, b: Trace, name: str) -> Measure:
    """Measure how many spike entries of two traces of one case differ."""
    d = compare(case.network, a, b)
    return Measure(name, float(d.spikes_differ), where=d.first.layer if d.first else "", detail=str(d))


def told(case: Case, subject: Oracle, *parts: Literal["v", "v_peak", "events"]) -> Trace:
    """Run the case; `Unsupported` where the subject does not tell one of these parts."""
    trace = subject.run(case)
    for part in parts:
        if not getattr(trace, part):
            raise Unsupported(subject.name, f"it does not tell {part}")
    return trace


def also(case: Case, fixed: Case, subject: Oracle) -> tuple[Case, ...]:
    """Return the drawn case and one that is tried every time, where the subject's neuron classes express that."""
    try:
        if subject.families:
            _ = [family_of(v.act, subject.families) for v in fixed.network.spiking]
    except Unsupported:
        return (case,)
    return case, fixed


def identical(case: Case, ours: Trace, other: Trace) -> Iterator[Measure]:
    """Measure every spike, potential, count and read-out, as far as both hold them, of traces that should be the same."""
    yield same(case, ours, other, "spikes differ")
    yield Measure("read-out differs", differences(ours.readout, other.readout))
    for part in ("v", "v_peak", "v_end", "counts"):
        for name in getattr(ours, part).keys() & getattr(other, part).keys():
            a, b = getattr(ours, part)[name], getattr(other, part)[name]
            yield Measure(f"{part} differs", differences(a, b), where=name)
