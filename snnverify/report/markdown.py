"""The report as Markdown, for a pull request or a log."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd
from tabulate import tabulate

from ..pipeline import Run
from .present import view
from .words import explain, overall

TITLES = {
    "accuracy": "Accuracy over T", "errors": "Errors over T", "waterfall": "Waterfall: what each change costs",
    "layers": "Layers", "requirements": "Gate", "checks": "Checks",
    "curves": "Side by side (accuracy, %)",
    "classes": "Classes", "calibration": "Calibration", "operations": "Operations", "provenance": "Provenance",
}  # fmt: skip


def render_markdown(run: Run, frames: dict[str, pd.DataFrame], pictures: Mapping[str, Mapping[str, str]]) -> str:
    """Return the report as Markdown.

    Parameters
    ----------
    run : Run
    frames : dict of str to pandas.DataFrame
        Of `tables`.
    pictures : mapping of model to mapping of title to relative path
    """
    parts = [f"# snnverify report: {overall(run)}"]
    for a in run.assessments:
        said = explain(a)
        parts += [f"## {escape(a.model.name)}: {a.verdict.outcome}"]
        parts += [escape(s) for s in (said.meaning, said.cause, said.remedy, *said.waterfall) if s]
        for name, title in TITLES.items():
            parts += _section(f"### {title}", name, frames, a.model.name)
        parts += [f"![{escape(alt)}]({path})" for alt, path in pictures.get(a.model.name, {}).items()]
    parts += _section("## Run", "provenance", frames, "")
    return "\n\n".join(parts) + "\n"


def _section(title: str, name: str, frames: dict[str, pd.DataFrame], model: str) -> list[str]:
    shown = view(name, frames, model)
    if not shown.rows:
        return []
    rows = [[escape(cell) for cell in row] for row in shown.rows]
    align = ["right" if c.numeric else "left" for c in shown.columns]
    drawn = tabulate(rows, shown.headings, tablefmt="pipe", colalign=align, disable_numparse=True)
    return [title, drawn, *(["; ".join(escape(n) for n in shown.notes)] if shown.notes else [])]


def escape(text: str) -> str:
    """One line in which nothing is markup: names come from users."""
    return re.sub(r"([\\`*_{}\[\]<>|#!])", r"\\\1", " ".join(text.split()))
