"""Linear operations and pooling on batches of samples ``[B, *shape]``, channel first.

The functions take plain arrays and numbers, so that a batch may be samples, time steps or both folded together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pads = Sequence[tuple[int, int]]
COLUMNS = 2**20  # bytes of an im2col matrix


def dense(x: Array, weight: Array) -> Array:
    """``y[b, o] = sum_i W[o, i] x[b, i]``."""
    return x @ weight.T


def conv(x: Array, weight: Array, stride: Sequence[int], padding: Pads, dilation: Sequence[int], groups: int) -> Array:
    """Cross-correlation of ``x`` [B, C, *spatial] with ``weight`` [O, C / groups, *kernel], one product per group.

    In memory channels come last, in the result too: a row of a window is then one run. The im2col matrix is made part by
    part, so that it stays in a cache.
    """
    axes = weight.ndim - 2
    x = _channels_last(x, padding)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    out = [(n - r) // s + 1 for n, r, s in zip(x.shape[1:-1], reach, stride, strict=True)]
    batch, *inner, each = x.strides
    steps = [s * k for s, k in zip(inner, stride, strict=True)], [s * k for s, k in zip(inner, dilation, strict=True)]
    shape = (len(x), *out, *weight.shape[2:], groups, x.shape[-1] // groups)
    windows = np.lib.stride_tricks.as_strided(x, shape, (batch, *steps[0], *steps[1], each * shape[-1], each))
    windows = windows.transpose(2 * axes + 1, *range(2 * axes + 1), 2 * axes + 2)  # [g, B, *out, *kernel, C / g]
    per_group = weight.reshape(groups, len(weight) // groups, -1, math.prod(weight.shape[2:]))
    kernel = per_group.transpose(0, 3, 2, 1).reshape(groups, -1, len(weight) // groups)  # [g, kernel * C / g, O / g]
    y = np.empty((len(x), *out, groups, kernel.shape[2]), x.dtype)
    by_group = y.transpose(1 + axes, *range(1 + axes), 2 + axes)
    rows = max(1, COLUMNS // max(1, math.prod(out[1:]) * math.prod(kernel.shape[:2]) * x.itemsize))  # of outputs
    for b, r in product(_slices(len(x), max(1, rows // out[0])), _slices(out[0], rows)):
        columns = windows[:, b, r].reshape(groups, -1, kernel.shape[1])  # the copy is the im2col matrix
        part = by_group[:, b, r]
        part[...] = (columns @ kernel).reshape(part.shape)
    return y.reshape(len(x), *out, len(weight)).transpose(0, 1 + axes, *range(1, 1 + axes))


def conv_transposed(
    x: Array,
    weight: Array,
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    groups: int,
    output_padding: Sequence[int],
) -> Array:
    """Adjoint of `conv`: ``weight`` is [C, O / groups, *kernel]; padding is cropped from the output.

    Computed as a correlation of the zero-stuffed input with the mirrored kernel.
    """
    spatial = x.shape[2:]
    stuffed = np.zeros((*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(spatial, stride, strict=True))), x.dtype)
    _at(stuffed, [slice(None, None, s) for s in stride])[...] = x
    per_group = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    mirrored = np.flip(per_group, tuple(range(3, per_group.ndim))).swapaxes(1, 2)
    kernel = mirrored.reshape(-1, *mirrored.shape[2:])
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    pads = [(r - lo, r - hi + o) for r, (lo, hi), o in zip(reach, padding, output_padding, strict=True)]
    return conv(stuffed, kernel, [1] * len(spatial), pads, dilation, groups)


def pool(x: Array, kind: str, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
         count_include_pad: bool) -> Array:  # fmt: skip
    """Average, sum or maximum over windows of the trailing axes; a gate on means is the maximum of the means."""
    greatest = kind in ("max", "gate")
    x = _pad(x, padding, -np.inf if greatest else 0)
    y = _windows(x, kernel, stride, np.maximum if greatest else np.add)
    if kind != "average":
        return y
    if count_include_pad or not any(padding):
        return np.asarray(y / x.dtype.type(np.prod(kernel)))
    inside = [n - 2 * p for n, p in zip(x.shape[2:], padding, strict=True)]
    ones = _pad(np.ones((1, 1, *inside), x.dtype), padding)
    return np.asarray(y / _windows(ones, kernel, stride, np.add))


def gate(
    x: Array, before: Array, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[Array, Array]:
    """Rise of the greatest accumulated value of every window, step by step: the gate of `network.Pool`.

    Parameters
    ----------
    x : array [T, N, C, *spatial]
        What the units hand on in each step.
    before : float64 array [N, C, *spatial]
        What they have handed on so far. float64 holds 2^29 spikes of a float32 amplitude exactly.
    kernel, stride, padding : sequence of int

    Returns
    -------
    y : array [T, N, C, *out], dtype of x
    after : float64 array, `before` and x together
    """
    total = np.cumsum(np.concatenate([before[None], x]), axis=0)  # in one sequence: blocks of steps round alike
    folded = total.reshape(-1, *total.shape[2:])
    greatest = pool(folded, "gate", kernel, stride, padding, True).reshape(*total.shape[:2], x.shape[2], -1)
    shape = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.shape[3:], kernel, stride, padding, strict=True)]
    y = np.diff(greatest, axis=0).astype(x.dtype)
    return y.reshape(*x.shape[:3], *shape), total[-1]


def _slices(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _windows(x: Array, kernel: Sequence[int], stride: Sequence[int], combine: np.ufunc) -> Array:
    """Combine the entries of every window, axis after axis: one strided slice per place, which numpy does fastest."""
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), 2):
        last = (x.shape[axis] - k) // s * s
        places = [(*(slice(None),) * axis, slice(o, o + last + 1, s)) for o in range(k)]
        y = x[places[0]] if k == 1 else combine(x[places[0]], x[places[1]])
        for place in places[2:]:
            combine(y, x[place], out=y)
        x = y
    return x


def _channels_last(x: Array, padding: Pads) -> Array:
    """``x`` [B, C, *spatial] as [B, *spatial, C] in memory, padded by zeros; a negative amount crops."""
    x = _cropped(x, padding)
    x = x.transpose(0, *range(2, x.ndim), 1)
    pads = [(max(lo, 0), max(hi, 0)) for lo, hi in padding]
    if not any(map(any, pads)):
        return np.ascontiguousarray(x)
    sizes = [n + lo + hi for n, (lo, hi) in zip(x.shape[1:-1], pads, strict=True)]
    y = np.zeros((len(x), *sizes, x.shape[-1]), x.dtype)
    y[(slice(None), *(slice(lo, lo + n) for n, (lo, _) in zip(x.shape[1:-1], pads, strict=True)))] = x
    return y


def _pad(x: Array, padding: Sequence[int], value: float = 0) -> Array:
    """Pad the trailing axes by as much on both sides."""
    sides = ((0, 0), (0, 0), *((p, p) for p in padding))
    return np.pad(x, sides, constant_values=value) if any(padding) else x


def _cropped(x: Array, padding: Pads) -> Array:
    return _at(x, [slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape[2:], padding, strict=True)])


def _at(x: Array, index: Sequence[slice]) -> Array:
    """View of the trailing axes."""
    view: Array = x[(..., *index)]  # type: ignore[arg-type]
    return view
