"""sinabs' operators: quantisers, encoders, surrogate gradients, NIR. Portable types in and out."""

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
from ..network import Layer, Network
from .sinabs_modules import build, is_chain

Module = Any


def nir_run(graph: Array, x: Array) -> dict[str, Array]:
    """Run a NIR graph by the library's importer and simulator.

    Parameters
    ----------
    graph : uint8 array
        Bytes of a ``.nir`` file.
    x : array [T, N, *shape]

    Returns
    -------
    mapping of node to array [T, N, *shape]
        What the stateful nodes emit, and ``"output"``.
    """
    import nir
    import torch
    from sinabs.layers import StatefulLayer
    from sinabs.nir import from_nir

    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        path = Path(folder, "graph.nir")
        path.write_bytes(np.asarray(graph, np.uint8).tobytes())
        read = nir.read(str(path))
    T, N = x.shape[:2]
    model = from_nir(read, batch_size=N)
    values: dict[str, Array] = {}

    def told(out: Any) -> Array:
        tensor = out[0] if isinstance(out, tuple) else out
        back: Array = tensor.unflatten(0, (N, T)).transpose(0, 1).numpy()
        return back

    def keep(name: str, module: Module, _: Any, out: Any) -> None:
        values[name] = told(out)

    for name, module in model.named_modules():
        if isinstance(module, StatefulLayer):
            module.register_forward_hook(partial(keep, name))
    with torch.no_grad():
        values["output"] = told(model(torch.tensor(np.asarray(x, np.float32)).transpose(0, 1).flatten(0, 1)))
    return values


def nir_export(network: Network, sample: Array | None = None) -> Array:
    """Bytes of the ``.nir`` file that the library makes of a chain of its modules.

    Parameters
    ----------
    network : Network
        A chain; its neurons as `sinabs.layer_of` builds them.
    sample : array [N, *input_shape], optional
        Sample data that shapes are taken from; zeros where left out.
    """
    import nir
    import torch
    from sinabs.nir import to_nir

    from .sinabs import layer_of

    torch.set_num_threads(1)
    if not is_chain(network):
        raise Unsupported("to_nir", "the exporter follows a sequence of modules", "use a chain")

    def neuron(layer: Layer) -> Module:
        if not isinstance(layer.act, Neuron):
            raise Unsupported(layer.name, f"{type(layer.act).__name__} is not a neuron of this library")
        return layer_of(layer.act, network.shapes[layer.name], torch.float32, 1, exact=False)

    model = build(network, neuron)
    x = torch.zeros(1, *network.input_shape) if sample is None else torch.tensor(np.asarray(sample, np.float32))
    with torch.no_grad():
        model(x)
        graph = to_nir(model, x)
    with TemporaryDirectory() as folder:
        path = Path(folder, "graph.nir")
        nir.write(str(path), graph)
        return np.frombuffer(path.read_bytes(), np.uint8)


def quantize_floor(x: Array, levels: int = 0) -> Array:
    """``sinabs.layers.QuantizeLayer``: ``floor(x)``; it has no levels to choose."""
    from sinabs.layers import QuantizeLayer

    return _applied(QuantizeLayer(), x)


def quantize_relu(x: Array, levels: int = 0, stochastic_rounding: bool = False, training: bool = False) -> Array:
    """``sinabs.layers.NeuromorphicReLU``: floor of a ReLU; documented to floor in evaluation mode as well."""
    from sinabs.layers import NeuromorphicReLU

    return _applied(NeuromorphicReLU(stochastic_rounding=stochastic_rounding).train(training), x)


def round_stochastic(x: Array, seed: int = 0) -> Array:
    """``sinabs.activation.StochasticRounding``: the ceiling of x with probability ``x - floor(x)``."""
    import torch
    from sinabs.activation import StochasticRounding

    torch.manual_seed(seed)
    return _applied(StochasticRounding.apply, x)


def encode_rate_image(x: Array, steps: int, seed: int = 0, negative_spikes: bool = False) -> Array:
    """``sinabs.layers.Img2SpikeLayer``: rates [*shape] in [0, 1] to spikes [T, *shape]."""
    import torch
    from sinabs.layers import Img2SpikeLayer

    torch.manual_seed(seed)
    layer = Img2SpikeLayer(x.shape, tw=steps, max_rate=1000, norm=1.0, negative_spikes=negative_spikes)
    return _applied(layer, x)


def signal_to_spikes(x: Array, steps: int, seed: int = 0) -> Array:
    """``sinabs.layers.Sig2SpikeLayer``: a signal [channels, t] in [0, 1] to spikes [steps t, channels]."""
    import torch
    from sinabs.layers import Sig2SpikeLayer

    torch.manual_seed(seed)
    return _applied(Sig2SpikeLayer(x.shape[0], tw=steps), x)


def pool_spiking_max(x: Array, kernel: tuple[int, int]) -> Array:
    """``sinabs.layers.SpikingMaxPooling2dLayer`` on [T, C, H, W]."""
    from sinabs.layers import SpikingMaxPooling2dLayer

    return _applied(SpikingMaxPooling2dLayer(kernel), x)


def pool_sum(x: Array, kernel: tuple[int, int], stride: tuple[int, int] | None = None) -> Array:
    """``sinabs.layers.SumPool2d`` on [N, C, H, W]."""
    from sinabs.layers import SumPool2d

    return _applied(SumPool2d(kernel, stride), x)


def gradient(name: str, x: Array, theta: float = 1.0, **given: float) -> Array:
    """Derivative of a spike with respect to the potential, by the surrogate `name` with its own defaults.

    Parameters
    ----------
    name : str
        Class of ``sinabs.activation``.
    x : array
        Potentials, counted from the threshold.
    theta : float
        Threshold.
    given
        Parameters of the surrogate.
    """
    import torch
    from sinabs import activation

    v = torch.tensor(np.asarray(x, float) + theta, requires_grad=True)
    threshold = torch.tensor(theta, dtype=torch.float64)
    activation.SingleSpike.apply(v, threshold, getattr(activation, name)(**given)).sum().backward()
    assert v.grad is not None
    back: Array = v.grad.numpy()
    return back


def _applied(module: Callable[..., Any], x: Array) -> Array:
    import torch

    with torch.no_grad():
        y: Array = module(torch.tensor(np.asarray(x, np.float32))).numpy()
    return y


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "nir_run": nir_run,
    "nir_export": nir_export,
    "quantize_floor": quantize_floor,
    "quantize_relu": quantize_relu,
    "round_stochastic": round_stochastic,
    "encode_rate_image": encode_rate_image,
    "signal_to_spikes": signal_to_spikes,
    "pool_spiking_max": pool_spiking_max,
    "pool_sum": pool_sum,
    "gradient_gaussian": partial(gradient, "Gaussian"),
    "gradient_single_exponential": partial(gradient, "SingleExponential"),
    # not the derivative of a symmetric sigmoid, and not documented as one
    "surrogate_heaviside": partial(gradient, "Heaviside"),
    "surrogate_multi_gaussian": partial(gradient, "MultiGaussian"),
    "surrogate_periodic_exponential": partial(gradient, "PeriodicExponential"),
}
