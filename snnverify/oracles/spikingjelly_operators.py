"""SpikingJelly's operators: folding, quantisers, encoders, surrogate gradients, NIR. Portable types in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import Conv, Dense, Flatten, Network, Pool

DT = 1e-4  # the library's own default time step in NIR
# those whose primitive is an odd function about the threshold: the others (LeakyKReLU, LogTailedReLU, S2NN, and
# SquarewaveFourierSeries with its negative lobes) do not claim what checks ask of a surrogate
SURROGATES = (
    "ATan", "DeterministicPass", "Erf", "FakeNumericalGradient", "NonzeroSignLogAbs", "PiecewiseExp",
    "PiecewiseLeakyReLU", "PiecewiseQuadratic", "QPseudoSpike", "Rect", "Sigmoid", "SoftSign", "SuperSpike",
)  # fmt: skip


def operators(modern: bool) -> Mapping[str, Callable[..., Any]]:
    """Operators by the names that checks know; `modern` is version 2."""
    from spikingjelly.activation_based import surrogate

    found: dict[str, Callable[..., Any]] = {
        "fold_batchnorm": partial(fold_batchnorm, modern),
        "quantize_k_bit": partial(_quantize, "k_bit_quantize", k=4),
        "quantize_step": partial(_quantize, "step_quantize", step=1.0),  # the default of version 2
        "encode_poisson": partial(_encode, "PoissonEncoder"),
        "encode_latency": partial(_encode, "LatencyEncoder"),
        "encode_latency_log": partial(_encode, "LatencyEncoder", enc_function="log"),
        "weighted_phase": partial(_encode, "WeightedPhaseEncoder"),  # of x up to 1 - 2^-T alone
    }
    for name in SURROGATES:
        if hasattr(surrogate, name):
            found[f"gradient_{name}"] = partial(gradient, name)
            found[f"primitive_{name}"] = partial(primitive, name)
    if modern:
        found |= {
            "quantize_spike_count": partial(_quantize, "multi_level_spike_count", max_spike_count=4),  # as ILIFNode
            "qcfs": qcfs,
            "nir_run": nir_run,
            "nir_export": nir_export,
        }
    return found


def fold_batchnorm(
    modern: bool, weight: Array, bias: Array | None, gamma: Array, beta: Array, mean: Array, var: Array, eps: float,
    groups: int = 1, transposed: bool = False,
) -> tuple[Array, Array]:  # fmt: skip
    """Fold through the converter's own pass over a graph of two modules, in float64.

    Raises
    ------
    Unsupported
        A dense or transposed layer: the library leaves its batch normalisation as it is.
    """
    import torch
    from spikingjelly.activation_based import ann2snn
    from torch import fx, nn

    axes = weight.ndim - 2
    if transposed or axes < 1:
        raise Unsupported("fold_batchnorm", "the library folds into convolutions alone", "leave it unfolded")
    kinds = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d))[axes - 1]
    out, per_group = weight.shape[:2]
    conv: Any = kinds[0](per_group * groups, out, weight.shape[2:], groups=groups, bias=bias is not None).double()
    norm: Any = kinds[1](out, eps=eps).double()
    given = ((conv.weight, weight), (conv.bias, bias), (norm.weight, gamma), (norm.bias, beta),
             (norm.running_mean, mean), (norm.running_var, var))  # fmt: skip
    for parameter, value in given:
        if value is not None:
            parameter.data = torch.from_numpy(np.array(value, float))
    traced = fx.symbolic_trace(nn.Sequential(conv, norm).eval())
    fuse = ann2snn.RateCodingRecipe([]).after_trace if modern else ann2snn.Converter([]).fuse
    folded = fuse(_On("cpu"), traced) if modern else fuse(traced)
    found = folded.get_submodule("0")
    return found.weight.detach().numpy(), found.bias.detach().numpy()


class _On:
    """All that a recipe's step asks of the converter that calls it."""

    def __init__(self, device: str) -> None:
        self.device = device


def qcfs(x: Array, levels: int, theta: float) -> Array:
    """Sum over the spikes that ``SignedQCFSSequenceEncoder`` makes of rectified x [N, C], in units of x."""
    import torch
    from spikingjelly.activation_based.ann2snn.qcfs import SignedQCFSSequenceEncoder

    rectified = torch.from_numpy(np.maximum(x, 0))
    scale = torch.full((x.shape[-1],), theta / levels, dtype=rectified.dtype)
    summed: Array = SignedQCFSSequenceEncoder(scale, levels).encode(rectified).sum(0).numpy()
    return summed


def _quantize(name: str, x: Array, **given: float) -> Array:
    import torch
    from spikingjelly.activation_based import quantize

    found: Array = getattr(quantize, name)(torch.from_numpy(np.array(x)), **given).numpy()
    return found


