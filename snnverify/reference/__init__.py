"""The specification as code: scalar and exact, the plainest possible, independent of the vectorised simulator.

Every number is a `Fraction` or an int; parameters are taken as they are stored, nothing is rounded before the end, and
there each result is rounded once. A network has no cycle, so each unit is computed over all its steps at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from .. import __version__
from ..activation import Act, Cuba, Integer, Neuron, SigmaDelta
from ..content import Array
from ..errors import DataError, Unsupported
from ..network import INPUT, Flatten, Layer, Network, Shape
from ..trace import Case, Provenance, Trace
from .loihi import cuba, integer, sigma_delta
from .neurons import Dynamics, activate, neuron
from .operations import (
    ZERO,
    Index,
    Term,
    Values,
    apply,
    bias,
    channel,
    connections,
    exact,
    fan_in,
    is_gate,
    nearest,
    passed,
    series,
    values_of,
)

__all__ = ["connections", "forward", "run", "unit"]


def drives(layer: Layer, terms: Sequence[Term], values: Mapping[str, Sequence[Values]], steps: int) -> list[Fraction]:
    """Return the summed input of one unit in each step; `values` maps each source to what it emits in each step."""
    lag = 0
    if isinstance(layer.act, Integer):
        lag = layer.act.delay  # before the first arrival every source counts as silent, and what a branch adds too
        _integers(layer, terms, values)
    lag = min(lag, steps)
    arriving = [series(term, values[term[0].source][: steps - lag]) for term in terms]
    return [ZERO] * lag + [sum(step, ZERO) for step in zip(*arriving, strict=True)]


def _integers(layer: Layer, terms: Sequence[Term], values: Mapping[str, Sequence[Values]]) -> None:
    """Refuse an input that integer dynamics cannot take; that the weights are integers, the network sees to."""
    biased = isinstance(layer.act, Cuba) and layer.act.drive == "bias"
    places = layer.act.bias_exponent if isinstance(layer.act, Cuba) and biased else 0
    for term in terms:
        branch, fan, _ = term
        for step in values[branch.source]:
            for x in [apply(term, step)] if biased else [step[i] for i, _ in fan]:
                if (x * 2**places).denominator != 1:
                    unit = f" times 2^-{places}" if places else ""
                    what = f"layer {layer.name!r}: {branch.source!r} {'makes' if biased else 'hands on'} {float(x)}"
                    raise DataError(
                        f"{what}; {type(layer.act).__name__} takes integers{unit}, scale and round it first"
                    )


def dynamics(layer: Layer, index: Index, drive: Sequence[Fraction]) -> Dynamics:
    """Run one unit of a spiking layer on its summed input."""
    if isinstance(layer.act, Neuron):
        return neuron(layer.act, index, drive)
    if isinstance(layer.act, Cuba):
        return cuba(layer.act, index, drive)
    if isinstance(layer.act, SigmaDelta):
        return sigma_delta(layer.act, index, drive)
    raise Unsupported(layer.name, f"its activation is {type(layer.act).__name__}, which does not spike",
                      "ask for a layer of Network.spiking")  # fmt: skip


def together(layer: Layer, drive: Mapping[Index, Sequence[Fraction]], steps: int) -> dict[Index, Dynamics]:
    """Run all units of a spiking layer; those of a recurrent one see each other's spikes of the step before.

    A spike reaches the other units one step later: after k runs over all steps the first k are right.
    """
    found = {index: dynamics(layer, index, d) for index, d in drive.items()}
    weights = getattr(layer.act, "recurrent", None)
    if weights is None:
        return found
    for _ in range(steps - 1):
        fired = {index: [0, *s[:-1]] for index, (s, _, _) in found.items()}
        fed = {i: [x + sum((exact(weights[i + j]) * fired[j][t] for j in fired), ZERO) for t, x in enumerate(d)]
               for i, d in drive.items()}  # fmt: skip
        found = {index: dynamics(layer, index, d) for index, d in fed.items()}
    return found


def handed_on(layer: Layer, index: Index, fired: Sequence[int]) -> list[Fraction]:
    """Return what a unit's spikes or messages are worth to the next layers in each step, late by its axon's delay."""
    late = min(integer(getattr(layer.act, "axon_delay", 0), index), len(fired))
    amplitude = channel(getattr(layer.act, "amplitude", 1), index)
    return [ZERO] * late + [s * amplitude for s in fired[: len(fired) - late]]


def all_terms(network: Network, layer: Layer) -> dict[Index, list[Term]]:
    """Return the summands of every unit of a layer."""
    maps = [(b, *connections(b.op, network.shapes[b.source])) for b in layer.branches]
    return {o: [(b, w[o], c[o]) for b, w, c in maps] for o in np.ndindex(network.shapes[layer.name])}


def stimulus(case: Case, n: int) -> Array:
    """Return the input of sample `n` in each step, [T, *input_shape]."""
    if case.encoding == "poisson":
        raise Unsupported("input", "poisson encoding is random and no part of the specification",
                          "draw the spikes first and pass them with encoding='spikes'")  # fmt: skip
    if case.encoding == "spikes":
        return case.x[:, n]
    return np.broadcast_to(case.x[n], (case.steps, *case.network.input_shape))


def unit(
    case: Case, layer: str, n: int, index: tuple[int, ...], inputs: Mapping[str, Array]
) -> tuple[list[int], list[Fraction], list[Fraction]]:
    """Run one unit over all steps, teacher-forced by what its sources were recorded to emit.

    Parameters
    ----------
    case : Case
    layer : str
        A spiking layer.
    n : int
        The sample; it picks the stimulus where `inputs` does not hold ``"input"``.
    index : tuple of int
        The unit.
    inputs : mapping of source to array [T, *shape]
        Emitted values (spikes times amplitude, late by the axon's delay) of each source of the layer for sample `n`, before
        the layer's own delay; and of a recurrent layer its own spikes.

    Returns
    -------
    spikes, v, v_peak : list, one entry per step

    Raises
    ------
    Unsupported
        A layer that does not spike, or as `run` does.
    DataError
        Emitted values of a source that are missing or of another shape.
    """
    network, receiver = case.network, case.network[layer]
    terms: list[Term] = [(b, fan_in(b.op, network.shapes[b.source], index), bias(b.op, index))
                         for b in receiver.branches]  # fmt: skip
    values: dict[str, list[dict[Index, Fraction]]] = {}
    for branch, fan, _ in terms:
        steps = values.setdefault(branch.source, [{} for _ in range(case.steps)])
        array = inputs.get(branch.source)
        if array is None and branch.source == INPUT:
            array = stimulus(case, n)
        wanted = (case.steps, *network.shapes[branch.source])
        if array is None or array.shape != wanted:
            found = "missing" if array is None else f"of shape {array.shape}"
            raise DataError(f"inputs[{branch.source!r}] is {found}: give its emitted values, [T, *shape] = {wanted}")
        for t in range(case.steps):
            steps[t].update((i, exact(array[(t, *i)])) for i, _ in fan)
    drive = drives(receiver, terms, values, case.steps)
    recurrent = getattr(receiver.act, "recurrent", None)
    if recurrent is not None:
        own = inputs.get(layer)
        if own is None or own.shape != (case.steps, *network.shapes[layer]):
            raise DataError(f"inputs[{layer!r}]: a recurrent layer needs its own spikes, [T, *shape]")
        fed = [sum((exact(w) * exact(s) for w, s in zip(recurrent[index], step, strict=True)), ZERO) for step in own]
        drive = [x + y for x, y in zip(drive, [ZERO, *fed[:-1]], strict=True)]
    return dynamics(receiver, index, drive)


def run(case: Case, *, readout_at: Sequence[int] | None = None) -> Trace:
    """Run the whole network over all steps and record everything.

    Parameters
    ----------
    case : Case
        Its encoding is ``"constant"`` or ``"spikes"``.
    readout_at : sequence of int, optional
        Increasing steps, the last one T; T alone by default.

    Returns
    -------
    Trace
        Potentials and readout in ``case.dtype``, rounded once from exact values; spikes uint8 (int32 where a step may
        hold more than 255), counts int64. ``events`` has an entry for every layer: ``neuron_updates`` is T N units
        whatever its activation; ``synaptic_operations`` counts the fan-out of every spike emitted, also of one that a
        delay carries past the last step.

    Raises
    ------
    Unsupported
        Poisson encoding; a Cuba state outside 24 bits.
    NetworkError, DataError
        Weights or inputs of a Cuba layer that are not integers.
    """
    network, steps = case.network, case.steps
    at = (steps,) if readout_at is None else tuple(readout_at)
    if not at or at[-1] != steps or at[0] < 1 or any(a >= b for a, b in pairwise(at)):
        raise DataError(f"readout_at = {at}: increasing steps from 1 on, the last one T = {steps}")
    samples = case.x.shape[1 if case.encoding == "spikes" else 0]
    size = {layer.name: (steps, samples, *network.shapes[layer.name]) for layer in network.layers}
    spikes = {s.name: np.zeros(size[s.name], _spike_dtype(s.act)) for s in network.spiking}
    v = {name: np.zeros(size[name], case.dtype) for name in spikes}
    v_peak = {name: np.zeros(size[name], case.dtype) for name in spikes}
    readout = np.zeros((len(at), *size[network.output.name][1:]), case.dtype)
    terms = {layer.name: all_terms(network, layer) for layer in network.layers}
    for n in range(samples):
        values = {INPUT: [values_of(x) for x in stimulus(case, n)]}
        for layer in network.layers:
            drive = {index: drives(layer, summands, values, steps) for index, summands in terms[layer.name].items()}
            emitted: list[dict[Index, Fraction]] = [{} for _ in range(steps)]
            values[layer.name] = list(emitted)
            if layer.name not in spikes:
                for index, unit_drive in drive.items():
                    for t, x in enumerate(unit_drive):
                        emitted[t][index] = activate(layer.act, index, x)
                continue
            for index, (fired, after, peak) in together(layer, drive, steps).items():
                at_unit: Any = (slice(None), n, *index)
                spikes[layer.name][at_unit] = fired
                v[layer.name][at_unit] = [nearest(p, case.dtype) for p in after]
                v_peak[layer.name][at_unit] = [nearest(p, case.dtype) for p in peak]
                for t, y in enumerate(handed_on(layer, index, fired)):
                    emitted[t][index] = y
        outputs = values[network.output.name]
        for r, until in enumerate(at):
            for index in np.ndindex(network.shapes[network.output.name]):
                readout[(r, n, *index)] = nearest(sum((y[index] for y in outputs[:until]), ZERO), case.dtype)
    return Trace(
        readout=readout, readout_at=at, spikes=spikes, v=v, v_peak=v_peak,
        counts={name: _messages(network[name], s).sum(axis=0, dtype=np.int64) for name, s in spikes.items()},
        v_end={name: a[-1] for name, a in v.items()},
        events={name: _events(network, spikes, name, size[name], terms[name]) for name in terms},
        provenance=Provenance("reference", __version__),
    )  # fmt: skip


def _messages(layer: Layer, spikes: Array) -> Array:
    """Return how many messages the spikes of each step are: a graded one is one, however great."""
    return spikes != 0 if isinstance(layer.act, SigmaDelta) else spikes


def _spike_dtype(act: Act) -> type[np.generic]:
    if isinstance(act, SigmaDelta):
        return np.int32
    most = act.max_spikes if isinstance(act, Neuron) else 1
    return np.uint8 if most is not None and most <= 255 else np.int32


def _renames(layer: Layer) -> bool:
    """Tell whether a layer only gives the spikes of its source other names."""
    return layer.act is None and len(layer.branches) == 1 and isinstance(layer.branches[0].op, Flatten)


def _events(
    network: Network, spikes: Mapping[str, Array], name: str, size: Shape, terms: Mapping[Index, list[Term]]
) -> dict[str, int]:
    handed = {source: _messages(network[source], s) for source, s in spikes.items()}  # [T, N, *shape]
    for layer in network.layers:
        source = layer.branches[0].source
        if _renames(layer) and source in handed:
            handed[layer.name] = handed[source].reshape(*handed[source].shape[:2], -1)
        elif layer.act is None and len(layer.branches) == 1 and is_gate(layer.branches[0].op) and source in handed:
            handed[layer.name] = passed(layer.branches[0].op, handed[source])
    emitted = {source: s.sum(axis=(0, 1), dtype=np.int64) for source, s in handed.items()}  # [*shape] of the source
    recurrent = getattr(network[name].act, "recurrent", None)
    own = () if recurrent is None else (emitted[name][j] for _, j in np.argwhere(recurrent).tolist())
    return {
        "spikes": int(emitted[name].sum()) if name in spikes else 0,
        "neuron_updates": math.prod(size) if name in spikes else 0,
        "synaptic_operations": 0 if _renames(network[name]) else sum(
            int(emitted[branch.source][i])
            for summands in terms.values() for branch, fan, _ in summands if branch.source in emitted for i, _ in fan
        ) + int(sum(own)),
    }  # fmt: skip


def forward(network: Network, x: Array) -> dict[str, Array]:
    """Return every layer's exact activations of an ANN, rounded once to float64: name to [N, *shape] for x [N, *shape].

    Raises
    ------
    Unsupported
        A spiking layer.
    DataError
        x of another shape.
    """
    for layer in network.spiking:
        raise Unsupported(layer.name, "a spiking layer has no activation apart from its time steps", "use run")
    if x.shape[1:] != network.input_shape:
        raise DataError(f"x of shape {x.shape}: [N, *shape] with shape {network.input_shape}")
    found = {layer.name: np.zeros((len(x), *network.shapes[layer.name])) for layer in network.layers}
    terms = {layer.name: all_terms(network, layer) for layer in network.layers}
    for n, sample in enumerate(x):
        values: dict[str, list[Values]] = {INPUT: [values_of(sample)]}
        for layer in network.layers:
            emitted = {i: activate(layer.act, i, drives(layer, s, values, 1)[0]) for i, s in terms[layer.name].items()}
            values[layer.name] = [emitted]
            for index, y in emitted.items():
                found[layer.name][(n, *index)] = nearest(y, "float64")
    return found
