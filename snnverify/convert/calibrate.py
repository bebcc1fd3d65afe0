"""Activation statistics over a calibration set, streamed; and what a mode makes of them.

Order statistics are exact and independent of batch size and order: activations (computed in float64, rounded to
float32) are selected by radix, eleven bits of the float at a time, so memory is a few histograms per layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from ..activation import ClipFloor, Relu
from ..content import Array, Content
from ..errors import ConfigError, DataError
from ..network import Network
from ..simulate import forward

Population = Literal["all", "positive"]
TILE = 64
_DIGITS = ((21, 11), (10, 11), (0, 10))  # shift and width of the digits of a float32, highest first
_REPORTED = Fraction(999, 1000)


@dataclass(frozen=True, eq=False)
class Mode:
    """How a threshold is taken from a layer's activations: a quantile, or a fraction of the maximum."""

    quantile: Fraction | None
    fraction: Fraction
    per_channel: bool

    @classmethod
    def parse(cls, mode: str | float, per_channel: bool = False) -> Mode:
        """Read ``"max"``, ``"99.9%"``, ``0.5``, ``"1/2"`` or ``"channel-wise"`` (the maximum of each channel).

        Raises
        ------
        ConfigError
            An unknown mode, a percentile outside (0, 100], a fraction outside (0, 1].
        """
        text = str(mode).strip().lower()
        if text in ("max", "channel-wise"):
            return cls(None, Fraction(1), per_channel or text == "channel-wise")
        try:
            value = Fraction(text.removesuffix("%"))
        except (ValueError, ZeroDivisionError):
            raise ConfigError(
                f"mode = {mode!r}: one of max, NN.N% (a percentile), a fraction of the maximum such as 1/2, channel-wise; "
                "rate, of a conversion"
            ) from None
        if text.endswith("%"):
            if not 0 < value <= 100:
                raise ConfigError(f"mode = {mode!r}: a percentile lies in (0, 100]")
            return cls(value / 100, Fraction(1), per_channel)
        if not 0 < value <= 1:
            raise ConfigError(f"mode = {mode!r}: a fraction of the maximum lies in (0, 1]; a percentile ends in %")
        return cls(None, value, per_channel)


@dataclass(frozen=True, eq=False)
class LayerStatistics(Content):
    """What the calibration set says of one layer; values in ANN units, `threshold` and `chosen` () or (C,).

    Parameters
    ----------
    threshold : array
        The activation that is to become a rate of 1 (1 where the layer is silent).
    mean, maximum, p999 : float
        Mean and maximum of all activations; 99.9 percentile of the population that was asked for (with thresholds per
        channel, of the channel where it is greatest).
    saturated : float
        Fraction of the activations above the threshold.
    dead, units : int
        Units that never left zero, of all.
    """

    layer: str
    threshold: Array
    mean: float
    maximum: float
    p999: float
    saturated: float
    dead: int
    units: int


def calibrate(
    network: Network,
    x: Array,
    mode: Mode,
    population: Population = "all",
    given: Mapping[str, Array] | None = None,
    batch_size: int = TILE,
) -> dict[str, LayerStatistics]:
    """Statistics of every ReLU-like layer, and of the output rectified.

    Parameters
    ----------
    network : Network
        The ANN.
    x : array [N, *input_shape]
    mode : Mode
    population : {"all", "positive"}
        The layer's rectified outputs with their zeros, or those above zero only.
    given : mapping of layer to array, optional
        Thresholds that are not to be taken from the mode (those that a QCFS layer has learned).
    batch_size : int
        Samples that are held at a time; nothing else hangs on it.

    Raises
    ------
    DataError
        An empty or non-finite calibration set, or of another shape.
    """
    x = np.asarray(x)
    if len(x) == 0:
        raise DataError("calibration set: it is empty; give at least one sample")
    if x.shape[1:] != network.input_shape:
        raise DataError(f"calibration set of shape {x.shape}: [N, *shape] with shape {network.input_shape}")
    if not np.all(np.isfinite(x)):
        raise DataError("calibration set: it holds NaN or infinity; mend the data")
    watched = [v.name for v in network.layers if isinstance(v.act, (Relu, ClipFloor)) or v is network.output]
    tallies: dict[str, _Tally] = {}
    for name, values in _activations(network, x, watched, batch_size):
        scalar = not mode.per_channel or name == network.output.name  # an arg max needs one unit over the classes
        tallies.setdefault(name, _Tally(values.shape[1:], scalar, population)).first(values)
    quantiles = [_REPORTED] + ([mode.quantile] if mode.quantile is not None else [])
    for tally in tallies.values():
        tally.aim(quantiles)
    for digit in (1, 2):
        for name, values in _activations(network, x, watched, batch_size):
            tallies[name].refine(values, digit)
        for tally in tallies.values():
            tally.descend(digit)
    thresholds = {name: tally.threshold(mode) for name, tally in tallies.items()} | dict(given or {})
    above = dict.fromkeys(watched, 0)
    for name, values in _activations(network, x, watched, batch_size):
        limit = thresholds[name].reshape(-1, *(1,) * (values.ndim - 2)) if thresholds[name].ndim else thresholds[name]
        above[name] += int((values > limit).sum())
    return {name: tally.statistics(name, thresholds[name], above[name]) for name, tally in tallies.items()}


