"""That each law of a pair sees what it is for: one thing is planted in a net after its conversion, and its law must break."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

from ..detector.binarize import statistics
from ..detector.blocks import BasicBlock_2, mem_update
from ..detector.checkpoint import Opened
from ..detector.compare import Pair
from ..detector.complete import complete
from ..detector.manifest import manifest
from ..detector.rebuild import describe
from ..errors import DataError
from ..findings import Measure
from ..oracles import Oracle
from . import check
from .detector import net, picture
from .wired import Drawn, detectors


@contextmanager
def _otherwise(unit: mem_update, **changed: Any) -> Iterator[None]:
    """Other constants of a unit, for as long as it runs."""
    held, unit.constants = unit.constants, replace(unit.constants, **changed)
    try:
        yield
    finally:
        unit.constants = held


class Graded(mem_update):
    """Emits a half in every step."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        return torch.full_like(super().forward(x), 0.5)


class Silent(mem_update):
    """Never fires."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        return torch.zeros_like(super().forward(x))


class Inverse(mem_update):
    """Fires where it must not, and nowhere else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        return 1 - super().forward(x)


class Lax(mem_update):
    """Takes NaN, and any number of steps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        return (x > self.constants.threshold).to(x.dtype)


class Stumbling(mem_update):
    """Falls over NaN and another number of steps, and refuses neither."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        try:
            return super().forward(x)
        except DataError as e:
            raise IndexError("index out of range") from e


class Early(mem_update):
    """Fires at its threshold, too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        below = torch.nextafter(torch.tensor(self.constants.threshold, dtype=x.dtype), torch.tensor(0, dtype=x.dtype))
        with _otherwise(self, threshold=float(below)):
            return super().forward(x)


class Yielding(mem_update):
    """Runs for as many steps as it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        with _otherwise(self, steps=len(x)):
            return super().forward(x)


