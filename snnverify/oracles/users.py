"""A user's own oracle: a callable that returns one, in this interpreter or in another; by spec, table or package.

A spec stands on the command line: ``--oracle simulators/mine.py:oracle``. A table stands in ``pyproject.toml``::

    [tool.snnverify.oracles.mine]
    target = "simulators/mine.py:oracle"     # or "module:callable", or the name of one of our adapters
    python = "/env/bin/python"               # optional: another interpreter, with numpy and your packages
    timeout = 60                             # optional: seconds that a call may take there

A package registers its oracles as entry points of the group ``snnverify.oracles``: ``mine = "package.module:oracle"``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..objects import last_line, load_object, nearest
from . import Oracle
from .hosts import TIMEOUT, remote

GROUP = "snnverify.oracles"
_DECLARED: dict[str, tuple[Target, Path | None]] = {}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # it becomes part of file names


@dataclass(frozen=True)
class Target:
    """A row of the table.

    Parameters
    ----------
    target : str
        ``module:callable``, ``path.py:callable`` or an adapter.
    python : str or None
        An interpreter; None for this one.
    timeout : float
        Seconds per call, > 0; of another interpreter alone.
    """

    target: str
    python: str | None = None
    timeout: float = TIMEOUT


def resolve(name: str, table: Mapping[str, Target] | None = None, root: str | Path | None = None) -> Oracle | None:
    """Oracle of a user by its spec, by its name in `table`, or by its entry point, in this order; else None.

    Relative paths start at `root`, by default the current folder.

    Raises
    ------
    ConfigError
        What is named cannot be loaded. What happens in another interpreter is told when the oracle is first used.
    """
    if ":" in name:
        return local(name, root)
    if table and name in table:
        row = table[name]
        if row.python is None:
            return replace(local(row.target, root), name=name)
        python = Path(root or os.curdir, os.path.expanduser(row.python))
        return remote(name, python, row.target, root=Path(root or os.curdir), timeout=row.timeout)
    found = registered()
    return replace(local(found[name], root), name=name) if name in found else None


def declare(table: Mapping[str, Target], root: Path | None) -> None:
    """Let `get` know the oracles of the user's project, as `read_config` reads them."""
    _DECLARED.update({name: (row, root) for name, row in table.items()})


def declared(name: str) -> Oracle | None:
    """Oracle of the user's project by that name, or None."""
    if name not in _DECLARED:
        return None
    row, root = _DECLARED[name]
    return resolve(name, {name: row}, root)


def known() -> tuple[str, ...]:
    """Names in the project's table and of installed packages."""
    return (*_DECLARED, *registered())


def registered() -> dict[str, str]:
    """Name and spec of the oracles that installed packages register."""
    return {e.name: e.value for e in entry_points(group=GROUP)}


def local(spec: str, root: str | Path | None = None) -> Oracle:
    """Oracle that a callable returns, in this interpreter.

    Parameters
    ----------
    spec : str
        ``module:callable``, ``path.py:callable`` or an adapter.
    root : path, optional
        Where a relative spec is looked for; the current folder by default.

    Raises
    ------
    ConfigError
        The callable cannot be imported or called, returns something else, or the oracle's name is not fit for a file.
    """
    make = load_object(spec, root) if ":" in spec else _adapter(spec)
    try:
        oracle = make()
    except (Exception, SystemExit) as e:
        raise ConfigError(f"{spec!r}: making the oracle failed: {last_line(e)}") from e
    if not isinstance(oracle, Oracle):
        raise ConfigError(f"{spec!r} returns a {type(oracle).__name__}; return a snnverify.oracles.Oracle")
    _fit(oracle.name, f"{spec!r}: name")
    return oracle


def _adapter(name: str) -> Callable[[], Any]:
    known = name.isidentifier() and find_spec(f"{__package__}.{name}") is not None
    make = getattr(import_module(f"{__package__}.{name}"), "oracle", None) if known else None
    if make is None:
        raise ConfigError(f"{name!r} is no adapter of snnverify; write 'module:callable' or 'path.py:callable'")
    return make  # type: ignore[no-any-return]


def checked(table: Any, where: str) -> dict[str, Target]:
    """Rows of ``[tool.snnverify.oracles]``, as the file named by `where` has them.

    Raises
    ------
    ConfigError
        A row without target, an unknown key or a value of a wrong type; names it.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} oracles = {table!r}; write a table [tool.snnverify.oracles.NAME]")
    return {name: _row(row, _fit(name, f"{where} oracles")) for name, row in table.items()}


def _row(row: Any, at: str) -> Target:
    if not isinstance(row, Mapping) or "target" not in row:
        raise ConfigError(f'{at}: it has no target; write target = "path.py:callable"')
    for key, value in row.items():
        if key not in ("target", "python", "timeout"):
            raise ConfigError(f"{at}.{key} is not a setting{nearest(key, ('target', 'python', 'timeout'))}")
        if key != "timeout" and not (isinstance(value, str) and value.strip()):
            raise ConfigError(f"{at}.{key} = {value!r}: give a string")
    try:
        seconds = float(row.get("timeout", TIMEOUT))  # the file's floats come as they are written
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{at}.timeout = {row['timeout']!r}: give seconds, > 0")
    return Target(row["target"], row.get("python"), seconds)


def _fit(name: Any, at: str) -> str:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ConfigError(f"{at} = {name!r}: the name of an oracle has letters, digits, '.', '_' and '-'")
    return f"{at}.{name}"
