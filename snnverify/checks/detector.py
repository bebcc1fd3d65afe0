"""SiLU to binary spikes: what a conversion keeps, what the converted net does, and that a comparison sees what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from ..content import Array
from ..detector.behave import refusals, simulation
from ..detector.blocks import Constants, mem_update
from ..detector.compare import Pair
from ..detector.executed import DECAY_ROUNDOFFS
from ..detector.model import Detector
from ..errors import DataError
from ..findings import Measure
from ..oracles import Oracle
from . import check
from .wired import Drawn, detectors

constants = st.builds(
    Constants, st.integers(1, 6), st.sampled_from([0.25, 0.5, 1.0]), st.sampled_from([0.0, 0.25, 0.5, 1.0])
)
trains = st.builds(
    lambda c, seed: (c, np.random.default_rng(seed).integers(-4, 12, (c.steps, 40)) / 8), constants, st.integers(0, 999)
)


def net(drawn: Drawn) -> Detector:
    """The drawn net in float64 with dyadic tensors: every value in it is exact, so that spikes may be compared."""
    rng = np.random.default_rng(drawn.seed)
    model = Detector(json.loads(drawn.description)).double().eval()

    def put(tensor: torch.Tensor, low: int, high: int, unit: float) -> None:
        tensor.data = torch.from_numpy(rng.integers(low, high, tuple(tensor.shape)) * unit).double()

    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            put(m.weight, -2, 4, 0.25)
            if m.bias is not None:
                put(m.bias, -2, 3, 0.25)
        if isinstance(m, nn.BatchNorm3d):
            assert m.running_mean is not None
            assert m.running_var is not None
            m.eps = 0.0
            put(m.weight, 1, 4, 0.5)
            put(m.bias, -1, 3, 0.25)
            put(m.running_mean, -2, 3, 0.25)
            m.running_var.data = torch.from_numpy(rng.choice([0.25, 1.0, 4.0], tuple(m.running_var.shape)))
    return model


def picture(drawn: Drawn) -> Array:
    """Two images of eighths."""
    return np.asarray(np.random.default_rng(drawn.seed).integers(0, 9, (2, 2, 16, 16)) / 8)


def silu_units(model: Detector) -> dict[str, str]:
    """Path and kind of every unit that emits SiLU, by the description's own words."""
    found = {}
    for i, (_, _, name, arguments) in enumerate([*model.yaml["backbone"], *model.yaml["head"]]):
        act = len(arguments) > 3 and arguments[3]
        if name == "Conv_A":
            found[f"model.{i}.act"] = "Conv_A.SiLU"
        elif name == "Conv" and act:
            found[f"model.{i}.act"] = "mem_update"
        elif name == "BasicBlock_2" and act:
            shortcut = len(model.model[i].shortcut) > 0  # type: ignore[arg-type]
            places = ["residual_function.0", "residual_function.3", *(["shortcut.1"] if shortcut else [])]
            found |= {f"model.{i}.{place}": "mem_update" for place in places}
    return found


@check("operators", trains)
def membrane_is_exact(drawn: tuple[Constants, Array], subject: Oracle) -> Iterator[Measure]:
    """mem[t] = decay mem[t-1] (1 - s[t-1]) + x[t], s = mem > threshold, strictly: spikes equal those in fractions; constant input 0.5 gives 0, 1, 0, 1, 0 [EMS-YOLO, Su et al., ICCV 2023, eq. 1 to 3]."""
    c, x = drawn
    for given, held in ((x, c), (np.full((5, 1), 0.5), Constants())):
        exact = np.zeros(given.shape)
        for n in range(given.shape[1]):
            mem, s = Fraction(0), 0
            for t in range(len(given)):
                mem = Fraction(held.decay) * mem * (1 - s) + Fraction(float(given[t, n]))
                s = int(mem > Fraction(held.threshold))
                exact[t, n] = s
        ours = subject.operator("spiking_unit")(given, held)
        yield Measure("spikes that differ", float((ours != exact).sum()), detail=f"{held}")
    yield Measure("0, 1, 0, 1, 0", float((ours[:, 0] != [0, 1, 0, 1, 0]).sum()))


