"""SiLU to binary spiking: a detector-style family, its checkpoints, their conversion, and what it changed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import load as load
    from .manifest import save as save

_PUBLIC = {"load": "checkpoint", "save": "manifest"}


def __getattr__(name: str) -> Any:
    # resolved when it is asked for: torch takes a second
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
