"""Tables of the stations on the way to a chip, and of native training beside conversion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import Settings
from ..convert import ConvertedNetwork
from ..pipeline.stations import ACTIVATIONS, Comparison, Side, Station, Task, classes
from ..quantise import QuantisedNetwork
from ..stats import Paired, exact_upper, points, verdict
from .libraries import render_rows


def render_stations(task: Task, rows: Sequence[Station], settings: Settings, steps: int) -> str:
    """A line a station: accuracy with its spread over seeds, the paired drop to the ANN, its bound and verdict."""
    floats = {row.kind: np.mean(row.accuracy) for row in rows[:2]}
    lines, tuned, n = [], rows[-1], len(task.subject.x)
    for row in rows:
        worst = _worst(row)
        lines.append([
            row.name, row.kind, row.grid.precision if row.grid else "float", f"{100 * np.mean(row.accuracy):.2f}",
            _spread(row.accuracy), f"{100 * (np.mean(row.accuracy) - floats['SNN']):+.2f}",
            f"{float(100 * worst.drop):.2f}", f"{worst.b} / {worst.c}", f"{100 * exact_upper(worst):.2f}",
            verdict(worst, points(settings.max_drop)),
        ])  # fmt: skip
    head = ["station", "net", "weights", "accuracy", "sd (min-max)", "to SNN", "drop", "b / c", "bound", "verdict"]
    grids = sorted({str(row.grid).partition(" ")[2] for row in rows if row.grid})
    said = [
        f"{n} samples, T = {steps}{_unlike(settings)}, fine-tuned on {len(task.train_x)} by {len(tuned.accuracy)} "
        f"{'seed' if len(tuned.accuracy) == 1 else 'seeds'} from {settings.seed}; grids {'; '.join(grids)}",
        "accuracy in %, mean and spread over seeds; to SNN: points to the float one. Of the worst seed, against the ANN:",
        "drop in points, b / c (only the ANN, only this one right), its upper 95 % bound (exact, paired), verdict at "
        f"{settings.max_drop} points.",
        "'trained on' is the control: the same training without a grid.",
    ]
    if not any(row.name == ACTIVATIONS for row in rows):
        said.append("Activations were not put on a grid: the model holds no nn.ReLU module.")
    return "\n".join([task.subject.name, render_rows(lines, head), *said, *_shared(task), ""])


def stations_record(task: Task, rows: Sequence[Station], settings: Settings) -> dict[str, Any]:
    """Every number of the table, for a JSON file."""
    return {
        "model": task.subject.name, "facts": dict(task.subject.facts), "training samples": len(task.train_x),
        "training samples among them": task.shared,
        "stations": [
            {"station": r.name, "net": r.kind, "grid": str(r.grid or ""), "accuracy": list(r.accuracy),
             "paired": [{"n": p.n, "b": p.b, "c": p.c, "upper": exact_upper(p)} for p in r.paired],
             "verdict of the worst seed": verdict(_worst(r), points(settings.max_drop))}
            for r in rows
        ],
    }  # fmt: skip


def render_quantised(
    task: Task, whole: ConvertedNetwork, converted: ConvertedNetwork, found: QuantisedNetwork, steps: int, settings: Settings
) -> str:  # fmt: skip
    """A line a layer: weights, memory, scales, zeros; accuracy of the spiking network on its grid, and without one."""
    lines = []
    for name, w in found.weights.items():
        scale = np.ravel(w.scale)
        lines.append([
            name, str(w.integers.size), f"{-(-w.memory_bits // 8):,}", str(scale.size), f"{scale.min():.4g}",
            f"{scale.max():.4g}", f"{int(w.integers.min())} ... {int(w.integers.max())}",
            f"{100 * np.mean(w.integers == 0):.1f}",
        ])  # fmt: skip
    head = ["layer", "weights", "bytes", "scales", "least", "greatest", "integers", "zeros, %"]
    plain, told = (classes(snn, task, steps, settings) for snn in (whole, converted))
    right, before = (100 * float(np.mean(c == task.subject.y)) for c in (told, plain))
    memory, n = f"{-(-found.memory_bits // 8):,} bytes of weights", len(task.subject.x)
    said = (f"{found.grid}: {memory}; {right:.2f} % of {n} right at T = {steps}{_unlike(settings)}, {before:.2f} % with "
            f"float weights as converted; {int(np.sum(told != plain)):,} in another class than then")  # fmt: skip
    return f"{task.subject.name}\n{render_rows(lines, head)}\n{said}\n"


def render_native(task: Task, found: Comparison, steps: int) -> str:
    """A line for the conversion and for each native net, their spread, and whether torch and our simulator agree."""
    lines = []
    for side in (found.converted, *found.natives):
        p = side.paired
        lines.append([side.name, f"{100 * side.accuracy:.2f}", f"{float(100 * p.drop):.2f}", f"{p.b} / {p.c}",
                      f"{100 * exact_upper(p):.2f}", f"{100 * side.rate:.2f}", f"{side.spikes:.1f}",
                      f"{side.operations:,.0f}", f"{side.multiply_adds:,}", f"{side.seconds:.1f}"])  # fmt: skip
    head = [
        "net",
        "accuracy, %",
        "drop",
        "b / c",
        "bound",
        "rate, %",
        "spikes",
        "synaptic ops",
        "MACs / step",
        "seconds",
    ]
    said = [
        f"{len(task.subject.x)} samples, T = {steps}; drop and bound (upper 95 %, paired) against the ANN, in points;",
        "rate: spikes per unit and step; spikes and synaptic operations (what they pass) per sample; MACs: connections from",
        "analog values (input, averages), per step; seconds: of conversion (the ANN's training not counted), of training.",
        *_over_seeds(found),
        f"torch and snnverify on the native net: {found.differ} of {found.compared:,} spikes differ",
    ]
    return "\n".join([task.subject.name, render_rows(lines, head), *said, *_shared(task), ""])


def _over_seeds(found: Comparison) -> list[str]:
    """Mean and spread of the native nets, where there are several."""
    if len(found.natives) < 2:
        return []
    each = {"accuracy": [v.accuracy for v in found.natives], "rate": [v.rate for v in found.natives]}
    told = [f"{name}, %: {100 * np.mean(v):.2f}, sd {_spread(v)}" for name, v in each.items()]
    return [f"native, {len(found.natives)} seeds: {'; '.join(told)}"]


def native_record(task: Task, found: Comparison) -> dict[str, Any]:
    """Every number of the table, for a JSON file."""

    def numbers(side: Side) -> dict[str, Any]:
        p = side.paired
        figures = {k: v for k, v in vars(side).items() if k != "paired"}
        return {**figures, "n": p.n, "b": p.b, "c": p.c, "upper": exact_upper(p)}

    return {
        "model": task.subject.name, "facts": dict(task.subject.facts), "training samples": len(task.train_x),
        "training samples among them": task.shared,
        "sides": [numbers(side) for side in (found.converted, *found.natives)], "spikes that differ": found.differ,
        "spikes compared": found.compared,
    }  # fmt: skip


def _shared(task: Task) -> list[str]:
    """A warning where samples that judge were trained on."""
    said = (
        f"{task.shared} of the {len(task.subject.x)} samples are training samples, too: what was trained is flattered"
    )
    return [said] if task.shared else []


def _unlike(settings: Settings) -> str:
    """What of the conversion differs from the default, in words."""
    told = {
        "leak": settings.leak != "1",
        "reset": settings.reset != "subtract",
        "encoding": settings.encoding != "constant",
    }
    return "".join(f", {name} {getattr(settings, name)}" for name, differs in told.items() if differs)


def _worst(row: Station) -> Paired:
    return max(row.paired, key=lambda p: p.drop)


def _spread(accuracy: Sequence[float]) -> str:
    a = 100 * np.asarray(accuracy)
    return f"{a.std(ddof=1):.2f} ({a.min():.2f}-{a.max():.2f})" if len(a) > 1 else "-"
