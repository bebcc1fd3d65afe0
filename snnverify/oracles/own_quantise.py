"""Quantisation and surrogate training as operators of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..content import Array


def operators() -> dict[str, Callable[..., Any]]:
    """Operators by name.

    - ``grid_scale(w [C, K], precision, per_channel, power_of_two)``: scale of every channel, [C];
    - ``grid_weight(w, scale [C], precision)``: integers and values, [C, K], one scale a channel;
    - ``grid_gradient(w, scale [C], precision)``: gradient of the sum of all values in w [C, K] and in scale [C];
    - ``grid_network(network, precision, per_channel, power_of_two)``: a `QuantisedNetwork`;
    - ``grid_trained(network, x, y, precision, power_of_two)``: the same after two passes that train scales alone;
    - ``activation_grid(low, high)``: scale and zero point; ``activation_values(x, scale, zero)``;
    - ``surrogate_spikes(network, x, steps)``: of every spiking layer, torch's forward pass on ``spiking_twin(network)``;
    - ``surrogate_gradient(v, slope)``: derivative of a spike, v above the threshold.
    """
    return {
        "grid_scale": _scale,
        "grid_weight": _weight,
        "grid_gradient": _gradient,
        "grid_network": _network,
        "grid_trained": _trained,
        "activation_grid": _activation_grid,
        "activation_values": _activation_values,
        "surrogate_gradient": _spike_gradient,
        "surrogate_spikes": lambda network, x, steps: _native().spikes_of(_native().spiking_twin(network), x, steps)[0],
        "spiking_twin": lambda network: _native().spiking_twin(network),
    }


def _native() -> Any:
    from ..zoo import native

    return native


def _scale(w: Array, precision: str, per_channel: bool, power_of_two: bool) -> Array:
    import numpy as np

    from ..network import Dense
    from ..quantise import Grid, quantise_weight

    return np.broadcast_to(quantise_weight(Dense(w), Grid(precision, per_channel, power_of_two)).scale, len(w))


def _weight(w: Array, scale: Array, precision: str) -> tuple[Array, Array]:
    from ..network import Dense
    from ..quantise import Grid, quantise_weight

    found = quantise_weight(Dense(w), Grid(precision, True), scale)
    return found.integers, found.values


def _gradient(w: Array, scale: Array, precision: str) -> tuple[Array, Array]:
    import torch

    from ..quantise import Grid
    from ..zoo.qat import fake_quantise

    weight = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    s = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    fake_quantise(weight, s[:, None], Grid(precision, True)).sum().backward()
    assert weight.grad is not None
    assert s.grad is not None
    return weight.grad.numpy(), s.grad.numpy()


def _network(network: Any, precision: str, per_channel: bool, power_of_two: bool) -> Any:
    from ..quantise import Grid, quantise

    return quantise(network, Grid(precision, per_channel, power_of_two))


def _trained(network: Any, x: Array, y: Array, precision: str, power_of_two: bool) -> Any:
    from ..quantise import Grid
    from ..zoo.qat import Recipe, fine_tune_quantised

    recipe = Recipe(epochs=2, batch=4, lr_scales=0.1)  # so that no logarithm of a scale stays whole
    return fine_tune_quantised(network, x, y, Grid(precision, True, power_of_two), train="scales", recipe=recipe)


def _activation_grid(low: float, high: float) -> tuple[float, int]:
    from ..zoo.activations import grid_of

    found = grid_of(low, high)
    return found.scale, found.zero_point


def _activation_values(x: Array, scale: float, zero: int) -> Array:
    import torch

    from ..zoo.activations import Range, fake_quantise_activations

    return fake_quantise_activations(torch.tensor(x), Range(scale, zero, 0.0, 0.0)).numpy()


def _spike_gradient(v: Array, slope: float = 5.0) -> Array:
    import torch

    x = torch.tensor(v, dtype=torch.float64, requires_grad=True)
    _native().FastSigmoid.apply(x, slope).sum().backward()
    assert x.grad is not None
    return x.grad.numpy()
