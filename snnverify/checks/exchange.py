"""Exchange through NIR: what importers and exporters keep, each under the semantics that its source states.

A library's importer is judged with the time step, comparison and reset that it chooses (`PRESETS`): these NIR leaves
open, and no choice is wrong. What the graph does say, it must keep or refuse; dropping it is the one thing that is not allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .. import reference
from ..activation import Neuron
from ..bounds import reach
from ..content import Array
from ..errors import OracleError, Unavailable, Unsupported
from ..exchange import PRESETS, Semantics, from_nir, read_nir, semantics_of, to_bytes, to_nir
from ..findings import Measure
from ..network import Branch, Conv, Dense, Layer, Network, Scale
from ..oracles import Oracle, family_of
from ..strategies import exact_cases
from ..trace import Case, compare
from . import check
from .common import differences
from .graphs import Sketch, chains, images, relays


def _semantics(subject: Oracle, kind: str) -> tuple[str, Semantics]:
    """Kind of node, and what the importer's source states of it."""
    known: Mapping[str, Semantics] = PRESETS.get(subject.name, {})
    kind = kind or next(iter(known), "")
    if kind not in known:
        raise Unsupported(subject.name, f"its source states no semantics for a {kind or 'NIR node'}")
    return kind, known[kind]


def _neuron(kind: str, s: Semantics, theta: Array | float) -> Neuron:
    """Return the neuron that a NIR node of this kind is under `s`, with dyadic decays."""
    leaky, current = kind != "IF", kind == "CubaLIF"
    floor = -float(np.min(theta)) if s.v_floor == "-v_threshold" else s.v_floor
    return Neuron(
        theta, fires=s.fires, reset=s.reset, reset_delay=s.reset_delay, max_spikes=s.max_spikes, v_floor=floor,  # type: ignore[arg-type]
        leak=0.75 if leaky else 1.0, input_scaled=leaky and not current and s.drive == "held",
        syn_decay=0.5 if current else None, syn_order=s.syn_order, order=s.order, delay=s.delay,  # type: ignore[arg-type]
    )  # fmt: skip


def _network(drawn: Sketch, kind: str, s: Semantics, **changes: Any) -> Network:
    """Return the sketch with the neurons that the importer makes of this kind, but for `changes`."""
    plain = {v.name: _neuron(kind, s, v.act.theta) for v in drawn.network.layers if isinstance(v.act, Neuron)}
    layers = (replace(v, act=replace(plain[v.name], **changes)) if v.act else v for v in drawn.network.layers)
    return replace(drawn.network, layers=tuple(layers))


def _graph(network: Network, s: Semantics) -> Any:
    return to_nir(network, dt=s.dt, method=s.method, drive=s.drive)[0]


def _agrees(told: Mapping[str, Any], network: Network, x: Array) -> Iterator[Measure]:
    """Spikes of an importer's run against the reference's of `network`."""
    exactly = reference.run(Case(network, x, len(x), "spikes"))
    found = {}
    for layer in network.spiking:
        yield Measure("node not told", float(layer.name not in told), where=layer.name)
        spikes = np.asarray(told.get(layer.name, ()))
        fits = spikes.shape == exactly.spikes[layer.name].shape
        yield Measure("another shape", float(not fits), where=layer.name, detail=f"{spikes.shape}")
        found[layer.name] = spikes if fits else exactly.spikes[layer.name]
    parted = compare(network, exactly, replace(exactly, spikes=found))
    for p in parted.causal:
        yield Measure("margin", p.margin, _rounding(network, p.layer, p.t + 1, x) / p.theta, p.layer, str(p))


def _rounding(network: Network, name: str, steps: int, x: Array) -> float:
    """0 for dyadic IF; else the decay and the products of each step are rounded, 4 times in float32."""
    act = network[name].act
    assert isinstance(act, Neuron)
    if act.leak == 1:
        return 0.0
    size = reach(network, name, float(np.abs(x).max()))[0]
    return 4 * 2.0**-24 * steps * (steps * size + float(np.max(act.theta)))


