"""The report for a terminal: the same tables, in 120 characters."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from ..pipeline import Run
from .present import Shown, view
from .tables import tables
from .words import explain, overall

WIDTH = 120
_TITLES = {
    "accuracy": "Accuracy over T (points; bound: upper 95 %)", "layers": "Layers (errors in units of the threshold)",
    "classes": "Classes", "checks": "Checks", "operations": "Operations (all samples and steps)",
}  # fmt: skip
_ASCII = str.maketrans({"\u2212": "-", "\u2013": "-", "\u202f": " "})  # a terminal or log may know no more
_LONGEST = {"layer": 16, "check": 34, "where": 34, "class": 16}  # longest text under a heading


def render_text(run: Run) -> str:
    """Tables of a run for a terminal, no line over 120 characters; the verdicts come last."""
    frames, parts = tables(run), []
    for a in run.assessments:
        parts.append(f"{_plain(a.model.name)}\n{'=' * min(len(_plain(a.model.name)), WIDTH)}")
        for name, title in _TITLES.items():
            shown = view(name, frames, a.model.name, compact=True)
            if shown.rows:
                parts.append(f"{title}\n{_table(shown)}")
    for a in run.assessments:
        said = explain(a)
        lines = [f"[{r.outcome}] {r.name}: {r.detail}" for r in a.verdict.requirements
                  if r.outcome != "PASS" or r.name == "accuracy drop"]  # fmt: skip
        lines += [s for s in (said.meaning, said.cause, said.remedy) if s]
        lines += [f"{a.verdict.outcome}: {a.model.name}"]
        parts.append("\n".join(_wrapped(_plain(line)) for line in lines))
    if len(run.assessments) != 1:
        parts.append(f"{overall(run)}: {len(run.assessments)} models")
    return "\n\n".join(parts).translate(_ASCII) + "\n"


def _table(shown: Shown) -> str:
    rows = [[_cut(cell, _LONGEST.get(c.heading, 24)) for c, cell in zip(shown.columns, row, strict=True)]
            for row in shown.rows]  # fmt: skip
    align = ["right" if c.numeric else "left" for c in shown.columns]
    drawn = tabulate(rows, shown.headings, tablefmt="simple", colalign=align, disable_numparse=True)
    return "\n".join(line.rstrip() for line in drawn.splitlines())


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 2] + ".."


def _plain(text: str) -> str:
    """One line without control characters: names come from users, and a terminal obeys escape sequences."""
    return "".join(ch for ch in " ".join(text.split()) if ch.isprintable())


def _wrapped(line: str) -> str:
    return "\n".join(textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
