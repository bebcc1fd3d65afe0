"""Laws that any converter can be asked, ours or a library's, in the words that all of them know: mode, steps, inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Neuron, Relu
from ..content import Array, Content
from ..errors import Unsupported
from ..findings import Measure
from ..network import Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from ..oracles import Oracle
from ..strategies import dyadic
from ..trace import Case, compare
from . import check
from .common import differences

MODES = ("max", "99.9%", "1/2", "1/3", "1/4", "1/5")
UNIT = 2.0**-24  # libraries calibrate and run in float32


@dataclass(frozen=True, eq=False)
class Trained(Content):
    """An ANN of which every layer is alive, its calibration set, a mode and a number of steps."""

    network: Network
    x: Array
    mode: str
    steps: int


@st.composite
def trained(
    draw: st.DrawFn, /, modes: tuple[str, ...] = MODES, kinds: tuple[str, ...] = ("mlp", "cnn", "skip")
) -> Trained:
    """Small networks of the kinds that every converter knows: linear, convolution with average pooling, additive skip."""
    kind = draw(st.sampled_from(kinds))
    n, relu = draw(st.integers(2, 12)), Relu()

    def w(*shape: int) -> Array:
        return np.asarray(draw(dyadic(shape)))

    layers: tuple[Layer, ...]
    if kind == "cnn":
        layers = (
            Layer("conv", (Branch(Conv(w(2, 1, 3, 3), np.full(2, 0.5), padding=((1, 1), (1, 1)))),), relu),
            Layer("pool", (Branch(Pool("average", (2, 2)), "conv"),)),
            Layer("flat", (Branch(Flatten(), "pool"),)),
            Layer("fc", (Branch(Dense(w(3, 8)), "flat"),)),
        )  # fmt: skip
        network = Network((1, 4, 4), layers)
    else:
        middle = [Branch(Dense(w(3, 3), np.full(3, 0.25)), "a")]
        if kind == "skip":
            middle.append(Branch(Scale(1.0), "a"))
        layers = (
            Layer("a", (Branch(Dense(w(3, 4), np.full(3, 0.5))),), relu),
            Layer("b", tuple(middle), relu),
            Layer("fc", (Branch(Dense(w(2, 3)), "b"),)),
        )  # fmt: skip
        network = Network((4,), layers)
    x = draw(dyadic((n, *network.input_shape), 0, 8))
    return Trained(_alive(network, x), x, draw(st.sampled_from(modes)), draw(st.integers(1, 32)))


def _alive(network: Network, x: Array) -> Network:
    """Raise biases by one until every activated layer has a unit above zero on x: thresholds of silent layers are a matter of taste."""
    for i, layer in enumerate(network.layers):
        while layer.act is not None and reference.forward(network, x)[layer.name].max() <= 0:
            b = layer.branches[0]
            assert isinstance(b.op, Dense | Conv)
            layer = replace(
                layer, branches=(replace(b, op=replace(b.op, bias=np.asarray(b.op.bias) + 1.0)), *layer.branches[1:])
            )
            network = replace(network, layers=(*network.layers[:i], layer, *network.layers[i + 1 :]))
    return network


def _scales(converted: Any) -> dict[str, float]:
    """Activation, in ANN units, that a rate of one spike a step stands for."""
    found = {}
    for layer in converted.snn.layers:
        if isinstance(layer.act, Neuron):
            worth = np.max(np.asarray(layer.act.amplitude) * np.asarray(converted.units[layer.name]))
            found[layer.name] = float(worth)
    return found


@check("converter", trained())
def thresholds(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """A mode is what its name says: the maximum of the activations, NN.N % of their percentile, or a fraction of the maximum [Rueckauer et al. 2017, section 2.2.2; SpikingJelly's ann2snn documentation]."""
    yield from _off(d, _scales(subject.convert(d.network, d.x, mode=d.mode)))
    with suppress(Unsupported):  # not every converter knows percentiles
        yield from _off(TAIL, _scales(subject.convert(TAIL.network, TAIL.x, mode=TAIL.mode)))


def _off(d: Trained, scales: dict[str, float]) -> Iterator[Measure]:
    activations = reference.forward(d.network, d.x)
    for layer in d.network.layers:
        if layer.act is not None:
            expected = _statistic(np.maximum(activations[layer.name], 0).ravel(), d.mode)
            # a float32 activation, its scale and the scale's reciprocal: three roundings; a percentile interpolates: two more
            yield Measure("relative error", abs(scales[layer.name] - expected) / expected, 6 * UNIT, where=layer.name)


# A heavy tail in one sample, where a rank that is rounded moves the percentile: tried every time.
TAIL = Trained(
    Network((1, 20, 50), (
        Layer("tail", (Branch(Conv(np.ones((1, 1, 1, 1)), np.zeros(1))),), Relu()),
        Layer("flat", (Branch(Flatten(), "tail"),)),
        Layer("out", (Branch(Dense(np.full((1, 1000), 0.125), np.zeros(1)), "flat"),)),
    )),
    (np.arange(1, 1001).reshape(1, 1, 20, 50) / 1001) ** -0.5, "99.9%", 1,
)  # fmt: skip


def _statistic(a: Array, mode: str) -> float:
    if mode.endswith("%"):
        rank = Fraction(mode[:-1]) / 100 * (a.size - 1)
        low, high = np.sort(a)[[int(rank), min(int(rank) + 1, a.size - 1)]]
        value = float(low + float(rank - int(rank)) * (high - low))
        return value if value > 0 else float(a.max())
    return float(a.max()) * (1.0 if mode == "max" else float(Fraction(mode)))


@check("converter", trained())
def order_invariance(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """Thresholds hang on the calibration set, not on the order of its samples [a statistic of a set]."""
    one, two = (_scales(subject.convert(d.network, x, mode=d.mode)) for x in (d.x, d.x[::-1]))
    for name, value in one.items():
        yield Measure("relative difference", abs(value - two[name]) / value, 4 * UNIT, where=name)


@check("converter", trained())
def batch_size_invariance(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """Thresholds do not hang on how the calibration set is cut into batches [a statistic of a set]."""
    whole = _scales(subject.convert(d.network, d.x, mode=d.mode, batch_size=len(d.x)))
    cut = _scales(subject.convert(d.network, d.x, mode=d.mode, batch_size=2))
    for name, value in whole.items():
        yield Measure("relative difference", abs(value - cut[name]) / value, 4 * UNIT, where=name)


@check("converter", trained(modes=("max", "1/2")))
def run_is_the_network(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """The converter's own run fires the spikes of the exact reference on the network it made, but where a potential ties within rounding [parity]."""
    converted = subject.convert(d.network, d.x, mode=d.mode)
    case = Case(converted.snn, d.x[:3], d.steps, dtype="float32")
    own, exactly = converted.simulate(case.x, d.steps), reference.run(case)
    parted = compare(case.network, exactly, replace(own, spikes={k: own.spikes[k] for k in exactly.spikes}))
    for p in parted.causal:
        # a potential of at most T + 1 thresholds is rounded in each of its T steps, its input in each of some 2^4 products
        yield Measure("margin", p.margin, 2.0**5 * UNIT * (d.steps + 1) ** 2, where=p.layer, detail=str(p))
    yield Measure("runs compared", 0.0)


@check("converter", trained())
def first_layer_rate(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """At constant input the first layer's mean output lies within one threshold over T of its activation, clipped at the threshold [Bu et al., ICLR 2022]."""
    first = d.network.layers[0].name
    converted = subject.convert(d.network, d.x, mode=d.mode)
    scale = _scales(converted)[first]
    clipped = np.minimum(np.maximum(reference.forward(d.network, d.x)[first], 0), scale)
    mean = converted.simulate(d.x, d.steps).counts[first] * (scale / d.steps)
    # one spike more or less where a potential ties within rounding
    off = np.abs(mean - clipped).max() * d.steps / scale
    yield Measure("spikes off", float(off), 1.0 + 64 * UNIT * d.steps, where=first)


@check("converter", st.integers(1, 1000).map(float))
def saturated_unit(z: float, subject: Oracle) -> Iterator[Measure]:
    """The unit at the maximum of the calibration set fires in every step: floor((v0 + z T) / theta) with theta = z [Bu et al., ICLR 2022]."""
    ann = Network((1,), (Layer("a", (Branch(Dense(np.ones((1, 1)), np.zeros(1))),), Relu()),
                         Layer("fc", (Branch(Dense(np.ones((1, 1)), np.zeros(1)), "a"),))))  # fmt: skip
    for tried in (z, 41.0):  # 41 times the float32 nearest to 1/41 is below 1: tried every time
        x, steps = np.array([[tried]]), 10
        counts = subject.convert(ann, x, mode="max").simulate(x, steps).counts["a"]
        yield Measure("spikes missing", float(abs(steps - int(counts[0, 0]))), where=f"z = {tried:g}")


@check("converter", trained(kinds=("mlp",), modes=("max",)))
def one_hidden_layer_error(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """With one hidden layer the read-out errs by at most the sum of absolute weights times the threshold over T [Bu et al., ICLR 2022; linear read-out]."""
    hidden = d.network.layers[0]
    out = Layer(
        "fc", (Branch(Dense(np.array([[1.0, -0.5, 0.25], [0.5, 1.0, -1.0]]), np.array([0.5, -0.25])), hidden.name),)
    )
    ann = Network(d.network.input_shape, (hidden, out))
    converted = subject.convert(ann, d.x, mode="max")
    error = np.abs(converted.run(d.x, d.steps) - reference.forward(ann, d.x)["fc"]).max(0)
    limit = np.abs(out.branches[0].op.weight).sum(1) * _scales(converted)[hidden.name] / d.steps  # type: ignore[union-attr]
    worst = int(np.argmax(error - limit))
    yield Measure("read-out error", float(error[worst]), float(limit[worst]) * (1 + 256 * UNIT * d.steps), where="fc")


@check("converter", trained())
def batch_is_its_rows(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """Running a batch is running its rows, and running it twice changes nothing [samples are independent, no state is kept]."""
    converted = subject.convert(d.network, d.x, mode=d.mode)
    batch, again = converted.simulate(d.x[:2], d.steps), converted.simulate(d.x[:2], d.steps)
    first = d.network.layers[0].name
    row = converted.simulate(d.x[1:2], d.steps).counts[first]
    # its product may be summed in another order, and a tie turn by a spike; what that makes of deeper layers has no bound
    yield Measure("spikes of row 1 off", float(np.abs(row[0] - batch.counts[first][1]).max()), 1.0, where=first)
    for name, counts in batch.counts.items():
        yield Measure("spikes of a second run differ", differences(again.counts[name], counts), where=name)


@check("converter", trained())
def silent_layer(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """A layer that is silent on the calibration set converts to finite thresholds and a run without NaN [no division by a maximum of 0]."""
    first = d.network.layers[0]
    b = first.branches[0]
    assert isinstance(b.op, Dense | Conv)
    dead = replace(first, branches=(replace(b, op=replace(b.op, bias=np.full(len(b.op.weight), -64.0))),))
    network = replace(d.network, layers=(dead, *d.network.layers[1:]))
    converted = subject.convert(network, d.x, mode=d.mode)
    for name, scale in _scales(converted).items():
        yield Measure("thresholds that are not finite and positive", float(not 0 < scale < np.inf), where=name)
    yield Measure("read-out not finite", float((~np.isfinite(converted.run(d.x, d.steps))).sum()))


@check("converter", trained(kinds=("mlp", "skip")))
def every_activation(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """Every ReLU becomes a neuron of its own [definition of a conversion]."""
    spiking = {v.name for v in subject.convert(d.network, d.x, mode=d.mode).snn.spiking}
    yield Measure("activations left", float(len({"a", "b"} - spiking)))


@check("converter", trained(kinds=("cnn",)))
def max_pooling_refused(d: Trained, subject: Oracle) -> Iterator[Measure]:
    """Max pooling, of which no spiking form was asked for, is refused and not kept as it is [the maximum of 0/1 trains is not the maximum of rates]."""
    pooled = [replace(v, branches=(replace(v.branches[0], op=Pool("max", (2, 2))),)) if v.name == "pool" else v
              for v in d.network.layers]  # fmt: skip
    subject.convert(d.network, d.x, mode=d.mode)  # one that does not take the network with average pooling is not asked
    yield Measure("was converted", float(not _refused(replace(d.network, layers=tuple(pooled)), d, subject)))


def _refused(network: Network, d: Trained, subject: Oracle) -> bool:
    """Whether the converter itself refuses; an adapter that cannot ask it says so under the library's name."""
    try:
        subject.convert(network, d.x, mode=d.mode)
    except Unsupported as e:
        if e.where == subject.name:
            raise
        return True
    return False
