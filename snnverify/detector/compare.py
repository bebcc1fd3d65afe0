"""A net before and after its conversion: what changed, and what the converted one does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ..content import Array
from .binarize import Unit, activations
from .blocks import Constants, mem_update
from .rebuild import octets
from .simulate import membrane, silu_membrane

PLAIN = (int, float, str, bool, tuple, list, type(None), Constants)
Class = Literal["binary", "integer", "analog"]


@dataclass(frozen=True)
class Activity:
    """What one unit emitted: values other than 0 and 1, mean, places that never and that always fired, all places."""

    other: int
    rate: float
    dead: int
    saturated: int
    places: int


def tensors(before: nn.Module, after: nn.Module) -> list[str]:
    """Names of parameters and buffers that differ in a byte, in dtype or shape, or that only one net has."""
    one, two = before.state_dict(), after.state_dict()
    return [n for n in sorted({*one, *two}) if n not in one or n not in two or not _same(one[n], two[n])]


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and octets(a) == octets(b)


def structure(before: nn.Module, after: nn.Module) -> list[str]:
    """Paths at which the nets differ in class, children or a plain attribute, where no conversion explains it.

    Expected is that each unit that emitted SiLU emits spikes, in place of an ``nn.SiLU`` as a `mem_update`; no more.
    """
    one, two = (dict(m.named_modules(remove_duplicate=False)) for m in (before, after))
    was, now = activations(before), activations(after)
    off = set(was.keys() ^ now.keys()) | {path for path, unit in now.items() if unit.now != "binary"}
    below = tuple(f"{path}." for path, unit in was.items() if isinstance(unit.module, nn.SiLU))
    for path in one.keys() | two.keys():
        if below and path.startswith(below):  # what a new activation is made of
            continue
        if path not in one or path not in two:
            off.add(path)
        elif path in was and path in now:
            if not _converted(was[path], now[path]):
                off.add(path)
        elif type(one[path]) is not type(two[path]) or _plain(one[path]) != _plain(two[path]):
            off.add(path)
    return sorted(off)


def _converted(was: Unit, now: Unit) -> bool:
    """Whether a unit is the one that was there, but for what it emits."""
    if isinstance(was.module, nn.SiLU):
        return type(now.module) is mem_update
    one, two = _plain(was.module), _plain(now.module)
    return type(was.module) is type(now.module) and {**one, "act": False} == two


def _plain(module: nn.Module) -> dict[str, Any]:
    """Attributes that configure a module."""
    return {k: v for k, v in vars(module).items() if not k.startswith("_") and isinstance(v, PLAIN) and k != "training"}


def recorded(net: nn.Module, image: torch.Tensor) -> tuple[dict[str, Array], dict[str, Array]]:
    """Input of every convolution, and output of every unit, by path, in one forward pass."""
    taken: dict[str, Array] = {}
    given: dict[str, Array] = {}

    def keep(store: dict[str, Array], path: str, which: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            store[path] = np.array((inputs[0], output)[which].detach().cpu())

        return hook

    handles = [
        m.register_forward_hook(keep(taken, path, 0)) for path, m in net.named_modules() if isinstance(m, nn.Conv2d)
    ]
    handles += [u.module.register_forward_hook(keep(given, path, 1)) for path, u in activations(net).items()]
    try:
        with torch.no_grad():
            net(image)
    finally:
        for handle in handles:
            handle.remove()
    return taken, given


def activity(outputs: Mapping[str, Array]) -> dict[str, Activity]:
    """What every unit emitted; a place is one of [B, C, H, W]."""
    found = {}
    for path, y in outputs.items():
        other = int(((y != 0) & (y != 1)).sum())
        fired = (y != 0).sum(0)
        found[path] = Activity(
            other, float(y.mean()), int((fired == 0).sum()), int((fired == len(y)).sum()), fired.size
        )
    return found


def classed(inputs: Mapping[str, Array], image: Array) -> dict[str, tuple[Class, bool]]:
    """Class of what every convolution takes, and whether that was to be expected: analog values only of the image itself."""
    found: dict[str, tuple[Class, bool]] = {}
    for path, x in inputs.items():
        kind: Class = "binary" if ((x == 0) | (x == 1)).all() else "integer" if (x == np.rint(x)).all() else "analog"
        found[path] = kind, kind != "analog" or (x.shape[1:] == image.shape and bool((x == image).all()))
    return found


def probes(c: Constants, dtype: Any = np.float32) -> Array:
    """Input trains [T, n] that tell threshold, decay, comparison and reset of an activation from others.

    Threshold and its neighbours in the first step; a potential that its decay takes to the threshold and to either side of
    it; a spike and then what only a reset keeps silent; and 500 trains at random.
    """
    theta, T = dtype(c.threshold), c.steps
    rng = np.random.default_rng(0)
    up, down = np.nextafter(theta, dtype(np.inf)), np.nextafter(theta, dtype(-np.inf))
    first = [np.array([v, *[0] * (T - 1)], dtype) for v in (theta, up, down, 0, -theta)]
    decayed = dtype(theta / 2) * dtype(c.decay)
    for v in (
        theta - decayed,
        np.nextafter(theta - decayed, dtype(np.inf)),
        np.nextafter(theta - decayed, dtype(-np.inf)),
    ):
        first.append(np.array([theta / 2, v, *[0] * (T - 2)], dtype)[:T])
    first += [np.array([2 * theta, theta, *[0] * (T - 2)], dtype)[:T], np.array([8 * theta, *[0] * (T - 1)], dtype)]
    random = rng.uniform(-0.5, 2.5, (500, T)) * theta
    return np.concatenate([np.stack(first), random]).T.astype(dtype)


def executed(module: nn.Module, c: Constants) -> int:
    """Spikes, of all that the probes ask for, in which a running unit is not the recurrence with these constants."""
    x = probes(c)
    with torch.no_grad():
        y = module(torch.from_numpy(x)).numpy()
    return int((y != membrane(x, c.threshold, c.decay)).sum())


def recurrence(module: nn.Module, c: Constants) -> Literal["in place", "not in place"]:
    """Which of the two SiLU recurrences a running unit is: the one that its outputs are nearer to."""
    x = probes(c).astype(np.float32)
    with torch.no_grad():
        y = module(torch.from_numpy(x.copy())).numpy()
    inplace, plain = (float(np.abs(silu_membrane(x, c.decay, way) - y).max()) for way in (True, False))
    return "in place" if inplace < plain else "not in place"


@dataclass(frozen=True)
class Outcome:
    """One law on one pair: its name, how many places break it, and where."""

    law: str
    broken: int
    where: str


def judged(
    before: nn.Module, after: nn.Module, image: torch.Tensor, said: Mapping[str, Any] | None = None
) -> Iterator[Outcome]:
    """Every law on a pair of nets.

    Parameters
    ----------
    before, after : nn.Module
        In eval mode.
    image : tensor [B, C, H, W]
    said : mapping, optional
        The manifest of the conversion.
    """
    yield _outcome("every tensor is byte- and dtype-equal", tensors(before, after))
    yield _outcome("nothing but activations differs", structure(before, after))
    taken, given = recorded(after, image)
    spiking = activity(given)
    yield _outcome("every converted unit emits 0 and 1 alone", [p for p, a in spiking.items() if a.other])
    inputs = classed(taken, np.array(image))
    yield _outcome(
        "no convolution but that of the image takes analog values", [p for p, (_, held) in inputs.items() if not held]
    )
    units = {path: u for path, u in activations(after).items() if u.now == "binary"}
    yield _outcome("units run on their constants", [p for p, u in units.items() if executed(u.module, _constants(u))])
    if said is not None:
        told = {path: (u.get("threshold"), u.get("decay")) for path, u in said["units"].items()}
        held = {path: (_constants(u).threshold, _constants(u).decay) for path, u in units.items()}
        yield _outcome(
            "the manifest says the constants", sorted(p for p in told.keys() | held if told.get(p) != held.get(p))
        )
    again = type(after)(after.yaml) if hasattr(after, "yaml") else None
    if again is not None:
        missing, unexpected = again.load_state_dict(after.state_dict(), strict=False)
        yield _outcome("the state dict loads into a new net", [*missing, *unexpected])
    yield _outcome("some unit fires in every layer", [p for p, a in spiking.items() if a.dead == a.places])
    yield _outcome(
        "no layer fires everywhere in every step", [p for p, a in spiking.items() if a.saturated == a.places]
    )


def _constants(unit: Unit) -> Constants:
    held: Any = unit.module
    return held.constants  # type: ignore[no-any-return]


def _outcome(law: str, where: list[str]) -> Outcome:
    return Outcome(law, len(where), ", ".join(where[:5]) + ("" if len(where) <= 5 else f" and {len(where) - 5} more"))
