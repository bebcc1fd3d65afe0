"""SpikingJelly's ``ann2snn``: our ANN as a torch module, converted by the library, read back and run by the library.

The library puts a scaler ``1 / s``, an IF node with threshold 1 and a scaler ``s`` in the place of every ReLU. Read
back it is one neuron whose threshold and amplitude are both ``s``; the two forms are equal but for the rounding of the
product with ``1 / s``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..activation import Neuron, Relu
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, per_channel
from ..trace import Provenance, Trace
from .conversion import Converted

Tensor = Any
Module = Any
# option of our converters -> what the recipe calls it; what else is given goes to the recipe under its own name
RENAMED = {"per_channel": "channel_wise"}
FORMS = ("spiking_", "channel_spiking_", "ltb_spiking_")  # what recipes of version 2 call the k-th replaced ReLU


@dataclass
class Built:
    """A torch module with the graph of a Network, and how its parts are called in it."""

    module: Module
    names: dict[tuple[str, int], str] = field(default_factory=dict)  # (layer, branch) -> module; none for an identity
    relus: list[str] = field(default_factory=list)  # layers, in the order of their ReLUs


def convert(
    provenance: Provenance, network: Network, calibration: Array | None, *, x: Array | None = None, steps: int = 0,
    mode: str | float = "max", batch_size: int = 64, dtype: str = "float32", step_mode: str = "s",
    training: bool = False, recipe: str = "rate_coding", **options: Any,
) -> Converted:  # fmt: skip
    """Convert with the library's converter, and run the result where x and steps are given.

    Parameters
    ----------
    provenance : Provenance
    network : Network
        An ANN with ReLUs.
    calibration : array [N, *input_shape]
        Given in batches of `batch_size`, in its order.
    x : array [N, *input_shape], optional
    steps : int
    mode : str or float
        ``"max"``, ``"99.9%"``, a fraction such as 0.5 or ``"1/2"``; ``"channel-wise"`` is the maximum of each channel.
    batch_size : int
        Of the calibration: the library averages the batches' statistics.
    dtype : {"float32", "float64"}
    step_mode : {"s", "m"}
        Of the run; the multi-step form is version 2's.
    training : bool
        Whether the model is given in training mode.
    recipe : {"rate_coding", "local_threshold_balancing"}
        Of version 2.
    **options
        ``momentum``, ``fuse_flag``, and version 2's ``channel_wise`` (or ``per_channel``), ``half_threshold``,
        ``pre_spike_maxpool``, ``eps``.

    Raises
    ------
    Unsupported
        An option that the version lacks, an operation without a torch module, no calibration set, a refusal of the
        library (then under the name ``ann2snn``).
    """
    import torch

    torch.set_num_threads(1)
    kind = getattr(torch, dtype)
    if calibration is None:
        raise Unsupported(provenance.oracle, "it converts with a calibration set only", "give one")
    if mode == "channel-wise":
        mode, options = "max", {**options, "channel_wise": True}
    try:
        built = build(network, kind)
    except Unsupported as e:  # the library is not asked: not its refusal
        raise Unsupported(provenance.oracle, f"{e.where}: {e.what}", e.remedy) from e
    built.module.train(training)
    data = torch.utils.data.TensorDataset(
        torch.tensor(np.asarray(calibration), dtype=kind), torch.zeros(len(calibration))
    )
    loader = torch.utils.data.DataLoader(data, batch_size=batch_size)
    given = {RENAMED.get(k, k): v for k, v in options.items() if not (k in RENAMED and v is False)}
    if recipe == "rate_coding":
        given["mode"] = float(Fraction(mode)) if isinstance(mode, str) and "/" in mode else mode
    try:
        converted = _converted(provenance.oracle, built.module, loader, recipe, given)
    except (ValueError, NotImplementedError) as e:  # the library's refusals; anything else is a crash and passes
        raise Unsupported("ann2snn", str(e)) from e
    snn = read(network, built, converted)
    units = {v.name: np.ones(()) for v in network.layers}
    if x is None:
        return Converted(network, snn, units)
    inputs = torch.tensor(np.asarray(x), dtype=kind).expand(steps, *np.shape(x))
    return Converted(network, snn, units, *run(provenance, snn, converted, inputs, step_mode))


def _converted(who: str, module: Module, loader: Any, recipe: str, given: Mapping[str, Any]) -> Module:
    from spikingjelly.activation_based import ann2snn

    try:
        if not hasattr(ann2snn, "RateCodingRecipe"):
            if recipe != "rate_coding":
                raise Unsupported(who, f"recipe = {recipe!r}: this version has one recipe", "take 'rate_coding'")
            return ann2snn.Converter(loader, **given)(module)
        kind = {"rate_coding": "RateCodingRecipe", "local_threshold_balancing": "LocalThresholdBalancingRecipe"}[recipe]
        return ann2snn.Converter(getattr(ann2snn, kind)(loader, **given)).convert(module)
    except TypeError as e:
        if "unexpected keyword" in str(e):
            raise Unsupported(who, str(e)) from e
        raise


def build(network: Network, dtype: Any) -> Built:
    """Build a module that computes what the network says, its ReLUs as modules, residual sums by ``+``."""
    import torch

    class Graph(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            values = {INPUT: x}
            for layer in network.layers:
                parts = []
                for j, b in enumerate(layer.branches):
                    name = built.names.get((layer.name, j))
                    parts.append(values[b.source] if name is None else getattr(self, name)(values[b.source]))
                y = parts[0]
                for part in parts[1:]:
                    y = y + part
                values[layer.name] = getattr(self, f"relu_{layer_of[layer.name]}")(y) if layer.act else y
            return values[network.output.name]

    built = Built(Graph())
    layer_of = {v.name: i for i, v in enumerate(network.layers)}
    for i, layer in enumerate(network.layers):
        for j, b in enumerate(layer.branches):
            module = _module(layer.name, b.op, network.shapes[b.source])
            if module is not None:
                built.names[layer.name, j] = f"op_{i}_{j}"
                built.module.add_module(f"op_{i}_{j}", module)
        if layer.act is not None:
            if not isinstance(layer.act, Relu):
                raise Unsupported(layer.name, f"the library converts ReLU alone, not {type(layer.act).__name__}")
            built.relus.append(layer.name)
            built.module.add_module(f"relu_{i}", torch.nn.ReLU())
    built.module.to(dtype)
    return built


def _module(where: str, op: Op, shape: Shape) -> Module | None:
    import torch

    nn: Any = torch.nn

    def filled(module: Module, **values: Any) -> Module:
        for name, value in values.items():
            if value is not None:
                getattr(module, name).data = torch.tensor(np.asarray(value, float))
        return module

    axes = len(shape) - 1
    if isinstance(op, Flatten):
        return nn.Flatten()
    if isinstance(op, Dense):
        return filled(nn.Linear(*reversed(op.weight.shape), bias=op.bias is not None), weight=op.weight, bias=op.bias)
    if isinstance(op, Scale):
        if op.bias is None and not np.ndim(op.factor) and op.factor == 1:
            return None
        # A scale is a batch normalisation whose running variance is 1 - eps; with eps = 0 that is exact.
        norm = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[axes](shape[0], eps=0.0)
        factor, bias = (np.broadcast_to(p, shape[:1]) for p in (op.factor, 0.0 if op.bias is None else op.bias))
        return filled(norm, weight=factor, bias=bias)
    if isinstance(op, Conv):
        if any(a != b for a, b in op.padding):
            raise Unsupported(where, f"padding {op.padding}: torch pads both sides alike")
        inputs, outputs = op.channels
        kind = ((nn.Conv1d, nn.Conv2d), (nn.ConvTranspose1d, nn.ConvTranspose2d))[op.transposed][axes - 1]
        extra = {"output_padding": op.output_padding} if op.transposed else {}
        module = kind(inputs, outputs, op.weight.shape[2:], op.stride, tuple(a for a, _ in op.padding),
                      dilation=op.dilation, groups=op.groups, bias=op.bias is not None, **extra)  # fmt: skip
        return filled(module, weight=op.weight, bias=op.bias)
    return _pool(where, op, axes)


def _pool(where: str, op: Pool, axes: int) -> Module:
    import torch

    nn: Any = torch.nn
    if op.kind == "max":
        return (nn.MaxPool1d, nn.MaxPool2d)[axes - 1](op.kernel, op.stride, op.padding)
    if op.kind == "average":
        return (nn.AvgPool1d, nn.AvgPool2d)[axes - 1](op.kernel, op.stride, op.padding, False, op.count_include_pad)
    if axes == 1:
        raise Unsupported(where, "torch has no sum pooling over one axis")
    return nn.AvgPool2d(op.kernel, op.stride, op.padding, False, True, 1)


def read(network: Network, built: Built, converted: Module) -> Network:
    """Read weights, thresholds, amplitudes, initial potentials and the neuron's kind back from the converted model."""
    modules = dict(converted.named_modules())
    called = {n.target: n for n in converted.graph.nodes if n.op == "call_module"}
    placed = _placed(network, built, called, modules)
    layers = []
    for layer in network.layers:
        branches = []
        for j, b in enumerate(layer.branches):
            name = built.names.get((layer.name, j))
            # a batch normalisation that has been folded is called no more
            op = Scale() if name is not None and name not in called else b.op
            branches.append(Branch(_read_op(op, modules.get(name)), b.source))
        neuron = _neuron(*(modules[k] for k in placed[layer.name])) if layer.name in placed else None
        layers.append(Layer(layer.name, tuple(branches), neuron))
    return replace(network, layers=tuple(layers))


