"""Linear operations and pooling on batches of samples ``[B, *shape]``, channel first.

The functions take plain arrays and numbers, so that a batch may be samples, time steps or both folded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pads = Sequence[tuple[int, int]]


def dense(x: Array, weight: Array) -> Array:
    """``y[b, o] = sum_i W[o, i] x[b, i]``."""
    return x @ weight.T


def conv(x: Array, weight: Array, stride: Sequence[int], padding: Pads, dilation: Sequence[int], groups: int) -> Array:
    """Cross-correlation of ``x`` [B, C, *spatial] with ``weight`` [O, C / groups, *kernel], one product per group."""
    axes = weight.ndim - 2
    x = _pad(x, padding)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, 2 + axes)))
    windows = _at(windows, [*(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation)])
    batch, channels, *out = windows.shape[: 2 + axes]
    # [B, C, *out, *kernel] -> [g, B * out, C / g * kernel]; the copy that this makes is the im2col matrix.
    split = windows.reshape(batch, groups, channels // groups, *windows.shape[2:])
    columns = np.moveaxis(split, (1, 0, *range(3, 3 + axes), 2), range(3 + axes)).reshape(
        groups, batch * int(np.prod(out)), -1
    )
    kernel = weight.reshape(groups, len(weight) // groups, -1)
    y = columns @ kernel.transpose(0, 2, 1)  # [g, B * out, O / g]
    return np.moveaxis(y.reshape(groups, batch, *out, -1), (1, 0, -1), (0, 1, 2)).reshape(batch, len(weight), *out)


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
    x = _pad(x, [(p, p) for p in padding], -np.inf if greatest else 0)
    y = _windows(x, kernel, stride, np.maximum if greatest else np.add)
    if kind != "average":
        return y
    if count_include_pad or not any(padding):
        return np.asarray(y / x.dtype.type(np.prod(kernel)))
    inside = [n - 2 * p for n, p in zip(x.shape[2:], padding, strict=True)]
    ones = _pad(np.ones((1, 1, *inside), x.dtype), [(p, p) for p in padding])
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


def _windows(x: Array, kernel: Sequence[int], stride: Sequence[int], combine: np.ufunc) -> Array:
    """Combine the entries of every window: one strided slice per place in the kernel, which numpy does fastest."""
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    y: Array | None = None
    for place in product(*(range(k) for k in kernel)):
        part = _at(x, [slice(o, o + (m - 1) * s + 1, s) for o, m, s in zip(place, out, stride, strict=True)])
        y = part.copy() if y is None else combine(y, part, out=y)
    assert y is not None
    return y


def _pad(x: Array, padding: Pads, value: float = 0) -> Array:
    """Pad the trailing axes; a negative amount crops."""
    x = _at(x, [slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape[2:], padding, strict=True)])
    if all(lo <= 0 and hi <= 0 for lo, hi in padding):
        return x
    return np.pad(x, ((0, 0), (0, 0), *((max(lo, 0), max(hi, 0)) for lo, hi in padding)), constant_values=value)


def _at(x: Array, index: Sequence[slice]) -> Array:
    """View of the trailing axes."""
    view: Array = x[(..., *index)]  # type: ignore[arg-type]
    return view
