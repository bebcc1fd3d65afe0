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
def step(neurons: Any, u: int, state: Any, o: int, last: int, peak: Any, k: int) -> Any:
    """Run one step of 64 units, whose summed inputs are in ``state.x`` and overwritten; the bits of those that fire.

    Parameters
    ----------
    neurons : Neurons
        Thresholds from ``theta[u]`` on.
    state : State
        Potentials from ``v[o]`` on; of synaptic currents, 64 of the units and 64 that act in the next step.
    last : uint64
        Bits of the step before.
    peak : array, and k : int
        Where the potentials before the reset go, from ``peak[k]`` on, if `peak` is not empty.
    """
    flags, numbers, theta = neurons.flags, neurons.numbers, neurons.theta
    v, x, more = state.v, state.x, state.currents
    i = state.kinds * o
    if flags[SYNAPSE]:
        decay = numbers[DECAY]
        for j in range(64):
            before = more[i + j]
            more[i + j] = (before + x[j]) * decay if flags[ADD_FIRST] else before * decay + x[j]
            x[j] = more[i + j]
    if flags[DELAYED]:
        for j in range(64):
            x[j], more[i + 64 + j] = more[i + 64 + j], x[j]
    if flags[SCALED]:
        for j in range(64):
            x[j] *= numbers[GAIN]
    if not flags[LEAKY]:
        plus(v, o, x, 0)
    else:
        leak, rest = numbers[LEAK], numbers[REST]
        for j in range(64):
            away = v[o + j] - rest
            v[o + j] = (away + x[j]) * leak + rest if flags[INPUT_FIRST] else (away * leak + rest) + x[j]
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
