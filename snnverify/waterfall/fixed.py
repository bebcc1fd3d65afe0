"""Numbers of a spiking network as fixed point: multiples of ``2^-F``, so that every potential is one of a finer grid.

Weights, biases, thresholds, values of a spike and initial potentials go to the nearest multiple, ties to even. What a
layer adds up is then a multiple of ``2^-p``, with p the places of its weights and of what they multiply together; with no
leak nothing finer ever arises. So accumulators of that many places, wide enough for the greatest potential, hold
everything exactly, whatever the order of the additions (`word`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..activation import Neuron
from ..bounds import reach
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Dense, Layer, Network, Op, Pool, Scale
from ..network import Conv as Convolution

MOST = 16  # binary places: products of two numbers then have 32, and float64 holds sums of 2^21 of them
OF_OP = ("weight", "bias", "factor")
OF_NEURON = ("theta", "amplitude", "v_init", "v_reset", "v_floor")


def rounded(value: Array | float, places: int) -> Array:
    """Nearest multiple of ``2^-places``, ties to even."""
    return np.asarray(np.ldexp(np.rint(np.ldexp(np.asarray(value, float), places)), -places))


def fixed_point(network: Network, places: int) -> Network:
    """Round every number of a spiking network.

    Parameters
    ----------
    network : Network
    places : int
        F, binary places.

    Raises
    ------
    Unsupported
        A leak, which makes finer numbers in every step; an average over a number that is no power of two; a threshold
        that becomes 0.
    """
    return replace(network, layers=tuple(_layer(v, places) for v in network.layers))


def _layer(layer: Layer, places: int) -> Layer:
    for b in layer.branches:
        if isinstance(b.op, Pool) and b.op.kind == "average" and not _dyadic(b.op):
            raise Unsupported(layer.name, f"an average over {b.op.kernel} has no exact binary fraction",
                              "pool over a power of two, or leave fixed point out")  # fmt: skip
    branches = tuple(replace(b, op=_op(b.op, places)) for b in layer.branches)
    act = layer.act
    if isinstance(act, Neuron):
        if act.leak != 1 or act.syn_decay is not None:
            raise Unsupported(
                layer.name, "a leak makes finer numbers in every step", "leave fixed point or the leak out"
            )
        act = replace(act, **{k: _like(v, places) for k in OF_NEURON if (v := getattr(act, k)) is not None})  # type: ignore[arg-type]
    return replace(layer, branches=branches, act=act)


def _dyadic(op: Pool) -> bool:
    """Tell whether an average divides by a power of two in every window."""
    entries = math.prod(op.kernel)
    return entries & (entries - 1) == 0 and (op.count_include_pad or not any(op.padding))


def _op(op: Op, places: int) -> Op:
    if not isinstance(op, (Dense, Convolution, Scale)):
        return op
    return replace(op, **{k: _like(v, places) for k in OF_OP if (v := getattr(op, k, None)) is not None})  # type: ignore[arg-type]


def _like(value: Array | float, places: int) -> Array | float:
    found = rounded(value, places)
    return found if isinstance(value, np.ndarray) else float(found)


def word(network: Network, places: int, steps: int, x_max: float) -> int:
    """Bits, sign included, that hold every potential of a network in fixed point over a run.

    A potential is at most ``|v_0| + T S + theta``, S the greatest sum of absolute products (`bounds.reach`), and a
    multiple of ``2^-p``; p counts the places of each product on the way from spikes or the input.
    """
    widest = 0
    for layer in network.spiking:
        assert isinstance(layer.act, Neuron)
        size = float(np.max(np.abs(layer.act.v_init))) + steps * reach(network, layer.name, x_max)[0]
        size += float(np.max(layer.act.theta))
        widest = max(widest, 1 + math.floor(math.log2(size)) + 1 + _places(network, layer.name, places))
    return widest


def _places(network: Network, name: str, places: int) -> int:
    found = 0
    for b in network[name].branches:
        if b.source == INPUT:
            before = places
        elif isinstance(network[b.source].act, Neuron):
            amplitude = np.asarray(network[b.source].act.amplitude)  # type: ignore[union-attr]
            before = 0 if np.array_equal(amplitude, np.rint(amplitude)) else places
        else:
            before = _places(network, b.source, places)
        own = places if isinstance(b.op, (Dense, Convolution, Scale)) else 0
        pooled = math.prod(b.op.kernel).bit_length() - 1 if isinstance(b.op, Pool) and b.op.kind == "average" else 0
        found = max(found, before + own + pooled, places)
    return found
