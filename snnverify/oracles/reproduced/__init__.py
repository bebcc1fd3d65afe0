"""Minimal cases of the findings, run in the library's own interpreter: what it gives, beside what the law says.

One module a library, ``CASES``: id of the finding -> function without arguments returning ``(measured, law)``: numbers,
strings, arrays or tuples of those that are equal where the law holds. An exception that escapes is what was measured.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Cases = Mapping[str, Callable[[], "tuple[Any, Any]"]]


def operators(library: str) -> dict[str, Callable[..., Any]]:
    """Operators ``defects()``, the ids, and ``defect(id)``, what was measured and what the law says."""
    cases: Cases = import_module(f".{library}", __name__).CASES
    return {"defects": lambda: tuple(cases), "defect": lambda name: _tried(cases[name])}


def _tried(case: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    try:
        return case()
    except Exception as e:
        frames = traceback.extract_tb(e.__traceback__)
        if isinstance(e, ImportError) or frames[-1].filename.startswith(os.path.dirname(os.path.dirname(__file__))):
            raise  # ours, and no finding
        return f"{type(e).__name__}: {' '.join(str(e).split())}"[:200], "no exception"