@check("operators", trains)
def recurrences_are_told(drawn: tuple[Constants, Array], subject: Oracle) -> Iterator[Measure]:
    """A SiLU in place puts silu(mem) where the recurrence has mem[t-1], and silu(x[0]) into step 0 of its input; otherwise the input stays; a comparison tells which one runs [EMS-YOLO's mem_update, derived: its first potential is a view of the input]."""
    c, x = drawn
    for inplace in (False, True):
        given = x.copy()
        ours = subject.operator("spiking_unit")(given, c, True, inplace)
        wanted = _silu_recurrence(x, c.decay, inplace)
        # a step adds four roundings and twice that of an exponential (below 2 units); errors of earlier ones shrink
        limit = 32 * c.steps * 2.0**-53 * max(1.0, float(np.abs(wanted).max()), float(np.abs(x).max()))
        yield Measure("silu(mem) off", float(np.abs(ours - wanted).max()), limit, where=f"in place: {inplace}")
        left = np.concatenate([wanted[:1] if inplace else x[:1], x[1:]])
        yield Measure("input left otherwise", float(np.abs(given - left).max()), limit if inplace else 0.0)
        spikes = x.copy()
        subject.operator("spiking_unit")(spikes, c, False, inplace)
        yield Measure("input that spikes changed", float((spikes != x).sum()))
        if c.steps > 1 and c.decay:
            way, decay = subject.operator("recurrence")(mem_update(True, inplace, c))
            yield Measure("told wrong", float(way != ("in-place" if inplace else "plain")), detail=way)
            # a unit without parameters is asked in float64
            yield Measure("decay off", abs(decay - c.decay), DECAY_ROUNDOFFS * 2.0**-53)


def _silu_recurrence(x: Array, decay: float, inplace: bool) -> Array:
    mem, out = x[0], np.zeros_like(x)
    for t in range(len(x)):
        if t:
            mem = decay * (out[t - 1] if inplace else mem) * (1 - out[t - 1]) + x[t]
        out[t] = mem / (1 + np.exp(-mem))
    return out


@check("operators", st.tuples(trains, st.sampled_from([1, 2])))
def shortcuts_take_what_the_unit_left(drawn: tuple[tuple[Constants, Array], int], subject: Oracle) -> Iterator[Measure]:
    """Where the residual path of a block adds nothing, the block gives what its shortcut takes: the input, whose step 0 is silu(x[0]) if the first SiLU is in place; behind a pooling the recurrence of that [EMS-YOLO's BasicBlock_2, derived]."""
    (c, x), stride = drawn
    maps = x[:, :32].reshape(c.steps, 1, 2, 4, 4)
    for inplace in (False, True):
        ours = subject.operator("spiking_block")(maps.copy(), c, inplace, stride)
        wanted = maps.copy()
        if inplace:
            wanted[0] = _silu_recurrence(maps[:1], c.decay, True)[0]
        if stride > 1:
            wanted = wanted.reshape(*maps.shape[:3], 2, 2, 2, 2).max((4, 6))
            wanted = _silu_recurrence(wanted, c.decay, inplace)
        # as above; silu, whose slope is at most 1.1, is taken twice
        limit = 64 * c.steps * 2.0**-53 * max(1.0, float(np.abs(wanted).max()), float(np.abs(x).max()))
        yield Measure(
            "output off", float(np.abs(ours - wanted).max()), limit, where=f"in place: {inplace}, stride {stride}"
        )


