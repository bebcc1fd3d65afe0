"""One layer over a block of samples and steps: source -> currents -> neurons -> spikes, sample by sample.

State, weights and the currents of a step stay in the processor's caches, and no value but spikes, as bits, leaves a step.
Arrays are flat and come with offsets: a view of an array costs more than a step of a small layer.
"""

from __future__ import annotations

from typing import Any

from .arguments import Base, Images, Kept, Neurons, Scratch, Skip, Source, State, Weights
from .compiled import inlined, kernel
from .fused_dense import pictured, products
from .fused_neuron import STRICT, plain, step
from .fused_synapse import BITS, FOUR, VALUES, add_windows, from_bits, from_values
from .vectors import copy, drain, fire, integrate, lift
from .vectors_bits import present
from .vectors_rows import multiply

GROUP = 64  # inputs of a matrix whose weights, for 64 outputs, stay in the first cache


@inlined
def currents(source: Any, frame: int, weights: Any, out: Any, scratch: Any) -> None:
    """Add the currents of one branch in one step of one sample, frame number `frame` of its source, to `out`."""
    at = frame * source.size
    if source.kind == BITS:
        from_bits(source, at, weights, out, scratch.index)
    elif source.kind == VALUES:
        from_values(source, at, weights, out, scratch.index, scratch.factor)


@kernel
def accumulate(
    source: Any, weights: Any, scale: Any, out: Any, base: Any, frames: int, units: int, scratch: Any
) -> None:
    """Add the currents of one branch, times `scale`, to base [frames, units]."""
    source, weights, scratch = Source(*source), Weights(*weights), Scratch(*scratch)
    for f in range(frames):
        currents(source, f, weights, out, scratch)
        for u in range(0, units, 64):
            drain(base, f * units + u, base, f * units + u, out, u, scale)


@kernel
def accumulate_matrix(values: Any, size: int, weights: Any, base: Any, frames: int, units: int, index: Any,
                      numbers: Any) -> None:  # fmt: skip
    """`accumulate` for a Dense on numbers [frames, size], a multiple of `GROUP`: some inputs for all frames, then the next.

    An output gets its terms in groups of `GROUP` inputs, summed in registers. Four frames share what they load, and inputs
    that are 0 in all four are left out; 0 times a weight adds nothing, so that no bit depends on the other three.

    Parameters
    ----------
    weights : Weights
        In pieces of 4 vectors or 1.
    index : uint16 array [(frames / 4 + 5) GROUP]
    numbers : int64 array [frames / 4 + 4]
        Room for the inputs of each four frames that count, and how many they are.
    """
    pieces, _, _, weight = weights
    fours = frames // 4
    for start in range(0, size, GROUP):
        for f in range(fours + frames - 4 * fours):
            n = f * GROUP
            for k in range(0, GROUP, 16):
                if f < fours:
                    n = present(index, n, k, values, 4 * f * size + start + k, size, 4)
                else:
                    n = present(index, n, k, values, (3 * fours + f) * size + start + k, size, 1)
            numbers[f] = n - f * GROUP
        for i in range(len(pieces)):
            block, _, column, begin, row, _ = pieces[i]
            begin += start * row
            for f in range(fours + frames - 4 * fours):
                first = 4 * f if f < fours else 3 * fours + f
                to, of, n = first * units + column, first * size + start, numbers[f]
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
    source, scratch = Source(*source), Scratch(*scratch)
    for f in range(frames):
        add_windows(source, f * source.size, factor, base, f * units, scratch)


