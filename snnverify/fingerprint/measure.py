"""Thresholds of a box after chosen inputs: the numbers from which its parameters are solved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..content import Array, Content
from .probes import FAR, Box, Outside, run, sequences, thresholds

NEAR = np.array([1.0, 2.0, 5.0]) / 8  # distances from the threshold, in units of `scale`
DEEP = np.array([32.0, 64.0])  # far below it
_UNIT = 2.0**-22  # rounding bound of a measured threshold, relative to the largest number that took part


@dataclass(frozen=True, eq=False)
class Measured(Content):
    """Smallest inputs that fire, each after a prefix; an input counts from the step in which it acts.

    Parameters
    ----------
    theta : float
    delay : int
        Steps after which an input acts.
    prefixes : tuple of tuples of float
        first: none; 1-3: just below threshold; 4-5: far below; 6-8: a spike; 9-11: twice just below; 12-14: a spike and
        a step of no input.
    last : array [15]
        The smallest float32 that then fires; ``inf`` where none does, ``-inf`` where all do.
    error : array [15]
        How far rounding may have moved it.
    most : int
        Spikes of one step at an input of `FAR` thresholds.
    second : float
        Smallest first input that gives two spikes; ``inf`` where none does.
    """

    theta: float
    delay: int
    prefixes: tuple[tuple[float, ...], ...]
    last: Array
    error: Array
    most: int
    second: float


def delay_of(box: Box, params: Mapping[str, float]) -> int:
    """Return the steps after which an input acts: 0 or 1."""
    far = FAR * params["theta"] / 4
    s = run(box, np.array([[far, -far], [0.0, 0.0], [0.0, 0.0]]), params)
    for delay in (0, 1):
        if s[delay, 0] != s[delay, 1]:
            return delay
    raise Outside("neither of its first two steps heeds a first input of "
                  f"{far:g}: its spikes are {s[:, 0].tolist()} after it, {s[:, 1].tolist()} after its negative")  # fmt: skip


def measure(box: Box, params: Mapping[str, float], delay: int, reach: float) -> Measured:
    """Measure thresholds of a box at its nominal parameters.

    Parameters
    ----------
    box : Box
    params : mapping of str to float
        Holds ``theta``.
    delay : int
    reach : float
        Unit of the distances from the threshold, in thresholds.

    Raises
    ------
    Outside
        A first input that can never, or need never, make it fire.
    """
    theta = params["theta"]
    (first,) = thresholds(box, [()], delay, params)
    if not np.isfinite(first):
        raise Outside(f"a first input of {FAR * theta:g} "
                      + ("never fires" if first > 0 else "fires, and so does its negative"))  # fmt: skip
    scale = float(2.0 ** np.round(np.log2(max(theta, first)))) * reach
    below, deep, above = ([float(np.float32(v)) for v in first + scale * d] for d in (-NEAR, -DEEP, NEAR))
    single = [(v,) for v in (*below, *deep, *above)]
    then = thresholds(box, single, delay, params)
    nearest = then[:3].min()
    hold = float(np.float32(nearest - scale / 4)) if np.isfinite(nearest) else 0.0
    double = [*((v, hold) for v in below), *((v, 0.0) for v in above)]
    last = np.concatenate([[first], then, thresholds(box, double, delay, params)])
    prefixes: list[tuple[float, ...]] = [(), *single, *double]
    most = int(run(box, sequences([()], [FAR * theta], delay), params)[delay, 0])
    second = thresholds(box, [()], delay, params, count=2)[0] if most > 1 else np.inf
    size = np.array([max((theta, abs(first), *np.abs(p), abs(w) if np.isfinite(w) else 0.0))
                     for p, w in zip(prefixes, last, strict=True)])  # fmt: skip
    return Measured(theta, delay, tuple(prefixes), last, _UNIT * size, most, float(second))
