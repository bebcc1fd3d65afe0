"""QCFS: quantisation-clip-floor-shift activation, its fine-tuning, and ReLU replacement (Bu et al., ICLR 2022)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from ..errors import ConfigError, Unsupported


class QCFS(nn.Module):
    """``y = theta clip(floor(z L / theta + shift) / L, 0, 1)`` with a straight-through gradient.

    The floor has gradient 1, so ``dy/dz`` is 1 inside (0, theta) and 0 outside, and ``dy/dtheta`` is 1 above theta, 0
    below zero and ``y/theta - z/theta`` between (Bu et al.).

    Parameters
    ----------
    levels : int
        L, number of steps.
    theta : float
        Initial threshold, learnable.
    shift : float
        In [0, 1); 1/2 makes the expected error of one layer zero.
    """

    def __init__(self, levels: int = 8, theta: float = 1.0, shift: float = 0.5) -> None:
        super().__init__()
        if levels < 1 or theta <= 0 or not 0 <= shift < 1:
            raise ConfigError(
                f"QCFS(levels={levels}, theta={theta}, shift={shift}): levels >= 1, theta > 0, 0 <= shift < 1"
            )
        self.levels, self.shift = levels, shift
        self.theta = nn.Parameter(torch.tensor(float(theta)))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Apply the activation."""
        part = torch.clamp(z / self.theta, 0, 1)
        stepped = torch.floor(part * self.levels + self.shift).clamp(max=self.levels) / self.levels
        return (part + (stepped - part).detach()) * self.theta


def replace_relu(model: nn.Module, levels: int = 8, theta: float = 1.0) -> nn.Module:
    """Return a copy of `model` in which every `nn.ReLU` module is a QCFS of its own.

    Raises
    ------
    Unsupported
        The model holds no `nn.ReLU` module (functional ones cannot be exchanged from outside).
    """
    copied = copy.deepcopy(model)
    # `named_children` would name a module that stands in two places only once
    places = [(parent, name) for parent in copied.modules() for name, child in parent._modules.items()
              if isinstance(child, nn.ReLU)]  # fmt: skip
    if not places:
        raise Unsupported(
            type(model).__name__, "it holds no nn.ReLU module", "write its activations as nn.ReLU or QCFS"
        )
    for parent, name in places:
        setattr(parent, name, QCFS(levels, theta))
    return copied


def fine_tune(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epochs: int = 10,
    lr: float = 1e-3,
    batch: int = 64,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> nn.Module:
    """Train a copy of `model` by Adam on cross entropy; thresholds learn along. Seeded; the caller's model stays.

    Parameters
    ----------
    model : nn.Module
    x, y : tensors [N, *shape], int64 [N]
    epochs, lr, batch, seed
    progress : callable, optional
        Called with (epoch, mean loss).
    """
    tuned = copy.deepcopy(model).train()
    optimiser = torch.optim.Adam(tuned.parameters(), lr=lr)
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator, which stays as it was
        torch.manual_seed(seed)
        for epoch in range(epochs):
            total = 0.0
            for rows in torch.split(torch.randperm(len(x)), batch):
                optimiser.zero_grad()
                loss = nn.functional.cross_entropy(tuned(x[rows]), y[rows])
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(rows)
            if progress is not None:
                progress(epoch, total / len(x))
    return tuned.eval()
