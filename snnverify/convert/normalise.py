"""ANN Network -> SNN Network, given a threshold for every layer. A pure function on networks.

Two equivalent forms (Rueckauer et al., Front. Neurosci. 11:682, 2017, and Diehl et al., IJCNN 2015):

- ``normalise``: every threshold is 1 and a spike hands on 1; ``W' = W lambda_prev / lambda``, ``b' = b / lambda``;
- ``balance``: weights stay; the threshold is lambda and a spike hands on lambda.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from ..activation import Clip, ClipFloor, Cuba, Neuron, Relu
from ..content import Array
from ..errors import ConfigError, Unsupported
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, per_channel

Form = Literal["normalise", "balance"]
MaxPool = Literal["refuse", "gate"]


def spiking(
    ann: Network,
    thresholds: Mapping[str, Array],
    *,
    v_init: float,
    neuron: Neuron,
    form: Form = "normalise",
    maxpool: MaxPool = "refuse",
) -> tuple[Network, dict[str, Array]]:
    """Replace every ReLU-like activation by a spiking neuron.

    Parameters
    ----------
    ann : Network
    thresholds : mapping of layer to array, () or (C,)
        The activation that becomes a rate of 1; layers without activation listed here get a neuron as well (a counting
        read-out).
    v_init : float
        Initial potential as a fraction of the threshold. A QCFS layer brings its own: its shift.
    neuron : Neuron
        Template for the remaining semantics; its potentials are in units of the threshold.
    form : {"normalise", "balance"}
    maxpool : {"refuse", "gate"}
        What becomes of max pooling: an error, or the gate of `network.Pool`.

    Returns
    -------
    Network
    dict of layer to array
        What one unit of a layer's emitted values is worth in ANN units, () or (C,).

    Raises
    ------
    Unsupported
        Max pooling unless gated (which of the trains is the maximum is not known at a time step), or no activation to
        replace.
    """
    if maxpool not in ("refuse", "gate"):
        raise ConfigError(f"maxpool = {maxpool!r}: one of refuse, gate")
    if form not in ("normalise", "balance"):
        raise ConfigError(f"form = {form!r}: one of normalise, balance")
    units: dict[str, Array] = {INPUT: np.ones(())}
    layers: list[Layer] = []
    for layer in ann.layers:
        act = layer.act
        if isinstance(act, (Neuron, Cuba)):
            raise Unsupported(layer.name, "it is a spiking neuron already", "convert the ANN")
        if isinstance(act, Clip):
            raise Unsupported(layer.name, "a clipped activation is a station on the way to a neuron", "convert the ANN")
        fires = isinstance(act, (Relu, ClipFloor)) or layer.name in thresholds
        theta = np.asarray(thresholds[layer.name], float) if fires else np.ones(())
        worth = theta if fires and form == "normalise" else np.ones(())
        branches = []
        for i, b in enumerate(layer.branches):
            if isinstance(b.op, Pool) and b.op.kind == "max":
                if maxpool == "refuse":
                    raise Unsupported(layer.name, "max pooling has no spiking form",
                                      "use average pooling or a strided conv, or maxpool='gate' (approximate)")  # fmt: skip
                b = replace(b, op=replace(b.op, kind="gate"))
            op, given = _carried(b.op, units[b.source], ann.shapes[b.source])
            if given is None:
                branches.append(Branch(_scaled(op, worth), b.source))
            elif len(layer.branches) == 1 and not fires:
                worth = given  # pooling and flattening cannot absorb a factor: they hand the unit on
                branches.append(b)
            else:  # a pooled summand: a layer of its own, so that the sum can weigh it
                layers.append(Layer(f"{layer.name}/branch {i}", (b,), None))
                branches.append(Branch(_scaled(Scale(given), worth), layers[-1].name))
        if fires:
            shift = act.shift if isinstance(act, ClipFloor) else v_init
            size = theta if form == "balance" else np.ones(())
            spike = replace(_sized(layer.name, neuron, size), theta=size, amplitude=size, v_init=shift * size)
            layers.append(Layer(layer.name, tuple(branches), spike))
        else:
            layers.append(Layer(layer.name, tuple(branches), None))
        units[layer.name] = worth
    if not any(isinstance(layer.act, (Relu, ClipFloor)) for layer in ann.layers):
        raise Unsupported("network", "it has no ReLU-like activation to replace", "convert a network with ReLU or QCFS")
    return Network(ann.input_shape, tuple(layers), ann.note), units


def with_pool_neurons(ann: Network) -> Network:
    """Put a ReLU after every average pooling of what is not negative, where it changes nothing but asks for a neuron.

    Raises
    ------
    Unsupported
        There is no such pooling.
    """
    layers: list[Layer] = []
    positive: set[str] = set()  # layers whose values are not negative
    for layer in ann.layers:
        b = layer.branches[0]
        plain = layer.act is None and len(layer.branches) == 1 and b.source in positive
        pooled = plain and isinstance(b.op, Pool) and b.op.kind == "average"
        layers.append(replace(layer, act=Relu()) if pooled else layer)
        if isinstance(layers[-1].act, (Relu, ClipFloor)) or (plain and isinstance(b.op, (Pool, Flatten))):
            positive.add(layer.name)
    if layers == list(ann.layers):
        raise Unsupported("network", "it has no average pooling of rectified values", "convert without pool_neurons")
    return replace(ann, layers=tuple(layers))


def _sized(name: str, neuron: Neuron, size: Array) -> Neuron:
    """Scale the template's potentials, which are given in units of the threshold."""
    given = {k: v for k in ("v_reset", "v_rest", "v_floor") if (v := getattr(neuron, k))}
    if given and size.ndim:
        raise Unsupported(name, f"{', '.join(given)} with thresholds per channel", "use form='normalise'")
    return replace(neuron, **{k: v * float(size) for k, v in given.items()})


