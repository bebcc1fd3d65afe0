"""Signed inputs under a rate code: ``u = (x - low) / (high - low)``, undone by the first layer's weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from ..content import Array, Content
from ..errors import DataError, Unsupported
from ..network import INPUT, Branch, Layer, Network, Scale, per_channel
from .fold import fold


@dataclass(frozen=True, eq=False)
class InputRange(Content):
    """What of an input becomes 0 and 1: ``u = (x - low) / (high - low)``.

    Parameters
    ----------
    low, high : arrays, () or (C,)
        In the unit that the model was trained on; ``low < high``.
    """

    low: Array
    high: Array

    @classmethod
    def of(cls, x: Array) -> InputRange:
        """Least and greatest value of each channel in [N, C, ...]; a channel that never changes has a range of 1.

        Raises
        ------
        DataError
            No sample, NaN or infinity.
        """
        x = np.asarray(x, np.float64)
        if not x.size or not np.all(np.isfinite(x)):
            raise DataError("input range: the calibration set is empty or holds NaN or infinity; mend the data")
        rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
        low, high = rows.min(1), rows.max(1)
        return cls(low, np.where(high > low, high, low + 1))

    def unit(self, x: Array, *, clip: bool = False) -> Array:
        """Map samples [N, C, ...] to [0, 1]; values outside the range stay outside unless clipped."""
        shape = np.shape(x)[1:]
        u = (np.asarray(x) - per_channel(self.low, shape)) / per_channel(self.high - self.low, shape)
        return np.asarray(np.clip(u, 0, 1) if clip else u)


def unit_input(network: Network, given: InputRange) -> Network:
    """Network whose values on ``u`` are those of `network` on ``x``: ``W' = (high - low) W``, ``b' = b + W low``.

    Raises
    ------
    Unsupported
        A padded convolution that sees the input: its border is 0 in x, and no weights turn that into a 0 of u.
    """
    name = "input range"
    layers = [Layer(name, (Branch(Scale(given.high - given.low, given.low)),))]
    for layer in network.layers:
        moved = tuple(replace(b, source=name) if b.source == INPUT else b for b in layer.branches)
        layers.append(replace(layer, branches=moved))
    kept = frozenset(
        v.name for v in network.layers if v.act is None and all(isinstance(b.op, Scale) for b in v.branches)
    )
    try:
        return fold(replace(network, layers=tuple(layers)), kept)
    except Unsupported as e:
        raise Unsupported(
            "input range",
            f"{e.what}",
            "give signed inputs as constant currents (without unit_input), or train on [0, 1]",
        ) from None


def bare(model: nn.Module) -> nn.Module:
    """Copy of a model without its batch normalisations: what a converter runs that forgets them."""
    copied = copy.deepcopy(model)
    for parent in list(copied.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
                setattr(parent, name, nn.Identity())
    return copied
