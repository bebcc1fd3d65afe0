"""Strategies for Cases: exact dyadic, rough and integer ones."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from ..activation import Neuron
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, output_shape
from ..trace import Case
from .neurons import dyadic, neurons, restricted

MANTISSA = {"float32": 24, "float64": 53}


@st.composite
def ops(draw: st.DrawFn, /, shape: Shape, gates: bool = False) -> Op:
    """An operation with dyadic weights that fits `shape`; often one that keeps the shape, so that sums occur."""
    channels, axes = shape[0], len(shape) - 1
    kinds = (
        ["conv", "conv", "transposed", "sum", "average", "flatten", "scale"] if axes else ["dense", "dense", "scale"]
    )
    kind = draw(st.sampled_from(kinds + ["gate"] * (4 if gates and axes and min(shape[1:]) >= 2 else 0)))
    if kind == "flatten":
        return Flatten()
    if kind == "scale":
        return Scale(draw(dyadic((channels,))), draw(st.none() | dyadic((channels,), -4, 4)))
    if kind == "dense":
        out = draw(st.sampled_from([channels, channels, 1, 2, 3]))
        return Dense(draw(dyadic((out, channels))), draw(st.none() | dyadic((out,), -4, 4)))
    if kind in ("sum", "average", "gate"):
        assume(min(shape[1:]) >= 2)
        stride, pad = draw(st.integers(1, 2)), draw(st.sampled_from([0, 0, 1]))
        return Pool(kind, (2,) * axes, (stride,) * axes, (pad,) * axes, draw(st.booleans()))  # type: ignore[arg-type]
    groups = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
    out = draw(st.sampled_from([channels, groups, 2 * groups]))
    kernel, stride, dilation, pad = (draw(st.sampled_from(k)) for k in ((1, 2), (1, 1, 2), (1, 1, 2), (0, 1)))
    turned = kind == "transposed"
    extra = draw(st.integers(0, stride - 1)) if turned else 0
    weight = (channels, out // groups) if turned else (out, channels // groups)
    bias = draw(st.none() | dyadic((out,), -4, 4))
    reach = dilation * (kernel - 1) + 1
    smallest = (min(shape[1:]) - 1) * stride + reach - pad if turned else min(shape[1:]) + pad - reach + 1
    assume(smallest >= 1)
    return Conv(draw(dyadic((*weight, *(kernel,) * axes))), bias, (stride,) * axes, ((pad, 0),) * axes,
                (dilation,) * axes, groups, turned, (extra,) * axes)  # fmt: skip


@st.composite
def layered(draw: st.DrawFn, /, depth: int, act: st.SearchStrategy[Any], shapes: st.SearchStrategy[Shape]) -> Network:
    """Networks of up to `depth` activated layers, with analog layers, residual sums and a linear read-out."""
    shape = input_shape = draw(shapes)
    known: dict[str, Shape] = {INPUT: input_shape}
    layers: list[Layer] = []
    for i in range(draw(st.integers(1, depth))):
        source = layers[-1].name if layers else INPUT
        # a gate is the maximum of spike trains, and no library's own simulator has one
        gates = bool(layers) and isinstance(layers[-1].act, Neuron) and not restricted()
        op = draw(ops(shape, gates))
        shape = output_shape(op, shape)
        branches = [Branch(op, source)]
        alike = [name for name, s in known.items() if s == shape]
        if len(alike) > 0 and draw(st.booleans()):
            skip = st.sampled_from([1.0, -0.5]) | dyadic(shape[:1], -4, 4)
            branches.append(Branch(Scale(draw(skip)), draw(st.sampled_from(alike))))
        analog = isinstance(op, (Pool, Flatten)) and draw(st.booleans())
        layers.append(Layer(f"layer{i}", tuple(branches), None if analog else draw(act)))
        known[f"layer{i}"] = shape
    if not any(layer.act is not None for layer in layers):
        layers[-1] = replace(layers[-1], act=draw(act))
    if draw(st.booleans()):
        if len(shape) > 1:
            layers.append(Layer("flat", (Branch(Flatten(), layers[-1].name),)))
            shape = (int(np.prod(shape)),)
        layers.append(Layer("out", (Branch(draw(ops(shape)), layers[-1].name),)))
    return Network(input_shape, tuple(layers))


SHAPES: st.SearchStrategy[Shape] = st.sampled_from([(1,), (2,), (3,), (2, 3), (4, 3), (1, 2, 3), (2, 3, 3)])


@st.composite
def exact_cases(draw: st.DrawFn, /, depth: int = 3, steps: int = 8, **fixed: Any) -> Case:
    """Spiking cases whose every intermediate is representable in the dtype of the case."""
    network = draw(layered(depth, neurons(**fixed), SHAPES))
    T, N = draw(st.integers(1, steps)), draw(st.sampled_from([1, 2, 3, 2]))
    encoding = draw(st.sampled_from(["constant", "spikes"]))
    lead = (N,) if encoding == "constant" else (T, N)
    x = draw(dyadic((*lead, *network.input_shape), *((-4, 12) if encoding == "constant" else (0, 8))))
    return exact(Case(network, x, T, encoding))  # type: ignore[arg-type]


@st.composite
def wide_cases(draw: st.DrawFn) -> Case:
    """A convolution, perhaps pooled, and a layer behind it, of more channels than a vector has lanes: what kernels pad.

    The last weights lie on a coarse or fine grid, and are small or large on it, or all add to what 16 bits hold once.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, width, dense = draw(st.sampled_from([3, 17, 33])), draw(st.sampled_from([32, 5])), draw(st.booleans())
    pool = draw(st.sampled_from([None, Pool("average", (2, 2)), Pool("sum", (2, 2)),
                                 Pool("average", (2, 2), padding=(1, 1), count_include_pad=False)]))  # fmt: skip
    side = 4 if pool is None else 3 if any(pool.padding) else 2
    least, size = draw(st.sampled_from([(-4096, 4096), (-16, 16), (64, 64)]))
    shape = (width, channels * side**2) if dense else (width, channels, 2, 2)
    weight = rng.integers(least, 2 * size, shape) / 2 ** draw(st.sampled_from([2, 6, 9]))
    theta = draw(st.sampled_from([0.5, 8.0, 64.0]))
    layers = [Layer("first", (Branch(Conv(rng.integers(-4, 8, (channels, 1, 2, 2)) / 4)),), Neuron(amplitude=0.5))]
    middle: list[tuple[str, Op]] = [] if pool is None else [("pool", pool)]
    for name, op in [*middle, *([("flat", Flatten())] if dense else [])]:
        layers.append(Layer(name, (Branch(op, layers[-1].name),)))
    layers.append(
        Layer("last", (Branch(Dense(weight) if dense else Conv(weight), layers[-1].name),), Neuron(theta=theta))
    )
    x = rng.integers(0, 9, (2, 1, 5, 5)) / 8
    return exact(Case(Network((1, 5, 5), tuple(layers)), x, draw(st.integers(1, 6))))


