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
def spread(
    out: Any, pieces: Any, ranges: Any, targets: Any, weight: Any, index: Any, factor: Any, n: int, p: int
) -> None:
    """Add the weight rows of n active inputs of pixel p into the currents.

    Parameters
    ----------
    out : array [(P' + 1) C']
        Currents; the pixel after the last takes what lies outside.
    pieces : int64 array [pieces, 6]
        Number in `BLOCKS`, first tap, first channel, where the weights of the piece begin, the size of its rows, and how
        many of them may be added as bytes.
    ranges : int64 array [P, 2]
        Which pieces a pixel needs.
    targets : int32 array [P, taps]
        Where in `out` the pixel begins that an input pixel reaches by each tap.
    weight : array
    index : uint16 or int32 array
        Rows of the active inputs.
    factor : array or None
        What each active input hands on; None for 1.
    """
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
def from_bits(bits: Any, at: int, width: int, rows: int, nothing: int, windows: Any, out: Any, pieces: Any, ranges: Any,
              targets: Any, weight: Any, index: Any) -> None:  # fmt: skip
    """Currents of spikes, bits of `width` bytes a pixel; those of windows of pixels [P, M] (-1: outside) are added up.

    The weight rows of a pixel begin `rows` after those of the one before; row `nothing` is one of zeros.
    """
    P, M = windows.shape
    for p in range(P):
        n = 0
        for m in range(M):
            q = windows[p, m]
            if q >= 0:
                if width == 2:
                    n = append(index, n, p * rows, bits, at + q * 2, 16)
                else:
                    for b in range(0, width, 4):
                        n = append(index, n, p * rows + 8 * b, bits, at + q * width + b, 32)
        if n:
            for j in range(n, n + AT_ONCE):
                index[j] = nothing
            n = (n + AT_ONCE - 1) // AT_ONCE * AT_ONCE
            spread(out, pieces, ranges, targets, weight, index, None, n, p)


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
def from_values(values: Any, at: int, width: int, rows: int, out: Any, pieces: Any, ranges: Any, targets: Any,
                weight: Any, index: Any, factor: Any) -> None:  # fmt: skip
    """Currents of numbers, 8 `width` a pixel, of which zeros cost next to nothing; as `from_bits`."""
    for p in range(len(targets)):
        n = listed(values, at + p * 8 * width, 8 * width, p * rows, index, factor)
        if n:
            spread(out, pieces, ranges, targets, weight, index, factor, n, p)


@kernel
def add_windows(
    bits: Any, at: int, width: int, windows: Any, factor: Any, x: Any, to: int, counts: Any, active: Any
) -> None:
    """Add, at every unit, its channel's factor times the number of spikes of that channel in its window of pixels."""
    for p in range(len(windows)):
        if tallied(bits, at, width, windows, p, counts, active):
            for c in range(0, 8 * width, 16):
                weigh(x, to + p * 8 * width + c, factor, c, counts)


@inlined
def tallied(bits: Any, at: int, width: int, windows: Any, p: int, counts: Any, active: Any) -> int:
    """Count the spikes of every channel in window p; `active` gets the bits of those that have any. 0 where none has."""
    some, M = 0, windows.shape[1]
    for b in range(0, width, 2):
        word = tally(counts, 8 * b, bits, at + b, windows, p * M, M, width, 16)
        active[b], active[b + 1] = word & 255, word >> 8
        some |= word
    return some
