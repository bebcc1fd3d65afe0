"""Values of one station from a given layer on: a forward pass in which some layers are told their values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..content import Array
from ..kernels import blas
from ..network import INPUT, Network, per_channel
from ..simulate import activated, forward, simulate, summed
from .stations import ANALOG, Chain, Station


def values_of(
    chain: Chain, station: Station, x: Array, first_sample: int | Array = 0, threads: int | None = None
) -> tuple[Array, dict[str, Array]]:  # fmt: skip
    """Classes [N] of samples [N, *shape], and the value of every layer with a threshold, in thresholds, [N, *shape].

    The value of a neuron is its rate. Classes are the arg max of the output, ties to the lowest index.
    """
    entered = station.entered(x)
    if station.run == ANALOG:
        with blas.one_thread():
            found = forward(station.network, entered)
        outputs = found[station.network.output.name]
        return outputs.argmax(-1), {k: found[k] / per_channel(v, found[k].shape[1:]) for k, v in chain.scales.items()}
    dtype = "float32" if station.places is None else "float64"
    trace = simulate(station.network, entered, chain.steps, encoding=station.run, seed=chain.seed,  # type: ignore[arg-type]
                     first_sample=first_sample, dtype=dtype, threads=threads)  # fmt: skip
    outputs = trace.readout[-1] / chain.steps * chain.worth  # as `ConvertedNetwork.outputs` has it
    return outputs.argmax(-1), {k: trace.counts[k] / chain.steps for k in chain.scales}


def onwards(network: Network, x: Array, told: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Forward pass of an analog network in which the layers of `told` have these values.

    Parameters
    ----------
    network : Network
    x : array [N, *input_shape]
    told : mapping of layer to array [N, *shape]
        In the ANN's units.

    Returns
    -------
    values, sums : dict of layer to array [N, *shape]
        After and before the activation; a layer that is told its value has the sum that its own sources give.
    """
    values: dict[str, Array] = {INPUT: np.asarray(x, np.float64)}
    sums: dict[str, Array] = {}
    with blas.one_thread():
        for layer in network.layers:
            sums[layer.name] = summed(layer, values)
            values[layer.name] = told[layer.name] if layer.name in told else activated(layer, sums[layer.name])
    return values, sums
