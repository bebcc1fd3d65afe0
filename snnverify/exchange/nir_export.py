"""Network -> NIR, and what that loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import nir
import numpy as np

from ..activation import Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, per_channel
from .nir_semantics import Semantics, inverse, semantics_of

# What NIR's own equations say, read as steps.
EQUATIONS = {
    "fires": ">", "reset": "value", "reset_delay": 0, "v_init": 0.0, "max_spikes": 1, "v_floor": None,
    "order": "leak-integrate", "syn_order": "decay-add", "delay": 0, "count_include_pad": True,
}  # fmt: skip
# Axis of Neuron -> (what NIR's equations say, or None where they say nothing; how a sentence names it)
LOST: Mapping[str, tuple[Any, str]] = {
    "fires": (">", "it fires at v {0} theta, NIR's equation says v > theta"),
    "reset": ("value", "its reset is {0!r}, NIR's equation sets v to v_reset"),
    "reset_delay": (0, "its reset acts {0} step late"),
    "v_init": (None, "its potential starts at {0}"),
    "max_spikes": (1, "a step may hold {0} spikes (None: any number)"),
    "v_floor": (None, "its potential is kept at or above {0}"),
    "order": ("leak-integrate", "the leak acts on the input too ({0})"),
    "syn_order": ("decay-add", "the synaptic current decays after the input is added ({0})"),
}


MEMORYLESS = Neuron(fires=">", reset="none", leak=0.0)  # nir.Threshold


@dataclass
class _Graph:
    """Nodes and edges so far; `ends` are the nodes whose sum is the value of a layer."""

    network: Network
    step: Semantics
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    ends: dict[str, tuple[str, ...]] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)

    def add(self, name: str, node: Any, sources: tuple[str, ...], shapes: tuple[Shape, Shape]) -> str:
        """Add a node with its edges under a name that HDF5 and the libraries can hold."""
        name = free = name.replace("/", "_").replace(".", "_")
        k = 0
        while free in self.nodes:
            k += 1
            free = f"{name}_{k}"
        node.input_type, node.output_type = {"input": np.array(shapes[0])}, {"output": np.array(shapes[1])}
        self.nodes[free] = node
        self.edges += [(s, free) for s in sources]
        return free


def to_nir(
    network: Network, *, dt: float, method: str = "euler", drive: str = "held"
) -> tuple[nir.NIRGraph, tuple[str, ...]]:
    """Write a spiking network as a NIR graph.

    Parameters
    ----------
    network : Network
        Its activations are `Neuron` or None.
    dt, method, drive
        How an importer will make steps of the graph's time constants (see `Semantics`): they are chosen so that it finds
        the network's own decays, to the bit where floats allow that.

    Returns
    -------
    graph : NIRGraph
        A node for every operation and every neuron; the value of a spike goes into the weights after it.
    losses : tuple of str
        What the graph does not say: `semantics_of` gives it to `from_nir`.

    Raises
    ------
    Unsupported
        What NIR has no node for, by layer: analog activations, transposed convolutions, pooling over one axis, ...
    """
    step = Semantics(dt=dt, method=method, drive=drive, **EQUATIONS)  # type: ignore[arg-type]
    g = _Graph(network, step)
    g.losses.append(
        f"dt = {dt:g}, method {method!r} and drive {drive!r}, which time constants and resistances are made for"
    )
    shape = network.input_shape
    g.ends[INPUT] = (g.add(INPUT, nir.Input(np.array(shape)), (), (shape, shape)),)
    for layer in network.layers:
        _layer(g, layer)
    shape, last = network.shapes[network.output.name], network.output.name
    g.add("output", nir.Output(np.array(shape)), g.ends[last], (shape, shape))
    return nir.NIRGraph(g.nodes, g.edges, type_check=False), tuple(g.losses)


def _layer(g: _Graph, layer: Layer) -> None:
    act, shape = layer.act, g.network.shapes[layer.name]
    if act is not None and not isinstance(act, Neuron):
        raise Unsupported(layer.name, f"NIR has no node for {type(act).__name__}", "convert to a spiking network first")
    ends: list[str] = []
    for k, b in enumerate(layer.branches):
        alone = act is None and len(layer.branches) == 1
        ends += _branch(g, layer.name, layer.name if alone else f"{layer.name}_in{k}", b, tuple(ends))
    g.ends[layer.name] = tuple(ends)
    if act is None:
        return
    sources = tuple(ends)
    if act.delay:
        sources = (g.add(f"{layer.name}_delay", nir.Delay(np.full(shape, g.step.dt)), sources, (shape, shape)),)
    g.ends[layer.name] = (g.add(layer.name, _neuron(g, layer.name, act, shape), sources, (shape, shape)),)
    _say(g, layer.name, act)
    if not np.all(np.asarray(act.amplitude) == 1) and _folds(g.network, layer) is None:
        scale = nir.Scale(np.array(np.broadcast_to(per_channel(act.amplitude, shape), shape), float))
        g.ends[layer.name] = (g.add(f"{layer.name}_amplitude", scale, g.ends[layer.name], (shape, shape)),)


def _folds(network: Network, layer: Layer) -> float | None:
    """Value of a spike that goes into the weights of all its readers; None where one reader has none."""
    act = layer.act
    if not isinstance(act, Neuron) or np.ndim(act.amplitude) or layer is network.output:
        return None
    readers = [b.op for v in network.layers for b in v.branches if b.source == layer.name]
    return float(act.amplitude) if all(isinstance(op, (Dense, Conv, Scale)) for op in readers) else None


def _branch(g: _Graph, layer: str, name: str, b: Branch, taken: tuple[str, ...]) -> tuple[str, ...]:
    """Nodes whose sum is one branch; an identity needs none, unless the sum holds its source already."""
    source = next((v for v in g.network.layers if v.name == b.source), None)
    worth = None if source is None else _folds(g.network, source)
    op = b.op if worth is None or worth == 1 else _weighted(b.op, worth)
    ends = g.ends[b.source]
    identity = isinstance(op, Scale) and op.bias is None and bool(np.all(np.asarray(op.factor) == 1))
    if identity and not set(ends) & set(taken):
        return ends
    shape = g.network.shapes[b.source]
    # a branch has the shape of its layer
    return (g.add(name, _node(layer, op, shape), ends, (shape, g.network.shapes[layer])),)


def _weighted(op: Op, worth: float) -> Op:
    """Return the operation on spikes of value 1 instead of `worth`; the bias stays."""
    if isinstance(op, Scale):
        return replace(op, factor=np.asarray(op.factor) * worth)
    assert isinstance(op, (Dense, Conv))
    return replace(op, weight=op.weight * worth)


def _node(where: str, op: Op, shape: Shape) -> Any:
    """NIR's node for an operation on a sample of `shape`."""
    if isinstance(op, Dense):
        weight = np.array(op.weight)
        return nir.Linear(weight) if op.bias is None else nir.Affine(weight, np.array(op.bias))
    if isinstance(op, Flatten):
        return nir.Flatten({"input": np.array(shape)}, 0, -1)
    if isinstance(op, Scale):
        factor = np.array(np.broadcast_to(per_channel(op.factor, shape), shape), float)
        if op.bias is None:
            return nir.Scale(factor)
        bias = np.array(np.broadcast_to(op.bias, shape[:1]), float)
        one = np.broadcast_to(op.factor, shape[:1])
        if len(shape) == 1:
            return nir.Affine(np.diag(one), bias)
        kernel = one.reshape(shape[0], *(1,) * len(shape))  # one weight a channel
        return _node(where, Conv(np.array(kernel, float), bias, groups=shape[0]), shape)
    if isinstance(op, Pool):
        if op.kind not in ("sum", "average") or len(op.kernel) != 2:
            raise Unsupported(where, f"NIR has no {op.kind} pooling over {len(op.kernel)} axes", "")
        if op.kind == "average" and any(op.padding) and not op.count_include_pad:
            raise Unsupported(
                where, "NIR's average pooling cannot leave the padding out of the count", "pool without padding"
            )
        kind = nir.SumPool2d if op.kind == "sum" else nir.AvgPool2d
        return kind(*(np.array(k) for k in (op.kernel, op.stride, op.padding)))
    if op.transposed:
        raise Unsupported(where, "NIR has no transposed convolution", "")
    if any(a != b for a, b in op.padding):
        raise Unsupported(where, f"NIR pads both sides alike, not {op.padding}", "")
    padding = tuple(a for a, _ in op.padding)
    bias = np.zeros(op.weight.shape[0]) if op.bias is None else np.array(op.bias)
    weight = np.array(op.weight)
    if len(padding) == 1:
        return nir.Conv1d(shape[1], weight, op.stride[0], padding[0], op.dilation[0], op.groups, bias)
    return nir.Conv2d((shape[1], shape[2]), weight, op.stride, padding, op.dilation, op.groups, bias)


