"""Modules whose wiring is drawn, so that what they do is known without tracing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

from ..content import Content

CHANNELS = 2
MODULES = ("conv", "relu", "relu in place", "identity", "dropout", "cat module", "block", "again")
OPERATIONS = ("add", "add in place", "mul", "sub", "cat", "relu of it", "halves", "written")
SILENT = ("layout", "data", "unused", "unseen")
TWO = ("add", "add in place", "mul", "sub", "cat", "cat module", "written")


@dataclass(frozen=True, eq=False)
class Program(Content):
    """Steps (kind, first operand, second operand), operands counted back from the last value; how many values are returned."""

    steps: tuple[tuple[str, int, int], ...]
    returned: int


def programs(most: int = 9) -> st.SearchStrategy[Program]:
    """Wirings of one to `most` steps; convolutions and second calls of them, which need one another, come oftener."""
    kinds = (*MODULES, *OPERATIONS, *SILENT, *("conv", "again") * 3)
    step = st.tuples(st.sampled_from(kinds), st.integers(0, 4), st.integers(0, 4))
    return st.builds(Program, st.lists(step, min_size=1, max_size=most).map(tuple), st.integers(1, 2))


class Cat(nn.Module):
    """Concatenation of a list, cut back to the usual number of channels."""

    def forward(self, xs: list[torch.Tensor]) -> torch.Tensor:
        """Tensors [B, C, H, W] -> [B, C, H, W]."""
        return torch.cat(xs, 1)[:, 1 : 1 + CHANNELS]


class Wired(nn.Module):
    """A program as a module: step k is child ``m<k>`` where it is a module.

    Parameters
    ----------
    program : Program
    depth : int
        Steps ``block`` hold a program of their own at depth 0, and a convolution below.
    """

    def __init__(self, program: Program, depth: int = 0) -> None:
        super().__init__()
        self.program = program
        for k, (kind, a, b) in enumerate(program.steps):
            m = _module(kind, a, b, depth)
            if m is not None:
                self.add_module(f"m{k}", m)

    def forward(self, x: torch.Tensor) -> Any:
        """[B, C, H, W] -> one tensor of that shape, or two in a tuple."""
        values = [x]
        for k, (kind, a, b) in enumerate(self.program.steps):
            m: Any = getattr(self, f"m{k}", None)
            if kind == "again":
                m = getattr(self, earlier(self.program, k) or "", None)
            p, q = values[-1 - a % len(values)], values[-1 - b % len(values)]
            result = _done(kind, m, p, q)
            if kind not in ("unused", "unseen"):
                values.append(p if result is None else result)
        return values[-1] if self.program.returned == 1 else (values[-1], values[len(values) // 2])


def earlier(program: Program, k: int) -> str | None:
    """Name of the first convolution before step k, which a step ``again`` calls once more."""
    return next((f"m{i}" for i, (kind, _, _) in enumerate(program.steps[:k]) if kind == "conv"), None)


def inner(a: int, b: int) -> Program:
    """Return the program of a block: a sum with a convolution, with its input, or with both."""
    return Program((("conv", 0, 0), ("relu", 0, 0), ("add" if a % 2 else "cat", 0, 1 + b % 2)), 1)


def _module(kind: str, a: int, b: int, depth: int) -> nn.Module | None:
    if kind == "block" and not depth:
        return Wired(inner(a, b), 1)
    makers: dict[str, Any] = {
        "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1), "unused": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1),
        "block": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1), "unseen": nn.Sigmoid, "relu": nn.ReLU, "identity": nn.Identity,
        "relu in place": lambda: nn.ReLU(inplace=True), "dropout": nn.Dropout, "cat module": Cat,
    }  # fmt: skip
    return makers[kind]() if kind in makers else None  # type: ignore[no-any-return]


def _done(kind: str, m: Any, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor | None:
    """What a step does with its operands."""
    if kind == "cat module":
        return m([p, q])  # type: ignore[no-any-return]
    if kind == "relu in place":
        return m(p.clone())  # type: ignore[no-any-return]
    if kind == "unseen":
        m(p)  # runs, and its result is dropped
    if kind == "written":  # a concatenation by hand
        out = torch.empty_like(p)
        out[:, :1], out[:, 1:] = p[:, :1].clone(), q[:, 1:].clone()
        return out
    done: dict[str, Any] = {
        "add": lambda: p + q, "mul": lambda: p * q, "sub": lambda: p - q, "add in place": lambda: p.clone().add_(q),
        "cat": lambda: torch.cat([p, q], 1)[:, 1 : 1 + CHANNELS], "relu of it": lambda: torch.relu(p),
        "halves": lambda: p * 0.5, "layout": lambda: p.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
        "data": lambda: p.data,
    }  # fmt: skip
    if kind in done:
        return done[kind]()  # type: ignore[no-any-return]
    return m(p) if m is not None and kind not in ("unused", "unseen") else None


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

    def _step(self, kind: str, a: int, b: int, p: Any, q: Any, path: str, name: str, before: str | None) -> tuple[Any, ...]:
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
