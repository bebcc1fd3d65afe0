"""The user's own objects, by the specs ``module:name`` and ``path.py:name``."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import ConfigError


def load_object(spec: str, root: str | os.PathLike[str] | None = None) -> Callable[..., Any]:
    """Import the callable that a spec names; the code of its module runs, as with any import.

    Parameters
    ----------
    spec : str
        ``package.module:name`` or ``folder/file.py:name``; the name may be dotted.
    root : path, optional
        Where relative files and modules are looked for; the current folder by default. It (or the folder of the file)
        is put first on ``sys.path``, as ``python file.py`` does, so that the file may import its neighbours.

    Raises
    ------
    ConfigError
        The spec has another form, the file or the name does not exist, the import fails, or it cannot be called.
    """
    where, colon, name = spec.rpartition(":")
    if not (colon and where and name):
        raise ConfigError(f"{spec!r} is not a callable's spec: write 'module:name' or 'path.py:name'")
    base = Path(root or os.curdir).resolve()
    try:
        module = _from_file(spec, base / where) if where.endswith(".py") else _from_module(where, base)
    except ConfigError:
        raise
    except (Exception, SystemExit) as e:
        raise ConfigError(f"{spec!r}: importing {where} failed: {last_line(e)}") from e
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            public = [n for n in dir(value) if not n.startswith("_")]
            raise ConfigError(f"{spec!r}: {where} has no {part!r}{nearest(part, public)}")
        value = getattr(value, part)
    if not callable(value):
        raise ConfigError(f"{spec!r} is a {type(value).__name__}: name a function or a class")
    return value  # type: ignore[no-any-return]


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the known name that resembles `name` most, or all that is known, or nothing."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else ""


def last_line(error: BaseException) -> str:
    """``Type: message`` of an exception, in one line."""
    text = "".join(traceback.format_exception_only(error)).strip()
    return text.splitlines()[-1].strip() if isinstance(error, SyntaxError) else " ".join(text.split())


def _from_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{spec!r}: no file {path}; give the path relative to {Path.cwd()} or an absolute one")
    # One module for one file: a model and its data named in the same file share their classes.
    name = f"_snnverify_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    _search_first(path.parent)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_module(name: str, base: Path) -> ModuleType:
    _search_first(base)
    return importlib.import_module(name)


def _search_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
