"""snnTorch's operators: encoders, quantiser, surrogate gradients, NIR. Portable types in and out."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..network import Network, Shape
from .torch_cells import chain

# Without LSO, which raises at every call, and SSO, whose gradient is random.
SURROGATES = (
    "SFS", "atan", "fast_sigmoid", "heaviside", "sigmoid", "spike_rate_escape", "straight_through_estimator",
    "triangular",
)  # fmt: skip


def encode(name: str, x: Array, steps: int, seed: int = 0, **given: Any) -> Array:
    """Spikes [T, N, *shape] of x [N, *shape] in [0, 1]."""
    import torch
    from snntorch import spikegen

    torch.manual_seed(seed)
    found: Array = getattr(spikegen, name)(torch.from_numpy(np.array(x)), num_steps=steps, **given).numpy()
    return found


def delta(x: Array, **given: Any) -> Array:
    """Spikes [T, N, *shape] where the course x [T, N, *shape] rises (or falls) by a threshold."""
    import torch
    from snntorch import spikegen

    found: Array = spikegen.delta(torch.from_numpy(np.array(x)), **given).numpy()
    return found


def quantize_state(x: Array, bits: int = 8, threshold: float = 1.0, **given: Any) -> Array:
    """Nearest level of ``functional.quant.state_quant`` for every potential; `given` are its further arguments."""
    import torch
    from snntorch.functional import quant

    found: Array = quant.state_quant(num_bits=bits, threshold=threshold, **given)(torch.from_numpy(np.array(x))).numpy()
    return found


def gradient(name: str, x: Array) -> Array:
    """Surrogate derivative in float32 that autograd returns at the potential above threshold x, with default arguments."""
    import torch
    from snntorch import surrogate

    points = torch.from_numpy(np.array(x, np.float32)).requires_grad_(True)
    found: Array = torch.autograd.grad(getattr(surrogate, name)()(points).sum(), points)[0].numpy()
    return found


def nir_run(graph: Array, x: Array) -> dict[str, Array]:
    """Import a .nir file (uint8) and run x [T, N, *shape] through it, step by step: spikes [T, N, *shape] per node."""
    import nir
    import snntorch
    import torch
    from snntorch.import_nir import import_from_nir

    torch.set_num_threads(1)
    model = import_from_nir(nir.read(io.BytesIO(graph.tobytes())))
    found: dict[str, list[Array]] = {}
    for name, node in model.named_modules():
        if isinstance(node, snntorch.SpikingNeuron):
            told = name.removeprefix("nir_node_")  # how nirtorch spells a name that is a keyword
            node.register_forward_hook(partial(_keep, found.setdefault(told, [])))
    with torch.no_grad():
        for current in torch.from_numpy(np.array(x, np.float32)):
            model(current)  # the imported neurons hold their state themselves
    return {name: np.stack(steps) for name, steps in found.items()}


def _keep(steps: list[Array], _module: Any, _inputs: Any, out: Any) -> None:
    steps.append((out[0] if isinstance(out, tuple) else out).numpy().copy())


def nir_export(network: Network) -> Array:
    """Build a chain of layers from torch modules and the library's neurons and export it: bytes of the .nir file, uint8.

    Parameters of a neuron have the shape of a sample: the exporter refuses scalars.

    Raises
    ------
    Unsupported
        A sum of branches, an operation without a module, a neuron that no class expresses.
    """
    import nir
    import torch
    from snntorch.export_nir import export_to_nir

    def neuron(act: Neuron, shape: Shape) -> Any:
        from .snntorch import node_of

        return node_of(act, shape, torch.float32, full=True, init_hidden=True)

    model = torch.nn.Sequential(OrderedDict(chain(network, neuron)))
    graph = export_to_nir(model, torch.zeros(1, *network.input_shape), ignore_dims=[0])
    buffer = io.BytesIO()
    nir.write(buffer, graph)
    return np.frombuffer(buffer.getvalue(), np.uint8)


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "encode_rate": partial(encode, "rate"),
    "encode_latency": partial(encode, "latency", normalize=True),
    "encode_latency_linear": partial(encode, "latency", normalize=True, linear=True),
    "delta": delta,
    "quantize_state": quantize_state,
    "nir_run": nir_run,
    "nir_export": nir_export,
    **{f"gradient_{name}": partial(gradient, name) for name in SURROGATES},
}
