"""Loihi's integer dynamics over a block of time steps, vectorised over everything but time.

The order of a step is that of the `Cuba` and `SigmaDelta` docstrings. Everything is int64 here: a state of 24 bits times a
decay of 12 needs 36. State lives in a dict that the caller keeps between blocks, so a run may be split over time at will.
"""

from __future__ import annotations

import numpy as np

from ..activation import Cuba, SigmaDelta
from ..errors import Unsupported
from .neuron import Array, Resolve, State

EDGE = 1 << 23  # states have 24 bits
Keep = tuple[Array, Array]


def advance(
    act: Cuba | SigmaDelta, drive: Array, steps: int, state: State, resolve: Resolve, keep: Keep | None = None
) -> Array:
    """`advance_cuba` or `advance_sigma_delta`."""
    if isinstance(act, Cuba):
        return advance_cuba(act, drive, steps, state, resolve, keep)
    return advance_sigma_delta(act, drive, steps, state, resolve, keep)


def advance_cuba(
    act: Cuba, drive: Array, steps: int, state: State, resolve: Resolve, keep: Keep | None = None
) -> Array:
    """Run `steps` steps of `Cuba`.

    Parameters
    ----------
    act : Cuba
    drive : int64 array [steps or 1, N, *shape]
        Sum of the branches in each step, before the delay; with ``drive="bias"`` times ``2^bias_exponent`` already.
    steps : int
    state : dict
        Empty before the first block; holds ``v``, ``u`` [N, *shape] afterwards.
    resolve : callable
    keep : pair of arrays [steps, N, *shape], optional
        Filled with the potential after each step and before its reset.

    Returns
    -------
    uint8 array [steps, N, *shape]
        What fires in each step.
    """
    shape, t0 = drive.shape[1:], int(state.get("t", np.zeros((), int)))
    u, v, wait, last = (state.setdefault(k, np.zeros(shape, np.int64)) for k in ("u", "v", "wait", "last"))
    u_left, v_left = (4096 - resolve(d).astype(np.int64) for d in (act.current_decay, act.voltage_decay))
    bias, theta = resolve(act.bias).astype(np.int64) << act.bias_exponent, 64 * resolve(act.threshold).astype(np.int64)
    arriving = delayed(act.delay, drive, steps, state)
    spikes = np.empty((steps, *shape), np.uint8)
    for t in range(steps):
        if act.reset_interval is not None and (t0 + t - act.reset_offset) % act.reset_interval == 0:
            u[...] = v[...] = 0
        x = arriving[t]
        if act.recurrent is not None:
            x = x + last @ act.recurrent.T
        u[...] = toward_zero(u * u_left)
        if act.drive == "current":
            u += 64 * (x << act.weight_exponent if act.weight_exponent >= 0 else x >> -act.weight_exponent)
        _bounded(act, "u", u, t0 + t)
        moved = toward_zero(v * v_left) + u + bias
        if act.drive == "bias":
            moved += x
        v[...] = moved if act.refractory == 1 else np.where(wait > 0, v, moved)
        _bounded(act, "v", v, t0 + t)
        fired = v > theta
        if keep is not None:
            keep[1][t] = v
        v[fired] = 0
        if keep is not None:
            keep[0][t] = v
        if act.refractory > 1:
            wait[...] = np.where(fired, act.refractory - 1, np.maximum(wait - 1, 0))
        spikes[t] = last[...] = fired
    state["t"] = np.asarray(t0 + steps)
    return spikes


def advance_sigma_delta(
    act: SigmaDelta, drive: Array, steps: int, state: State, resolve: Resolve, keep: Keep | None = None
) -> Array:
    """Run `steps` steps of `SigmaDelta`; as `advance_cuba`. Returns the messages, int32 [steps, N, *shape].

    ``v`` in the state, and the first of `keep`, is the activation; the second the sum before it (the same but for
    ``role="sigma-delta"``).
    """
    places, t0 = act.spike_exponent + act.state_exponent, int(state.get("t", np.zeros((), int)))
    sigma, value, residue, error = (
        state.setdefault(k, np.zeros(drive.shape[1:], np.int64)) for k in ("sigma", "v", "residue", "error")
    )
    bias, theta = (resolve(p).astype(np.int64) << places for p in (act.bias, act.threshold))
    arriving = delayed(act.delay, drive, steps, state)
    sent = np.zeros(arriving.shape, np.int32)
    for t in range(steps):
        before = value.copy()
        if act.role == "delta":
            sigma[...] = arriving[t] << places
        else:
            sigma += arriving[t]
        value[...] = sigma + bias if act.role == "sigma-delta" else sigma
        if act.role == "sigma-delta" and act.activation == "relu":
            np.maximum(value, 0, out=value)
        for name, array in (("sigma", sigma), ("act", value)):
            if max(int(array.max()), -int(array.min()) - 1) >= EDGE:
                what = f"{name} leaves 24 bits in step {t0 + t}"
                raise Unsupported("SigmaDelta", what, "scale weights, bias or input down")
        if keep is not None:
            keep[0][t], keep[1][t] = value, sigma
        if act.role == "sigma":
            sent[t] = sigma
            continue
        change = value - before + residue
        if act.cum_error:
            error += change
        sends = np.abs(error if act.cum_error else change) >= theta
        sent[t] = np.where(sends, change >> act.state_exponent, 0)
        residue[...] = np.where(sends, 0, change)
        if act.cum_error:
            error[sends & (change != 0)] = 0
    state["t"] = np.asarray(t0 + steps)
    return sent


def delayed(delay: int, x: Array, steps: int, state: State, name: str = "line") -> Array:
    """What arrives in each of `steps` steps of x [steps or 1, ...] that is `delay` late; the rest waits in the state."""
    x = np.broadcast_to(x, (steps, *x.shape[1:]))
    if not delay:
        return x
    line = np.concatenate([state.get(name, np.zeros((delay, *x.shape[1:]), x.dtype)), x])
    state[name] = line[steps:]
    return line[:steps]


def handed_on(delays: Array, sent: Array, steps: int, state: State) -> Array:
    """Values that reach the next layers: each channel of ``sent`` [steps, N, C, ...] as late as ``delays`` () or (C,)."""
    delays = np.broadcast_to(delays, sent.shape[2:3])
    if not delays.any():
        return sent
    out = np.empty_like(sent)
    for d in np.unique(delays):
        out[:, :, delays == d] = delayed(int(d), sent[:, :, delays == d], steps, state, f"axon {d}")
    return out


def toward_zero(product: Array) -> Array:
    """``rz(product / 4096)``: a shift rounds down, so negative numbers get 4095 first."""
    return np.asarray((product + ((product >> 63) & 4095)) >> 12)


def _bounded(act: Cuba, name: str, state: Array, t: int) -> None:
    """Keep a state within 24 bits, in the way that `act.overflow` names."""
    if act.overflow == "refuse":
        if max(int(state.max()), -int(state.min()) - 1) >= EDGE:
            raise Unsupported("Cuba", f"{name} leaves 24 bits in step {t}", "scale weights, bias or input down")
    elif act.overflow == "wrap" and name == "u":
        np.subtract(state, ((state + EDGE - 1) >> 24) << 24, out=state)
    elif act.overflow == "wrap":
        np.clip(state, 1 - EDGE, EDGE - 1, out=state)
