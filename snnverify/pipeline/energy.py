"""Counts and energies of the models that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from ..config import Settings
from ..content import Array
from ..convert import ConvertedNetwork
from ..data import check_labels
from ..errors import ConfigError, DataError
from ..gate import Verdict, judge
from ..hardware import mesh
from ..hardware.counts import Convention, Counts, count, count_ann, joined, operations, static_synops
from ..hardware.energy import Table, estimate, unpriced
from ..hardware.mapping import place
from ..hardware.measured import Comparison, Log, compare
from ..hardware.sent import renames, spiking, train, values
from ..network import Conv, Dense, Network
from ..oracles import get
from ..simulate import run
from ..stats import from_predictions, points
from ..trace import Encoding
from . import Progress, of_stage
from .conversion import conversion as _convert
from .models import Subject, case_of, outputs, subjects

TILE = 16


@dataclass(frozen=True)
class Energy:
    """Counts of one model on its samples `x`, as both networks take them; predictions of ANN and SNN, [N].

    `placed` tells the mapping that packets and hops are of, where they are of one.
    """

    subject: Subject
    x: Array
    converted: ConvertedNetwork
    snn: Counts
    ann: Counts
    static: Mapping[str, float]
    ann_classes: Array
    snn_classes: Array
    placed: dict[str, Any] | None = None


def _routes(
    snn: Network, given: int | mesh.Onto | None, name: str = "", progress: Progress | None = None
) -> tuple[mesh.Routes | None, dict[str, Any] | None]:
    """What a spike sends, as many hops for all or as its core lies on a target; and that mapping in words."""
    if given is None:
        return None, None
    if isinstance(given, int):  # flattening renames spikes that have hopped
        return {name: {"hops": given} for name in spiking(snn, False) if not renames(snn[name])}, None
    placed = place(snn, given.target, given.precision, of_stage(progress, f"{name}: cores"))
    found = mesh.routes(snn, placed, given.target, of_stage(progress, f"{name}: hops"))
    broken = ", ".join(sorted({f"{v.limit} of {v.layer}: {v.value:,} of {v.most:,}" for v in placed.violations}))
    return found, {
        "target": given.target.title, "weights": given.precision, "cores": len(placed.cores),
        "mesh": mesh.described(placed, given.target), "limits broken": broken or "none",
    }  # fmt: skip


def _told(placed: dict[str, Any], routes: mesh.Routes, snn: Counts) -> dict[str, Any]:
    """A mapping in words, with the packets and hops of the spikes that were counted."""
    sums = {kind: sum(int(snn.layers[name][kind].sum()) for name in routes)
            for kind in ("handed", "packets", "hops_ew", "hops_ns")}  # fmt: skip
    spikes = sums["handed"] or 1
    heads = {"packets": "packets a spike", "hops_ew": "hops a spike E-W", "hops_ns": "hops a spike N-S"}
    return placed | {head: f"{sums[kind] / spikes:.3f}" for kind, head in heads.items()}


def assess_energy(
    settings: Settings, steps: int, samples: int, hops: int | mesh.Onto | None, progress: Progress | None = None,
    log: Log | None = None,
) -> Iterator[Energy]:  # fmt: skip
    """Convert each model and count its operations at T = `steps`, on all samples of the log and, up to `samples`, others."""
    settings = replace(settings, timesteps=(steps,))  # of the rates that thresholds are sought for
    for subject in subjects(settings, samples, () if log is None else log.sample.tolist()):
        logits = outputs(subject.module, subject.x, torch.float32, None)
        check_labels(subject.y, logits.shape[1])
        if log is not None:
            places(subject.numbers, log, logits.shape[1])
        converted = _convert(subject, settings)
        x = converted.entered(subject.x, cast(Encoding, settings.encoding))
        routes, placed = _routes(converted.snn, hops, subject.name, progress)
        parts, ann, classes = [], [], []
        for start in range(0, len(x), TILE):
            rows = slice(start, start + TILE)
            case = case_of(subject, converted.snn, x, settings, steps, rows)
            trace = run(case, "spikes")
            parts.append(count(case, trace, routes))
            ann.append(count_ann(converted.ann, np.asarray(x[rows], np.float32)))
            classes.append(converted.outputs(trace)[-1].argmax(-1))
            if progress is not None:
                progress(f"{subject.name}: counts", min(start + TILE, len(x)), len(x))
        snn = joined(parts)
        if placed is not None and routes is not None:
            placed = _told(placed, routes, snn)
        static = {k: float(v) for k, v in static_synops(converted.snn, snn).items()}
        yield Energy(
            subject, x, converted, snn, joined(ann), static, logits.argmax(-1), np.concatenate(classes), placed
        )


def counters(e: Energy, settings: Settings, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Operations of every linear layer and convolution on the first samples, by our count and by libraries'.

    Each counter is given the same values: what our simulator's layers handed on.
    """
    case = case_of(e.subject, e.converted.snn, e.x, settings, e.snn.steps, slice(TILE))
    trace, given = run(case, "spikes"), train(case)
    network = case.network
    spikes = spiking(network, given is not None)
    sent = values(case, trace, given)
    rows = []
    for layer in network.layers:
        for b in layer.branches:
            if not isinstance(b.op, (Dense, Conv)):
                continue
            x = np.broadcast_to(sent[b.source], (case.steps, *sent[b.source].shape[1:]))
            ours = operations(b.op, (x != 0).astype(float) if b.source in spikes else x, b.source in spikes)
            told = {name: get(name).operator("operations")(b.op, np.array(x), b.source in spikes) for name in names}
            for kind, number in ours.items():
                if number or any(t.get(kind) for t in told.values()):
                    rows.append({"layer": layer.name, "operations": kind.replace("_", ", "), "snnverify": number,
                                 **{name: t.get(kind) for name, t in told.items()}})  # fmt: skip
    return rows


