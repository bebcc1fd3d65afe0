"""What is kept of a run of the fused engine: spikes as bits, pixel by pixel, into arrays with the channel first."""

from __future__ import annotations

from typing import Any

import numba

from .vectors import tally


@numba.njit(nogil=True, cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def count(bits: Any, steps: int, width: int, total: Any, counts: Any) -> None:
    """Add the spikes in bits [N, steps, U / 8], flat, to total [N, C, P], int32; counts [U], uint8, is scratch, so that steps < 256."""
    _, C, P = total.shape
    size = len(counts) // 8
    for n in range(len(total)):
        for u in range(len(counts)):
            counts[u] = 0
        for f in range(n * steps, (n + 1) * steps):
            for b in range(0, size, 8):
                tally(counts, 8 * b, bits, f * size + b, 64)
        for c in range(C):
            for p in range(P):
                total[n, c, p] += counts[p * 8 * width + c]


@numba.njit(nogil=True, cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def unpack(bits: Any, width: int, spikes: Any) -> None:
    """Write bits [N, T, bytes] as spikes [T, N, C, P], uint8."""
    T, N, C, P = spikes.shape
    for n in range(N):
        for t in range(T):
            for c in range(C):
                for p in range(P):
                    spikes[t, n, c, p] = bits[n, t, p * width + c // 8] >> (c % 8) & 1


@numba.njit(nogil=True, cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def channels_first(frames: Any, channels: int, out: Any) -> None:
    """Write frames [N, U], `channels` a pixel with their padding, as out [N, C, P]."""
    N, C, P = out.shape
    for n in range(N):
        for c in range(C):
            for p in range(P):
                out[n, c, p] = frames[n, p * channels + c]


@numba.njit(nogil=True, cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def channels_last(values: Any, channels: int, frames: Any) -> None:
    """Write values [N, C, P] as frames [N, U], `channels` a pixel; what pads stays as it is."""
    N, C, P = values.shape
    for n in range(N):
        for p in range(P):
            for c in range(C):
                frames[n, p * channels + c] = values[n, c, p]