@st.composite
def units(draw: st.DrawFn, /, steps: int = 16, inputs: tuple[int, int] = (-8, 16), **fixed: Any) -> Case:
    """One layer of identical neurons that sees its constant input as it is: the setting of the closed forms.

    The single layer is ``Scale(1)`` on N samples of one unit, so a sample is a neuron with its own input.
    """
    network = Network((1,), (Layer("unit", (Branch(Scale(1.0)),), draw(neurons(**fixed))),))
    x = draw(dyadic((draw(st.integers(1, 4)), 1), *inputs))
    return exact(Case(network, x, draw(st.integers(1, steps))))


def exact(case: Case) -> Case:
    """Give the case the smallest dtype in which it is exact; a case that fits none is not drawn."""
    bits = exact_bits(case)
    fitting = [name for name, mantissa in MANTISSA.items() if bits <= mantissa]
    assume(fitting)
    return replace(case, dtype=fitting[0], kind="exact")  # type: ignore[arg-type]


def exact_bits(case: Case) -> int:
    """Bits that the widest intermediate needs: ``log2(greatest magnitude 2^m)``, m the grid's exponent.

    For IF this is ``2^m (|v_init| + T (sum |w| + |b|)) < 2^24``; a leak k / 2^j adds j places a step, a synaptic decay
    likewise. Spikes put a layer back on the grid of its amplitude, so depth is free between spiking layers.
    """
    values = {INPUT: (_places(case.x), float(np.abs(case.x).max(initial=0)))}
    worst = 0
    for layer in case.network.layers:
        places, size = 0, 0.0
        for b in layer.branches:
            p, s = _through(b.op, *values[b.source])
            places, size = max(places, p), size + s
        if isinstance(layer.act, Neuron):
            a = layer.act
            per_step = sum(_places(k) for k in (a.leak, a.syn_decay or 1.0) if k != 1)
            if a.input_scaled:
                places += _places(1 - a.leak)
            places = max(places, *(_places(k) for k in (a.theta, a.v_init, a.v_reset, a.v_floor or 0.0, a.v_rest)))
            places += per_step * case.steps  # potentials of every origin are multiplied by the leak
            gain = 1.0 if a.syn_decay is None else 1 / (1 - a.syn_decay)
            charge = float(np.abs(a.v_init).max()) + case.steps * (size * gain + abs(a.v_rest)) + abs(a.v_reset)
            spikes = a.max_spikes or charge / float(np.min(a.theta)) + 1
            size = charge + spikes * float(np.max(a.theta)) * (1 + a.reset_delay)
            worst = max(worst, _bits(places, size))
            values[layer.name] = _places(a.amplitude), spikes * float(np.max(a.amplitude))
        else:
            worst = max(worst, _bits(places, size * case.steps))
            values[layer.name] = places, size
    return worst