def held_to(e: Energy, log: Log, table: Table, convention: Convention, tolerance: float | None) -> Comparison:
    """Hold the estimate of one table to a measurement of the same samples."""
    at = places(e.subject.numbers, log)
    each = e.snn.per_sample(convention)
    ranges = [estimate({k: int(n[i]) for k, n in each.items()}, table) for i in at]
    low, high = (np.array([float(getattr(r, end)) for r in ranges]) * 1e-12 for end in ("low", "high"))
    without = unpriced({k: int(n[at].sum()) for k, n in each.items()}, table)
    return compare(log, low, high, tolerance, without)


def places(numbers: Array, log: Log, classes: int | None = None) -> Array:
    """Index of every sample of a log among those that are counted, by their numbers; its predictions are `classes`."""
    known = {int(n): i for i, n in enumerate(numbers)}
    missing = [int(n) for n in log.sample if int(n) not in known]
    if missing:
        raise DataError(
            f"measured: sample {missing[0]} is none of the evaluation samples: the data has no such number, or it is held "
            "back to calibrate; number them as in the data, or give --calibration FILE so that none is held back"
        )
    beyond = [int(p) for p in log.prediction if classes is not None and p >= classes]
    if beyond:
        raise DataError(f"measured: prediction = {beyond[0]}: the model has {classes} outputs, so classes are 0 ... "
                        f"{(classes or 0) - 1}; give the log of this model")  # fmt: skip
    return np.array([known[int(n)] for n in log.sample])


def accuracy(e: Energy, log: Log, max_drop: str) -> Verdict:
    """Judge the measured predictions against the ANN's on the same samples, as the gate judges a conversion."""
    at = places(e.subject.numbers, log)
    paired = from_predictions(e.subject.y[at], e.ann_classes[at], log.prediction)
    return judge({e.snn.steps: paired}, points(max_drop), (), required=())


def simulated(e: Energy, settings: Settings) -> Callable[[int], int]:
    """Function that runs sample n alone and returns its class."""
    if settings.encoding == "spikes":
        raise ConfigError("encoding = 'spikes': the host is measured with constant or poisson input")

    def work(n: int) -> int:
        case = case_of(e.subject, e.converted.snn, e.x, settings, e.snn.steps, slice(n, n + 1))
        return int(e.converted.outputs(run(case, "counts"))[-1, 0].argmax())

    return work
