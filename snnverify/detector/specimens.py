"""Modules of which it is known, without a trace, what they do: wirings, pairs of paths, detectors with live activity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..content import Content
from .model import Detector

CHANNELS, SIDE = 2, 16
MODULES = ("conv", "relu", "relu in place", "identity", "dropout", "cat module", "block", "again")
OPERATIONS = ("add", "add in place", "mul", "sub", "cat", "relu of it", "halves", "written")
SILENT = ("layout", "data", "unused", "unseen")
TWO = ("add", "add in place", "mul", "sub", "cat", "cat module", "written")


@dataclass(frozen=True, eq=False)
class Program(Content):
    """Steps (kind, first operand, second operand), operands counted back from the last value; how many are returned."""

    steps: tuple[tuple[str, int, int], ...]
    returned: int


@dataclass(frozen=True, eq=False)
class TwoPaths(Content):
    """What lies on two paths from a value to a join, the names of their modules, and the join."""

    paths: tuple[tuple[str, ...], tuple[str, ...]]
    names: tuple[str, str]
    join: str


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
    return makers[kind]() if kind in makers else None


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


class Joined(nn.Module):
    """Two paths and their join."""

    def __init__(self, drawn: TwoPaths) -> None:
        super().__init__()
        makers: dict[str, Any] = {
            "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1),
            "silu": nn.SiLU,
            "identity": nn.Identity,
        }
        for name, path in zip(drawn.names, drawn.paths, strict=True):
            self.add_module(name, nn.ModuleList(makers.get(kind, nn.Identity)() for kind in path))
        self.drawn = drawn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> the same, or twice the channels."""
        ends = []
        for name, path in zip(self.drawn.names, self.drawn.paths, strict=True):
            y = x
            for kind, m in zip(path, getattr(self, name), strict=True):
                y = y * 0.5 if kind == "halves" else m(y)
            ends.append(y)
        joins = {"add": lambda: ends[0] + ends[1], "mul": lambda: ends[0] * ends[1], "cat": lambda: torch.cat(ends, 1)}
        return joins[self.drawn.join]()


def built(description: Mapping[str, Any], seed: int, double: bool = False) -> Detector:
    """The detector with weights of a seed, in evaluation mode; batch norms keep its activity up."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Detector(description)
        for m in model.modules():
            if isinstance(m, nn.BatchNorm3d):
                nn.init.uniform_(m.weight, 0.8, 1.6)
                nn.init.uniform_(m.bias, -0.2, 0.6)
    return (model.double() if double else model).eval()
