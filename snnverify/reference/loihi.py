"""Loihi's integer units over all their steps, in Python's ints: the docstrings of `Cuba` and `SigmaDelta`, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ..activation import Cuba, SigmaDelta
from ..errors import Unsupported
from .neurons import Dynamics
from .operations import Index, channel

HALF = 2**23  # a state of 24 bits


def cuba(act: Cuba, index: Index, drive: Sequence[Fraction]) -> Dynamics:
    """Run one CUBA unit on its (already delayed) sums of each step; ``v`` and ``v_peak`` in Loihi units.

    Raises
    ------
    Unsupported
        u or v outside 24 bits where ``overflow="refuse"``.
    """
    threshold, bias = 64 * integer(act.threshold, index), integer(act.bias, index) * 2**act.bias_exponent
    current_decay, voltage_decay = integer(act.current_decay, index), integer(act.voltage_decay, index)
    u = v = blocked = 0
    spikes, after, peak = [], [], []
    for t, x in enumerate(drive):
        if act.reset_interval is not None and t % act.reset_interval == act.reset_offset % act.reset_interval:
            u = v = 0
        u = rz(Fraction(u * (4096 - current_decay), 4096))
        if act.drive == "current":
            u += 64 * (x * Fraction(2) ** act.weight_exponent // 1)
        u = limited(act, "u", u, t)
        if blocked:
            blocked -= 1
        else:
            v = rz(Fraction(v * (4096 - voltage_decay), 4096)) + u + bias
            if act.drive == "bias":
                v += int(x * 2**act.bias_exponent)
        v = limited(act, "v", v, t)
        peak.append(Fraction(v))
        s = int(v > threshold)
        if s:
            v, blocked = 0, act.refractory - 1
        spikes.append(s)
        after.append(Fraction(v))
    return spikes, after, peak


def sigma_delta(act: SigmaDelta, index: Index, drive: Sequence[Fraction]) -> Dynamics:
    """Run one sigma-delta unit: its messages, its activation and the sum before it in each step.

    Raises
    ------
    Unsupported
        A sum outside 24 bits.
    """
    unit = 2 ** (act.spike_exponent + act.state_exponent)
    threshold, bias = integer(act.threshold, index) * unit, integer(act.bias, index) * unit
    sigma = before = residue = error = 0
    sent, acts, sums = [], [], []
    for t, arriving in enumerate(drive):
        x = int(arriving)
        sigma = x * unit if act.role == "delta" else sigma + x
        value = sigma
        if act.role == "sigma-delta":
            value = sigma + bias if act.activation == "unit" else max(0, sigma + bias)
        for name, state in (("sigma", sigma), ("act", value)):
            if not -HALF <= state < HALF:
                raise Unsupported(f"SigmaDelta unit {index}", f"{name} = {state} in step {t} is outside 24 bits",
                                  "scale weights, bias or input down")  # fmt: skip
        sums.append(Fraction(sigma))
        acts.append(Fraction(value))
        if act.role == "sigma":
            sent.append(sigma)
            continue
        d = value - before + residue
        before, error = value, error + d
        if abs(error if act.cum_error else d) < threshold:
            sent.append(0)
            residue = d
        else:
            sent.append(d // 2**act.state_exponent)
            residue, error = 0, 0 if d else error
    return sent, acts, sums


def integer(parameter: object, index: Index) -> int:
    """Return the integer value of a parameter for the unit at `index`."""
    return int(channel(parameter, index))  # type: ignore[arg-type]


def rz(number: Fraction) -> int:
    """Round toward zero."""
    return int(number)


def limited(act: Cuba, name: str, state: int, t: int) -> int:
    """Return a state as 24 bits hold it, or refuse."""
    if act.overflow == "none" or (-HALF <= state < HALF and act.overflow == "refuse"):
        return state
    if act.overflow == "refuse":
        raise Unsupported(
            "Cuba", f"{name} = {state} in step {t} is outside 24 bits", "scale weights, bias or input down"
        )
    if name == "v":
        return max(1 - HALF, min(HALF - 1, state))
    while state > HALF:
        state -= 2 * HALF
    while state <= -HALF:
        state += 2 * HALF
    return state