def _placed(network: Network, built: Built, called: Mapping[str, Any], modules: Mapping[str, Any]) -> dict[str, Any]:
    """Layer -> the names of scaler, node and scaler that stand behind it.

    They stand where the ReLU was, or behind the max pooling that followed it (``pre_spike_maxpool``).
    """
    pools = {built.names[v.name, 0]: v.name for v in network.layers if isinstance(v.branches[0].op, Pool)}
    found = {}
    for k, relu in enumerate(built.relus):
        spellings = [tuple(f"{form}{k}.{part}" for part in ("scaler0", "if_node", "scaler1")) for form in FORMS]
        spellings.append(tuple(f"snn tailor.{k}.{i}" for i in range(3)))
        names = next((s for s in spellings if s[0] in modules), None)
        if names is None:
            continue
        source = called[names[0]].args[0]
        found[pools.get(source.target, relu) if source.op == "call_module" else relu] = names
    return found


def _read_op(op: Op, module: Module) -> Op:
    if isinstance(op, (Dense, Conv)):
        bias = None if module.bias is None else module.bias.detach().numpy()
        return replace(op, weight=module.weight.detach().numpy(), bias=bias)
    if isinstance(op, Scale) and module is not None and hasattr(module, "running_var"):
        factor = (module.weight / (module.running_var + module.eps).sqrt()).detach().numpy()
        return Scale(factor, module.bias.detach().numpy() - module.running_mean.numpy() * factor)
    return op


