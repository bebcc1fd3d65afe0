"""Finished pieces of a run that may be interrupted, one file each: written whole, believed only where the content fits."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..content import Content, load, save
from ..errors import CodecError

C = TypeVar("C", bound=Content)


@dataclass(frozen=True, eq=False)
class JournalEntry(Content):
    """A result, the name of its piece, and the digest that it had when it was written."""

    name: str
    result: Content
    content: str


@dataclass(frozen=True)
class Journal:
    """Results by name in one folder, which may be removed at any time; then they are computed again.

    Parameters
    ----------
    folder : Path
        Made with the first entry. Runs may share it: names tell everything that determines a result.
    """

    folder: Path
    _used: set[str] = field(default_factory=set)

    def get(self, name: str, kind: type[C]) -> C | None:
        """Return what is kept under a name; None where nothing is, or anything about it is wrong."""
        try:
            entry = load(self.folder / f"{name}.npz", JournalEntry)
        except CodecError:
            return None
        if entry.name != name or not isinstance(entry.result, kind) or entry.result.digest != entry.content:
            return None
        self._used.add(name)
        return entry.result

    def put(self, name: str, result: Content) -> None:
        """Keep a result: whole or not at all, whenever the process dies."""
        self._used.add(name)
        with contextlib.suppress(FileNotFoundError):  # the same command in another shell has finished, and cleared up
            save(JournalEntry(name, result, result.digest), self.folder / f"{name}.npz")

    def __len__(self) -> int:
        return len(self._used)

    def clear(self) -> None:
        """Remove what this run has read and written, and the folder unless another run has something in it."""
        for name in self._used:
            for path in self.folder.glob(f"{name}.npz*"):  # with what a killed process was just writing
                path.unlink(missing_ok=True)
        self._used.clear()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