@check("operators", detectors(True) | detectors(False))
def nothing_else_changes(drawn: Drawn, subject: Oracle) -> Iterator[Measure]:
    """Every tensor is equal byte for byte, every other module is of its class, the source is untouched, and the units that were SiLU are those of the description [definition of the conversion]."""
    before = net(drawn)
    stays = {k: (v.dtype, v.numpy().tobytes()) for k, v in before.state_dict().items()}
    acts = {p: m.act for p, m in before.named_modules() if isinstance(m, mem_update)}
    after, counted = subject.operator("binarize")(before)
    kept = {k: (v.dtype, v.numpy().tobytes()) for k, v in after.state_dict().items()}
    yield Measure(
        "tensors that differ", float(sum(kept.get(k) != v for k, v in stays.items()) + len(kept.keys() ^ stays.keys()))
    )
    expected = silu_units(before)
    one, two = ({p: type(m) for p, m in x.named_modules() if ".act." not in p} for x in (before, after))
    odd = {p for p in one.keys() | two.keys() if one.get(p) is not two.get(p)}
    yield Measure("modules of another class", float(len(odd - {p for p, k in expected.items() if k != "mem_update"})))
    live = {p for p, m in after.named_modules() if isinstance(m, nn.SiLU) and not p.endswith("actFun")}
    live |= {p for p, m in after.named_modules() if isinstance(m, mem_update) and m.act}
    yield Measure("units that still emit SiLU", float(len(live)), detail=", ".join(sorted(live)))
    source = {p: m.act for p, m in before.named_modules() if isinstance(m, mem_update)}
    yield Measure("changes of the source", float(source != acts))
    by_kind = {kind: list(expected.values()).count(kind) for kind in counted.kinds}
    yield Measure("counts off", float(dict(counted.kinds) != by_kind), detail=f"{counted.kinds} {by_kind}")
    yield Measure("total off", abs(counted.total - len(expected)))
    yield Measure("modules checked off", abs(counted.checked - len(dict(before.named_modules(remove_duplicate=False)))))
    again = subject.operator("binarize")(after)[1]
    yield Measure("converted by a second run", float(again.total))


@check("operators", detectors(True) | detectors(False))
def spikes_equal_numpy(drawn: Drawn, subject: Oracle) -> Iterator[Measure]:
    """The converted net's spikes equal those of the family in numpy, end to end, and of each layer given torch's own inputs, to the bit [DESIGN 4: limit 0]."""
    before = net(drawn)
    after, _ = subject.operator("binarize")(before)
    yield from simulation(Pair(before, after, picture(drawn)), exact=True)


@check("operators", detectors(True))
def inputs_are_classed(drawn: Drawn, subject: Oracle) -> Iterator[Measure]:
    """Each convolution's input is binary, integer or analog as its values are, analog ones beside the image's break a law where chips are asked for, and silent and saturated units and channels are counted [by construction]."""
    before, image = net(drawn), picture(drawn)
    after, _ = subject.operator("binarize")(before)
    taken, given = _seen(after, image)
    pair = Pair(before, after, image, ready=True)
    found = subject.operator("recorded")(pair)
    for path, x in taken.items():
        kind = "binary" if set(np.unique(x)) <= {0.0, 1.0} else "integer" if (x == np.round(x)).all() else "analog"
        yield Measure("class off", float(found.taken[path] != kind), where=path, detail=f"{found.taken[path]} {kind}")
    analog = any((x != np.round(x)).any() for path, x in taken.items() if path != "model.0.conv")
    law = subject.operator("law")("readiness", pair).outcome
    yield Measure("readiness told wrong", float((law == "fail") != analog), detail=f"{law}, analog: {analog}")
    for path, y in given.items():
        a = subject.operator("activity")(found.given[path])
        units = y.reshape(y.shape[0] * y.shape[1], -1)
        counts = [int(column.sum()) for column in units.T]
        wanted = (sum(counts), counts.count(0), counts.count(len(units)), len(counts))
        told = (a.spikes, a.dead, a.saturated, a.units)
        yield Measure("counts of units off", float(told != wanted), where=path, detail=f"{told} {wanted}")
        each = [y[:, :, c] for c in range(y.shape[2])]
        channels = (sum(not v.any() for v in each), sum(bool(v.all()) for v in each), len(each))
        counted = (a.dead_channels, a.saturated_channels, a.channels)
        yield Measure("counts of channels off", float(counted != channels), where=path, detail=f"{counted} {channels}")