def _activations(network: Network, x: Array, names: list[str], size: int) -> Iterator[tuple[str, Array]]:
    for start in range(0, len(x), size):
        values = forward(network, x[start : start + size], "float64")
        for name in names:
            yield name, np.maximum(values[name], 0).astype(np.float32)


class _Tally:
    """Running statistics of one layer, for all units together or for each channel."""

    def __init__(self, shape: tuple[int, ...], scalar: bool, population: Population) -> None:
        self.scalar, self.positive, self.groups = scalar, population == "positive", 1 if scalar else shape[0]
        self.peak = np.zeros(shape, np.float32)
        self.total, self.entries = 0.0, 0
        self.histogram = np.zeros((self.groups, 1 << _DIGITS[0][1]), np.int64)

    def _grouped(self, values: Array) -> tuple[Array, Array]:
        """Bits and group of every entry of the population."""
        rows = values.reshape(1, -1) if self.scalar else np.moveaxis(values, 1, 0).reshape(self.groups, -1)
        bits = np.ascontiguousarray(rows).view(np.uint32).astype(np.int64)
        group = np.broadcast_to(np.arange(self.groups)[:, None], bits.shape)
        kept = bits > 0 if self.positive else np.ones(bits.shape, bool)
        return bits[kept], group[kept]

    def first(self, values: Array) -> None:
        self.peak = np.maximum(self.peak, values.max(0))
        self.total += float(values.sum(dtype=np.float64))
        self.entries += values.size
        bits, group = self._grouped(values)
        self.histogram += _count(group, bits >> _DIGITS[0][0], self.histogram.shape)

    def aim(self, quantiles: list[Fraction]) -> None:
        """Fix the ranks: each quantile needs the two order statistics around ``q (n - 1)``, as in numpy's default."""
        n = self.histogram.sum(1)
        self.where = [[q * max(int(m) - 1, 0) for m in n] for q in quantiles]
        ranks = np.array([[min(int(p) + up, max(int(m) - 1, 0)) for p, m in zip(row, n, strict=True)]
                          for row in self.where for up in (0, 1)])  # fmt: skip
        self.prefix, self.rank = np.zeros_like(ranks), ranks
        self.finer = np.broadcast_to(self.histogram, (len(ranks), *self.histogram.shape)).copy()
        self.descend(0)

    def refine(self, values: Array, digit: int) -> None:
        shift, width = _DIGITS[digit]
        bits, group = self._grouped(values)
        for r, prefix in enumerate(self.prefix):
            here = (bits >> (shift + width)) == prefix[group]
            low = (bits[here] >> shift) & ((1 << width) - 1)
            self.finer[r] += _count(group[here], low, self.finer[r].shape)

    def descend(self, digit: int) -> None:
        """Append the digit that holds the rank to the prefix."""
        below = np.cumsum(self.finer, axis=2)
        chosen = (below <= self.rank[..., None]).sum(2)
        chosen = np.minimum(chosen, below.shape[2] - 1)
        before = np.take_along_axis(below - self.finer, chosen[..., None], 2)[..., 0]
        self.rank = self.rank - before
        self.prefix = (self.prefix << _DIGITS[digit][1]) | chosen
        if digit < 2:
            self.finer = np.zeros((*self.prefix.shape, 1 << _DIGITS[digit + 1][1]), np.int64)

    def quantile(self, i: int) -> Array:
        """Quantile `i` of every group, interpolated linearly."""
        lo, hi = (self.prefix[2 * i + up].astype(np.uint32).view(np.float32).astype(float) for up in (0, 1))
        part = np.array([float(p - int(p)) for p in self.where[i]])
        found = lo + part * (hi - lo)
        return np.where(self.histogram.sum(1) > 0, found, 0.0)  # an empty population has no quantile

    def threshold(self, mode: Mode) -> Array:
        peak = self.peak.reshape(self.groups, -1).max(1).astype(float)
        theta = float(mode.fraction) * peak if mode.quantile is None else self.quantile(1)
        theta = np.where(theta > 0, theta, np.where(peak > 0, peak, 1.0))  # mostly silent: its maximum; silent: 1
        return np.asarray(theta[0] if self.scalar else theta)

    def statistics(self, name: str, threshold: Array, above: int) -> LayerStatistics:
        pooled = float(self.quantile(0).max())
        dead = int((self.peak == 0).sum())
        return LayerStatistics(name, threshold, self.total / self.entries, float(self.peak.max()), pooled,
                               above / self.entries, dead, self.peak.size)  # fmt: skip


def _count(group: Array, digit: Array, shape: tuple[int, ...]) -> Array:
    groups, digits = shape
    return np.bincount(group * digits + digit, minlength=groups * digits).reshape(shape)


def explicit(thresholds: Mapping[str, Array], network: Network) -> dict[str, LayerStatistics]:
    """Statistics for thresholds that were given rather than measured; everything measured is NaN."""
    nan = float("nan")
    sizes = {name: int(np.prod(network.shapes[name])) for name in thresholds}
    return {k: LayerStatistics(k, np.asarray(v, float), nan, nan, nan, nan, 0, sizes[k]) for k, v in thresholds.items()}