def _through(op: Op, places: int, size: float) -> tuple[int, float]:
    """Grid and greatest magnitude after an operation; every partial sum keeps both."""
    if isinstance(op, Flatten):
        return places, size
    if isinstance(op, Pool):
        entries = int(np.prod(op.kernel))
        if op.kind == "gate":  # a difference of running maxima: what it hands on is at most what one unit does
            return places, size
        return (places + entries.bit_length() - 1, size) if op.kind == "average" else (places, size * entries)
    weight = np.asarray(op.factor if isinstance(op, Scale) else op.weight)
    if isinstance(op, Scale):
        fan_in = np.abs(weight).max()
    else:
        rows = weight.reshape(1 if isinstance(op, Conv) and op.transposed else len(weight), -1)
        fan_in = np.abs(rows).sum(1).max()
    bias = np.zeros(1) if op.bias is None else np.asarray(op.bias)
    return max(places + _places(weight), _places(bias)), float(size * fan_in + np.abs(bias).max())


def _places(values: Any) -> int:
    """Smallest m with all values multiples of ``2^-m``."""
    scaled = [Fraction(float(v)).denominator.bit_length() - 1 for v in np.unique(np.asarray(values, float))]
    return max(scaled, default=0)


def _bits(places: int, size: float) -> int:
    return places + int(np.ceil(np.log2(size + 1)))


@st.composite
def rough_cases(draw: st.DrawFn, /, **fixed: Any) -> Case:
    """Ordinary floats: Gaussian weights in float32, soft or hard reset, no other axis."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [draw(st.integers(2, 6)) for _ in range(3)]
    layers, source = [], INPUT
    for i, (n, m) in enumerate(pairwise(sizes)):
        plain = {"theta": 1.0, "amplitude": 1.0, "v_init": 0.5, "leak": 1.0, "syn_decay": None, "v_floor": None,
                 "max_spikes": 1, "v_reset": 0.0, "v_rest": 0.0, "reset_delay": 0, "delay": 0}  # fmt: skip
        act = draw(neurons(**(plain | fixed)))
        layers.append(
            Layer(f"layer{i}", (Branch(Dense(rng.normal(0, 1, (m, n)), rng.normal(0, 0.1, m)), source),), act)
        )
        source = layers[-1].name
    x = rng.uniform(0, 1, (draw(st.integers(1, 4)), sizes[0]))
    return Case(Network((sizes[0],), tuple(layers)), x, draw(st.integers(1, 32)), dtype="float32")
