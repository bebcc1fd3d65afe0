"""Small modules in the style of other people's code: what an importer must read as torch does, or refuse by name."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from ...content import Array
from .modules import EQUAL, Entry, randomise
from .refused import REFUSED


def specimen(entry: Entry, seed: int, samples: int = 5) -> tuple[nn.Module, Array, Array, float]:
    """Build an entry with random parameters and normalisation statistics; return it, an input, torch's output and its noise.

    The output is that of a float64 copy in eval mode, [N, *shape]; the noise its greatest distance to that in float32.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = randomise(entry.factory(), seed)
        x = torch.randn(samples, *entry.input_shape, dtype=torch.float64)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells of copies that "same" padding costs it
        y = copy.deepcopy(model).double().eval()(x.clone())
        coarse = copy.deepcopy(model).float().eval()(x.float())
    return model, x.numpy(), y.numpy(), float((y - coarse).abs().max())


__all__ = ["EQUAL", "REFUSED", "Entry", "randomise", "specimen"]
