"""Targets of a mapping: limits of chips as data, each with a source and a grade of its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomllib

from ..errors import ConfigError, DataError
from ..objects import nearest
from ..schema import breaches

LIMITS = (
    "cores", "units_per_core", "weight_bits_per_core", "input_axons_per_core", "output_axons_per_core", "fan_in",
    "fan_out", "connections",
)  # fmt: skip
GRADES = ("paper", "vendor", "software", "secondary", "model", "user")
_EVIDENCE = {
    "source": {"type": "string", "pattern": r"(?s).*\S.*"},
    "grade": {"type": "string", "enum": list(GRADES)},
}
_LIMIT = {
    "type": "object", "required": ["value", "source", "grade"],
    "properties": {"value": {"type": "integer", "minimum": 1}, **_EVIDENCE},
}  # fmt: skip
_MESH = {
    "type": "object", "required": ["columns", "rows", "cores", "source", "grade"], "additionalProperties": False,
    "properties": {**{k: {"type": "integer", "minimum": 1} for k in ("columns", "rows", "cores")},
                   **_EVIDENCE},
}  # fmt: skip
_TARGET = {
    "type": "object", "required": ["title", "limits"], "additionalProperties": False,
    "properties": {"title": {"type": "string"}, "limits": {"type": "object", "additionalProperties": _LIMIT}, "mesh": _MESH,
                   "neurons": {"type": "string", "enum": ["loihi"]}},
}  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """A figure, its source, and the grade of that evidence."""

    value: int
    source: str
    grade: str


@dataclass(frozen=True)
class Mesh:
    """Routers in columns and rows, `cores` at each; its source, and the grade of that evidence."""

    columns: int
    rows: int
    cores: int
    source: str
    grade: str


@dataclass(frozen=True)
class Target:
    """A chip and its known limits; one that is not in `limits` has no published figure. `neurons` names its neuron model."""

    name: str
    title: str
    limits: Mapping[str, Limit]
    mesh: Mesh | None = None
    neurons: str = ""

    def most(self, name: str) -> int | None:
        """Value of a limit; None where it is not known."""
        return self.limits[name].value if name in self.limits else None


def target(name: str, extra: str | Path | None = None) -> Target:
    """Look a target up, in the user's file first.

    Raises
    ------
    DataError
        The file does not exist, or is no TOML.
    ConfigError
        No such target; a limit unknown, not positive or without a source.
    """
    table = tomllib.loads((files(__package__) / "targets.toml").read_text("utf-8"))
    if extra is not None:
        try:
            own = tomllib.loads(Path(extra).read_text("utf-8"))
        except FileNotFoundError:
            raise DataError(f"{extra}: no such file; give a TOML file of targets") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise DataError(f"{extra}: not TOML ({e}); mend that line") from None
        for key, entry in own.items():  # all, whichever is asked for: a file of something else is told
            if not isinstance(entry, dict):
                raise ConfigError(f"{extra}: {key} = {entry!r}: no target; write a table [{key}] with title and limits")
            _built(key, entry)
        table |= own
    if name not in table:
        raise ConfigError(
            f"target = {name!r}: no such target here, and --targets FILE brings others{nearest(name, table)}"
        )
    return _built(name, table[name])


def _built(name: str, entry: Mapping[str, Any]) -> Target:
    for breach in breaches(entry, _TARGET, f"target {name!r}"):
        raise ConfigError(
            f"{breach}; every limit has value, source and grade, a mesh columns, rows, cores, source and grade"
        )
    for limit in entry["limits"]:
        if limit not in LIMITS:
            raise ConfigError(f"target {name!r}: limits.{limit}: no such limit{nearest(limit, LIMITS)}")
    mesh = Mesh(**entry["mesh"]) if "mesh" in entry else None
    return Target(name, entry["title"], {k: Limit(**v) for k, v in entry["limits"].items()}, mesh,
                  entry.get("neurons", ""))  # fmt: skip
