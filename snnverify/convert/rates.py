"""Thresholds for a firing rate that is asked for, the rates that come of it, and why a rate is missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..content import Array, Content
from ..errors import ConfigError, DataError
from ..gate.bounds import chance
from ..gate.verdict import apart
from ..network import Network
from ..simulate import simulate
from ..trace import Encoding
from .calibrate import LayerStatistics
from .normalise import spiking

OCTAVE = 64  # thresholds that are tried in each doubling
REACH = 20 * OCTAVE  # doublings and halvings of the first threshold that the search looks at
MOST = 1000  # calibration samples that are simulated
LEVEL = 0.01  # chance at most, for each layer, that data of one distribution are told to be unlike


@dataclass(frozen=True)
class Target(Content):
    """Range of the average rate of a layer, in spikes per unit and step; both ends belong to it."""

    low: float
    high: float

    @classmethod
    def of(cls, given: Any) -> Target:
        """Read a pair of numbers; `ConfigError` unless ``0 < low < high <= 1``."""
        try:
            low, high = (float(v) for v in given)
        except (TypeError, ValueError):
            raise ConfigError(f"target_rate = {given!r}: two numbers, such as 0.05 0.20") from None
        if not 0 < low < high <= 1:
            raise ConfigError(f"target_rate = {low:g} {high:g}: spikes per unit and step, 0 < lowest < highest <= 1")
        return cls(low, high)

    def holds(self, rate: float) -> bool:
        """Whether a rate lies in the range."""
        return self.low <= rate <= self.high


@dataclass(frozen=True)
class LayerRates(Content):
    """Rates of one layer on a data set, in spikes per step.

    Parameters
    ----------
    layer : str
    merges : bool
        Whether the layer sums several branches (the end of a skip connection).
    threshold : float
        In ANN units; of thresholds per channel the greatest.
    average : float
        Over all units and samples.
    p99, maximum : float
        Over the units, of each unit's average over the samples.
    saturated : float
        Share of (unit, sample) pairs that fire in every step.
    silent, units : int
        Units that never fire, of all.
    error : float
        Standard error of the average over the samples; infinite for a single one.
    samples : int
    causes : tuple of str
        Why the average is outside the range that was asked for; empty where it is inside, or none was.
    note : str
        What is told of a layer that keeps the range as far as sampling lets one say.
    undecided : bool
        Whether the samples are too few to say that an average outside the range misses it.
    """

    layer: str
    merges: bool
    threshold: float
    average: float
    p99: float
    maximum: float
    saturated: float
    silent: int
    units: int
    error: float
    samples: int
    causes: tuple[str, ...] = ()
    note: str = ""
    undecided: bool = False

    def said(self, target: Target) -> str:
        """Return the warning of a layer outside its range, with its likely causes."""
        asked = f"asked for {target.low:g} to {target.high:g}"
        return f"layer {self.layer}: average rate {self.average:.3g}, {asked}: {'; '.join(self.causes)}"


@dataclass(frozen=True)
class Setting:
    """What a simulation for calibration needs beside network, thresholds and samples; see `simulate`."""

    steps: int = 20
    encoding: Encoding = "constant"
    seed: int = 0
    first_sample: int | Array = 0

    def counts(self, network: Network, x: Array) -> Mapping[str, Array]:
        """Spike counts of every layer, exact where the numbers are."""
        return simulate(
            network, x, self.steps, encoding=self.encoding, seed=self.seed, first_sample=self.first_sample,
            dtype="float64", record="counts",
        ).counts  # fmt: skip


def sampled(x: Array, seed: int) -> Array:
    """At most `MOST` of the samples, drawn by the seed, in their order."""
    if len(x) <= MOST:
        return x
    return np.asarray(x[np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST])])


def search(
    ann: Network, thresholds: Mapping[str, Array], x: Array, target: Target, setting: Setting, **how: Any
) -> dict[str, Array]:
    """Thresholds nearest to those given, by a common factor for a layer, whose average rate is in the range.

    Layers are taken in order: a threshold changes what later layers see. Tried are ``2^(k / 64)`` times the first
    threshold, rounded to 12 bits. With soft reset and without leak the count of a unit never grows with its threshold
    (check ``calibration.count_falls``), so bisection over k finds the nearest; with a leak or a reset to a value it finds
    one, or none where there might be one. Where no k gives a rate in the range, the threshold stays on the side of too few
    spikes. Nothing is drawn but by the seed of the encoding.

    Parameters
    ----------
    ann : Network
    thresholds : mapping of layer to array, () or (C,)
    x : array [N, *input_shape]
    target : Target
    setting : Setting
    **how
        `v_init`, `neuron`, `form` and `maxpool` of `spiking`.
    """
    found = {name: np.asarray(v, float) for name, v in thresholds.items()}
    for layer in ann.layers:
        if layer.name in found:
            rate = _rate_of(ann, layer.name, found, x, setting, how)
            found[layer.name] = _times(found[layer.name], _nearest(rate, target))
    return found


def _rate_of(
    ann: Network, name: str, thresholds: Mapping[str, Array], x: Array, setting: Setting, how: Mapping[str, Any]
) -> Callable[[int], float]:
    """Average rate of a layer over k; layers before it keep their thresholds, and later ones are not run."""
    upto = next(i for i, v in enumerate(ann.layers) if v.name == name) + 1
    part = replace(ann, layers=ann.layers[:upto])
    before = {v.name: thresholds[v.name] for v in part.layers if v.name in thresholds}

    def rate(k: int) -> float:
        snn = spiking(part, before | {name: _times(thresholds[name], k)}, **how)[0]
        return float(setting.counts(snn, x)[name].mean()) / setting.steps

    return rate


def _times(threshold: Array, k: int) -> Array:
    """``2^(k / 64)`` times a threshold, rounded to 12 bits, so that dyadic potentials are compared exactly."""
    fraction, exponent = np.frexp(threshold * 2.0 ** (k / OCTAVE))
    return np.asarray(np.ldexp(np.rint(np.ldexp(fraction, 12)), exponent - 12)) if k else threshold


def _nearest(rate: Callable[[int], float], target: Target) -> int:
    """K of the least change for which the falling function `rate` is in the range, or too low beside a step over it."""
    first = rate(0)
    if target.holds(first):
        return 0
    if first > target.high:  # smallest k > 0 that is not over the range
        return _first(lambda k: rate(k) <= target.high, 1)
    k = _first(lambda k: rate(-k) >= target.low, 1)
    return -k if target.holds(rate(-k)) else 1 - k


def _first(holds: Callable[[int], bool], low: int) -> int:
    """Smallest number from `low` to `REACH` for which a condition holds that stays true from then on; else `REACH`."""
    high = REACH
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def measure_rates(snn: Network, thresholds: Mapping[str, Array], x: Array, setting: Setting) -> tuple[LayerRates, ...]:
    """Rates of every spiking layer on some samples.

    Parameters
    ----------
    snn : Network
    thresholds : mapping of layer to array
        In ANN units.
    x : array [N, *input_shape]
    setting : Setting

    Raises
    ------
    DataError
        No sample.
    """
    if not len(x):
        raise DataError("rates: there is no sample; give at least one")
    counts, T, rows = setting.counts(snn, x), setting.steps, []
    for layer in snn.spiking:
        n = counts[layer.name].reshape(len(x), -1)
        units, samples = n.mean(0) / T, n.mean(1) / T
        error = float(samples.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("inf")
        rows.append(LayerRates(
            layer.name, len(layer.branches) > 1, float(np.max(thresholds[layer.name])), float(n.mean()) / T,
            float(np.quantile(units, 0.99)), float(units.max()), float((n >= T).mean()), int((n.max(0) == 0).sum()),
            units.size, error, len(x),
        ))  # fmt: skip
    return tuple(rows)


def explained(
    rows: tuple[LayerRates, ...], target: Target, network: Network, trained: Network,
    thresholds: Mapping[str, Array], statistics: Mapping[str, LayerStatistics], x: Array, setting: Setting,
    **how: Any,
) -> tuple[LayerRates, ...]:  # fmt: skip
    """Add to every row outside the range its likely causes, each shown by the evidence that is named with it.

    Parameters
    ----------
    rows : tuple of LayerRates
    target : Target
    network, trained : Network
        What was made spiking, and the trained ANN with its normalisations; they differ where those were ignored.
    thresholds, statistics : mappings by layer
    x, setting, how
        As `search` takes them.
    """
    told = []
    whole: dict[str, float] = {}
    if network is not trained and not all(target.holds(r.average) for r in rows):
        snn = spiking(trained, thresholds, **how)[0]
        whole = {r.layer: r.average for r in measure_rates(snn, thresholds, x, setting)}
    for row in rows:
        causes = []
        if row.error > (target.high - target.low) / 2:
            causes.append(
                f"under-determined request: {len(x)} samples tell the average to +-{row.error:.2g} only, and the range is "
                f"{target.high - target.low:.2g} wide; give more calibration samples"
            )
        if not target.holds(row.average):
            if target.holds(whole.get(row.layer, -1.0)):
                causes.append(f"batch normalisation not folded: with it folded and the same thresholds the average is "
                              f"{whole[row.layer]:.3g}; fold it")  # fmt: skip
            elif row.average < target.low:
                causes += _too_low(row, target, network, thresholds, statistics[row.layer], x, setting, how)
            else:
                causes.append("threshold: a higher one brings the average down; use mode='rate'")
        told.append(replace(row, causes=tuple(causes)))
    return tuple(told)


def _too_low(
    row: LayerRates, target: Target, network: Network, thresholds: Mapping[str, Array], known: LayerStatistics,
    x: Array, setting: Setting, how: Mapping[str, Any],
) -> list[str]:  # fmt: skip
    """Causes of too few spikes, from what the layer gives at thresholds down to 2^-20 of its own."""
    rate = _rate_of(network, row.layer, thresholds, x, setting, how)
    most = rate(-REACH)
    alive = 1 - known.dead / known.units
    if most < target.low and ((alive > 0 and most / alive >= target.low) or known.dead == known.units):
        return [f"dead ReLU: {known.dead} of {known.units} units never leave zero on the calibration set; the others alone "
                f"reach {most / alive if alive else 0:.3g}; retrain or prune them"]  # fmt: skip
    k = REACH if most < target.low else _first(lambda k: rate(-k) >= target.low, 1)
    found = rate(-k)
    if target.holds(found):
        return ["threshold: a lower one brings the average up; use mode='rate'"]
    neuron = how["neuron"]
    if (neuron.reset, neuron.leak, neuron.v_floor, neuron.syn_decay) != ("subtract", 1, None, None):
        return ["none found by bisection: no threshold that it tried gives the range, and with a leak or a reset to a value "
                "another might, because counts need not fall with the threshold; set thresholds by another mode, or widen "
                "the range"]  # fmt: skip
    if most < target.low:
        return [f"over-determined request: whatever the threshold, the average is at most {most:.3g}; lower the range"]
    return [f"over-determined request: from one threshold to the next the average jumps from {rate(1 - k):.3g} to "
            f"{found:.3g}, over the whole range; widen the range or take more steps"]  # fmt: skip


def unlike(
    calibrated: tuple[LayerRates, ...], elsewhere: tuple[LayerRates, ...], target: Target
) -> tuple[LayerRates, ...]:
    """Rates on other data; a layer in the range on the calibration set alone is judged by what sampling explains.

    The search ends where the range begins, so that other samples of the same distribution miss it about as often as not.
    Only where the two averages differ by more than `gate.bounds.chance` at `LEVEL` was the layer calibrated on data
    unlike these. Else it lies at the edge of its range, which is kept as far as samples tell, if they tell it to half
    the range's width; where they do not, it is undecided.
    """
    inside = {r.layer: r for r in calibrated if target.holds(r.average)}
    return tuple(
        _unlike(inside[r.layer], r, target) if r.layer in inside and not target.holds(r.average) else r
        for r in elsewhere
    )


def _unlike(known: LayerRates, row: LayerRates, target: Target) -> LayerRates:
    """A row outside the range, whose layer is inside on the calibration set."""
    edge = target.low if row.average < target.low else target.high
    there, here = (apart(r.average, edge, ".4f")[0] for r in (known, row))
    explained = chance((known.error, row.error), (known.samples, row.samples), LEVEL)
    said = f"the average is {there} on the calibration set, {here} on the evaluation data"
    if abs(row.average - known.average) > explained:
        return replace(row, causes=(f"unrepresentative calibration data: {said}, and sampling explains {explained:.2g} at "
                                    f"most ({1 - LEVEL:.0%}); calibrate on samples like these",))  # fmt: skip
    if explained > (target.high - target.low) / 2:
        return replace(row, undecided=True, causes=(
            f"too few samples: {said}, sampling alone explains {explained:.2g} ({1 - LEVEL:.0%}), and the range is "
            f"{target.high - target.low:.2g} wide; give more samples",))  # fmt: skip
    return replace(row, note=f"at the edge of its range, {edge:g}: {said}; sampling explains differences up to "
                             f"{explained:.2g} ({1 - LEVEL:.0%})")  # fmt: skip
