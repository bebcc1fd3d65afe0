"""One layer over a block of samples and steps: source -> currents -> neurons -> spikes, sample by sample.

State, weights and the currents of a step stay in the processor's caches, and no value but spikes, as bits, leaves a step.
Arrays are flat and come with offsets: a view of an array costs more than a step of a small layer.
"""

from __future__ import annotations

from typing import Any

from .compiled import inlined, kernel
from .fused_neuron import STRICT, plain, step
from .fused_synapse import (
    BITS,
    VALUES,
    add_windows,
    from_bits,
    from_values,
    listed,
    spread,
)  # fmt: skip
from .vectors import copy, drain, integrate


@inlined
def currents(kind: int, bits: Any, values: Any, at: int, width: int, rows: int, windows: Any, out: Any, pieces: Any,
             ranges: Any, targets: Any, weight: Any, index: Any, factor: Any) -> None:  # fmt: skip
    """Add, to `out`, the currents of one branch in one step of one sample, whose bytes or numbers begin at `at`."""
    if kind == BITS:
        from_bits(bits, at, width, rows, windows, out, pieces, ranges, targets, weight, index)
    elif kind == VALUES:
        from_values(values, at, width, rows, out, pieces, ranges, targets, weight, index, factor)


@kernel
def accumulate(
    source: Any, weights: Any, scale: Any, out: Any, base: Any, frames: int, units: int, scratch: Any
) -> None:
    """Add the currents of one branch, times `scale`, to base [frames, units]."""
    kind, bits, values, size, width, rows, windows = source
    pieces, ranges, targets, weight = weights
    index, factor, _, _ = scratch
    for f in range(frames):
        currents(kind, bits, values, f * size, width, rows, windows, out, pieces, ranges, targets, weight, index,
                 factor)  # fmt: skip
        for u in range(0, units, 64):
            drain(base, f * units + u, base, f * units + u, out, u, scale)


@kernel
def accumulate_matrix(source: Any, weights: Any, base: Any, frames: int, scratch: Any) -> None:
    """`accumulate` for a Dense on numbers: some rows for all frames, then the next, for the matrix outgrows the cache.

    `weights` has a range and a target for each frame: where it begins in base. An output gets its terms in groups of 16
    inputs, summed in registers.
    """
    _, _, values, size, _, _, _ = source
    pieces, ranges, targets, weight = weights
    index, factor, _, _ = scratch
    for start in range(0, size, 16):
        for f in range(frames):
            n = listed(values, f * size + start, 16, start, index, factor)
            spread(base, pieces, ranges, targets, weight, index, factor, n, f)


@kernel
def accumulate_windows(source: Any, factor: Any, base: Any, frames: int, units: int, scratch: Any) -> None:
    """Add the spikes in windows, times a factor per channel, to base [frames, units]: skips, and pooling into neurons."""
    _, bits, _, size, width, _, windows = source
    counts, active = scratch
    for f in range(frames):
        add_windows(bits, f * size, width, windows, factor, base, f * units, counts, active)


@kernel
def spiking(source: Any, weights: Any, scale: Any, out: Any, skip: Any, base: Any, strides: Any, neuron: Any, state: Any,
            bits: Any, steps: int, keep: Any, scratch: Any) -> None:  # fmt: skip
    """Run a layer of neurons.

    Parameters
    ----------
    source : (kind, bits, values, size of a frame, bytes of a pixel, weight rows of a pixel, windows)
        Flat; frames of a sample lie together.
    weights : (pieces, ranges, targets, weight)
    scale : float
        Of the currents' unit.
    out : array
        Zeros, before and after: room for the currents.
    skip : (source, factor, room)
        Spikes that act on the unit in their place, a factor per channel (empty: no skip), and room for a frame.
    base, strides : array, (of samples, of steps)
        What every unit gets beside these.
    neuron : (flags, numbers, theta)
    state : (v [N, U], synaptic currents, last bits [N, U / 64], x [64]), flat
    bits : uint64 array [N, T, U / 64], flat
        Filled.
    steps : int
    keep : (v, v_peak), each [N, T, U], flat, or empty
    scratch : (index, factor, counts, active)
    """
    kind, sent, values, size, width, rows, windows = source
    pieces, ranges, targets, weight = weights
    index, factor, counts, active = scratch
    (_, leaps, _, stride, bytes_, _, places), worth, room = skip
    flags, numbers, theta = neuron
    v, more, last, x = state
    after, peak = keep
    U = len(theta)
    W, extra = U // 64, len(more) // max(len(v), 1)
    for n in range(len(v) // U):
        for t in range(steps):
            f = n * steps + t
            currents(kind, sent, values, f * size, width, rows, windows, out, pieces, ranges, targets, weight, index,
                     factor)  # fmt: skip
            b = n * strides[0] + t * strides[1]
            if len(worth):
                for w in range(W):
                    copy(room, 64 * w, base, b + 64 * w)
                add_windows(leaps, f * stride, bytes_, places, worth, room, 0, counts, active)
            for w in range(W):
                if len(worth):
                    drain(x, 0, room, 64 * w, out, 64 * w, scale)
                else:
                    drain(x, 0, base, b + 64 * w, out, 64 * w, scale)
                word = step(flags, numbers, theta, 64 * w, x, 0, v, n * U + 64 * w, more, extra * (n * U + 64 * w),
                            last[n * W + w], peak, f * U + 64 * w)  # fmt: skip
                bits[f * W + w] = last[n * W + w] = word
            if len(after):
                for w in range(W):
                    copy(after, f * U + 64 * w, v, n * U + 64 * w)


@kernel
def driven(base: Any, strides: Any, neuron: Any, state: Any, bits: Any, steps: int, keep: Any) -> None:
    """Run a layer of neurons on `base` alone: all steps of 64 units, then the next; as `spiking`."""
    flags, numbers, theta = neuron
    v, more, last, x = state
    after, peak = keep
    U = len(theta)
    W, extra = U // 64, len(more) // max(len(v), 1)
    constant = plain(flags) and strides[1] == 0 and not len(after)
    for n in range(len(v) // U):
        for w in range(W):
            o, word = n * U + 64 * w, last[n * W + w]
            b, f = n * strides[0] + 64 * w, n * steps
            if constant:
                if flags[STRICT]:
                    integrate(v, o, base, b, theta, 64 * w, bits, f * W + w, W, steps, True)
                else:
                    integrate(v, o, base, b, theta, 64 * w, bits, f * W + w, W, steps, False)
                continue
            for t in range(steps):
                copy(x, 0, base, b + t * strides[1])
                at = (f + t) * U + 64 * w
                word = step(flags, numbers, theta, 64 * w, x, 0, v, o, more, extra * o, word, peak, at)
                bits[(f + t) * W + w] = word
                if len(after):
                    copy(after, at, v, o)
            last[n * W + w] = word
