"""A conversion to binary spikes held against what it claims: laws on a net before and after it, each with its source.

Nothing here asks the conversion what it converted: units are found anew, from names of classes and the protocol.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from ..content import Array
from ..errors import Unsupported
from ..findings import Measure
from .readiness import Recorded, recorded
from .rebuild import describe, octets
from .walk import Node, leaves

# Module bookkeeping of torch, and children and tensors, which are compared by themselves.
_MACHINERY = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook"}


@dataclass
class Pair:
    """A net before and after its conversion, and what they are judged by.

    Parameters
    ----------
    before, after : torch.nn.Module
        In eval mode.
    x : array [B, C, H, W]
        Images.
    said : mapping, optional
        What the conversion recorded (its manifest); without it, the constants of the units themselves.
    real : bool
        The images are data: dead and saturated layers count, which on dummy images say little.
    ready : bool
        Every synapse but those of the image must get whole numbers.
    notes : list of str
        What a reader should know beside the findings.
    shown : mapping, optional
        The manifest that a conversion of `before` into `after` would have, made from the two.
    """

    before: nn.Module
    after: nn.Module
    x: Array
    said: Mapping[str, Any] | None = None
    real: bool = True
    ready: bool = False
    notes: list[str] = field(default_factory=list)
    shown: Mapping[str, Any] | None = None

    @cached_property
    def tree(self) -> Node:
        """Description of the net after.

        Raises
        ------
        Unsupported
            A net with a module that is not of the family: what it computes is known to itself alone.
        """
        try:
            return describe(self.after).tree
        except Unsupported as e:
            named = e.what.rpartition(".")[2] if e.what.startswith("no class") else e.what
            raise Unsupported(e.where, f"what it computes is known of the family's modules alone ({named})") from None

    @cached_property
    def ran(self) -> Recorded:
        """A run of the net after: what its units and leaves gave."""
        paths = [*units(self.after)]
        with suppress(Unsupported):  # a module of the user's own
            paths += [p for p in leaves(self.tree) if p not in paths]
        modules = dict(self.after.named_modules(remove_duplicate=False))
        return recorded(self.after, self.x, {p: modules[p] for p in paths})


def units(net: nn.Module) -> dict[str, nn.Module]:
    """Every activation that a conversion is about, by path: `mem_update`, a SiLU as ``act`` of a convolution, a user's own."""
    found: dict[str, nn.Module] = {}
    for path, m in net.named_modules(remove_duplicate=False):
        parent, _, name = path.rpartition(".")
        inside = any(path.startswith(f"{u}.") for u in found)
        owner = _names(net.get_submodule(parent)) if path else set()
        silu = isinstance(m, nn.SiLU) and name == "act" and bool(owner & {"Conv", "Conv_A"})
        if not inside and (emits_silu(m) is not None or silu):
            found[path] = m
    return found


def emits_silu(m: nn.Module) -> bool | None:
    """Whether a unit emits SiLU and not spikes; None where a module is no unit."""
    if isinstance(m, nn.SiLU):
        return True
    act, constants = vars(m).get("act"), vars(m).get("constants")
    declares = isinstance(act, bool) and all(hasattr(constants, k) for k in ("steps", "threshold", "decay"))
    return bool(act) if declares or "mem_update" in _names(m) else None


def _names(m: nn.Module) -> set[str]:
    return {c.__name__ for c in type(m).__mro__}


def tensors(pair: Pair) -> Iterator[Measure]:
    """No parameter or buffer changes in name, dtype, shape or one byte [definition of the conversion]."""
    old, new = (_tensors(n) for n in (pair.before, pair.after))
    apart = sorted(old.keys() ^ new.keys())
    yield Measure("tensors in one of both alone", float(len(apart)), detail=", ".join(apart[:5]))
    for what, told in (
        ("another kind (parameter, buffer, persistent)", lambda e: e[0]), ("another dtype", lambda e: e[1].dtype),
        ("another shape", lambda e: e[1].shape), ("other bytes", lambda e: octets(e[1])),
    ):  # fmt: skip
        differ = [n for n in old.keys() & new.keys() if told(old[n]) != told(new[n])]
        yield Measure(f"tensors of {what}", float(len(differ)), where=f"{len(old)} tensors", detail=first_of(differ))


def _tensors(net: nn.Module) -> dict[str, tuple[str, torch.Tensor]]:
    persistent = set(net.state_dict(keep_vars=True))
    found: dict[str, tuple[str, torch.Tensor]] = {}
    for n, p in net.named_parameters(remove_duplicate=False):
        found[n] = (f"parameter, gradient {p.requires_grad}", p)
    for n, b in net.named_buffers(remove_duplicate=False):
        found[n] = (f"buffer, kept {n in persistent}", b)
    return found


def first_of(names: list[str]) -> str:
    """A few of them, for a detail."""
    return ", ".join(sorted(names)[:5])


