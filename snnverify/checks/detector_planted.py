"""That a comparison of two nets sees one thing that is changed beside the activations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from ..detector.blocks import Constants, Conv, Conv_A, mem_update
from ..detector.compare import Pair
from ..findings import Measure
from ..oracles import Oracle
from . import check
from .detector import net, picture
from .wired import Drawn, detectors

KEPT = ("tensors", "structure", "spikes", "round_trip")
PLANTED = (
    "nothing",
    "a bit",
    "a dtype",
    "a buffer",
    "a stride",
    "a padding mode",
    "a sharing",
    "an epsilon",
    "a unit",
    "constants",
    "a class",
)


@check("operators", st.tuples(detectors(True), st.sampled_from(PLANTED)))
def comparison_sees_what_is_planted(drawn: tuple[Drawn, str], subject: Oracle) -> Iterator[Measure]:
    """One thing that is changed beside the activations is found by its law, and a clean conversion breaks none of the laws on what it keeps [planted]."""
    given, planted = drawn
    before = net(given)
    after, _ = subject.operator("binarize")(before)
    conv = next(m for m in after.modules() if isinstance(m, nn.Conv2d))
    bn = next(m for m in after.modules() if isinstance(m, nn.BatchNorm3d))
    unit = next((m for m in after.modules() if isinstance(m, mem_update)), None)
    law = "structure"
    if planted in ("unit", "a unit", "constants", "a class") and unit is None:
        return
    if planted == "a bit":
        conv.weight.data.view(-1).numpy().view(np.uint8)[0] ^= 1
        law = "tensors"
    elif planted == "a dtype":
        assert bn.num_batches_tracked is not None
        bn.num_batches_tracked = bn.num_batches_tracked.int()
        law = "tensors"
    elif planted == "a buffer":
        del bn._buffers["running_mean"]
        bn.register_buffer("running_mean", torch.full((bn.num_features,), 0.125, dtype=torch.float64))
        law = "tensors"
    elif planted == "a stride":
        conv.stride = (conv.stride[0] + 1, conv.stride[1])
    elif planted == "a padding mode":
        conv.padding_mode = "reflect"
    elif planted == "a sharing":
        law = "structure" if _shared(after) else ""
    elif planted == "an epsilon":
        bn.eps = 0.125
    elif planted == "a unit":
        assert unit is not None
        unit.act = True
    elif planted == "constants":
        assert unit is not None
        unit.constants = Constants(unit.constants.steps, 0.75, unit.constants.decay)
        law = "" if not _was_unit(before, after, unit) else law
    elif planted == "a class":
        holder = next(m for m in after.modules() if isinstance(m, (Conv, Conv_A)) or type(m).__name__ == "BasicBlock_2")
        holder.__class__ = type("Another", (type(holder),), {})
    pair = Pair(before, after, picture(given), real=False)
    broken = {name: subject.operator("law")(name, pair).outcome for name in (*KEPT, *([law] if law else []))}
    if planted == "nothing":
        for name in KEPT:
            yield Measure("a law broken by a clean conversion", float(broken[name] != "pass"), where=name)
    elif law:
        yield Measure("not seen", float(broken[law] == "pass"), where=planted)


def _shared(net: nn.Module) -> bool:
    """Put one activation in the place of the next one of its constants, where there are two: nothing else differs."""
    units = [(p, m) for p, m in net.named_modules() if isinstance(m, mem_update)]
    if len(units) < 2:
        return False
    parent, _, name = units[1][0].rpartition(".")
    net.get_submodule(parent)._modules[name] = units[0][1]
    return True


def _was_unit(before: nn.Module, after: nn.Module, unit: nn.Module) -> bool:
    """Whether the unit was a `mem_update` before, whose constants can be compared."""
    path = next(p for p, m in after.named_modules() if m is unit)
    return isinstance(dict(before.named_modules()).get(path), mem_update)
