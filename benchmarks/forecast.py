"""A cost model's predictions over the number of workers, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from .costs import Costs, Job, bottleneck, parts, total
from .table import figure, save

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def predicted(job: Job, costs: Costs) -> list[dict[str, Any]]:
    """A row for each number of workers."""
    found = []
    for n in WORKERS:
        p = parts(job, costs, n)
        found.append({"workers": n, **p, "total": total(job, p), "first bottleneck": bottleneck(p)})
    return found


def text(rows: Sequence[dict[str, Any]]) -> str:
    """Hours and minutes of each phase."""
    shown = [{k: span(v) if isinstance(v, float) else v for k, v in r.items()} for r in rows]
    return tabulate(shown, headers="keys", disable_numparse=True)


def span(seconds: float) -> str:
    """Seconds in the unit that a reader thinks in."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"


def plot(job: Job, costs: Costs, path: Path) -> None:
    """Draw each phase and the total over the number of workers."""
    at = np.unique(np.geomspace(1, WORKERS[-1], 200).astype(int))
    found = [parts(job, costs, int(n)) for n in at]
    drawing = figure(figsize=(7, 4.5), layout="constrained")
    axes = drawing.subplots()
    axes.plot(at, [total(job, p) / 3600 for p in found], color="black", linewidth=2, label="total")
    for k in found[0]:
        axes.plot(at, [p[k] / 3600 for p in found], linewidth=1, label=k)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="workers of one core",
        ylabel="hours",
        title="50,000 images, ten variants, T 64",
    )
    axes.legend(fontsize="small")
    save(drawing, path)
