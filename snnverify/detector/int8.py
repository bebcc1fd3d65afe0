"""Static INT8 of a net: batch norms folded, weights on 255 levels a channel, analog values on 256 calibrated ones.

Weights follow `quantise` (symmetric, per output channel), activations `zoo.activations`: the output of every convolution,
linear layer and residual sum goes on the affine grid that spans what the calibration samples show there. Spikes need no
grid. Membranes and biases keep the width of an accumulator. Arithmetic is simulated: values are on their grids, sums in
floats.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..content import Array, Content
from ..errors import NetworkError, Unsupported
from ..quantise import Grid, Quantised, rounded, scale_of
from ..zoo.activations import Range, static_int8
from .binarize import activations
from .blocks import BasicBlock_2, Conv_1, batch_norm_2d

GRID = Grid("int8", per_channel=True)
ANALOG = (nn.Conv2d, nn.Linear, BasicBlock_2)


@dataclass(frozen=True, eq=False)
class Int8(Content):
    """What a chip is loaded with: integers and scales of weights, biases, grids of analog values; all by module path."""

    weights: Mapping[str, Quantised]
    biases: Mapping[str, Array]
    ranges: Mapping[str, Range]

    @property
    def memory_bits(self) -> int:
        """Bits of all weights, without scales and biases."""
        return sum(w.memory_bits for w in self.weights.values())


def folded(module: nn.Module) -> nn.Module:
    """A copy with each batch norm folded into the convolution before it: ``W' = g W``, ``b' = g (b - mean) + beta``,
    ``g = gamma / sqrt(var + eps)`` (Jacob et al., CVPR 2018, eq. 14).
    """  # fmt: skip
    found = copy.deepcopy(module).eval()
    for part in found.modules():
        if isinstance(part, Conv_1):
            _fold(part.conv, part.bn)
            part.bn = nn.Identity()  # type: ignore[assignment]
        if isinstance(part, nn.Sequential):
            children = list(part.named_children())
            for (_, conv), (name, norm) in pairwise(children):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, (batch_norm_2d, nn.BatchNorm2d)):
                    _fold(conv, norm)
                    setattr(part, name, nn.Identity())
    return found


def _fold(conv: nn.Conv2d, norm: nn.Module) -> None:
    bn: Any = getattr(norm, "bn", norm)
    # float64: the product is rounded once
    g = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    bias = 0.0 if conv.bias is None else conv.bias.double()
    shift = g * (bias - bn.running_mean.double()) + bn.bias.double()
    weight = conv.weight.double() * g[:, None, None, None]
    conv.bias = nn.Parameter(shift.detach().to(conv.weight.dtype))
    conv.weight = nn.Parameter(weight.detach().to(conv.weight.dtype))


def to_int8(module: nn.Module, calibration: Iterator[npt.ArrayLike]) -> tuple[nn.Module, Int8]:
    """A copy of a net on its grids, and the grids; the net given is left alone.

    Parameters
    ----------
    module : nn.Module
    calibration : iterator of arrays [B, C, H, W]
        Unlabelled images.

    Raises
    ------
    Unsupported
        A net that still emits SiLU: its outputs would be on no grid.
    DataError
        No calibration image, or values that are not finite.
    NetworkError
        Weights that are not finite.
    """
    left = [name for name, unit in activations(module).items() if unit.now == "silu"]
    if left:
        raise Unsupported(
            left[0], "it still emits SiLU, which has no grid here", "convert the net first: snnverify binarize"
        )
    on_grid = folded(module).float()
    weights, biases = {}, {}
    for name, m in on_grid.named_modules():
        if not isinstance(m, (nn.Conv2d, nn.Linear)):
            continue
        rows = m.weight.detach().double().cpu().numpy().reshape(len(m.weight), -1)
        if not np.isfinite(rows).all():
            raise NetworkError(f"{name}: weight holds NaN or infinity; mend the weights")
        scale = scale_of(rows, GRID)
        q = rounded(rows, scale, GRID)
        shape = tuple(m.weight.shape)
        weights[name] = Quantised(q.reshape(shape), scale[:, 0], GRID, (q * scale).reshape(shape))
        m.weight.data = torch.tensor(weights[name].values.copy()).to(m.weight)
        if m.bias is not None:
            biases[name] = m.bias.detach().cpu().numpy()
    found, ranges = static_int8(on_grid, calibration, kinds=ANALOG)
    return found, Int8(weights, biases, ranges)
