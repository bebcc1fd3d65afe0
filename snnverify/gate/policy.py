"""What a release must keep: the table ``[tool.snnverify.gate]``, read with suspicion.

Every quantity carries its unit, and is kept exact. A policy is what a mapping of plain values (of TOML, of JSON, of the
command line) says; that mapping itself travels in the record of a run, so that it is judged again by the same words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import tomllib

from ..errors import ConfigError
from ..objects import nearest
from ..stats import points
from .forms import FORMS, Limit, drop

Raw = Mapping[str, Any]


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
    max_macs : Fraction or None
        MACs per sample: analog values that go over a connection, such as those of a constant input in every step.
    max_energy : mapping of str to Fraction
        Energy per sample by each energy model, pJ.
    allow_unpriced : tuple of str
        Of `forms.OPERATIONS`, those that an energy model may have no price for although they occur.
    energy_table : str or None
        File with energy models of the user's own.
    at : int or None
        T that is judged; the largest by default.
    confidence : Fraction
        One of `forms.CONFIDENCES`.
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
    max_macs: Fraction | None = None
    max_energy: Mapping[str, Fraction] = field(default_factory=dict)
    allow_unpriced: tuple[str, ...] = ()
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
    if key not in FORMS:
        raise ConfigError(f"{where} {key} is not a key of the gate{nearest(key, FORMS)}")
    try:
        return FORMS[key](value)
    except ValueError as e:
        raise ConfigError(f"{where} {key} = {value!r}: give {e}") from None


def overlaid(raw: Raw, given: Sequence[str] | Raw, where: str = "--set") -> dict[str, Any]:
    """Put ``KEY=VALUE`` of the command line over a policy; ``KEY.NAME=VALUE`` sets one entry of a table.

    VALUE is TOML; what TOML does not know is a text, so quotes may be left out. `assignments` makes them of a policy. A
    mapping, which Python gives in their place, goes over the policy key by key.

    Raises
    ------
    ConfigError
        An assignment of another form, or one that `policy` refuses.
    """
    if isinstance(given, Mapping):  # as it travels: keys are texts, tuples are lists
        told = {**raw, **json.loads(json.dumps(dict(given), default=str))}
        policy(told, "command line: gate:")
        return told
    made: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in raw.items()}
    for text in given:
        name, equals, said = text.partition("=")
        key, dot, entry = name.strip().partition(".")
        if not (equals and key and said.strip()) or (dot and not entry):
            raise ConfigError(f"{where} {text!r}: write KEY=VALUE, such as --set max_drop='1.0 points'")
        try:
            value = tomllib.loads(f"x = {said}")["x"]
        except tomllib.TOMLDecodeError:
            value = said.strip()
        _read(key, {entry: value} if dot else value, where)
        if dot and not isinstance(made.get(key, {}), dict):
            raise ConfigError(f"{where} {text!r}: {key} is not a table; write {key}=VALUE")
        made[key] = {**made.get(key, {}), entry: value} if dot else value
    policy(made, f"{where}:")
    return made


def place(key: str, value: Any, python: bool) -> str:
    """Where a key belongs that was taken for a setting; empty where the gate has none of that name."""
    if key not in FORMS:
        return ""
    return f"; it is a key of the gate: {f'gate={{{key!r}: {value!r}}}' if python else '[tool.snnverify.gate]'}"


def flat(raw: Raw) -> dict[str, Any]:
    """A policy's entries as `overlaid` names them: KEY, or KEY.NAME of a table, and its value."""
    found: dict[str, Any] = {}
    for key, value in raw.items():
        found |= {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, Mapping) else {key: value}
    return found


def assignments(raw: Raw) -> list[str]:
    """What a policy says, as `overlaid` takes it: ``KEY=VALUE``, in TOML."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in flat(raw).items()]


def written(raw: Raw) -> dict[str, str]:
    """A policy's entries for a reader: texts bare, all else as TOML has it."""
    return {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in flat(raw).items()}


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
            return drop(value)
        except ValueError as e:
            raise ConfigError(f"--max-drop {value!r}: give {e}") from None
    return Limit(points(value))
