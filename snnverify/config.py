"""Settings: ``[tool.snnverify]`` of ``pyproject.toml``; precedence command line > pyproject > default."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import tomllib

from .data import resolve_spec
from .errors import ConfigError
from .objects import load_object, nearest
from .oracles import users

SECTION = "[tool.snnverify]"


@dataclass(frozen=True)
class Settings:
    """What a run is told.

    Parameters
    ----------
    model : str or None
        ``module:callable`` or ``path.py:callable``, or the name of an embedded model; None for the default one.
    weights : str or None
        Path of a weights file.
    data, calibration : str or None
        Specs of `snnverify.data.load_data`.
    timesteps : tuple of int
        T at which accuracy is reported, increasing, >= 1.
    mode : str
        Of the threshold calibration, as `snnverify.convert.convert` takes it: ``99.9%``, ``max``, ``0.5``.
    v_init : str or float
        ``half``, ``zero``, or a fraction of the threshold.
    reset : str
        ``subtract`` or ``value``.
    encoding : str
        ``constant`` or ``poisson``.
    maxpool : str
        ``refuse``, or ``gate`` on the accumulated spikes of each window.
    pool_neurons : bool
        A neuron after each average pooling.
    leak : str
        Factor on the potential per step, in (0, 1], as written; 1 makes IF neurons.
    target_rate : tuple of str or None
        Lowest and highest average rate of a layer, in spikes per step.
    per_channel, unit_range : bool
        A threshold for each channel; inputs mapped to [0, 1].
    modes : bool
        Whether the report puts several modes side by side.
    waterfall : bool
        Whether the report splits the drop over its causes.
    max_drop : str
        Greatest accuracy drop allowed, as written (percentage points): no binary rounding touches it.
    max_disagreement : str
        Greatest share of the samples, in percent, that ANN and SNN may classify differently at the largest T.
    out : str
        Folder of the reports.
    examples : int
        Drawn cases per check, >= 1.
    oracle : str
        The implementation under test.
    seed : int
        >= 0.
    scheduler : str or None
        ``local``, or the address of a Dask scheduler, on whose workers the data set is evaluated; None for this process.
    gate : mapping
        What a release must keep: the table ``gate``, as it is written; see `snnverify.gate.policy`.
    root : Path or None
        Folder of the ``pyproject.toml`` that was read.
    """

    model: str | None = None
    weights: str | None = None
    data: str | None = None
    calibration: str | None = None
    timesteps: tuple[int, ...] = (4, 8, 16, 32, 64)
    mode: str = "99.9%"
    v_init: str | float = "half"
    reset: str = "subtract"
    encoding: str = "constant"
    maxpool: str = "refuse"
    pool_neurons: bool = False
    leak: str = "1"
    target_rate: tuple[str, ...] | None = None
    per_channel: bool = False
    unit_range: bool = False
    modes: bool = False
    waterfall: bool = True
    max_drop: str = "1.0"
    max_disagreement: str = "5.0"
    out: str = "reports"
    examples: int = 50
    oracle: str = "snnverify"
    seed: int = 0
    scheduler: str | None = None
    gate: Mapping[str, Any] = field(default_factory=dict)
    root: Path | None = None


class _Float(str):
    """A float of the file, kept as it is written there; told from a string by its type."""

    __slots__ = ()


def read_config(start: str | Path = ".") -> Settings:
    """Read the nearest ``pyproject.toml`` with a ``[tool.snnverify]`` table, from `start` upwards.

    The table ``[tool.snnverify.oracles.NAME]`` makes oracles of the project known by name.

    Returns
    -------
    Settings
        Paths are absolute against the folder of the file; the defaults where no such table exists.

    Raises
    ------
    ConfigError
        The file is not TOML, or a key is unknown or of a wrong type (names file and key).
    """
    here = Path(start).resolve()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            document = tomllib.loads(file.read_text("utf-8"), parse_float=_Float)
        except (OSError, ValueError) as e:
            raise ConfigError(f"{file}: cannot be read ({e}); mend the file") from e
        tool = document.get("tool", {})
        if isinstance(tool, dict) and "snnverify" in tool:
            if not isinstance(tool["snnverify"], dict):
                raise ConfigError(f"{file}: tool.snnverify = {tool['snnverify']!r}; write a table {SECTION}")
            given = dict(tool["snnverify"])
            users.declare(users.checked(given.pop("oracles", {}), f"{file}: {SECTION}"), folder)
            asked = _gate(given.pop("gate", {}), given, file)
            values = _checked(given, f"{file}: {SECTION}")
            for key in ("model", "data", "calibration"):
                if key in values and (key != "model" or ":" in values[key]):  # else the name of a model of the zoo
                    values[key] = resolve_spec(values[key], folder)
            for key in ("weights", "out"):
                if key in values:
                    values[key] = str(folder / values[key])
            for key in ("baseline", "energy_table"):
                if key in asked:
                    asked[key] = str(folder / asked[key])
            return Settings(**values, gate=asked, root=folder)
    return Settings()


def _gate(table: Any, given: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Read the table ``gate``, checked, with its values as they travel: JSON's."""
    from .gate.policy import policy  # the gate brings scipy, which `--help` need not wait for

    where = f"{file}: {SECTION.replace(']', '.gate]')}"
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: tool.snnverify.gate = {table!r}; write a table {where.rpartition(' ')[2]}")
    if "max_drop" in table and "max_drop" in given:
        raise ConfigError(f"{where} max_drop: {SECTION} has one, too; keep this one")
    policy(asked := dict(_plain(table)), where)
    return asked


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, _Float) else value


