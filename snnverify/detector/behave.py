"""A net after its conversion held against what it must do when it runs: laws with sources, and the list of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ..content import Array
from ..errors import SnnverifyError, Unsupported
from ..findings import Measure
from .blocks import mem_update
from .compare import Pair, emits_silu, first_of, outputs, round_trip, structure, tensors, units
from .executed import DECAY_ROUNDOFFS, SILU_ROUNDOFFS, emitted, executed, recurrence, roundoff
from .letterbox import stride_of
from .readiness import CLASSES, SYNAPSES, Activity, activity, expected, recorded
from .record import converted, record
from .simulate import Simulated, simulate


def spikes(pair: Pair) -> Iterator[Measure]:
    """Every unit of the net after emits 0 and 1 alone, and no NaN [definition of a spike]."""
    given = {p: pair.ran.given.get(p) for p in units(pair.after)}
    silent = [p for p, y in given.items() if y is None]
    yield Measure("units that did not run", float(len(silent)), where=f"{len(given)} units", detail=first_of(silent))
    for path, y in given.items():
        if y is not None:
            other = y[~((y == 0) | (y == 1))]
            yield Measure("values that are neither 0 nor 1", float(other.size), where=path, detail=f"{other[:3]}")


def readiness(pair: Pair) -> Iterator[Measure]:
    """What arrives at a convolution is binary, integer or analog as the wiring has it; the analog ones beside the image's are named [spiking cores add a weight per spike: Davies et al. 2018]."""
    seen = pair.ran.taken
    try:
        wired, image = expected(pair.tree)
    except Unsupported as e:
        wired, image = {}, set()
        pair.notes.append(f"what arrives at synapses is not worked out from the wiring: {e}")
    idle = [p for p, m in pair.after.named_modules() if isinstance(m, SYNAPSES) and p not in seen]
    yield Measure("convolutions and linear maps that did not run", float(len(idle)), detail=first_of(idle))
    wider = [p for p in seen if p in wired and CLASSES.index(seen[p]) > CLASSES.index(wired[p])]
    yield Measure("inputs of a wider class than the wiring gives", float(len(wider)), where=f"{len(wired)} synapses",
                  detail=", ".join(f"{p}: {seen[p]}, not {wired[p]}" for p in sorted(wider)))  # fmt: skip
    analog = [p for p, kind in seen.items() if kind == "analog" and p not in image]
    for kind in CLASSES:
        pair.notes.append(f"{sum(k == kind for k in seen.values())} of {len(seen)} synapses get {kind} inputs")
    if analog:
        pair.notes.append(f"analog, and not of the image: {', '.join(sorted(analog))}")
    yield Measure("synapses with analog inputs that are not the image", float(len(analog)),
                  0.0 if pair.ready else float("inf"), detail=first_of(analog))  # fmt: skip


def alive(pair: Pair) -> Iterator[Measure]:
    """No activation is silent in every step of every image, and none fires in all of them: either is a constant, which the bias of the next layer says as well [derived: the entropy of a constant is 0]."""
    spiking = [p for p, m in units(pair.after).items() if not emits_silu(m)]
    seen = {p: activity(y) for p in spiking if (y := pair.ran.given.get(p)) is not None}
    for path, a in seen.items():
        for what, n in (("dead", a.dead), ("saturated", a.saturated)):
            yield Measure(f"layers with all units {what}", float(n == a.units), 0.0 if pair.real else float("inf"),
                          where=path, detail=f"{n} of {a.units} units {what}, {a.rate:.4f} spikes a unit and step")  # fmt: skip
    pair.notes += _idle(seen)


def _idle(seen: Mapping[str, Activity]) -> list[str]:
    """Shares of channels that are dead and saturated: of each layer that has some, and of all."""
    told, both = [], [0, 0, 0]
    for path, a in seen.items():
        n, counts = a.channels, (a.dead_channels, a.saturated_channels)
        both = [x + y for x, y in zip(both, (*counts, n), strict=True)]
        if not any(counts):
            continue
        whole = next(
            (f": the whole layer is {w}" for w, k in zip(("dead", "saturated"), counts, strict=True) if k == n), ""
        )
        shares = ", ".join(f"{k} of {n} channels {w} ({100 * k / n:.0f} %)"
                           for w, k in zip(("dead", "saturated"), counts, strict=True))  # fmt: skip
        told.append(f"{path}: {shares}{whole}")
    return [f"channels: {both[0]} of {both[2]} dead, {both[1]} saturated, in {len(told)} of {len(seen)} layers", *told]


