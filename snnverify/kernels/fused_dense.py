"""Currents of a convolution over all inputs of a pixel, active or not, for the fused engine.

Where most of the inputs that an output sees are active, lists of them are longer than the products that they spare.
Spikes (of a window, how many) become an image of bytes with its border, and each output is a sum of products of bytes, in
integers that are exact: the same sums that `fused_synapse` comes to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import Products
from .compiled import inlined, kernel
from .vectors import drain
from .vectors_bits import tally, unfold
from .vectors_dense import bits_set, dots, quadruples

POWERS = 9  # of two that are tried, from 1 on
PIXELS = (8, 8, 4, 4)  # outputs at a time for 1 ... 4 vectors of 16 channels each, whose sums stay in registers


@kernel
def active(bits: Any, start: int, stop: int) -> int:
    """How many bits of bytes `start` ... `stop` are set."""
    number, at = 0, start
    while at + 64 <= stop:
        number += bits_set(bits, at)
        at += 64
    for b in range(at, stop):
        byte = bits[b]
        while byte:
            byte &= byte - 1
            number += 1
    return number


@kernel
def picture(source: Any, at: int, places: Any, counts: Any, to: int) -> None:
    """Write how many spikes a frame, from byte `at` on, has in each window and channel into an image.

    `places` [P] grow: what a pixel's last channels, which are none, write beyond it, the next one overwrites.
    """
    bits, width, windows = source.bits, source.width, source.windows
    P, M = windows.shape
    alone = M == 1 and windows[0, 0] == 0 and windows[P - 1, 0] == P - 1  # each pixel for itself
    if alone and width == 2 and places[P - 1] == 4 * (P - 1):  # side by side, no border, four channels
        for p in range(0, P - P % 16, 16):
            quadruples(counts, to + 4 * p, bits, at + 2 * p)
        P, rest = P % 16, P - P % 16
    else:
        rest = 0
    for p in range(rest, rest + P):
        if width == 2:
            tally(counts, to + places[p], bits, at, windows, p * M, M, width, 16)
        else:
            for b in range(0, width, 4):
                place = to + places[p] + 8 * b
                if alone:
                    unfold(counts, place, bits, at + p * width + b, 32)
                else:
                    tally(counts, place, bits, at + b, windows, p * M, M, width, 32)


@kernel
def from_counts(counts: Any, at: int, first: int, last: int, products: Any, out: Any) -> None:
    """Currents of the outputs' pixels `first` ... `last`, in an image that begins at ``counts[at]``, written to `out`."""
    channels, starts, offsets, pieces, weight = products
    for i in range(len(pieces)):
        vectors, column, begin = pieces[i]
        if vectors == 1:
            for p in range(first, last, 8):
                dots(out, p * channels + column, channels, counts, at, starts, p, offsets, weight, begin, 8, 1)
        elif vectors == 2:
            for p in range(first, last, 8):
                dots(out, p * channels + column, channels, counts, at, starts, p, offsets, weight, begin, 8, 2)
        elif vectors == 3:
            for p in range(first, last, 4):
                dots(out, p * channels + column, channels, counts, at, starts, p, offsets, weight, begin, 4, 3)
        else:
            for p in range(first, last, 4):
                dots(out, p * channels + column, channels, counts, at, starts, p, offsets, weight, begin, 4, 4)


@inlined
def pictured(images: Any, source: Any, frame: int, steps: int) -> Any:
    """Whether a sample, from number `frame` of its source on, has spikes enough for images of them; if so they are made."""
    at, size = frame * source.size, source.size
    if not len(images.counts) or active(source.bits, at, at + steps * size) < images.least * steps:
        return False
    for t in range(steps):
        picture(source, at + t * size, images.places, images.counts, t * images.size)
    return True


@inlined
def products(images: Any, t: int, begin: int, end: int, out: Any) -> None:
    """Currents of words `begin` ... `end` of the outputs in step t, by `from_counts`."""
    table = Products(*images.products)
    first, last = 64 * begin // table.channels, -(-64 * end // table.channels)
    from_counts(images.counts, t * images.size, first, last, table, out)


@kernel
def as_bytes(values: Any, number: int, counts: Any) -> int:
    """Write some numbers, a multiple of 64, times the least power of two with which all are integers of a byte; its power.

    -1 where there is none up to 2^8.
    """
    for places in range(POWERS):
        start, wrong, factor = 0, 0, 2.0**places
        while start < number and not wrong:
            for i in range(start, start + 64):
                x = values[i] * factor
                byte = np.int32(min(max(x, 0.0), 255.0))
                counts[i] = byte
                wrong += byte != x
            start += 64
        if not wrong:
            return places
    return -1


@kernel
def accumulate_bytes(values: Any, size: int, products: Any, counts: Any, sums: Any, scales: Any, base: Any, frames: int,
                     units: int) -> bool:  # fmt: skip
    """`fused_layer.accumulate_matrix` where numbers and weights are bytes times powers of two; whether the numbers are.

    base [frames, units] holds zeros, so that it comes to the same bits; sums, int32, has room for eight frames more; scales
    [9] are what the sums count in for each power of two.
    """
    places = as_bytes(values, frames * size, counts)
    if places < 0:
        return False
    from_counts(counts, 0, 0, frames, products, sums)
    for u in range(0, frames * units, 64):
        drain(base, u, base, u, sums, u, scales[places])
    return True