def _neuron(before: Module, node: Module, after: Module) -> Neuron:
    """Neuron of a scaler, a node and a scaler, its potential in ANN units."""
    amplitude = after.scale.detach().numpy().astype(float)
    theta = float(node.v_threshold) / before.scale.detach().numpy().astype(float)
    if np.all(np.abs(theta - amplitude) <= 2.0**-22 * amplitude):  # 1 / s was rounded twice
        theta = amplitude
    soft = node.v_reset is None
    v_init = theta * (float(node.v) / float(node.v_threshold))
    return Neuron(
        theta, amplitude, v_init, reset="subtract" if soft else "value", v_reset=0.0 if soft else node.v_reset
    )


def run(
    provenance: Provenance, snn: Network, converted: Module, x: Tensor, step_mode: str = "s"
) -> tuple[Trace, Array]:
    """Run the converted model over x [T, N, *input_shape]: spikes and last potentials of every layer, mean read-out."""
    import torch
    from spikingjelly.activation_based import ann2snn, functional

    if step_mode == "m" and not hasattr(ann2snn, "RateCodingRecipe"):
        raise Unsupported("step_mode = 'm'", "the converted model of this version takes single steps", "take 's'")
    functional.reset_net(converted)
    functional.set_step_mode(converted, step_mode)
    nodes = [m for m in converted.modules() if hasattr(m, "v_threshold")]
    kept: dict[Any, list[Tensor]] = {node: [] for node in nodes}
    hooks = [node.register_forward_hook(lambda m, _, out: kept[m].append(out)) for node in nodes]
    with torch.no_grad():
        y = converted(x) if step_mode == "m" else torch.stack([converted(step) for step in x])
    for hook in hooks:
        hook.remove()
    spikes, v_end = {}, {}
    for layer, node in zip(snn.spiking, nodes, strict=True):
        recorded = kept[node][0] if step_mode == "m" else torch.stack(kept[node])
        spikes[layer.name] = recorded.numpy().astype(np.int32)
        theta = per_channel(layer.act.theta, snn.shapes[layer.name])  # type: ignore[union-attr]
        v_end[layer.name] = node.v.numpy() / node.v_threshold * theta
    summed = y.cumsum(0).numpy()
    at = tuple(range(1, len(x) + 1))
    counts = {k: s.sum(0, dtype=np.int64) for k, s in spikes.items()}
    trace = Trace(summed, at, counts, v_end, spikes, provenance=provenance)
    return trace, summed / np.reshape(at, (-1, *(1,) * (summed.ndim - 1)))
