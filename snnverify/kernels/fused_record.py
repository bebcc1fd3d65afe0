"""Spikes as bits, pixel by pixel, from arrays with the channel first and into those that are kept of a run."""

from __future__ import annotations

from typing import Any

from .compiled import inlined, kernel
from .vectors import turn
from .vectors_bits import gather, tally, unfold

BLOCK = 4096  # numbers that are looked at without a branch
TILE = 64  # pixels whose channels stay in the first cache while they are turned


@kernel
def pack(x: Any, shape: tuple[int, int, int, int], bits: Any, width: int, size: int) -> None:
    """Write which of x [T, N, C, P] are not 0 as bits [N, T, size], `width` bytes a pixel; both flat."""
    T, N, C, P = shape
    for n in range(N):
        for t in range(T):
            at, to = (t * N + n) * C * P, (n * T + t) * size
            rest = P if width > 4 else P % 16
            for p in range(0, P - rest, 16):
                if width == 2:
                    gather(bits, to + 2 * p, x, at + p, P, C, 16)
                else:
                    gather(bits, to + 4 * p, x, at + p, P, C, 32)
            for p in range(P - rest, P):
                for b in range(width):
                    byte = 0
                    for c in range(8 * b, min(8 * b + 8, C)):
                        byte |= (x[at + c * P + p] != 0) << (c - 8 * b)
                    bits[to + p * width + b] = byte


@kernel
def binary(x: Any) -> bool:
    """Whether every number of a flat array is 0 or 1."""
    whole = len(x) - len(x) % BLOCK
    for start in range(0, whole, BLOCK):
        others = 0
        for i in range(BLOCK):
            others += (x[start + i] != 0) & (x[start + i] != 1)
        if others:
            return False
    others = 0
    for i in range(whole, len(x)):
        others += (x[i] != 0) & (x[i] != 1)
    return others == 0


@kernel
def count(bits: Any, offsets: Any, width: int, total: Any, shape: tuple[int, int, int], counts: Any, add: bool) -> None:
    """Write, or add, the spikes of len(offsets) < 256 steps, bits [N, T, U / 8], to total [N, C, P], int32; both flat.

    A step begins `offsets` (in frames) after the first of its sample; counts [U], uint8, is scratch.
    """
    N, C, P = shape
    size, steps = len(counts) // 8, len(offsets)
    for n in range(N):
        for b in range(
            0, size - size % 64, 64
        ):  # a cache line of each step is read once: a frame's lines share their places
            tally(counts, 8 * b, bits, n * steps * size + b, offsets, 0, steps, size, 512)
        for b in range(size - size % 64, size, 8):
            tally(counts, 8 * b, bits, n * steps * size + b, offsets, 0, steps, size, 64)
        turned(total, n * C * P, C, P, counts, 0, 8 * width, add)


@kernel
def unpack(bits: Any, width: int, spikes: Any, first_step: int, first_sample: int, column: Any) -> None:
    """Write bits [n, T, bytes] as part of spikes [steps, N, C, P], uint8; column [TILE], uint8, is scratch.

    A byte holds 8 channels of a pixel: those of many pixels side by side become 8 rows, one bit after the other.
    """
    _, N, C, P = spikes.shape
    for n in range(bits.shape[0]):
        for t in range(bits.shape[1]):
            if P == 1 and C % 64 == 0:  # nothing to turn
                at = ((first_step + t) * N + first_sample + n) * C
                for b in range(0, width, 8):
                    unfold(spikes, at + 8 * b, bits, (n * bits.shape[1] + t) * bits.shape[2] + b, 64)
                continue
            for start in range(0, P, TILE):
                pixels = min(TILE, P - start)
                for b in range(width):
                    for p in range(pixels):
                        column[p] = bits[n, t, (start + p) * width + b]
                    for c in range(8 * b, min(8 * b + 8, C)):
                        row = spikes[first_step + t, first_sample + n, c, start : start + pixels]
                        for p in range(pixels):
                            row[p] = (column[p] >> (c - 8 * b)) & 1


@kernel
def channels_first(frames: Any, start: int, stride: int, channels: int, out: Any, shape: tuple[int, int, int]) -> None:
    """Write N frames of an array, from `start` on, `channels` a pixel with their padding, as out [N, C, P]; both flat."""
    N, C, P = shape
    for n in range(N):
        turned(out, n * C * P, C, P, frames, start + n * stride, channels, False)


@inlined
def turned(out: Any, at: int, C: int, P: int, source: Any, of: int, channels: int, add: bool) -> None:
    """``out[at + c P + p] = source[of + p channels + c]``, or adds it."""
    whole = C - C % 16
    if P == 1:
        for c in range(0, whole, 16):
            turn(out, at + c, 0, source, of + c, 0, add, 1)
    for p in range(0, P - P % 16, 16):
        for c in range(0, whole, 16):
            turn(out, at + c * P + p, P, source, of + p * channels + c, channels, add, 16)
    for c in range(whole if P == 1 else 0, C):  # a loop over channels that have nothing left costs as much as all else
        for p in range(P - P % 16 if c < whole else 0, P):
            place = at + c * P + p
            x = source[of + p * channels + c]
            out[place] = out[place] + x if add else x