def _neuron(g: _Graph, where: str, act: Neuron, shape: Shape) -> Any:
    """NIR's node for a neuron; every parameter has the shape of the layer."""

    def full(value: Array | float) -> Array:
        return np.array(np.broadcast_to(per_channel(np.asarray(value, float), shape), shape))

    if replace(act, theta=1.0, amplitude=1.0, v_init=0.0, fires=">", delay=0) == MEMORYLESS:
        return nir.Threshold(full(act.theta))
    common = {"v_threshold": full(act.theta), "v_reset": full(act.v_reset)}
    held = g.step.drive == "held"
    if act.leak == 1:
        if act.syn_decay is not None or act.input_scaled:
            raise Unsupported(
                where, "NIR has no neuron without a leak whose input is filtered or scaled", "use leak < 1"
            )
        return nir.IF(r=full(_gain(g.step.dt, 1.0) if held else 1.0), **common)
    k = 1 - act.leak
    r = (1.0 if act.input_scaled else _gain(k, 1.0)) if held else (k if act.input_scaled else 1.0)
    common |= {"r": full(r), "v_leak": full(act.v_rest)}
    tau = _tau(g, where, act.leak)
    if act.syn_decay is None:
        return nir.LIF(tau=full(tau), **common)
    w_in = _gain(1 - act.syn_decay, 1.0) if held else 1.0
    return nir.CubaLIF(tau_syn=full(_tau(g, where, act.syn_decay)), tau_mem=full(tau), w_in=full(w_in), **common)


