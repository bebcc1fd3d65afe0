"""A conversion to binary spikes held against what it claims: laws on a net before and after it, each with its source.

Nothing here asks the conversion what it converted: units are found anew, from names of classes and the protocol.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from ..content import Array
from ..errors import Unsupported
from ..findings import Measure
from .executed import executed, recurrence
from .readiness import CLASSES, SYNAPSES, Recorded, activity, expected, recorded
from .rebuild import describe
from .simulate import Simulated, simulate
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
    """

    before: nn.Module
    after: nn.Module
    x: Array
    said: Mapping[str, Any] | None = None
    real: bool = True
    ready: bool = False
    notes: list[str] = field(default_factory=list)

    @cached_property
    def tree(self) -> Node:
        """Description of the net after."""
        return describe(self.after).tree

    @cached_property
    def ran(self) -> Recorded:
        """A run of the net after: what its units and leaves gave."""
        paths = [*units(self.after)]
        try:
            paths += [p for p in leaves(self.tree) if p not in paths]
        except Unsupported:  # a module of the user's own
            pass
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
        ("another shape", lambda e: e[1].shape), ("other bytes", lambda e: _octets(e[1])),
    ):  # fmt: skip
        differ = [n for n in old.keys() & new.keys() if told(old[n]) != told(new[n])]
        yield Measure(f"tensors of {what}", float(len(differ)), where=f"{len(old)} tensors", detail=_first(differ))


def _tensors(net: nn.Module) -> dict[str, tuple[str, torch.Tensor]]:
    persistent = set(net.state_dict(keep_vars=True))
    found: dict[str, tuple[str, torch.Tensor]] = {}
    for n, p in net.named_parameters(remove_duplicate=False):
        found[n] = (f"parameter, gradient {p.requires_grad}", p)
    for n, b in net.named_buffers(remove_duplicate=False):
        found[n] = (f"buffer, kept {n in persistent}", b)
    return found


def _octets(t: torch.Tensor) -> bytes:
    return t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def _first(names: list[str]) -> str:
    return ", ".join(sorted(names)[:5])


def structure(pair: Pair) -> Iterator[Measure]:
    """Every unit that emitted SiLU emits spikes, and no other module, class, attribute, order or sharing differs [definition of the conversion]."""
    found = units(pair.before)
    turned = {p for p, m in found.items() if emits_silu(m)}
    modules = [dict(n.named_modules(remove_duplicate=False)) for n in (pair.before, pair.after)]
    still = [p for p in turned if p not in modules[1] or emits_silu(modules[1][p]) is not False]
    yield Measure("units that still emit SiLU", float(len(still)), where=f"{len(turned)} units", detail=_first(still))
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
        yield Measure(what, float(both[0] != both[1]), detail=_first(differ))
    wrong: list[str] = []
    for path in modules[0].keys() & modules[1].keys() - replaced:
        a, b = (_attributes(m[path]) for m in modules)
        allowed = {"act"} if path in turned else set()
        wrong += [f"{path}.{k}: {a.get(k)} and {b.get(k)}" for k in a.keys() | b.keys() if k not in allowed and a.get(k) != b.get(k)]  # fmt: skip
    yield Measure("modules with another class or attribute", float(len(wrong)), where=f"{len(modules[0])} modules",
                  detail="; ".join(sorted(wrong)[:3]))  # fmt: skip
    strange = [p for p in replaced if p in modules[1] and not _replaced(modules[0][p], modules[1][p])]
    yield Measure("SiLU modules replaced by another thing than an activation of their kind", float(len(strange)),
                  detail=_first(strange))  # fmt: skip


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
        return (value.dtype, value.shape, _octets(value))
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


def spikes(pair: Pair) -> Iterator[Measure]:
    """Every unit of the net after emits 0 and 1 alone, and no NaN [definition of a spike]."""
    given = {p: pair.ran.given.get(p) for p in units(pair.after)}
    silent = [p for p, y in given.items() if y is None]
    yield Measure("units that did not run", float(len(silent)), where=f"{len(given)} units", detail=_first(silent))
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
    yield Measure("convolutions and linear maps that did not run", float(len(idle)), detail=_first(idle))
    wider = [p for p in seen if p in wired and CLASSES.index(seen[p]) > CLASSES.index(wired[p])]
    yield Measure("inputs of a wider class than the wiring gives", float(len(wider)), where=f"{len(wired)} synapses",
                  detail=", ".join(f"{p}: {seen[p]}, not {wired[p]}" for p in sorted(wider)))  # fmt: skip
    analog = [p for p, kind in seen.items() if kind == "analog" and p not in image]
    for kind in CLASSES:
        pair.notes.append(f"{sum(k == kind for k in seen.values())} of {len(seen)} synapses get {kind} inputs")
    if analog:
        pair.notes.append(f"analog, and not of the image: {', '.join(sorted(analog))}")
    yield Measure("synapses with analog inputs that are not the image", float(len(analog)),
                  0.0 if pair.ready else float("inf"), detail=_first(analog))  # fmt: skip


