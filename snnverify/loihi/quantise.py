"""Floats to Loihi's mantissas, exactly: 8-bit weights, thresholds, 12-bit decays; what a synapse keeps of a weight.

Sources: lava-dl 0.6.0 (slayer/neuron/base.py, slayer/neuron/cuba.py, netx/utils.py) and lava-nc 0.10.0
(utils/weightutils.py, proc/dense/models.py).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..content import Array
from ..errors import NetworkError, Unsupported

SCALE = 64  # mantissas to 1.0, where nothing else is said
SignMode = Literal["mixed", "excitatory", "inhibitory"]
GRID: dict[SignMode, tuple[int, int, int]] = {
    "excitatory": (0, 255, 1), "inhibitory": (-255, 0, 1), "mixed": (-256, 254, 2)
}  # fmt: skip
"""Least and greatest 8-bit weight of each sign mode, and the step between them."""


def weight_mantissa(weight: npt.ArrayLike, scale: int = SCALE) -> Array:
    """``m = 2 k``, k the integer nearest to ``weight scale / 2`` (ties to even), cut to -128 ... 127.

    The weight is read as float32, in which the libraries hold it. A float32 times an integer below 2^29 has at most 53
    bits, so the product here is exact; dividing by a rounded ``2 / scale`` would not be, unless scale is a power of two.

    Parameters
    ----------
    weight : array of floats, any shape
    scale : int
        Mantissas to 1.0.

    Returns
    -------
    array of int64, even, -256 ... 254

    Raises
    ------
    NetworkError
        A weight that is not finite; a scale outside 1 ... 2^29 - 1.
    """
    _scale(scale)
    w = np.asarray(weight, np.float32).astype(np.float64)
    if not np.all(np.isfinite(w)):
        raise NetworkError("weight holds NaN or infinity: mend the weights")
    return 2 * np.clip(np.rint(w * scale / 2), -128, 127).astype(np.int64)


def quantize_8bit(weight: npt.ArrayLike, scale: int = SCALE) -> Array:
    """Nearest point of the grid ``{2 k / scale, k = -128 ... 127}``, ties to even k; float64, shape of `weight`."""
    return np.asarray(weight_mantissa(weight, scale) / scale)


def threshold_mantissa(threshold: npt.ArrayLike, scale: int = SCALE) -> Any:
    """``m = trunc(threshold scale)``; an int, or an int64 array for an array.

    Truncation loses no spike where potentials are whole mantissas: ``v > threshold scale`` and ``v > m`` then say the same.

    Raises
    ------
    NetworkError
        A threshold below 0, or not finite.
    """
    _scale(scale)
    theta = np.asarray(threshold, np.float64)
    if not np.all(np.isfinite(theta) & (theta >= 0)):
        raise NetworkError(f"threshold = {threshold!r}: finite and at least 0")
    return _plain(np.trunc(theta * scale))


def decay_mantissa(decay: npt.ArrayLike) -> Any:
    """12-bit integer nearest to ``4096 decay`` (ties to even), cut to 0 ... 4096; an int, or an int64 array for an array.

    The product is exact in float64 and then read as float32, in which slayer keeps it. So a decay whose product lies
    nearer to a half than float32 can tell counts as a tie; every other one is rounded as in exact arithmetic.
    """
    d = np.asarray(decay, np.float64)
    if np.any(np.isnan(d)):
        raise NetworkError("decay holds NaN: mend it")
    return _plain(np.rint(np.clip((4096 * d).astype(np.float32), 0, 4096)))


def sign_mode_of(weight: Array) -> SignMode:
    """``excitatory`` without a negative weight, else ``inhibitory`` without a positive one, else ``mixed``."""
    return "excitatory" if weight.min(initial=0) >= 0 else "inhibitory" if weight.max(initial=0) <= 0 else "mixed"


def loihi_weights(mantissa: npt.ArrayLike, bits: int = 8, sign_mode: SignMode | None = None) -> Array:
    """What a synapse multiplies with: weights cut to 8 bits, the last ``8 - bits`` (mixed: ``9 - bits``) cleared.

    Clearing acts on the magnitude of inhibitory weights, and rounds down otherwise.

    Parameters
    ----------
    mantissa : array of int
    bits : int
        0 ... 8.
    sign_mode : {"mixed", "excitatory", "inhibitory"}, optional
        What the weights themselves show, by default.

    Returns
    -------
    array of int64
    """
    w = _integers(mantissa)
    if sign_mode is not None and sign_mode not in GRID:
        raise NetworkError(f"sign_mode = {sign_mode!r}: one of {', '.join(GRID)}")
    if not 0 <= bits <= 8:
        raise NetworkError(f"bits = {bits}: a weight has 0 ... 8 bits")
    mode = sign_mode or sign_mode_of(w)
    low, high, _ = GRID[mode]
    sign = -1 if mode == "inhibitory" else 1
    cleared = 8 - bits + (mode == "mixed")
    return np.asarray(sign * (sign * np.clip(w, low, high) >> cleared << cleared))


def optimize_weights(weight: npt.ArrayLike) -> tuple[Array, int, int, SignMode]:
    """``(w, bits, exponent, sign_mode)`` with ``loihi_weights(w, bits, sign_mode) 2^exponent = weight``, in integers alone.

    The weights are shifted up as far as the range of their sign mode holds them, and bits are as few as their common
    power of two allows. All of one sign, they have a bit more than mixed ones.

    Parameters
    ----------
    weight : array of int

    Returns
    -------
    w : array of int64
    bits : int
        0 ... 8.
    exponent : int
        -7 ... 7.
    sign_mode : {"mixed", "excitatory", "inhibitory"}

    Raises
    ------
    Unsupported
        Weights that no 8 bits and exponent hold, such as odd ones beyond 127 of both signs.
    """
    w = _integers(weight)
    mode = sign_mode_of(w)
    if not np.any(w):
        return w, 0, 0, mode
    magnitude = int(np.bitwise_or.reduce(np.abs(w), axis=None))
    zeros = (magnitude & -magnitude).bit_length() - 1  # places that every weight has free
    low, high, step = GRID[mode]
    fitting = [s for s in range(7, -8, -1) if _fits(w, s, zeros, low, high)]
    bits = 7 + step - zeros - fitting[0] if fitting else 9  # 9: there are none
    if bits > 8:
        raise Unsupported("weight", f"{int(w.min())} ... {int(w.max())} in steps of {1 << zeros} are no 8-bit weights",
                          "quantise them to even numbers in -256 ... 254 first")  # fmt: skip
    return np.asarray(w << fitting[0] if fitting[0] > 0 else w >> -fitting[0]), bits, -fitting[0], mode


def _fits(w: Array, shift: int, zeros: int, low: int, high: int) -> bool:
    if shift < -zeros:
        return False
    ends = [int(w.min()), int(w.max())]
    return all(low <= (e << shift if shift > 0 else e >> -shift) <= high for e in ends)


def _scale(scale: int) -> None:
    if not (isinstance(scale, (int, np.integer)) and 1 <= scale < 1 << 29):
        raise NetworkError(f"scale = {scale!r}: an integer from 1 to 2^29 - 1, 64 in lava-dl")


def _integers(value: npt.ArrayLike) -> Array:
    a = np.asarray(value)
    if not np.all(a == np.rint(a)):
        raise NetworkError("weight holds fractions: quantise it first (weight_mantissa)")
    return a.astype(np.int64)


def _plain(a: Array) -> Any:
    whole = a.astype(np.int64)
    return whole if whole.ndim else int(whole)
