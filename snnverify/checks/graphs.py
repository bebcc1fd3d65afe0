"""Drawn networks for the checks of exchange formats: dyadic, and made of what every format has a word for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from ..activation import Neuron
from ..content import Array, Content
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from ..strategies import dyadic


@dataclass(frozen=True, eq=False)
class Sketch(Content):
    """A network whose neurons say their threshold alone; the rest is the importer's choice. x: [T, N, *shape]."""

    network: Network
    x: Array
    kind: str = ""  # of its neurons; empty for the importer's first


def _dense(draw: st.DrawFn, name: str, source: str, n: int, m: int, bias: bool = True) -> Layer:
    op = Dense(draw(dyadic((m, n))), draw(dyadic((m,), -4, 4)) if bias else None)
    return Layer(name, (Branch(op, source),), Neuron(draw(st.integers(2, 10)) / 8))


def _train(draw: st.DrawFn, network: Network, low: int = 0) -> Array:
    return draw(dyadic((draw(st.integers(4, 10)), draw(st.integers(1, 2)), *network.input_shape), low, 8))


@st.composite
def chains(draw: st.DrawFn, /, kind: str = "", bias: bool = True, residual: bool = False) -> Sketch:
    """One or two dense layers; with `residual`, the second one gets the first one's spikes and the input besides."""
    n, m = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    layers = [_dense(draw, "first", INPUT, n, m, bias)]
    if residual or draw(st.booleans()):
        second = _dense(draw, "second", "first", m, m, bias)
        skips = (
            (Branch(Scale(1.0), "first"), Branch(Dense(draw(dyadic((m, n))), np.zeros(m)), INPUT)) if residual else ()
        )
        layers.append(replace(second, branches=(*second.branches, *skips)))
    network = Network((n,), tuple(layers))
    return Sketch(network, _train(draw, network, -2), kind)


@st.composite
def images(draw: st.DrawFn, /, groups: int = 1, then: str = "") -> Sketch:
    """A convolution over one or two axes with all its options; then nothing, pooling, or flattening and a dense layer."""
    axes, stride, padding, dilation = (draw(st.integers(*k)) for k in ((1, 2), (1, 2), (0, 1), (1, 2)))
    axes = 2 if then else axes
    # windows of 4 give 8 x 4 the same shape with and without padding: what drops the padding is not refused by chance
    shape = (groups, *((8, 4) if then in ("sum", "average") else (5, 4))[:axes])
    op = Conv(draw(dyadic((2, 1, *(2,) * axes))), draw(dyadic((2,), -4, 4)), (stride,) * axes,
              ((padding, padding),) * axes, (dilation,) * axes, groups)  # fmt: skip
    layers = [Layer("first", (Branch(op),), Neuron(draw(st.integers(2, 10)) / 8))]
    if then in ("sum", "average"):
        pool = Pool(then, (4, 4), padding=(draw(st.integers(0, 1)),) * 2)  # type: ignore[arg-type]
        layers[:0] = [Layer("pool", (Branch(pool),))]
        layers[1] = replace(layers[1], branches=(Branch(replace(op, stride=(1, 1), dilation=(1, 1),
                                                                padding=((1, 1), (1, 1))), "pool"),))  # fmt: skip
    network = Network(shape, tuple(layers))
    if then == "flatten":
        size = int(np.prod(network.shapes["first"]))
        flat = Layer("flat", (Branch(Flatten(), "first"),))
        network = Network(shape, (*layers, flat, _dense(draw, "second", "flat", size, 2)))
    return Sketch(network, _train(draw, network))


@st.composite
def relays(draw: st.DrawFn, /) -> Sketch:
    """Units that get a constant positive input, each its own, for long enough to spike more than once."""
    network = Network(
        (2,), (Layer("unit", (Branch(Dense(np.eye(2), np.zeros(2))),), Neuron(draw(st.integers(2, 4)) / 8)),)
    )
    drive = draw(dyadic((1, 1, 2), 4, 8))
    return Sketch(network, np.repeat(drive, 12, axis=0))
