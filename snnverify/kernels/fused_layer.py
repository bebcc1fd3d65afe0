"""One layer over a block of samples and steps: source -> currents -> neurons -> spikes, sample by sample.

State, weights and the currents of a step stay in the processor's caches, and no value but spikes, as bits, leaves a step.
Arrays are flat and come with offsets: a view of an array costs more than a step of a small layer.
"""

from __future__ import annotations

from typing import Any

from .compiled import inlined, kernel
from .fused_dense import pictured, products
from .fused_neuron import STRICT, plain, step
from .fused_synapse import (
    BITS,
    FOUR,
    VALUES,
    add_windows,
    from_bits,
    from_values,
)  # fmt: skip
from .vectors import copy, drain, fire, integrate, lift
from .vectors_bits import present
from .vectors_rows import multiply

GROUP = 64  # inputs of a matrix whose weights, for 64 outputs, stay in the first cache


@inlined
def currents(kind: int, bits: Any, values: Any, at: int, width: int, rows: int, nothing: int, windows: Any, out: Any,
             pieces: Any, ranges: Any, targets: Any, weight: Any, index: Any, factor: Any) -> None:  # fmt: skip
    """Add, to `out`, the currents of one branch in one step of one sample, whose bytes or numbers begin at `at`."""
    if kind == BITS:
        from_bits(bits, at, width, rows, nothing, windows, out, pieces, ranges, targets, weight, index)
    elif kind == VALUES:
        from_values(values, at, width, rows, out, pieces, ranges, targets, weight, index, factor)


@kernel
def accumulate(
    source: Any, weights: Any, scale: Any, out: Any, base: Any, frames: int, units: int, scratch: Any
) -> None:
    """Add the currents of one branch, times `scale`, to base [frames, units]."""
    kind, bits, values, size, width, rows, nothing, windows = source
    pieces, ranges, targets, weight = weights
    index, factor, _, _ = scratch
    for f in range(frames):
        currents(kind, bits, values, f * size, width, rows, nothing, windows, out, pieces, ranges, targets, weight, index,
                 factor)  # fmt: skip
        for u in range(0, units, 64):
            drain(base, f * units + u, base, f * units + u, out, u, scale)


@kernel
def accumulate_matrix(values: Any, size: int, pieces: Any, weight: Any, base: Any, frames: int, units: int, index: Any,
                      found: Any) -> None:  # fmt: skip
    """`accumulate` for a Dense on numbers [frames, size], a multiple of `GROUP`: some inputs for all frames, then the next.

    An output gets its terms in groups of `GROUP` inputs, summed in registers. Four frames share what they load, and inputs
    that are 0 in all four are left out; 0 times a weight adds nothing, so that no bit depends on the other three.

    Parameters
    ----------
    pieces : int64 array [pieces, 6]
        As in `fused_synapse.spread`, of 4 vectors or 1.
    index : uint16 array [(frames / 4 + 5) GROUP]
    found : int64 array [frames / 4 + 4]
        Room for the inputs of each four frames that count, and their numbers.
    """
    fours = frames // 4
    for start in range(0, size, GROUP):
        for f in range(fours + frames - 4 * fours):
            n = f * GROUP
            for k in range(0, GROUP, 16):
                if f < fours:
                    n = present(index, n, k, values, 4 * f * size + start + k, size, 4)
                else:
                    n = present(index, n, k, values, (3 * fours + f) * size + start + k, size, 1)
            found[f] = n - f * GROUP
        for i in range(len(pieces)):
            block, _, column, begin, row, _ = pieces[i]
            begin += start * row
            for f in range(fours + frames - 4 * fours):
                first = 4 * f if f < fours else 3 * fours + f
                to, of, n = first * units + column, first * size + start, found[f]
                if f < fours and block == FOUR:
                    multiply(base, to, units, values, of, size, weight, begin, index, f * GROUP, n, 4, 4)
                elif f < fours:
                    multiply(base, to, units, values, of, size, weight, begin, index, f * GROUP, n, 4, 1)
                elif block == FOUR:
                    multiply(base, to, units, values, of, size, weight, begin, index, f * GROUP, n, 1, 4)
                else:
                    multiply(base, to, units, values, of, size, weight, begin, index, f * GROUP, n, 1, 1)


@kernel
def accumulate_windows(source: Any, factor: Any, base: Any, frames: int, units: int, scratch: Any) -> None:
    """Add the spikes in windows, times a factor per channel, to base [frames, units]: skips, and pooling into neurons."""
    _, bits, _, size, width, _, _, windows = source
    counts, active = scratch
    for f in range(frames):
        add_windows(bits, f * size, width, windows, factor, base, f * units, counts, active)


