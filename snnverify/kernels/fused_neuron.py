"""Neuron dynamics for the fused engine: one step of one sample, as `neuron.advance` does it over a batch.

The numpy form is `kernels.neuron`; every float operation is the same one in the same order, so equal currents give equal
bits. Units are taken 64 at a time, whose spikes are one word.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activation import Neuron
from .compiled import inlined
from .vectors import copy, lower, over, plus, put

# places in the flags and numbers that `settings` makes of a Neuron
STRICT, RESET, LATE, LEAKY, INPUT_FIRST, SCALED, FLOORED, SYNAPSE, ADD_FIRST, DELAYED = range(10)
LEAK, REST, GAIN, FLOOR, DECAY, RESET_TO = range(6)
RESETS = ("none", "subtract", "value")


def settings(act: Neuron, dtype: Any) -> tuple[Any, Any]:
    """Flags, int64 [10], and numbers, [6] of `dtype`, of a neuron whose units fire at most once a step."""
    flags = [
        act.fires == ">", RESETS.index(act.reset), act.reset_delay, act.leak != 1, act.order == "integrate-leak",
        act.input_scaled, act.v_floor is not None, act.syn_decay is not None, act.syn_order == "add-decay", act.delay,
    ]  # fmt: skip
    numbers = [act.leak, act.v_rest, 1 - act.leak, act.v_floor or 0.0, act.syn_decay or 0.0, act.v_reset]
    return np.asarray(flags, np.int64), np.asarray(numbers, dtype)


@inlined
def plain(flags: Any) -> Any:
    """Whether it is IF with immediate soft reset and nothing else."""
    others = flags[LATE] + flags[LEAKY] + flags[SCALED] + flags[FLOORED] + flags[SYNAPSE] + flags[DELAYED]
    return flags[RESET] == 1 and others == 0


@inlined
def step(flags: Any, numbers: Any, theta: Any, u: int, x: Any, a: int, v: Any, o: int, more: Any, i: int, last: int,
         peak: Any, k: int) -> Any:  # fmt: skip
    """Run one step of 64 units; the bits of those that fire.

    Parameters
    ----------
    flags, numbers : arrays
        Of `settings`.
    theta, x, v, more, peak : arrays, and u, a, o, i, k : int
        Thresholds from ``theta[u]`` on; summed input ``x[a]``, overwritten; potentials ``v[o]``; synaptic currents
        ``more[i]``, and what acts in the next step ``more[i + 64]``; where the potential before the reset goes,
        ``peak[k]``, if `peak` is not empty.
    last : uint64
        Bits of the step before.
    """
    if flags[SYNAPSE]:
        decay = numbers[DECAY]
        for j in range(64):
            before = more[i + j]
            more[i + j] = (before + x[a + j]) * decay if flags[ADD_FIRST] else before * decay + x[a + j]
            x[a + j] = more[i + j]
    if flags[DELAYED]:
        for j in range(64):
            x[a + j], more[i + 64 + j] = more[i + 64 + j], x[a + j]
    if flags[SCALED]:
        for j in range(64):
            x[a + j] *= numbers[GAIN]
    if not flags[LEAKY]:
        plus(v, o, x, a)
    else:
        leak, rest = numbers[LEAK], numbers[REST]
        for j in range(64):
            away = v[o + j] - rest
            v[o + j] = (away + x[a + j]) * leak + rest if flags[INPUT_FIRST] else (away * leak + rest) + x[a + j]
    if flags[LATE]:
        reset(flags[RESET], numbers[RESET_TO], theta, u, v, o, last)
    if flags[FLOORED]:
        for j in range(64):
            v[o + j] = max(v[o + j], numbers[FLOOR])
    if len(peak):
        copy(peak, k, v, o)
    bits = over(v, o, theta, u, True) if flags[STRICT] else over(v, o, theta, u, False)
    if not flags[LATE]:
        reset(flags[RESET], numbers[RESET_TO], theta, u, v, o, bits)
    return bits


@inlined
def reset(how: int, to: Any, theta: Any, u: int, v: Any, o: int, bits: int) -> None:
    """Reset the potentials of units that fired, by subtraction (1) or to a value (2)."""
    if how == 1:
        lower(v, o, theta, u, bits)
    elif how == 2:
        put(v, o, to, bits)
