"""What one tile of samples shows of a conversion, as a pure function, and the sum of tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..activation import Neuron
from ..content import Array, Content
from ..convert import ConvertedNetwork
from ..kernels import blas, encode
from ..network import INPUT, Flatten, Network, gated, per_channel
from ..simulate import MEMORY, apply, fan_out, forward, simulate, summed, tiling
from ..trace import Encoding
from .layers import LayerTile, added_layer, layer_tile

TILE = 256


@dataclass(frozen=True, eq=False)
class FidelityTile(Content):
    """Predictions, and sums over samples, of some consecutive samples.

    Parameters
    ----------
    snn : int array [T, N]
        Class at each T that is read out; of a regression the outputs, float64 [T, N, outputs].
    ties : tuple of int
        Samples whose greatest read-out was not unique, at each T.
    layers : tuple of LayerTile
    events : mapping of layer to mapping of str to int
        Those of the trace; of an encoded input, which a trace does not count, its spikes and the operations they make.
    """

    snn: Array
    ties: tuple[int, ...]
    layers: tuple[LayerTile, ...]
    events: Mapping[str, Mapping[str, int]]


def size(converted: ConvertedNetwork) -> int:
    """Samples of a tile: what hangs on the network alone, so that the tiles of a data set are always the same."""
    return tiling(converted.ann, TILE, 1, 8, 4 * MEMORY)[0]


def tile(
    converted: ConvertedNetwork, x: Array, marks: Sequence[int], encoding: Encoding, seed: int, first_sample: int | Array,
    regression: bool = False, threads: int | None = None,
) -> FidelityTile:  # fmt: skip
    """Run one tile of samples through the SNN and the ANN.

    Parameters
    ----------
    converted : ConvertedNetwork
    x : array [N, *shape]
    marks : sequence of int
        T at which the SNN is read out, ascending; it runs up to the last.
    encoding, seed, first_sample
        See `simulate`.
    regression : bool
        Whether the outputs are wanted themselves.
    threads : int, optional
        Of the simulator; the result does not hang on it.
    """
    steps = marks[-1]
    with blas.one_thread():
        trace = simulate(converted.snn, x, steps, encoding=encoding, seed=seed, readout_at=marks,
                         first_sample=first_sample, threads=threads)  # fmt: skip
        outputs = converted.outputs(trace)
        ties = ((outputs == outputs.max(-1, keepdims=True)).sum(-1) > 1).sum(-1) * (not regression)
        analog = forward(converted.ann, x) | {INPUT: np.asarray(x, float)}
        rates = {k: v / steps for k, v in trace.counts.items()}
        means, wanted = drives(converted, x, rates, analog, steps, encoding, seed, first_sample)
        layers = tuple(
            layer_tile(converted, v.name, steps, rates[v.name], trace.v_end[v.name], means, wanted, analog)
            for v in converted.snn.spiking
        )
    said = outputs.astype(float) if regression else outputs.argmax(-1)
    drawn = {INPUT: _of_input(converted.snn, means[INPUT] * steps)} if encoding == "poisson" else {}
    return FidelityTile(said, tuple(ties.tolist()), layers, {**drawn, **trace.events})


def drives(
    converted: ConvertedNetwork, x: Array, rates: Mapping[str, Array], analog: Mapping[str, Array], steps: int,
    encoding: Encoding, seed: int, first_sample: int | Array,
) -> tuple[dict[str, Array], dict[str, Array]]:  # fmt: skip
    """Mean value per step that every layer handed on, by its rate, and that it would on the ANN's activations."""
    worth = {v.name: per_channel(converted.units[v.name], converted.snn.shapes[v.name]) for v in converted.snn.spiking}
    # the laws hold for the train that was drawn, not for the rates behind it
    given = _mean_train(x, steps, seed, first_sample) if encoding == "poisson" else x
    due = {k: np.maximum(analog[k], 0) / unit for k, unit in worth.items()}
    return _means(converted.snn, given, rates), _means(converted.snn, x, due, emitted=True)


def added(tiles: Sequence[FidelityTile]) -> FidelityTile:
    """Sum of tiles, given in the order of their samples."""
    events: dict[str, dict[str, int]] = {}
    for part in tiles:
        for name, found in part.events.items():
            events[name] = {k: v + events.get(name, {}).get(k, 0) for k, v in found.items()}
    ties = tuple(map(sum, zip(*(part.ties for part in tiles), strict=True)))
    layers = tuple(map(added_layer, zip(*(part.layers for part in tiles), strict=True)))
    return FidelityTile(np.concatenate([part.snn for part in tiles], axis=1), ties, layers, events)


def _of_input(network: Network, spikes: Array) -> dict[str, int]:
    """Spikes of an encoded input, [N, *shape] over all steps, and the connections of non-zero weight that they go over.

    What flattens them or hands them on through a gate does so here as in a trace.
    """
    found, operations = {INPUT: np.rint(spikes).astype(np.int64)}, 0
    for layer in network.layers:
        for b in (b for b in layer.branches if b.source in found):
            alone = layer.act is None and len(layer.branches) == 1
            if alone and (isinstance(b.op, Flatten) or gated(b)):
                found[layer.name] = apply(b.op, found[b.source].astype(float)).astype(np.int64)
            if not (alone and isinstance(b.op, Flatten)):
                fans = fan_out(b.op, network.shapes[b.source]).astype(np.int64)
                operations += int((found[b.source].sum(0).ravel() * fans.ravel()).sum())
    return {"spikes": int(found[INPUT].sum()), "neuron_updates": 0, "synaptic_operations": operations}


def _mean_train(x: Array, steps: int, seed: int, first_sample: int | Array) -> Array:
    """Mean of the spikes that the encoder draws over a run, a few steps at a time."""
    total, draw = np.zeros(x.shape), encode.fastest()
    for t in range(0, steps, 16):
        total += draw(x, t, min(t + 16, steps), seed, first_sample).sum(0)
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