def alive(pair: Pair) -> Iterator[Measure]:
    """No activation is silent in every step of every image, and none fires in all of them: either says nothing [Pellegrini et al. 2021 call them dead and saturated]."""
    for path in units(pair.after):
        if (y := pair.ran.given.get(path)) is None:
            continue
        a = activity(y)
        for what, n in (("dead", a.dead), ("saturated", a.saturated)):
            yield Measure(f"layers with all units {what}", float(n == a.units), 0.0 if pair.real else float("inf"),
                          where=path, detail=f"{n} of {a.units} units {what}, {a.rate:.4f} spikes a unit and step")  # fmt: skip


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
    """The recurrence of SiLU before, in-place or not, is the one that is recorded, and its decay is that of the spikes after [mem[t-1] is silu(mem[t-1]) under nn.SiLU(inplace=True)]."""
    said = None if pair.said is None else pair.said["units"]
    for path, unit in units(pair.before).items():
        if not emits_silu(unit):
            continue
        held: Any = unit
        silu = unit if isinstance(unit, nn.SiLU) else getattr(unit, "actFun", None)
        inplace = bool(getattr(silu, "inplace", False)) if said is None else bool(said.get(path, {}).get("inplace"))
        asked = "memoryless" if isinstance(unit, nn.SiLU) else "in-place" if inplace else "plain"
        found, decay = recurrence(unit)
        if found.startswith("unseen") or (
            "memoryless" == found and getattr(held, "constants", None) and held.constants.decay == 0
        ):
            continue
        yield Measure("another recurrence", float(found != asked), where=path, detail=f"said {asked}, runs {found}")
        if found in ("plain", "in-place"):
            yield Measure("another decay", abs(decay - held.constants.decay), 2.0**-40, where=path, detail=f"{decay!r}")
    yield Measure("recurrences told", 0.0)


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
        "tensors missing or left over", float(len(missing)), where=f"{len(state)} tensors", detail=_first(missing)
    )
    again = other.state_dict()
    differ = [n for n in state if _octets(state[n]) != _octets(again[n]) or state[n].dtype != again[n].dtype]
    yield Measure("tensors that differ", float(len(differ)), detail=_first(differ))
    ys, zs = (_outputs(recorded(n, pair.x, {}).output) for n in (pair.after, other))
    wrong = sum(int((y.view(np.uint8) != z.view(np.uint8)).any()) for y, z in zip(ys, zs, strict=True))
    yield Measure("outputs that differ", float(wrong), where=f"{len(ys)} outputs")


def _outputs(y: Any) -> list[Array]:
    return [np.ascontiguousarray(v.detach().cpu().numpy()) for v in (y if isinstance(y, (list, tuple)) else [y])]


def simulation(pair: Pair, exact: bool = False) -> Iterator[Measure]:
    """Each layer gives, on the inputs that it had in torch, the spikes of an independent simulation in numpy, all of them, and other values within the bound of their roundings [Higham 2002, section 3.1]; so does the whole net where its numbers are dyadic."""
    forced = _simulated(pair, True)
    torchs = {**pair.ran.given, **dict(zip(_named(forced), _outputs(pair.ran.output), strict=True))}
    again = [p for p, n in pair.ran.calls.items() if n != 1]
    yield Measure("modules that did not run once", float(len(again)), detail=_first(again))
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
    pair.notes.append(f"numpy against torch: {counted} spikes, 0 may differ a layer; {parted} differ end to end")


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
    wrong: dict[str, Array] = {"NaN": np.full_like(x, np.nan), "infinity": np.full_like(x, np.inf)}
    wrong["one NaN"] = x.copy()
    wrong["one NaN"].flat[x.size // 2] = np.nan
    wrong["another number of channels"] = np.concatenate([x, x], 1)
    wrong["no batch"] = x[0]
    if int(getattr(pair.after, "stride", 1)) > 1:
        wrong["a size off the stride"] = x[..., :-1, :]
    for name, bad in wrong.items():
        yield _refused(lambda bad=bad: recorded(pair.after, bad.astype(dtype), {}), name, "image")
    for path, unit in own.items():
        if emits_silu(unit):
            continue
        held: Any = unit
        for name, bad in (
            ("one step more", torch.ones(held.constants.steps + 1, 1, 1, 2, 2)),
            ("NaN", torch.full((held.constants.steps, 1, 1, 2, 2), float("nan"))),
        ):
            yield _refused(lambda bad=bad, unit=unit: unit(bad), name, path)


def _refused(run: Callable[[], Any], name: str, where: str) -> Measure:
    try:
        with torch.no_grad():
            run()
    except Exception as e:  # a user's module may have errors of its own
        said = str(e).strip()
        return Measure(f"{name}: an error without a reason", float(not said), where=where, detail=type(e).__name__)
    return Measure(f"{name}: taken in silence", 1.0, where=where)


LAWS: tuple[Callable[[Pair], Iterator[Measure]], ...] = (
    tensors, structure, spikes, readiness, alive, constants, recurrences, round_trip, simulation, refusals,
)  # fmt: skip
