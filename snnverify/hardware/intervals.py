"""Printed numbers as exact intervals: what a report can have meant by its digits.

``0.81`` stands for every value that rounds to it, [0.805, 0.815], both ends included, because nobody says how halves
were rounded. Counts are exact unless they say to what they were rounded. All ends are fractions: nothing here rounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from ..errors import ConfigError

# Unit: (dimension, factors to the base unit). Two factors: the unit is read in both ways, and a claim may mean either.
UNITS: Mapping[str, tuple[str, tuple[Fraction, ...]]] = {
    "": ("count", (Fraction(1),)), "%": ("share", (Fraction(1, 100),)), "points": ("share", (Fraction(1, 100),)),
    "ratio": ("share", (Fraction(1),)),
    "threshold": ("potential", (Fraction(1),)),
    "bit": ("memory", (Fraction(1),)), "B": ("memory", (Fraction(8),)),
    "kB": ("memory", (Fraction(8000),)), "KiB": ("memory", (Fraction(8192),)),
    "KB": ("memory", (Fraction(8000), Fraction(8192))),
    "MB": ("memory", (Fraction(8 * 10**6), Fraction(8 * 2**20))), "MiB": ("memory", (Fraction(8 * 2**20),)),
    "pJ": ("energy", (Fraction(1, 10**12),)), "nJ": ("energy", (Fraction(1, 10**9),)),
    "uJ": ("energy", (Fraction(1, 10**6),)), "mJ": ("energy", (Fraction(1, 1000),)), "J": ("energy", (Fraction(1),)),
    "us": ("time", (Fraction(1, 10**6),)), "ms": ("time", (Fraction(1, 1000),)), "s": ("time", (Fraction(1),)),
    "min": ("time", (Fraction(60),)), "h": ("time", (Fraction(3600),)),
}  # fmt: skip
_PRINTED = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class Interval:
    """All numbers from `lo` to `hi`, ends included."""

    lo: Fraction
    hi: Fraction

    def __add__(self, other: Interval) -> Interval:
        """Sum of any two members."""
        return Interval(self.lo + other.lo, self.hi + other.hi)

    def __sub__(self, other: Interval) -> Interval:
        """Difference of any two members."""
        return Interval(self.lo - other.hi, self.hi - other.lo)

    def __mul__(self, other: Interval) -> Interval:
        """Product of any two members."""
        ends = [a * b for a in (self.lo, self.hi) for b in (other.lo, other.hi)]
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: Interval) -> Interval:
        """Quotient of any two members; `ZeroDivisionError` where the divisor can be 0."""
        if other.lo <= 0 <= other.hi:
            raise ZeroDivisionError
        return self * Interval(1 / other.hi, 1 / other.lo)

    def ceiling(self) -> Interval:
        """Least integers that are not below a member."""
        return Interval(Fraction(ceil(self.lo)), Fraction(ceil(self.hi)))

    def floor(self) -> Interval:
        """Greatest integers that are not above a member."""
        return Interval(Fraction(floor(self.lo)), Fraction(floor(self.hi)))

    def may(self, comparison: str, other: Interval) -> bool:
        """Whether some member stands to some member of `other` as said: ``=``, ``<=`` or ``>=``."""
        below, above = self.lo <= other.hi, self.hi >= other.lo
        return {"=": below and above, "<=": below, ">=": above}[comparison]


def exactly(value: int | Fraction) -> Interval:
    """A number that is what it is."""
    return Interval(Fraction(value), Fraction(value))


def printed(text: str, unit: str, where: str, *, exact: bool = False, rounded_to: str | None = None) -> list[Interval]:
    """Intervals, in base units, that a printed number can mean: one for each reading of its unit.

    Parameters
    ----------
    text : str
        Digits as printed: ``339,968``, ``-0.7``.
    unit : str
        A key of `UNITS`.
    where : str
        Field, for the error.
    exact : bool
        A definition rather than a measurement: no half unit around it.
    rounded_to : str, optional
        Of a count: the unit of its last significant place, ``1000``.

    Raises
    ------
    ConfigError
        No number, or no unit.
    """
    found = _PRINTED.fullmatch(text)
    if found is None:
        raise ConfigError(f"{where} = {text!r}: a number as printed, such as '0.81' or '339,968', in quotes")
    if unit not in UNITS:
        raise ConfigError(f"{where}: unit = {unit!r}: one of {', '.join(u or repr(u) for u in UNITS)}")
    dimension, factors = UNITS[unit]
    value = Fraction(text.replace(",", ""))
    if rounded_to is not None:
        half = printed(rounded_to, "", f"{where}: rounded_to")[0].lo / 2
    elif exact or dimension == "count":
        half = Fraction(0)
    else:
        half = Fraction(1, 2 * 10 ** len(found[3] or ""))
    return [Interval((value - half) * f, (value + half) * f) for f in factors]


def shown(interval: Interval, unit: str, reading: int = 0) -> str:
    """Write an interval in a unit: its ends to four significant digits at least, rounded outward."""
    factor = UNITS[unit][1][min(reading, len(UNITS[unit][1]) - 1)]
    lo, hi = interval.lo / factor, interval.hi / factor
    name = f" {unit}" if unit else ""
    if lo == hi and lo.denominator == 1:
        return f"{int(lo):,}{name}"
    size = max(abs(lo), abs(hi))
    places = next(p for p in range(1, 13) if p == 12 or size * 10**p >= 1000)  # four significant digits, outward
    grid = 10**places
    ends = floor(lo * grid) / grid, ceil(hi * grid) / grid
    if lo == hi:
        return f"{float(lo):,.{places}f}{name}"
    return f"{ends[0]:,.{places}f} to {ends[1]:,.{places}f}{name}"
