"""NIR -> Network, under semantics that the caller states."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import nir
import numpy as np

from ..activation import Neuron
from ..content import Array
from ..errors import CodecError, ConfigError, NetworkError, Unsupported
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, output_shape
from .nir_read import WIRES, Flat, flatten, numbers, ordered, read_nir, reduced, uniform, whole
from .nir_semantics import Semantics

SPIKING = (nir.IF, nir.LIF, nir.CubaLIF, nir.Threshold)
INTEGRATORS = (nir.I, nir.LI, nir.CubaLI)


@dataclass(frozen=True)
class _Wire:
    """One value that a node hands on: `op` (the identity without one) on a layer, some steps late."""

    source: str
    op: Op | None = None
    delay: int = 0


@dataclass
class _Build:
    """Layers so far, and what every node hands on: the sum of its wires."""

    flat: Flat
    semantics: Semantics | Mapping[str, Semantics]
    layers: list[Layer] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    wires: dict[str, tuple[_Wire, ...]] = field(default_factory=dict)

    def of(self, name: str, node: Any) -> Semantics:
        """Semantics of a node: for all, or by its name, or by its kind."""
        if isinstance(self.semantics, Semantics):
            return self.semantics
        kind = type(node).__name__
        found = self.semantics.get(name) or self.semantics.get(kind)
        if found is None and not isinstance(node, SPIKING):  # pooling asks for one field alone, delays for dt
            found = next(iter(self.semantics.values()), None)
        if found is None:
            known = ", ".join(self.semantics) or "nothing"
            raise Unsupported(name, f"the semantics given say nothing of {kind} (they speak of {known})",
                              f"give Semantics for {kind!r}, or one for all nodes")  # fmt: skip
        return found

    def add(self, name: str, branches: tuple[Branch, ...], act: Neuron | None = None) -> None:
        """Append a layer."""
        self.layers.append(Layer(name, branches, act))
        self.shapes[name] = output_shape(branches[0].op, self.shapes[branches[0].source])


def from_nir(
    graph: nir.NIRGraph | str | os.PathLike[str] | bytes | Array, *, semantics: Semantics | Mapping[str, Semantics]
) -> Network:
    """Read a NIR graph as a network whose every time step is defined.

    Parameters
    ----------
    graph : NIRGraph, path of a ``.nir`` file, or its bytes
    semantics : Semantics, or mapping of node name or kind to Semantics
        What NIR leaves open; `PRESETS` holds what the libraries' own importers choose.

    Returns
    -------
    Network
        A layer per node, named after it (``subgraph/node`` inside a subgraph); a dense layer, convolution or scaling that
        feeds one neuron alone is a branch of it. Resistances and input weights are multiplied into the weights.

    Raises
    ------
    ConfigError
        Semantics that are missing.
    CodecError
        A malformed file or graph.
    Unsupported
        A node, by name, that a network cannot express: integrators without spikes, cycles, parameters per unit, ...
    NetworkError
        Shapes that do not fit together.
    """
    if not isinstance(semantics, (Semantics, Mapping)):
        raise ConfigError(f"semantics = {semantics!r}: a Semantics, or a mapping of node names or kinds to Semantics")
    flat = flatten(graph if isinstance(graph, nir.NIRGraph) else read_nir(graph))
    build = _Build(flat, semantics)
    order = ordered(flat)
    last = next(n for n in order if isinstance(flat.nodes[n], nir.Output) and "/" not in n)
    for name in order:
        node, sources = flat.nodes[name], flat.sources[name]
        if not sources and not isinstance(node, nir.Input):
            raise Unsupported(
                name, f"nothing feeds this {type(node).__name__}", "connect it to the Input, or remove it"
            )
        if name != last and not flat.targets(name):
            raise Unsupported(
                name, f"this {type(node).__name__} feeds nothing", "connect it to the Output, or remove it"
            )
        incoming = tuple(w for s in sources for w in build.wires[s])
        if name == INPUT and not isinstance(node, nir.Input):
            what = f"a {type(node).__name__} of this name"
            raise Unsupported(name, what, "it is the name of a network's input: rename the node")
        try:
            build.wires[name] = _node(build, name, node, incoming)
        except NetworkError as e:
            raise NetworkError(f"node {name!r}: {e}") from None
    return Network(build.shapes[INPUT], tuple(build.layers), "NIR")


def _node(build: _Build, name: str, node: Any, incoming: tuple[_Wire, ...]) -> tuple[_Wire, ...]:
    """What one node hands on; adds its layer where it is one."""
    if isinstance(node, nir.Input) and not incoming:
        shape = whole(name, "shape", node.input_type["input"], np.size(node.input_type["input"]))
        if not 1 <= len(shape) <= 3 or min(shape) < 1:
            raise Unsupported(name, f"an input of shape {shape}", "sample axes are (C,), (C, L) or (C, H, W)")
        build.shapes[INPUT] = shape
        return (_Wire(INPUT),)
    if isinstance(node, nir.Output) and "/" not in name:
        return _output(build, name, incoming)
    if isinstance(node, WIRES):
        return incoming
    if isinstance(node, nir.Delay):
        steps = _steps(name, node, build.of(name, node).dt)
        return tuple(replace(w, delay=w.delay + steps) for w in incoming)
    if isinstance(node, SPIKING):
        return _spiking(build, name, node, incoming)
    if isinstance(node, INTEGRATORS):
        raise Unsupported(name, f"{type(node).__name__} integrates without spikes, which no layer of a network does",
                          "replace it by a spiking node, or read out the layer before it")  # fmt: skip
    ops = _linear(build, name, node, incoming)
    late = {w.delay for w in incoming}
    biased = getattr(ops[0], "bias", None) is not None
    if len(late) > 1 or (biased and late != {0}):
        raise Unsupported(
            name, f"its inputs come {sorted(late)} steps late, its bias does not", "put the Delay behind it"
        )
    feeds = build.flat.targets(name)
    inline = len(feeds) == 1 and isinstance(build.flat.nodes[feeds[0]], SPIKING)
    if inline and not isinstance(ops[0], (Pool, Flatten)):
        return tuple(replace(w, op=op) for w, op in zip(incoming, ops, strict=True))
    build.add(name, tuple(Branch(op, w.source) for w, op in zip(incoming, ops, strict=True)))
    return (_Wire(name, delay=late.pop()),)


def _linear(build: _Build, name: str, node: Any, incoming: tuple[_Wire, ...]) -> tuple[Op, ...]:
    """One operation for each summand of the input; the bias belongs to the first alone."""
    shape = build.shapes[incoming[0].source]
    kind = type(node).__name__
    op: Op
    if isinstance(node, (nir.Affine, nir.Linear)):
        weight = numbers(name, "weight", node.weight)
        if weight.ndim != 2:
            raise Unsupported(name, f"{kind} with a weight of shape {weight.shape}", "give [out, in]")
        op = Dense(weight, _bias(name, node))
    elif isinstance(node, nir.Scale):
        op = Scale(reduced(name, "scale", node.scale, shape))
    elif isinstance(node, (nir.Conv1d, nir.Conv2d)):
        op = _conv(name, node, 1 if isinstance(node, nir.Conv1d) else 2)
    elif isinstance(node, (nir.SumPool2d, nir.AvgPool2d)):
        kernel, stride, padding = (whole(name, k, getattr(node, k), 2) for k in ("kernel_size", "stride", "padding"))
        averages = isinstance(node, nir.AvgPool2d)
        whole_kernel = not (averages and any(padding)) or build.of(name, node).count_include_pad
        op = Pool("average" if averages else "sum", kernel, stride, padding, whole_kernel)
    elif isinstance(node, nir.Flatten):
        start, end = (whole(name, k, getattr(node, k), 1)[0] for k in ("start_dim", "end_dim"))
        first, last = (k + len(shape) if k < 0 else k for k in (start, end))
        if first == last:
            return (Scale(1.0),) * len(incoming)
        if (first, last) != (0, len(shape) - 1):
            raise Unsupported(name, f"Flatten from axis {start} to {end} of a sample {shape}",
                              "flatten all sample axes: start_dim=0 (NIR's axes do not count the batch)")  # fmt: skip
        op = Flatten()
    else:
        raise Unsupported(name, f"{kind} is no node that a network can express", "see the list in from_nir")
    return (op, *(replace(op, bias=None) if isinstance(op, (Dense, Conv)) else op for _ in incoming[1:]))


def _bias(name: str, node: Any) -> Array | None:
    """Bias of a node; zeros are none."""
    given = getattr(node, "bias", None)
    if given is None:
        return None
    bias = numbers(name, "bias", given)
    return bias if np.any(bias) else None


def _conv(name: str, node: Any, axes: int) -> Conv:
    weight = numbers(name, "weight", node.weight)
    if weight.ndim != axes + 2:
        raise CodecError(f"{name}: weight of shape {weight.shape}; [out, in / groups] and {axes} axes of the kernel")
    stride, dilation = (whole(name, k, getattr(node, k), axes) for k in ("stride", "dilation"))
    word = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    named = isinstance(word, str)
    if named and word == "same":
        if max(stride) > 1:
            raise Unsupported(
                name, f"padding 'same' with stride {stride} is not defined", "give the padding in numbers"
            )
        over = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = tuple((k // 2, k - k // 2) for k in over)  # the odd zero goes behind, as in torch
    else:
        padding = tuple((p, p) for p in whole(name, "padding", 0 if named and word == "valid" else word, axes))
    if min(p[0] for p in padding) < 0:
        raise CodecError(f"{name}: padding = {word}; at least 0")
    groups = whole(name, "groups", node.groups, 1)[0]
    return Conv(weight, _bias(name, node), stride, padding, dilation, groups)


def _steps(name: str, node: Any, dt: float) -> int:
    """Whole number of time steps that a Delay node holds back, the same for all its units."""
    delays = numbers(name, "delay", node.delay)
    if delays.size == 0 or np.any(delays != delays.flat[0]):
        raise Unsupported(name, "its delays differ from unit to unit", "one delay a node: split the layer")
    steps = float(delays.flat[0]) / dt
    if steps not in (0, 1):
        what = f"a delay of {delays.flat[0]:g} is {steps:g} steps of dt = {dt:g}"
        raise Unsupported(name, f"{what}; a layer holds back 0 or 1", "choose dt so that it is one step")
    return int(steps)


def _spiking(build: _Build, name: str, node: Any, incoming: tuple[_Wire, ...]) -> tuple[_Wire, ...]:
    s = build.of(name, node)
    first = incoming[0]
    shape = build.shapes[first.source] if first.op is None else output_shape(first.op, build.shapes[first.source])
    late = {w.delay + s.delay for w in incoming}
    if len(late) > 1 or max(late) > 1:
        raise Unsupported(name, f"its inputs come {sorted(late)} steps late", "all inputs of a layer, 0 or 1 step late")
    act, gain = _neuron(name, node, shape, s)
    branches = tuple(Branch(_scaled(w.op or Scale(1.0), gain), w.source) for w in incoming)
    build.add(name, branches, replace(act, delay=late.pop()))
    return (_Wire(name),)


def _neuron(name: str, node: Any, shape: Shape, s: Semantics) -> tuple[Neuron, Array]:
    """Dynamics of a node as a step, and the factor that goes into the weights before it."""
    if isinstance(node, nir.Threshold):  # no memory: v = I
        theta = _theta(name, "threshold", node.threshold, shape)
        return Neuron(theta, fires=s.fires, reset="none", leak=0.0), np.ones(())  # type: ignore[arg-type]
    theta = _theta(name, "v_threshold", node.v_threshold, shape)
    gain = reduced(name, "r", node.r, shape)
    v_reset = uniform(name, "v_reset", node.v_reset, shape) if s.reset == "value" else 0.0
    leak, rest, syn_decay, scaled = 1.0, 0.0, None, False
    if isinstance(node, nir.IF):
        gain = gain * s.dt if s.drive == "held" else gain
    else:
        field_of = "tau" if isinstance(node, nir.LIF) else "tau_mem"
        leak = s.decay(name, field_of, uniform(name, field_of, getattr(node, field_of), shape))
        rest = uniform(name, "v_leak", node.v_leak, shape)
        scaled = s.drive == "held" and gain.ndim == 0 and float(gain) == 1
        gain = gain * (1 - leak) if s.drive == "held" and not scaled else gain
    if isinstance(node, nir.CubaLIF):
        syn_decay = s.decay(name, "tau_syn", uniform(name, "tau_syn", node.tau_syn, shape))
        w_in = reduced(name, "w_in", node.w_in, shape)
        gain = gain * (w_in * (1 - syn_decay) if s.drive == "held" else w_in)
    start = uniform(name, "v_reset", node.v_reset, shape) if s.v_init == "v_reset" else rest
    floor = -uniform(name, "v_threshold", node.v_threshold, shape) if s.v_floor == "-v_threshold" else s.v_floor
    act = Neuron(
        theta, v_init=start if isinstance(s.v_init, str) else s.v_init, fires=s.fires, reset=s.reset,  # type: ignore[arg-type]
        v_reset=v_reset, reset_delay=s.reset_delay, max_spikes=s.max_spikes, v_floor=floor, leak=leak, v_rest=rest,  # type: ignore[arg-type]
        input_scaled=scaled, syn_decay=syn_decay, syn_order=s.syn_order, order=s.order,  # type: ignore[arg-type]
    )  # fmt: skip
    return act, gain


def _theta(name: str, field_of: str, value: Any, shape: Shape) -> Array:
    theta = reduced(name, field_of, value, shape)
    if np.any(theta <= 0):
        raise Unsupported(name, f"{field_of} = {theta.min():g}", "a threshold is > 0")
    return theta


def _scaled(op: Op, gain: Array) -> Op:
    """Return the operation with its output multiplied by `gain`, () or (C,)."""
    if np.all(gain == 1):
        return op
    if isinstance(op, Scale):
        return Scale(op.factor * gain)
    assert isinstance(op, (Dense, Conv))
    rows = gain.reshape(gain.shape + (1,) * (op.weight.ndim - 1)) if gain.ndim else gain
    return replace(op, weight=op.weight * rows, bias=None if op.bias is None else op.bias * gain)


def _output(build: _Build, name: str, incoming: tuple[_Wire, ...]) -> tuple[_Wire, ...]:
    """The last layer is the output; a sum, or the bare input, becomes a layer of its own."""
    if any(w.delay for w in incoming):
        raise Unsupported(name, "what it gets is delayed", "a delay acts on the input of a neuron")
    if len(incoming) > 1 or incoming[0].source == INPUT:
        build.add(name, tuple(Branch(Scale(1.0), w.source) for w in incoming))
    return incoming
