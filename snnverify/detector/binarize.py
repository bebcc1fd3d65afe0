"""SiLU to binary spikes: every activation that emits ``silu(mem)`` emits ``mem > threshold``; no tensor changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import nn

from ..content import Content
from ..errors import ConfigError
from .blocks import BasicBlock_2, Constants, Conv, Conv_A, SpikingActivation, mem_update

# Each converted unit is of exactly one kind.
KINDS = ("mem_update", "Conv.SiLU", "Conv_A.SiLU", "declared")


class Unit(NamedTuple):
    """One activation: its module, its kind (one of `KINDS`) and what it emits now."""

    module: nn.Module
    kind: str
    now: Literal["silu", "binary"]


@dataclass(frozen=True, eq=False)
class Statistics(Content):
    """What a conversion looked at and what it changed.

    Parameters
    ----------
    checked : int
        Modules of the given one, itself included, by path: one that stands at two paths counts twice.
    kinds : mapping of str to int
        Units converted, for each of `KINDS`; no unit is of two kinds.
    binary : int
        Units that emitted spikes before.
    left : tuple of str
        Paths of ``nn.SiLU`` that belong to no convertible unit and stay as they are.
    overwriting : tuple of str
        Units that emit SiLU in place at the head of a residual block: step 0 of the block's input is ``silu(x[0])`` for
        its shortcut. Spikes leave the input alone.
    """

    checked: int
    kinds: dict[str, int]
    binary: int = 0
    left: tuple[str, ...] = ()
    overwriting: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Units converted."""
        return sum(self.kinds.values())


def activations(module: nn.Module) -> dict[str, Unit]:
    """Every unit that a conversion makes binary, or finds binary, by module path in the order of the module's children.

    These are `mem_update`, an ``nn.SiLU`` that is ``.act`` of a `Conv` or `Conv_A`, and every module that declares the
    protocol `SpikingActivation`. What such a unit is made of is its own affair and is not looked into.
    """
    return dict(_units(module, ""))


def statistics(module: nn.Module) -> Statistics:
    """Count what `binarize` converts in `module`, without converting it."""
    units = activations(module)
    counts = dict.fromkeys(KINDS, 0)
    for unit in units.values():
        counts[unit.kind] += unit.now == "silu"
    modules = dict(module.named_modules(remove_duplicate=False))
    left = [
        path
        for path, m in modules.items()
        if isinstance(m, nn.SiLU) and not any(path == u or path.startswith(f"{u}.") or not u for u in units)
    ]
    heads = (f"{path}.residual_function.0".lstrip(".") for path, m in modules.items() if isinstance(m, BasicBlock_2))
    overwriting = tuple(p for p in heads if p in units and units[p].now == "silu" and in_place(units[p].module))
    return Statistics(len(modules), counts, sum(u.now == "binary" for u in units.values()), tuple(left), overwriting)


def in_place(unit: nn.Module) -> bool:
    """Whether the SiLU of a unit overwrites what it is given."""
    return bool(getattr(unit if isinstance(unit, nn.SiLU) else getattr(unit, "actFun", None), "inplace", False))


def overwritten(found: Statistics) -> Iterator[str]:
    """What a reader should know of inputs that SiLU in place overwrote: a line, or none."""
    if n := len(found.overwriting):
        more = ", ..." if n > 2 else ""
        yield (f"{n} SiLU in place overwrite step 0 of their residual block's input, which its shortcut takes "
               f"({', '.join(found.overwriting[:2])}{more}); spikes leave it as it is")  # fmt: skip


def binarize(module: nn.Module, constants: Constants | None = None) -> tuple[nn.Module, Statistics]:
    """Return a copy in which ``s = silu(mem)`` became ``s = mem > threshold``, and what was converted.

    Parameters
    ----------
    module : torch.nn.Module
        Left alone.
    constants : Constants, optional
        What every converted unit runs on. Without them a unit that has constants keeps them, and an ``nn.SiLU``, which
        has none, takes those of the others.

    Returns
    -------
    module : torch.nn.Module
        Deep copy, in the same mode; parameters and buffers are byte-equal.
    statistics : Statistics

    Raises
    ------
    ConfigError
        Constants of another T than units that stay have, or an ``nn.SiLU`` beside units whose constants differ.
    """
    found = statistics(module)
    result = copy.deepcopy(module)
    units = activations(result)
    if constants is not None:
        for path, unit in units.items():
            if unit.now == "binary" and _constants(unit).steps != constants.steps:
                raise ConfigError(
                    f"timesteps = {constants.steps}: {path} runs on T = {_constants(unit).steps}; "
                    "a net has one T, leave the option out"
                )
    shared = constants or _shared(result, units)
    for path, unit in units.items():
        if unit.now == "binary":
            continue
        if isinstance(unit.module, nn.SiLU):
            spikes = mem_update(False, unit.module.inplace, shared).train(unit.module.training)
            if not path:
                raise ConfigError("model: it is a single activation; give the net that it belongs to")
            parent, _, name = path.rpartition(".")
            setattr(result.get_submodule(parent), name, spikes)
            continue
        declared: Any = unit.module
        declared.act = False
        if constants is not None:
            declared.constants = constants
    return result, found


def _units(module: nn.Module, path: str) -> Iterator[tuple[str, Unit]]:
    """Units below `module`, itself included; depth first."""
    if isinstance(module, mem_update) or _declares(module):
        kind = "mem_update" if isinstance(module, mem_update) else "declared"
        yield path, Unit(module, kind, "silu" if vars(module)["act"] else "binary")
        return
    for name, child in module._modules.items():  # `named_children` leaves out what stands there twice
        if child is None:
            continue
        at = f"{path}.{name}" if path else name
        if name == "act" and isinstance(module, Conv_A) and isinstance(child, nn.SiLU):
            yield at, Unit(child, "Conv.SiLU" if isinstance(module, Conv) else "Conv_A.SiLU", "silu")
        else:
            yield from _units(child, at)


def _declares(module: nn.Module) -> bool:
    # a `Conv` has an `act`, too, and a `Detector` has constants
    return (
        isinstance(module, SpikingActivation)
        and isinstance(module.act, bool)
        and isinstance(module.constants, Constants)
    )


def _constants(unit: Unit) -> Constants:
    held: Any = unit.module
    return held.constants  # type: ignore[no-any-return]


def _shared(module: nn.Module, units: dict[str, Unit]) -> Constants:
    """Constants of a net whose units agree; those of the net itself where it says them; else the family's."""
    own = getattr(module, "constants", None)
    if isinstance(own, Constants):
        return own
    found = {_constants(u) for u in units.values() if not isinstance(u.module, nn.SiLU)}
    if len(found) > 1 and any(isinstance(u.module, nn.SiLU) for u in units.values()):
        raise ConfigError(f"constants: an nn.SiLU has none, and the units have {len(found)} kinds of them; give them")
    return found.pop() if len(found) == 1 else Constants()
