"""The specification as code: scalar and exact, the plainest possible, independent of the vectorised simulator.

Every number is a `Fraction` or an int; parameters are taken as they are stored, nothing is rounded before the end, and
there each result is rounded once. A network has no cycle, so each unit is computed over all its steps at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from .. import __version__
from ..activation import Act, Cuba, Neuron
from ..content import Array
from ..errors import DataError, NetworkError, Unsupported
from ..network import INPUT, Flatten, Layer, Network, Shape
from ..trace import Case, Provenance, Trace
from .neurons import Dynamics, activate, cuba, neuron
from .operations import (
    ZERO,
    Index,
    Term,
    Values,
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
    if isinstance(layer.act, Cuba):
        lag = layer.act.delay  # before the first arrival every source counts as silent, and no branch has a bias
        for term in terms:
            _integers(layer.name, term, values[term[0].source])
    lag = min(lag, steps)
    arriving = [series(term, values[term[0].source][: steps - lag]) for term in terms]
    return [ZERO] * lag + [sum(step, ZERO) for step in zip(*arriving, strict=True)]


def _integers(name: str, term: Term, values: Sequence[Values]) -> None:
    """Refuse what integer dynamics cannot add up. The recurrence has no bias in the current: a branch holds none."""
    branch, fan, b = term
    for _, w in fan:
        if w.denominator != 1:
            raise NetworkError(f"layer {name!r}: weight {float(w)}; Cuba takes integers, quantise the weights first")
    if b:
        raise NetworkError(f"layer {name!r}: branch bias {float(b)}; a Cuba layer has its bias in Cuba.bias")
    for x in (step[i] for step in values for i, _ in fan):
        if x.denominator != 1:
            raise DataError(
                f"layer {name!r}: {branch.source!r} hands on {float(x)}; Cuba takes integers, scale it first"
            )


def dynamics(layer: Layer, index: Index, drive: Sequence[Fraction]) -> Dynamics:
    """Run one unit of a spiking layer on its summed input."""
    if isinstance(layer.act, Neuron):
        return neuron(layer.act, index, drive)
    if isinstance(layer.act, Cuba):
        return cuba(layer.act, index, drive)
    raise Unsupported(layer.name, f"its activation is {type(layer.act).__name__}, which does not spike",
                      "ask for a layer of Network.spiking")  # fmt: skip


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
        Emitted values (spikes times amplitude) of each source of the layer for sample `n`, before any delay.

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
    return dynamics(receiver, index, drives(receiver, terms, values, case.steps))


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
            emitted: list[dict[Index, Fraction]] = [{} for _ in range(steps)]
            values[layer.name] = list(emitted)
            for index, summands in terms[layer.name].items():
                drive = drives(layer, summands, values, steps)
                if layer.name not in spikes:
                    for t, x in enumerate(drive):
                        emitted[t][index] = activate(layer.act, index, x)
                    continue
                amplitude = channel(getattr(layer.act, "amplitude", 1), index)
                for t, (s, after, peak) in enumerate(zip(*dynamics(layer, index, drive), strict=True)):
                    emitted[t][index] = s * amplitude
                    spikes[layer.name][(t, n, *index)] = s
                    v[layer.name][(t, n, *index)] = nearest(after, case.dtype)
                    v_peak[layer.name][(t, n, *index)] = nearest(peak, case.dtype)
        outputs = values[network.output.name]
        for r, until in enumerate(at):
            for index in np.ndindex(network.shapes[network.output.name]):
                readout[(r, n, *index)] = nearest(sum((y[index] for y in outputs[:until]), ZERO), case.dtype)
    return Trace(
        readout=readout, readout_at=at, spikes=spikes, v=v, v_peak=v_peak,
        counts={name: s.sum(axis=0, dtype=np.int64) for name, s in spikes.items()},
        v_end={name: a[-1] for name, a in v.items()},
        events={name: _events(network, spikes, name, size[name], terms[name]) for name in terms},
        provenance=Provenance("reference", __version__),
    )  # fmt: skip


def _spike_dtype(act: Act) -> type[np.generic]:
    most = act.max_spikes if isinstance(act, Neuron) else 1
    return np.uint8 if most is not None and most <= 255 else np.int32


def _renames(layer: Layer) -> bool:
    """Tell whether a layer only gives the spikes of its source other names."""
    return layer.act is None and len(layer.branches) == 1 and isinstance(layer.branches[0].op, Flatten)


def _events(
    network: Network, spikes: Mapping[str, Array], name: str, size: Shape, terms: Mapping[Index, list[Term]]
) -> dict[str, int]:
    handed = dict(spikes)  # [T, N, *shape] of what hands on spikes
    for layer in network.layers:
        source = layer.branches[0].source
        if _renames(layer) and source in handed:
            handed[layer.name] = handed[source].reshape(*handed[source].shape[:2], -1)
        elif layer.act is None and len(layer.branches) == 1 and is_gate(layer.branches[0].op) and source in handed:
            handed[layer.name] = passed(layer.branches[0].op, handed[source])
    emitted = {source: s.sum(axis=(0, 1), dtype=np.int64) for source, s in handed.items()}  # [*shape] of the source
    return {
        "spikes": int(emitted[name].sum()) if name in spikes else 0,
        "neuron_updates": math.prod(size) if name in spikes else 0,
        "synaptic_operations": 0 if _renames(network[name]) else sum(
            int(emitted[branch.source][i])
            for summands in terms.values() for branch, fan, _ in summands if branch.source in emitted for i, _ in fan
        ),
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
