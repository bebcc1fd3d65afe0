"""What the checks of exchange formats draw, dyadic and made of what every format has a word for, and measure with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Neuron
from ..bounds import reach
from ..content import Array, Content
from ..errors import OracleDied, OracleError, Unavailable, Unsupported
from ..exchange import PRESETS, Semantics, read_nir, semantics_of, to_bytes, to_nir
from ..findings import Measure
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from ..oracles import Oracle, family_of
from ..strategies import dyadic
from ..trace import Case, compare
from .common import differences


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


@dataclass(frozen=True, eq=False)
class Cell(Content):
    """Two units of one NIR node with a train x [T, N, 2], and the step that an importer is told to take.

    `theta`, `r` and `w_in` are (2,); `start` is what the potential starts from.
    """

    kind: str
    x: Array
    theta: Array
    r: Array
    w_in: Array
    tau: float
    tau_syn: float
    v_leak: float
    v_reset: float
    dt: float
    drive: str
    delay: int
    start: float | str


@st.composite
def cells(draw: st.DrawFn, /) -> Cell:
    """Every kind with an equation, for a few steps; time constants are 1, 2 or 4 steps, so that all is dyadic."""
    dt = draw(st.sampled_from([2.0**-10, 0.25, 2.0]))
    volts, steps = st.integers(-4, 1).map(lambda k: k / 8), st.sampled_from([1.0, 2.0, 4.0])
    return Cell(
        draw(st.sampled_from(["IF", "LIF", "CubaLIF"])), draw(dyadic((draw(st.integers(1, 4)), 1, 2), -8, 16)),
        draw(dyadic((2,), 2, 8)), draw(dyadic((2,), 4, 16)) / draw(st.sampled_from([1.0, dt])), draw(dyadic((2,), 4, 16)),
        dt * draw(steps), dt * draw(steps), draw(volts), draw(volts), dt, draw(st.sampled_from(["held", "unit"])),
        draw(st.integers(0, 1)), draw(st.just(0.125) | st.sampled_from(["v_leak", "v_reset"])),
    )  # fmt: skip


def by_hand(c: Cell, n: int, unit: int) -> tuple[list[int], list[Fraction]]:
    """Spikes and potentials, after the reset, of one unit by forward Euler on NIR's equations, in Fractions.

    ``dv/dt = R I`` (IF), ``tau dv/dt = (v_leak - v) + R I`` (LIF, CubaLIF), ``tau_syn di/dt = -i + w_in S`` with i for I
    (CubaLIF); ``z = v > v_threshold``, then ``v = v_reset`` (nir 1.0.8, ir/neuron.py). A "unit" drive is a charge: it
    enters whole, whatever the step.
    """
    dt, tau, tau_syn, leak, reset = map(Fraction, (c.dt, c.tau, c.tau_syn, c.v_leak, c.v_reset))
    theta, r, w_in = (Fraction(float(p[unit])) for p in (c.theta, c.r, c.w_in))
    held, memory = c.drive == "held", c.kind != "IF"
    rest = leak if memory else Fraction(0)  # an IF has no v_leak
    v = {"v_leak": rest, "v_reset": reset}.get(str(c.start)) if isinstance(c.start, str) else Fraction(c.start)
    assert v is not None
    i = arriving = Fraction(0)
    spikes, potentials = [], []
    for s in (Fraction(float(s)) for s in c.x[:, n, unit]):
        before = arriving
        if c.kind == "CubaLIF":
            i += -dt / tau_syn * i + w_in * s * (dt / tau_syn if held else 1)
        arriving = i if c.kind == "CubaLIF" else s
        current = before if c.delay else arriving
        if memory:
            v += dt / tau * (leak - v) + r * current * (dt / tau if held else 1)
        else:
            v += r * current * (dt if held else 1)
        spikes.append(int(v > theta))
        v = reset if spikes[-1] else v
        potentials.append(v)
    return spikes, potentials


def sound(dt: float) -> tuple[Any, Mapping[str, Semantics]]:
    """A graph with a node of every kind that `spoilt` changes, and semantics under which it can be imported."""
    one = Conv(np.eye(2)[:, :, None, None])
    network = Network((2, 2, 2), (
        Layer("held", (Branch(one),), Neuron(0.5, fires=">", reset="value", delay=1)),
        Layer("scaled", (Branch(Scale(np.array([0.5, 2.0])), "held"),)),
        Layer("leaky", (Branch(one, "scaled"),), Neuron(0.5, fires=">", reset="value", leak=0.75)),
        Layer("flat", (Branch(Flatten(), "leaky"),)),
        Layer("filtered", (Branch(Dense(np.ones((3, 8))), "flat"),),
              Neuron(0.5, fires=">", reset="value", leak=0.75, syn_decay=0.5)),
    ))  # fmt: skip
    return to_nir(network, dt=dt)[0], semantics_of(network, dt=dt)


def spoilt(dt: float, part: float, least: float) -> Iterator[tuple[str, tuple[str, ...], Callable[[Any], None]]]:
    """What to change in a sound graph so that a network cannot hold it, and the nodes that a refusal may name.

    `part` is no whole number, below 1 or not; `least` is how far units differ that should be equal.
    """

    def put(name: str, field: str, value: Any) -> Callable[[Any], None]:
        return lambda g: setattr(g.nodes[name], field, np.full_like(getattr(g.nodes[name], field), value, float))

    def apart(name: str, field: str) -> Callable[[Any], None]:
        def change(g: Any) -> None:
            values = np.array(getattr(g.nodes[name], field), float)
            values.flat[-1] += least
            setattr(g.nodes[name], field, values)

        return change

    def axes(first: int, last: int) -> Callable[[Any], None]:
        def change(g: Any) -> None:
            g.nodes["flat"].start_dim, g.nodes["flat"].end_dim = first, last

        return change

    def edge(a: str, b: str) -> Callable[[Any], None]:
        return lambda g: g.edges.append((a, b))

    yield f"a delay of {part} steps", ("held_delay",), put("held_delay", "delay", part * dt)
    yield "a delay of 2 steps", ("held_delay",), put("held_delay", "delay", 2 * dt)
    for first, last in ((1, -1), (0, 1), (-2, 2), (1, 2)):
        yield f"flattening axes {first} to {last} of 3", ("flat",), axes(first, last)
    for name, field in (
        ("held_delay", "delay"), ("held", "v_threshold"), ("held", "r"), ("held", "v_reset"), ("scaled", "scale"),
        ("leaky", "tau"), ("leaky", "r"), ("leaky", "v_leak"), ("leaky", "v_threshold"), ("leaky", "v_reset"),
        ("filtered", "tau_syn"), ("filtered", "tau_mem"), ("filtered", "v_leak"), ("filtered", "v_reset"),
    ):  # fmt: skip
        yield f"{field} of one unit {least} greater", (name,), apart(name, field)
    yield "a threshold of 0", ("held",), put("held", "v_threshold", 0.0)
    for name, field in (("leaky", "tau"), ("filtered", "tau_mem"), ("filtered", "tau_syn")):
        yield f"{field} of {part % 1} steps", (name,), put(name, field, part % 1 * dt)
    yield "a recurrent edge", ("leaky",), edge("leaky", "leaky")
    yield "a cycle of two nodes", ("held", "held_delay"), edge("held", "held_delay")
    yield "a sum of what is late and what is not", ("leaky_in0",), edge("held_delay", "leaky_in0")
    yield "a node that feeds nothing", ("filtered", "output"), lambda g: g.edges.remove(("filtered", "output"))


# Neuron on which NIR's graph and equations say all; axis, value that they do not hold, and a word of the sentence about it.
SAID = {"fires": ">", "reset": "value"}
UNSAID: tuple[tuple[Mapping[str, Any], tuple[tuple[str, Any, str], ...]], ...] = (
    (SAID, (("fires", ">=", ">="), ("reset", "subtract", "reset"), ("reset", "none", "reset"), ("reset_delay", 1, "late"),
            ("v_init", 0.375, "0.375"), ("max_spikes", 3, "3"), ("max_spikes", None, "None"), ("v_floor", -0.625, "-0.625"),
            ("v_floor", 0.0, "0.0"), ("amplitude", 2.0, "2.0"))),
    (SAID | {"leak": 0.5}, (("order", "integrate-leak", "integrate-leak"), ("fires", ">=", ">="))),
    (SAID | {"leak": 0.5, "syn_decay": 0.5}, (("syn_order", "add-decay", "after"), ("reset", "subtract", "reset"))),
    (SAID | {"reset": "none", "leak": 0.0}, (("fires", ">=", ">="), ("amplitude", 0.5, "0.5"))),  # nir.Threshold
)  # fmt: skip


def stated(subject: Oracle, kind: str) -> tuple[str, Semantics]:
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


def under(drawn: Sketch, kind: str, s: Semantics, **changes: Any) -> Network:
    """Return the sketch with the neurons that the importer makes of this kind, but for `changes`."""
    plain = {v.name: _neuron(kind, s, v.act.theta) for v in drawn.network.layers if isinstance(v.act, Neuron)}
    layers = (replace(v, act=replace(plain[v.name], **changes)) if v.act else v for v in drawn.network.layers)
    return replace(drawn.network, layers=tuple(layers))


def graph_of(network: Network, s: Semantics) -> Any:
    """The network as a NIR graph made for an importer of these semantics."""
    return to_nir(network, dt=s.dt, method=s.method, drive=s.drive)[0]


def agrees(told: Mapping[str, Any], network: Network, x: Array) -> Iterator[Measure]:
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


def run_by(subject: Oracle, graph: Any, x: Array) -> Mapping[str, Any]:
    """Spikes of every node, as the subject imports and runs a graph."""
    told: Mapping[str, Any] = subject.operator("nir_run")(np.frombuffer(to_bytes(graph), np.uint8), x)
    return told


def kept_or_refused(subject: Oracle, graph: Any, network: Network, x: Array) -> Iterator[Measure]:
    """Like `agrees`, but a graph that the subject does not import has met no harm."""
    _ = subject.operator("nir_run")  # none at all is no refusal
    try:
        told = run_by(subject, graph, x)
    except (Unavailable, OracleDied):  # nobody has answered
        raise
    except Exception:  # each library refuses in its own words, an assertion often
        yield Measure("refused", 0.0)
        return
    yield from agrees(told, network, x)


def export_of(d: Sketch, subject: Oracle) -> tuple[Network, Any, Measure]:
    """A network that the subject can express, the graph that it exports, and whether it could."""
    kind, s = stated(subject, d.kind)
    network = under(d, kind, s)
    try:
        for layer in network.spiking if subject.families else ():
            family_of(layer.act, subject.families)
    except Unsupported:  # a leaky neuron takes its input either scaled or whole
        network = under(d, kind, s, input_scaled=False)
    try:
        return network, read_nir(subject.operator("nir_export")(network)), Measure("cannot be written", 0.0)
    except (Unavailable, OracleDied):  # nobody has answered
        raise
    except OracleError as e:
        return network, None, Measure("cannot be written", 1.0, detail=str(e))


def weights_kept(network: Network, graph: Any) -> Iterator[Measure]:
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
