"""Weights on a symmetric grid of few levels: int8, int4, binary; per tensor or per channel; kept as integers, too.

``w -> s q`` with, for b bits, ``q = clip(round(w / s), -Q, Q)``, ``Q = 2^(b-1) - 1``: the grid is symmetric, so -2^(b-1)
is left out (Krishnamoorthi, arXiv:1806.08342, section 2.2; Jacob et al., CVPR 2018, section 3.1), 0 is 0, and the sign of
all weights can be changed. Ties go to even, as in ONNX's QuantizeLinear, torch.fake_quantize and lava-dl, and because
rounding away from zero would lengthen every weight that ties. The scale is ``max |w| / Q``, so that nothing is clipped.
Binary weights are ``s sign(w)`` with sign(0) = 1 (Courbariaux et al., NeurIPS 2015, eq. 1) and ``s = mean |w|``, which has
the least squared error (Rastegari et al., ECCV 2016, eq. 6). With `power_of_two` s is the next power of two at or above
that; for binary weights, whose error is a parabola in s, the nearest one.

Biases and thresholds stay as they are: on hardware they have the width of an accumulator (Jacob et al., section 2.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .content import Array, Content
from .errors import ConfigError, NetworkError, Unsupported
from .network import Branch, Conv, Dense, Layer, Network, Op

BITS = {"int8": 8, "int4": 4, "binary": 1}
LEAST = float(np.finfo(np.float64).tiny)  # of a scale: below it quotients lose bits


@dataclass(frozen=True, eq=False)
class Grid(Content):
    """What weights are rounded to.

    Parameters
    ----------
    precision : {"int8", "int4", "binary"}
    per_channel : bool
        A scale for every output channel; else one for the tensor.
    power_of_two : bool
        Scales are powers of two, so that a shift applies them.

    Raises
    ------
    ConfigError
        Another precision.
    """

    precision: str = "int8"
    per_channel: bool = False
    power_of_two: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in BITS:
            raise ConfigError(f"precision = {self.precision!r}: one of {', '.join(BITS)}")

    @property
    def bits(self) -> int:
        """Bits of a weight."""
        return BITS[self.precision]

    @property
    def most(self) -> int:
        """Greatest integer, Q; the least is -Q."""
        return max(1, (1 << self.bits - 1) - 1)

    def __str__(self) -> str:
        return (
            f"{self.precision} per {'channel' if self.per_channel else 'tensor'}"
            + ", power-of-two scales" * self.power_of_two
        )


@dataclass(frozen=True, eq=False)
class Quantised(Content):
    """A weight as integers and scales, ``scale integers``.

    Parameters
    ----------
    integers : array of int8
        In the shape of the weight.
    scale : array of float64, () or (C,)
        C output channels.
    grid : Grid
    values : array of float64
        What the simulator multiplies with.
    """

    integers: Array
    scale: Array
    grid: Grid
    values: Array

    @property
    def memory_bits(self) -> int:
        """Bits of all weights, without scales."""
        return self.integers.size * self.grid.bits


@dataclass(frozen=True, eq=False)
class QuantisedNetwork(Content):
    """A network whose weights lie on a grid.

    Parameters
    ----------
    network : Network
        With ``scale integers`` as weights.
    weights : mapping of str to Quantised
        By ``layer.branch``, such as ``conv1.0``; every dense and convolutional branch.
    grid : Grid
    """

    network: Network
    weights: Mapping[str, Quantised]
    grid: Grid

    @property
    def memory_bits(self) -> int:
        """Bits of all weights, without scales and biases."""
        return sum(w.memory_bits for w in self.weights.values())


def scale_of(weight: npt.ArrayLike, grid: Grid) -> Array:
    """Scale of every group: ``max |w| / Q``, or ``mean |w|`` of binary weights; 1 (binary: 0) where all weights are 0.

    Parameters
    ----------
    weight : array [C, K], K weights for each of C output channels

    Returns
    -------
    array of float64, [C, 1], or [1, 1] per tensor
    """
    size = np.abs(np.asarray(weight, np.float64))
    if not grid.per_channel:
        size = size.reshape(1, -1)
    if grid.precision == "binary":
        s = size.mean(1, keepdims=True)
        return _nearest_power(s) if grid.power_of_two else s
    s = np.maximum(size.max(1, keepdims=True) / grid.most, LEAST)
    s = _power_above(size.max(1, keepdims=True), grid.most) if grid.power_of_two else s
    return np.where(size.max(1, keepdims=True) == 0, 1.0, s)


def rounded(weight: npt.ArrayLike, scale: npt.ArrayLike, grid: Grid) -> Array:
    """``clip(round(w / s), -Q, Q)``, ties to even; of binary weights the sign, that of 0 being 1. int8."""
    w = np.asarray(weight, np.float64)
    if grid.precision == "binary":
        return np.where(w < 0, -1, 1).astype(np.int8)
    q: Array = np.clip(np.rint(w / np.asarray(scale)), -grid.most, grid.most).astype(np.int8)
    return q


def quantise_weight(op: Op, grid: Grid, scale: npt.ArrayLike | None = None) -> Quantised:
    """Round the weight of a dense layer or convolution.

    Parameters
    ----------
    op : Dense or Conv
        Output channels are axis 0; of a transposed convolution axis 1, group by group.
    grid : Grid
    scale : array () or (C,), optional
        What fine-tuning has found; computed from the weight without it.

    Raises
    ------
    NetworkError
        NaN or infinity; a scale that is negative, not finite or of another shape; 0 is for binary weights alone.
    """
    w = _rows(op, np.asarray(_weight(op), np.float64))
    if not np.all(np.isfinite(w)):
        raise NetworkError("weight holds NaN or infinity: mend the weights")
    s = scale_of(w, grid) if scale is None else _given(scale, len(w), grid)
    q = rounded(w, s, grid)
    flat = s[:, 0] if grid.per_channel else s[0, 0]
    return Quantised(_back(op, q), np.asarray(flat), grid, _back(op, q * s))


def quantise(network: Network, grid: Grid, scales: Mapping[str, npt.ArrayLike] | None = None) -> QuantisedNetwork:
    """Round the weights of every dense layer and convolution of a network, spiking or not.

    A `Scale` (a skip, an analog normalisation) has one weight a channel, its own group, and stays.

    Parameters
    ----------
    network : Network
        Batch normalisations folded: a grid does not survive folding per tensor.
    grid : Grid
    scales : mapping of ``layer.branch`` to array, optional

    Raises
    ------
    Unsupported
        No weight to quantise.
    """
    weights: dict[str, Quantised] = {}

    def branch(layer: Layer, i: int, b: Branch) -> Branch:
        if not isinstance(b.op, (Dense, Conv)):
            return b
        name = f"{layer.name}.{i}"
        weights[name] = quantise_weight(b.op, grid, None if scales is None else scales[name])
        return replace(b, op=replace(b.op, weight=weights[name].values))

    layers = tuple(
        replace(v, branches=tuple(branch(v, i, b) for i, b in enumerate(v.branches))) for v in network.layers
    )
    if not weights:
        raise Unsupported("network", "it has no dense layer or convolution", "there is nothing to quantise")
    return QuantisedNetwork(replace(network, layers=layers), weights, grid)


def _weight(op: Op) -> Array:
    if not isinstance(op, (Dense, Conv)):
        raise Unsupported(type(op).__name__, "it has no weight on a grid", "quantise dense layers and convolutions")
    return op.weight


def _rows(op: Op, weight: Array) -> Array:
    """Weights as [C, K], output channels first."""
    if isinstance(op, Conv) and op.transposed:
        parts = weight.reshape(op.groups, len(weight) // op.groups, *weight.shape[1:])
        weight = np.moveaxis(parts, 2, 1)
        return weight.reshape(weight.shape[0] * weight.shape[1], -1)
    return weight.reshape(len(weight), -1)


def _back(op: Op, rows: Array) -> Array:
    shape = _weight(op).shape
    if isinstance(op, Conv) and op.transposed:
        parts = rows.reshape(op.groups, shape[1], shape[0] // op.groups, *shape[2:])
        rows = np.moveaxis(parts, 1, 2)
    return np.ascontiguousarray(rows.reshape(shape))


def _given(scale: npt.ArrayLike, channels: int, grid: Grid) -> Array:
    s = np.asarray(scale, np.float64)
    wanted: Any = (channels,) if grid.per_channel else ()
    if s.shape != wanted:
        raise NetworkError(f"scale of shape {s.shape}: {wanted} for {grid}")
    if not np.all(np.isfinite(s)) or np.any(s < 0) or (np.any(s == 0) and grid.precision != "binary"):
        raise NetworkError("scale: finite and above 0 (binary weights: at least 0)")
    return s.reshape(-1, 1)


def _power_above(top: Array, most: int) -> Array:
    """Least power of two s with ``s most >= top``: compared exactly, no logarithm that rounds."""
    _, exponent = np.frexp(np.maximum(top / most, LEAST))
    s = np.ldexp(1.0, exponent - 1)  # top / most, rounded, lies in [s, 2 s)
    return np.asarray(np.where(s * most >= top, s, 2 * s))


def _nearest_power(mean: Array) -> Array:
    """Power of two nearest to the mean, the lower one on a tie; 0 of 0."""
    mantissa, exponent = np.frexp(mean)  # mean = mantissa 2^exponent, mantissa in [1/2, 1)
    return np.asarray(np.where(mean == 0, 0.0, np.ldexp(np.where(mantissa > 0.75, 1.0, 0.5), exponent)))