def structure(pair: Pair) -> Iterator[Measure]:
    """Every unit that emitted SiLU emits spikes, and no other module, class, attribute, order or sharing differs [definition of the conversion]."""
    found = units(pair.before)
    turned = {p for p, m in found.items() if emits_silu(m)}
    modules = [dict(n.named_modules(remove_duplicate=False)) for n in (pair.before, pair.after)]
    still = [p for p in turned if p not in modules[1] or emits_silu(modules[1][p]) is not False]
    yield Measure("units that still emit SiLU", float(len(still)), where=f"{len(turned)} units", detail=first_of(still))
    # an nn.SiLU becomes a module of its own, with what belongs to it
    replaced = {p for p in turned if isinstance(found[p], nn.SiLU)}
    inside = {q for q in modules[1] if any(q.startswith(f"{p}.") for p in replaced)}
    for what, both in (
        ("modules in one of both alone, or in another order", [[p for p in m if p not in inside] for m in modules]),
        (
            "modules shared otherwise",
            [_sharing({p: m for p, m in each.items() if p not in inside}) for each in modules],
        ),
    ):
        differ = sorted(str(p) for p in {*map(str, both[0])} ^ {*map(str, both[1])})
        yield Measure(what, float(both[0] != both[1]), detail=first_of(differ))
    wrong: list[str] = []
    for path in modules[0].keys() & modules[1].keys() - replaced:
        a, b = (_attributes(m[path]) for m in modules)
        allowed = {"act"} if path in turned else set()
        wrong += [f"{path}.{k}: {a.get(k)} and {b.get(k)}" for k in a.keys() | b.keys() if k not in allowed and a.get(k) != b.get(k)]  # fmt: skip
    yield Measure("modules with another class or attribute", float(len(wrong)), where=f"{len(modules[0])} modules",
                  detail="; ".join(sorted(wrong)[:3]))  # fmt: skip
    strange = [p for p in replaced if p in modules[1] and not _replaced(modules[0][p], modules[1][p])]
    yield Measure("SiLU modules replaced by another thing than an activation of their kind", float(len(strange)),
                  detail=first_of(strange))  # fmt: skip


def _sharing(modules: Mapping[str, nn.Module]) -> list[list[str]]:
    by: dict[int, list[str]] = {}
    for path, m in modules.items():
        by.setdefault(id(m), []).append(path)
    return [paths for paths in by.values() if len(paths) > 1]


def _attributes(m: nn.Module) -> dict[str, Any]:
    kept = {k: _plain(v) for k, v in vars(m).items() if k not in _MACHINERY}
    return {**kept, "class": f"{type(m).__module__}.{type(m).__qualname__}", "children": [*m._modules]}


def _plain(value: Any) -> Any:
    """What can be compared: numbers, texts, and collections of them; of all else the class and the text."""
    if isinstance(value, (bool, int, float, str, bytes, type(None), torch.dtype, torch.device)):
        return value
    if isinstance(value, torch.Tensor):
        return (value.dtype, value.shape, octets(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in (value if isinstance(value, (list, tuple)) else sorted(value, key=str))]
    if hasattr(value, "__dict__") and not callable(value):
        return (type(value).__qualname__, {k: _plain(v) for k, v in vars(value).items()})
    return getattr(value, "__qualname__", type(value).__qualname__)


def _replaced(before: nn.Module, after: nn.Module) -> bool:
    return (
        "mem_update" in _names(after)
        and before.training == after.training
        and not any(True for _ in after.parameters())
    )


def round_trip(pair: Pair) -> Iterator[Measure]:
    """The state dict, saved, read with weights_only and loaded into the same structure, gives every bit of the output again [definition]."""
    state = pair.after.state_dict()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    read = torch.load(buffer, weights_only=True)
    other = copy.deepcopy(pair.after)
    with torch.no_grad():  # nothing of the values may come from the copy
        for t in other.state_dict().values():
            t.zero_()
    found = other.load_state_dict(read, strict=False)
    missing = [*found.missing_keys, *found.unexpected_keys]
    yield Measure(
        "tensors missing or left over", float(len(missing)), where=f"{len(state)} tensors", detail=first_of(missing)
    )
    again = other.state_dict()
    differ = [n for n in state if octets(state[n]) != octets(again[n]) or state[n].dtype != again[n].dtype]
    yield Measure("tensors that differ", float(len(differ)), detail=first_of(differ))
    ys, zs = (outputs(recorded(n, pair.x, {}).output) for n in (pair.after, other))
    wrong = sum(int((y.view(np.uint8) != z.view(np.uint8)).any()) for y, z in zip(ys, zs, strict=True))
    yield Measure("outputs that differ", float(wrong), where=f"{len(ys)} outputs")


def outputs(y: Any) -> list[Array]:
    """Every output of a net."""
    return [np.ascontiguousarray(v.detach().cpu().numpy()) for v in (y if isinstance(y, (list, tuple)) else [y])]
