"""The forms of the values in ``[tool.snnverify.gate]``: each is read exactly, or refused with the form that is due."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

CONFIDENCES = ("0.9", "0.95", "0.975", "0.99")  # the levels whose error rates are enumerated
LOSSES = ("absolute", "squared")
OPERATIONS = ("synop", "mac", "update", "spike", "hop", "hop_ew", "hop_ns")  # of `hardware.counts`, above the gate
JOULES = {"J": 12, "mJ": 9, "uJ": 6, "µJ": 6, "nJ": 3, "pJ": 0}  # powers of ten of a picojoule


@dataclass(frozen=True)
class Limit:
    """Greatest drop: a share of the samples (1/100 is one point), or of the accuracy that it is measured against."""

    share: Fraction
    relative: bool = False

    def __str__(self) -> str:
        return f"{float(100 * self.share):g} {'% relative' if self.relative else 'points'}"


def _number(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError
    number = Decimal(str(value))  # the shortest decimal that means a float
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise ValueError
    return Fraction(number)


def _at_least(least: Fraction | int, what: str, most: float = float("inf")) -> Callable[[Any], Fraction]:
    def form(value: Any) -> Fraction:
        try:
            number = _number(value)
        except ValueError:
            raise ValueError(what) from None
        if not least <= number <= most:
            raise ValueError(what)
        return number

    return form


def _positive(what: str) -> Callable[[Any], Fraction]:
    def form(value: Any) -> Fraction:
        number = _at_least(0, what)(value)
        if not number:
            raise ValueError(what)
        return number

    return form


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("an integer >= 1")
    return value


def _quantity(value: Any, units: Sequence[str], what: str) -> tuple[Fraction, str]:
    """Split ``"1.0 points"`` into a number >= 0 and one of the units."""
    parts = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(.*?)\s*", value) if isinstance(value, str) else None
    if parts is None or parts[2] not in units:
        raise ValueError(what)
    try:
        return _number(Decimal(parts[1])), parts[2]
    except (ValueError, InvalidOperation):
        raise ValueError(what) from None


def drop(value: Any) -> Limit:
    """Read a drop with its unit; ValueError with the form where it is none."""
    what = 'a number from 0 to 100 with its unit, such as "1.0 points" or "1.0 % relative"'
    number, unit = _quantity(value, ("points", "point", "% relative"), what)
    if number > 100:
        raise ValueError(what)
    return Limit(number / 100, unit == "% relative")


def _percent(value: Any) -> Fraction:
    what = 'a share from 0 to 100 with its unit, such as "95 %"'
    number, _ = _quantity(value, ("%",), what)
    if number > 100:
        raise ValueError(what)
    return number / 100


def _energy(value: Any) -> Fraction:
    number, unit = _quantity(value, tuple(JOULES), f'an energy with its unit ({", ".join(JOULES)}), such as "2.5 uJ"')
    return number * Fraction(10) ** JOULES[unit]


def _table(form: Callable[[Any], Any], name: Callable[[str], Any], what: str) -> Callable[[Any], dict[Any, Any]]:
    """A table of names and values of one form."""

    def read(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping) or not value:
            raise ValueError(what)
        made = {}
        for key, given in value.items():
            try:
                made[name(str(key))] = form(given)
            except ValueError as e:
                raise ValueError(f"{what}; of {key}, {e or 'an integer >= 1'}") from None
        return made

    return read


def _steps(name: str) -> int:
    if not name.isdigit() or int(name) < 1:
        raise ValueError
    return int(name)


def _range(value: Any) -> tuple[Fraction, Fraction]:
    what = "two rates in spikes per step, [lowest, highest], from 0 to 1"
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(what)
    low, high = (_at_least(0, what, 1)(v) for v in value)
    if low >= high:
        raise ValueError(what)
    return low, high


def _confidence(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or str(value) not in CONFIDENCES:
        raise ValueError(f"one of {', '.join(CONFIDENCES)}")
    return Fraction(Decimal(str(value)))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or any(not isinstance(v, str) or not v.strip() for v in value):
        raise ValueError('a list of names, such as ["model.figures"]')
    return tuple(value)


def _operations(value: Any) -> tuple[str, ...]:
    what = f'a list of {", ".join(OPERATIONS)}, such as ["update"]'
    if not isinstance(value, (list, tuple)) or any(v not in OPERATIONS for v in value):
        raise ValueError(what)
    return tuple(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a file, as a string")
    return value


def _loss(value: Any) -> str:
    if value not in LOSSES:
        raise ValueError(f"one of {', '.join(LOSSES)}")
    return str(value)


def _regression(value: Any) -> Limit | Fraction:
    what = (
        'a drop such as "0.5 points" or "0.5 % relative"; of a regression, an increase of the mean error such as 0.01'
    )
    try:
        return drop(value) if isinstance(value, str) else _at_least(0, what)(value)
    except ValueError:
        raise ValueError(what) from None


FORMS: Mapping[str, Callable[[Any], Any]] = {
    "max_drop": drop,
    "max_drop_at": _table(drop, _steps, 'a table of T and drops, such as {8 = "5.0 points"}'),
    "max_class_drop": drop,
    "min_class_accuracy": _percent,
    "min_agreement": _percent,
    "firing_rate": _range,
    "max_synops": _positive("a number of synaptic operations per sample, > 0"),
    "max_macs": _at_least(0, "a number of MACs per sample, >= 0"),
    "allow_unpriced": _operations,
    "max_energy": _table(_energy, str, 'a table of energy models and limits, such as {loihi = "2.5 uJ"}'),
    "energy_table": _text,
    "at": _whole,
    "confidence": _confidence,
    "min_samples": _whole,
    "require_checks": _texts,
    "require_oracles": _texts,
    "baseline": _text,
    "max_regression": _regression,
    "max_synops_growth": lambda value: _quantity(value, ("%",), 'a growth with its unit, such as "5 %"')[0] / 100,
    "error": _loss,
    "error_cap": _positive("the greatest error of a sample that can occur, a number > 0"),
    "max_error_increase": _at_least(0, "an increase of the mean error, a number >= 0"),
}
