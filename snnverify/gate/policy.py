"""What a release must keep: the table ``[tool.snnverify.gate]``, read with suspicion.

Every quantity carries its unit, and is kept exact. A policy is what a mapping of plain values (of TOML, of JSON, of the
command line) says; that mapping itself travels in the record of a run, so that it is judged again by the same words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import tomllib

from ..errors import ConfigError
from ..objects import nearest
from ..stats import points

CONFIDENCES = ("0.9", "0.95", "0.975", "0.99")  # the levels whose error rates are enumerated
LOSSES = ("absolute", "squared")
JOULES = {"J": 12, "mJ": 9, "uJ": 6, "µJ": 6, "nJ": 3, "pJ": 0}  # powers of ten of a picojoule
Raw = Mapping[str, Any]


@dataclass(frozen=True)
class Limit:
    """Greatest drop: a share of the samples (1/100 is one point), or of the accuracy that it is measured against."""

    share: Fraction
    relative: bool = False

    def __str__(self) -> str:
        return f"{float(100 * self.share):g} {'% relative' if self.relative else 'points'}"


@dataclass(frozen=True)
class Policy:
    """What a release must keep; None, and what is empty, asks for nothing.

    Parameters
    ----------
    max_drop : Limit or None
        Greatest accuracy drop at the T that is judged.
    max_drop_at : mapping of int to Limit
        Greatest accuracy drop at further T.
    max_class_drop : Limit or None
        Greatest accuracy drop in each class.
    min_class_accuracy, min_agreement : Fraction or None
        Least accuracy of the SNN in each class; least share of the samples that ANN and SNN classify alike.
    firing_rate : pair of Fraction or None
        Range of each layer's mean rate, spikes per neuron and step.
    max_synops : Fraction or None
        Synaptic operations per sample.
    max_energy : mapping of str to Fraction
        Energy per sample by each energy model, pJ.
    energy_table : str or None
        File with energy models of the user's own.
    at : int or None
        T that is judged; the largest by default.
    confidence : Fraction
        One of `CONFIDENCES`.
    min_samples : int
        Fewest samples that may decide.
    require_checks, require_oracles : tuple of str
        Checks, by name or pattern, that need a pass besides those of the conversion; other implementations that must
        pass those checks, or the parity checks where none is named.
    baseline : str or None
        File of the last release, as `snnverify baseline` writes it.
    max_regression : Limit, Fraction or None
        Greatest accuracy drop against the last release; of a regression, the greatest increase of its mean error.
    max_synops_growth : Fraction or None
        Greatest growth of the synaptic operations against the last release, as a share.
    error : str
        Of a regression: ``absolute`` or ``squared``.
    error_cap : Fraction or None
        Of a regression: greatest error of a single sample that can occur; the bound on the mean rests on it.
    max_error_increase : Fraction or None
        Of a regression: greatest increase of the mean error, in the unit of the error.
    """

    max_drop: Limit | None = None
    max_drop_at: Mapping[int, Limit] = field(default_factory=dict)
    max_class_drop: Limit | None = None
    min_class_accuracy: Fraction | None = None
    min_agreement: Fraction | None = None
    firing_rate: tuple[Fraction, Fraction] | None = None
    max_synops: Fraction | None = None
    max_energy: Mapping[str, Fraction] = field(default_factory=dict)
    energy_table: str | None = None
    at: int | None = None
    confidence: Fraction = Fraction(95, 100)
    min_samples: int = 1
    require_checks: tuple[str, ...] = ()
    require_oracles: tuple[str, ...] = ()
    baseline: str | None = None
    max_regression: Limit | Fraction | None = None
    max_synops_growth: Fraction | None = None
    error: str = "absolute"
    error_cap: Fraction | None = None
    max_error_increase: Fraction | None = None

    @property
    def alpha(self) -> float:
        """``1 - confidence``."""
        return float(1 - self.confidence)


def policy(raw: Raw, where: str = "gate:") -> Policy:
    """Read a policy.

    Parameters
    ----------
    raw : mapping of str to plain values
    where : str
        File and table, for the errors.

    Raises
    ------
    ConfigError
        An unknown key (names the nearest); a value of another form or without its unit (names the form); keys that need
        one another.
    """
    made = Policy(**{key: _read(key, value, where) for key, value in raw.items()})
    if made.max_error_increase is not None and made.error_cap is None:
        raise ConfigError(f"{where} max_error_increase: the bound rests on the greatest error that can occur; state it "
                          "as error_cap, in the unit of the error")  # fmt: skip
    if made.max_synops_growth is not None and made.baseline is None:
        raise ConfigError(f'{where} max_synops_growth: growth since which release? give baseline = "FILE"')
    return made


def _read(key: str, value: Any, where: str) -> Any:
    if key not in _FORMS:
        raise ConfigError(f"{where} {key} is not a key of the gate{nearest(key, _FORMS)}")
    try:
        return _FORMS[key](value)
    except ValueError as e:
        raise ConfigError(f"{where} {key} = {value!r}: give {e}") from None


def overlaid(raw: Raw, assignments: Sequence[str], where: str = "--set") -> dict[str, Any]:
    """Put ``KEY=VALUE`` of the command line over a policy; ``KEY.NAME=VALUE`` sets one entry of a table.

    VALUE is TOML; what TOML does not know is a text, so quotes may be left out.

    Raises
    ------
    ConfigError
        An assignment of another form, or one that `policy` refuses.
    """
    made: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in raw.items()}
    for text in assignments:
        name, equals, given = text.partition("=")
        key, dot, entry = name.strip().partition(".")
        if not (equals and key and given.strip()) or (dot and not entry):
            raise ConfigError(f"{where} {text!r}: write KEY=VALUE, such as --set max_drop='1.0 points'")
        try:
            value = tomllib.loads(f"x = {given}")["x"]
        except tomllib.TOMLDecodeError:
            value = given.strip()
        _read(key, {entry: value} if dot else value, where)
        if dot and not isinstance(made.get(key, {}), dict):
            raise ConfigError(f"{where} {text!r}: {key} is not a table; write {key}=VALUE")
        made[key] = {**made.get(key, {}), entry: value} if dot else value
    policy(made, f"{where}:")
    return made


def in_points(text: str) -> str:
    """A drop of the command line: a bare number is in percentage points."""
    try:
        Decimal(text.strip())
    except InvalidOperation:
        return text
    return f"{text.strip()} points"


def drop_of(value: str | float | Fraction) -> Limit:
    """A drop of the command line: in percentage points, or with its unit; `ConfigError` where it is neither."""
    if isinstance(value, str) and ("%" in value or "point" in value):
        try:
            return _drop(value)
        except ValueError as e:
            raise ConfigError(f"--max-drop {value!r}: give {e}") from None
    return Limit(points(value))


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


def _drop(value: Any) -> Limit:
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
        return _drop(value) if isinstance(value, str) else _at_least(0, what)(value)
    except ValueError:
        raise ValueError(what) from None


_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "max_drop": _drop,
    "max_drop_at": _table(_drop, _steps, 'a table of T and drops, such as {8 = "5.0 points"}'),
    "max_class_drop": _drop,
    "min_class_accuracy": _percent,
    "min_agreement": _percent,
    "firing_rate": _range,
    "max_synops": _positive("a number of synaptic operations per sample, > 0"),
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
