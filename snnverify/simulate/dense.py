"""Weights for products of bytes over all inputs, active or not.

Of a convolution of spikes, whose images lie here, too, and from how many spikes on they pay; and of a Dense on numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..kernels.arguments import Images, Products
from ..kernels.fused_dense import PIXELS
from ..kernels.vectors import DOTS
from ..network import Array, Conv, Dense
from .layout import Frame, Synapses, expanded, in_16_bits
from .memory import aligned

TILE = 1024  # units at a time, over all steps: their state stays in the first cache
BYTE = 127


@dataclass(frozen=True)
class Matrix:
    """A Dense on numbers, for those that are small integers times a power of two.

    Parameters
    ----------
    size : int
        Bytes of a frame of numbers.
    scale : float
        What the sums count in.
    products : Products
        Without `starts`, which hang on the number of frames.
    """

    size: int
    scale: float
    products: Products


_NONE = np.zeros(0, np.int32)
_NO_COUNTS = np.zeros(0, np.uint8)  # a worker has the room for them
NO_IMAGES = Images(
    counts=_NO_COUNTS, size=0, least=0.0, span=0, places=_NONE,
    products=Products(0, _NONE, _NONE, pieces=np.zeros((0, 3), np.int64), weight=np.zeros(0, np.int8)),
)  # fmt: skip


def images_of(op: Conv, source: Frame, out: Frame, worth: Array, most: int, laid: Synapses) -> Images | None:
    """Lay out a convolution of `source`, counts up to `most` a channel, whose sums are integers; None where it cannot be."""
    if not DOTS or op.transposed or not np.issubdtype(laid.sums, np.integer):
        return None
    units = expanded(op) * worth[:, None, None] / laid.scale
    if np.abs(units).max(initial=0) > BYTE or most > 2 * BYTE:
        return None
    channels = -(-source.shape[0] // 4) * 4
    sizes = [n + lo + hi for n, (lo, hi) in zip(source.shape[1:], op.padding, strict=True)]
    pitch = [channels * math.prod(sizes[a + 1 :]) for a in range(len(sizes))]

    def table(axes: list[Array]) -> Array:
        """Bytes that places on each axis lie from the first one."""
        places = np.zeros(1, np.int64)
        for at, p in zip(axes, pitch, strict=True):
            places = (places[:, None] + p * at).ravel()
        return places

    places = table([np.arange(n) + lo for n, (lo, _) in zip(source.shape[1:], op.padding, strict=True)])
    starts = table([np.arange(n) * s for n, s in zip(out.shape[1:], op.stride, strict=True)])
    taps = table([np.arange(k) * d for k, d in zip(op.weight.shape[2:], op.dilation, strict=True)])
    offsets = (taps[:, None] + np.arange(0, channels, 4)).ravel()
    pieces, weight = _in_fours(units, channels, -(-op.channels[1] // 16))
    products = Products(
        channels=out.channels, starts=np.pad(starts, (0, 2 * max(PIXELS))).astype(np.int32),
        offsets=offsets.astype(np.int32), pieces=pieces, weight=weight,
    )  # fmt: skip
    return Images(
        counts=_NO_COUNTS, size=channels * math.prod(sizes),
        least=_least(len(offsets), len(taps), source, out, op, most, laid), span=_span(out.channels),
        places=places.astype(np.int32), products=products,
    )  # fmt: skip


def matrix_of(op: Dense, source: Frame, out: Frame) -> Matrix | None:
    """Lay out a Dense on numbers; None where it cannot be.

    Weights whose sums fit into 16 bits, times numbers of 8, add up to less than 2^24: exact in floats, too, in any order.
    """
    units, scale = in_16_bits(op.weight.T[:, None, :], 1) if DOTS and source.pixels == 1 else (None, 1.0)
    if units is None or np.abs(units).max(initial=0) > BYTE:
        return None
    channels = -(-len(units) // 4) * 4
    pieces, weight = _in_fours(units, channels, -(-units.shape[2] // 16))
    offsets = np.arange(0, channels, 4, dtype=np.int32)
    return Matrix(source.units, scale, Products(out.units, _NONE, offsets, pieces, weight))


def _in_fours(units: Array, channels: int, vectors: int) -> tuple[Array, Array]:
    """Weights [in, taps, out] in pieces of at most four vectors of 16 outputs: four inputs of each lie side by side."""
    inputs, K, outputs = units.shape
    full = np.zeros((channels, K, 16 * vectors), np.int8)
    full[:inputs, :, :outputs] = units
    words = full.reshape(channels // 4, 4, K, 16 * vectors).transpose(2, 0, 3, 1)  # [taps, fours, out, 4]
    pieces, parts, begin = [], [], 0
    for first in range(0, vectors, len(PIXELS)):
        number = min(len(PIXELS), vectors - first)
        part = words[:, :, 16 * first : 16 * (first + number)]
        pieces.append((number, 16 * first, begin))
        parts.append(part.ravel())
        begin += part.size
    flat = aligned((begin,), np.int8)
    np.concatenate(parts, out=flat)
    return np.asarray(pieces, np.int64), flat


def _span(channels: int) -> int:
    """Words of a tile: whole pixels, as many as `fused_dense.from_counts` takes at a time or several times that."""
    pixels = max(PIXELS)
    return max(TILE // channels // pixels, 1) * pixels * channels // 64


def _least(words: int, taps: int, source: Frame, out: Frame, op: Conv, most: int, laid: Synapses) -> float:
    """Spikes of a frame at which rows and products take the same number of cycles.

    Half a cycle a product of 64 bytes, and what an image costs; a cycle a vector of a row, and per pixel its sums and lists.
    """
    vectors, reached = out.channels / 32, taps / math.prod(op.stride)
    dense = words * out.channels / 16 * out.pixels / 2 + source.pixels * most * 4
    listed = source.pixels * (30 + 2 * reached * vectors)
    row = reached * vectors * (laid.weights.weight.itemsize / 2)
    return max(dense - listed, 0.0) / row
