"""How the fused engine lays a network out in memory: frames of units, weight rows, and which input reaches which output.

A frame holds the units of one layer pixel by pixel, the channels side by side and padded to whole vectors. The weights of an
input unit lie together, tap by tap, so that a spike adds one row of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..kernels.arguments import Weights
from ..kernels.fused_synapse import BLOCKS
from ..kernels.vectors import WIDE
from ..kernels.vectors_rows import AT_ONCE
from ..network import Array, Conv, Dense, Op, Pool, Scale, Shape
from .memory import LINE, aligned

EXACT_IN_16 = 2**15 - 1
REGISTERS = 18 if WIDE else 9  # vectors of 64 bytes that a block may keep in registers


@dataclass(frozen=True)
class Frame:
    """Units of a layer: channels (padded), pixels, and all of them, a multiple of 64."""

    shape: Shape

    @cached_property
    def channels(self) -> int:
        """Channels of a pixel with their padding."""
        return 16 if self.shape[0] <= 16 else -(-self.shape[0] // 32) * 32

    @cached_property
    def pixels(self) -> int:
        """Pixels."""
        return math.prod(self.shape[1:])

    @cached_property
    def units(self) -> int:
        """Entries of a frame."""
        return -(-self.pixels * self.channels // 64) * 64

    def of(self, value: Array | float, rest: float, dtype: Any, pixels: int | None = None) -> Array:
        """Frame of a parameter of shape () or (C,); `rest` where it pads; or some of its pixels."""
        pixels = self.pixels if pixels is None else pixels
        frame = aligned((-(-pixels * self.channels // 64) * 64,), dtype)
        frame[:] = rest
        body = frame[: pixels * self.channels].reshape(pixels, self.channels)
        body[:, : self.shape[0]] = value
        return frame

    def pattern(self, value: Array | float, rest: float, dtype: Any) -> Array:
        """The pixels of `of` that repeat, whole words: a frame of a big layer takes room in the caches for nothing."""
        pixels = math.lcm(self.channels, 64) // self.channels
        return self.of(value, rest, dtype, None if self.pixels % pixels else pixels)


def plain(x: Array) -> Array:
    """An array flat and contiguous, as a kernel takes it: floats of 32 or 64 bits, or integers."""
    kind = np.uint8 if x.dtype == bool else np.float32 if x.dtype == np.float16 else x.dtype.newbyteorder("=")
    return np.ascontiguousarray(x, kind).reshape(-1)


@dataclass(frozen=True)
class Synapses:
    """Weights of one branch as rows.

    Parameters
    ----------
    weights : Weights
    rows : int
        Weight rows between one pixel of the source and the next.
    zeros : int
        A row of zeros, the last.
    channels : int
        Of an output's pixel.
    sums : dtype
        Of the currents: of the weights, or 16 bits where those have 8.
    scale : float
        What the sums count in.
    """

    weights: Weights
    rows: int
    zeros: int
    channels: int
    sums: np.dtype[Any]
    scale: Any


def windows(op: Op, source: Frame) -> Array:
    """Pixels [P, M] that each pixel of a pooling (or, itself alone, of a Scale) sees, int32; -1 outside."""
    if not isinstance(op, Pool):
        return np.arange(source.pixels, dtype=np.int32)[:, None]
    sizes = source.shape[1:]
    axes = []
    for n, k, s, p in zip(sizes, op.kernel, op.stride, op.padding, strict=True):
        at = np.arange((n + 2 * p - k) // s + 1)[:, None] * s - p + np.arange(k)
        axes.append(np.where((at >= 0) & (at < n), at, -1))
    table = np.zeros((1, 1), np.int64)
    for at, n in zip(axes, sizes, strict=True):
        table = _crossed(table, at, n)
    return np.ascontiguousarray(table, np.int32)


def _crossed(table: Array, axis: Array, size: int) -> Array:
    """Table of flat positions [P, K], -1 outside, with one more axis of `size` positions, whose table is `axis` [n, k]."""
    both = table[:, None, :, None] * size + axis[None, :, None, :]
    outside = (table < 0)[:, None, :, None] | (axis < 0)[None, :, None, :]
    return np.where(outside, -1, both).reshape(len(table) * len(axis), -1)


def as_weights(op: Op, source: Frame) -> Conv | Dense:
    """Pooling or Scale with its weights, a diagonal kernel, for sources that are numbers."""
    channels, axes = source.shape[0], len(source.shape) - 1
    if isinstance(op, Pool):
        size = math.prod(op.kernel) if op.kind == "average" else 1
        kernel = np.full((channels, 1, *op.kernel), 1.0 / size)
        return Conv(kernel, None, op.stride, tuple((p, p) for p in op.padding), groups=channels)
    assert isinstance(op, Scale)
    factor = np.broadcast_to(np.asarray(op.factor, float), (channels,))
    return Conv(factor.reshape(-1, 1, *(1,) * axes), groups=channels) if axes else Dense(np.diag(factor))


def synapses(op: Op, source: Frame, out: Frame, worth: Array, single: bool, most: int | None, dtype: Any) -> Synapses:
    """Lay out the weights of a branch.

    Parameters
    ----------
    op : Dense or Conv
    source, out : Frame
        For a Dense, the frame before any flattening.
    worth : array [C]
        Factor of every channel of the source.
    single : bool
        Whether a Dense takes its source as one pixel of many channels.
    most : int or None
        How often a weight row is added in a step at most: pixels of a window of spikes. None where inputs are numbers.
    dtype : dtype
        Of sums, where they are not exact in 16 bits: of floats, or int32.
    """
    taps = _of_dense(op, source, worth, single) if isinstance(op, Dense) else _of_conv(op, source, out, worth)
    padded, sums, scale, limit = _numbers(taps.weight, out.channels, most, dtype)
    widths = (4, 1) if single and most is None else tuple(sorted({v for _, v in BLOCKS}, reverse=True))
    pieces, ranges, flat = _pieces(padded, taps.groups, widths, LINE // sums.itemsize, limit)
    targets = np.ascontiguousarray(taps.targets, np.int32)
    return Synapses(
        weights=Weights(pieces, ranges[taps.group_of], targets, flat), rows=taps.rows, zeros=len(taps.weight),
        channels=out.channels, sums=sums, scale=dtype.type(scale),
    )  # fmt: skip


class _Taps(NamedTuple):
    """Weights and where they lead, before they are numbers of some size.

    Parameters
    ----------
    weight : float array [in, taps, out]
    targets : array [P, taps]
        Where in the currents a source's pixel lands by each tap.
    groups : list of (first, number)
        Ranges of taps.
    group_of : array [P]
        The group that a pixel uses.
    rows : int
        Of `weight`, between a pixel and the next.
    """

    weight: Array
    targets: Array
    groups: list[tuple[int, int]]
    group_of: Array
    rows: int


def _of_dense(op: Dense, source: Frame, worth: Array, single: bool) -> _Taps:
    """One tap, to the one pixel that there is; every pixel of the source has rows of its own."""
    C, P, outputs = source.shape[0], source.pixels, len(op.weight)
    padded = np.zeros((P, source.channels, outputs))
    padded[:, :C] = op.weight.reshape(-1, C, P).transpose(2, 1, 0) * worth[None, :, None]
    pixels = 1 if single else P
    targets, group_of = np.zeros((pixels, 1), np.int32), np.zeros(pixels, np.int64)
    return _Taps(padded.reshape(-1, 1, outputs), targets, [(0, 1)], group_of, 0 if single else source.channels)


def _of_conv(op: Op, source: Frame, out: Frame, worth: Array) -> _Taps:
    """A tap for each place of the kernel; all pixels share the rows."""
    assert isinstance(op, Conv)
    weight = expanded(op) * worth[:, None, None]
    targets, groups, group_of, order = _geometry(op, source, out)
    padded = np.zeros((source.channels, *weight.shape[1:]))
    padded[: len(weight)] = weight
    return _Taps(padded[:, order], targets[:, order], groups, group_of, 0)


def _numbers(weight: Array, channels: int, most: int | None, dtype: Any) -> tuple[Array, np.dtype[Any], float, int]:
    """Weights [in, taps, out] with a row of zeros and padded to `channels`, in the smallest numbers that hold them.

    With the dtype and the unit of their sums, and how many rows may be added as bytes: 0 where the weights are none.
    """
    whole = np.issubdtype(dtype, np.integer)
    narrow = most is not None and channels % 32 == 0 and (whole or dtype == np.float32)
    units, scale = in_16_bits(weight, most or 1) if narrow else (None, 1.0)
    taken = weight if units is None else units
    sums = dtype if units is None else np.dtype(np.int16)
    limit = 127 // max(int(np.abs(taken).max(initial=0)), 1) // AT_ONCE * AT_ONCE
    kind = np.int8 if units is not None and limit else sums
    padded = np.zeros((len(weight) + 1, weight.shape[1], channels), kind)
    padded[:-1, :, : weight.shape[2]] = taken
    return padded, sums, scale, limit


def expanded(op: Conv) -> Array:
    """Kernel of a convolution as [in, taps, out], zeros between its groups."""
    taps = math.prod(op.weight.shape[2:])
    inputs, outputs = op.channels
    w = op.weight.reshape(*op.weight.shape[:2], taps)
    full = np.zeros((inputs, taps, outputs))
    i, o = inputs // op.groups, outputs // op.groups
    for g in range(op.groups):
        rows, columns = slice(g * i, (g + 1) * i), slice(g * o, (g + 1) * o)
        part = w[rows] if op.transposed else w[columns].swapaxes(0, 1)
        full[rows, :, columns] = part.swapaxes(1, 2)
    return full


def _geometry(op: Conv, source: Frame, out: Frame) -> tuple[Array, list[tuple[int, int]], Array, Array]:
    """Targets [P, taps] in the natural order of taps, groups of taps (first, number) in `order`, group of each pixel, order.

    With a stride, a pixel reaches outputs by those taps alone whose place has its own remainder; they are laid side by side.
    """
    sizes, outs, kernel = source.shape[1:], out.shape[1:], op.weight.shape[2:]
    targets = np.zeros((1, 1), np.int64)
    group_of, tap_group, steps = np.zeros(1, np.int64), np.zeros(1, np.int64), 1
    for n, m, k, s, (lo, _), d in zip(sizes, outs, kernel, op.stride, op.padding, op.dilation, strict=True):
        at, tap = np.arange(n)[:, None], np.arange(k)[None] * d
        if op.transposed:
            place, fits, s = at * s - lo + tap, True, 1
        else:
            place, fits = (at + lo - tap) // s, (at + lo - tap) % s == 0
        place = np.where(fits & (place >= 0) & (place < m), place, -1)
        targets = _crossed(targets, place, m)
        group_of = (group_of[:, None] * s + (at.T + lo) % s).ravel()
        tap_group = (tap_group[:, None] * s + tap % s).ravel()
        steps *= s
    order = np.argsort(tap_group, kind="stable")
    starts = np.searchsorted(tap_group[order], np.arange(steps + 1))
    groups = [(int(a), int(b - a)) for a, b in pairwise(starts)]
    return np.where(targets < 0, out.units, targets * out.channels), groups, group_of, order


def in_16_bits(weight: Array, most: int) -> tuple[Array | None, float]:
    """Weights [in, taps, out] as integers times a power of two, where every sum of theirs fits into 16 bits; else None.

    Each partial sum of an output is at most the sum of its absolute weights, each taken `most` times. Where that is at most
    2^15 - 1 units no sum wraps, in whatever order, and every one is exact: what float32 could only round alike.
    """
    for places in range(15):
        units = np.ldexp(weight, places)
        if np.array_equal(units, np.rint(units)):
            fits = most * np.abs(units).sum((0, 1)).max(initial=0) <= EXACT_IN_16
            return (units, 2.0**-places) if fits else (None, 1.0)
    return None, 1.0


def _pieces(
    weight: Array, groups: list[tuple[int, int]], widths: tuple[int, ...], lanes: int, limit: int
) -> tuple[Array, Array, Array]:
    """Cut weights [in, taps, out] into the blocks that the kernel adds: pieces, the range of each group's, flat weights.

    A block has some of `widths` in vectors of `lanes` sums; at most `limit` rows are added as bytes.
    """
    pieces: list[tuple[int, ...]] = []
    ranges, parts, size = [], [], 0
    line = LINE // weight.itemsize
    for first, number in groups:
        begin = len(pieces)
        for tap, taps in _cut(number, [5] if number % 5 == 0 else sorted({k for k, _ in BLOCKS}, reverse=True)):
            for vector, width in _cut(
                -(-weight.shape[2] // lanes), [v for k, v in BLOCKS if k == taps and v in widths and k * v <= REGISTERS]
            ):
                part = weight[:, first + tap : first + tap + taps, vector * lanes : (vector + width) * lanes]
                rows = part.reshape(len(part), -1)
                rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % line)))
                pieces.append((BLOCKS.index((taps, width)), first + tap, vector * lanes, size, rows.shape[1], limit))
                parts.append(rows.ravel())
                size += rows.size
        ranges.append((begin, len(pieces)))
    flat = aligned((size,), weight.dtype)
    np.concatenate(parts, out=flat)
    return np.asarray(pieces, np.int64), np.asarray(ranges, np.int64), flat


def _cut(length: int, sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Cut a length into (start, size), the greatest sizes first; the last of `sizes` is 1."""
    start = 0
    for size in sizes:
        while length - start >= size:
            yield start, size
            start += size