def _gain(per_step: float, wanted: float) -> float:
    """Resistance with which a step multiplies its input by `wanted`."""
    return inverse(lambda r: r * per_step, wanted / per_step, wanted)


def _tau(g: _Graph, where: str, decay: float) -> float:
    """Time constant whose factor per step is `decay`."""
    s = g.step
    if decay == 0 and s.method == "exponential":
        raise Unsupported(
            where, "a decay to 0 in one step has no time constant with method 'exponential'", "use 'euler'"
        )
    guess = s.dt / (1 - decay) if s.method == "euler" else -s.dt / float(np.log(decay))
    tau = inverse(lambda t: s.decay(where, "tau", t) if t >= s.dt or s.method != "euler" else -1.0, guess, decay)
    if (found := s.decay(where, "tau", tau)) != decay:
        g.losses.append(f"{where}: its factor per step {decay!r} comes back as {found!r}")
    return tau


def _say(g: _Graph, name: str, act: Neuron) -> None:
    """Add a sentence for everything about a neuron that the graph does not hold."""
    threshold_alone = isinstance(g.nodes.get(g.ends[name][0]), nir.Threshold)
    for axis, (said, sentence) in LOST.items():
        value = getattr(act, axis)
        idle = (axis == "syn_order" and act.syn_decay is None) or (axis == "order" and act.leak == 1)
        start = axis == "v_init" and np.all(np.asarray(value) == 0)
        if not (idle or start or np.array_equal(value, said) or (threshold_alone and axis == "reset")):
            g.losses.append(f"{name}: {sentence.format(value)}")
    if not np.all(np.asarray(act.amplitude) == 1):
        g.losses.append(f"{name}: a spike is worth {act.amplitude}, which went into what reads it")


__all__ = ["semantics_of", "to_nir"]