def _encode(name: str, x: Array, steps: int, seed: int = 0, **given: Any) -> Array:
    """Spikes [T, N, *shape] of x [N, *shape]."""
    import torch
    from spikingjelly.activation_based import encoding

    torch.manual_seed(seed)
    kind = getattr(encoding, name)
    encoder = kind() if name == "PoissonEncoder" else kind(steps, **given)
    values = torch.from_numpy(np.array(x))
    return np.stack([encoder(values).numpy() for _ in range(steps)])


def gradient(name: str, x: Array) -> Array:
    """Surrogate derivative that autograd returns at x, with the class's own parameters."""
    import torch
    from spikingjelly.activation_based import surrogate

    points: Any = torch.from_numpy(np.array(x)).requires_grad_(True)
    getattr(surrogate, name)()(points).sum().backward()
    found: Array = points.grad.numpy()
    return found


def primitive(name: str, x: Array) -> Array:
    """Values at x of the function whose derivative the surrogate is said to be."""
    import torch
    from spikingjelly.activation_based import surrogate

    function = getattr(surrogate, name)()
    try:
        function.set_spiking_mode(False)
        found: Array = function(torch.from_numpy(np.array(x))).numpy()
    except (NotImplementedError, AttributeError):
        raise Unsupported(f"surrogate.{name}", "the class has no primitive function") from None
    return found


def nir_run(graph: Array, x: Array) -> dict[str, Array]:
    """Import a .nir file (uint8) and run x [T, N, *shape] through it, step by step: spikes [T, N, *shape] per node."""
    import torch
    from spikingjelly.activation_based import base, nir_exchange

    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.nir"
        path.write_bytes(graph.tobytes())
        model = nir_exchange.import_from_nir(str(path), dt=DT)
    found: dict[str, list[Array]] = {}
    nodes = {name: m for name, m in model.named_modules() if isinstance(getattr(m, "module", None), base.MemoryModule)}
    for name, node in nodes.items():
        node.register_forward_hook(lambda _m, _i, out, name=name: found.setdefault(name, []).append(out[0].numpy()))
    with torch.no_grad():
        state = None
        for current in torch.from_numpy(np.array(x, np.float32)):
            out = model(current, state)
            state = out[1] if isinstance(out, tuple) else None
    return {name: np.stack(steps) for name, steps in found.items()}


def nir_export(network: Network) -> Array:
    """Build a chain of layers from the library's modules and export it: the bytes of the .nir file, uint8.

    Raises
    ------
    Unsupported
        A sum of branches or an operation without a module of the library.
    """
    import torch
    from spikingjelly.activation_based import nir_exchange

    model, source = torch.nn.Sequential(), "input"
    for layer in network.layers:
        if len(layer.branches) != 1 or layer.branches[0].source != source:
            raise Unsupported(layer.name, "only a chain of layers is built for export")
        model.add_module(f"{layer.name}_op", _module(layer.name, layer.branches[0].op))
        if layer.act is not None:
            model.add_module(layer.name, _neuron(layer.name, layer.act))
        source = layer.name
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.nir"
        nir_exchange.export_to_nir(model, torch.zeros(1, *network.input_shape), save_path=str(path), dt=DT)
        return np.frombuffer(path.read_bytes(), np.uint8)


def _module(where: str, op: Any) -> Any:
    import torch
    from spikingjelly.activation_based import layer

    if isinstance(op, Flatten):
        return layer.Flatten()
    if isinstance(op, Pool) and op.kind == "average" and len(op.kernel) == 2:
        return layer.AvgPool2d(op.kernel, op.stride, op.padding, count_include_pad=op.count_include_pad)
    if not isinstance(op, (Dense, Conv)) or (isinstance(op, Conv) and op.transposed):
        raise Unsupported(where, f"{type(op).__name__} has no module that the library exports")
    if isinstance(op, Dense):
        module = layer.Linear(*reversed(op.weight.shape), bias=op.bias is not None)
    else:
        kind = (layer.Conv1d, layer.Conv2d)[op.weight.ndim - 3]
        inputs, outputs = op.channels
        module = kind(inputs, outputs, op.weight.shape[2:], op.stride, tuple(a for a, _ in op.padding), op.dilation,
                      op.groups, bias=op.bias is not None)  # fmt: skip
    module.weight.data = torch.tensor(op.weight, dtype=torch.float32)
    if op.bias is not None:
        module.bias.data = torch.tensor(op.bias, dtype=torch.float32)
    return module


def _neuron(where: str, act: Any) -> Any:
    from .spikingjelly import node_of

    if not isinstance(act, Neuron) or np.ndim(act.theta):
        raise Unsupported(where, "a neuron with one threshold is exported")
    return node_of(act, float(act.theta))
