"""Laws of the accuracy gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from ..content import Content
from ..findings import Finding, Measure
from ..gate import REQUIRED
from ..oracles import Oracle
from ..stats import Paired
from . import check


@dataclass(frozen=True, eq=False)
class Table(Content):
    """A paired table and a margin in hundredths of a percentage point."""

    n: int
    b: int
    c: int
    margin: int

    @property
    def paired(self) -> Paired:
        """The paired table."""
        return Paired(self.n, self.b, self.c)

    @property
    def limit(self) -> Fraction:
        """The margin as a fraction."""
        return Fraction(self.margin, 10_000)


@st.composite
def tables(draw: st.DrawFn, /, most: int = 200) -> Table:
    """Tables with few discordant samples, as conversions have."""
    n = draw(st.integers(20, most))
    b, c = draw(st.integers(0, min(12, n // 2))), draw(st.integers(0, min(8, n // 2)))
    return Table(n, b, c, draw(st.sampled_from([50, 100, 200, 300, 500])))


@dataclass(frozen=True, eq=False)
class Boundary(Content):
    """A true state of affairs whose drop is the margin: n samples, margin in points, share of samples only the SNN gets."""

    n: int
    margin: int
    p01: float


@check("operators", st.builds(Boundary, st.sampled_from([20, 40, 60]), st.sampled_from([3, 5, 10]),
                              st.integers(1, 40).map(lambda k: k / 100)))  # fmt: skip
def size(d: Boundary, subject: Oracle) -> Iterator[Measure]:
    """A conversion whose true drop is the margin passes in at most 5 % of data sets, by enumeration of every table [definition of a test's size]."""
    most = _passing(subject.operator("verdict"), d.n, d.margin)
    probability = (p10 := d.p01 + d.margin / 100, d.p01, 1 - p10 - d.p01)
    passes = 0.0
    for c, b_max in enumerate(most):
        b = np.arange(b_max + 1)
        table = np.stack([b, np.full_like(b, c), d.n - b - c], axis=1)
        passes += float(stats.multinomial.pmf(table, d.n, probability).sum()) if len(b) else 0.0
    yield Measure("false passes", passes, 0.05, where=f"n = {d.n}, margin {d.margin} points, p01 = {d.p01}")


@lru_cache(maxsize=64)
def _passing(verdict: Any, n: int, points: int) -> tuple[int, ...]:
    """Greatest b that passes, for c = 0, 1, ..., or -1; the region has no holes (`bound_is_monotone`)."""
    most, b = [], -1
    for c in range(n + 1):
        while b + 1 + c <= n and verdict(Paired(n, b + 1, c), Fraction(points, 100)) == "PASS":
            b += 1
        most.append(min(b, n - c))
    return tuple(most)


@check("operators", tables())
def bound_is_monotone(d: Table, subject: Oracle) -> Iterator[Measure]:
    """The bound grows with b and falls with c, and never lies below the observed drop [a worse table cannot look better]."""
    upper = subject.operator("exact_upper")
    here = upper(d.paired)
    yield Measure("bound below the drop", float(d.paired.drop) - here)
    yield Measure("falls with b", here - upper(Paired(d.n, d.b + 1, d.c)), 1e-6)
    yield Measure("grows with c", upper(Paired(d.n, d.b, d.c + 1)) - here, 1e-6)


@check("operators", tables())
def bound_decides(d: Table, subject: Oracle) -> Iterator[Measure]:
    """PASS is the bound at most the margin; FAIL is the observed drop over it, compared as fractions; else INCONCLUSIVE [stated rule]."""
    said, upper = subject.operator("verdict")(d.paired, d.limit), subject.operator("exact_upper")(d.paired)
    if said == "PASS":
        yield Measure("bound - margin", upper - float(d.limit), 1e-6)
    elif said == "FAIL":
        yield Measure("drop not over the margin", float(not Fraction(d.b - d.c, d.n) > d.limit))
    else:
        yield Measure("drop over the margin", float(Fraction(d.b - d.c, d.n) > d.limit))
        yield Measure("margin - bound", float(d.limit) - upper, 1e-6)


@check(
    "operators",
    st.builds(Table, st.sampled_from([100, 200, 500, 1000, 2000]), st.integers(1, 5), st.integers(0, 9), st.just(0)),
)
def exact_arithmetic(d: Table, subject: Oracle) -> Iterator[Measure]:
    """A drop equal to the margin is not over it, and one sample more is [Fractions; in floats 0.803 - 0.783 > 0.02]."""
    points = d.b  # the margin in whole percentage points
    b = points * d.n // 100 + d.c
    at, over = (subject.operator("verdict")(Paired(d.n, k, d.c), Fraction(points, 100)) for k in (b, b + 1))
    yield Measure("a drop at the margin fails", float(at == "FAIL"))
    yield Measure("a drop over the margin does not fail", float(over != "FAIL"))


@dataclass(frozen=True, eq=False)
class Place(Content):
    """Which required check is the broken one, and two T."""

    at: int
    early: int
    late: int


PLACES = st.builds(Place, st.integers(0, len(REQUIRED) - 1), st.just(4), st.just(32))


@check("operators", PLACES)
def fails_closed(d: Place, subject: Oracle) -> Iterator[Measure]:
    """Without a pass on at least one case of every required check nothing is let through, whatever the accuracy [DESIGN 8]."""
    judge: Any = subject.operator("gate")
    good, margin = {8: Paired(100, 0, 3)}, Fraction(5, 100)
    passed = [Finding(name, "model", "pass", "", "", 1) for name in REQUIRED]
    yield Measure("a full set does not pass", float(judge(good, margin, passed).outcome != "PASS"))
    for outcome in ("fail", "error", "unsupported", "unavailable", "xfail"):
        broken = [replace(f, outcome=outcome) if i == d.at else f for i, f in enumerate(passed)]
        yield Measure(f"{outcome} is let through", float(judge(good, margin, broken).outcome == "PASS"))
    idle = [replace(f, cases=0) if i == d.at else f for i, f in enumerate(passed)]
    yield Measure("no case is let through", float(judge(good, margin, idle).outcome == "PASS"))
    yield Measure("an absent check is let through", float(judge(good, margin, passed[1:]).outcome == "PASS"))
    twice = [*passed, replace(passed[d.at], outcome="unsupported", cases=0)]
    yield Measure("a pass covers another's absence", float(judge(good, margin, twice).outcome == "PASS"))
    stray = [*passed, Finding("model.other", "model", "fail", "", "", 1)]
    yield Measure("another failure is let through", float(judge(good, margin, stray).outcome == "PASS"))


@check("operators", PLACES.map(lambda p: replace(p, early=4 + p.at, late=32 * (p.at + 1))))
def judged_at_largest(d: Place, subject: Oracle) -> Iterator[Measure]:
    """The gate judges the largest T unless told otherwise [stated rule]."""
    judge: Any = subject.operator("gate")
    passed = [Finding(name, "model", "pass", "", "", 1) for name in REQUIRED]
    bad, good = Paired(100, 20, 0), Paired(100, 0, 3)
    margin = Fraction(5, 100)
    yield Measure(
        "the largest T is not judged", float(judge({d.early: bad, d.late: good}, margin, passed).outcome != "PASS")
    )
    yield Measure(
        "a bad largest T passes", float(judge({d.early: good, d.late: bad}, margin, passed).outcome != "FAIL")
    )
    yield Measure(
        "another T is not judged",
        float(judge({d.early: bad, d.late: good}, margin, passed, at=d.early).outcome != "FAIL"),
    )
