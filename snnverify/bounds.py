"""Sizes of sums and roundings in a network, from which every limit that is not 0 is derived."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .activation import Neuron
from .network import INPUT, Array, Conv, Flatten, Network, Op, Pool, Scale


def reach(network: Network, name: str, x_max: float) -> tuple[float, int]:
    """Greatest absolute input that a unit of the layer can get in a step, and the additions and products on its way.

    What rounding bounds need: spikes are at most their amplitude, the input at most `x_max`, and an analog layer hands
    on what it gets, with its roundings.
    """
    total = 0.0
    for b in network[name].branches:
        act = None if b.source == INPUT else network[b.source].act
        if b.source == INPUT:
            size = x_max
        elif isinstance(act, Neuron):
            size = float(np.max(act.amplitude)) * (act.max_spikes or np.inf)
        else:
            size = reach(network, b.source, x_max)[0]
        bias = getattr(b.op, "bias", None)
        total += size * fan_in(b.op)[0] + (0.0 if bias is None else float(np.abs(bias).max()))
    return total, depth(network, name)


def potential_error(network: Network, name: str, steps: int, x_max: float) -> float:
    """Bound of a potential's error in float32: depth + 1 roundings of each step's input, 2 of each step's potential."""
    act = network[name].act
    assert isinstance(act, Neuron)
    size, depth = reach(network, name, x_max)
    v_max = float(np.max(np.abs(act.v_init))) + steps * size + float(np.max(act.theta))
    return 2.0**-24 * steps * ((depth + 1) * size + 2 * v_max) * 1.01  # 1 %: second order


def depth(network: Network, name: str) -> int:
    """Additions and products on the way of a layer's input, from the spikes or the network's input that it is made of.

    In float32 that input is off by at most ``2^-24 (depth + 1)`` times the sum of its absolute products, in whatever
    order they are added [Higham 2002, eq. 3.5]; the roundings of weights, biases and the network's input are counted in.
    What a pool hands on may be added up window by window or spike by spike.
    """
    found = 0
    for b in network[name].branches:
        analog = b.source != INPUT and not isinstance(network[b.source].act, Neuron)
        before, each = (depth(network, b.source), _pooled(network, b.source)) if analog else (0, 1)
        found = max(found, before + fan_in(b.op)[1] * each + 2)
    return found + len(network[name].branches)


def _pooled(network: Network, name: str) -> int:
    """How many spikes a unit of an analog layer stands for, where pools, flattening and scales alone lie before it."""
    if name == INPUT or isinstance(network[name].act, Neuron):
        return 1
    b = network[name].branches[0]
    return _pooled(network, b.source) * (fan_in(b.op)[1] if isinstance(b.op, Pool) else 1)


def rounding_limit(unit: float, noise: float, outputs: Array) -> float:
    """How far two correct evaluations of one model may lie apart, from how much the model amplifies rounding.

    The distance of its outputs in float32 and float64, `noise`, is about ``2^-24 c`` for some condition c of this very
    model on these data, cancellations in its normalisations included; another order of summation at roundoff u then
    moves the outputs by about ``u c``. 2^10 of that covers luck in the estimate, and outputs that float32 holds exactly.
    In the model's own float32 nothing finer can be told than 2^4 of it.
    """
    slack = 2.0**10 if unit < 2.0**-24 else 2.0**4
    return slack * unit * (2.0**24 * noise + float(np.abs(outputs).max()))


def absolute(network: Network) -> Network:
    """Return the network with absolute weights and biases and without activations: what bounds its sums of products."""
    layers = []
    for layer in network.layers:
        branches = []
        for b in layer.branches:
            parts = {k: v for k in ("weight", "bias", "factor") if (v := getattr(b.op, k, None)) is not None}
            branches.append(replace(b, op=replace(b.op, **{k: np.abs(v) for k, v in parts.items()})))
        layers.append(replace(layer, branches=tuple(branches), act=None))
    return replace(network, layers=tuple(layers))


def fan_in(op: Op) -> tuple[float, int]:
    """Greatest sum of absolute weights of an output unit, and how many products it may hold.

    Of a transposed convolution both are upper bounds: with a stride, an output gets part of the kernel alone.
    """
    if isinstance(op, Flatten):
        return 1.0, 0
    if isinstance(op, Pool):
        entries = int(np.prod(op.kernel))
        return (1.0 if op.kind == "average" else float(entries)), entries
    if isinstance(op, Scale):
        return float(np.abs(op.factor).max()), 1
    weight = np.abs(op.weight)
    if isinstance(op, Conv) and op.transposed:
        grouped = weight.reshape(op.groups, -1, *weight.shape[1:])  # [groups, in / groups, out / groups, *kernel]
        weight = grouped.swapaxes(1, 2).reshape(-1, *grouped.shape[1:2], *weight.shape[2:])
    rows = weight.reshape(len(weight), -1)
    return float(rows.sum(1).max()), rows.shape[1]
