"""Currents of a convolution over all inputs of a pixel, active or not, for the fused engine.

Where most of the inputs that an output sees are active, lists of them are longer than the products that they spare.
Spikes (of a window, how many) become an image of bytes with its border, and each output is a sum of products of bytes, in
integers that are exact: the same sums that `fused_synapse` comes to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inlined, kernel
from .vectors import drain
from .vectors_bits import tally, unfold
from .vectors_dense import bits_set, dots, quadruples

POWERS = 9  # of two that are tried, from 1 on
PIXELS = (8, 8, 4, 4)  # outputs at a time for 1 ... 4 vectors of 16 channels each, whose sums stay in registers


@kernel
def active(bits: Any, start: int, stop: int) -> int:
    """How many bits of bytes `start` ... `stop` are set."""
    found, at = 0, start
    while at + 64 <= stop:
        found += bits_set(bits, at)
        at += 64
    for b in range(at, stop):
        byte = bits[b]
        while byte:
            byte &= byte - 1
            found += 1
    return found


@kernel
def picture(bits: Any, at: int, width: int, windows: Any, places: Any, counts: Any, to: int) -> None:
    """Write how many spikes there are in each window and channel, bits of `width` bytes a pixel, into an image.

    `places` [P] grow: what a pixel's last channels, which are none, write beyond it, the next one overwrites.
    """
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
def from_counts(counts: Any, at: int, first: int, last: int, channels: int, out: Any, starts: Any, offsets: Any,
                pieces: Any, weight: Any) -> None:  # fmt: skip
    """Currents of the outputs' pixels `first` ... `last`, written to `out`.

    Parameters
    ----------
    counts : uint8 array
        An image begins at `at`.
    starts : int32 array
        Where in an image each output pixel begins to look.
    offsets : int32 array
        Of what it sees from there, four channels each.
    pieces : int64 array [pieces, 3]
        Number of vectors of 16 channels, first channel, where the weights begin.
    weight : int8 array
        As `vectors_dense.dots`.
    """
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
def pictured(image: Any, bits: Any, at: int, size: int, width: int, windows: Any, steps: int) -> Any:
    """Whether a sample, whose frames begin at `at`, has spikes enough for images of them; if so they are made."""
    counts, area, least, _, places, _ = image
    if not len(counts) or active(bits, at, at + steps * size) < least * steps:
        return False
    for t in range(steps):
        picture(bits, at + t * size, width, windows, places, counts, t * area)
    return True


@inlined
def products(image: Any, t: int, begin: int, end: int, out: Any) -> None:
    """Currents of words `begin` ... `end` of the outputs in step t, by `from_counts`."""
    counts, area, _, _, _, (channels, starts, offsets, pieces, weight) = image
    from_counts(counts, t * area, 64 * begin // channels, -(-64 * end // channels), channels, out, starts, offsets, pieces,
                weight)  # fmt: skip


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
def accumulate_bytes(values: Any, size: int, image: Any, counts: Any, sums: Any, scales: Any, base: Any, frames: int,
                     units: int) -> bool:  # fmt: skip
    """`fused_layer.accumulate_matrix` where numbers and weights are bytes times powers of two; whether the numbers are.

    base [frames, units] holds zeros, so that it comes to the same bits; sums, int32, has room for eight frames more; scales
    [9] are what the sums count in for each power of two.
    """
    starts, offsets, pieces, weight = image
    places = as_bytes(values, frames * size, counts)
    if places < 0:
        return False
    from_counts(counts, 0, 0, frames, units, sums, starts, offsets, pieces, weight)
    for u in range(0, frames * units, 64):
        drain(base, u, base, u, sums, u, scales[places])
    return True
