"""How the kernels of the fused engine are compiled: the home of numba.

The code is kept on disk by numba, per processor, beside the package or in the user's cache, so that it is made once. Numba
makes it anew when the file of the kernel changes, but a kernel holds code of other files, too: its name tells them all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def digest(folder: Path) -> str:
    """Eight digits that change with any source of a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:8]


_SOURCES = digest(Path(__file__).parent)

# No counting of references: arrays live as long as the call, and the locked counters cost as much as a step of a layer.
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": False}


def kernel(function: F) -> F:
    """Compile a function of numbers and arrays; it runs without the lock of the interpreter."""
    return numba.njit(**_OPTIONS)(_named(function))  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """Compile a function into each kernel that calls it: a call with many arrays takes longer than a small step."""
    return numba.njit(**_OPTIONS, forceinline=True)(_named(function))  # type: ignore[no-any-return]


def _named(function: F) -> F:
    function.__qualname__ += f"_{_SOURCES}"  # numba names the files on disk so
    return function


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation of kernels that is written in LLVM's own terms: from types to (signature, code generator)."""
    return intrinsic(prefer_literal=True)(function)
