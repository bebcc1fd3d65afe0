"""Exchange through NIR: what importers and exporters keep, each under the semantics that its source states.

A library's importer is judged with the time step, comparison and reset that it chooses (`PRESETS`): these NIR leaves
open, and no choice is wrong. What the graph does say, it must keep or refuse; dropping it is the one thing that is not allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Neuron
from ..errors import OracleDied, Unavailable, Unsupported
from ..exchange import PRESETS, Semantics, from_nir, semantics_of
from ..findings import Measure
from ..network import Branch, Dense, Layer, Network, Pool, Scale
from ..oracles import Oracle
from ..oracles.reproduced.graphs import graph as nir_graph
from ..oracles.reproduced.graphs import node as nir_node
from ..strategies import exact_cases
from ..trace import Case
from . import check
from .common import differences
from .graphs import (
    UNSAID,
    Cell,
    Sketch,
    agrees,
    by_hand,
    cells,
    chains,
    export_of,
    graph_of,
    images,
    kept_or_refused,
    relays,
    run_by,
    sound,
    spoilt,
    stated,
    under,
    weights_kept,
)  # fmt: skip


def _plainly(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """The sketch with the importer's first kind of neuron."""
    kind, s = stated(subject, "")
    network = under(d, kind, s)
    yield from kept_or_refused(subject, graph_of(network, s), network, d.x)


