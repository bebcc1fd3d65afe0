"""What a leak costs: the firing rate of a discrete-time LIF neuron under constant input, in closed form.

One step is ``v <- a v + I``, a spike where ``v >= theta``, then ``v <- v - theta`` (soft reset) or ``v <- 0`` (hard
reset); a in (0, 1) is the leak, ``i = I / theta``. Without a spike v runs to ``I / (1 - a)``.

*Rheobase.* ``i <= 1 - a`` never fires (from rest): activations below ``(1 - a) theta`` are lost.

*Hard reset.* From 0, v is ``I (1 - a^k) / (1 - a)`` after k steps (geometric sum), so all intervals are the smallest k
with ``i (1 - a^k) >= 1 - a``, and the rate is 1 / k.

*Soft reset.* For ``1 - a < i < 1`` the potential after a step is ``u <- {a u + i}`` in units of theta, a contracted
rotation; the rate is its rotation number, p / q exactly where (Y. Bugeaud, C. R. Acad. Sci. Paris 317, 1993; M. Laurent
and A. Nogueira, J. Modern Dynamics 12, 2018)::

    (1 - a) / (1 - a^q) c  <=  i  <=  (1 - a) / (1 - a^q) (c + a^(q - 1) - a^q)
    c = 1 + sum of (floor((k + 1) p / q) - floor(k p / q)) a^k  over k = 1 ... q - 2

The rate is found by bisection over fractions (Stern and Brocot), in exact arithmetic. Summed over T steps the recurrence
gives ``theta N / T = I - (1 - a) mean(v) - (v_T - v_0) / T``: the leak costs ``(1 - a) mean(v) / theta`` of the rate.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from ..errors import ConfigError

FINEST = 256  # denominators of rates that are told apart
Reset = Literal["subtract", "value"]


def rheobase(leak: float | Fraction) -> Fraction:
    """``1 - a``: the input, in thresholds per step, up to which a neuron at rest never fires; 0 without a leak."""
    return 1 - Fraction(leak)


def rate(i: float | Fraction, leak: float | Fraction, reset: Reset = "subtract", finest: int = FINEST) -> Fraction:
    """Long-run firing rate, in spikes per step, at constant input `i` in thresholds per step.

    Parameters
    ----------
    i : float or Fraction
    leak : float or Fraction
        In (0, 1]; 1 is IF, whose rate is i, or 1 / ceil(1 / i) with hard reset.
    reset : {"subtract", "value"}
    finest : int
        With soft reset a rate that is no fraction of a denominator up to `finest` is told up to 1 / finest.

    Raises
    ------
    ConfigError
        The leak is outside (0, 1].
    """
    i, a = Fraction(i), Fraction(leak)
    if not 0 < a <= 1:
        raise ConfigError(f"leak = {leak}: a factor on the potential in (0, 1]; 1 is IF")
    if i <= 1 - a:
        return Fraction(0)
    if i >= 1:
        return Fraction(1)
    if reset == "value":
        return Fraction(1, interval(i, a))
    if a == 1:
        return i.limit_denominator(finest)
    low, high = (0, 1), (1, 1)
    while True:
        p, q = low[0] + high[0], low[1] + high[1]
        if q > finest:
            return min((Fraction(*low), Fraction(*high)), key=lambda r: (r.denominator, r))
        first, last = step(p, q, a)
        if first <= i <= last:
            return Fraction(p, q)
        low, high = ((p, q), high) if i > last else (low, (p, q))


def interval(i: Fraction, a: Fraction) -> int:
    """Smallest k with ``i (1 + a + ... + a^(k - 1)) >= 1``; the input is above the rheobase."""
    v, k = i, 1
    while v < 1:
        v, k = a * v + i, k + 1
        if k > 100_000:
            raise ConfigError(
                f"input = {float(i):g}: so near the rheobase {float(1 - a):g} that no spike comes in 100,000 steps"
            )
    return k


def step(p: int, q: int, a: Fraction) -> tuple[Fraction, Fraction]:
    """Least and greatest input, in thresholds per step, at which a neuron with soft reset fires p times in q steps."""
    c = 1 + sum(((k + 1) * p // q - k * p // q) * a**k for k in range(1, q - 1))
    scale = (1 - a) / (1 - a**q)
    return scale * c, scale * (c + a ** (q - 1) - a**q)


def table(leak: float, reset: Reset = "subtract", points: int = 10) -> list[tuple[float, float, float]]:
    """Rows (input in thresholds per step, rate without the leak, rate with it) of the f-I curve."""
    inputs = [Fraction(n, points) for n in range(1, points + 1)]
    return [(float(i), float(rate(i, 1, reset)), float(rate(i, leak, reset))) for i in inputs]
