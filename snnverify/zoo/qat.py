"""Quantisation-aware fine-tuning: weights go through the grid in every forward pass, gradients straight through it.

The scale is learned as its logarithm to base 2 (Jain et al., MLSys 2020), so it stays positive and a step of the optimiser
means the same at every size; rounding that logarithm, straight through again, makes it a power of two. With ``v = w / s``
the gradients are those of Esser et al. (ICLR 2020, eq. 3 and 5)::

    d(s q) / dw = 1 where |v| <= Q, else 0
    d(s q) / ds = q - v where |v| <= Q, else +-Q

and for binary weights ``1 where |w| <= 1, else 0`` (Hubara et al., NeurIPS 2016, eq. 4) and ``q``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import parametrize

from ..content import Array
from ..errors import ConfigError, DataError
from ..network import Network
from ..quantise import Grid, QuantisedNetwork, quantise
from .torchnet import TorchNetwork, key, seeded
from .train import shifted

Train = Literal["scales", "weights"]
Progress = Callable[[int, int], None]


class FakeQuantise(nn.Module):
    """``s q(w / s)`` with straight-through gradients; log2 s is a parameter.

    Parameters
    ----------
    grid : Grid
    scale : tensor, () or [C, 1, ...]
        Where s starts, > 0.
    """

    def __init__(self, grid: Grid, scale: torch.Tensor) -> None:
        super().__init__()
        self.grid = grid
        self.exponent = nn.Parameter(torch.log2(scale))

    @property
    def scale(self) -> torch.Tensor:
        """s, a power of two where the grid asks for that."""
        e = self.exponent
        return torch.exp2(e + (torch.round(e) - e).detach() if self.grid.power_of_two else e)

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        """Weight on the grid."""
        return fake_quantise(w, self.scale, self.grid)


def fake_quantise(w: torch.Tensor, scale: torch.Tensor, grid: Grid) -> torch.Tensor:
    """``s q(w / s)``, differentiable in w and s by the rules above.

    Parameters
    ----------
    w : tensor
    scale : tensor that broadcasts against it
    grid : Grid
    """
    if grid.precision == "binary":
        inside = torch.clamp(w, -1, 1)
        sign = torch.where(w < 0, -torch.ones_like(w), torch.ones_like(w))
        # the gradient of w is not that of s sign(w), which would be s: a weight has the same say whatever its scale
        return sign * scale + (inside - inside.detach())
    v = torch.clamp(w / scale, -grid.most, grid.most)
    return (v + (torch.round(v) - v).detach()) * scale


@dataclass(frozen=True)
class Recipe:
    """Adam; the rate falls as a half cosine, as in the training of the embedded models.

    Parameters
    ----------
    epochs, batch : int
    lr_weights, lr_scales : float
        Of weights and biases; of log2 s.
    moved : bool
        Each image moved by up to a pixel along each axis, as in the training of the embedded models.
    """

    epochs: int = 5
    batch: int = 32
    lr_weights: float = 1e-3
    lr_scales: float = 1e-2
    moved: bool = False


def fine_tune_quantised(
    ann: Network, x: npt.ArrayLike, y: npt.ArrayLike, grid: Grid, *, train: Train = "weights", recipe: Recipe | None = None,
    seed: int = 0, progress: Progress | None = None,
) -> QuantisedNetwork:  # fmt: skip
    """Train an ANN whose weights are on a grid, on cross entropy; then put them there for good.

    Parameters
    ----------
    ann : Network
        Folded, with ReLU; what `convert` keeps as ``ConvertedNetwork.ann``. It stays as it is.
    x, y : arrays [N, *input_shape], int64 [N]
    grid : Grid
    train : {"scales", "weights"}
        Scales alone, or weights, biases and scales.
    recipe : Recipe, optional
    seed : int
        Of the order of the samples.
    progress : callable (epochs done, epochs), optional

    Returns
    -------
    QuantisedNetwork
        The ANN on its grid, to be converted.

    Raises
    ------
    ConfigError
        Another `train`.
    DataError
        Samples without labels, or a loss that is not finite.
    """
    if train not in ("scales", "weights"):
        raise ConfigError(f"train = {train!r}: one of scales, weights")
    recipe = recipe or Recipe()
    images, labels = pairs(x, y)
    model = TorchNetwork(ann)
    start = quantise(ann, grid)
    for layer in ann.layers:
        for i in range(len(layer.branches)):
            if (w := start.weights.get(f"{layer.name}.{i}")) is not None:
                s = torch.tensor(np.maximum(w.scale, 1e-30), dtype=torch.float32)  # binary weights that are all 0
                shape = (-1, *(1,) * (w.integers.ndim - 1)) if s.ndim else ()
                on_grid = FakeQuantise(grid, s.reshape(shape))
                parametrize.register_parametrization(model.parts[key(layer, i)], "weight", on_grid)
    scales = [p for name, p in model.named_parameters() if name.endswith("exponent")]
    others = [p for name, p in model.named_parameters() if not name.endswith("exponent")]
    groups: list[dict[str, object]] = [{"params": scales, "lr": recipe.lr_scales}]
    if train == "weights":
        groups.append({"params": others, "lr": recipe.lr_weights})
    else:
        for p in others:
            p.requires_grad_(False)
    descend(_entropy(model), images, labels, groups, recipe.epochs, recipe.batch, seed, progress, recipe.moved)
    return _finished(model, ann, grid)


def fine_tune_float(
    ann: Network, x: npt.ArrayLike, y: npt.ArrayLike, *, recipe: Recipe | None = None, seed: int = 0,
    progress: Progress | None = None,
) -> Network:  # fmt: skip
    """The same training without a grid: what more training alone does, to hold the other against."""
    recipe = recipe or Recipe()
    model = TorchNetwork(ann)
    groups: list[dict[str, object]] = [{"params": list(model.parameters()), "lr": recipe.lr_weights}]
    descend(_entropy(model), *pairs(x, y), groups, recipe.epochs, recipe.batch, seed, progress, recipe.moved)
    return model.exported()


def descend(
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x: torch.Tensor, y: torch.Tensor,
    groups: list[dict[str, object]], epochs: int, batch: int, seed: int, progress: Progress | None, moved: bool,
) -> None:  # fmt: skip
    """Adam, seeded, its rates falling as a half cosine to 0; `moved`: images are shifted as the embedded models' were."""
    optimiser = torch.optim.Adam(groups)
    rates = [float(g["lr"]) for g in optimiser.param_groups]
    rng = np.random.Generator(np.random.PCG64(seed))
    with seeded(seed) as generator:
        for epoch in range(epochs):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
            for rows in torch.split(torch.randperm(len(x), generator=generator), batch):
                optimiser.zero_grad()
                part = torch.from_numpy(shifted(x[rows].numpy(), rng)).to(x.dtype) if moved else x[rows]
                loss = loss_of(part, y[rows])
                if not torch.isfinite(loss):
                    raise DataError(
                        f"training: the loss is {float(loss.detach())} in epoch {epoch + 1}; lower the learning rate"
                    )
                loss.backward()
                optimiser.step()
            if progress is not None:
                progress(epoch + 1, epochs)


def _finished(model: TorchNetwork, ann: Network, grid: Grid) -> QuantisedNetwork:
    """Read weights (off the grid, as trained) and scales out, and round once more, in float64."""
    scales: dict[str, Array] = {}
    for layer in ann.layers:
        for i in range(len(layer.branches)):
            if (name := key(layer, i)) in model.parts:
                part = model.parts[name]
                found = part.parametrizations.weight[0].scale.detach().double().numpy()  # type: ignore[union-attr,index]
                scales[f"{layer.name}.{i}"] = found.reshape(-1) if found.ndim else found
                parametrize.remove_parametrizations(part, "weight", leave_parametrized=False)
    return quantise(model.exported(), grid, scales)


def _entropy(model: nn.Module) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    return lambda x, y: nn.functional.cross_entropy(model(x), y)


def pairs(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples float32 and classes int64; `DataError` where they are not one class a sample, or none at all."""
    images, labels = np.asarray(x, np.float32), np.asarray(y)
    if not len(images) or labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(f"training data: x of shape {images.shape}, y of shape {labels.shape} and type {labels.dtype}; "
                        "give samples with one integer class each")  # fmt: skip
    return torch.tensor(images), torch.tensor(labels.astype(np.int64))
