"""Norse's operators: encoders, surrogate gradients, NIR. Portable types in and out."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..network import Network, Shape
from .torch_cells import along, chain

METHODS = ("super", "triangle", "tanh", "circ", "heavi_erfc")
DT = 0.001  # the library's own defaults
ALPHA = 100.0


def encode(name: str, x: Array, steps: int, seed: int = 0, **given: Any) -> Array:
    """Spikes [T, N, *shape] of x [N, *shape]."""
    import norse.torch as norse
    import torch

    torch.manual_seed(seed)
    found: Array = getattr(norse, name)(torch.from_numpy(np.array(x)), steps, **given).numpy()
    return found


def population(x: Array, units: int, **given: Any) -> Array:
    """Activity [*shape, units] of the receptive fields of x [*shape]."""
    import norse.torch as norse
    import torch

    found: Array = norse.population_encode(torch.from_numpy(np.array(x)), units, **given).numpy()
    return found


def gradient(name: str, x: Array, alpha: float = ALPHA) -> Array:
    """Surrogate derivative in float32 that autograd returns at the potential above threshold x."""
    import torch
    from norse.torch.functional.threshold import threshold

    points = torch.from_numpy(np.array(x, np.float32)).requires_grad_(True)
    found: Array = torch.autograd.grad(threshold(points, name, alpha).sum(), points)[0].numpy()
    return found


def nir_run(graph: Array, x: Array) -> dict[str, Array]:
    """Import a .nir file (uint8) and run x [T, N, *shape] through it, step by step: spikes [T, N, *shape] per node."""
    import nir
    import norse.torch as norse
    import torch
    from norse.torch.module.iaf import IAFCell
    from norse.torch.module.lif_box import LIFBoxCell

    torch.set_num_threads(1)
    model = norse.from_nir(nir.read(io.BytesIO(graph.tobytes())))
    found: dict[str, list[Array]] = {}
    for name, node in model.named_modules():
        if isinstance(node, (IAFCell, LIFBoxCell)):
            told = name.removesuffix(".lif")  # the membrane of a current-based neuron is a module of its node
            node.register_forward_hook(partial(_keep, found.setdefault(told, [])))
    state = None
    with torch.no_grad():
        for current in torch.from_numpy(np.array(x, np.float32)):
            _, state = model(current, state)
    return {name: np.stack(steps) for name, steps in found.items()}


def _keep(steps: list[Array], _module: Any, _inputs: Any, out: Any) -> None:
    steps.append(out[0].numpy().copy())


def nir_export(network: Network) -> Array:
    """Build a chain of layers from torch modules and the library's cells and export it: bytes of the .nir file, uint8.

    Parameters of a cell have the shape of a sample, and the sample that is traced has no batch axis: the exporter takes
    its shape for the node's. Time constants are in seconds at the exporter's default time step.

    Raises
    ------
    Unsupported
        A sum of branches, an operation without a module, a neuron that no class expresses.
    """
    import nir
    import norse.torch as norse
    import torch

    def neuron(act: Neuron, shape: Shape) -> Any:
        from .norse import node_of

        return node_of(act, lambda value: along(value, shape, torch.float32).expand(shape).clone(), dt=DT)

    model = norse.SequentialState(*(module for _, module in chain(network, neuron)))  # which numbers its modules
    graph = norse.to_nir(model, torch.zeros(network.input_shape))
    buffer = io.BytesIO()
    nir.write(buffer, graph)
    return np.frombuffer(buffer.getvalue(), np.uint8)


OPERATORS: Mapping[str, Callable[..., Any]] = {
    # f_max: a rate of 1 is a spike in every step
    "encode_poisson": partial(encode, "poisson_encode", f_max=1 / DT),
    "encode_signed_poisson": partial(encode, "signed_poisson_encode", f_max=1 / DT),
    "encode_constant_current": partial(encode, "constant_current_lif_encode"),
    "encode_first_spike": partial(encode, "spike_latency_lif_encode"),
    "population": population,
    "nir_run": nir_run,
    "nir_export": nir_export,
    **{f"gradient_{name}": partial(gradient, name) for name in METHODS},
}
