"""Weights and activations on a grid of few levels, gradients straight through it, and spiking nets that torch trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .. import reference
from ..content import Array, Content
from ..findings import Measure
from ..network import Branch, Conv, Dense, Layer, Network, Op, Relu
from ..oracles import Oracle
from ..quantise import Grid, quantise_weight
from ..strategies import Conversion, convnets, dyadic
from ..trace import Case
from . import check
from .common import differences

MOST = {"int8": 127, "int4": 7, "binary": 1}
WHOLE = tuple(p for p in MOST if p != "binary")
SLACK = 2.0**-45  # quotient and product of at most 127 steps are off by 127 x 2^-53 steps each


@dataclass(frozen=True, eq=False)
class Drawn(Content):
    """Weights [C, K], a dyadic scale for every channel [C] (which is that of the channel's maximum), and the grid."""

    w: Array
    scale: Array
    precision: str
    per_channel: bool = True
    power_of_two: bool = False

    @property
    def options(self) -> tuple[str, bool, bool]:
        """Arguments of ``grid_scale`` after the weights."""
        return self.precision, self.per_channel, self.power_of_two


@st.composite
def dyadics(draw: st.DrawFn, precisions: tuple[str, ...] = tuple(MOST), beyond: int = 0) -> Drawn:
    """Weights of whole and half steps, so that ties are common; with `beyond` some lie as many steps outside the range."""
    precision = draw(st.sampled_from(precisions))
    most, (c, k) = MOST[precision], (draw(st.integers(1, 3)), draw(st.integers(1, 6)))
    whole = st.integers(-2 * (most + beyond), 2 * (most + beyond))
    halves = draw(hnp.arrays(np.int16, (c, k + 1), elements=whole, fill=st.nothing()))
    halves[:, 0] = draw(st.sampled_from([2 * most, -2 * most])) if not beyond else halves[:, 0]
    scale = 2.0 ** draw(hnp.arrays(np.int8, (c,), elements=st.integers(-12, 6), fill=st.nothing())).astype(float)
    return Drawn(halves / 2 * scale[:, None], scale, precision, draw(st.booleans()), draw(st.booleans()))


@st.composite
def roughs(draw: st.DrawFn, precisions: tuple[str, ...] = tuple(MOST)) -> Drawn:
    """Weights that are any float32, channels of very different sizes, rows of zeros among them."""
    c, k = draw(st.integers(1, 3)), draw(st.integers(1, 8))
    w = draw(hnp.arrays(np.float32, (c, k), elements=st.floats(-4, 4, width=32), fill=st.nothing())).astype(float)
    size = draw(hnp.arrays(np.int8, (c,), elements=st.sampled_from([-30, -3, 0, 2]), fill=st.nothing())).astype(float)
    w = w * 2.0 ** size[:, None] * (np.arange(c) != draw(st.integers(-1, 2)))[:, None]
    return Drawn(w, np.ones(c), draw(st.sampled_from(precisions)), draw(st.booleans()), draw(st.booleans()))


def _groups(d: Drawn) -> list[list[Fraction]]:
    rows = [[Fraction(float(v)) for v in row] for row in d.w]
    return rows if d.per_channel else [[v for row in rows for v in row]]


def _power(least: Fraction) -> Fraction:
    """Least power of two that is at least a number above 0, by doubling and halving."""
    p = Fraction(1)
    while p < least:
        p *= 2
    while p / 2 >= least:
        p /= 2
    return p


def _scale(group: list[Fraction], precision: str, power_of_two: bool) -> Fraction:
    """The definition, in fractions."""
    if precision != "binary":
        least = max(map(abs, group)) / MOST[precision]
        return Fraction(1) if least == 0 else _power(least) if power_of_two else least
    mean = sum(map(abs, group), Fraction(0)) / len(group)
    if not power_of_two or mean == 0:
        return mean
    above = _power(mean)
    return above if above - mean < mean - above / 2 else above / 2


def _integer(w: Fraction, s: Fraction, precision: str) -> int:
    if precision == "binary":
        return -1 if w < 0 else 1
    return min(max(round(w / s), -MOST[precision]), MOST[precision])  # Python rounds ties of fractions to even


def _placed(subject: Oracle, d: Drawn) -> tuple[Array, Array, Array]:
    """Scale [C], integers and values [C, K] of the subject."""
    scale = np.asarray(subject.operator("grid_scale")(d.w, *d.options))
    q, y = subject.operator("grid_weight")(d.w, scale, d.precision)
    return scale, np.asarray(q), np.asarray(y)


@check("operators", dyadics())
def scale(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """A group's scale is max |w| / Q, of binary weights mean |w|; with power_of_two the next at or above, of binary weights the nearest, ties down [Krishnamoorthi 2018, section 2.2; Rastegari et al. 2016, eq. 6]."""
    found = np.asarray(subject.operator("grid_scale")(d.w, *d.options))
    exact = np.array([float(_scale(g, d.precision, d.power_of_two)) for g in _groups(d)])
    # a mean of dyadic numbers is a quotient, rounded once; everything else is exact
    yield Measure("scales differ", differences(np.broadcast_to(exact, len(d.w)), found), where=d.precision)


@check("operators", dyadics(beyond=3))
def nearest(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """At a given scale q = clip(round(w / s), -Q, Q), ties to even; the binary q is the sign, that of 0 being 1; values are s q, bit for bit [definition; ONNX QuantizeLinear; Courbariaux et al. 2015, eq. 1]."""
    q, y = map(np.asarray, subject.operator("grid_weight")(d.w, d.scale, d.precision))
    exact = np.array([[_integer(Fraction(float(v)), Fraction(float(s)), d.precision) for v in row]
                      for row, s in zip(d.w, d.scale, strict=True)])  # fmt: skip
    yield Measure("integers differ", differences(exact, q), where=d.precision)
    yield Measure("values differ", differences(exact * d.scale[:, None], y), where=d.precision)


@check("operators", roughs())
def levels(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """A scale group has at most 2^b - 1 distinct values (binary: 2), integers from -Q to Q [symmetric grid: Krishnamoorthi 2018, section 2.2]."""
    _, q, y = _placed(subject, d)
    most = MOST[d.precision]
    yield Measure("beyond the range", float(np.abs(q.astype(int)).max()), float(most), where=d.precision)
    for row in y if d.per_channel else [y]:
        yield Measure(
            "levels", float(len(np.unique(row))), float(max(2, 2 * most + 1 if most > 1 else 2)), where=d.precision
        )


@check("operators", roughs())
def idempotent(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """What lies on the grid is placed at the same integers again; where scales are powers of two, and on binary weights of such, bit for bit [definition: the largest |q| of a group is Q, or above Q / 2]."""
    _, q, y = _placed(subject, d)
    _, again, y2 = _placed(subject, replace(d, w=y))
    apart = (
        differences(q, again) if d.precision != "binary" or np.all(y != 0) else 0.0
    )  # binary zeros have no sign to keep
    yield Measure("integers differ", apart, where=d.precision)
    if d.power_of_two:
        yield Measure("values differ", differences(y, y2), where=d.precision)


@check("operators", roughs(WHOLE))
def half_step(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """No weight moves by more than half a step: the scale covers the greatest [uniform quantiser; limit: rounding of float64]."""
    s, _, y = _placed(subject, d)
    moved = max(abs(Fraction(float(v)) - Fraction(float(a))) / Fraction(float(k))
                for row, out, k in zip(d.w, y, s, strict=True) for v, a in zip(row, out, strict=True))  # fmt: skip
    yield Measure("moved, in steps", float(moved), 0.5 + SLACK, where=d.precision)


@check("operators", roughs())
def symmetric(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """0 becomes 0 (binary: s), and weights with all signs changed become the values with all signs changed [the grid is symmetric]."""
    s, _, y = _placed(subject, d)
    _, _, turned = _placed(subject, replace(d, w=-d.w))
    zero = d.w == 0
    at_zero = np.broadcast_to(s[:, None], y.shape)[zero] if d.precision == "binary" else np.zeros(int(zero.sum()))
    yield Measure("zeros moved", differences(at_zero, y[zero]) if zero.any() else 0.0, where=d.precision)
    yield Measure("not mirrored", differences(-y[~zero], turned[~zero]) if not zero.all() else 0.0, where=d.precision)


@check("operators", roughs())
def powers(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """Power-of-two scales are powers of two, and the integer grid covers the greatest weight with less than twice the range needed [definition]."""
    s = np.asarray(subject.operator("grid_scale")(d.w, d.precision, d.per_channel, True))
    some = s[s > 0]
    yield Measure("no powers of two", float(np.sum(np.frexp(some)[0] != 0.5)), where=d.precision)
    for group, k in zip(_groups(d), s, strict=False):
        reach, top = Fraction(float(k)) * MOST[d.precision], max(map(abs, group))
        if d.precision != "binary" and top:
            yield Measure("range / greatest, inverted", float(top / reach), 1.0, where=d.precision)
            yield Measure("half the range / greatest", float(reach / 2 >= top), where=d.precision)


@check("operators", roughs(WHOLE))
def per_channel(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """A scale per channel bounds no weight's error worse than one for the tensor [max over a channel <= max over all; division rounds monotonically]."""
    own, one = (
        np.asarray(subject.operator("grid_scale")(d.w, d.precision, each, d.power_of_two)) for each in (True, False)
    )
    used = np.abs(d.w).max(1) > 0  # a channel of zeros has scale 1, and no error
    yield Measure("greater bounds", float(np.sum(own[used] > one[used])), where=d.precision)
    greatest = np.abs(d.w).max(1) == np.abs(d.w).max()
    yield Measure("not that of the greatest", differences(own[greatest], one[greatest]), where=d.precision)


@check("operators", dyadics(beyond=3))
def straight_through(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """The gradient goes through rounding: 1 where |w| <= Q s (binary: |w| <= 1), else 0; that of the scale is q - w / s inside, +-Q outside (binary: q) [Bengio et al. 2013; Hubara et al. 2016, eq. 4; Esser et al. 2020, eq. 3]."""
    dw, ds = map(np.asarray, subject.operator("grid_gradient")(d.w, d.scale, d.precision))
    v, most = d.w / d.scale[:, None], MOST[d.precision]
    binary = d.precision == "binary"
    inside = np.abs(d.w) <= 1 if binary else np.abs(v) <= most
    sign = np.where(d.w < 0, -1, 1)
    yield Measure("not the clipped identity", differences(inside.astype(float), dw), where=d.precision)
    yield Measure("no gradient", float(inside.any() and not np.any(dw)), where=d.precision)
    by_hand = (
        sign if binary else np.where(inside, np.rint(v) - v, most * sign)
    )  # np.rint: ties to even, on halves exact
    yield Measure("gradients of scales differ", differences(by_hand.sum(1).astype(float), ds), where=d.precision)


def _channel(op: Op, at: tuple[int, ...]) -> int:
    """Output channel of a weight: axis 0, or in the transposed form axis 1 within the group of its input channel."""
    if not (isinstance(op, Conv) and op.transposed):
        return at[0]
    return at[0] // (len(op.weight) // op.groups) * int(op.weight.shape[1]) + at[1]


@check("operators", st.tuples(convnets(), st.sampled_from(sorted(MOST)), st.booleans()))
def network(drawn: tuple[Conversion, str, bool], subject: Oracle) -> Iterator[Measure]:
    """In a network each output channel has its scale, in grouped and transposed convolutions too; weights are scale x integer and nothing else changes [definition, entry by entry]."""
    conversion, precision, two = drawn
    found = subject.operator("grid_network")(conversion.network, precision, True, two)
    for was, now in zip(conversion.network.layers, found.network.layers, strict=True):
        yield Measure("another activation or source", float(was.act != now.act or [b.source for b in was.branches]
                      != [b.source for b in now.branches]), where=was.name)  # fmt: skip
        for i, (a, b) in enumerate(zip(was.branches, now.branches, strict=True)):
            if not isinstance(a.op, (Dense, Conv)):
                yield Measure("another operation", float(a.op != b.op), where=was.name)
                continue
            w = found.weights[f"{was.name}.{i}"]
            groups: dict[int, list[Fraction]] = {}
            for at in np.ndindex(*a.op.weight.shape):
                groups.setdefault(_channel(a.op, at), []).append(Fraction(float(a.op.weight[at])))
            scales = {c: float(_scale(g, precision, two)) for c, g in groups.items()}
            each = np.array([scales[_channel(a.op, at)] for at in np.ndindex(*a.op.weight.shape)]).reshape(
                a.op.weight.shape
            )
            yield Measure("weights differ", differences(w.integers * each, b.op.weight), where=was.name)
            bits = a.op.weight.size * {"int8": 8, "int4": 4, "binary": 1}[precision]
            yield Measure("bits of memory off", float(abs(w.memory_bits - bits)), where=was.name)
            yield Measure("moved, in steps", float((np.abs(b.op.weight - a.op.weight) / np.where(each == 0, 1, each)).max())
                          if precision != "binary" else 0.0, 0.5 + SLACK, where=was.name)  # fmt: skip
            yield Measure("another bias", differences(np.asarray(a.op.bias), b.op.bias), where=was.name)


MLPS: Any = st.tuples(
    dyadic((4, 3), -16, 16), dyadic((3, 4), -16, 16), dyadic((8, 3), -16, 16), st.sampled_from(sorted(MOST))
)


@check("operators", MLPS)
def trained(drawn: tuple[Array, Array, Array, str], subject: Oracle) -> Iterator[Measure]:
    """Where scales are trained as powers of two, they are still that when training ends, weights are scale x integer of a level, and biases are what they were [definition of the grid; training starts from float32]."""
    first, last, x, precision = drawn
    hidden = Layer("hidden", (Branch(Dense(first, np.full(4, 0.5))),), Relu())
    ann = Network((3,), (hidden, Layer("out", (Branch(Dense(last, np.zeros(3)), "hidden"),))))
    found = subject.operator("grid_trained")(ann, x, np.arange(8) % 3, precision, True)
    for was, now in zip(ann.layers, found.network.layers, strict=True):
        a, b, w = was.branches[0].op, now.branches[0].op, found.weights[f"{was.name}.0"]
        assert isinstance(a, Dense)
        assert isinstance(b, Dense)
        scale = np.asarray(w.scale, float)
        yield Measure("no power of two", float(np.any(np.frexp(scale)[0] != 0.5)), where=was.name)
        yield Measure("weights differ", differences(w.integers * scale.reshape(-1, 1), b.weight), where=was.name)
        yield Measure("beyond the levels", float(np.abs(w.integers).max() > MOST[precision]), where=was.name)
        yield Measure("another bias", differences(np.asarray(a.bias), np.asarray(b.bias)), where=was.name)


@check("operators", dyadics(("int8",), beyond=3))
def as_lava(d: Drawn, subject: Oracle) -> Iterator[Measure]:
    """At scale 2 / 64 the int8 grid is lava's 8-bit one, whose integers are half its mantissas, but for its -128 [lava-dl 0.6.0, slayer/neuron/base.py]."""
    w = d.w / d.scale[:, None] / 32
    y = np.asarray(subject.operator("weights_8bit")(w, 64), float)
    ours = quantise_weight(Dense(w), Grid("int8"), 1 / 32).values
    inside = np.abs(w * 32) < 127.5
    yield Measure("values differ", differences(y[inside], ours[inside]), where="inside")


AFFINE: Any = st.tuples(st.integers(0, 255), st.integers(-10, 4), dyadic((12,), -300, 300, grid=1))


@check("operators", AFFINE)
def activations(drawn: Any, subject: Oracle) -> Iterator[Measure]:
    """Static INT8 activations are s (clip(round(x / s) + z, 0, 255) - z), ties to even, so 0 stays 0 and nothing inside the range moves more than half a step [Jacob et al. 2018, eq. 1]."""
    zero, exponent, steps = drawn
    s = 2.0**exponent
    y = np.asarray(
        subject.operator("activation_values")(np.append(steps, 0.0).astype(np.float32) * np.float32(s), s, zero)
    )
    exact = [(min(max(round(Fraction(float(v))) + zero, 0), 255) - zero) * s for v in np.append(steps, 0.0)]
    yield Measure("values differ", differences(np.array(exact), y.astype(float)))


@check("operators", st.tuples(st.integers(0, 255), st.integers(-10, 4), st.booleans()))
def activation_range(drawn: Any, subject: Oracle) -> Iterator[Measure]:
    """A calibrated range is widened to hold 0 and spans 255 steps: s = (high - low) / 255, z = round(-low / s) [Jacob et al. 2018, section 3]."""
    zero, exponent, above = drawn
    s = 2.0**exponent
    found = subject.operator("activation_grid")(-zero * s, (255 - zero) * s)
    yield Measure("scale and zero point differ", differences(np.array([s, zero]), np.array(found)))
    low, high = (s * 100, s * 255) if above else (-s * 255, -s * 100)  # a range beside 0
    found = subject.operator("activation_grid")(low, high)
    yield Measure("0 is not held", differences(np.array([s, 0 if above else 255]), np.array(found)))


@check("operators", convnets())
def surrogate_forward(drawn: Conversion, subject: Oracle) -> Iterator[Measure]:
    """A net that is trained with a surrogate gradient emits, in torch, the spikes of the exact reference, all of them [definition of Neuron; dyadic weights]."""
    spikes = subject.operator("surrogate_spikes")(drawn.network, drawn.x, drawn.steps)
    twin = subject.operator("spiking_twin")(drawn.network)
    exact = reference.run(Case(twin, drawn.x, drawn.steps, "constant", dtype="float64"))
    for name, s in exact.spikes.items():
        yield Measure("spikes differ", differences(s.astype(float), spikes[name]), where=name)


@check("operators", dyadic((9,), -16, 16))
def fast_sigmoid(v: Array, subject: Oracle) -> Iterator[Measure]:
    """The surrogate of a spike is 1 / (1 + k |v - theta|)^2: 1 at the threshold, 0 nowhere [Zenke & Ganguli 2018; limit: four roundings]."""
    for slope in (1.0, 5.0):
        g = np.asarray(subject.operator("surrogate_gradient")(v, slope))
        exact = [1 / (1 + Fraction(slope) * abs(Fraction(float(x)))) ** 2 for x in v]
        off = max(abs(Fraction(float(a)) / e - 1) for a, e in zip(g, exact, strict=True))
        yield Measure("relative error", float(off), 6 * 2.0**-53, where=f"slope {slope:g}")