def constants(pair: Pair) -> Iterator[Measure]:
    """T, threshold, decay, comparison and reset that are recorded are those that the running unit shows to probes [mem[t] = decay mem[t-1] (1 - s[t-1]) + x[t], s = mem > threshold]."""
    said = None if pair.said is None else pair.said["units"]
    for path, unit in units(pair.after).items():
        if emits_silu(unit):
            continue
        held: Any = unit
        told = {} if said is None else said.get(path)
        yield Measure("units that are not in the manifest", float(told is None), where=path)
        told = told or {}
        threshold = float(told.get("threshold", held.constants.threshold))
        decay = float(told.get("decay", held.constants.decay))
        steps = held.constants.steps
        if pair.said is not None and (recorded_steps := pair.said["T"]["value"]) is not None:
            steps = recorded_steps
        yield from runs_on(unit, threshold, decay, int(steps), path)


def runs_on(unit: nn.Module, threshold: float, decay: float, steps: int, where: str) -> Iterator[Measure]:
    """Measures of a unit against constants that are said of it."""
    e = executed(unit)
    kind = np.float64 if e.unit_roundoff < 1e-10 else np.float32
    asked = float(kind(threshold))
    yield Measure("another T", float(e.steps != (steps,)), where=where, detail=f"said {steps}, takes {e.steps}")
    detail = f"said > {threshold:g}; silent up to {e.silent!r}, a spike from {e.fires!r}"
    yield Measure("threshold or comparison differs", float(e.comparison(asked) != ">"), where=where, detail=detail)
    if max(e.steps) < 2:
        return
    # a boundary lies off by the roundings of decay, product, sum and of the float that it ends at
    u, top = e.unit_roundoff, threshold + decay + 1
    for name, value, right, room in (
        ("decay differs", e.decay, decay, 4 * u * top),
        ("decay of a positive potential differs", e.decay_positive, decay, 4 * u * top / threshold),
        ("scale of later inputs differs", e.scale, 1.0, 4 * u),
        ("decay over two steps differs", e.decay_twice**2, decay**2, 8 * u * top),
    ):
        if not np.isnan(value):
            yield Measure(name, abs(value - right), room, where=where, detail=f"said {right:g}, runs on {value!r}")
    yield Measure("reset is not to zero", float(e.reset != "zero"), where=where, detail=e.reset)


def recurrences(pair: Pair) -> Iterator[Measure]:
    """Each unit that emits SiLU before emits silu(mem), by the recurrence that is recorded, in-place or not, and by the decay of the spikes after; those that are recorded as SiLU are these [mem[t-1] is silu(mem[t-1]) under nn.SiLU(inplace=True)]."""
    said = None if pair.said is None else pair.said["units"]
    found = {p: u for p, u in units(pair.before).items() if emits_silu(u)}
    if said is None and not found:
        raise Unsupported("the net before", "no unit of it emits SiLU, so that it follows no recurrence of SiLU")
    if said is not None and converted(pair.said):
        odd = sorted(found.keys() ^ {p for p, u in said.items() if u.get("before") == "silu"})
        yield Measure("recorded as SiLU and no SiLU, or the reverse", float(len(odd)), where=f"{len(found)} units",
                      detail=first_of(odd))  # fmt: skip
    spikes = units(pair.after)
    for path, unit in found.items():
        u = roundoff(unit)
        yield Measure("s[0] is not silu(x[0])", emitted(unit), SILU_ROUNDOFFS * u, where=path)
        silu = unit if isinstance(unit, nn.SiLU) else getattr(unit, "actFun", None)
        inplace = bool(getattr(silu, "inplace", False)) if said is None else bool(said.get(path, {}).get("inplace"))
        asked = "memoryless" if isinstance(unit, nn.SiLU) else "in-place" if inplace else "plain"
        way, decay = recurrence(unit)
        wanted = getattr(getattr(spikes.get(path), "constants", None), "decay", float("nan"))
        if way.startswith("unseen") or (way == "memoryless" and wanted == 0):
            continue  # nothing of an earlier step is left to be seen
        yield Measure("another recurrence", float(way != asked), where=path, detail=f"said {asked}, runs {way}")
        if way in ("plain", "in-place"):
            off = abs(decay - wanted)
            yield Measure("another decay", off if off == off else float("inf"), DECAY_ROUNDOFFS * u, where=path,
                          detail=f"{decay!r}, of the spikes {wanted!r}")  # fmt: skip


