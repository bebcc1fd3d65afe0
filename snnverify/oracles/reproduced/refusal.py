"""A refusal in words keeps every law."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

Pair = tuple[Any, Any]


def unless_refused(case: Callable[[], Pair]) -> Callable[[], Pair]:
    """Case that holds where the library refuses what it is given: a ValueError or a NotImplementedError."""

    @wraps(case)
    def tried() -> Pair:
        try:
            return case()
        except (ValueError, NotImplementedError):
            return "refused", "refused"

    return tried
