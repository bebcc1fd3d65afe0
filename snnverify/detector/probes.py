"""What a model does, seen by other means than a trace: by perturbing a module, and by torch's own hooks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from ..content import Array


class Seen(NamedTuple):
    """One call of a module: its path, the names of its classes, its first input, its output where that is one tensor."""

    path: str
    kinds: frozenset[str]
    taken: Array | None
    given: Array | None


def watched(model: nn.Module, x: Array) -> list[Seen]:
    """Run a model and see every call of its modules, in order of their returns."""
    paths = {m: path for path, m in model.named_modules()}
    found: list[Seen] = []

    def hook(m: nn.Module, args: Any, y: Any) -> None:
        if m in paths:  # a slice of a Sequential is a module of the moment
            kinds = frozenset(c.__name__ for c in type(m).__mro__)
            found.append(Seen(paths[m], kinds, _array(args[0] if args else None), _array(y)))

    handle = register_module_forward_hook(hook)
    try:
        with torch.no_grad():
            model(torch.as_tensor(x))
    finally:
        handle.remove()
    return found


def perturbed(model: nn.Module, x: Array, path: str = "") -> dict[str, Array]:
    """Output of every module by path, where noise is added to that of one."""
    found: dict[str, Array] = {}

    def hook(name: str) -> Any:
        def kept(m: nn.Module, args: Any, y: Any) -> Any:
            if name == path:
                y = y + torch.as_tensor(np.random.default_rng(0).uniform(size=tuple(y.shape)), dtype=y.dtype)
            if isinstance(y, torch.Tensor):
                found[name] = y.numpy().copy()
            return y

        return kept

    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(torch.as_tensor(x))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _array(x: Any) -> Array | None:
    return x.numpy().copy() if isinstance(x, torch.Tensor) else None