def _told(subject: Oracle, graph: Any, x: Array) -> Mapping[str, Any]:
    told: Mapping[str, Any] = subject.operator("nir_run")(np.frombuffer(to_bytes(graph), np.uint8), x)
    return told


def _kept_or_refused(subject: Oracle, graph: Any, network: Network, x: Array) -> Iterator[Measure]:
    _ = subject.operator("nir_run")  # none at all is no refusal
    try:
        told = _told(subject, graph, x)
    except Unavailable:
        raise
    except Exception:  # each library refuses in its own words, an assertion often
        yield Measure("refused", 0.0)
        return
    yield from _agrees(told, network, x)


def _plainly(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """The sketch with the importer's first kind of neuron."""
    kind, s = _semantics(subject, "")
    network = _network(d, kind, s)
    yield from _kept_or_refused(subject, _graph(network, s), network, d.x)


@check("operators", chains("IF"))
def integrate_and_fire(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A graph of affine nodes and IF neurons spikes in the importer's simulator as under the semantics its source states [NIR IF, nir 1.0.8 ir/neuron.py]."""
    kind, s = _semantics(subject, "IF")
    network = _network(d, kind, s)
    yield from _agrees(_told(subject, _graph(network, s), d.x), network, d.x)


@check("operators", chains("LIF"))
def leaky(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A graph of affine nodes and LIF neurons spikes as under the semantics the importer's source states, within float32 rounding [NIR LIF, nir 1.0.8 ir/neuron.py]."""
    kind, s = _semantics(subject, "LIF")
    network = _network(d, kind, s)
    yield from _agrees(_told(subject, _graph(network, s), d.x), network, d.x)


@check("operators", chains("CubaLIF"))
def current_based(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A graph of affine nodes and CubaLIF neurons spikes as under the semantics the importer's source states, or is refused [NIR CubaLIF, nir 1.0.8 ir/neuron.py]."""
    s = PRESETS.get(subject.name, {}).get("CubaLIF") or _semantics(subject, "LIF")[1]
    network = _network(d, "CubaLIF", s)
    yield from _kept_or_refused(subject, _graph(network, s), network, d.x)


@check("operators", chains(bias=False))
def linear(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A Linear node, which has no bias, acts or is refused [NIR Linear, nir 1.0.8 ir/linear.py]."""
    yield from _plainly(d, subject)


@check("operators", images())
def convolution(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Weights, bias, stride, padding and dilation of a convolution are kept, or it is refused [NIR Conv1d and Conv2d, nir 1.0.8 ir/conv.py]."""
    yield from _plainly(d, subject)


@check("operators", images(groups=2))
def grouped_convolution(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """The groups of a convolution are kept, or it is refused [NIR Conv1d and Conv2d, nir 1.0.8 ir/conv.py]."""
    yield from _plainly(d, subject)


@check("operators", images(then="sum") | images(then="average"))
def pooling(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Kernel, stride and padding of sum and average pooling are kept, or it is refused [NIR SumPool2d and AvgPool2d, nir 1.0.8 ir/pooling.py]."""
    yield from _plainly(d, subject)


@check("operators", images(then="flatten"))
def flattening(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Flatten from axis 0 joins the axes of a sample and not its batch, or is refused: NIR's shapes have no batch [NIR Flatten, nir 1.0.8 ir/utils.py calc_flatten_output]."""
    yield from _plainly(d, subject)


@check("operators", chains(residual=True))
def residual_sum(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Edges that meet in one node are summed, in whatever order the file names nodes and edges, or are refused [NIR graphs, Pedersen et al. 2024; nir 1.0.8 ir/graph.py]."""
    kind, s = _semantics(subject, "")
    network = _network(d, kind, s)
    graph = _graph(network, s)
    graph.edges = graph.edges[::-1]
    graph.nodes = dict(reversed(graph.nodes.items()))
    yield from _kept_or_refused(subject, graph, network, d.x)


@check("operators", chains() | chains("LIF"))
def resistance(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A resistance r twice as great doubles the input of a neuron, or is refused [NIR IF and LIF: R I, nir 1.0.8 ir/neuron.py]."""
    kind, s = _semantics(subject, d.kind)
    network = _network(d, kind, s)
    graph = _graph(network, s)
    layers = []
    for layer in network.layers:
        graph.nodes[layer.name].r = graph.nodes[layer.name].r * 2
        doubled = [replace(b, op=Dense(b.op.weight * 2, b.op.bias * 2)) for b in layer.branches]  # type: ignore[union-attr,operator,arg-type]
        layers.append(replace(layer, branches=tuple(doubled)))
    yield from _kept_or_refused(subject, graph, replace(network, layers=tuple(layers)), d.x)


@check("operators", relays())
def reset_potential(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """After a spike the potential is v_reset, also where that is not 0, or the node is refused [NIR IF and LIF: v = v_reset where z = 1, nir 1.0.8 ir/neuron.py]."""
    kind, s = _semantics(subject, "")
    start = {"v_init": -0.25} if s.v_init == "v_reset" else {}
    network = _network(d, kind, s, reset="value", v_reset=-0.25, **start)
    yield from _kept_or_refused(subject, _graph(network, s), network, d.x)


@check("operators", relays())
def leak_potential(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A LIF leaks to v_leak, also where that is not 0, or is refused [NIR LIF: tau dv/dt = (v_leak - v) + R I, nir 1.0.8 ir/neuron.py]."""
    kind, s = _semantics(subject, "LIF")
    start = {"v_init": 0.125} if s.v_init == "v_leak" else {}
    network = _network(d, kind, s, v_rest=0.125, **start)
    yield from _kept_or_refused(subject, _graph(network, s), network, d.x)


@check("operators", relays())
def short_time_constant(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A time constant of a quarter of the step is refused by an importer of forward Euler steps, whose factor 1 - dt / tau would be -3 [forward Euler is stable for dt <= 2 tau]."""
    kind, s = _semantics(subject, "LIF")
    if s.method != "euler":
        raise Unsupported(subject.name, "its decay exp(-dt / tau) is stable for every step")
    graph = _graph(_network(d, kind, s), s)
    for layer in d.network.spiking:
        graph.nodes[layer.name].tau = np.full(d.network.shapes[layer.name], s.dt / 4)
    _ = subject.operator("nir_run")
    try:
        _ = _told(subject, graph, d.x)
    except Unavailable:
        raise
    except Exception:
        yield Measure("refused", 0.0)
        return
    yield Measure("an unstable step was imported", 1.0)


@check("operators", relays())
def thresholds(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Every unit has its own threshold, or the node is refused [NIR parameters have the shape of the layer, nir 1.0.8 ir/neuron.py]."""
    kind, s = _semantics(subject, "")
    network = _network(d, kind, s, theta=np.array([0.25, 0.75]), v_floor=None)
    yield from _kept_or_refused(subject, _graph(network, s), network, d.x)


@check("operators", relays())
def scaling(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A Scale node multiplies, or is refused [NIR Scale, nir 1.0.8 ir/linear.py]."""
    kind, s = _semantics(subject, "")
    scaled = Layer("scaled", (Branch(Scale(np.array([0.5, 2.0]))),))
    network = _network(d, kind, s)
    unit = replace(network.layers[0], branches=(Branch(network.layers[0].branches[0].op, "scaled"),))
    network = replace(network, layers=(scaled, unit))
    yield from _kept_or_refused(subject, _graph(network, s), network, d.x)


@check("operators", relays())
def delaying(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A Delay node of one time step holds back by one step, or is refused [NIR Delay: y(t) = x(t - tau), nir 1.0.8 ir/delay.py]."""
    kind, s = _semantics(subject, "")
    network = _network(d, kind, s, delay=1)
    yield from _kept_or_refused(subject, _graph(network, s), network, d.x)


def _exported(d: Sketch, subject: Oracle) -> tuple[Network, Any, Measure]:
    """A network that the subject can express, the graph that it exports, and whether it could."""
    kind, s = _semantics(subject, d.kind)
    network = _network(d, kind, s)
    try:
        for layer in network.spiking if subject.families else ():
            family_of(layer.act, subject.families)  # type: ignore[arg-type]
    except Unsupported:  # a leaky neuron takes its input either scaled or whole
        network = _network(d, kind, s, input_scaled=False)
    try:
        return network, read_nir(subject.operator("nir_export")(network)), Measure("cannot be written", 0.0)
    except Unavailable:
        raise
    except OracleError as e:
        return network, None, Measure("cannot be written", 1.0, detail=str(e))


def _weights(network: Network, graph: Any) -> Iterator[Measure]:
    """What the nodes hold against what the layers do; nodes of a chain are matched in their order."""
    if graph is None:
        return
    given, nodes = [v.branches[0].op for v in network.layers], [v for v in graph.nodes.values() if hasattr(v, "weight")]
    yield Measure("layers lost", float(abs(len(nodes) - len(given))))
    for op, node in zip(given, nodes, strict=False):
        assert isinstance(op, (Dense, Conv))
        yield Measure("weights differ", differences(op.weight, np.asarray(node.weight, float)))
        bias = np.zeros(len(op.weight)) if op.bias is None else op.bias
        yield Measure("biases differ", differences(bias, np.asarray(getattr(node, "bias", 0 * bias), float)))
        for name in ("stride", "padding", "dilation", "groups") if isinstance(op, Conv) else ():
            wanted = np.asarray(getattr(op, name)).reshape(-1, 2 if name == "padding" else 1)[:, 0]
            told = np.broadcast_to(np.asarray(getattr(node, name)), wanted.shape)
            yield Measure(f"{name} differs", differences(wanted, told))


@check("operators", chains())
def exported_weights(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Weights and biases survive the export unchanged [NIR Affine and Linear, nir 1.0.8 ir/linear.py]."""
    network, graph, written = _exported(d, subject)
    yield written
    yield from _weights(network, graph)


@check("operators", images())
def exported_convolution(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A convolution can be written, and its weights, bias, stride, padding and dilation survive [NIR Conv1d and Conv2d, nir 1.0.8 ir/conv.py]."""
    network, graph, written = _exported(d, subject)
    yield written
    yield from _weights(network, graph)


@check("operators", chains() | chains("LIF"))
def exported_dynamics(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Thresholds, decays and resistances survive the export: read under the exporter's own semantics they are the neuron's [NIR LIF, nir 1.0.8 ir/neuron.py].

    Compared within 2^-20: a time constant goes through three float32 operations at a decay of 3/4.
    """
    network, graph, written = _exported(d, subject)
    yield written
    if graph is None:
        return
    try:
        exported = from_nir(graph, semantics=PRESETS[subject.name])
    except Unsupported as e:
        yield Measure("cannot be read under the exporter's own semantics", 1.0, detail=str(e))
        return
    yield Measure("neurons lost", float(abs(len(exported.spiking) - len(network.spiking))))
    for a, b in zip(network.spiking, exported.spiking, strict=False):
        for name in ("theta", "leak", "v_rest", "v_reset"):
            off = np.abs(np.asarray(getattr(b.act, name)) - np.asarray(getattr(a.act, name))).max()
            yield Measure(f"{name} off", float(off), 2.0**-20, where=a.name)
        gains = [_gain(v.act) * v.branches[0].op.weight for v in (a, b)]  # type: ignore[union-attr]
        yield Measure("weight times resistance off", float(np.abs(gains[0] - gains[1]).max()), 2.0**-20, where=a.name)


def _gain(act: Any) -> float:
    return 1 - act.leak if act.input_scaled else 1.0


@check("operators", exact_cases())
def round_trip(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A network written as NIR and read under its own semantics spikes as before, bit for bit [NIR holds the rest: tau = dt / (1 - leak)]."""
    dt = 2.0**-10
    graph, _ = subject.operator("to_nir")(case.network, dt=dt)
    back = subject.operator("from_nir")(graph, semantics=semantics_of(case.network, dt=dt))
    a, b = reference.run(case), reference.run(replace(case, network=back))
    for name, spikes in a.spikes.items():
        yield Measure("spikes differ", differences(spikes, b.spikes.get(name, ())), where=name)
    yield Measure("read-out differs", differences(a.readout, b.readout))
