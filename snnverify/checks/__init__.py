"""The list of checks behind every face: a check added here is a pytest id, a row of the report and a mutant's enemy.

A check is a function with the decorator `check`. Its docstring is the claim (first line, with the source in brackets
at its end); its name is ``room.name``; it yields `Measure`. What it is given depends on its kind:

- ``simulator``, ``converter``, ``operators``: (what its strategy drew, the `Oracle` under test);
- ``model``: the `ModelUnderTest`.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ..errors import ConfigError
from ..findings import Measure

ROOMS = (
    "dynamics",
    "invariance",
    "encoding",
    "parity",
    "quantized",
    "conversion",
    "converter",
    "calibration",
    "lif",
    "batchnorm",
    "operators",
    "findings",
    "exchange",
    "netx",
    "blocks",
    "weights",
    "golden",
    "vectors",
    "importer",
    "mapping",
    "audit",
    "statistics",
    "gate",
    "energy",
    "detector",
    "waterfall",
    "model",
)
_CHECKS: dict[str, Check] = {}


@dataclass(frozen=True)
class Check:
    """A law, where it comes from, and the function that measures it.

    Parameters
    ----------
    name : str
        ``room.function``.
    kind : {"simulator", "converter", "operators", "model"}
    function : callable
    cases : hypothesis strategy or None
        None for checks on models.
    claim, source : str
        From the docstring.
    """

    name: str
    kind: str
    function: Callable[..., Iterable[Measure]]
    cases: Any
    claim: str
    source: str


def check(
    kind: str, cases: Any = None
) -> Callable[[Callable[..., Iterable[Measure]]], Callable[..., Iterable[Measure]]]:
    """Register a check; the room is its module's name, of this package's modules the first word of it."""

    def register(function: Callable[..., Iterable[Measure]]) -> Callable[..., Iterable[Measure]]:
        package, _, module = function.__module__.rpartition(".")
        name = f"{module.split('_')[0] if package == __name__ else module}.{function.__name__}"
        text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        found = re.fullmatch(r"(.*) \[([^\[\]]+)\]\.?", text)
        if found is None:
            raise TypeError(f"{name}: its docstring must be 'the claim [its source]'")
        _CHECKS[name] = Check(name, kind, function, cases, found[1], found[2])
        return function

    return register


def select(*patterns: str) -> tuple[Check, ...]:
    """Checks whose name matches one of the patterns (all without one), in order of the rooms.

    Raises
    ------
    ConfigError
        A pattern that matches nothing; names the nearest check.
    """
    modules = [m.name for m in iter_modules(__path__)]
    for room in ROOMS:
        for name in (m for m in modules if m.split("_")[0] == room):
            import_module(f".{name}", __name__)
    for p in patterns:
        if not any(fnmatch(name, p) for name in _CHECKS):
            near = difflib.get_close_matches(p, _CHECKS, 1)
            hint = f"did you mean {near[0]!r}?" if near else "see `snnverify list`"
            raise ConfigError(f"check = {p!r}: no such check; {hint}")
    return tuple(c for name, c in _CHECKS.items() if not patterns or any(fnmatch(name, p) for p in patterns))
