"""What the fused engine hands to its kernels, by name; all arrays are flat unless a shape is told.

Planning and workers fill these in, and a kernel gives what it is handed its name again: numba tells the type of a bare
tuple in C, that of a NamedTuple in Python, 2 us each, and a step of a small layer takes no longer. See `bound`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

R = TypeVar("R")


class Source(NamedTuple):
    """Spikes or numbers that a branch sees; the frames of a sample lie together.

    Parameters
    ----------
    kind : int
        `fused_synapse.BITS` or `VALUES`.
    bits, values : arrays
        Of both kinds; the other one is empty.
    size : int
        Of a frame: bytes, or numbers.
    width : int
        Bytes of a pixel's bits; numbers, 8 times as many.
    rows : int
        Weight rows between a pixel and the next.
    zeros : int
        A weight row of zeros.
    windows : int32 array [P, M]
        Pixels that are seen as one; -1 outside.
    """

    kind: Any
    bits: Any
    values: Any
    size: Any
    width: Any
    rows: Any
    zeros: Any
    windows: Any


class Weights(NamedTuple):
    """Weight rows, in blocks that stay in registers.

    Parameters
    ----------
    pieces : int64 array [pieces, 6]
        Number in `fused_synapse.BLOCKS`, first tap, first channel, where the weights of the piece begin, the size of its
        rows, and how many of them may be added as bytes.
    ranges : int64 array [P, 2]
        Which pieces a pixel needs.
    targets : int32 array [P, taps]
        Where in the currents the pixel begins that an input's pixel reaches by each tap.
    weight : array
    """

    pieces: Any
    ranges: Any
    targets: Any
    weight: Any


class Products(NamedTuple):
    """The same weights for products of bytes over all inputs.

    Parameters
    ----------
    channels : int
        Of an output's pixel.
    starts : int32 array
        Where in an image each output's pixel begins to look.
    offsets : int32 array
        Of what it sees from there, four channels each.
    pieces : int64 array [pieces, 3]
        Number of vectors of 16 channels, first channel, where the weights begin.
    weight : int8 array
        As `vectors_dense.dots`.
    """

    channels: Any
    starts: Any
    offsets: Any
    pieces: Any
    weight: Any


class Images(NamedTuple):
    """Spikes of a sample's frames as bytes, and when they are worth making.

    Parameters
    ----------
    counts : uint8 array
        Room for the images of all steps; empty where every frame goes by its spikes.
    size : int
        Bytes of one: pixels with their border, channels filled up to fours.
    least : float
        Spikes of a frame from which on products are faster than rows.
    span : int
        Words of 64 outputs that are run over all steps at a time.
    places : int32 array [P]
        Where in an image each pixel of the source goes.
    products : Products
    """

    counts: Any
    size: Any
    least: Any
    span: Any
    places: Any
    products: Any


class Skip(NamedTuple):
    """Spikes that act on the unit in their place.

    Parameters
    ----------
    source : Source
    factor : array
        Of each channel, repeated to whole words; empty: no skip.
    room : array [U]
        For a frame of what units get.
    """

    source: Any
    factor: Any
    room: Any


class Base(NamedTuple):
    """What every unit gets beside what its layer computes; of fewer numbers than units, the pattern repeats.

    Parameters
    ----------
    values : array
    sample, step : int
        Numbers between a sample, or a step, and the next.
    """

    values: Any
    sample: Any
    step: Any


class Neurons(NamedTuple):
    """`fused_neuron.settings`, and thresholds, a pattern that repeats."""

    flags: Any
    numbers: Any
    theta: Any


class State(NamedTuple):
    """What neurons keep from step to step.

    Parameters
    ----------
    v : array [N U]
        Potentials.
    currents : array
        Of 64 units the synaptic ones, and then those that act in the next step.
    kinds : int
        How many currents a unit has: 2 or none.
    fired : uint64 array [N U / 64]
        Bits of the last step.
    x : array [64]
        Room for inputs.
    """

    v: Any
    currents: Any
    kinds: Any
    fired: Any
    x: Any


class Kept(NamedTuple):
    """Where the potentials after and before each reset go, [N T U]; empty where nobody asks."""

    after: Any
    peak: Any


class Scratch(NamedTuple):
    """Room for the active inputs of a pixel, what they hand on, counts of spikes, and bits."""

    index: Any
    factor: Any
    counts: Any
    active: Any


class CubaUnits(NamedTuple):
    """4096 - current decay, 4096 - voltage decay, bias and 64 threshold of integer neurons, patterns that repeat."""

    u_left: Any
    v_left: Any
    bias: Any
    theta: Any


class CubaState(NamedTuple):
    """Currents, potentials and refractory times of integer neurons, [N, U]; `wait` has no units where all have 32 bits."""

    u: Any
    v: Any
    wait: Any


def bound(kernel: Callable[..., R], *given: Any) -> Callable[..., R]:
    """A kernel with its arguments in place, bare."""
    return partial(kernel, *map(_bare, given))


def _bare(value: Any) -> Any:
    """Tuples, within tuples, without their names."""
    return tuple(_bare(v) for v in value) if isinstance(value, tuple) else value
