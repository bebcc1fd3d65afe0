"""Blocks of Loihi drawn over their legal range, and by hand: quantisation in Fractions, then the exact reference.

Nothing here comes from `snnverify.loihi`, which is under test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .. import reference
from ..activation import Cuba, Neuron
from ..content import Array, Content
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape
from ..strategies import dyadic
from ..trace import Case, Trace

SCALES = st.sampled_from([64, 64, 64, 1, 2, 16, 32, 128, 256])  # powers of two: the libraries' float32 is exact there
NEVER = (1 << 18) - 1  # a threshold that 24 bits do not reach


@dataclass(frozen=True, eq=False)
class Weights(Content):
    """Weights and the number of mantissas to 1.0."""

    w: Array
    scale: int


@dataclass(frozen=True, eq=False)
class Block(Content):
    """One block, its parameters as floats, its weight (None for pooling) and its input [T, N, *shape]."""

    kind: str
    params: dict[str, Any]
    weight: Array | None
    x: Array


def ordinary(draw: st.DrawFn, shape: Shape, scale: int) -> Array:
    """Weights as training leaves them, in float32: near the grid, on it, between two points of it, and beyond its ends."""
    steps = st.integers(-300, 300).map(lambda k: k / scale)  # odd k lie half way between two points
    close = st.floats(-5.0, 5.0, width=32).map(lambda w: w * 64 / scale)
    return (
        draw(hnp.arrays(np.float64, shape, elements=steps | close, fill=st.nothing())).astype(np.float32).astype(float)
    )


@st.composite
def weights(draw: st.DrawFn, /, scales: st.SearchStrategy[int] = SCALES) -> Weights:
    """Weights for a quantiser."""
    scale = draw(scales)
    return Weights(ordinary(draw, (12,), scale), scale)


def trains(shape: Shape) -> st.SearchStrategy[Array]:
    """Binary spike trains."""
    return hnp.arrays(np.uint8, shape, elements=st.integers(0, 1), fill=st.nothing()).map(lambda x: x.astype(float))


def pairs(*values: int) -> st.SearchStrategy[int | tuple[int, int]]:
    """One of the values for both axes, or one for each."""
    one = st.sampled_from(values)
    return one | st.tuples(one, one)


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    """What holds along y, and along x."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


DECAYS = st.sampled_from(
    [0.0, 1.0, 0.25, 0.5 / 4096, 1.5 / 4096, 1 / 4096, 4095 / 4096, 4095.5 / 4096, 0.1]
) | st.floats(0, 1)


