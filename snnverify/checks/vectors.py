"""Recorded Loihi: every value that Intel recorded, by a simulator and, in sampled units, by the specification.

Each recording is run from the network's input, and each layer alone from the recorded values of its source. Currents are no
part of a trace: they are what a step added to the potential, ``u[t] = v_peak[t] - rz(v[t-1] (4096 - decay) / 4096) - bias``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..activation import Cuba
from ..content import Array
from ..errors import Unsupported
from ..exchange.recordings import SETS, Recorded, alone, recordings
from ..findings import Measure
from ..network import INPUT, per_channel
from ..oracles import Oracle
from ..simulate import run
from ..trace import Case, Trace
from . import check
from .common import differences

ALL = st.just("every recording")  # none is drawn: they are few, and all of them are tried
CLAIMS = {
    "tinynet": "A convolutional CUBA network gives the recorded spikes and currents, whole and layer by layer",
    "tinynet_sdnn": "Delta encoder, sigma-delta convolution and sigma decoder give the recorded messages",
    "dense": "A dense CUBA layer gives the recorded spikes and currents of 2,000 steps",
    "pilotnet_lif": "Ten CUBA layers give the recorded spikes, currents and potentials, whole and layer by layer",
    "ntidigits": "Three CUBA layers with axonal delays give the recorded spikes of 2,999 steps",
    "pilotnet_sdnn": "Sigma-delta networks give the recorded messages, sums and outputs, whole and layer by layer",
}
SAMPLE, WORK = 12, 2**20  # units of a layer, and products of all of them together, that exact arithmetic is given


@dataclass(frozen=True)
class Row:
    """How many values of one recorded array come out again.

    Parameters
    ----------
    recording, file, layer, quantity : str
    mode : {"end to end", "alone"}
        From the network's input, or from the recorded values of the layer's source.
    values : int
    differ : int or None
        None where the subject cannot express the run, or does not tell the quantity.
    why : str
        The reason for None.
    """

    recording: str
    file: str
    layer: str
    quantity: str
    mode: str
    values: int
    differ: int | None
    why: str = ""


def rows(name: str, subject: Oracle) -> Iterator[Row]:
    """Run every recording of a set, and every layer alone whose source was recorded."""
    for recording in recordings(name):
        runs = [("end to end", recording.case, recording.recorded)]
        for layer in dict.fromkeys(r.layer for r in recording.recorded):
            if (case := alone(recording, layer)) is not None:
                runs.append(("alone", case, tuple(r for r in recording.recorded if r.layer == layer)))
        for mode, case, wanted in runs:
            trace, refusal = None, ""
            try:
                trace = subject.run(case)
            except Unsupported as e:
                refusal = str(e)
            for r in wanted:
                told = told_by(trace, case, r) if trace is not None else None
                differ = None if told is None else int(differences(told, r.values))
                why = "" if told is not None else refusal or f"{subject.name}: it does not tell {r.quantity}"
                yield Row(recording.name, r.file, r.layer, r.quantity, mode, r.values.size, differ, why)


def told_by(trace: Trace, case: Case, r: Recorded) -> Array | None:
    """What a trace says of a recorded quantity, in the recorded steps; None where it does not tell it."""
    name, act = r.layer, case.network[r.layer].act
    parts = {"spikes": trace.spikes, "messages": trace.spikes, "voltage": trace.v, "sigma": trace.v_peak}
    if r.quantity != "current":
        told = parts[r.quantity].get(name)
    elif isinstance(act, Cuba) and name in trace.v and name in trace.v_peak:
        shape = case.network.shapes[name]
        told = current(act, trace.v[name], trace.v_peak[name], lambda p: per_channel(p, shape))
    else:
        told = None
    return None if told is None else told[r.first : r.first + len(r.values)]


def current(act: Cuba, v: Array, v_peak: Array, pick: Callable[[Any], Array]) -> Array:
    """Synaptic current in each step, int64 [T, ...], from the potentials after and before the reset.

    `pick` gives a parameter the axes that follow T.
    """
    before = np.concatenate([np.zeros_like(v[:1]), v[:-1]]).astype(np.int64)
    if act.reset_interval is not None:
        before[act.reset_offset % act.reset_interval :: act.reset_interval] = 0
    kept = before * (4096 - pick(act.voltage_decay).astype(np.int64))
    bias = pick(act.bias).astype(np.int64) << act.bias_exponent
    return np.asarray(v_peak.astype(np.int64) - np.sign(kept) * (np.abs(kept) // 4096) - bias)


def _reproduces(name: str, claim: str) -> None:
    """Register the check of one set."""

    def recorded(drawn: str, subject: Oracle) -> Iterator[Measure]:
        found = list(rows(name, subject))
        if all(r.differ is None for r in found):
            raise Unsupported(f"recordings of {name}", found[0].why)
        for r in found:
            if r.differ is not None:
                said = f"{r.differ} of {r.values} values"
                yield Measure("values differ", float(r.differ), where=f"{r.recording}, {r.file}, {r.mode}", detail=said)

    recorded.__name__, recorded.__doc__ = name, f"{claim} [Intel's vectors, lava-dl 0.6.0 gts/{name}]."
    check("simulator", ALL)(recorded)


for _name, _claim in CLAIMS.items():
    _reproduces(_name, _claim)


@check("operators", ALL)
def units(drawn: str, subject: Oracle) -> Iterator[Measure]:
    """Units of every recorded layer, run one by one in exact arithmetic, give their recorded values; inputs that were not recorded are our simulator's [docstring of reference.unit]."""
    unit = subject.operator("unit")
    for r, where, values, differ in sampled(unit):
        yield Measure("values differ", float(differ), where=f"{where}, {r.file}", detail=f"{differ} of {values} values")