@kernel
def spiking(source: Any, weights: Any, images: Any, scale: Any, out: Any, skip: Any, base: Any, neurons: Any, state: Any,
            bits: Any, units: int, steps: int, kept: Any, scratch: Any) -> None:  # fmt: skip
    """Run a layer of U neurons: all of them, then the next step, or with images some of them over all steps.

    Parameters
    ----------
    source, weights, images, skip, base, neurons, state, kept, scratch : tuples
        As `arguments` names them.
    scale : float
        Of the currents' unit.
    out : array
        Zeros, before and after: room for the currents.
    bits : uint64 array [N, T, U / 64], flat
        Filled.
    units, steps : int
    """
    source, weights, images, scratch = Source(*source), Weights(*weights), Images(*images), Scratch(*scratch)
    skip, base, neurons, state, kept = Skip(*skip), Base(*base), Neurons(*neurons), State(*state), Kept(*kept)
    leaps = Source(*skip.source)
    skips, direct = len(skip.factor) > 0, side_by_side(leaps, units)
    pooled = skips and not direct
    simple = plain(neurons.flags) and not len(kept.after)
    words, whole = units // 64, len(base.values) >= units
    for n in range(len(state.v) // units):
        dense = pictured(images, source, n * steps, steps)
        span = images.span if dense and not pooled else words
        for begin in range(0, words, span):
            end = min(begin + span, words)
            for t in range(steps):
                f, b = n * steps + t, n * base.sample + t * base.step
                if dense:
                    products(images, t, begin, end, out)
                else:
                    currents(source, f, weights, out, scratch)
                if pooled:
                    skip_windows(skip, leaps, f, base, b, units, len(neurons.theta), scratch)
                k = 64 * begin % len(neurons.theta)
                for w in range(begin, end):
                    at = b + (64 * w if whole else k)
                    if skips and direct:
                        skip_word(skip, leaps, f, w, base, at)
                    if simple:
                        word = fired(state, n * units + 64 * w, skip, skips, base, at, out, w, scale, neurons, k)
                    else:
                        drained(state.x, skip, skips, base, at, out, w, scale)
                        word = step(neurons, k, state, n * units + 64 * w, state.fired[n * words + w], kept.peak,
                                    f * units + 64 * w)  # fmt: skip
                    bits[f * words + w] = state.fired[n * words + w] = word
                    k = k + 64 if k + 64 < len(neurons.theta) else 0
                if len(kept.after):
                    for w in range(begin, end):
                        copy(kept.after, f * units + 64 * w, state.v, n * units + 64 * w)


@inlined
def side_by_side(source: Any, units: int) -> Any:
    """Whether a source's pixels, each for itself, are those of a frame of `units`."""
    seen, last = source.windows, len(source.windows) - 1
    return seen.shape[1] == 1 and seen[0, 0] == 0 and seen[last, 0] == last and 8 * source.size == units


@inlined
def skip_windows(skip: Any, leaps: Any, frame: int, base: Any, at: int, units: int, period: int, scratch: Any) -> None:
    """Write what all units get, and the spikes in their windows times a factor, into the skip's room."""
    k = 0
    for u in range(0, units, 64):
        copy(skip.room, u, base.values, at + (u if len(base.values) >= units else k))
        k = k + 64 if k + 64 < period else 0
    add_windows(leaps, frame * leaps.size, skip.factor, skip.room, 0, scratch)


@inlined
def skip_word(skip: Any, leaps: Any, frame: int, word: int, base: Any, at: int) -> None:
    """`skip_windows` for 64 units, each of which sees the spike in its own place."""
    u = 64 * word
    copy(skip.room, u, base.values, at)
    lift(skip.room, u, skip.factor, u % len(skip.factor), leaps.bits, frame * leaps.size + 8 * word)


@inlined
def fired(state: Any, o: int, skip: Any, skips: bool, base: Any, at: int, out: Any, word: int, scale: Any, neurons: Any,
          k: int) -> Any:  # fmt: skip
    """Run a step of 64 units that are `fused_neuron.plain`; the bits of those that fire."""
    given, of = (skip.room, 64 * word) if skips else (base.values, at)
    if neurons.flags[STRICT]:
        return fire(state.v, o, given, of, out, 64 * word, scale, neurons.theta, k, True)
    return fire(state.v, o, given, of, out, 64 * word, scale, neurons.theta, k, False)


@inlined
def drained(x: Any, skip: Any, skips: bool, base: Any, at: int, out: Any, word: int, scale: Any) -> None:
    """Take the inputs of 64 units from the currents, which are zeros afterwards."""
    if skips:
        drain(x, 0, skip.room, 64 * word, out, 64 * word, scale)
    else:
        drain(x, 0, base.values, at, out, 64 * word, scale)


@kernel
def driven(base: Any, neurons: Any, state: Any, bits: Any, units: int, steps: int, kept: Any) -> None:
    """Run a layer of neurons on `base` alone: all steps of 64 units, then the next; as `spiking`."""
    base, neurons, state, kept = Base(*base), Neurons(*neurons), State(*state), Kept(*kept)
    flags, theta = neurons.flags, neurons.theta
    words, whole = units // 64, len(base.values) >= units
    constant = plain(flags) and base.step == 0 and not len(kept.after)
    for n in range(len(state.v) // units):
        for w in range(words):
            o, word = n * units + 64 * w, state.fired[n * words + w]
            k = 64 * w % len(theta)
            b, f = n * base.sample + (64 * w if whole else k), n * steps
            if constant:
                if flags[STRICT]:
                    integrate(state.v, o, base.values, b, theta, k, bits, f * words + w, words, steps, True)
                else:
                    integrate(state.v, o, base.values, b, theta, k, bits, f * words + w, words, steps, False)
                continue
            for t in range(steps):
                copy(state.x, 0, base.values, b + t * base.step)
                at = (f + t) * units + 64 * w
                word = step(neurons, k, state, o, word, kept.peak, at)
                bits[(f + t) * words + w] = word
                if len(kept.after):
                    copy(kept.after, at, state.v, o)
            state.fired[n * words + w] = word