@st.composite
def blocks(draw: st.DrawFn, /, kinds: tuple[str, ...] = ("dense", "conv", "pool"), **fixed: Any) -> Block:
    """A spiking block with off-grid parameters; keywords fix parameters. An affine one sees whole numbers, up to what 24 bits hold."""
    kind, scale = draw(st.sampled_from(kinds)), draw(SCALES)
    steps = st.integers(0, 200).map(lambda k: k / scale)
    params: dict[str, Any] = {
        "threshold": draw(steps | st.floats(0, 4).map(lambda v: v * 64 / scale)),
        "current_decay": draw(DECAYS), "voltage_decay": draw(DECAYS), "scale": scale,
        "delay_shift": draw(st.booleans()),
    } | fixed  # fmt: skip
    T, N = draw(st.integers(1, 6)), draw(st.integers(1, 2))
    if kind in ("dense", "affine"):
        n, m = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        x = draw(trains((T, N, n)))
        if kind == "affine":  # without decays the potential is a sum over T (T + 1) / 2 steps of n inputs
            x = x * draw(st.sampled_from([1, (1 << 23) // (64 * 256 * n * T * (T + 1) // 2)]))
        return Block(kind, params, ordinary(draw, (m, n), scale), x)
    if kind == "pool":
        kernel = draw(pairs(1, 2, 3))
        shape = (draw(st.integers(1, 3)), *(k * draw(st.integers(1, 2)) for k in both(kernel)))
        return Block(kind, params | {"kernel": kernel, "stride": kernel}, None, draw(trains((T, N, *shape))))
    groups = draw(st.sampled_from([1, 1, 2]))
    a, b = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    geometry = {
        "stride": draw(pairs(1, 2)),
        "padding": draw(pairs(0, 1)),
        "dilation": draw(pairs(1, 2)),
        "groups": groups,
    }
    kernel = draw(st.integers(1, 2))
    shape = (a, draw(st.integers(3, 4)), draw(st.integers(3, 5)))
    weight = ordinary(draw, (b, a // groups, kernel, draw(st.integers(1, 2))), scale)
    return Block(kind, params | geometry, weight, draw(trains((T, N, *shape))))


def nearest_even(weight: float, scale: int) -> int:
    """Mantissa of a weight: twice the integer nearest to ``weight scale / 2``, ties to even, within 8 bits."""
    return 2 * max(-128, min(127, round(Fraction(weight) * scale / 2)))  # round() of a Fraction goes to even


def nearest_decay(decay: float) -> int:
    """12-bit decay: the integer nearest to the float32 of ``4096 decay``, ties to even."""
    return round(Fraction(float(np.float32(4096 * decay))))


def cut_threshold(threshold: float, scale: int) -> int:
    """Threshold mantissa: the whole mantissas in it."""
    return math.floor(Fraction(threshold) * scale)


def mapped(f: Callable[..., Any], values: Any, *rest: Any) -> Array:
    """Apply a scalar function to every entry."""
    a = np.asarray(values)
    return np.array([f(v, *rest) for v in a.ravel().tolist()]).reshape(a.shape)


def by_hand(d: Block) -> tuple[Network, Cuba]:
    """The block as a network of integers whose input acts in its own step, and its neuron."""
    p, shape = d.params, d.x.shape[2:]
    act = Cuba(cut_threshold(p["threshold"], p["scale"]), nearest_decay(p["current_decay"]), nearest_decay(p["voltage_decay"]),
               delay=0)  # fmt: skip
    if d.kind == "pool":
        window = Pool("sum", both(p["kernel"]), both(p["stride"]), both(p.get("padding", 0)))
        layers: tuple[Layer, ...] = (
            Layer("sum", (Branch(window),)),
            Layer("y", (Branch(Scale(float(nearest_even(1.0, p["scale"]))), "sum"),), act),
        )
    else:
        assert d.weight is not None
        w = mapped(nearest_even, d.weight, p["scale"]).astype(float)
        pads = tuple((n, n) for n in both(p.get("padding", 0)))
        op: Op = Dense(w) if w.ndim == 2 else Conv(w, None, both(p["stride"]), pads, both(p["dilation"]), p["groups"])
        layers = (Layer("y", (Branch(op),), act),)
    return Network(tuple(shape), layers), act


def expected(d: Block) -> tuple[Array, Array, Array]:
    """Spikes before any shift, current and potential before the reset, [T, N, *out], by the reference."""
    network, act = by_hand(d)

    def exact(act: Cuba) -> Trace:
        again = replace(network, layers=(*network.layers[:-1], replace(network.output, act=act)))
        return reference.run(Case(again, d.x, len(d.x), "spikes", kind="integer"))

    # with voltage decay 4096 the potential is the current
    return (
        exact(act).spikes["y"],
        exact(replace(act, threshold=NEVER, voltage_decay=4096)).v["y"],
        exact(act).v_peak["y"],
    )


@dataclass(frozen=True, eq=False)
class Chained(Content):
    """A network of IF or LIF neurons on the grid of `scale`, spikes for it [T, N, *shape], and the delay of its blocks."""

    network: Network
    x: Array
    scale: int
    delay: int = 0


DELAYS = st.sampled_from([0, 0, 1, 2])


def pooled(draw: st.DrawFn, window: Pool, source: str, channels: int, act: Neuron) -> tuple[Layer, ...]:
    """Pooling with neurons in its own layer, or in one behind it that multiplies, as `convert` with pool_neurons makes it.

    The threshold is multiplied too, which is exact for dyadic ones: the neurons fire as without the factor.
    """
    factors = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0])
    factor: Any = draw(st.none() | factors | st.lists(factors, min_size=channels, max_size=channels).map(np.array))
    if factor is None:
        return (Layer("pool", (Branch(window, source),), act),)
    scaled = replace(act, theta=act.theta * factor)
    return Layer("window", (Branch(window, source),)), Layer("pool", (Branch(Scale(factor), "window"),), scaled)


@st.composite
def pools(draw: st.DrawFn) -> Chained:
    """Spikes into one pooling, whose windows may overlap and reach over the edge, at any scale.

    A potential is a multiple of 128 as below, and with a threshold of halves (an even weight times it is whole) a leak
    of 1/2 is exact.
    """
    kernel, stride = (draw(st.tuples(st.integers(1, 3), st.integers(1, n))) for n in (3, 2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    sides = [draw(st.integers(1, 2)) * s + k - 2 * p for k, s, p in zip(kernel, stride, padding, strict=True)]
    leak, channels = draw(st.sampled_from([1.0, 0.5])), draw(st.integers(1, 2))
    theta = draw(st.integers(1, 200)) / 64 if leak == 1 else draw(st.integers(1, 4)) / 2
    window = Pool(draw(st.sampled_from(["average", "sum"])), kernel, stride, padding)
    act = Neuron(theta=theta, fires=draw(st.sampled_from([">=", ">"])), reset="value", leak=leak)
    network = Network((channels, *sides), pooled(draw, window, INPUT, channels, act))
    x = draw(trains((draw(st.integers(1, 7)), 1, channels, *sides)))
    return Chained(network, x, draw(st.integers(1, 300)), draw(DELAYS))


@st.composite
def sequential(draw: st.DrawFn, /, pooling: bool) -> Chained:
    """Conv, pooling, Flatten, Dense, each with IF or LIF neurons, on which Loihi's arithmetic and exact arithmetic agree.

    A potential begins as a multiple of 128 (an even mantissa times 64), so a leak of 1/2 is exact for 7 steps. An IF
    neuron's is a multiple of 128 always, and a threshold between two mantissas says the same as the lower one.
    """
    scale = draw(st.sampled_from([64, 64, 32, 16]))

    def grid(*shape: int) -> Array:
        return draw(hnp.arrays(np.int16, shape, elements=st.integers(-100, 100), fill=st.nothing())) * (2.0 / scale)

    def act(exact: bool = False) -> Neuron:
        leak, steps = draw(st.sampled_from([1.0, 0.5])), st.integers(1, 200).map(lambda k: k / scale)
        theta = draw(steps if exact or leak != 1 else steps | st.floats(1 / 16, 4))
        return Neuron(theta=theta, fires=draw(st.sampled_from([">=", ">"])), reset="value", leak=leak)

    c, side = draw(st.integers(1, 2)), draw(st.sampled_from([2, 4]))
    out = draw(st.integers(1, 2))
    layers = [Layer("conv", (Branch(Conv(grid(out, c, 3, 3), padding=((1, 1), (1, 1)))),), act())]
    if pooling:
        kernel = draw(st.sampled_from([(2, 2), (2, 1), (1, 2)] + [(4, 4)] * (side == 4)))
        window = Pool(draw(st.sampled_from(["average", "sum"])), kernel)
        layers += pooled(draw, window, "conv", out, act(exact=True))
        shape = (out, side // kernel[0], side // kernel[1])
    else:
        shape = (out, side, side)
    layers.append(Layer("flat", (Branch(Flatten(), layers[-1].name),)))
    layers.append(Layer("fc", (Branch(Dense(grid(2, math.prod(shape))), "flat"),), act()))
    x = draw(trains((draw(st.integers(1, 7)), draw(st.integers(1, 2)), c, side, side)))
    return Chained(Network((c, side, side), tuple(layers)), x, scale, draw(DELAYS))


def strict(network: Network) -> Network:
    """The same network, every neuron firing at > alone, as Loihi does."""
    return replace(network, layers=tuple(
        replace(v, act=replace(v.act, fires=">")) if isinstance(v.act, Neuron) else v for v in network.layers
    ))  # fmt: skip


def single(act: Neuron, bias: Array | None = None) -> Network:
    """One dense layer."""
    return Network((2,), (Layer("y", (Branch(Dense(np.array([[0.5, 0.25]]), bias), INPUT),), act),))


NEURONS = st.builds(
    Neuron, theta=st.integers(1, 600).map(lambda k: k / 64) | st.floats(1 / 64, 9), reset=st.just("value"),
    leak=st.sampled_from([1.0, 0.5, 0.75, 0.9, 1 - 1 / 3, 0.0]), fires=st.sampled_from([">=", ">"]),
)  # fmt: skip
# What a block cannot hold: field, an example of it, and the words for it that count as its name.
FOREIGN: dict[str, tuple[Neuron, tuple[str, ...]]] = {
    "v_reset": (Neuron(reset="value", v_reset=0.5), ("v_reset",)),
    "reset": (Neuron(reset="subtract"), ("reset",)),
    "input_scaled": (Neuron(reset="value", leak=0.5, input_scaled=True), ("input_scaled", "decay_input")),
    "v_init": (Neuron(reset="value", v_init=0.5), ("v_init",)),
    "amplitude": (Neuron(reset="value", amplitude=2.0), ("amplitude",)),
    "reset_delay": (Neuron(reset="value", reset_delay=1), ("reset_delay",)),
    "max_spikes": (Neuron(reset="value", max_spikes=2), ("max_spikes",)),
    "v_floor": (Neuron(reset="value", v_floor=0.0), ("v_floor",)),
    "v_rest": (Neuron(reset="value", leak=0.5, v_rest=0.25), ("v_rest",)),
    "delay": (Neuron(reset="value", delay=1), ("delay",)),
    "order": (Neuron(reset="value", leak=0.5, order="integrate-leak"), ("order", "leak")),
    "syn_order": (Neuron(reset="value", syn_decay=0.5, syn_order="add-decay"), ("syn_order", "syn_decay")),
}

PLAIN = Neuron(reset="value")
PAD = Pool("average", (2, 2), padding=(1, 1), count_include_pad=False)
BRANCHED = Network(
    (2,), tuple(Layer(n, (Branch(Dense(np.eye(2)), s),), PLAIN) for n, s in (("a", "input"), ("b", "input")))
)
HELD_NOT: dict[str, tuple[Network, tuple[str, ...]]] = {
    "bias": (single(PLAIN, np.array([0.5])), ("bias",)),
    "no neuron before the last layer": (Network((2,), (Layer("a", (Branch(Dense(np.eye(2))),)), *(
        Layer("b", (Branch(Dense(np.eye(2)), "a"),), PLAIN),))), ("neuron", "Linear", "a")),
    "edge of average pooling": (Network((1, 2, 2), (Layer("p", (Branch(PAD),), PLAIN),)), ("count_include_pad",)),
    "max pooling": (Network((1, 2, 2), (Layer("p", (Branch(Pool("max", (2, 2))),), PLAIN),)), ("max",)),
    "no chain": (BRANCHED, ("chain", "b")),
}  # fmt: skip


OPS = st.sampled_from(["dense", "conv", "pool"])


@st.composite
def synapses(draw: st.DrawFn) -> Chained:
    """One operation with dyadic weights, and analog inputs for it."""
    kind = draw(OPS)
    shape: tuple[int, ...] = (3,) if kind == "dense" else (2, 4, 4)
    stride, pad = (draw(st.integers(1, 2)),) * 2, draw(st.integers(0, 1))
    op: Any = (Dense(draw(dyadic((2, 3)))) if kind == "dense" else Pool("average", (2, 2), (2, 2)) if kind == "pool"
               else Conv(draw(dyadic((2, 2, 2, 3))), None, stride, ((pad, pad),) * 2))  # fmt: skip
    return Chained(Network(shape, (Layer("y", (Branch(op),)),)), draw(dyadic((2, 2, *shape), -16, 16)), 64)


MODES = ("mixed", "excitatory", "inhibitory")
SYNAPSES = st.tuples(
    hnp.arrays(np.int16, (8,), elements=st.integers(-400, 400) | st.integers(-8, 8) | st.integers(-16, 16).map(lambda k: 16 * k),
               fill=st.nothing()), st.integers(1, 8), st.sampled_from(MODES))  # fmt: skip


def kept_by_hand(w: int, bits: int, mode: str) -> int:
    """One weight as the synapse has it, in plain integers."""
    step = 1 << (8 - bits + (mode == "mixed"))
    if mode == "inhibitory":
        return -(max(0, min(255, -w)) // step * step)
    return max(-256 if mode == "mixed" else 0, min(255, w)) // step * step


SMALL, EVEN, ODD = (
    hnp.arrays(np.int64, (6,), elements=st.integers(-n, n - 1), fill=st.nothing()) for n in (2, 128, 127)
)
MATRICES = st.tuples(
    st.sampled_from(["mixed", "positive", "negative", "zero"]), SMALL | EVEN.map(lambda w: 2 * w) | ODD
)  # signs, and weights that 8 bits hold