class Overwriting(mem_update):
    """SiLU over its own potential where it says that it keeps it, and the reverse."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        self.actFun.inplace = not self.actFun.inplace
        try:
            return super().forward(x)
        finally:
            self.actFun.inplace = not self.actFun.inplace


class Swish(mem_update):
    """Emits twice what SiLU is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> the same."""
        return 2 * super().forward(x)


Plant = Callable[[Pair], bool]  # whether there was a place for it


def _spikes(kind: type[mem_update]) -> Plant:
    def plant(pair: Pair) -> bool:
        found = [m for m in pair.after.modules() if type(m) is mem_update]
        for m in found:
            m.__class__ = kind
        return bool(found)

    return plant


def _silu(kind: type[mem_update], of_memory: bool) -> Plant:
    """In the net before; `of_memory`: to be seen only where something is left of an earlier step."""

    def plant(pair: Pair) -> bool:
        found = [m for m in pair.before.modules() if type(m) is mem_update and m.act]
        if of_memory:
            found = [m for m in found if m.constants.steps > 1 and m.constants.decay]
        for m in found:
            m.__class__ = kind
        return bool(found)

    return plant


def _graded_in_a_block(pair: Pair) -> bool:
    """What stands before a convolution of a block emits halves: its place gets spikes in every net of the family."""
    block = next((m for m in pair.after.modules() if isinstance(m, BasicBlock_2)), None)
    if block is None:
        return False
    block.residual_function[0].__class__ = Graded
    return True


def _silent(pair: Pair) -> bool:
    pair.real = True
    return _spikes(Silent)(pair)


def _negated_on_loading(pair: Pair) -> bool:
    conv = next(m for m in pair.after.modules() if isinstance(m, nn.Conv2d))
    nn.init.ones_(conv.weight)  # not its own negative

    def negate(m: nn.Module, state: dict[str, torch.Tensor], prefix: str, *_: object) -> None:
        state[f"{prefix}weight"] = -state[f"{prefix}weight"]

    conv.register_load_state_dict_pre_hook(negate)
    return True


def _one_more(pair: Pair) -> bool:
    bias = next(m for m in pair.after.modules() if isinstance(m, nn.BatchNorm3d)).bias
    bias.data[0] += 1
    return True


def _another_epsilon(pair: Pair) -> bool:
    next(m for m in pair.after.modules() if isinstance(m, nn.BatchNorm3d)).eps = 0.125
    return True


def _edited(*path: Any) -> Plant:
    """One entry of the manifest says another thing; ``*`` is the first unit that was SiLU and is no ``nn.SiLU``."""

    def plant(pair: Pair) -> bool:
        said: Any = copy.deepcopy(pair.said)
        pair.said = said
        units = [p for p, u in said["units"].items() if u["before"] == "silu" and u["kind"] == "mem_update"]
        for key in path[:-1]:
            if key == "*" and not units:
                return False
            said = said[units[0] if key == "*" else key]
        told = said[path[-1]]
        said[path[-1]] = (
            not told if isinstance(told, bool) else told + 1 if isinstance(told, (int, float)) else "nothing"
        )
        return True

    return plant


def _left_out(pair: Pair) -> bool:
    said: Any = copy.deepcopy(pair.said)
    del said["units"][next(iter(said["units"]))]
    pair.said = said
    return True


def _another_decay(pair: Pair) -> bool:
    for m in pair.after.modules():
        if type(m) is mem_update:
            m.constants = replace(m.constants, decay=1 - m.constants.decay / 2)
    return True


def _memory(plant: Plant) -> Plant:
    """Only where something is left of an earlier step."""

    def planted(pair: Pair) -> bool:
        seen = [
            m for m in pair.before.modules() if type(m) is mem_update and m.constants.steps > 1 and m.constants.decay
        ]
        return bool(seen) and plant(pair)

    return planted


# what is planted: the law that must break, and the planting
PLANTED: dict[str, tuple[str, Plant]] = {
    "a bias of one more": ("tensors", _one_more),
    "another epsilon": ("structure", _another_epsilon),
    "another digest in the manifest": ("record", _edited("tensors", "sha256")),
    "another earlier file in the manifest": ("record", _edited("source", "earlier", 0, "sha256")),
    "another count in the manifest": ("record", _edited("statistics", "total")),
    "spikes with a value": ("spikes", _spikes(Graded)),
    "halves before a convolution": ("readiness", _graded_in_a_block),
    "silence": ("alive", _silent),
    "spikes at the threshold": ("constants", _spikes(Early)),
    "any T": ("constants", _spikes(Yielding)),
    "a unit left out of the manifest": ("constants", _left_out),
    "another T in the manifest": ("constants", _edited("T", "value")),
    "another threshold in the manifest": ("constants", _edited("units", "*", "threshold")),
    "another decay in the manifest": ("constants", _memory(_edited("units", "*", "decay"))),
    "the other recurrence": ("recurrences", _silu(Overwriting, True)),
    "the other recurrence in the manifest": ("recurrences", _memory(_edited("units", "*", "inplace"))),
    "another decay of the spikes": ("recurrences", _memory(_another_decay)),
    "twice a SiLU": ("recurrences", _silu(Swish, False)),
    "a SiLU that was none": ("recurrences", _edited("units", "*", "before")),
    "tensors that load otherwise": ("round_trip", _negated_on_loading),
    "spikes inverted": ("simulation", _spikes(Inverse)),
    "a unit that takes NaN and any T": ("refusals", _spikes(Lax)),
    "a unit that falls over NaN and another T": ("refusals", _spikes(Stumbling)),
}  # fmt: skip


OF_RECORDS = ("constants", "record", "recurrences")
OF_RUNS = tuple(sorted({law for law, _ in PLANTED.values()} - set(OF_RECORDS)))


@check("operators", st.tuples(detectors(True), st.sampled_from(list(zip(OF_RUNS[::2], OF_RUNS[1::2], strict=True)))))
def laws_see_what_they_are_for(drawn: tuple[Drawn, tuple[str, str]], subject: Oracle) -> Iterator[Measure]:
    """A clean conversion breaks none of the laws on tensors, structure and what runs; each breaks where what it is for is planted: a bias, an epsilon, spikes with a value, silence, spikes inverted, a unit that takes NaN, tensors that load otherwise [planted]."""
    for law in drawn[1]:
        yield from _seen(drawn[0], law, subject)


def _small(steps: int, decay: float, more: bool) -> str:
    """One or two units: probing one takes some hundred runs of it."""
    blocks = [
        [-1, 1, "Conv_1", [4, 3, 2]],
        [-1, 1, "Conv", [4, 1, 1, True]],
        *([[-1, 1, "Conv_A", [4, 1]]] if more else []),
    ]
    constants = {"T": steps, "threshold": 0.5, "decay": decay}
    return json.dumps({"nc": 3, "channels": 2, **constants, "backbone": blocks, "head": [[-1, 1, "Classify", [3]]]})


small = st.builds(
    Drawn, st.builds(_small, st.integers(1, 3), st.sampled_from([0.0, 0.25, 1.0]), st.booleans()), st.integers(0, 99)
)


@check("operators", st.tuples(small, st.sampled_from(OF_RECORDS)))
def records_are_held_to_what_runs(drawn: tuple[Drawn, str], subject: Oracle) -> Iterator[Measure]:
    """A clean conversion breaks no law on its manifest; each breaks where an entry is edited, and where a unit runs otherwise than it is told: at its threshold, for any T, by the other recurrence, by another decay, on another function [planted]."""
    yield from _seen(*drawn, subject)


def _seen(given: Drawn, law: str, subject: Oracle) -> Iterator[Measure]:
    """A law on a clean conversion of the net, and on one with each of its plants."""
    for planted, (of, plant) in PLANTED.items():
        if of != law:
            continue
        pair = _converted(given, subject)
        if not any(type(m) is mem_update for m in pair.after.modules()):
            return
        _ = pair.tree  # described as it is: the numpy simulation must not know
        if plant(pair):
            found = subject.operator("law")(law, pair)
            said = f"{found.outcome} {found.message}"
            yield Measure("not seen", float(found.outcome != "fail"), where=planted, detail=said)
    clean = subject.operator("law")(law, _converted(given, subject))
    yield Measure("broken by a clean conversion", float(clean.outcome != "pass"), where=law, detail=str(clean.worst))


def _converted(given: Drawn, subject: Oracle) -> Pair:
    """A drawn net and its conversion, with the manifest, as if both had been read from files."""
    before = net(given)
    after, _ = subject.operator("binarize")(before)
    found = describe(before)
    opened = Opened(
        before, found.tree, complete(found.tree, {}), {"sha256": "0" * 64, "earlier": [{"sha256": "1" * 64}]}
    )
    shown = manifest(opened, after, statistics(before))
    return Pair(before, after, picture(given), copy.deepcopy(shown), real=False, shown=shown)