@check("operators", chains("IF"))
def integrate_and_fire(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A graph of affine nodes and IF neurons spikes in the importer's simulator as under the semantics its source states [NIR IF, nir 1.0.8 ir/neuron.py]."""
    kind, s = stated(subject, "IF")
    network = under(d, kind, s)
    yield from agrees(run_by(subject, graph_of(network, s), d.x), network, d.x)


@check("operators", chains("LIF"))
def leaky(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A graph of affine nodes and LIF neurons spikes as under the semantics the importer's source states, within float32 rounding [NIR LIF, nir 1.0.8 ir/neuron.py]."""
    kind, s = stated(subject, "LIF")
    network = under(d, kind, s)
    yield from agrees(run_by(subject, graph_of(network, s), d.x), network, d.x)


@check("operators", chains("CubaLIF"))
def current_based(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A graph of affine nodes and CubaLIF neurons spikes as under the semantics the importer's source states, or is refused [NIR CubaLIF, nir 1.0.8 ir/neuron.py]."""
    s = PRESETS.get(subject.name, {}).get("CubaLIF") or stated(subject, "LIF")[1]
    network = under(d, "CubaLIF", s)
    yield from kept_or_refused(subject, graph_of(network, s), network, d.x)


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
    kind, s = stated(subject, "")
    network = under(d, kind, s)
    graph = graph_of(network, s)
    graph.edges = graph.edges[::-1]
    graph.nodes = dict(reversed(graph.nodes.items()))
    yield from kept_or_refused(subject, graph, network, d.x)


@check("operators", chains() | chains("LIF"))
def resistance(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A resistance r twice as great doubles the input of a neuron, or is refused [NIR IF and LIF: R I, nir 1.0.8 ir/neuron.py]."""
    kind, s = stated(subject, d.kind)
    network = under(d, kind, s)
    graph = graph_of(network, s)
    layers = []
    for layer in network.layers:
        graph.nodes[layer.name].r = graph.nodes[layer.name].r * 2
        doubled = [replace(b, op=Dense(b.op.weight * 2, b.op.bias * 2)) for b in layer.branches]  # type: ignore[union-attr,operator,arg-type]
        layers.append(replace(layer, branches=tuple(doubled)))
    yield from kept_or_refused(subject, graph, replace(network, layers=tuple(layers)), d.x)


@check("operators", relays())
def reset_potential(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """After a spike the potential is v_reset, also where that is not 0, or the node is refused [NIR IF and LIF: v = v_reset where z = 1, nir 1.0.8 ir/neuron.py]."""
    kind, s = stated(subject, "")
    start = {"v_init": -0.25} if s.v_init == "v_reset" else {}
    network = under(d, kind, s, reset="value", v_reset=-0.25, **start)
    yield from kept_or_refused(subject, graph_of(network, s), network, d.x)


@check("operators", relays())
def leak_potential(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A LIF leaks to v_leak, also where that is not 0, or is refused [NIR LIF: tau dv/dt = (v_leak - v) + R I, nir 1.0.8 ir/neuron.py]."""
    kind, s = stated(subject, "LIF")
    start = {"v_init": 0.125} if s.v_init == "v_leak" else {}
    network = under(d, kind, s, v_rest=0.125, **start)
    yield from kept_or_refused(subject, graph_of(network, s), network, d.x)


@check("operators", relays())
def short_time_constant(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A time constant of a quarter of the step is refused by an importer of forward Euler steps, whose factor 1 - dt / tau would be -3 [forward Euler is stable for dt <= 2 tau]."""
    kind, s = stated(subject, "LIF")
    if s.method != "euler":
        raise Unsupported(subject.name, "its decay exp(-dt / tau) is stable for every step")
    graph = graph_of(under(d, kind, s), s)
    for layer in d.network.spiking:
        graph.nodes[layer.name].tau = np.full(d.network.shapes[layer.name], s.dt / 4)
    _ = subject.operator("nir_run")
    try:
        _ = run_by(subject, graph, d.x)
    except (Unavailable, OracleDied):  # nobody has answered
        raise
    except Exception:
        yield Measure("refused", 0.0)
        return
    yield Measure("an unstable step was imported", 1.0)


@check("operators", relays())
def thresholds(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Every unit has its own threshold, or the node is refused [NIR parameters have the shape of the layer, nir 1.0.8 ir/neuron.py]."""
    kind, s = stated(subject, "")
    network = under(d, kind, s, theta=np.array([0.25, 0.75]), v_floor=None)
    yield from kept_or_refused(subject, graph_of(network, s), network, d.x)


@check("operators", relays())
def scaling(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A Scale node multiplies, or is refused [NIR Scale, nir 1.0.8 ir/linear.py]."""
    kind, s = stated(subject, "")
    scaled = Layer("scaled", (Branch(Scale(np.array([0.5, 2.0]))),))
    network = under(d, kind, s)
    unit = replace(network.layers[0], branches=(Branch(network.layers[0].branches[0].op, "scaled"),))
    network = replace(network, layers=(scaled, unit))
    yield from kept_or_refused(subject, graph_of(network, s), network, d.x)


@check("operators", relays())
def delaying(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A Delay node of one time step holds back by one step, or is refused [NIR Delay: y(t) = x(t - tau), nir 1.0.8 ir/delay.py]."""
    kind, s = stated(subject, "")
    network = under(d, kind, s, delay=1)
    yield from kept_or_refused(subject, graph_of(network, s), network, d.x)


@check("operators", chains())
def exported_weights(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Weights and biases survive the export unchanged [NIR Affine and Linear, nir 1.0.8 ir/linear.py]."""
    network, graph, written = export_of(d, subject)
    yield written
    yield from weights_kept(network, graph)


@check("operators", images())
def exported_convolution(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """A convolution can be written, and its weights, bias, stride, padding and dilation survive [NIR Conv1d and Conv2d, nir 1.0.8 ir/conv.py]."""
    network, graph, written = export_of(d, subject)
    yield written
    yield from weights_kept(network, graph)


@check("operators", chains() | chains("LIF"))
def exported_dynamics(d: Sketch, subject: Oracle) -> Iterator[Measure]:
    """Thresholds, decays and resistances survive the export: read under the exporter's own semantics they are the neuron's [NIR LIF, nir 1.0.8 ir/neuron.py].

    Compared within 2^-20: a time constant goes through three float32 operations at a decay of 3/4.
    """
    network, graph, written = export_of(d, subject)
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
    """A network written as NIR and read under its own semantics spikes as before, bit for bit, or is not written [NIR holds the rest: tau = dt / (1 - leak)]."""
    dt = 2.0**-10
    write, read = subject.operator("to_nir"), subject.operator("from_nir")
    for tried in (case, GATED, TWICE):
        try:
            graph, _ = write(tried.network, dt=dt)
        except Unsupported:
            if tried is TWICE:
                raise
            continue
        back = read(graph, semantics=semantics_of(tried.network, dt=dt))
        a, b = reference.run(tried), reference.run(replace(tried, network=back))
        for name, spikes in a.spikes.items():
            yield Measure("spikes differ", differences(spikes, b.spikes.get(name, ())), where=name)
        yield Measure("read-out differs", differences(a.readout, b.readout))


# Layers that end in nodes of other names, an analog sum and spikes worth their channel's, each read twice by one sum.
_BOTH = (Branch(Scale(1.0), "sum"), Branch(Scale(1.0), "sum"), Branch(Scale(1.0)), Branch(Scale(1.0)))
TWICE = Case(
    Network((2,), (
        Layer("sum", (Branch(Scale(0.5)), Branch(Dense(np.array([[0.0, 0.25], [0.5, 0.0]]))))),
        Layer("unit", _BOTH, Neuron(1.0, np.array([0.5, 2.0]))),
        Layer("half", (Branch(Scale(1.0), "unit"), Branch(Scale(1.0), "unit")), Neuron(1.0, 0.5)),
        Layer("out", (Branch(Scale(1.0), "half"), Branch(Dense(np.eye(2)), "half"))),
    )),
    np.array([[0.25, 0.5]]),
    4,
)  # fmt: skip
# The maximum of spike trains, which is neither their sum nor their average.
_GATE = Layer("gate", (Branch(Pool("gate", (2, 2)), "relay"),))
GATED = Case(
    Network((1, 2, 2), (Layer("relay", (Branch(Scale()),), Neuron()), _GATE, Layer("unit", (Branch(Scale(), "gate"),), Neuron()))),
    np.array([[[[1.0, 1.0], [0.5, 0.0]]]]),
    2,
)  # fmt: skip


@check("operators", cells())
def equations(c: Cell, subject: Oracle) -> Iterator[Measure]:
    """An imported IF, LIF or CubaLIF takes the step that its equation says by forward Euler, to the bit, whatever dt, R and w_in [NIR IF, LIF, CubaLIF, nir 1.0.8 ir/neuron.py; by hand in Fractions]."""
    given = {"v_threshold": c.theta, "r": c.r, "v_reset": c.v_reset}
    given |= {"LIF": {"tau": c.tau, "v_leak": c.v_leak}, "IF": {}}.get(
        c.kind, {"tau_mem": c.tau, "tau_syn": c.tau_syn, "v_leak": c.v_leak, "w_in": c.w_in}
    )
    s = Semantics(dt=c.dt, method="euler", drive=c.drive, fires=">", reset="value", reset_delay=0, v_init=c.start,
                  max_spikes=1, v_floor=None, order="leak-integrate", syn_order="decay-add", delay=c.delay,
                  count_include_pad=True)  # fmt: skip
    graph = nir_graph({"unit": nir_node(c.kind, (2,), **given)}, (2,), (2,))
    network = subject.operator("from_nir")(graph, semantics=s)
    trace = reference.run(Case(network, c.x, len(c.x), "spikes", dtype="float64"))
    for n, unit in np.ndindex(c.x.shape[1:]):
        spikes, v = by_hand(c, n, unit)
        yield Measure("spikes differ", differences(trace.spikes["unit"][:, n, unit], spikes), where=c.kind)
        yield Measure(
            "potentials differ", differences(trace.v["unit"][:, n, unit], [float(k) for k in v]), where=c.kind
        )


SPOILS: Any = st.tuples(
    st.sampled_from([2.0**-10, 1.0]),
    st.integers(1, 23).filter(lambda k: k % 8).map(lambda k: k / 8),
    st.integers(3, 30).map(lambda k: 2.0**-k),
)


@check("operators", SPOILS)
def refused_by_name(drawn: tuple[float, float, float], subject: Oracle) -> Iterator[Measure]:
    """What a network cannot hold is refused by the name of its node, and never rounded, averaged or dropped: a delay of part of a step, unequal units of a channel, a flattening of some axes, a cycle [definition of from_nir; NIR's axes do not count the batch, nir 1.0.8 ir/utils.py]."""
    dt = drawn[0]
    graph, semantics = sound(dt)
    read = subject.operator("from_nir")
    yield Measure("layers lost", float(5 - len(read(graph, semantics=semantics).layers)))
    for case, names, change in spoilt(*drawn):
        graph, semantics = sound(dt)
        change(graph)
        try:
            read(graph, semantics=semantics)
        except Unsupported as e:
            yield Measure("another node is named", float(e.where not in names), where=case, detail=str(e))
        else:
            yield Measure("was imported", 1.0, where=case)


@check("operators", st.sampled_from([2.0**-10, 1.0]))
def losses_told(dt: float, subject: Oracle) -> Iterator[Measure]:
    """Of what NIR's nodes do not hold a sentence tells the layer and the value, and of what they hold none [NIR's equations, nir 1.0.8 ir/neuron.py: z = v > v_threshold, then v = v_reset]."""
    write = subject.operator("to_nir")
    for plain, axes in UNSAID:
        quiet, without = Neuron(**plain), ()
        for axis, value, word in (("", None, ""), *axes):
            act = replace(quiet, **({axis: value} if axis else {}))
            network = Network((1,), (Layer("unit", (Branch(Dense(np.ones((1, 1)))),), act),))
            told = write(network, dt=dt)[1]
            if not axis:
                without = told
                yield Measure("sentences about nothing", float(sum("unit" in t for t in told)), detail=str(told))
                continue
            about = [t for t in told if t not in without]
            named = len(about) == 1 and about[0].startswith("unit") and word in about[0]
            yield Measure("not told", float(not named), where=f"{axis} = {value!r}", detail=str(about))
