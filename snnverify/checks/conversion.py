"""Laws of conversion: what a converter must keep, whatever its mode."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import ClipFloor, Neuron, Relu
from ..bounds import absolute
from ..content import Array, Content
from ..errors import Unsupported
from ..findings import Measure
from ..network import Branch, Dense, Layer, Network, Pool, Scale, per_channel
from ..oracles import Oracle
from ..strategies import Conversion, blurred, conversions, convnets, dyadic, max_pooled, neurons
from ..trace import Case
from . import check
from .common import differences


def _spiking(d: Conversion, subject: Oracle, **options: Any) -> Any:
    """Convert with thresholds that are powers of two, so that every scaled weight is exact."""
    return subject.convert(_dyadic_thresholds(d), d.x, **({"mode": "max", "v_init": "half"} | options))


def _dyadic_thresholds(d: Conversion) -> Network:
    """Rewrite every ReLU as a QCFS layer whose learned threshold is a power of two near its maximum."""
    activations = reference.forward(d.network, d.x)
    layers = []
    for layer in d.network.layers:
        peak = float(activations[layer.name].max())
        theta = 2.0 ** np.ceil(np.log2(peak)) if peak > 0 else 1.0
        layers.append(replace(layer, act=ClipFloor(d.steps, float(theta))) if layer.act is not None else layer)
    return replace(d.network, layers=tuple(layers))


def _uncalibrated(subject: Oracle, ann: Network, **options: Any) -> Any:
    """Convert without a calibration set: every threshold is 1, and the warning that says so is expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return subject.convert(ann, None, **options)


def _rectified(network: Network) -> Network:
    """The spiking network with a ReLU for every neuron: what its weights compute, without dynamics."""
    layers = [replace(v, act=Relu()) if isinstance(v.act, Neuron) else v for v in network.layers]
    return replace(network, layers=tuple(layers))


