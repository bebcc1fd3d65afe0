"""What a conversion kept, measured on labelled data in one streamed pass: accuracy over T, and every layer's errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from .activation import ClipFloor, Neuron
from .bounds import reach
from .content import Array, Content
from .convert import ConvertedNetwork
from .errors import DataError
from .kernels import encode
from .network import INPUT, Layer, Network, per_channel
from .simulate import MEMORY, forward, plan, simulate, summed
from .stats import Paired, from_predictions
from .trace import Encoding

TILE = 256


@dataclass(frozen=True, eq=False)
class LayerFidelity(Content):
    """One spiking layer at the largest T. Rates are spikes per step; every error is in units of the threshold.

    By the layer identity ``theta r = W rbar + b - (V_T - V_0) / T`` and because clipping to [0, 1] shrinks distances,
    ``|r - clip(a)| <= |W (rbar - abar)| / theta + |V_T - V_0| / (T theta)`` in every unit: what a layer inherits, and
    the potential that is left over.

    Parameters
    ----------
    rate, ann_rate : float
        Mean rate of the SNN, and of the ANN's activations clipped to [0, 1].
    error_mean, error_max : float
        Of ``|r - clip(a)|``.
    own, inherited, clipped : float
        Mean sizes of ``|r - clip(given)|`` and ``|clip(given) - clip(due)|``, where given is the mean input that the layer
        got and due what the ANN's activations would give (the error is at most their sum); and of the activation over
        the threshold.
    left_over : float
        Mean size of the potential left over; large also in silent units, where it does no harm.
    identity, unexplained, normalisation : float
        Greatest breach of the layer identity; greatest excess of the rate error over its two parts; greatest difference
        between the layer's own weights on the ANN's activations and the ANN's input of the layer.
    ann_max : float
        Greatest activation of the ANN, not clipped.
    rounding, rate_limit : float
        Rounding bound of the first two; greatest rate error that the law of constant input allows. NaN where a law
        does not hold.
    dead, saturated, units : int
        Units that never spiked; units that spiked in every step of some sample; all.
    """

    layer: str
    rate: float
    ann_rate: float
    error_mean: float
    error_max: float
    own: float
    inherited: float
    left_over: float
    clipped: float
    identity: float
    unexplained: float
    normalisation: float
    ann_max: float
    rounding: float
    rate_limit: float
    dead: int
    saturated: int
    units: int


@dataclass(frozen=True, eq=False)
class Fidelity(Content):
    """Predictions and layer errors of one model on one data set.

    Parameters
    ----------
    steps : tuple of int
        The T at which the SNN is read out, ascending.
    labels, ann : int array [N]
    snn : int array [len(steps), N]
    ties : tuple of int
        Samples whose greatest read-out was not unique, at each T (the arg max takes the lowest index).
    layers : tuple of LayerFidelity
    events : mapping of layer to mapping of str to int
        Exact operation counts over all samples and steps.
    """

    steps: tuple[int, ...]
    labels: Array
    ann: Array
    snn: Array
    ties: tuple[int, ...]
    layers: tuple[LayerFidelity, ...]
    events: Mapping[str, Mapping[str, int]]

    def paired(self, steps: int, label: int | None = None) -> Paired:
        """Return the paired table of ANN and SNN at one T, of all samples or of one class."""
        kept = np.ones(len(self.labels), bool) if label is None else self.labels == label
        return from_predictions(self.labels[kept], self.ann[kept], self.snn[self.steps.index(steps)][kept])


@dataclass(frozen=True)
class ModelUnderTest:
    """A conversion with the data and the figures it is judged on.

    Parameters
    ----------
    name : str
    converted : ConvertedNetwork
    x : array [N, *shape]
    logits : array [N, classes]
        What the trained model itself (not its import) says, in float64 where it can be run so.
    unit, noise : float
        Unit roundoff of `logits`, 2^-53 or 2^-24, and their greatest distance to the same outputs in float32: how much
        this very model amplifies rounding.
    fidelity : Fidelity
    margin : Fraction
        Greatest accuracy drop that is let through.
    seed : int
    command : str
        That measures this model again.
    limits : mapping of check to float
        Policy limits of the user.
    """

    name: str
    converted: ConvertedNetwork
    x: Array
    logits: Array
    unit: float
    noise: float
    fidelity: Fidelity
    margin: Fraction
    seed: int = 0
    command: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)


def measure(
    converted: ConvertedNetwork,
    x: Array,
    labels: Array,
    logits: Array,
    steps: Sequence[int],
    *,
    encoding: Encoding = "constant",
    seed: int = 0,
    first_sample: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Fidelity:
    """Run a data set through the converted network, in tiles.

    Parameters
    ----------
    converted : ConvertedNetwork
    x, labels : arrays [N, *shape], [N]
    logits : array [N, classes]
        Of the trained model.
    steps : sequence of int
    encoding, seed, first_sample
        See `simulate`.
    progress : callable, optional
        Called with the number of samples that are done.

    Raises
    ------
    DataError
        Logits that are not one row of finite numbers per sample.
    """
    marks = tuple(sorted(set(steps)))
    if not marks or marks[0] < 1:
        raise DataError(f"steps = {list(steps)}: at least one, each at least 1")
    if np.shape(labels) != (len(x),) or not len(x):
        raise DataError(f"labels of shape {np.shape(labels)} for {len(x)} samples: one class for each, at least one")
    if logits.ndim != 2 or len(logits) != len(x) or not np.all(np.isfinite(logits)):
        raise DataError(f"model output of shape {logits.shape}: [N, classes] of finite numbers is needed to classify")
    predictions, ties = np.empty((len(marks), len(x)), np.int64), np.zeros(len(marks), int)
    tallies = {v.name: _LayerTally(converted, v, marks[-1], encoding) for v in converted.snn.spiking}
    events: dict[str, dict[str, int]] = {}
    tile = min(TILE, plan(converted.ann, len(x), 1, 8, 4 * MEMORY)[0])
    for start in range(0, len(x), tile):
        rows = slice(start, min(start + tile, len(x)))
        trace = simulate(converted.snn, x[rows], marks[-1], encoding=encoding, seed=seed, readout_at=marks,
                         first_sample=first_sample + start)  # fmt: skip
        outputs = converted.outputs(trace)
        predictions[:, rows] = outputs.argmax(-1)
        ties += ((outputs == outputs.max(-1, keepdims=True)).sum(-1) > 1).sum(-1)
        analog = forward(converted.ann, x[rows]) | {INPUT: np.asarray(x[rows], float)}
        spikes = {k: v / marks[-1] for k, v in trace.counts.items()}
        worth = {k: per_channel(converted.units[k], converted.snn.shapes[k]) for k in tallies}
        given = x[rows]
        if encoding == "poisson":  # the laws hold for the train that was drawn, not for the rates behind it
            given = _mean_train(x[rows], marks[-1], seed, first_sample + start)
        means = _means(converted.snn, given, spikes)
        wanted = _means(converted.snn, x[rows], {k: np.maximum(analog[k], 0) / worth[k] for k in tallies}, emitted=True)
        for name, tally in tallies.items():
            tally.take(spikes[name], trace.v_end[name], means, wanted, analog)
        for name, found in trace.events.items():
            events[name] = {k: v + events.get(name, {}).get(k, 0) for k, v in found.items()}
        if progress is not None:
            progress(rows.stop - rows.start)
    layers = tuple(t.finish() for t in tallies.values())
    return Fidelity(marks, np.asarray(labels), logits.argmax(-1), predictions, tuple(ties.tolist()), layers, events)


def _mean_train(x: Array, steps: int, seed: int, first_sample: int) -> Array:
    """Mean of the spikes that the encoder draws over a run, a few steps at a time."""
    total = np.zeros(x.shape)
    for t in range(0, steps, 16):
        total += encode.poisson(x, t, min(t + 16, steps), seed, first_sample).sum(0)
    return total / steps


def _means(snn: Network, x: Array, spiking: Mapping[str, Array], emitted: bool = False) -> dict[str, Array]:
    """Mean value per step that every layer hands on, in float64, from the rates (or emitted means) of spiking layers."""
    means = {INPUT: np.asarray(x, float)}
    for layer in snn.layers:
        if isinstance(layer.act, Neuron):
            amplitude = 1.0 if emitted else per_channel(layer.act.amplitude, snn.shapes[layer.name])
            means[layer.name] = spiking[layer.name] * amplitude
        else:
            means[layer.name] = summed(layer, means)
    return means


class _LayerTally:
    """Running errors of one spiking layer."""

    def __init__(self, converted: ConvertedNetwork, layer: Layer, steps: int, encoding: str) -> None:
        assert isinstance(layer.act, Neuron)
        self.layer, self.act, self.steps, self.converted = layer, layer.act, steps, converted
        self.shape = converted.snn.shapes[layer.name]
        self.theta, self.v_init = (per_channel(p, self.shape) for p in (layer.act.theta, layer.act.v_init))
        self.scale = per_channel(converted.scales[layer.name], self.shape)  # theta in ANN units
        ann_act = converted.ann[layer.name].act
        # A QCFS activation is itself off its input, by this at most; a ReLU is not.
        self.grain = max(ann_act.shift, 1 - ann_act.shift) / ann_act.levels if isinstance(ann_act, ClipFloor) else 0.0
        self.constant = encoding == "constant" and _sees_only_input(converted.snn, layer.name)
        self.sums: dict[str, float] = {}
        self.peaks: dict[str, float] = {}
        self.spiked, self.full = np.zeros(self.shape, bool), np.zeros(self.shape, bool)
        self.samples, self.x_max = 0, 1.0 if encoding == "poisson" else 0.0  # the size of a spike

    def take(
        self,
        rate: Array,
        v_end: Array,
        means: Mapping[str, Array],
        wanted: Mapping[str, Array],
        analog: Mapping[str, Array],
    ) -> None:
        target = np.maximum(analog[self.layer.name], 0) / self.scale
        given, due = (summed(self.layer, values) / self.theta for values in (means, wanted))
        ann_input = summed(self.converted.ann[self.layer.name], analog) / self.scale
        left = (v_end.astype(float) - self.v_init) / (self.steps * self.theta)
        error = np.abs(rate - np.minimum(target, 1))
        inherited = np.abs(given - due)
        self.samples, self.x_max = self.samples + len(rate), max(self.x_max, float(np.abs(wanted[INPUT]).max()))
        self.spiked |= (rate > 0).any(0)
        self.full |= (rate >= 1).any(0)
        got, wants = np.clip(given, 0, 1), np.clip(due, 0, 1)
        sums = {
            "rate": rate, "ann_rate": np.minimum(target, 1), "error": error, "own": np.abs(rate - got),
            "inherited": np.abs(got - wants), "left_over": np.abs(left), "clipped": np.maximum(target - 1, 0),
        }  # fmt: skip
        for name, values in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(values.sum())
        peaks = {"error": error, "identity": np.abs(rate - given + left), "normalisation": np.abs(due - ann_input),
                 "ann_max": target, "unexplained": error - inherited - np.abs(left) - self.grain}  # fmt: skip
        for name, values in peaks.items():
            self.peaks[name] = max(self.peaks.get(name, 0.0), float(values.max()))

    def finish(self) -> LayerFidelity:
        units = int(np.prod(self.shape))
        mean = {k: v / (self.samples * units) for k, v in self.sums.items()}
        lawful = self.act.keeps_charge and self.act.max_spikes == 1
        rounding = self._rounding() if lawful else float("nan")
        start = self.v_init / self.theta
        closed = (
            self.constant
            and self.act.keeps_charge
            and self.act.max_spikes == 1
            and bool(np.all((start >= 0) & (start < 1)))
        )
        law = float(np.maximum(start, 1 - start).max()) / self.steps + rounding + self.grain if closed else float("nan")
        return LayerFidelity(
            self.layer.name, mean["rate"], mean["ann_rate"], mean["error"], self.peaks["error"], mean["own"],
            mean["inherited"], mean["left_over"], mean["clipped"], self.peaks["identity"], self.peaks["unexplained"],
            self.peaks["normalisation"], self.peaks["ann_max"], rounding, law, int((~self.spiked).sum()),
            int(self.full.sum()), units,
        )  # fmt: skip

    def _rounding(self) -> float:
        """Rounding bound of the identity in float32, in units of the threshold.

        With u = 2^-24: an input of K roundings is within ``(K + 1) u S`` of its exact value, S the greatest sum of
        absolute products (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5, first order; one
        more for weights rounded to float32); each of the 2 T updates of v rounds by at most u times
        ``|v| <= |v_0| + T S + theta``; the sum over the run is divided by T theta.
        """
        S, depth = reach(self.converted.snn, self.layer.name, self.x_max)
        v_max = float(np.abs(self.v_init).max()) + self.steps * S + float(np.max(self.theta))
        return 2.0**-24 * ((depth + 1) * S + 2 * v_max) / float(np.min(self.theta)) * 1.01  # 1 %: second order


def _sees_only_input(network: Network, name: str) -> bool:
    """Whether nothing but analog layers lies between the input and a layer, so that its current is constant."""
    sources = [b.source for b in network[name].branches]
    return all(s == INPUT or (network[s].act is None and _sees_only_input(network, s)) for s in sources)
