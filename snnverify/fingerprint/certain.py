"""What a neuron certainly does: its spikes wherever neither rounding nor the spread of its parameters can turn them.

A candidate is followed along the spikes that were observed, so that a decision which is too close to call costs one
decision and not the rest of the run. A tie counts where everything before it is exact in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..activation import Neuron
from ..content import Array, Content

_BITS = 21  # a number of at most so many bits survives float32 in whatever order a library adds it up
_UNIT = 2.0**-22  # bound of the roundings of one step, relative to its largest operand: four of 2^-24


@dataclass(frozen=True, eq=False)
class Candidate(Content):
    """A neuron, and how far each of its real parameters may be off (none where it is not named)."""

    neuron: Neuron
    spread: Mapping[str, float] = field(default_factory=dict)


def follow(candidate: Candidate, x: Array, spikes: Array, noise: Array | float = 0.0) -> tuple[Array, Array]:
    """Return the potentials before the reset [T, N] on inputs x [T, N] along observed `spikes`, and their uncertainty.

    `noise` bounds the rounding of the inputs; ``theta`` and ``v_init`` are numbers or one for each unit, [N]. The
    recurrence is that of the `Neuron` docstring. The uncertainty is twice the first-order effect of each spread
    plus a running bound of float32 roundings; it is 0 where every number so far is exact.
    """
    a = candidate.neuron
    names = [n for n, s in candidate.spread.items() if s > 0]
    p = {n: np.zeros((1 + len(names), 1)) + (np.nan if getattr(a, n) is None else np.asarray(getattr(a, n), float))
         for n in ("theta", "leak", "v_rest", "v_init", "v_reset", "v_floor", "syn_decay")}  # fmt: skip
    for row, n in enumerate(names, 1):
        p[n][row] += candidate.spread[n]
    theta, leak, rest, b = p["theta"], p["leak"], p["v_rest"], p["syn_decay"]
    scale = 1 - leak if a.input_scaled else np.ones_like(leak)
    T, N = x.shape
    v = np.broadcast_to(p["v_init"], (len(leak), N)).copy()
    i = np.zeros_like(v)
    held, rough = np.zeros_like(v), np.zeros(N)
    blur, held_blur = np.zeros(N), np.zeros(N)  # rounding of the current, now and a step ago
    before = np.zeros(N, np.int64)
    peaks, unsure = np.zeros((T, N)), np.zeros((T, N))
    noise = np.broadcast_to(noise, x.shape)
    for t in range(T):
        if a.syn_decay is None:
            i, blur = np.broadcast_to(x[t], v.shape), noise[t]
        else:
            added = i + x[t] if a.syn_order == "add-decay" else b * i
            i = b * added if a.syn_order == "add-decay" else added + x[t]
            blur = blur * b[0] + noise[t] + _rounded(added[0], i[0])
        acts, acts_blur = (held, held_blur) if a.delay else (i, blur)
        held, held_blur = i, blur
        drive = scale * acts
        first = a.order == "integrate-leak"
        above = v - rest + drive if first else v - rest
        kept = leak * above
        v = rest + kept if first else rest + kept + drive
        rough = leak[0] * rough + acts_blur + _rounded(drive[0], above[0], kept[0], v[0])
        if a.reset_delay:
            v, rough = _reset(a, v, rough, before, theta, p["v_reset"])
        if a.v_floor is not None:
            rough = np.where(v[0] < p["v_floor"][0] - rough, 0.0, rough)
            v = np.maximum(v, p["v_floor"])
        peaks[t] = v[0]
        unsure[t] = rough + 2 * np.abs(v[1:] - v[0]).sum(0)
        before = spikes[t]
        if not a.reset_delay:
            v, rough = _reset(a, v, rough, before, theta, p["v_reset"])
    return peaks, unsure


def refuted(candidate: Candidate, x: Array, spikes: Array, noise: Array | float = 0.0) -> Array:
    """Where [T, N] the candidate would certainly have emitted another number of spikes than was observed."""
    peaks, unsure = follow(candidate, x, spikes, noise)
    least, most = (counts(candidate.neuron, peaks + d) for d in (-unsure, unsure))
    found: Array = (spikes < least) | (spikes > most)
    return found


def counts(neuron: Neuron, v: Array) -> Array:
    """Return the number of spikes at potential v: the greatest ``n <= max_spikes`` with ``v >= n theta`` (or ``>``)."""
    over = v / np.asarray(neuron.theta, float)
    n = np.floor(over) if neuron.fires == ">=" else np.ceil(over) - 1
    return np.asarray(np.clip(n, 0, np.inf if neuron.max_spikes is None else neuron.max_spikes))


def _reset(a: Neuron, v: Array, rough: Array, spikes: Array, theta: Array, v_reset: Array) -> tuple[Array, Array]:
    if a.reset == "subtract":
        return v - spikes * theta, rough
    if a.reset == "value":
        return np.where(spikes > 0, v_reset, v), np.where(spikes > 0, 0.0, rough)
    return v, rough


def _rounded(*numbers: Array) -> Array:
    """Rounding bound of a step whose intermediate results are `numbers`: 0 where all of them have few bits."""
    size, exact = np.zeros(np.shape(numbers[0])), np.ones(np.shape(numbers[0]), bool)
    for a in numbers:
        mantissa = np.frexp(a)[0] * 2.0**_BITS
        size, exact = np.maximum(size, np.abs(a)), exact & (mantissa == np.rint(mantissa))
    return np.where(exact, 0.0, _UNIT * size)
