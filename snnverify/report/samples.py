"""A few samples looked at: their spikes, rates against activations, and what they cost by each energy model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..content import Array
from ..convert import ConvertedNetwork
from ..fidelity import ModelUnderTest
from ..hardware.counts import CONVENTIONS, count, count_ann
from ..hardware.energy import tables
from ..hardware.summary import encoded, row
from ..network import per_channel
from ..pipeline import Assessment
from ..simulate import forward, run
from ..trace import Case, Trace
from .looks import INK, LINES, SIZE, legend

SAMPLES, POINTS, UNITS = 16, 400, 24
Row = dict[str, Any]


@lru_cache(maxsize=2)  # energies and both pictures of a model look at the same run
def seen(model: ModelUnderTest) -> tuple[Case, Trace]:
    """The first samples, run as the report ran them, at its largest T."""
    x = model.x[:, :SAMPLES] if model.encoding == "spikes" else model.x[:SAMPLES]
    steps = model.fidelity.steps[-1]
    case = Case(model.converted.snn, x, steps, model.encoding, model.seed, dtype="float32")
    return case, run(case, "spikes")


def energies(a: Assessment) -> list[Row]:
    """By energy model: nJ per inference of SNN and ANN on the first samples, lowest and highest; every connection counts.

    Beside it, which operations occur and have no price there: what these cost is in neither figure.
    """
    case, trace = seen(a.model)
    snn, ann = count(case, trace), count_ann(a.model.converted.ann, case.x)
    rows = []
    for table in tables():
        r = row(case.network, encoded(snn), snn, ann, table, CONVENTIONS[0])
        found: Row = {"model": a.model.name, "energy_model": table.name, "grade": table.grade, "scope": table.scope}
        for who, energy in (("snn", r.snn), ("ann", r.ann)):
            for end in ("low", "high"):
                found[f"{who}_{end}_nJ"] = None if energy is None else float(getattr(energy, end)) * 1e-3
        rows.append({**found, "not_priced": ", ".join(r.unpriced), "source": table.source})
    return rows


def scatter(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Rate of randomly chosen units of every layer against the activation that it stands for, in units of the threshold."""
    case, trace = seen(a.model)
    if case.encoding == "spikes":
        return None
    activations = forward(a.model.converted.ann, case.x)
    figure = Figure(figsize=SIZE)
    axes = figure.add_subplot()
    axes.set_title(f"Rate against ReLU, T = {case.steps}, {len(case.x)} samples")
    axes.plot([0, 1, 1.3], [0, 1, 1], color=INK, linewidth=1, linestyle=":", label="clip(ReLU)")
    rng = np.random.default_rng(a.model.seed)
    for i, layer in enumerate(case.network.spiking):
        wanted = _wanted(a.model.converted, activations, layer.name)
        if wanted is None:
            continue
        rate = trace.counts[layer.name] / case.steps
        chosen = rng.permutation(rate.size)[:POINTS]
        colour = LINES[1 + i % (len(LINES) - 1)]
        axes.plot(
            wanted.ravel()[chosen], rate.ravel()[chosen], ".", color=colour, markersize=3, alpha=0.5, label=layer.name
        )
    axes.set_xlim(-0.05, 1.35)
    axes.set_xlabel("activation of the ANN, in units of the threshold")
    axes.set_ylabel("spikes per step")
    legend(figure)
    return figure


def _wanted(converted: ConvertedNetwork, activations: Mapping[str, Array], name: str) -> Array | None:
    """Activations of the ANN's layer of this name in units of its threshold; None where the ANN has none."""
    if name not in activations or name not in converted.scales:
        return None
    return np.asarray(activations[name] / per_channel(converted.scales[name], activations[name].shape[1:]))


def trains(a: Assessment, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Spikes of the first sample: some units of every layer, evenly from the most to the least active that spike at all."""
    case, trace = seen(a.model)
    layers = case.network.spiking
    figure = Figure(figsize=(SIZE[0], min(1.2 + 0.75 * len(layers), 12)))
    rows = figure.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
    for i, (layer, axes) in enumerate(zip(layers, rows, strict=True)):
        spikes = trace.spikes[layer.name][:, 0].reshape(case.steps, -1)
        counts = spikes.sum(0, dtype=np.int64)
        order = np.argsort(-counts, kind="stable")[: max(int((counts > 0).sum()), 1)]
        units = order[np.linspace(0, len(order) - 1, min(UNITS, len(order))).astype(int)]
        axes.eventplot([np.flatnonzero(spikes[:, u]) + 1 for u in units], lineoffsets=np.arange(len(units)), linelengths=0.8,
                       linewidths=1.0, colors=LINES[1 + i % (len(LINES) - 1)])  # fmt: skip
        axes.set_yticks([])
        axes.grid(False)
        axes.set_ylabel(layer.name[:14], rotation=0, ha="right", va="center")
        axes.set_ylim(len(units) - 0.4, -0.6)
        if i == 0:
            axes.set_title("Spikes of the first sample, most active units on top")
    axes.set_xlabel("time step t")
    axes.set_xlim(0, case.steps + 1)
    return figure
