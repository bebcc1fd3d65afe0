"""Wirings and detectors that are drawn, and what a wiring does, read off its steps alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..content import Array, Content
from ..detector.specimens import MODULES, OPERATIONS, SIDE, SILENT, TWO, Program, earlier, inner


@dataclass(frozen=True, eq=False)
class Drawn(Content):
    """A description of the family, as JSON, and a seed of weights, images and perturbations."""

    description: str
    seed: int


def detectors(silu: bool) -> st.SearchStrategy[Drawn]:
    """Detectors with SiLU in every activation, or in none."""
    return st.builds(Drawn, descriptions(silu).map(json.dumps), st.integers(0, 99))


def images(n: int, seed: int, dtype: Any = np.float32) -> Array:
    """Uniform images [n, 2, 16, 16]."""
    return np.random.default_rng(seed).uniform(size=(n, 2, SIDE, SIDE)).astype(dtype)


# Convolutions and second calls of them, which need one another, come oftener.
KINDS = (*MODULES, *OPERATIONS, *SILENT, *("conv", "again") * 3)
FORKS = ("conv", "relu of it", "add", "cat", "block")  # what forks and joins are made of


def programs(most: int = 9, kinds: tuple[str, ...] = KINDS) -> st.SearchStrategy[Program]:
    """Wirings of one to `most` steps."""
    step = st.tuples(st.sampled_from(kinds), st.integers(0, 4), st.integers(0, 4))
    return st.builds(Program, st.lists(step, min_size=1, max_size=most).map(tuple), st.integers(1, 2))


@st.composite
def descriptions(draw: st.DrawFn, silu: bool) -> dict[str, Any]:
    """A description of up to six blocks, with SiLU in every activation or in none."""
    channels, strides = [4], [2]
    blocks: list[list[Any]] = [[-1, 1, "Conv_1", [4, 3, 2]]]
    for _ in range(draw(st.integers(1, 4))):
        kinds = ["BasicBlock_2", "BasicBlock_2", "Conv", "Conv_A" if silu else "Conv", "Concat", "Upsample"]
        kind = draw(st.sampled_from(kinds))
        like = [k for k in range(len(blocks) - 1) if strides[k] == strides[-1]]
        if kind == "Concat" and like:
            other = draw(st.sampled_from(like))
            blocks.append([[-1, other], 1, "Concat", []])
            channels.append(channels[-1] + channels[other])
            strides.append(strides[-1])
        elif kind == "Upsample" and strides[-1] > 1:
            blocks.append([-1, 1, "Upsample", [2]])
            channels.append(channels[-1])
            strides.append(strides[-1] // 2)
        else:
            kind = kind if kind not in ("Concat", "Upsample") else "Conv_1"
            stride = draw(st.sampled_from([1, 1, 2])) if kind == "BasicBlock_2" and strides[-1] < 8 else 1
            width = draw(st.sampled_from([4, channels[-1]]))
            blocks.append([-1, 1, kind, [width, 3 if kind == "BasicBlock_2" else 1, stride,
                                         *([silu] if kind in ("BasicBlock_2", "Conv") else [])]])  # fmt: skip
            channels.append(width)
            strides.append(strides[-1] * stride)
    last = [[-1, 1, "Classify", [3]]]
    if draw(st.booleans()):
        last = [[[-1, draw(st.integers(0, len(blocks) - 1))], 1, "Detect", ["nc"]]]
    anchors = [[10, 13], [30, 61]]
    return {"nc": 3, "channels": 2, "T": draw(st.integers(1, 3)), "anchors": anchors, "backbone": blocks, "head": last}


class Known:
    """What a program does, by its steps alone.

    Attributes
    ----------
    edges : list of (source, target)
        Between leaves: ``(path, operation, serial)`` of operations, ``(path, call number)`` of calls, ``image``, outputs.
    statuses : dict of path to status
    calls : dict of path to number of calls
    """

    def __init__(self, program: Program) -> None:
        self.edges: list[tuple[Any, Any]] = []
        self.statuses: dict[str, str] = {}
        self.calls: dict[str, int] = {}
        values = self._run(program, ("image",), "")
        made = [values[-1]] if program.returned == 1 else [values[-1], values[len(values) // 2]]
        names = ["output"] if len(made) == 1 else ["output 1", "output 2"]
        self.edges += [(s, name) for name, leaves in zip(names, made, strict=True) for s in leaves]

    def named(self) -> set[tuple[str, str]]:
        """Edges by the names of a diagram, without operations that lead to no output and no call."""
        kept: set[Any] = {b for _, b in self.edges if isinstance(b, str) or len(b) == 2}
        while more := {a for a, b in self.edges if b in kept} - kept:
            kept |= more
        names: dict[Any, str] = {}
        numbers: dict[str, int] = {}
        for leaf in dict.fromkeys(x for _, b in self.edges for x in [b]):
            if leaf in kept and not isinstance(leaf, str) and len(leaf) == 3:
                stem = f"{leaf[0]}/{leaf[1]}"
                numbers[stem] = numbers.get(stem, 0) + 1
                names[leaf] = stem + (f":{numbers[stem]}" if numbers[stem] > 1 else "")
        return {(self._name(a, names), self._name(b, names)) for a, b in self.edges if b in kept}

    @staticmethod
    def _name(leaf: Any, names: dict[Any, str]) -> str:
        if isinstance(leaf, str):
            return leaf
        return names[leaf] if len(leaf) == 3 else leaf[0] + (f":{leaf[1]}" if leaf[1] > 1 else "")

    def _operation(self, path: str, name: str, *sources: tuple[Any, ...]) -> tuple[Any, ...]:
        leaf = (path, name, len(self.edges))
        self.edges += [(s, leaf) for each in sources for s in each]
        return (leaf,)

    def _call(self, path: str, *sources: tuple[Any, ...], status: str = "executed") -> tuple[Any, ...]:
        self.calls[path] = self.calls.get(path, 0) + 1
        self.statuses[path] = status
        leaf = (path, self.calls[path])
        self.edges += [(s, leaf) for each in sources for s in each]
        return (leaf,)

    def _run(self, program: Program, x: tuple[Any, ...], path: str) -> list[tuple[Any, ...]]:
        values = [x]
        for k, (kind, a, b) in enumerate(program.steps):
            p, q = values[-1 - a % len(values)], values[-1 - b % len(values)]
            name = f"{path}.m{k}" if path else f"m{k}"
            if kind == "unused":
                self.statuses[name] = "unexecuted"
            elif kind == "unseen":
                self._call(name, p)
            else:
                values.append(self._step(kind, a, b, p, q, path, name, earlier(program, k)))
        return values

    def _step(
        self, kind: str, a: int, b: int, p: Any, q: Any, path: str, name: str, before: str | None
    ) -> tuple[Any, ...]:
        """Leaves whose values a step hands on."""
        if kind in ("layout", "data") or (kind == "again" and before is None):
            return p  # type: ignore[no-any-return]
        if kind == "again":
            return self._call(f"{path}.{before}" if path else str(before), p)
        if kind == "block" and not path:
            self.calls[name], self.statuses[name] = 1, "container"
            return self._run(inner(a, b), p, name)[-1]
        if kind == "cat module":
            return self._call(name, p, q)
        if kind in MODULES:
            return self._call(name, p, status="identity" if kind in ("identity", "dropout") else "executed")
        if kind == "written":
            parts = [self._operation(path, "slice", p), self._operation(path, "slice", q)]
            return (*self._operation(path, "copy", parts[0]), *self._operation(path, "copy", parts[1]))
        if kind == "cat":
            return self._operation(path, "slice", self._operation(path, "cat", p, q))
        word = {"add in place": "add", "relu of it": "relu", "halves": "mul"}.get(kind, kind)
        return self._operation(path, word, p, *([q] if kind in TWO else []))
