"""Strategies for Loihi's integer networks, narrowed to what a subject's neuron classes express."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..activation import Cuba, SigmaDelta
from ..content import Array
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, output_shape
from ..oracles import ANY, ONE
from ..trace import Case
from .neurons import families_of, restricted

Axes = Mapping[str, st.SearchStrategy[Any]]
MIXED = [1, -1, 2, -3, 64, 127, -128, -64]  # weights: mixed signs and sizes, odd and even


def integers(shape: Shape, low: int, high: int) -> st.SearchStrategy[Array]:
    """Integer arrays with every entry drawn on its own."""
    return hnp.arrays(np.int64, shape, elements=st.integers(low, high), fill=st.nothing())


def _per_channel(values: st.SearchStrategy[int], channels: int) -> st.SearchStrategy[Any]:
    """One value for all channels, or one for each."""
    each = st.lists(values, min_size=channels, max_size=channels).map(lambda v: np.asarray(v, np.int64))
    return st.one_of(values, values, each)


def _cuba_axes(channels: int, shape: Shape) -> Axes:
    decays = st.sampled_from([4096, 4096, 1024, 0, 1, 3000, 4095])
    recurrent = [st.none(), st.none(), st.none()] + (
        [integers((channels, channels), -128, 127)] if len(shape) == 1 else []
    )
    return {
        "threshold": _per_channel(st.integers(0, 300), channels),
        "current_decay": _per_channel(decays, channels),
        "voltage_decay": _per_channel(st.sampled_from([0, 0, 128, 4096, 1, 2000]), channels),
        "bias": _per_channel(st.integers(-64, 64), channels),
        "delay": st.sampled_from([1, 1, 0, 2]),
        "axon_delay": _per_channel(st.sampled_from([0, 0, 1, 3]), channels),
        "weight_exponent": st.sampled_from([0, 0, 0, 1, 3, -1, -2]),
        "bias_exponent": st.sampled_from([6, 6, 0, 3]),
        "refractory": st.sampled_from([1, 1, 2, 4]),
        "reset_interval": st.sampled_from([None, None, 2, 3]),
        "reset_offset": st.integers(0, 2),
        "overflow": st.sampled_from(["refuse", "refuse", "wrap", "none"]),
        "recurrent": st.one_of(recurrent),
    }


def _sigma_delta_axes(channels: int, shape: Shape) -> Axes:
    return {
        "threshold": _per_channel(st.sampled_from([0, 0, 1, 2, 12]), channels),
        "bias": _per_channel(st.integers(-16, 16), channels),
        "role": st.just("sigma-delta"),
        "activation": st.sampled_from(["relu", "relu", "unit"]),
        "cum_error": st.booleans(),
        "spike_exponent": st.sampled_from([6, 6, 0, 2]),
        "state_exponent": st.sampled_from([6, 6, 1]),
        "delay": st.sampled_from([1, 1, 0, 2]),
        "axon_delay": _per_channel(st.sampled_from([0, 0, 1, 3]), channels),
    }


_AXES: Mapping[type, Callable[[int, Shape], Axes]] = {Cuba: _cuba_axes, SigmaDelta: _sigma_delta_axes}


@st.composite
def integer_acts(draw: st.DrawFn, /, kind: type, shape: Shape, **fixed: Any) -> Any:
    """`Cuba` or `SigmaDelta` over every axis, for a layer of `shape`; keyword arguments fix an axis (value or strategy)."""
    axes = {**_AXES[kind](shape[0], shape), **fixed}
    defaults = {f.name: f.default for f in fields(kind)}
    legal: Mapping[str, Any] = dict.fromkeys(axes, ANY)
    if (families := families_of(kind.__name__)) is not None:
        # a class that needs another value than the default of an axis that is not drawn is none for this case
        fitting = [f for f in families if all(name in axes or _takes(f, name, defaults[name]) for name in defaults)]
        legal = draw(st.sampled_from(fitting) if fitting else st.nothing())
    given = {}
    for name, strategy in axes.items():
        values = legal.get(name, (defaults[name],))
        wanted = strategy if isinstance(strategy, st.SearchStrategy) else st.just(strategy)
        if values == ANY:
            given[name] = draw(wanted)
        elif values == ONE:
            given[name] = draw(wanted.filter(lambda v: np.ndim(v) == 0))
        elif name in fixed:
            given[name] = draw(wanted.filter(partial(_legal, values)))
        else:
            given[name] = draw(st.sampled_from(values))
    return kind(**given)


def _takes(family: Mapping[str, Any], name: str, value: Any) -> bool:
    legal = family.get(name, (value,))
    return legal in (ANY, ONE) or value in legal


def _legal(values: tuple[Any, ...], drawn: Any) -> bool:
    return np.ndim(drawn) == 0 and drawn in values


@st.composite
def integer_ops(draw: st.DrawFn, /, shape: Shape) -> Op:
    """Dense, convolution or flattening with 8-bit weights, that fits `shape`."""
    weights = st.sampled_from(MIXED) | st.integers(-128, 127)
    out = draw(st.integers(1, 3))
    if len(shape) == 1:
        return Dense(draw(hnp.arrays(np.int64, (out, shape[0]), elements=weights, fill=st.nothing())))
    if draw(st.integers(0, 3)) == 0:
        return Flatten()
    geometries = [(1, 1, 0), (2, 1, 0), (2, 1, 1), (2, 2, 0), (3, 2, 1)]
    kernel, stride, pad = draw(st.sampled_from([g for g in geometries if g[0] <= min(shape[1:]) + 2 * g[2]]))
    groups = draw(st.sampled_from([1, 1, shape[0]]))
    weight = (out * groups, shape[0] // groups, kernel, kernel)
    drawn = draw(hnp.arrays(np.int64, weight, elements=weights, fill=st.nothing()))
    return Conv(drawn, None, (stride, stride), ((pad, pad), (pad, pad)), groups=groups)


@st.composite
def integer_cases(draw: st.DrawFn, /, depth: int = 2, steps: int = 10, read_out: bool = False, **fixed: Any) -> Case:
    """Networks of `Cuba` layers: dense, convolutions, flattening, sum pooling, sums of branches; binary input trains.

    With `read_out` some end in an analog layer, with fractions in its weights or bias.
    """
    shape = input_shape = draw(st.sampled_from([(2,), (3,), (1, 3, 3), (2, 2, 3)]))
    layers: list[Layer] = []
    source = INPUT
    for i in range(draw(st.integers(1, depth))):
        pools = len(shape) == 3 and min(shape[1:]) >= 2 and draw(st.integers(0, 3)) == 0
        op: Op = Pool("sum", (2, 2)) if pools else draw(integer_ops(shape))
        shape = output_shape(op, shape)
        if isinstance(op, Flatten | Pool):  # an analog layer: what it hands on is weighted by the next one
            layers.append(Layer(f"layer{i}.{'sum' if pools else 'flat'}", (Branch(op, source),)))
            source, op = (
                layers[-1].name,
                Scale(float(draw(st.sampled_from(MIXED)))) if pools else draw(integer_ops(shape)),
            )
            shape = output_shape(op, shape)
        branches = [Branch(op, source)]
        if not restricted() and draw(st.integers(0, 3)) == 0:
            branches.append(Branch(Scale(float(draw(st.sampled_from(MIXED)))), source) if isinstance(op, Scale)
                            else Branch(op, source))  # fmt: skip
        layers.append(Layer(f"layer{i}", tuple(branches), draw(integer_acts(Cuba, shape, **fixed))))
        source = layers[-1].name
    if read_out and not restricted() and draw(st.booleans()):
        factor, bias = (draw(st.sampled_from([1.0, 3.0, 0.5])), draw(st.sampled_from([None, 0.75, -1.25])))
        layers.append(Layer("out", (Branch(Scale(factor, bias), source),)))
    T, N = draw(st.integers(1, steps)), draw(st.integers(1, 2))
    x = draw(integers((T, N, *input_shape), 0, 1))
    return Case(Network(input_shape, tuple(layers)), x.astype(float), T, "spikes", kind="integer",
                dtype=draw(st.sampled_from(["float32", "float64"])))  # fmt: skip


@st.composite
def biased_inputs(draw: st.DrawFn, /, steps: int = 10) -> Case:
    """An input layer whose drive is its bias mantissa, with affine map, and a layer on its spikes."""
    n, exponent = draw(st.integers(1, 3)), draw(st.sampled_from([6, 6, 3, 0]))
    scale = Scale(float(draw(st.integers(1, 40))), float(draw(st.integers(-20, 40))))
    act = integer_acts(Cuba, (n,), drive="bias", delay=st.sampled_from([0, 0, 1]), bias=0, recurrent=None,
                       bias_exponent=exponent, overflow="refuse")  # fmt: skip
    op = draw(integer_ops((n,)))
    m = output_shape(op, (n,))
    layers = (
        Layer("input0", (Branch(scale),), draw(act)),
        Layer("dense", (Branch(op, "input0"),), draw(integer_acts(Cuba, m))),
    )
    places = draw(st.integers(0, min(exponent, 3)))  # times a mantissa an integer in Loihi's units of 2^-exponent
    x = draw(integers((draw(st.integers(1, 2)), n), 0, 8)) / 2.0**places
    return Case(Network((n,), layers), x, draw(st.integers(1, steps)), dtype=draw(st.sampled_from(["float32", "float64"])),
                kind="integer")  # fmt: skip


@st.composite
def graded_cases(draw: st.DrawFn, /, steps: int = 8) -> Case:
    """Encoder, sigma-delta layers and decoder on inputs that change; messages are graded."""
    n = draw(st.integers(1, 3))
    shape: Shape = (n,)
    same = {"spike_exponent": draw(st.sampled_from([6, 0, 2])), "state_exponent": draw(st.sampled_from([6, 6, 1]))}
    encoder = draw(integer_acts(SigmaDelta, shape, role="delta", delay=0, bias=0, activation="relu", **same))
    layers = [Layer("encoder", (Branch(Scale(1.0)),), encoder)]
    for i in range(draw(st.integers(1, 2))):
        op = draw(integer_ops(shape))
        shape = output_shape(op, shape)
        layers.append(Layer(f"layer{i}", (Branch(op, layers[-1].name),), draw(integer_acts(SigmaDelta, shape, **same))))
    if draw(st.booleans()):
        op = draw(integer_ops(shape))
        act = draw(integer_acts(SigmaDelta, output_shape(op, shape), role="sigma", bias=0, threshold=0, cum_error=False,
                                activation="relu", **same))  # fmt: skip
        layers.append(Layer("decoder", (Branch(op, layers[-1].name),), act))
    T = draw(st.integers(1, steps))
    x = draw(integers((T, draw(st.integers(1, 2)), n), -20, 20)).astype(float)
    return Case(Network((n,), tuple(layers)), x, T, "spikes", kind="integer")