@kernel
def spiking(source: Any, weights: Any, image: Any, scale: Any, out: Any, skip: Any, base: Any, strides: Any, neuron: Any,
            state: Any, bits: Any, units: int, steps: int, keep: Any, scratch: Any) -> None:  # fmt: skip
    """Run a layer of U neurons: all of them, then the next step, or with an image some of them over all steps.

    Parameters
    ----------
    source : (kind, bits, values, size of a frame, bytes of a pixel, weight rows of a pixel, a row of zeros, windows)
        Flat; frames of a sample lie together.
    weights : (pieces, ranges, targets, weight)
    image : (counts, size of a frame, least spikes of a frame, words at a time, places, table)
        See `fused_dense`; the table has what `from_counts` takes from `channels` on, save `out`. Without room for counts
        every frame goes by its spikes.
    scale : float
        Of the currents' unit.
    out : array
        Zeros, before and after: room for the currents.
    skip : (source, factor, room)
        Spikes that act on the unit in their place, a factor per channel, repeated to whole words (empty: no skip), and room
        for a frame.
    base, strides : array, (of samples, of steps)
        What every unit gets beside these; less than U entries are repeated.
    neuron : (flags, numbers, theta)
        Thresholds are repeated.
    state : (v [N, U], synaptic currents, last bits [N, U / 64], x [64]), flat
    bits : uint64 array [N, T, U / 64], flat
        Filled.
    units, steps : int
    keep : (v, v_peak), each [N, T, U], flat, or empty
    scratch : (index, factor, counts, active)
    """
    kind, sent, values, size, width, rows, nothing, windows = source
    pieces, ranges, targets, weight = weights
    index, factor, counts, some = scratch
    (_, leaps, _, stride, bytes_, _, _, places), worth, room = skip
    flags, numbers, theta = neuron
    v, more, last, x = state
    after, peak = keep
    U, period, whole = units, len(theta), len(base) >= units
    W, extra = U // 64, len(more) // max(len(v), 1)
    simple = plain(flags) and not len(after)
    P = len(places)
    direct = places.shape[1] == 1 and places[0, 0] == 0 and places[P - 1, 0] == P - 1 and 8 * stride == U
    pooled = len(worth) > 0 and not direct
    for n in range(len(v) // U):
        dense = pictured(image, sent, n * steps * size, size, width, windows, steps)
        span = image[3] if dense and not pooled else W
        for begin in range(0, W, span):
            end = min(begin + span, W)
            for t in range(steps):
                f = n * steps + t
                if dense:
                    products(image, t, begin, end, out)
                else:
                    currents(kind, sent, values, f * size, width, rows, nothing, windows, out, pieces, ranges, targets,
                             weight, index, factor)  # fmt: skip
                b = n * strides[0] + t * strides[1]
                if pooled:
                    k = 0
                    for w in range(W):
                        copy(room, 64 * w, base, b + (64 * w if whole else k))
                        k = k + 64 if k + 64 < period else 0
                    add_windows(leaps, f * stride, bytes_, places, worth, room, 0, counts, some)
                k = 64 * begin % period
                for w in range(begin, end):
                    o = n * U + 64 * w
                    if len(worth) and direct:
                        copy(room, 64 * w, base, b + (64 * w if whole else k))
                        lift(room, 64 * w, worth, 64 * w % len(worth), leaps, f * stride + 8 * w)
                    if simple:
                        given, at = (room, 64 * w) if len(worth) else (base, b + (64 * w if whole else k))
                        if flags[STRICT]:
                            word = fire(v, o, given, at, out, 64 * w, scale, theta, k, True)
                        else:
                            word = fire(v, o, given, at, out, 64 * w, scale, theta, k, False)
                    else:
                        if len(worth):
                            drain(x, 0, room, 64 * w, out, 64 * w, scale)
                        else:
                            drain(x, 0, base, b + (64 * w if whole else k), out, 64 * w, scale)
                        word = step(
                            flags, numbers, theta, k, x, 0, v, o, more, extra * o, last[n * W + w], peak, f * U + 64 * w
                        )
                    bits[f * W + w] = last[n * W + w] = word
                    k = k + 64 if k + 64 < period else 0
                if len(after):
                    for w in range(begin, end):
                        copy(after, f * U + 64 * w, v, n * U + 64 * w)


@kernel
def driven(base: Any, strides: Any, neuron: Any, state: Any, bits: Any, units: int, steps: int, keep: Any) -> None:
    """Run a layer of neurons on `base` alone: all steps of 64 units, then the next; as `spiking`."""
    flags, numbers, theta = neuron
    v, more, last, x = state
    after, peak = keep
    U, period, whole = units, len(theta), len(base) >= units
    W, extra = U // 64, len(more) // max(len(v), 1)
    constant = plain(flags) and strides[1] == 0 and not len(after)
    for n in range(len(v) // U):
        for w in range(W):
            o, word = n * U + 64 * w, last[n * W + w]
            k = 64 * w % period
            b, f = n * strides[0] + (64 * w if whole else k), n * steps
            if constant:
                if flags[STRICT]:
                    integrate(v, o, base, b, theta, k, bits, f * W + w, W, steps, True)
                else:
                    integrate(v, o, base, b, theta, k, bits, f * W + w, W, steps, False)
                continue
            for t in range(steps):
                copy(x, 0, base, b + t * strides[1])
                at = (f + t) * U + 64 * w
                word = step(flags, numbers, theta, k, x, 0, v, o, more, extra * o, word, peak, at)
                bits[(f + t) * W + w] = word
                if len(after):
                    copy(after, at, v, o)
            last[n * W + w] = word