def _carried(op: Op, unit: Array, shape: Shape) -> tuple[Op, Array | None]:
    """Scale the weights by the unit of their input; an operation without weights returns the unit it hands on."""
    if isinstance(op, Dense):
        return replace(op, weight=op.weight * unit), None
    if isinstance(op, Conv):
        return replace(op, weight=op.weight * _input_channels(op, unit)), None
    if isinstance(op, Scale):
        return replace(op, factor=np.asarray(op.factor * unit)), None
    if isinstance(op, Flatten) and unit.ndim:
        return op, np.broadcast_to(per_channel(unit, shape), shape).reshape(-1)
    return op, unit


def _input_channels(op: Conv, unit: Array) -> Array:
    if not unit.ndim:
        return unit
    axes = (1,) * (op.weight.ndim - 2)
    if op.transposed:
        return unit.reshape(-1, 1, *axes)
    per_group = unit.reshape(op.groups, 1, -1)  # output channel o of group g sees the inputs of group g alone
    repeated = np.repeat(per_group, len(op.weight) // op.groups, axis=1)
    return repeated.reshape(len(op.weight), -1, *axes)


def _scaled(op: Op, worth: Array) -> Op:
    """Divide the output of an operation with weights by `worth`."""
    if isinstance(op, Scale):
        bias = None if op.bias is None else np.asarray(op.bias / worth)
        return replace(op, factor=np.asarray(op.factor / worth), bias=bias)
    assert isinstance(op, (Dense, Conv))
    bias = None if op.bias is None else op.bias / worth
    if isinstance(op, Conv) and op.transposed and worth.ndim:
        out = np.tile(worth.reshape(op.groups, 1, -1), (1, len(op.weight) // op.groups, 1))
        return replace(op, weight=op.weight / out.reshape(len(op.weight), -1, *(1,) * (op.weight.ndim - 2)), bias=bias)
    return replace(op, weight=op.weight / (per_channel(worth, op.weight.shape) if worth.ndim else worth), bias=bias)
