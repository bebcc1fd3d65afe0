"""One layer over a block of samples and steps: source -> currents -> neurons -> spikes, sample by sample.

State, weights and the currents of a step stay in the processor's caches, and no value but spikes, as bits, leaves a step.
Arrays are flat and come with offsets: a view of an array costs more than a step of a small layer.
"""

from __future__ import annotations

from typing import Any

import numba

from .fused_neuron import DELAYED, SCALED, SYNAPSE, step
from .fused_synapse import BITS, VALUES, WINDOWS, add_windows, from_bits, from_values, from_windows


@numba.njit(nogil=True, cache=True, _nrt=False, forceinline=True)  # type: ignore[untyped-decorator]
def currents(kind: int, bits: Any, values: Any, at: int, width: int, rows: int, windows: Any, out: Any, pieces: Any,
             ranges: Any, targets: Any, weight: Any, index: Any, factor: Any, counts: Any) -> None:  # fmt: skip
    """Currents of one synaptic branch in one step of one sample, whose bytes or numbers begin at `at`."""
    for u in range(len(out)):
        out[u] = 0
    if kind == BITS:
        from_bits(bits, at, width, rows, out, pieces, ranges, targets, weight, index)
    elif kind == WINDOWS:
        from_windows(bits, at, width, rows, windows, out, pieces, ranges, targets, weight, index, factor, counts)
    elif kind == VALUES:
        from_values(values, at, width, rows, out, pieces, ranges, targets, weight, index, factor)


@numba.njit(nogil=True, cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def accumulate(source: Any, weights: Any, scale: Any, out: Any, base: Any, frames: int, units: int, scratch: Any) -> None:
    """Add the currents of one branch, times `scale`, to base [frames, units]."""
    kind, bits, values, size, width, rows, windows = source
    pieces, ranges, targets, weight = weights
    index, factor, counts = scratch
    for f in range(frames):
        currents(kind, bits, values, f * size, width, rows, windows, out, pieces, ranges, targets, weight, index, factor,
                 counts)  # fmt: skip
        for u in range(units):
            base[f * units + u] += out[u] * scale


@numba.njit(nogil=True, cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def accumulate_windows(source: Any, factor: Any, base: Any, frames: int, units: int, counts: Any) -> None:
    """Add the spikes in windows, times a factor per channel, to base [frames, units]: skips, and pooling into neurons."""
    _, bits, _, size, width, _, windows = source
    for f in range(frames):
        add_windows(bits, f * size, width, windows, factor, base, f * units, counts)


@numba.njit(nogil=True, cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def spiking(source: Any, weights: Any, scale: Any, out: Any, base: Any, strides: Any, neuron: Any, state: Any, bits: Any,
            steps: int, keep: Any, scratch: Any) -> None:  # fmt: skip
    """Run a layer of neurons.

    Parameters
    ----------
    source : (kind, bits, values, size of a frame, bytes of a pixel, weight rows of a pixel, windows)
        Flat; frames of a sample lie together.
    weights : (pieces, ranges, targets, weight)
    scale : float
        Of the currents' unit.
    out : array
        Room for the currents.
    base, strides : array, (of samples, of steps)
        What every unit gets beside the source.
    neuron : (flags, numbers, theta)
    state : (v [N, U], synaptic currents, last bits [N, U / 64], x [U]), flat
    bits : uint64 array [N, T, U / 64], flat
        Filled.
    steps : int
    keep : (v, v_peak), each [N, T, U], flat, or empty
    scratch : (index, factor, counts)
    """
    kind, sent, values, size, width, rows, windows = source
    pieces, ranges, targets, weight = weights
    index, factor, counts = scratch
    flags, numbers, theta = neuron
    v, more, last, x = state
    after, peak = keep
    U = len(theta)
    W, extra = U // 64, len(more) // max(len(v), 1)
    for n in range(len(v) // U):
        for t in range(steps):
            f = n * steps + t
            currents(kind, sent, values, f * size, width, rows, windows, out, pieces, ranges, targets, weight, index, factor,
                     counts)  # fmt: skip
            b = n * strides[0] + t * strides[1]
            for u in range(U):
                x[u] = base[b + u] + out[u] * scale
            for w in range(W):
                word = step(flags, numbers, theta, 64 * w, x, 64 * w, v, n * U + 64 * w, more, extra * (n * U + 64 * w),
                            last[n * W + w], peak, f * U + 64 * w)  # fmt: skip
                bits[f * W + w] = last[n * W + w] = word
            if len(after):
                for u in range(U):
                    after[f * U + u] = v[n * U + u]


@numba.njit(nogil=True, cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def driven(base: Any, strides: Any, neuron: Any, state: Any, bits: Any, steps: int, keep: Any) -> None:
    """Run a layer of neurons on `base` alone: all steps of 64 units, then the next; as `spiking`."""
    flags, numbers, theta = neuron
    v, more, last, x = state
    after, peak = keep
    U = len(theta)
    W, extra = U // 64, len(more) // max(len(v), 1)
    for n in range(len(v) // U):
        for w in range(W):
            o, word = n * U + 64 * w, last[n * W + w]
            for t in range(steps):
                f, b = n * steps + t, n * strides[0] + t * strides[1] + 64 * w
                if flags[SYNAPSE] or flags[DELAYED] or flags[SCALED]:
                    for j in range(64):
                        x[j] = base[b + j]
                    word = step(flags, numbers, theta, 64 * w, x, 0, v, o, more, extra * o, word, peak, f * U + 64 * w)
                else:  # the input stays as it is
                    word = step(flags, numbers, theta, 64 * w, base, b, v, o, more, 0, word, peak, f * U + 64 * w)
                bits[f * W + w] = word
                if len(after):
                    for j in range(64):
                        after[f * U + 64 * w + j] = v[o + j]
            last[n * W + w] = word
