"""What a measurement says of an estimate that does not price everything."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from ..findings import Measure
from ..oracles import Oracle
from . import check

Drawn = tuple[list[int], int, int, int]


@check("operators", st.tuples(st.lists(st.integers(90, 110), min_size=2, max_size=9), st.integers(40, 140),
                              st.integers(0, 60), st.sampled_from([0, 10, 50])))  # fmt: skip
def lower_bound(drawn: Drawn, subject: Oracle) -> Iterator[Measure]:
    """A verdict is that of every price that what has none could have: FAIL where the estimate fails at all of them, PASS where it holds at all of them, which it does at none too dear, so never; with every price it is that of Student's interval in the widened range [definition of a lower bound; Student, Biometrika 6:1, 1908]."""
    energies, least, more, percent = drawn
    energy, low, high, share = np.array(energies, float), float(least), float(least + more), percent / 100
    said = subject.operator("held_to")
    half = float(stats.t.isf(0.025, len(energy) - 1)) * energy.std(ddof=1) / math.sqrt(len(energy))
    ends = energy.mean() - half, energy.mean() + half

    def at(cheapest: float, dearest: float) -> str:
        """Verdict where what is missing costs from the one to the other."""
        floor, roof = (low + cheapest) * (1 - share), (high + dearest) * (1 + share)
        if ends[1] < floor or ends[0] > roof:
            return "FAIL"
        return "PASS" if floor <= ends[0] and ends[1] <= roof else "INCONCLUSIVE"

    limits = (low * (1 - share), high * (1 + share))
    if any(abs(a - b) < 1e-9 * b for a in ends for b in limits):
        return  # two ways to the quantile, each with roundings of its own, decide at a tie
    possible = {at(*prices) for prices in ((0.0, 0.0), (0.0, math.inf), (1e9, 1e9))}
    due = possible.pop() if len(possible) == 1 else "INCONCLUSIVE"
    place = f"{energies}: {low:g} to {high:g}, {percent} %"
    yield Measure("verdict off, all priced", float(said(energy, low, high, share, {}) != at(0.0, 0.0)), where=place)
    yield Measure("verdict off, MACs unpriced", float(said(energy, low, high, share, {"mac": 3}) != due), where=place)