def simulation(pair: Pair, exact: bool = False) -> Iterator[Measure]:
    """Each layer gives, on the inputs that it had in torch, the spikes of an independent simulation in numpy, all of them, and other values within the bound of their roundings; so does the whole net, to the bit, where its numbers are dyadic [Higham 2002, section 3.1]."""
    forced = _simulated(pair, True)
    torchs = {**pair.ran.given, **dict(zip(_named(forced), outputs(pair.ran.output), strict=True))}
    again = [p for p, n in pair.ran.calls.items() if n != 1]
    yield Measure("modules that did not run once", float(len(again)), detail=first_of(again))
    for path, value in forced.values.items():
        off = np.abs(np.asarray(value, np.float64) - torchs[path])
        bound = 0.0 if exact else forced.bounds[path]
        over = ~(off <= bound)
        yield Measure("values off by more than rounding", float(over.sum()), where=path,
                      detail=f"greatest difference {off.max():g} on its own inputs")  # fmt: skip
    free = _simulated(pair, False)
    mine = [p for p in units(pair.after) if p in free.values]
    counted = sum(free.values[p].size for p in mine)
    for path in mine:
        parted = int((free.values[path] != torchs[path]).sum())
        yield Measure("spikes that differ end to end", float(parted), 0.0 if exact else float("inf"), where=path,
                      detail=f"{parted} of {free.values[path].size}")  # fmt: skip
    if exact:
        for path in _named(free):
            yield Measure(
                "outputs that differ end to end", float((free.values[path] != torchs[path]).sum()), where=path
            )
    parted = sum(int((free.values[p] != torchs[p]).sum()) for p in mine)
    own = sum(int((np.asarray(forced.values[p]) != torchs[p]).sum()) for p in mine)
    ones = sum(int((torchs[p] != 0).sum()) for p in mine)
    pair.notes.append(f"numpy against torch: {counted:,} outputs of {len(mine)} units compared, {ones:,} of them spikes; "
                      f"{own} differ on a unit's own inputs, {parted} end to end")  # fmt: skip


def _simulated(pair: Pair, forced: bool) -> Simulated:
    arrays = {n: t.detach().cpu().numpy() for n, t in pair.after.state_dict().items()}
    return simulate(pair.tree, arrays, pair.x, pair.ran.given if forced else None)


def _named(found: Simulated) -> list[str]:
    return [p for p in found.values if p.split(".")[0] == "output"]


def refusals(pair: Pair) -> Iterator[Measure]:
    """An image of an odd size, of other channels, with NaN or infinity, and another number of steps end in an error that says so, not in silence [no input may be dropped]."""
    x = pair.x
    dtype = x.dtype
    own = dict(units(pair.after))
    try:
        of_family = bool(pair.tree)
    except Unsupported:
        of_family = False
    wrong: dict[str, Array] = {"NaN": np.full_like(x, np.nan), "infinity": np.full_like(x, np.inf)}
    wrong["one NaN"] = x.copy()
    wrong["one NaN"].flat[x.size // 2] = np.nan
    wrong["another number of channels"] = np.concatenate([x, x], 1)
    wrong["no batch"] = x[0]
    if stride_of(pair.after) > 1:
        wrong["a size off the stride"] = x[..., :-1, :]
    for name, bad in wrong.items():
        yield _refused(partial(recorded, pair.after, bad.astype(dtype), {}), name, "image", of_family)
    for path, unit in own.items():
        if emits_silu(unit):
            continue
        held: Any = unit
        for name, train in (
            ("one step more", torch.ones(held.constants.steps + 1, 1, 1, 2, 2)),
            ("NaN", torch.full((held.constants.steps, 1, 1, 2, 2), float("nan"))),
        ):
            yield _refused(partial(unit, train), name, path, isinstance(unit, mem_update))


def _refused(run: Callable[[], Any], name: str, where: str, of_family: bool) -> Measure:
    try:
        with torch.no_grad():
            run()
    except Exception as e:  # a user's module may have errors of its own, the family has those of the package
        if of_family and not isinstance(e, SnnverifyError):
            return Measure(f"{name}: an accident, and no refusal", 1.0, where=where, detail=f"{type(e).__name__}: {e}")
        said = str(e).strip()
        return Measure(f"{name}: an error without a reason", float(not said), where=where, detail=type(e).__name__)
    return Measure(f"{name}: taken in silence", 1.0, where=where)


LAWS: tuple[Callable[[Pair], Iterator[Measure]], ...] = (
    tensors, structure, record, spikes, readiness, alive, constants, recurrences, round_trip, simulation, refusals,
)  # fmt: skip
