"""What the layers of a spiking network hand on: spikes, values that never change, values that do."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..errors import DataError
from ..kernels import encode
from ..network import INPUT, Flatten, Layer, Network, gated, per_channel
from ..simulate import apply, over_time
from ..trace import Case, Trace


def train(case: Case) -> Array | None:
    """Input of every step [T, N, *shape]; None where it never changes."""
    if case.encoding == "poisson":
        return encode.fastest()(case.x, 0, case.steps, case.seed, case.first_sample)
    return case.x if case.encoding == "spikes" else None


def spiking(network: Network, encoded: bool) -> frozenset[str]:
    """Layers, and perhaps the input, that hand on spikes."""
    found = {v.name for v in network.spiking} | ({INPUT} if encoded else set())
    for layer in network.layers:
        if _passes(layer, found):
            found.add(layer.name)
    return frozenset(found)


def constant(network: Network) -> frozenset[str]:
    """Layers whose values hang on a constant input alone, and so are constant too."""
    found = {INPUT}
    for layer in network.layers:
        if layer.act is None and all(b.source in found for b in layer.branches):
            found.add(layer.name)
    return frozenset(found)


def handed(
    network: Network, spiking: Collection[str], counts: Mapping[str, Array], train: Array | None
) -> dict[str, Array]:
    """Spikes over all steps of whatever hands them on, [N, *shape]; as many of a gate as its busiest unit makes.

    `counts` are those of the layers with neurons, as a trace has them.
    """
    found = dict(counts)
    if INPUT in spiking and train is not None:
        found[INPUT] = train.sum(0, dtype=np.int64)
    for layer in network.layers:
        if layer.name in spiking and layer.name not in found:
            first = layer.branches[0]
            found[layer.name] = apply(first.op, found[first.source].astype(float)).astype(np.int64)
    return found


def still(network: Network, x: Array, constant: Collection[str]) -> dict[str, Array]:
    """Values [1, N, *shape] of the layers that are constant, and of the input."""
    found = {INPUT: np.asarray(x, float)[None]}
    for layer in network.layers:
        if layer.name in constant:
            found[layer.name] = over_time(layer, found, 1, {})
    return found


def values(case: Case, trace: Trace, train: Array | None) -> dict[str, Array]:
    """What everything hands on in each step, float64 [T, N, *shape], or [1, N, *shape] where it never changes.

    Raises
    ------
    DataError
        The trace lacks the spikes of a layer.
    """
    network = case.network
    found = {INPUT: np.asarray(case.x, float)[None] if train is None else np.asarray(train, float)}
    gates: dict[tuple[str, int], Array] = {}
    for layer in network.layers:
        if layer.act is None:
            found[layer.name] = over_time(layer, found, case.steps, gates)
            continue
        if layer.name not in trace.spikes:
            raise DataError(f"trace: layer {layer.name!r} feeds a layer of analog values; record its spikes")
        one = layer.act.amplitude if isinstance(layer.act, Neuron) else 1
        found[layer.name] = trace.spikes[layer.name] * per_channel(one, network.shapes[layer.name]).astype(float)
    return found


def renames(layer: Layer) -> bool:
    """Whether a layer only gives the values of its source other names; a flattening into neurons is one synapse each."""
    return layer.act is None and len(layer.branches) == 1 and isinstance(layer.branches[0].op, Flatten)


def _passes(layer: Layer, known: Collection[str]) -> bool:
    """Whether a layer without neurons hands the spikes of its only source on."""
    first = layer.branches[0]
    alone = layer.act is None and len(layer.branches) == 1
    return alone and first.source in known and (renames(layer) or gated(first))
