"""That each law of a pair sees what it is for: one thing is planted in a net after its conversion, and its law must break."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from hypothesis import strategies as st
from torch import nn

from ..detector.blocks import mem_update
from ..detector.compare import Pair
from ..findings import Measure
from ..oracles import Oracle
from . import check
from .detector import net, picture
from .wired import Drawn, detectors


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


def _other(kind: type[mem_update]) -> Callable[[nn.Module], None]:
    def plant(after: nn.Module) -> None:
        for m in after.modules():
            if type(m) is mem_update:
                m.__class__ = kind

    return plant


def _negated_on_loading(after: nn.Module) -> None:
    conv = next(m for m in after.modules() if isinstance(m, nn.Conv2d))
    nn.init.ones_(conv.weight)  # not its own negative

    def negate(m: nn.Module, state: dict[str, torch.Tensor], prefix: str, *_: object) -> None:
        state[f"{prefix}weight"] = -state[f"{prefix}weight"]

    conv.register_load_state_dict_pre_hook(negate)


# law that must break -> what is planted
PLANTED: dict[str, Callable[[nn.Module], None]] = {
    "spikes": _other(Graded), "alive": _other(Silent), "simulation": _other(Inverse), "refusals": _other(Lax),
    "round_trip": _negated_on_loading,
}  # fmt: skip


@check("operators", st.tuples(detectors(True), st.sampled_from(sorted(PLANTED))))
def laws_see_what_they_are_for(drawn: tuple[Drawn, str], subject: Oracle) -> Iterator[Measure]:
    """A clean conversion breaks none of the laws on what runs; spikes with a value, silence, spikes inverted, a unit that takes NaN and any T, and tensors that load otherwise each break theirs [planted]."""
    given, law = drawn
    before = net(given)
    after, _ = subject.operator("binarize")(before)
    if not any(type(m) is mem_update for m in after.modules()):
        return
    pair = Pair(before, after, picture(given), real=False)
    clean = subject.operator("law")(law, pair)
    yield Measure(
        "a law broken by a clean conversion", float(clean.outcome != "pass"), where=law, detail=str(clean.worst)
    )
    planted = Pair(before, after, pair.x)
    _ = planted.tree  # described as it was: the numpy simulation must not know
    PLANTED[law](after)
    found = subject.operator("law")(law, planted)
    yield Measure("not seen", float(found.outcome != "fail"), where=law, detail=f"{found.outcome} {found.message}")
