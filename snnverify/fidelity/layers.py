"""Errors of one spiking layer: of a tile of samples, their sum, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..activation import ClipFloor, Neuron
from ..bounds import reach
from ..content import Array, Content
from ..convert import ConvertedNetwork
from ..network import INPUT, Layer, Network, per_channel
from ..simulate import summed


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
class LayerTile(Content):
    """Sums and peaks of one layer over some samples.

    Parameters
    ----------
    layer : str
    samples : int
    x_max : float
        Greatest size of the input.
    sums, peaks : mapping of str to float
        Over samples and units; the names are those of `LayerFidelity`.
    spiked, full : uint8 array [ceil(units / 8)]
        Units that spiked at all, and in every step of some sample, one bit each.
    """

    layer: str
    samples: int
    x_max: float
    sums: Mapping[str, float]
    peaks: Mapping[str, float]
    spiked: Array
    full: Array


def layer_tile(
    converted: ConvertedNetwork,
    name: str,
    steps: int,
    rate: Array,
    v_end: Array,
    means: Mapping[str, Array],
    wanted: Mapping[str, Array],
    analog: Mapping[str, Array],
) -> LayerTile:
    """Errors of one layer.

    Parameters
    ----------
    converted : ConvertedNetwork
    name : str
    steps : int
        T.
    rate, v_end : array [N, *shape]
        Spikes per step, and the last potential.
    means, wanted, analog : mapping of layer to array [N, *shape]
        Mean value per step that each layer handed on; that it would on the ANN's activations; these.
    """
    layer, shape = converted.snn[name], converted.snn.shapes[name]
    assert isinstance(layer.act, Neuron)
    theta, v_init = (per_channel(p, shape) for p in (layer.act.theta, layer.act.v_init))
    scale = per_channel(converted.scales[name], shape)  # theta in ANN units
    target = np.maximum(analog[name], 0) / scale
    given, due = (summed(layer, values) / theta for values in (means, wanted))
    ann_input = summed(converted.ann[name], analog) / scale
    left = (v_end.astype(float) - v_init) / (steps * theta)
    error = np.abs(rate - np.minimum(target, 1))
    inherited = np.abs(given - due)
    got, wants = np.clip(given, 0, 1), np.clip(due, 0, 1)
    sums = {
        "rate": rate, "ann_rate": np.minimum(target, 1), "error": error, "own": np.abs(rate - got),
        "inherited": np.abs(got - wants), "left_over": np.abs(left), "clipped": np.maximum(target - 1, 0),
    }  # fmt: skip
    peaks = {"error": error, "identity": np.abs(rate - given + left), "normalisation": np.abs(due - ann_input),
             "ann_max": target, "unexplained": error - inherited - np.abs(left) - _grain(converted, name)}  # fmt: skip
    return LayerTile(
        name, len(rate), float(np.abs(wanted[INPUT]).max()), {k: float(v.sum()) for k, v in sums.items()},
        {k: max(0.0, float(v.max())) for k, v in peaks.items()},
        *(np.packbits(units.any(0)) for units in (rate > 0, rate >= 1)),
    )  # fmt: skip


def added_layer(tiles: Sequence[LayerTile]) -> LayerTile:
    """Sum of the tiles of one layer; sums of floats are rounded once."""
    first = tiles[0]
    return LayerTile(
        first.layer, sum(t.samples for t in tiles), max(t.x_max for t in tiles),
        {k: math.fsum(t.sums[k] for t in tiles) for k in first.sums},
        {k: max(t.peaks[k] for t in tiles) for k in first.peaks},
        *(np.bitwise_or.reduce([getattr(t, k) for t in tiles]) for k in ("spiked", "full")),
    )  # fmt: skip


def finished(converted: ConvertedNetwork, whole: LayerTile, steps: int, encoding: str) -> LayerFidelity:
    """Means, peaks and bounds of one layer from the sum of all tiles."""
    layer, shape = converted.snn[whole.layer], converted.snn.shapes[whole.layer]
    assert isinstance(layer.act, Neuron)
    units = int(np.prod(shape))
    mean = {k: v / (whole.samples * units) for k, v in whole.sums.items()}
    start = per_channel(layer.act.v_init, shape) / per_channel(layer.act.theta, shape)
    lawful = layer.act.keeps_charge and layer.act.max_spikes == 1
    x_max = max(1.0, whole.x_max) if encoding == "poisson" else whole.x_max  # the size of a spike
    rounding = _rounding(converted.snn, layer, steps, x_max) if lawful else float("nan")
    constant = encoding == "constant" and _sees_only_input(converted.snn, layer.name)
    closed = constant and lawful and bool(np.all((start >= 0) & (start < 1)))
    law = float(np.maximum(start, 1 - start).max()) / steps + rounding + _grain(converted, layer.name)
    spiked, full = (int(np.unpackbits(bits).sum()) for bits in (whole.spiked, whole.full))
    return LayerFidelity(
        layer.name, mean["rate"], mean["ann_rate"], mean["error"], whole.peaks["error"], mean["own"],
        mean["inherited"], mean["left_over"], mean["clipped"], whole.peaks["identity"], whole.peaks["unexplained"],
        whole.peaks["normalisation"], whole.peaks["ann_max"], rounding, law if closed else float("nan"), units - spiked,
        full, units,
    )  # fmt: skip


def _grain(converted: ConvertedNetwork, name: str) -> float:
    """Greatest distance of a QCFS activation to its input, in units of the threshold; a ReLU is not off its own."""
    act = converted.ann[name].act
    return max(act.shift, 1 - act.shift) / act.levels if isinstance(act, ClipFloor) else 0.0


def _rounding(snn: Network, layer: Layer, steps: int, x_max: float) -> float:
    """Rounding bound of the identity in float32, in units of the threshold.

    With u = 2^-24: an input of K roundings is within ``(K + 1) u S`` of its exact value, S the greatest sum of
    absolute products (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5, first order; one
    more for weights rounded to float32); each of the 2 T updates of v rounds by at most u times
    ``|v| <= |v_0| + T S + theta``; the sum over the run is divided by T theta.
    """
    S, depth = reach(snn, layer.name, x_max)
    assert isinstance(layer.act, Neuron)
    theta = layer.act.theta
    v_max = float(np.max(np.abs(layer.act.v_init))) + steps * S + float(np.max(theta))
    return 2.0**-24 * ((depth + 1) * S + 2 * v_max) / float(np.min(theta)) * 1.01  # 1 %: second order


def _sees_only_input(network: Network, name: str) -> bool:
    """Whether nothing but analog layers lies between the input and a layer, so that its current is constant."""
    sources = [b.source for b in network[name].branches]
    return all(s == INPUT or (network[s].act is None and _sees_only_input(network, s)) for s in sources)
