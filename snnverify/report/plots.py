"""The pictures of a report. Figures are made without pyplot, so nothing of them stays in the process."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from ..activation import Neuron
from ..content import Array
from ..network import INPUT, Branch, Dense, Layer, Network
from ..pipeline import Assessment
from ..simulate import simulate
from .looks import ANN, COLOURS, DASHES, FAINT, INK, LINES, PARTS, SIZE, SNN, VERDICTS, legend
from .present import MOST
from .samples import scatter, trains
from .tables import points

CURVE_STEPS = 128
RANGE = (-0.2, 1.2)  # inputs of the curve and the raster, in units of the threshold, as in SpikingJelly's tutorial


def errors(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Mean error over T of ANN and SNN of a regression; None of a classifier."""
    rows = _of(frames["errors"], a)
    if rows.empty:
        return None
    figure, axes = _axes(f"Mean {rows['error'].iloc[0]} error over time steps")
    for who, colour, mark in (("ann", ANN, ""), ("snn", SNN, "o")):
        axes.plot(rows["T"], rows[f"{who}_error"], color=colour, marker=mark, markersize=4.5, label=who.upper())
    _steps(axes, rows["T"].tolist())
    axes.set_ylim(bottom=0)
    axes.set_ylabel("error, in the targets' unit")
    legend(figure)
    return figure