@check("converter", conversions())
def every_activation_replaced(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """Every ReLU becomes one neuron of the same name, and nothing else does [definition of a conversion]."""
    snn = subject.convert(d.network, d.x).snn
    before = {v.name for v in d.network.layers if v.act is not None}
    after = {v.name for v in snn.layers if isinstance(v.act, Neuron)}
    yield Measure("activations lost or added", float(len(before ^ after)))
    analog = [v for v in snn.layers if v.act is not None and not isinstance(v.act, Neuron)]
    yield Measure("analog activations left", float(len(analog)))


@check("converter", conversions())
def nothing_to_convert(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """A network without an activation is refused [a conversion that replaces nothing is an error]."""
    linear = replace(d.network, layers=tuple(replace(v, act=None) for v in d.network.layers))
    if subject.converter is None:
        raise Unsupported(subject.name, "it has no converter")
    try:
        subject.convert(linear, d.x)
        yield Measure("was converted", 1.0)
    except Unsupported:
        yield Measure("was converted", 0.0)


@check("converter", conversions() | convnets())
def normalisation_keeps_function(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """Scaled weights and biases on ReLUs give every activation over its threshold: W' = W l_prev / l, b' = b / l [Rueckauer et al. 2017]."""
    converted = _spiking(d, subject)
    exact, scaled = reference.forward(d.network, d.x), reference.forward(_rectified(converted.snn), d.x)
    for layer in d.network.layers:
        if layer.act is not None:
            unit = per_channel(converted.units[layer.name], d.network.shapes[layer.name])
            off = differences(scaled[layer.name] * unit, exact[layer.name])
            yield Measure("activations differ", off, where=layer.name)
    out = d.network.output.name
    unit = per_channel(converted.units[out], d.network.shapes[out])
    yield Measure("read-out differs", differences(scaled[out] * unit, exact[out]), where=out)


@check("converter", conversions() | convnets())
def channelwise_keeps_function(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """Thresholds of each channel keep every activation up to rounding, whatever they are [Rueckauer et al. 2017, per channel]."""
    converted = subject.convert(d.network, d.x, mode="channel-wise")
    exact, scaled = reference.forward(d.network, d.x), reference.forward(_rectified(converted.snn), d.x)
    sizes = reference.forward(absolute(d.network), np.abs(d.x))
    for layer in d.network.layers:
        unit = per_channel(converted.units[layer.name], d.network.shapes[layer.name])
        off = np.abs(scaled[layer.name] * unit - exact[layer.name]) / np.maximum(sizes[layer.name], 5e-324)
        # two roundings a weight and one a bias in every layer, relative to the sum of absolute products; three at the end
        yield Measure("error over size", float(off.max()), 2.0**-53 * 3 * (len(scaled) + 1), where=layer.name)


@dataclass(frozen=True, eq=False)
class Templated(Content):
    """A conversion and the neuron that it is asked to put in, whose potentials are in units of the threshold."""

    given: Conversion
    neuron: Neuron


TEMPLATES = neurons(theta=1.0, amplitude=1.0, v_init=0.0, reset=st.sampled_from(["subtract", "value"]),
                    v_floor=st.sampled_from([None, -0.5, -0.125]))  # fmt: skip


@check("converter", st.builds(Templated, conversions() | convnets(), st.just(Neuron()) | TEMPLATES))
def forms_agree(drawn: Templated, subject: Oracle) -> Iterator[Measure]:
    """Weight normalisation and threshold balancing fire the same spikes, with any template whose reset, rest and floor are in units of the threshold [Diehl et al. 2015; Sengupta et al. 2019; exact on powers of two]."""
    d, asked = drawn.given, {"neuron": drawn.neuron, "reset": drawn.neuron.reset}
    one, two = (_spiking(d, subject, form=form, **asked) for form in ("normalise", "balance"))
    case = Case(one.snn, d.x, d.steps)
    a, b = reference.run(case), reference.run(replace(case, network=two.snn))
    for name in a.spikes:
        yield Measure("spikes differ", differences(a.spikes[name], b.spikes[name]), where=name)
        theta = per_channel(two.thresholds[name], two.snn.shapes[name])
        yield Measure("potentials differ", differences(a.v[name] * theta, b.v[name]), where=name)


@check("converter", conversions())
def options_carried(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """Initial potential and reset are what was asked for, in every layer, and change no weight [definition of the options]."""
    leaky = subject.convert(d.network, d.x, neuron=Neuron(reset="value", leak=0.5), reset="subtract")
    for layer in leaky.snn.spiking:
        yield Measure("template's reset wins", float(layer.act.reset != "subtract"), where=layer.name)
        yield Measure("template's leak is lost", float(layer.act.leak != 0.5), where=layer.name)
    plain = subject.convert(d.network, d.x, v_init="zero")
    for v_init, reset in (("half", "subtract"), ("zero", "value"), (0.25, "subtract")):
        converted = subject.convert(d.network, d.x, v_init=v_init, reset=reset)
        part = {"half": 0.5, "zero": 0.0}.get(str(v_init), v_init)
        for layer, other in zip(converted.snn.layers, plain.snn.layers, strict=True):
            yield Measure("weights changed", float(layer.branches != other.branches), where=layer.name)
            if isinstance(layer.act, Neuron):
                off = np.abs(np.asarray(layer.act.v_init) - float(part) * np.asarray(layer.act.theta)).max()
                yield Measure("v_init off", float(off), where=layer.name)
                yield Measure("reset differs", float(layer.act.reset != reset), where=layer.name)


@dataclass(frozen=True, eq=False)
class Qcfs(Content):
    """One QCFS layer, its inputs and its number of levels, which is also T."""

    weight: Array
    bias: Array
    x: Array
    levels: int
    theta: float


@st.composite
def qcfs(draw: st.DrawFn, /) -> Qcfs:
    """Single QCFS layers with dyadic parameters."""
    out, inputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    x = draw(dyadic((draw(st.integers(1, 4)), inputs)))
    theta = draw(st.sampled_from([0.5, 1.0, 2.0]))
    return Qcfs(draw(dyadic((out, inputs))), draw(dyadic((out,))), x, draw(st.sampled_from([1, 2, 4, 8, 16])), theta)


@check("converter", qcfs())
def qcfs_is_lossless(d: Qcfs, subject: Oracle) -> Iterator[Measure]:
    """A QCFS layer of L levels and its conversion at T = L give the same value for every input [Bu et al., ICLR 2022]."""
    layer = Layer("qcfs", (Branch(Dense(d.weight, d.bias)),), ClipFloor(d.levels, d.theta))
    ann = Network(d.weight.shape[1:], (layer,))
    exact = reference.forward(ann, d.x)["qcfs"]
    for calibration in (d.x, None):  # QCFS brings its own threshold and initial potential
        converted = subject.convert(ann, calibration, v_init="zero")
        yield Measure("values differ", differences(np.asarray(converted.run(d.x, d.levels)), exact))


@check("converter", qcfs())
def first_layer_rate(d: Qcfs, subject: Oracle) -> Iterator[Measure]:
    """The first layer's rate is floor(z T / theta + v) / T of clip(z / theta), v the initial share: 0 and 1/2 [Bu et al., ICLR 2022]."""
    ann = Network(d.weight.shape[1:], (Layer("relu", (Branch(Dense(d.weight, d.bias)),), Relu()),))
    z = reference.forward(replace(ann, layers=(replace(ann.layers[0], act=None),)), d.x)["relu"]
    for v_init, share in (("zero", Fraction(0)), ("half", Fraction(1, 2))):
        converted = _uncalibrated(subject, ann, v_init=v_init)
        counts = converted.simulate(d.x, d.levels).counts["relu"]
        for at in np.ndindex(*z.shape):
            expected = min(max(floor(Fraction(float(z[at])) * d.levels + share), 0), d.levels)
            yield Measure("spikes off", abs(int(counts[at]) - expected), where=f"V0 = {v_init}, z = {z[at]:g}")


@check("converter", qcfs())
def lossless_on_grid(d: Qcfs, subject: Oracle) -> Iterator[Measure]:
    """With V0 = 0 and z a multiple of theta/T the read-out of the next layer is that of the ANN clipped at theta [Rueckauer et al. 2017]."""
    hidden = Layer("relu", (Branch(Dense(d.weight, d.bias)),), Relu())
    out = Layer("out", (Branch(Dense(np.ones((2, len(d.weight))), np.array([0.5, -0.25])), "relu"),))
    ann = Network(d.weight.shape[1:], (hidden, out))
    T = 64  # weights and inputs are k / 8: z is a multiple of 1 / 64
    clipped = replace(ann, layers=(replace(hidden, act=ClipFloor(T, 1.0, 0.0)), out))
    converted = _uncalibrated(subject, ann, v_init="zero")
    yield Measure(
        "read-out differs", differences(np.asarray(converted.run(d.x, T)), reference.forward(clipped, d.x)["out"])
    )


@check("converter", conversions())
def single_is_batch_of_one(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """A single sample gives the row that a batch of one gives, and classify is the arg max of run [definition]."""
    converted = subject.convert(d.network, d.x)
    single, batch = converted.run(d.x[0], d.steps), converted.run(d.x[:1], d.steps)
    yield Measure("rows differ", differences(np.asarray(single), batch[0]))
    expected = [int(np.flatnonzero(row == row.max())[0]) for row in batch.reshape(-1, batch.shape[-1])]
    drawn = {"encoding": "poisson", "seed": 20_000 + d.steps}
    seeded = converted.run(d.x, d.steps, **drawn).argmax(-1)
    yield Measure("classes of a seed differ", differences(converted.classify(d.x, d.steps, **drawn), seeded))
    yield Measure("classes differ", differences(np.ravel(converted.classify(d.x[:1], d.steps)), expected))


@check("converter", conversions())
def outputs_over_time(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """Outputs at an earlier step are those of a run of so many steps, in the same units [definition of a mean read-out]."""
    converted = _spiking(d, subject)
    trace = subject.operator("simulate")(Case(converted.snn, d.x, d.steps, dtype="float32"), "counts", readout_at=[1])
    outputs = converted.outputs(trace)
    for row, steps in zip(outputs, trace.readout_at, strict=True):
        yield Measure("outputs differ", differences(row, converted.run(d.x, steps)), where=f"T = {steps}")


@check("converter", qcfs())
def ties_go_low(d: Qcfs, subject: Oracle) -> Iterator[Measure]:
    """Of classes with the same read-out the lowest index wins [stated rule; two outputs with the same weights always tie]."""
    hidden = Layer("relu", (Branch(Dense(d.weight, d.bias)),), Relu())
    rows = np.ones((1, len(d.weight)))
    out = Layer("out", (Branch(Dense(np.concatenate([-rows, rows, rows]), np.zeros(3)), "relu"),))
    converted = subject.convert(Network(d.weight.shape[1:], (hidden, out)), d.x)
    classes, y = converted.classify(d.x, d.levels), converted.run(d.x, d.levels)
    yield Measure("took the higher index", float((classes == 2).sum()))
    yield Measure("outputs do not tie", differences(y[:, 1], y[:, 2]))


def _gated(trains: Array, kernel: int, stride: int, padding: int) -> Case:
    """A gate on given trains [T, N, C, L] and a neuron that fires for every spike that it hands on, in the same step."""
    gate = Layer("gate", (Branch(Pool("gate", (kernel,), (stride,), (padding,))),))
    unit = Layer("unit", (Branch(Scale(1.0), "gate"),), Neuron())
    return Case(Network(trains.shape[2:], (gate, unit)), trains, len(trains), "spikes", kind="exact")


TRAINS: Any = st.tuples(st.integers(1, 12), st.integers(1, 2), st.integers(1, 2), st.integers(3, 6)).flatmap(
    lambda shape: dyadic(shape, 0, 1).map(lambda a: np.asarray(a > 0, float))
)
GATES: Any = st.builds(_gated, TRAINS, st.integers(2, 3), st.integers(1, 3), st.integers(0, 1))


@check("operators", GATES)
def gate_counts(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A gate has handed on, by every step, as many spikes as the unit of its window with the most [Rueckauer et al. 2017: the maximally firing unit passes; a unit that draws level does not add its own]."""
    found = subject.operator("simulate")(case).spikes["unit"].astype(int)
    op = case.network["gate"].branches[0].op
    assert isinstance(op, Pool)
    (kernel,), (stride,), (padding,), length = op.kernel, op.stride, op.padding, case.x.shape[3]
    so_far = case.x.cumsum(0)
    for o in range(found.shape[3]):
        inside = range(max(o * stride - padding, 0), min(o * stride - padding + kernel, length))
        most = np.max([so_far[..., i] for i in inside], axis=0)
        yield Measure("spikes off", float(np.abs(found[..., o].cumsum(0) - most).max()), where=f"window {o}")
    yield Measure("over one a step", float(max(found.max() - 1, 0)))


@check("operators", st.tuples(TRAINS, st.integers(0, 2)))
def gate_passes_the_leader(drawn: tuple[Array, int], subject: Oracle) -> Iterator[Measure]:
    """Where no unit of the window has ever spiked more often than one of them, the gate hands on that unit's train [Rueckauer et al. 2017]."""
    trains, leader = np.array(drawn[0][..., :3]), drawn[1]
    trains *= trains[..., leader : leader + 1]  # the others spike only with it
    found = subject.operator("simulate")(_gated(trains, 3, 1, 0)).spikes["unit"]
    yield Measure("steps off", differences(found[..., 0], trains[..., leader]))


@check("converter", max_pooled())
def max_pooling(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """Max pooling is refused unless a gate is asked for; with gates the network keeps its function, over one step and in the reference's every spike [definition of the option]."""
    try:
        _spiking(d, subject)
        yield Measure("converted without being asked", 1.0)
    except Unsupported:
        yield Measure("converted without being asked", 0.0)
    converted = _spiking(d, subject, maxpool="gate")
    exact, scaled = reference.forward(d.network, d.x), reference.forward(_rectified(converted.snn), d.x)
    for layer in d.network.layers:
        if layer.act is not None:
            unit = per_channel(converted.units[layer.name], d.network.shapes[layer.name])
            yield Measure(
                "activations differ", differences(scaled[layer.name] * unit, exact[layer.name]), where=layer.name
            )
    case = Case(converted.snn, d.x, d.steps, kind="exact")
    exactly = reference.run(case)
    for memory in (2**26, 1):  # all steps at once, and one by one
        ours = subject.operator("simulate")(case, memory=memory)
        for name in exactly.spikes:
            yield Measure("spikes differ", differences(ours.spikes[name], exactly.spikes[name]), where=name)
        for name, events in exactly.events.items():
            for kind, count in events.items():
                yield Measure(f"{kind} off", abs(ours.events[name][kind] - count), where=name)


@check("converter", convnets())
def pool_neurons(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """A neuron after average pooling of rectified values is asked for, has a threshold of its own, and changes no activation; pooled values of both signs get none [the average of rectified values is rectified, of others it need not be]."""
    for ann in (d.network, blurred(d.network)):
        converted = subject.convert(ann, d.x, mode="max", pool_neurons=True)
        exact, rectified = reference.forward(ann, d.x), reference.forward(converted.ann, d.x)
        for layer in ann.layers:
            yield Measure("activations differ", differences(rectified[layer.name], exact[layer.name]), where=layer.name)
        fires = {v.name for v in converted.snn.spiking}
        yield Measure("neurons lost or added", float(len(fires ^ {"conv", "grouped", "turned", "pool", "affine"})))
        peak = float(exact["pool"].max())
        yield Measure("threshold off", abs(float(converted.scales["pool"]) - (peak or 1.0)))