def merge(cli_options: Mapping[str, Any], settings: Settings) -> Settings:
    """Put the options of the command line over the settings; an option that is None was not given.

    Raises
    ------
    ConfigError
        An option is unknown or of a wrong type.
    """
    from .gate.policy import in_points, overlaid

    given = {key: value for key, value in cli_options.items() if value is not None}
    for key in ("model", "data", "calibration"):  # paths on the command line start where it is typed
        moved = settings.root not in (None, Path.cwd())
        if moved and isinstance(given.get(key), str) and (key != "model" or ":" in given[key]):
            given[key] = resolve_spec(given[key], Path.cwd())
    asked = overlaid(settings.gate, given.pop("gate", ()))
    drop = str(given.get("max_drop", ""))
    if "%" in drop or "point" in drop:  # a unit of its own; the report's tables stay in points
        del given["max_drop"]
    checked = _checked(given, "command line:")
    asked = overlaid(asked, [f"max_drop={json.dumps(in_points(drop))}"], "--max-drop") if drop else asked
    return dataclasses.replace(settings, **checked, gate=asked)


def _text(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, _Float) or not value.strip():
        raise ValueError("a string")
    return value


def _text_or_number(value: Any) -> str:
    return str(value) if isinstance(value, (_Float, float)) else _text(value)


def _whole(least: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"an integer >= {least}")
        return value

    return check


def _steps(value: Any) -> tuple[int, ...]:
    rule = "a list of integers >= 1, increasing"
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(rule)
    try:
        steps = tuple(_whole(1)(item) for item in value)
    except ValueError:
        raise ValueError(rule) from None
    if any(a >= b for a, b in itertools.pairwise(steps)):
        raise ValueError(rule)
    return steps


def _decimal(value: Any) -> Decimal:
    """Any number, exactly: of a float the shortest decimal that means it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError
    return number


def _number(kept: Callable[[Decimal], bool], rule: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        try:
            if not kept(_decimal(value)):
                raise ValueError
        except (ValueError, InvalidOperation):
            raise ValueError(rule) from None
        return str(value)

    return check


_drop = _number(lambda d: 0 <= d <= 100, "a number from 0 to 100, in percentage points")
_share = _number(lambda d: 0 < d <= 1, "a number in (0, 1]")


def _v_init(value: Any) -> str | float:
    try:
        return float(_decimal(value))
    except InvalidOperation:
        return _text(value)
    except ValueError:
        raise ValueError('a string such as "half", or a number') from None


def _range(value: Any) -> tuple[str, ...]:
    rule = "two rates, in spikes per step: 0 < lowest < highest <= 1"
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(rule)
    try:
        low, high = (_share(v) for v in value)
    except ValueError:
        raise ValueError(rule) from None
    if Decimal(low) >= Decimal(high):
        raise ValueError(rule)
    return low, high


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return str(value)

    return check


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _scheduler(value: Any) -> str:
    address = _text(value)
    if address != "local" and not re.fullmatch(r"\w+://\S+", address):
        raise ValueError("local, or the address of a Dask scheduler such as tcp://host:8786")
    return address


_KEYS: dict[str, Callable[[Any], Any]] = {
    "model": _text,
    "weights": _text,
    "data": _text,
    "calibration": _text,
    "timesteps": _steps,
    "mode": _text_or_number,
    "v_init": _v_init,
    "reset": _one_of("subtract", "value"),
    "encoding": _one_of("constant", "poisson"),
    "maxpool": _one_of("refuse", "gate"),
    "pool_neurons": _switch,
    "leak": _share,
    "target_rate": _range,
    "per_channel": _switch,
    "unit_range": _switch,
    "modes": _switch,
    "waterfall": _switch,
    "max_drop": _drop,
    "max_disagreement": _drop,
    "out": _text,
    "examples": _whole(1),
    "oracle": _text,
    "seed": _whole(0),
    "scheduler": _scheduler,
}


def _checked(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = {}
    for key, value in given.items():
        if key not in _KEYS:
            from .gate.policy import place

            elsewhere = place(key, value, where == "command line:")
            raise ConfigError(f"{where} {key} is not a setting{elsewhere or nearest(key, _KEYS)}")
        try:
            values[key] = _KEYS[key](value)
        except ValueError as e:
            raise ConfigError(f"{where} {key} = {value!r}: give {e}") from None
    return values


__all__ = ["Settings", "load_object", "merge", "read_config"]
