"""Activations of one unit in exact numbers: the analog values, and spiking neurons over all their steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from ..activation import Act, Clip, ClipFloor, Neuron, Relu
from .operations import ONE, ZERO, Index, channel, exact

Dynamics = tuple[list[int], list[Fraction], list[Fraction]]  # spikes, v, v_peak of one unit in each step


def activate(act: Act, index: Index, x: Fraction) -> Fraction:
    """Return the analog value: x, ``max(x, 0)``, that cut at theta, ``theta / L clip(floor(x L / theta + shift), 0, L)``."""
    if isinstance(act, Relu):
        return max(x, ZERO)
    if isinstance(act, Clip):
        return min(max(x, ZERO), channel(act.theta, index))
    if isinstance(act, ClipFloor):
        theta, levels = channel(act.theta, index), act.levels
        return theta / levels * min(max(math.floor(x * levels / theta + exact(act.shift)), 0), levels)
    return x


def fire(act: Neuron, theta: Fraction, v: Fraction) -> int:
    """Return the greatest n in 0 ... max_spikes with ``v >= n theta`` (or ``v > n theta``).

    The docstring of `Neuron` names no lower bound of n; below the first threshold, and so for v < 0, it is 0.
    """
    n = math.floor(v / theta) if act.fires == ">=" else math.ceil(v / theta) - 1
    return max(0, n if act.max_spikes is None else min(n, act.max_spikes))


def reset(act: Neuron, theta: Fraction, v: Fraction, s: int) -> Fraction:
    """Return the potential after the reset that `s` spikes cause."""
    if act.reset == "subtract":
        return v - s * theta
    return exact(act.v_reset) if s and act.reset == "value" else v


def neuron(act: Neuron, index: Index, drive: Sequence[Fraction]) -> Dynamics:
    """Run one `Neuron` on its summed input of each step, line by line as its docstring has it.

    Where the docstring is silent: the synaptic current is 0 before the first step, and a delayed reset of the last step
    never acts, so that ``v`` is ``v_peak`` throughout with ``reset_delay = 1``.
    """
    theta, leak, rest = channel(act.theta, index), exact(act.leak), exact(act.v_rest)
    k = 1 - leak if act.input_scaled else ONE
    v, i, s, waiting = channel(act.v_init, index), ZERO, 0, ZERO
    spikes, after, peak = [], [], []
    for total in drive:
        if act.syn_decay is None:
            i = total
        else:
            decay = exact(act.syn_decay)
            i = decay * (i + total) if act.syn_order == "add-decay" else decay * i + total
        waiting, j = i, waiting if act.delay else i
        leak_first = act.order == "leak-integrate"
        v = rest + leak * (v - rest) + k * j if leak_first else rest + leak * (v - rest + k * j)
        if act.reset_delay == 1:
            v = reset(act, theta, v, s)
        if act.v_floor is not None:
            v = max(v, exact(act.v_floor))
        peak.append(v)
        s = fire(act, theta, v)
        if act.reset_delay == 0:
            v = reset(act, theta, v, s)
        spikes.append(s)
        after.append(v)
    return spikes, after, peak
