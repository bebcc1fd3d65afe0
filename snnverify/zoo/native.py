"""Native training: the same architecture as a spiking net, by backpropagation through time with a surrogate gradient.

A spike's derivative is replaced by that of a fast sigmoid, ``1 / (1 + slope |v - theta|)^2`` (Zenke & Ganguli, Neural
Comput. 30(6), 2018; Neftci et al., IEEE Signal Process. Mag. 36(6), 2019). Neurons are those of a conversion: the input is
a constant current, threshold 1, soft reset at once, no leak, and the read-out adds up what the last layer gets.

Weights end on the grid ``k / 4096``. On inputs of few bits, such as the embedded images, potentials are then exact in
float64, so that torch's forward pass and our simulator must agree in every spike, in whatever order they add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..activation import Neuron, Relu
from ..content import Array
from ..errors import ConfigError, Unsupported
from ..network import Layer, Network
from .models import GRID
from .qat import descend, pairs
from .torchnet import TorchNetwork, initialise

Progress = Callable[[int, int], None]


class FastSigmoid(torch.autograd.Function):
    """1 where ``v >= 0``, else 0; derivative ``1 / (1 + slope |v|)^2``. v is the potential above the threshold."""

    @staticmethod
    def forward(ctx: Any, v: torch.Tensor, slope: float) -> torch.Tensor:
        """Spike."""
        ctx.save_for_backward(v)
        ctx.slope = slope
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Surrogate."""
        (v,) = ctx.saved_tensors
        return gradients[0] / (1 + ctx.slope * v.abs()) ** 2, None


@dataclass(frozen=True)
class Recipe:
    """Adam with a half cosine; rate and activity are those that did best on held-out training images of the embedded models.

    Parameters
    ----------
    epochs, batch : int
    lr : float
    slope : float
        Of the fast sigmoid.
    activity : float
        Weight of the mean firing rate in the loss: what a rate of 1 costs, in nats.
    moved : bool
        As of `qat.Recipe`.
    """

    epochs: int = 60
    batch: int = 32
    lr: float = 1e-2
    slope: float = 5.0
    activity: float = 1.0
    moved: bool = False


def train_native(
    ann: Network, x: npt.ArrayLike, y: npt.ArrayLike, steps: int, *, recipe: Recipe | None = None, seed: int = 0,
    progress: Progress | None = None,
) -> Network:  # fmt: skip
    """Train the architecture of `ann` as a spiking net, from weights drawn anew.

    Parameters
    ----------
    ann : Network
        Folded, with ReLU; its weights are not used.
    x, y : arrays [N, *input_shape], int64 [N]
    steps : int
        T.
    recipe : Recipe, optional
    seed : int
        Of the first weights and of the order of the samples.
    progress : callable (epochs done, epochs), optional

    Returns
    -------
    Network
        Spiking, weights and biases k / 4096.

    Raises
    ------
    ConfigError
        No step.
    Unsupported
        An activation other than ReLU, or none.
    """
    if steps < 1:
        raise ConfigError(f"steps = {steps}: at least 1")
    recipe = recipe or Recipe()
    images, labels = pairs(x, y)
    model = TorchNetwork(spiking_twin(ann))
    initialise(model, seed)
    rates: list[torch.Tensor] = []

    def loss(part: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        rates.clear()
        logits = unrolled(model, part, steps, recipe.slope, lambda _, s: rates.append(s.mean()))
        return torch.nn.functional.cross_entropy(logits, classes) + recipe.activity * torch.stack(rates).mean()

    groups = [{"params": list(model.parameters()), "lr": recipe.lr}]
    descend(loss, images, labels, groups, recipe.epochs, recipe.batch, seed, progress, recipe.moved)
    return model.exported(lambda a: np.rint(a * GRID) / GRID)


def spiking_twin(ann: Network) -> Network:
    """Every ReLU a neuron of threshold 1, soft reset, no leak, that starts at 1/2."""
    if not any(isinstance(layer.act, Relu) for layer in ann.layers):
        raise Unsupported("network", "it has no ReLU to replace by a neuron", "give an ANN with ReLU")
    for layer in ann.layers:
        if not isinstance(layer.act, (Relu, type(None))):
            raise Unsupported(layer.name, f"{type(layer.act).__name__} has no native twin", "give an ANN with ReLU")
    act = Neuron(v_init=0.5)
    layers = tuple(replace(v, act=None if v.act is None else act) for v in ann.layers)
    return replace(ann, layers=layers, note="trained natively")


def unrolled(
    model: TorchNetwork, x: torch.Tensor, steps: int, slope: float,
    tell: Callable[[str, torch.Tensor], Any] | None = None,
) -> torch.Tensor:  # fmt: skip
    """Mean read-out over T steps [N, classes]; `tell` gets the name and spikes [N, *shape] of each layer in each step."""
    potential: dict[str, torch.Tensor] = {}

    def neuron(layer: Layer, current: torch.Tensor) -> torch.Tensor:
        v = potential.get(layer.name, torch.full_like(current, 0.5)) + current
        s: torch.Tensor = FastSigmoid.apply(v - 1, slope)  # type: ignore[no-untyped-call]
        potential[layer.name] = v - s
        if tell is not None:
            tell(layer.name, s)
        return s

    total: torch.Tensor = model(x, neuron)
    for _ in range(steps - 1):
        total = total + model(x, neuron)
    return total / steps


def spikes_of(network: Network, x: npt.ArrayLike, steps: int) -> tuple[Mapping[str, Array], Array]:
    """Torch's own forward pass in float64: spikes [T, N, *shape] of every spiking layer, and the summed read-out."""
    model = TorchNetwork(network, torch.float64)
    told: dict[str, list[Array]] = {}
    with torch.no_grad():
        mean = unrolled(model, torch.tensor(np.asarray(x, np.float64)), steps, 1.0,
                        lambda name, s: told.setdefault(name, []).append(s.numpy()))  # fmt: skip
    return {name: np.stack(s) for name, s in told.items()}, mean.numpy() * steps
