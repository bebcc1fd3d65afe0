"""The report as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from ..gate.verdict import apart
from ..pipeline import Assessment, Run
from . import regression
from .looks import COLOURS
from .page import MARKS, template
from .present import number, view
from .tables import points, upper
from .words import explain, overall

_VIEWS = (
    "accuracy",
    "errors",
    "waterfall",
    "layers",
    "requirements",
    "checks",
    "curves",
    "classes",
    "calibration",
    "operations",
    "energy",
    "provenance",
)


def render_html(run: Run, frames: dict[str, pd.DataFrame], plots: Sequence[Mapping[str, str]]) -> str:
    """Return the page; every name and text is escaped, SVG pictures are put in as they are.

    Parameters
    ----------
    run : Run
    frames : dict of str to pandas.DataFrame
        Of `tables`.
    plots : sequence of mapping of name to SVG element
        Of every assessment.
    """
    models = [_model(a, frames, p) for a, p in zip(run.assessments, plots, strict=True)]
    return str(template("report.html.j2").render(
        models=models, overall=overall(run), marks=MARKS, run=view("provenance", frames, ""),
        command=str(run.provenance.get("command", "")), light={v: k for k, v in COLOURS.items()},
    ))  # fmt: skip


def _model(a: Assessment, frames: dict[str, pd.DataFrame], plots: Mapping[str, str]) -> dict[str, Any]:
    if a.model.fidelity.regression:
        return _page(a, frames, plots, regression.figures(a))
    rows = frames["accuracy"]
    last = rows[rows["model"] == a.model.name].iloc[-1]
    p, limit = a.model.fidelity.paired(a.model.fidelity.steps[-1]), points(a.model.margin)
    return _page(a, frames, plots, (
        ("ANN", f"{last['ann_percent']:.2f} %"), ("SNN", f"{last['snn_percent']:.2f} %"),
        ("drop, points", apart(points(p.drop), limit)[0].replace("-", "\u2212")),
        ("95 % bound", apart(points(upper(p)), limit)[0].replace("-", "\u2212")), ("limit", apart(limit, limit)[1]),
        ("samples", number(p.n, "d")),
    ))  # fmt: skip


def _page(
    a: Assessment, frames: dict[str, pd.DataFrame], plots: Mapping[str, str], figures: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    return {
        "name": a.model.name, "outcome": a.verdict.outcome, "said": explain(a), "steps": a.model.fidelity.steps[-1],
        "figures": figures,
        "views": {name: view(name, frames, a.model.name) for name in _VIEWS},
        "plots": {name: Markup(drawn) for name, drawn in plots.items()},
    }  # fmt: skip
