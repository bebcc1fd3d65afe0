"""On which constants a spiking activation runs, from what it does with inputs: its attributes are not looked at.

In each probe all inputs but one are fixed; the greatest value of that one that leaves the unit silent in its step is found
among the floats, by bisection. From ``mem[t] = decay mem[t-1] (1 - s[t-1]) + x[t]``, ``s = mem > threshold`` follows what
each must be: see `PROBES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..content import Array, Content
from ..errors import Unsupported

FAR = 2.0**30  # what fires nothing below it is called a unit that never fires
STEPS = 64  # the most that is tried
# By how many unit roundoffs u a decay in [0, 1] that `recurrence` finds may be off. An exponential is good to 2 u and
# silu to 4 u of itself, |mem| <= 4: s[0] is off by 8 u, what the first step leaves by 19 u, mem[1] by 23 u and s[1] by
# 42 u, silu' being at most 1.1; its inverse (silu' >= 1 there) adds 24 u: 66 u. |1 - silu(2)| = 0.76, off by 8 u itself,
# makes 107 u of them, and what the state was, silu(2) = 1.76 at least and good to 4 u, 65 u.
DECAY_ROUNDOFFS = 65
SILU_ROUNDOFFS = 8  # of s[0] against silu(x[0]), by its size: 4 u here and 4 u there


@dataclass(frozen=True, eq=False)
class Executed(Content):
    """What a unit does.

    Parameters
    ----------
    steps : tuple of int
        Numbers of steps up to `STEPS` that it takes.
    silent, fires : float
        Neighbouring floats: the greatest first input that fires nothing, the smallest that does.
    scale : float
        Of the input in later steps: 1.
    decay : float
        Part of a negative potential that stays.
    decay_positive, decay_twice : float
        That of a positive one; and of what two steps leave, the root of it.
    reset : str
        ``zero``, ``subtract`` (of the threshold), ``none``, or ``other``: where a spike leaves the potential.
    unit_roundoff : float
        Of the dtype that it was asked in.
    """

    steps: tuple[int, ...]
    silent: float
    fires: float
    scale: float
    decay: float
    decay_positive: float
    decay_twice: float
    reset: str
    unit_roundoff: float

    def comparison(self, threshold: float) -> str:
        """``>`` or ``>=`` where that comparison with `threshold` is what was seen, else empty."""
        return ">" if threshold == self.silent else ">=" if threshold == self.fires else ""


def executed(unit: nn.Module) -> Executed:
    """Measure a unit that emits spikes.

    Raises
    ------
    Unsupported
        A unit that takes no number of steps up to 64, or never changes from silence to a spike.
    """
    ask, dtype = _asker(unit)
    steps = _steps(ask)
    last = max(steps)

    def boundary(*before: float) -> tuple[float, float]:
        t = len(before)

        def spikes(value: float) -> bool:
            x = np.zeros(last)
            x[:t], x[t] = before, value
            return bool(ask(x)[t] != 0)

        return _between(spikes, dtype)

    silent, fires = boundary()
    u = float(np.finfo(dtype).eps) / 2
    if last < 2:  # nothing is left of a step
        nothing = float("nan")
        return Executed(steps, silent, fires, nothing, nothing, nothing, nothing, "unseen: T = 1", u)
    free, below = boundary(0.0)[0], boundary(-1.0)[0]
    above = boundary(silent)[0]
    twice = boundary(-1.0, 0.0)[0] if last > 2 else float("nan")
    loads = [2 * fires, 4 * fires]
    kept = [free - boundary(load)[0] for load in loads]
    decay = below - free
    return Executed(
        steps, silent, fires, silent / free, decay, (free - above) / silent, float(np.sqrt(max(twice - free, 0))),
        _reset(kept, loads, decay, silent, u), u,
    )  # fmt: skip


def _reset(kept: list[float], loads: list[float], decay: float, threshold: float, u: float) -> str:
    """What left the potentials `loads`, above the threshold, so that `kept` of them arrived in the next step."""
    models: dict[str, Callable[[float], float]] = {
        "zero": lambda v: 0.0, "subtract": lambda v: decay * (v - threshold), "none": lambda v: decay * v,
    }  # fmt: skip
    room = (
        16 * u * (1 + max(loads))
    )  # decay, its product, two sums, and both ends of two boundaries: each of one rounding
    for name, model in models.items():
        if all(abs(k - model(v)) <= room for k, v in zip(kept, loads, strict=True)):
            return name
    return "other"


def recurrence(unit: nn.Module) -> tuple[str, float]:
    """Which recurrence a unit that emits SiLU follows, and its decay; from two inputs a, b: ``s[1] = silu(mem[1])``.

    What the first step leaves, ``mem[1] - b = decay M(a) (1 - silu(a))``, has M(a) = a where the potential is kept
    (``plain``), and silu(a) where the SiLU overwrote it (``in-place``): the quotient for two values of a tells them
    apart whatever the decay. ``memoryless`` where nothing is left, ``other`` where neither explains it.
    """
    ask, dtype = _asker(unit)
    last = max(_steps(ask))
    if last < 2:
        return "unseen: T = 1", float("nan")
    firsts, second = (1.0, 2.0), 4.0
    left = []
    for a in firsts:
        x = np.zeros(last)
        x[:2] = a, second
        left.append((_inverse(float(ask(x)[1])) - second) / (1 - _silu(a)))
    room = 64 * float(np.finfo(dtype).eps) * second  # roundings of a dozen operations on values up to 4
    if all(abs(v) <= room for v in left):
        return "memoryless", 0.0
    for name, state in (("plain", lambda a: a), ("in-place", _silu)):
        decays = [v / state(a) for v, a in zip(left, firsts, strict=True)]
        if abs(decays[0] - decays[1]) <= room * max(1 / state(a) for a in firsts):
            return name, decays[1]
    return "other", float("nan")


def emitted(unit: nn.Module) -> float:
    """Greatest ``|s[0] - silu(x[0])| / |silu(x[0])|`` of a unit that emits SiLU."""
    ask, _ = _asker(unit)
    last, off = max(_steps(ask)), []
    for value in (-3.0, -0.5, 0.5, 2.0):
        x = np.zeros(last)
        x[0] = value
        off.append(abs(float(ask(x)[0]) / _silu(value) - 1))
    return max(off)


def roundoff(unit: nn.Module) -> float:
    """Half the distance from 1 to the next float of the dtype that a unit is asked in."""
    return float(np.finfo(_asker(unit)[1]).eps) / 2


def _silu(x: float) -> float:
    return x / (1 + float(np.exp(-x)))


def _inverse(y: float) -> float:
    """Where SiLU is y, above its minimum."""
    low, high = -1.0, 2 * abs(y) + 2.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _silu(middle) < y else (low, middle)
    return (low + high) / 2


def _asker(unit: nn.Module) -> tuple[Callable[[Array], Array], Any]:
    """What a unit gives in each step for one value in each step; and the dtype that it computes in."""
    own = next((p for p in unit.parameters()), None)
    dtype = torch.float64 if own is None else own.dtype
    device = torch.device("cpu") if own is None else own.device

    def ask(x: Array) -> Array:
        with torch.no_grad():
            y = unit(torch.tensor(x, dtype=dtype, device=device).view(-1, 1, 1, 1, 1))
        return np.asarray(y.cpu(), np.float64).reshape(-1)

    return ask, np.float64 if dtype == torch.float64 else np.float32


def _steps(ask: Callable[[Array], Array]) -> tuple[int, ...]:
    taken = []
    for n in range(1, STEPS + 1):
        try:
            if len(ask(np.zeros(n))) == n:
                taken.append(n)
        except Exception:  # whatever a module of the user's says to a T that it was not made for
            continue
    if not taken:
        raise Unsupported("the unit", f"it takes no number of steps from 1 to {STEPS}")
    return tuple(taken)


def _between(spikes: Callable[[float], bool], dtype: Any) -> tuple[float, float]:
    """Neighbouring floats between which silence ends."""
    kind = np.dtype(dtype).type
    low, high = kind(-FAR), kind(FAR)
    if spikes(float(low)) or not spikes(float(high)):
        raise Unsupported("the unit", f"no input between -{FAR:g} and {FAR:g} takes it from silence to a spike")
    integer = np.int64 if dtype == np.float64 else np.int32
    while True:
        between = _number((int(_order(low, integer)) + int(_order(high, integer))) // 2, integer, kind)
        if between in (low, high):
            return float(low), float(high)
        low, high = (low, between) if spikes(float(between)) else (between, high)


def _order(value: Any, integer: Any) -> int:
    """Place of a float among all floats: neighbours are 1 apart, and both zeros are one."""
    bits = int(np.asarray(value).view(integer))
    return bits if bits >= 0 else -(bits - int(np.iinfo(integer).min))


def _number(place: int, integer: Any, kind: Any) -> Any:
    return np.asarray(place, integer).view(kind)[()] if place >= 0 else -np.asarray(-place, integer).view(kind)[()]
