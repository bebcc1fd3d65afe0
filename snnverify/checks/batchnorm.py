"""Folding a batch normalisation keeps the function, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from .. import reference
from ..content import Array
from ..errors import NetworkError, Unsupported
from ..findings import Measure
from ..network import Branch, Conv, Dense, Flatten, Layer, Network, Relu, Scale
from ..oracles import Oracle
from ..strategies import BatchNorm, Conversion, batchnorms, conversions
from . import check
from .common import differences


def _expected(d: BatchNorm) -> tuple[Array, Array]:
    """W' and b' in 60 decimal digits, rounded once: an implementation that shares no line with the fold."""
    with localcontext() as digits:
        digits.prec = 60

        def decimals(a: Array) -> list[Decimal]:
            return [Decimal(float(v)) for v in a]

        factor = [g / (v + Decimal(d.eps)).sqrt() for g, v in zip(decimals(d.gamma), decimals(d.var), strict=True)]
        bias = decimals(d.bias) if d.bias is not None else [Decimal(0)] * len(factor)
        offset = [f * (b - m) + t for f, b, m, t in zip(factor, bias, decimals(d.mean), decimals(d.beta), strict=True)]
        weight = np.empty(d.weight.shape)
        for at in np.ndindex(*d.weight.shape):
            weight[at] = float(Decimal(float(d.weight[at])) * factor[_output_channel(d, at)])
        return weight, np.array([float(b) for b in offset])


def _output_channel(d: BatchNorm, at: tuple[int, ...]) -> int:
    """Output channel of a weight: axis 0, or in the transposed form axis 1 within the group of its input channel."""
    if not d.transposed:
        return at[0]
    per_group = len(d.weight) // d.groups
    return at[0] // per_group * int(d.weight.shape[1]) + at[1]


@check("operators", batchnorms(exact=True))
def fold_exact(d: BatchNorm, subject: Oracle) -> Iterator[Measure]:
    """W' = gamma / sqrt(var + eps) W, b' = gamma (b - mean) / sqrt(var + eps) + beta, exactly where var + eps is a power of four [Ioffe & Szegedy 2015]."""
    weight, bias = subject.operator("fold_batchnorm")(**d.arguments)
    expected = _expected(d)
    yield Measure("weights differ", differences(weight, expected[0]))
    yield Measure("biases differ", differences(bias, expected[1]))


@check("operators", batchnorms(exact=False))
def fold_bound(d: BatchNorm, subject: Oracle) -> Iterator[Measure]:
    """With extreme gamma, var and eps the fold stays within its rounding bound in float64 [Higham 2002, section 3.1: one u per operation]."""
    weight, bias = subject.operator("fold_batchnorm")(**d.arguments)
    expected = _expected(d)
    u = 2.0**-53
    # weight: var + eps, sqrt (halves its error), division, product: 3.5 u. bias: the factor's 2.5 u and one u each for
    # the difference, the product and the sum, relative to the sizes of what is added.
    size = np.abs(expected[0])
    factor = np.abs(d.gamma) / np.sqrt(d.var + d.eps)
    terms = factor * (np.abs(d.bias if d.bias is not None else 0) + np.abs(d.mean)) + np.abs(d.beta)
    yield Measure("weight error / bound", float((np.abs(weight - expected[0]) / (4 * u * size + 5e-324)).max()), 1.0)
    yield Measure("bias error / bound", float((np.abs(bias - expected[1]) / (6 * u * terms + 5e-324)).max()), 1.0)


def _normalised(network: Network) -> Network:
    """Put a dyadic batch normalisation (as its affine form) before every ReLU of a network."""
    layers: list[Layer] = []
    for layer in network.layers:
        if layer.act is None:
            layers.append(layer)
            continue
        channels = network.shapes[layer.name][0]
        factor = 2.0 ** (np.arange(channels) % 3 - 1.0)
        layers.append(Layer(f"{layer.name}.linear", layer.branches))
        norm = Scale(factor, (np.arange(channels) % 2 - 0.5) / 4)
        layers.append(Layer(f"{layer.name}.bn", (Branch(norm, f"{layer.name}.linear"),)))
        layers.append(Layer(layer.name, (Branch(Scale(1.0), f"{layer.name}.bn"),), layer.act))
    return Network(network.input_shape, tuple(layers))


@check("operators", conversions())
def fold_network(drawn: Conversion, subject: Oracle) -> Iterator[Measure]:
    """A folded network computes what the unfolded one does, bit for bit on dyadic weights [function equality, judged by the reference]."""
    network = _normalised(drawn.network)
    folded = subject.operator("fold")(network)
    before, after = (reference.forward(n, drawn.x) for n in (network, folded))
    for layer in drawn.network.layers:
        if layer.act is not None:
            yield Measure("activations differ", differences(after[layer.name], before[layer.name]), where=layer.name)
    foldable = [v for v in drawn.network.layers if v.act is not None and isinstance(v.branches[0].op, Dense | Conv)]
    gone = {v.name for v in folded.layers}
    yield Measure("normalisations left", float(sum(f"{v.name}.bn" in gone for v in foldable)))


@check("operators", batchnorms(exact=True))
def fold_refuses(d: BatchNorm, subject: Oracle) -> Iterator[Measure]:
    """An offset in front of zero padding and a variance that is not positive cannot be folded and are refused [zeros are not offset]."""
    _ = subject.operator("fold")  # of our own forms of network
    yield Measure("took a negative variance", _taken(
        lambda: subject.operator("fold_batchnorm")(**(d.arguments | {"var": -np.abs(d.var) - d.eps})), NetworkError))  # fmt: skip
    channels = 2
    norm = Layer("bn", (Branch(Scale(np.array([0.5, 2.0]), np.array([0.5, -0.25])), "relu"),))
    conv = Conv(np.arange(1.0, 3 * channels + 1).reshape(1, channels, 3), padding=((1, 1),))
    network = Network(
        (channels, 3), (Layer("relu", (Branch(Scale(1.0)),), Relu()), norm, Layer("conv", (Branch(conv, "bn"),)))
    )
    yield Measure("folded across padding", _taken(lambda: subject.operator("fold")(network), Unsupported))
    plain = replace(conv, padding=((0, 0),))
    open_end = replace(network, layers=(*network.layers[:2], Layer("conv", (Branch(plain, "bn"),))))
    yield Measure("refused without padding", 1 - _taken(lambda: subject.operator("fold")(open_end), Unsupported))
    flat = Layer("flat", (Branch(Flatten(), "bn"),))
    linear = Layer("linear", (Branch(Dense(np.arange(12.0).reshape(2, 6)), "flat"),))
    x = np.arange(12.0).reshape(2, channels, 3) - 4
    for after in (open_end, replace(network, layers=(*network.layers[:2], flat, linear))):
        folded, name = subject.operator("fold")(after), after.output.name
        yield Measure(
            "function changed", differences(reference.forward(folded, x)[name], reference.forward(after, x)[name])
        )
        yield Measure("not folded", float(any(v.name == "bn" for v in folded.layers)), where=name)


def _taken(call: Any, refusal: type[Exception]) -> float:
    """1 where the call went through, 0 where it was refused."""
    try:
        call()
    except refusal:
        return 0.0
    return 1.0
