"""Synapses of one sample for the fused engine: weight rows of the active units, added into the currents of a step.

A frame is what one layer hands on in one step, pixel by pixel with the channels side by side, [P, C], C padded to whole
vectors. Spikes are its bits. An output gets its terms by the input's pixels in order, and within a pixel by its channels:
those of one pixel are summed in registers before they join the rest. The numpy form of all of it is `kernels.synapse`.
"""

from __future__ import annotations

from typing import Any

from .compiled import inlined, kernel
from .vectors import weigh
from .vectors_bits import append, tally
from .vectors_rows import AT_ONCE, scatter

BITS, VALUES = range(2)  # what a source is: spikes, whose pixels may be summed over windows, or numbers
# taps x vectors that `spread` can add: it asks for each by its place here, since a kernel is compiled for fixed sizes
BLOCKS = ((9, 2), (9, 1), (5, 4), (5, 1), (3, 4), (3, 1), (1, 16), (1, 8), (1, 4), (1, 1))
FOUR = BLOCKS.index((1, 4))


@inlined
def spread(out: Any, weights: Any, index: Any, factor: Any, n: int, p: int) -> None:
    """Add the weight rows of n active inputs of pixel p into the currents.

    Parameters
    ----------
    out : array [(P' + 1) C']
        Currents; the pixel after the last takes what lies outside.
    weights : Weights
    index : uint16 or int32 array
        Rows of the active inputs.
    factor : array or None
        What each active input hands on; None for 1.
    """
    pieces, ranges, targets, weight = weights
    for i in range(ranges[p, 0], ranges[p, 1]):
        block, tap, column, at, stride, most = pieces[i]
        to = p * targets.shape[1] + tap
        if block == 0:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 9, 2)
        elif block == 1:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 9, 1)
        elif block == 2:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 5, 4)
        elif block == 3:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 5, 1)
        elif block == 4:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 3, 4)
        elif block == 5:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 3, 1)
        elif block == 6:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 1, 16)
        elif block == 7:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 1, 8)
        elif block == 8:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 1, 4)
        else:
            scatter(out, targets, to, column, weight, at, stride, most, index, factor, n, 1, 1)


@kernel
def from_bits(source: Any, at: int, weights: Any, out: Any, index: Any) -> None:
    """Currents of spikes, whose frame begins at byte `at`; those of a window of pixels are added up."""
    bits, width, windows = source.bits, source.width, source.windows
    P, M = windows.shape
    for p in range(P):
        n = 0
        for m in range(M):
            q = windows[p, m]
            if q >= 0:
                if width == 2:
                    n = append(index, n, p * source.rows, bits, at + q * 2, 16)
                else:
                    for b in range(0, width, 4):
                        n = append(index, n, p * source.rows + 8 * b, bits, at + q * width + b, 32)
        if n:
            for j in range(n, n + AT_ONCE):
                index[j] = source.zeros
            n = (n + AT_ONCE - 1) // AT_ONCE * AT_ONCE
            spread(out, weights, index, None, n, p)


@inlined
def listed(values: Any, at: int, number: int, row: int, index: Any, factor: Any) -> Any:
    """List the rows and sizes of those of some numbers, from ``values[at]`` and `row` on, that are not 0; how many."""
    n = 0
    for c in range(number):
        x = values[at + c]
        index[n] = row + c
        factor[n] = x
        n += x != 0
    return n


@kernel
def from_values(source: Any, at: int, weights: Any, out: Any, index: Any, factor: Any) -> None:
    """Currents of numbers, of which zeros cost next to nothing; as `from_bits`."""
    number = 8 * source.width
    for p in range(len(weights.targets)):
        n = listed(source.values, at + p * number, number, p * source.rows, index, factor)
        if n:
            spread(out, weights, index, factor, n, p)


@kernel
def add_windows(source: Any, at: int, factor: Any, x: Any, to: int, scratch: Any) -> None:
    """Add, at every unit, its channel's factor times the number of spikes of that channel in its window of pixels."""
    channels = 8 * source.width
    for p in range(len(source.windows)):
        if tallied(source, at, p, scratch.counts, scratch.active):
            for c in range(0, channels, 16):
                weigh(x, to + p * channels + c, factor, c, scratch.counts)


@inlined
def tallied(source: Any, at: int, p: int, counts: Any, active: Any) -> int:
    """Count the spikes of every channel in window p; `active` gets the bits of those that have any. 0 where none has."""
    some, M = 0, source.windows.shape[1]
    for b in range(0, source.width, 2):
        word = tally(counts, 8 * b, source.bits, at + b, source.windows, p * M, M, source.width, 16)
        active[b], active[b + 1] = word & 255, word >> 8
        some |= word
    return some