def sampled(unit: Callable[..., Any]) -> Iterator[tuple[Recorded, str, int, int]]:
    """Run some units of every recorded layer: what was recorded, of which recording, values compared and those that differ.

    A unit sees the recorded values of its sources; where they were not recorded, those of our simulator, whose run gives
    what was recorded further on.
    """
    for recording in (each for name in SETS for each in recordings(name)):
        for layer in dict.fromkeys(r.layer for r in recording.recorded):
            case = alone(recording, layer) or recording.case
            inputs = _inputs(case, case.network[layer].branches[0].source)
            recorded = [r for r in recording.recorded if r.layer == layer]
            for index in _some(case, layer):
                spikes, v, v_peak = (np.array([int(x) for x in part]) for part in unit(case, layer, 0, index, inputs))
                told = {"spikes": spikes, "messages": spikes, "voltage": v, "sigma": v_peak}
                if isinstance(act := case.network[layer].act, Cuba):
                    told["current"] = current(act, v, v_peak, partial(_of_channel, index[0]))
                for r in recorded:
                    expected = np.moveaxis(r.values[:, 0], 0, -1)[index]
                    got = told[r.quantity][r.first : r.first + len(expected)]
                    yield r, recording.name, len(expected), int(differences(got, expected))


def _of_channel(channel: int, parameter: Any) -> Array:
    a = np.asarray(parameter)
    return np.asarray(a[channel] if a.ndim else a)


def _inputs(case: Case, source: str) -> dict[str, Array]:
    """Values [T, *shape] that one source hands on."""
    if source == INPUT:
        return {source: case.x[:, 0]}
    layer = case.network[source]
    if layer.act is None:  # the only analog layers of the recorded networks flatten
        (values,) = _inputs(case, layer.branches[0].source).values()
        return {source: values.reshape(len(values), -1)}
    sent = run(case).spikes[source][:, 0].astype(np.int64)
    late = np.zeros_like(sent)
    for channel, d in enumerate(np.broadcast_to(getattr(layer.act, "axon_delay", 0), sent.shape[1:2])):
        late[d:, channel] = sent[: max(0, case.steps - d), channel]
    return {source: late}


def _some(case: Case, layer: str) -> list[tuple[int, ...]]:
    """Up to `SAMPLE` units of a layer, as many as make about `WORK` products."""
    shape = case.network.shapes[layer]
    op = case.network[layer].branches[0].op
    fan_in = math.prod(getattr(op, "weight", np.zeros(1)).shape[1:]) or 1
    many = min(SAMPLE, max(1, WORK // (fan_in * case.steps)), math.prod(shape))
    chosen = np.random.default_rng(0).choice(math.prod(shape), many, replace=False)
    return [tuple(int(i) for i in np.unravel_index(k, shape)) for k in chosen]
