"""A long computation in pieces: ``run(f, tasks) == [f(**task) for task in tasks]``, whoever computes them, in any order.

A piece is named by the content of everything that determines it. So a network or a tile of data is sent to a worker once
however many pieces need it, and a piece that an interrupted run has finished is found again by the next one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import __version__
from ..content import Array, Content
from .journal import Journal

__all__ = ["HERE", "Execute", "Journal", "Piece", "Shards", "here", "identity", "run"]
HEAVY = 2**16  # bytes of an array that is worth being sent once
R = TypeVar("R", bound=Content)
Function = Callable[..., R]


@dataclass(frozen=True)
class Piece:
    """One call of a function.

    Parameters
    ----------
    name : str
        sha256 of the function, its arguments, and the code that computes it.
    given : mapping of str to value
        Keyword arguments.
    heavy : mapping of str to str
        Content digest of those arguments that several pieces may share.
    """

    name: str
    given: Mapping[str, Any]
    heavy: Mapping[str, str]


Execute = Callable[[Function[Any], Sequence[tuple[int, Piece]]], Iterator[tuple[int, Any]]]


def here(function: Function[R], pieces: Sequence[tuple[int, Piece]]) -> Iterator[tuple[int, R]]:
    """Compute numbered pieces one after the other in this process."""
    for number, piece in pieces:
        yield number, function(**piece.given)


@dataclass(frozen=True)
class Shards:
    """Who computes the pieces of a run, and where finished ones are kept.

    Parameters
    ----------
    execute : callable (function, numbered pieces) -> iterator of (number, result)
    journal : Journal or None
    say : callable (str), optional
        Told in one line that a run goes on where another one stopped.
    """

    execute: Execute = here
    journal: Journal | None = None
    say: Callable[[str], None] | None = None


HERE = Shards()


def run(
    function: Function[R], tasks: Iterable[Mapping[str, Any]], kind: type[R], shards: Shards = HERE,
    done: Callable[[int], None] | None = None,
) -> list[R]:  # fmt: skip
    """Return the results of a function for a list of tasks, in their order.

    Parameters
    ----------
    function : callable (**task) -> kind
        A pure function at the top of a module. A further argument ``threads`` may change its speed alone: an executor
        whose workers share a machine sets it to 1.
    tasks : iterable of mapping of str to value
        Values are those that the codec of `content` knows.
    kind : subclass of Content
    shards : Shards
    done : callable (int), optional
        Told of the number of each task that is done, or was so before.

    Raises
    ------
    SnnverifyError
        What the function raises, wherever it ran; a scheduler that cannot be reached.
    """
    pieces = list(_pieces(function, tasks))
    results: dict[int, R] = {}
    if shards.journal is not None:
        for number, piece in enumerate(pieces):
            if (kept := shards.journal.get(piece.name, kind)) is not None:
                results[number] = kept
    if results and shards.say is not None:
        shards.say(f"resuming: {len(results)} of {len(pieces)} tiles are done")
    for number in results:
        if done is not None:
            done(number)
    for number, result in shards.execute(function, [p for p in enumerate(pieces) if p[0] not in results]):
        if shards.journal is not None:
            shards.journal.put(pieces[number].name, result)
        results[number] = result
        if done is not None:
            done(number)
    return [results[number] for number in range(len(pieces))]


def _pieces(function: Function[Any], tasks: Iterable[Mapping[str, Any]]) -> Iterator[Piece]:
    about = {"function": f"{function.__module__}.{function.__qualname__}", **identity()}
    known: dict[int, str] = {}  # by id: tasks share the very same array, which lives as long as their pieces
    for task in tasks:
        digests = {k: _digest(v, known) for k, v in task.items() if isinstance(v, (Content, np.ndarray))}
        light = {k: v for k, v in task.items() if k not in digests}
        name = hashlib.sha256(json.dumps([about, digests, light], sort_keys=True).encode()).hexdigest()
        heavy = {k: d for k, d in digests.items() if isinstance(task[k], Content) or task[k].nbytes >= HEAVY}
        yield Piece(name, task, heavy)


def _digest(value: Content | Array, known: dict[int, str]) -> str:
    if isinstance(value, Content):
        return value.digest
    if id(value) not in known:
        h = hashlib.sha256(f"{value.dtype.str}{value.shape}".encode())
        h.update(np.ascontiguousarray(value).data)
        known[id(value)] = h.hexdigest()
    return known[id(value)]


@cache
def identity() -> Mapping[str, str]:
    """Name the code that the bits of a result hang on: this package by its version and text, numpy, and numba, if any."""
    h = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        h.update(f"{path.relative_to(package).as_posix()} {len(text)} ".encode() + text)
    own = f"{__version__} ({h.hexdigest()[:12]})"
    return {"snnverify": own, "numpy": np.__version__, "numba": _version("numba")}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
