"""What a trace shows of each spiking layer: its inputs, computed from the spikes of its own sources, and its spikes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from ..activation import Neuron
from ..bounds import absolute, depth
from ..content import Array
from ..errors import Unsupported
from ..fingerprint.certain import Candidate, counts, follow, refuted
from ..network import INPUT, Layer, Pool, per_channel
from ..simulate import over_time
from ..trace import Case, Trace

_BITS = 21  # sums of products that fit so many bits are exact in float32, in any order


@dataclass(frozen=True)
class Evidence:
    """One spiking layer of a trace; its units are those of all samples, [T, U] with U = N units.

    Parameters
    ----------
    layer : str
    neuron : Neuron
        As the base network has it, ``theta`` and ``v_init`` by unit.
    x, noise : float64 array [T, U]
        Summed input, and how far float32 may have rounded it.
    spikes : int64 array [T, U]
    """

    layer: str
    neuron: Neuron
    x: Array
    noise: Array
    spikes: Array

    def refutes(self, **changed: object) -> Array:
        """Where [T, U] the neuron with some axes changed would certainly have done otherwise."""
        neuron = replace(self.neuron, **changed)  # type: ignore[arg-type]
        return refuted(Candidate(neuron), self.x, self.spikes, self.noise)

    def unsure(self, **changed: object) -> float:
        """Share of the steps in which the neuron with some axes changed is too close to a threshold to be judged."""
        candidate = Candidate(replace(self.neuron, **changed))  # type: ignore[arg-type]
        peaks, unsure = follow(candidate, self.x, self.spikes, self.noise)
        return float(np.mean(counts(candidate.neuron, peaks - unsure) != counts(candidate.neuron, peaks + unsure)))

    def margin(self) -> float:
        """Greatest distance of a potential from the threshold that its spikes say it crossed, in thresholds."""
        peaks, _ = follow(Candidate(self.neuron), self.x, self.spikes, self.noise)
        theta = np.asarray(self.neuron.theta, float)
        most = np.inf if self.neuron.max_spikes is None else self.neuron.max_spikes
        short = np.where(self.spikes > 0, self.spikes * theta - peaks, 0.0)
        over = np.where(self.spikes < most, peaks - (self.spikes + 1) * theta, 0.0)
        return float((np.maximum(np.maximum(short, over), 0.0) / theta).max(initial=0.0))


def evidence(case: Case, trace: Trace) -> list[Evidence]:
    """Return what a trace shows of each spiking layer of the case's network.

    Raises
    ------
    Unsupported
        Poisson encoding, whose input a trace does not hold; a layer of Loihi's integer neurons.
    """
    if case.encoding == "poisson":
        raise Unsupported("encoding = 'poisson'", "a trace does not hold the spikes that were drawn",
                          "draw them first and pass them with encoding='spikes'")  # fmt: skip
    T = case.steps
    x = np.asarray(case.x, float)
    values = {INPUT: x if case.encoding == "spikes" else np.broadcast_to(x, (T, *x.shape))}
    sizes = {INPUT: np.abs(values[INPUT])}
    places = {INPUT: _places(values[INPUT])}
    found = []
    for layer, bound in zip(case.network.layers, absolute(case.network).layers, strict=True):
        drive = over_time(layer, values, T, {})
        reach = over_time(bound, sizes, T, {})
        grid = max(_layer_places(layer, b.source, places) for b in layer.branches)
        if layer.act is None:
            values[layer.name], sizes[layer.name], places[layer.name] = drive, reach, grid
            continue
        if not isinstance(layer.act, Neuron):
            raise Unsupported(layer.name, f"{type(layer.act).__name__} has no axes to change", "compare spiking layers")
        spikes = np.asarray(trace.spikes[layer.name]).astype(np.int64)
        shape = drive.shape[1:]
        by_unit: dict[str, Any] = {k: np.broadcast_to(per_channel(getattr(layer.act, k), shape[1:]), shape).ravel()
                   for k in ("theta", "v_init")}  # fmt: skip
        exact = reach.max(initial=0.0) < 2.0 ** (_BITS - grid)
        rounded = 2.0**-24 * (depth(case.network, layer.name) + 1) * 1.01  # 1 %: second order
        noise = np.zeros_like(drive) if exact else rounded * reach
        found.append(Evidence(layer.name, replace(layer.act, **by_unit), drive.reshape(T, -1), noise.reshape(T, -1),
                              spikes.reshape(T, -1)))  # fmt: skip
        emitted = spikes * per_channel(layer.act.amplitude, shape[1:])
        values[layer.name], sizes[layer.name], places[layer.name] = emitted, np.abs(emitted), _places(emitted)
    return found


def _places(values: Array) -> float:
    """Smallest m with all values multiples of ``2^-m``; infinite where there is none up to 24."""
    return next((m for m in range(25) if np.array_equal(v := np.asarray(values, float) * 2.0**m, np.rint(v))), inf)


def _layer_places(layer: Layer, source: str, places: dict[str, float]) -> float:
    """Places of the products of a layer's branches from one source, and of its biases."""
    total = 0.0
    for b in layer.branches:
        if b.source == source:
            parts = [v for k in ("weight", "factor") if (v := getattr(b.op, k, None)) is not None]
            own = max((_places(np.asarray(v)) for v in parts), default=0)
            mean = _places(1.0 / _divisors(b.op)) if isinstance(b.op, Pool) and b.op.kind == "average" else 0
            bias = getattr(b.op, "bias", None)
            total = max(total, places[source] + own + mean, 0 if bias is None else _places(np.asarray(bias)))
    return total


def _divisors(op: Pool) -> Array:
    """Numbers of entries that an average may divide by: fewer at the border where padding does not count."""
    found = np.ones(1)
    for k, p in zip(op.kernel, op.padding, strict=True):
        least = k if op.count_include_pad else max(k - 2 * p, 1)
        found = np.multiply.outer(found, np.arange(least, k + 1)).ravel()
    return found