def accuracy(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Accuracy over T of ANN and SNN with their Wilson 95 % bands, and the accuracy that the margin asks for."""
    if a.model.fidelity.regression:
        return None
    rows = _of(frames["accuracy"], a)
    figure, axes = _axes("Accuracy over time steps")
    for who, colour, mark in (("ann", ANN, ""), ("snn", SNN, "o")):
        axes.fill_between(rows["T"], rows[f"{who}_low"], rows[f"{who}_high"], color=colour, alpha=0.16, linewidth=0)
        axes.plot(rows["T"], rows[f"{who}_percent"], color=colour, marker=mark, markersize=4.5, label=who.upper())
    asked = rows["ann_percent"].iloc[0] - points(a.model.margin)
    axes.axhline(asked, color=INK, linestyle="--", linewidth=1, label=f"ANN − limit of {points(a.model.margin):g}")
    _steps(axes, rows["T"].tolist())
    axes.set_ylabel("accuracy, % (band: 95 %)")
    legend(figure)
    return figure


def gate(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Paired drop at each T with its exact upper 95 % bound, against the margin."""
    if a.model.fidelity.regression:
        return None
    rows = _of(frames["accuracy"], a)
    figure, axes = _axes("Gate: drop and its upper 95 % bound")
    margin = points(a.model.margin)
    for outcome, (colour, mark) in VERDICTS.items():
        r = rows[rows["verdict"] == outcome]
        if len(r):
            axes.vlines(r["T"], r["drop_points"], r["upper_points"], color=colour, linewidth=2)
            axes.plot(r["T"], r["upper_points"], "_", color=colour, markersize=11, markeredgewidth=2)
            axes.plot(r["T"], r["drop_points"], mark, color=colour, markersize=6.5, label=outcome.lower())
    axes.axhline(margin, color=INK, linestyle="--", linewidth=1, label=f"limit {margin:g}")
    axes.axhline(0, color=FAINT, linewidth=1)
    linear = max(1.0, 2 * margin)
    axes.set_yscale("symlog", linthresh=linear, linscale=1.5)
    low, high = min(rows["drop_points"].min(), 0), max(rows["upper_points"].max(), margin)
    ticks = [t for t in (-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50, 100) if low <= t <= 1.3 * high]
    axes.set_yticks(ticks, [f"{t:g}".replace("-", "−") for t in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low - 0.15 * linear, high * 1.3 + 0.1 * linear)
    _steps(axes, rows["T"].tolist())
    axes.set_ylabel("drop, percentage points")
    legend(figure)
    return figure


def waterfall(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Accuracy falling from station to station: a bar for what each change costs; None where there is none."""
    rows = _of(frames["waterfall"], a)
    if rows.empty:
        return None
    figure, axes = _axes(f"Waterfall, T = {a.model.fidelity.steps[-1]}", rows=len(rows))
    at, level = np.arange(len(rows)), rows["percent"].to_numpy(float)
    before = np.concatenate([level[:1], level[:-1]])
    colours = [ANN if i == 0 else SNN if level[i] < before[i] else PARTS["inherited"] for i in at]
    low = max(0.0, float(level.min()) - max(1.0, float(np.ptp(level))))
    size, left = np.abs(level - before), np.minimum(level, before)
    axes.barh(at, np.where(at == 0, level - low, size), left=np.where(at == 0, low, left), height=0.6, color=colours)
    axes.vlines(level, at - 0.3, np.minimum(at + 1.3, len(rows) - 0.7), color=INK, linewidth=1)
    for i, points_lost in enumerate(rows["lost_points"]):
        said = f"{level[i]:.2f} %" if i == 0 else f"{0 - points_lost:+.2f}".replace("-", "−")
        axes.annotate(said, (max(level[i], before[i]), i), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(at, [_short(name) for name in rows["station"]])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(low, float(level.max()) + 0.25 * max(1.0, float(level.max()) - low))
    axes.grid(False, axis="y")
    axes.set_xlabel("accuracy, %; a bar for each change")
    return figure


def layers(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Mean error of every layer (marker) and the parts that it is made of (stacked bars)."""
    rows = _of(frames["layers"], a)
    figure, axes = _axes(f"Where the error arises (T = {a.model.fidelity.steps[-1]})", rows=len(rows))
    at, base = np.arange(len(rows)), np.zeros(len(rows))
    for part, colour in PARTS.items():
        size = rows[part].to_numpy(float)
        axes.barh(at, size, left=base, height=0.6, color=colour, label=part)
        base = base + size
    axes.plot(rows["error_mean"], at, "D", color=INK, markersize=5, label="mean error")
    axes.set_yticks(at, [_short(name) for name in rows["layer"]])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, max(1e-6, 1.05 * float(max(base.max(initial=0), rows["error_mean"].max() if len(rows) else 0))))
    axes.grid(False, axis="y")
    axes.set_xlabel("mean size, units of the threshold (parts: upper bounds)")
    legend(figure)
    return figure


def curve(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Rate of one neuron with the semantics of the first spiking layer, simulated, against clip(ReLU)."""
    x, rate = transfer(_first_neuron(a))
    wanted = np.clip(x, 0, 1)
    greatest = f"{np.abs(rate - wanted).max():.2g}"
    figure, axes = _axes(f"One neuron, T = {CURVE_STEPS}: max |rate − clip(ReLU)| = {greatest}")
    axes.plot(x, wanted, color=ANN, linewidth=4, alpha=0.45, label="clip(ReLU(x), 0, 1)")
    axes.plot(x, rate, color=SNN, linewidth=1.3, label=f"rate over {CURVE_STEPS} steps")
    axes.set_xlabel("constant input x, in units of the threshold")
    axes.set_ylabel("spikes per step")
    legend(figure)
    return figure


def transfer(neuron: Neuron) -> tuple[Array, Array]:
    """Inputs [281] in units of the threshold, -0.2 ... 1.2, and the rate [281] that the simulator answers with."""
    x, spikes = responses(neuron, np.linspace(*RANGE, 281))
    return x, spikes.sum(0) / CURVE_STEPS


def responses(neuron: Neuron, x: Array) -> tuple[Array, Array]:
    """Inputs [n] in units of the threshold and the spikes [T, n] that the simulator answers with."""
    theta = float(np.mean(neuron.theta))
    floor = None if neuron.v_floor is None else neuron.v_floor / theta
    unit = replace(neuron, theta=1.0, amplitude=1.0, v_init=float(np.mean(np.asarray(neuron.v_init) / neuron.theta)),
                   v_reset=neuron.v_reset / theta, v_rest=neuron.v_rest / theta, v_floor=floor)  # fmt: skip
    network = Network((1,), (Layer("neuron", (Branch(Dense(np.ones((1, 1))), INPUT),), unit),))
    trace = simulate(network, x[:, None], CURVE_STEPS, dtype="float64", record="spikes")
    return x, trace.spikes["neuron"][:, :, 0]


def _first_neuron(a: Assessment) -> Neuron:
    return next((v.act for v in a.model.converted.snn.spiking if isinstance(v.act, Neuron)), Neuron())


def raster(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Constant inputs, one for each of 36 neurons like those of the first spiking layer, and the spikes they answer with."""
    x, spikes = responses(_first_neuron(a), np.linspace(*RANGE, 36))
    figure = Figure(figsize=SIZE)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 2.6))
    index = np.arange(len(x))
    left.plot(x, index, ".", color=ANN, markersize=4)
    left.set_title("Input")
    left.set_xlabel("x, thresholds")
    left.set_ylabel("neuron")
    right.set_title(f"Spikes over {CURVE_STEPS} steps")
    right.eventplot(
        [np.flatnonzero(s) + 1 for s in spikes.T], lineoffsets=index, linelengths=0.8, linewidths=0.7, colors=SNN
    )
    right.grid(False)
    right.set_xlabel("time step t")
    right.set_xlim(0, CURVE_STEPS + 1)
    right.set_ylim(-0.8, len(x) - 0.2)
    return figure


def curves(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Accuracy over T of the conversions side by side, and that of the ANN; None where there is one alone."""
    rows = _of(frames["curves"], a)
    rows = rows if (rows["compared"] != "mode").all() else rows[rows["compared"] == "mode"]
    if rows.empty:
        return None
    figure, axes = _axes("Accuracy over time steps, side by side")
    for i, (name, part) in enumerate(rows.groupby("name", sort=False)):
        mark = "o" if len(part) <= MOST else ""
        axes.plot(part["T"], part["percent"], color=LINES[i % len(LINES)], linestyle=DASHES[i % len(DASHES)], marker=mark,
                  markersize=4, linewidth=1.5, label=str(name))  # fmt: skip
    axes.axhline(_of(frames["accuracy"], a)["ann_percent"].iloc[0], color=INK, linestyle=":", linewidth=1, label="ANN")
    _steps(axes, [t for t in sorted(set(rows["T"])) if not t & (t - 1)])
    axes.set_ylabel("accuracy, %")
    legend(figure)
    return figure


def accuracies(title: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """Accuracy over T of several runs, (T, percent) by name: an ANN dotted, every second run dashed."""
    figure, axes = _axes(title)
    for i, (name, points_of) in enumerate(curves.items()):
        steps, percent = zip(*points_of, strict=True)
        ann, later = name.startswith("ANN"), i >= len(curves) / 2
        axes.plot(steps, percent, color=ANN if ann else SNN, linestyle="--" if later else "-", linewidth=1.2 if ann else 1.8,
                  marker="" if ann else "s" if later else "o", markersize=4.5, label=name)  # fmt: skip
    _steps(axes, sorted({t for points_of in curves.values() for t, _ in points_of}))
    axes.set_ylabel("accuracy, %")
    legend(figure)
    return figure


PLOTS: dict[str, Callable[[Assessment, Mapping[str, pd.DataFrame]], Figure | None]] = {
    "errors": errors, "accuracy": accuracy, "gate": gate, "waterfall": waterfall, "layers": layers, "scatter": scatter,
    "trains": trains, "curve": curve, "raster": raster, "curves": curves,
}  # fmt: skip


def png(figure: Figure) -> bytes:
    """Return a figure as PNG on white."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120, facecolor="white")
    return out.getvalue()


def svg(figure: Figure, salt: str) -> str:
    """Return a figure as an SVG element for a page: clear ground, colours as the page's variables, ids of its own."""
    out = io.StringIO()
    with style.context({"svg.hashsalt": salt}):
        figure.savefig(out, format="svg", transparent=True,
                       metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))  # fmt: skip
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'^<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" xmlns="http://www.w3.org/2000/svg" '
                  r'xmlns:xlink="http://www.w3.org/1999/xlink" aria-hidden="true">', text)  # fmt: skip
    text = re.sub(r"font-family:[^;\"]*;?", "", text)
    text = joined(re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", text))
    return re.sub("|".join(COLOURS), lambda m: f"var(--{COLOURS[m[0]]})", text)


def joined(text: str) -> str:
    """Neighbouring opaque lines of one style as one path: a raster has thousands, and most of their text is that style."""
    style = r' clip-path="[^"]*" style="fill: none; stroke: [^;"]*(?:; stroke-width: [^;"]*)?"'
    alike = rf'<path d="[^"]*"({style})/>(?:\s*<path d="[^"]*"\1/>)+'
    return re.sub(alike, _one_path, text)


def _one_path(alike: re.Match[str]) -> str:
    ends = re.sub(r"(\d\.\d\d)\d+", r"\1", "".join(re.findall(r' d="([^"]*)"', alike[0])))  # to 1/100 point
    return f'<path d="{ends}"{alike[1]}/>'


def _of(frame: pd.DataFrame, a: Assessment) -> pd.DataFrame:
    return frame[frame["model"] == a.model.name]


def _axes(title: str, rows: int = 0) -> tuple[Figure, Axes]:
    width, height = SIZE
    figure = Figure(figsize=(width, min(max(height, 1.4 + 0.34 * rows), 40)))
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes


def _steps(axes: Axes, steps: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [str(t) for t in steps])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("time steps T")


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
