"""What several rooms measure with."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..content import Array
from ..findings import Measure
from ..trace import Case, Trace, compare


def differences(a: Array, b: Any) -> float:
    """Count entries that differ; all of them where the shapes do."""
    b = np.asarray(b)
    return float(np.sum(a != b)) if a.shape == b.shape else float(max(a.size, 1))


def same(case: Case, a: Trace, b: Trace, name: str) -> Measure:
    """Measure how many spike entries of two traces of one case differ."""
    d = compare(case.network, a, b)
    return Measure(name, float(d.spikes_differ), where=d.first.layer if d.first else "", detail=str(d))
