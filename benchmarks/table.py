"""What is shown: the table, its CSV, its picture."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from snnverify.content import write_atomic

from .measure import FUSED, NUMPY, ONCE, OURS, Prepared

COLUMNS = ("net", "simulator", "engine", "median_ms", "ratio_to_ours", "ratio_to_dense", "spikes_equal")


@dataclass(frozen=True, eq=False)
class Row:
    """A simulator on a net.

    Parameters
    ----------
    net, simulator, engine : str
    rounds : tuple of float
        Median milliseconds of each round.
    ours : float
        Milliseconds of our fused engine, counts only (numpy's where there is no fused one).
    bounds : mapping of str to float
        Milliseconds of the dense bound at each library's sgemm peak.
    equal : str
        ``yes``, or how many spikes differ.
    counts : bool
        Whether its ratio may be compared: its spikes are equal, or differ by rounding on ordinary floats.
    build, first : float
        Seconds that building the model and its first call took.
    """

    net: str
    simulator: str
    engine: str
    rounds: tuple[float, ...]
    ours: float
    bounds: Mapping[str, float]
    equal: str
    counts: bool
    build: float
    first: float

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.rounds)

    @property
    def to_ours(self) -> float:
        """Over 1: slower than ours."""
        return self.median / self.ours

    @property
    def to_dense(self) -> float:
        """Under 1: faster than all multiply-adds at the best sgemm peak."""
        return self.median / min(self.bounds.values())


def rows(net: str, prepared: Sequence[Prepared], bounds: Mapping[str, float]) -> list[Row]:
    """Rows of one net, ours first; `bounds` in seconds."""
    times = {(p.simulator.name, p.simulator.engine): p.median for p in prepared}
    ours = next((times[OURS, e] for e in (FUSED, NUMPY) if (OURS, e) in times), float("nan"))
    dense = {k: 1e3 * b for k, b in bounds.items()}
    return [
        Row(net, p.simulator.name, p.simulator.engine, tuple(1e3 * t for t in p.rounds), 1e3 * ours, dense,
            str(p.agreement), p.agreement.counts, p.build, p.first)
        for p in prepared
    ]  # fmt: skip


def text(found: Sequence[Row]) -> str:
    """The table of one net; ratios in brackets do not count, for their spikes are others."""
    head = ["simulator", "engine", "median ms", "rounds", "to ours", "to dense bound", "(default BLAS)", "spikes equal"]
    shown = []
    for r in found:
        low, high = min(r.rounds), max(r.rounds)
        spread = f"{low:.3g} - {high:.3g}" if len(r.rounds) > 1 else ""
        told = "" if math.isnan(r.ours) else f"{r.to_ours:.2f}"
        ratio = told if r.counts else f"({told})"
        shown.append([r.simulator, r.engine, f"{r.median:.3f}", spread, ratio, f"{r.to_dense:.3f}",
                      f"{r.median / r.bounds['numpy']:.3f}", r.equal])  # fmt: skip
    return tabulate(shown, head, disable_numparse=True, colalign=("left", "left", *["right"] * 5, "left"))


def verdict(found: Sequence[Row]) -> str:
    """The fastest peer that gives the same spikes, and the fastest that computes every step anew, against ours."""
    peers = [r for r in found if r.simulator != OURS and r.counts]
    ours = next((r for r in found if r.simulator == OURS and r.median == r.ours), None)
    if ours is None:
        return "ours was not run"
    dense = f"{1 / ours.to_dense:.2f} x as fast as the dense bound"
    if not peers:
        return f"ours ({ours.engine}): {dense}"
    others = [r for r in peers if not r.engine.endswith(ONCE)] or peers
    fastest = dict.fromkeys(min(group, key=lambda r: r.median) for group in (peers, others))
    ratios = " and ".join(f"{r.to_ours:.2f} x as fast as {r.simulator}, {r.engine}" for r in fastest)
    return f"ours ({ours.engine}): {ratios}; {dense}"


def warm_up(found: Sequence[Row]) -> str:
    """What is not in the medians: building and the first call."""
    shown = [[r.net, r.simulator, r.engine, f"{r.build:.3f}", f"{r.first:.3f}"] for r in found]
    return tabulate(shown, ["net", "simulator", "engine", "build s", "first call s"], disable_numparse=True)


def write_csv(found: Sequence[Row], path: Path) -> None:
    """Write `COLUMNS` of every row."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in found:
        numbers = ("" if math.isnan(v) else f"{v:.6g}" for v in (r.median, r.to_ours, r.to_dense))
        writer.writerow([r.net, r.simulator, r.engine, *numbers, r.equal])
    write_atomic(path, buffer.getvalue())


def plot(found: Sequence[Row], path: Path) -> None:
    """Draw a panel for every net: how many times as long as ours each simulator takes, and the dense bounds as lines.

    Points, for a log axis has no zero that bars could begin at.
    """
    nets = list(dict.fromkeys(r.net for r in found))
    most = max(sum(r.net == n for r in found) for n in nets)
    lines = -(-len(nets) // 2)
    drawing = figure(figsize=(13, 0.6 + lines * (0.8 + 0.25 * most)), layout="constrained")
    panels = drawing.subplots(lines, min(len(nets), 2), squeeze=False).ravel()
    for axes, net in zip(panels, nets, strict=False):
        mine = [r for r in found if r.net == net][::-1]
        unit = mine[0].ours if math.isfinite(mine[0].ours) else 1.0
        names = [f"{r.simulator}, {r.engine}" + ("" if r.counts else " (other spikes)") for r in mine]
        for name, r in zip(names, mine, strict=True):
            axes.plot(r.median / unit, name, "o", color="#1b6ca8" if r.simulator == OURS else "#5f6871")
            text = f"{r.median:,.0f} ms" if r.median >= 100 else f"{r.median:.3g} ms"
            axes.annotate(
                text, (r.median / unit, name), (7, 0), textcoords="offset points", va="center", fontsize="small"
            )
        bounds = mine[0].bounds
        best = min(bounds, key=lambda library: bounds[library])
        for library, style in {best: "-", next(iter(bounds)): ":"}.items():
            axes.axvline(bounds[library] / unit, color="#b03a2e", linewidth=1, linestyle=style)
        axes.set_xscale("log")
        axes.set_xlim(right=4 * max(r.median for r in mine) / unit)  # room for the last one's text
        own = next(iter(bounds.values()))
        axes.set_title(f"{net}: dense bound {bounds[best]:.3g} ms, {own:.3g} with numpy's own BLAS", fontsize="medium")
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter("{x:g}")
    for axes in panels[len(nets) :]:
        axes.remove()
    drawing.supxlabel("times as long as ours takes (fused, counts alone; milliseconds where ours did not run)\n"
                      "lines: dense bound, dotted with numpy's own BLAS")  # fmt: skip
    save(drawing, path)


def save(drawing: Any, path: Path) -> None:
    """Write a figure in the format that the name says."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format=path.suffix.lstrip(".") or "png", dpi=150)
    write_atomic(path, buffer.getvalue())


def figure(**options: Any) -> Any:
    """A figure that no window, and no other drawing, knows of."""
    from matplotlib.figure import Figure

    return Figure(**options)