def _seen(model: nn.Module, image: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs of convolutions and linear maps, and spikes of units, of one run."""
    taken: dict[str, Array] = {}
    given: dict[str, Array] = {}
    handles = []
    for path, m in model.named_modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            handles.append(m.register_forward_pre_hook(lambda m, a, p=path: taken.update({p: a[0].numpy()})))
        if isinstance(m, mem_update):
            handles.append(m.register_forward_hook(lambda m, a, y, p=path: given.update({p: y.numpy()})))
    with torch.no_grad():
        model(torch.from_numpy(image))
    for handle in handles:
        handle.remove()
    return taken, given


# What is otherwise, and the measure of `behave.runs_on` that says so.
BROKEN = {
    "threshold": "threshold or comparison differs", "comparison": "threshold or comparison differs",
    "none": "reset is not to zero", "subtract": "reset is not to zero", "decay": "decay differs",
}  # fmt: skip


@check("operators", st.tuples(constants, st.sampled_from(sorted(BROKEN))))
def constants_are_executed(drawn: tuple[Constants, str], subject: Oracle) -> Iterator[Measure]:
    """Probes find the running unit's own constants, and say by the right name what is otherwise: threshold and decay a little off, `>=`, a reset by subtraction, none [behaviour, by the recurrence]."""
    c, otherwise = drawn

    def broken(unit: nn.Module) -> list[str]:
        return subject.operator("broken")(unit, c)  # type: ignore[no-any-return]

    own = broken(mem_update(False, False, c))
    yield Measure("laws broken with its own constants", float(len(own)), detail=", ".join(own))
    others = {"threshold": _Other(c, 1.001), "comparison": _Other(c, at=True)}
    if c.steps > 1:
        others |= {r: _Other(c, reset=r) for r in ("none", "subtract")} if c.decay else {}
        others["decay"] = _Other(c, decay=c.decay * 0.9 if c.decay else 0.125)
    if otherwise in others:
        found = broken(others[otherwise])
        wanted = BROKEN[otherwise]
        yield Measure("another unit passes for it", float(wanted not in found), where=otherwise, detail=f"{found}")


class _Other(nn.Module):
    """The recurrence with one thing otherwise, and T as it should be: nothing else may give it away."""

    def __init__(
        self, c: Constants, scale: float = 1.0, at: bool = False, reset: str = "zero", decay: float | None = None
    ) -> None:
        super().__init__()
        self.steps, self.theta, self.at, self.reset = c.steps, c.threshold * scale, at, reset
        self.decay = c.decay if decay is None else decay

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, n] -> [T, n]."""
        if len(x) != self.steps:
            raise ValueError(f"T = {len(x)}, not {self.steps}")
        mem = x[0]
        out: list[torch.Tensor] = []
        for t in range(len(x)):
            if t:
                left = {"zero": mem * (1 - out[-1]), "none": mem, "subtract": mem - self.theta * out[-1]}[self.reset]
                mem = left * self.decay + x[t]
            out.append(((mem >= self.theta) if self.at else (mem > self.theta)).to(x.dtype))
        return torch.stack(out)


@check("operators", detectors(False))
def wrong_inputs_are_refused(drawn: Drawn, subject: Oracle) -> Iterator[Measure]:
    """An image of an odd size, with NaN, of other channels, or a train of another T is an error in one line, never silence [contract of the family]."""
    model, image = net(drawn), picture(drawn)
    after, _ = subject.operator("binarize")(model)
    nan = image.copy()
    nan[0, 0, 0, 0] = np.nan
    wrong = {"odd size": image[..., :15, :] if after.stride > 1 else None, "NaN": nan, "channels": image[:, :1]}
    for name, x in wrong.items():
        if x is not None:
            yield Measure(
                "not refused", float(not _refuses(lambda x=x: after(torch.from_numpy(np.array(x))))), where=name
            )
    yield from refusals(Pair(model, after, image))
    c = Constants(3)
    for name, x in {"T": np.ones((2, 4)), "NaN in a unit": np.full((3, 4), np.nan)}.items():
        yield Measure(
            "not refused", float(not _refuses(lambda x=x: subject.operator("spiking_unit")(x, c))), where=name
        )


def _refuses(call: Any) -> bool:
    try:
        call()
    except DataError as e:
        return "\n" not in str(e)
    return False
