"""A described model that no weights exist for yet, such that its diagram shows activity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .describe import dummy
from .model import Detector


def untrained(description: Mapping[str, Any], seed: int = 0) -> Detector:
    """Build a described model with weights of a seed; its batch norms have seen one dummy image.

    Without that, norms that start at ``gamma = threshold`` and know no statistics let activity die out within a few layers.

    Parameters
    ----------
    description : mapping
        As of `Detector`.
    seed : int
        Of weights and image.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Detector(description)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    usual = [m.momentum for m in norms]
    for m in norms:
        m.momentum = 1.0
    with torch.no_grad():
        model.train()(dummy(model, seed, None)[0])
    for m, momentum in zip(norms, usual, strict=True):
        m.momentum = momentum
    return model.eval()
