"""Neuron dynamics over a block of time steps, vectorised over everything but time.

The order of a step is that of the `Neuron` docstring. State lives in a dict that the caller keeps between
blocks, so a run may be split over time at will.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..activation import Neuron

Array = npt.NDArray[Any]
State = dict[str, Array]
Resolve = Callable[[Any], Array]  # a parameter of shape () or (C,) -> an array that broadcasts over a sample


def advance(
    act: Neuron, currents: Array, steps: int, state: State, resolve: Resolve, keep: tuple[Array, Array] | None = None
) -> Array:
    """Run `steps` time steps.

    Parameters
    ----------
    act : Neuron
    currents : array [steps or 1, N, *shape]
        Summed input; one entry where it is constant in time.
    steps : int
    state : dict
        Empty before the first block; holds ``v`` (and ``i``, ``last``) [N, *shape] afterwards.
    resolve : callable
    keep : pair of arrays [steps, N, *shape], optional
        Filled with the potential after each step and before its reset.

    Returns
    -------
    array [steps, N, *shape], uint8 or int32
        Number of spikes in each step; axes lie in memory as those of `currents`.
    """
    dtype = currents.dtype
    theta, v_rest, leak = full(resolve(act.theta), currents[0]), dtype.type(act.v_rest), dtype.type(act.leak)
    gain = dtype.type(1 - act.leak) if act.input_scaled else None
    if not state:
        state["v"] = np.zeros_like(currents[0]) + resolve(act.v_init)
    v = state["v"]
    scratch = np.empty_like(v)
    spikes = stacked(steps, v, np.uint8 if act.max_spikes and act.max_spikes < 256 else np.int32)
    for t in range(steps):
        i = currents[t if len(currents) > 1 else 0]
        if act.syn_decay is not None:
            b, before = dtype.type(act.syn_decay), state.get("i", np.zeros_like(v))
            i = state["i"] = (before + i) * b if act.syn_order == "add-decay" else before * b + i
        if act.delay:
            state["next"], i = i.copy(), state.get("next", np.zeros_like(v))
        if gain is not None:
            i = i * gain
        if act.leak == 1:
            v += i
        elif act.order == "leak-integrate":
            v -= v_rest
            v *= leak
            v += v_rest
            v += i
        else:
            v -= v_rest
            v += i
            v *= leak
            v += v_rest
        if act.reset_delay and "last" in state:
            _reset(act, v, state["last"], theta, scratch)
        if act.v_floor is not None:
            np.maximum(v, dtype.type(act.v_floor), out=v)
        if keep is not None:
            keep[1][t] = v
        spikes[t] = fire(v, theta, act.fires, act.max_spikes)
        if act.reset_delay:
            state["last"] = spikes[t]
        else:
            _reset(act, v, spikes[t], theta, scratch)
        if keep is not None:
            keep[0][t] = v
    return spikes


def fire(v: Array, theta: Array, fires: str, max_spikes: int | None) -> Array:
    """Count the spikes of one step: the greatest ``n <= max_spikes`` with ``v >= n theta`` (or ``>``), at least 0."""
    over = np.greater_equal if fires == ">=" else np.greater
    if max_spikes == 1:
        return over(v, theta)
    n = np.floor(v / theta)
    n += over(v, (n + 1) * theta)  # the quotient is rounded: settle the last unit by the comparison itself
    n -= ~over(v, n * theta)
    return np.clip(n, 0, max_spikes).astype(np.int32)


def _reset(act: Neuron, v: Array, spikes: Array, theta: Array, scratch: Array) -> None:
    if act.reset == "subtract":
        np.copyto(scratch, spikes, casting="unsafe")
        if theta.ndim or theta != 1:
            scratch *= theta
        v -= scratch
    elif act.reset == "value":
        np.copyto(v, v.dtype.type(act.v_reset), where=spikes > 0)


def stacked(steps: int, like: Array, dtype: npt.DTypeLike) -> Array:
    """Empty array [steps, *like.shape] whose axes lie in memory as those of `like`, one step after the other."""
    order = sorted(range(like.ndim), key=lambda axis: -like.strides[axis])
    made = np.empty((steps, *(like.shape[axis] for axis in order)), dtype)
    return np.moveaxis(made, range(1, made.ndim), [1 + axis for axis in order])


def full(parameter: Array, like: Array) -> Array:
    """A parameter per channel written out for every unit, or one number: numpy is slow at anything between."""
    if parameter.ndim == 0:
        return parameter
    made = np.empty_like(like)
    made[...] = parameter
    return made
