"""Strategies for what conversion checks are given: trained ANNs, and batch normalisations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..activation import Relu
from ..content import Array, Content
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from .cases import SHAPES, layered
from .neurons import dyadic


@dataclass(frozen=True, eq=False)
class Conversion(Content):
    """Input of a conversion check: a trained ANN network, its calibration set, and a choice of T."""

    network: Network
    x: Array
    steps: int


@st.composite
def conversions(draw: st.DrawFn, /, depth: int = 3, act: st.SearchStrategy[Any] | None = None) -> Conversion:
    """ANN networks with ReLU (or `act`) and dyadic weights, and a few calibration samples that excite them a little."""
    network = draw(layered(depth, st.just(Relu()) if act is None else act, SHAPES))
    x = draw(dyadic((draw(st.integers(1, 6)), *network.input_shape), 0, 8))
    return Conversion(network, x, draw(st.integers(1, 16)))


@st.composite
def convnets(draw: st.DrawFn, /) -> Conversion:
    """ANNs in which every rule of scaling acts: grouped and transposed convolution, skip, pooling, flatten, affine."""
    shapes = {"conv": (4, 1, 2), "grouped": (4, 2, 1), "turned": (4, 2, 1), "skip": (4,), "affine": (8,), "fc": (2, 8)}
    w = {name: draw(dyadic(shape)) for name, shape in shapes.items()}
    b = {name: draw(dyadic((shape[0],), -4, 4)) for name, shape in shapes.items()}
    relu, pools = (
        Relu(),
        [Pool("average", (2,)), *(Pool("average", (2,), (3,), (1,), inside) for inside in (False, True))],
    )
    grouped = (Branch(Conv(w["grouped"], b["grouped"], groups=2), "conv"), Branch(Scale(w["skip"]), "conv"))
    layers = (
        Layer("conv", (Branch(Conv(w["conv"], b["conv"])),), relu),
        Layer("grouped", grouped, relu),
        Layer("turned", (Branch(Conv(w["turned"], b["turned"], groups=2, transposed=True), "grouped"),), relu),
        Layer("pool", (Branch(draw(st.sampled_from(pools)), "turned"),)),
        Layer("flat", (Branch(Flatten(), "pool"),)),
        Layer("affine", (Branch(Scale(w["affine"], b["affine"]), "flat"),), relu),
        Layer("fc", (Branch(Dense(w["fc"]), "affine"),)),
    )
    x = draw(dyadic((draw(st.integers(1, 4)), 1, 5), 0, 8))
    return Conversion(Network((1, 5), layers), x, draw(st.integers(1, 16)))


@st.composite
def max_pooled(draw: st.DrawFn, /) -> Conversion:
    """ANNs with max pooling after an activation, before one, and of the input, in sizes that the reference bears."""
    drawn = draw(convnets())
    layers = list(drawn.network.layers)
    for i, layer in enumerate(layers):
        op, source = layer.branches[0].op, layer.branches[0].source
        if isinstance(op, Pool):
            layers[i] = Layer(layer.name, (Branch(Pool("max", op.kernel, op.stride, op.padding), source),))
    if draw(st.booleans()):
        layers[0] = Layer("conv", (Branch(layers[0].branches[0].op, "first"),), Relu())
        layers.insert(0, Layer("first", (Branch(Pool("max", (2,), (1,), (1,))),)))
        layers[1] = replace(layers[1], act=None)
        layers.insert(2, Layer("second", (Branch(Pool("max", (2,), (1,)), "conv"),), Relu()))
        layers = [layers[0], layers[1], layers[2], *(_from(v, "conv", "second") for v in layers[3:])]
    return replace(drawn, network=replace(drawn.network, layers=tuple(layers)), steps=min(drawn.steps, 6))


def _from(layer: Layer, old: str, new: str) -> Layer:
    """Return the layer with another source in the place of one."""
    return replace(
        layer, branches=tuple(replace(b, source=new if b.source == old else b.source) for b in layer.branches)
    )


def blurred(network: Network) -> Network:
    """Put the network of `convnets` behind an average pooling of its input, which is shifted to values of both signs."""
    centred = Layer("centred", (Branch(Conv(np.full((1, 1, 2), 0.5), np.array([-0.5]))),))
    blurred = Layer("blurred", (Branch(Pool("average", (2,), (1,), (1,)), "centred"),))
    return replace(network, layers=(centred, blurred, *(_from(v, INPUT, "blurred") for v in network.layers)))


@dataclass(frozen=True, eq=False)
class BatchNorm(Content):
    """Parameters of one layer and its batch normalisation; `fold_batchnorm`'s arguments."""

    weight: Array
    bias: Array | None
    gamma: Array
    beta: Array
    mean: Array
    var: Array
    eps: float
    groups: int = 1
    transposed: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the operator."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@st.composite
def batchnorms(draw: st.DrawFn, /, exact: bool) -> BatchNorm:
    """Exact: ``var + eps`` a power of four and everything else dyadic. Else extreme but finite floats."""
    groups, transposed = draw(st.sampled_from([1, 2])), draw(st.booleans())
    per_group, inputs = draw(st.integers(1, 2)), draw(st.integers(1, 2)) * groups
    out = per_group * groups
    shape = (inputs, per_group, 2) if transposed else (out, inputs // groups, 2)
    if exact:
        eps = 2.0 ** draw(st.integers(-10, -4))
        root = draw(hnp.arrays(np.int8, (out,), elements=st.integers(-1, 3)))
        gamma, beta, mean = (draw(dyadic((out,), -16, 16)) for _ in range(3))
        return BatchNorm(draw(dyadic(shape)), draw(st.none() | dyadic((out,))), gamma, beta, mean, 4.0**root - eps, eps,
                         groups, transposed)  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    eps = draw(st.sampled_from([1e-5, 1e-3, 1e-8]))
    span = 10.0 ** rng.uniform(-6, 6, (4, out)) * rng.choice([-1, 1], (4, out))
    return BatchNorm(rng.normal(size=shape), rng.normal(size=out), span[0], span[1], span[2], np.abs(span[3]) * 1e-6,
                     eps, groups, transposed)  # fmt: skip
