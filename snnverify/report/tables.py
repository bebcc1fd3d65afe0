"""A run as pandas tables: the figures behind every face of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from ..convert.curves import Curve
from ..fidelity import LayerFidelity
from ..gate.verdict import WORST_FIRST
from ..hardware.counts import analog_macs
from ..pipeline import Assessment, Run
from ..stats import Paired, exact_upper, verdict, wilson
from .regression import errors
from .samples import energies
from .waterfall import station_rows

Row = dict[str, Any]
ORDER = ("fail", "error", "unavailable", "unsupported", "xfail", "pass")  # checks that need a reader come first
LAYER_FIELDS = tuple(LayerFidelity.__dataclass_fields__)
_COLUMNS = {
    "accuracy": ("model", "T", "n", "ann_percent", "ann_low", "ann_high", "snn_percent", "snn_low", "snn_high",
                 "drop_points", "b", "c", "upper_points", "limit_points", "agreement_percent", "ties", "verdict"),
    "errors": ("model", "T", "n", "error", "ann_error", "snn_error", "increase", "upper", "greatest_ann", "greatest_snn",
               "distance"),
    "layers": ("model", *LAYER_FIELDS, "threshold", "calibrated_mean_rate", "calibrated_max_rate",
               "calibrated_p99.9_rate", "calibrated_saturated", "calibrated_dead"),
    "classes": ("model", "class", "T", "n", "ann_percent", "snn_percent", "drop_points", "b", "c", "upper_points"),
    "checks": ("check", "model", "outcome", "cases", "measured", "limit", "where", "message", "claim", "source",
               "replay"),
    "requirements": ("model", "requirement", "outcome", "detail"),
    "operations": ("model", "layer", "spikes", "neuron_updates", "synaptic_operations", "macs", "spikes_per_sample",
                   "neuron_updates_per_sample", "synaptic_operations_per_sample", "macs_per_sample", "spikes_per_step",
                   "neuron_updates_per_step", "synaptic_operations_per_step", "macs_per_step"),
    "waterfall": ("model", "station", "key", "n", "right", "percent", "lost_points", "b", "c", "upper_points",
                  "agree_before_percent", "agree_ann_percent", "drop_points", "drop_upper_points"),
    "curves": ("model", "compared", "name", "T", "n", "right", "percent", "low", "high"),
    "energy": ("model", "energy_model", "grade", "scope", "snn_low_nJ", "snn_high_nJ", "ann_low_nJ", "ann_high_nJ",
               "not_priced", "source"),
    "provenance": ("model", "key", "value"),
}  # fmt: skip


def tables(run: Run) -> dict[str, pd.DataFrame]:
    """Every figure of a run.

    Returns
    -------
    dict of str to pandas.DataFrame
        ``accuracy`` (per T; accuracies and their Wilson 95 % intervals in percent; drop and its exact upper 95 % bound
        in percentage points; b, c: samples that only the ANN, only the SNN gets right; ties of the arg max), ``errors``
        (of a regression, in the place of accuracies), ``layers``
        (largest T; rates in spikes per step, errors in units of the threshold; what calibration found), ``classes``
        (largest T), ``checks`` and ``requirements`` of the gate (failing first), ``operations`` (exact counts over all
        samples and steps, per sample, and per sample and step), ``waterfall`` (the drop, change by
        change), ``curves`` (other conversions of the network, side by
        side: modes at every T, or what a gate and neurons after pooling cost; the report's own conversion is named
        "this report"), ``energy`` (nJ per inference by energy model, of the first samples), ``provenance`` (model is
        empty where a row holds for all).
    """
    rows = {
        "accuracy": _accuracy, "errors": errors, "layers": _layers, "classes": _classes, "checks": _checks,
        "requirements": _requirements, "operations": _operations, "waterfall": _waterfall, "energy": energies,
        "curves": _curves,
        "provenance": _facts,
    }  # fmt: skip
    found = {name: [row for a in run.assessments for row in make(a)] for name, make in rows.items()}
    found["checks"].sort(key=lambda row: ORDER.index(row["outcome"]))
    found["requirements"].sort(key=lambda row: WORST_FIRST.index(row["outcome"]))
    found["provenance"] = [{"model": "", "key": k, "value": v} for k, v in flat(run.provenance)] + found["provenance"]
    return {name: pd.DataFrame(found[name], columns=list(columns)) for name, columns in _COLUMNS.items()}


@lru_cache(maxsize=4096)
def upper(p: Paired) -> float:
    """Exact upper 95 % bound of the drop, as a share; every face of a report asks for it again."""
    return exact_upper(p)


def points(share: Any) -> float:
    """Share of the samples in percent or percentage points."""
    return float(100 * share)


def _accuracy(a: Assessment) -> Iterator[Row]:
    f = a.model.fidelity
    if f.regression:
        return
    n, ann = len(f.labels), int((f.ann == f.labels).sum())
    for row, steps in enumerate(f.steps):
        p, snn = f.paired(steps), int((f.snn[row] == f.labels).sum())
        (ann_low, ann_high), (snn_low, snn_high) = wilson(ann, n), wilson(snn, n)
        yield {
            "model": a.model.name, "T": steps, "n": n,
            "ann_percent": points(ann / n), "ann_low": points(ann_low), "ann_high": points(ann_high),
            "snn_percent": points(snn / n), "snn_low": points(snn_low), "snn_high": points(snn_high),
            "drop_points": points(p.drop), "b": p.b, "c": p.c, "upper_points": points(upper(p)),
            "limit_points": points(a.model.margin), "agreement_percent": points(np.mean(f.ann == f.snn[row])),
            "ties": f.ties[row], "verdict": verdict(p, a.model.margin),
        }  # fmt: skip


def _layers(a: Assessment) -> Iterator[Row]:
    calibrated = {row["layer"]: row for row in a.model.converted.calibration_report()}
    for layer in a.model.fidelity.layers:
        c = calibrated.get(layer.layer, {})
        yield {
            "model": a.model.name, **{k: getattr(layer, k) for k in LAYER_FIELDS},
            "threshold": c.get("threshold"), "calibrated_mean_rate": c.get("mean_rate"),
            "calibrated_max_rate": c.get("max_rate"), "calibrated_p99.9_rate": c.get("p99.9_rate"),
            "calibrated_saturated": c.get("saturated"), "calibrated_dead": c.get("dead_units"),
        }  # fmt: skip


def _classes(a: Assessment) -> Iterator[Row]:
    f = a.model.fidelity
    if f.regression:
        return
    steps = f.steps[-1]
    for label in np.unique(f.labels).tolist():
        p = f.paired(steps, label)
        of_class = f.labels == label
        yield {
            "model": a.model.name, "class": label, "T": steps, "n": p.n,
            "ann_percent": points(np.mean(f.ann[of_class] == label)),
            "snn_percent": points(np.mean(f.snn[-1][of_class] == label)),
            "drop_points": points(p.drop), "b": p.b, "c": p.c, "upper_points": points(upper(p)),
        }  # fmt: skip


def _checks(a: Assessment) -> Iterator[Row]:
    for f in a.findings:
        m = f.worst
        yield {
            "check": f.check, "model": a.model.name, "outcome": f.outcome, "cases": f.cases,
            "measured": None if m is None else m.value, "limit": None if m is None else m.limit,
            "where": "" if m is None else " ".join(filter(None, (m.name, m.where))),
            "message": " ".join(filter(None, (f.message, "" if m is None else m.detail))),
            "claim": f.claim, "source": f.source, "replay": f.replay,
        }  # fmt: skip


def _requirements(a: Assessment) -> Iterator[Row]:
    for r in a.verdict.requirements:
        yield {"model": a.model.name, "requirement": r.name, "outcome": r.outcome, "detail": r.detail}


def _operations(a: Assessment) -> Iterator[Row]:
    f = a.model.fidelity
    samples, steps = len(f.labels), f.steps[-1]
    macs = analog_macs(a.model.converted.snn, a.model.encoding != "constant", steps)
    for layer, events in f.events.items():
        counts = {k: events.get(k, 0) for k in ("spikes", "neuron_updates", "synaptic_operations")}
        counts["macs"] = samples * macs.get(layer, 0)
        yield {
            "model": a.model.name, "layer": layer, **counts,
            **{f"{k}_per_sample": v / samples for k, v in counts.items()},
            **{f"{k}_per_step": v / (samples * steps) for k, v in counts.items()},
        }  # fmt: skip


def _waterfall(a: Assessment) -> Iterator[Row]:
    if a.explained is not None:
        for row in station_rows(a.model.name, a.explained.waterfall):
            yield {k: row[k] for k in _COLUMNS["waterfall"]}


def _curves(a: Assessment) -> Iterator[Row]:
    f = a.model.fidelity
    if f.regression:
        return
    right = tuple(int((row == f.labels).sum()) for row in f.snn)
    own = [Curve("this report", "this report", f.steps, right, len(f.labels))] if a.curves else []
    for c in (*own, *a.curves):
        for steps, k in zip(c.steps, c.right, strict=True):
            low, high = wilson(k, c.samples)
            yield {"model": a.model.name, "compared": c.compared, "name": c.name, "T": steps, "n": c.samples, "right": k,
                   "percent": points(k / c.samples), "low": points(low), "high": points(high)}  # fmt: skip


def _facts(a: Assessment) -> Iterator[Row]:
    c = a.model.converted
    facts = [
        *flat(a.facts), *((f"conversion {k}", v) for k, v in c.options.items()), ("readout", c.readout),
        ("max drop", f"{points(a.model.margin):g} percentage points"), ("seed", str(a.model.seed)),
        ("ANN sha256", c.ann.digest), ("SNN sha256", c.snn.digest), *(("note", note) for note in c.notes),
    ]  # fmt: skip
    yield from ({"model": a.model.name, "key": k, "value": v} for k, v in facts if v)


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of a mapping; nested names are joined by dots."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
