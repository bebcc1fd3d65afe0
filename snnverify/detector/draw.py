"""The architecture diagram of a model, written in the form that a file's name asks for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ..content import write_atomic
from ..errors import ConfigError
from .describe import describe
from .diagram import Diagram
from .draw_json import dumped
from .draw_mermaid import mermaid
from .draw_picture import picture_png, picture_svg
from .draw_text import text

VIEWS: dict[str, Callable[[Diagram], str | bytes]] = {
    ".txt": text, ".json": dumped, ".mmd": mermaid, ".svg": picture_svg, ".png": picture_png,
}  # fmt: skip


def write(
    model: nn.Module, path: str | os.PathLike[str], *, image: Any = None, trace: bool = True, seed: int = 0,
    size: int | None = None, weights: str = "",
) -> Path:  # fmt: skip
    """Describe a model and write its diagram; the other parameters are those of `describe`.

    Parameters
    ----------
    model : nn.Module
        Left alone: a copy is traced.
    path : path
        Ends in .txt, .json, .mmd (Mermaid), .svg or .png.

    Raises
    ------
    ConfigError
        Another ending.
    DataError, Unsupported
        As `describe`; nothing is written then.
    """
    view(path)  # before anything is traced
    return save(describe(model, image, trace=trace, seed=seed, size=size, weights=weights), path)


def save(diagram: Diagram, path: str | os.PathLike[str]) -> Path:
    """Write a diagram in the form that the file's name asks for."""
    return write_atomic(path, view(path)(diagram))


def view(path: str | os.PathLike[str]) -> Callable[[Diagram], str | bytes]:
    """Return what draws the form that a file's name asks for, or refuse the name."""
    suffix = Path(path).suffix.lower()
    if suffix not in VIEWS:
        raise ConfigError(
            f"diagram = {os.fspath(path)!r}: no form ends in {suffix or 'nothing'}; take {', '.join(VIEWS)}"
        )
    return VIEWS[suffix]


__all__ = ["VIEWS", "Diagram", "describe", "save", "view", "write"]
