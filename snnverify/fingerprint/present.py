"""Fingerprints and scores as text and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from .axes import AXES, MOOT, UNDECIDED, Fingerprint, shown
from .planted import Row

WIDTH = 120


def table(rows: Iterable[tuple[str, Fingerprint]]) -> str:
    """Markdown table: a row for each oracle and box, a column for each axis; notes on what could not be decided below."""
    rows = list(rows)
    heading = ["oracle", "neuron", "nominal", *AXES.values()]
    body = [[oracle, f"`{f.name}`", _nominal(f), *(d.value for d in f.axes)] for oracle, f in rows]
    notes = [f"- {oracle} `{f.name}`: {f.note}." for oracle, f in rows if f.note]
    parts = [markdown(heading, body)]
    parts += [f"`{MOOT}`: no input can show the axis in this neuron. `{UNDECIDED}`: no probe tells.", *notes]
    return "\n\n".join(["\n".join(parts[:1]), "\n".join(parts[1:])]) + "\n"


def evidence(rows: Iterable[tuple[str, Fingerprint]]) -> str:
    """Markdown: for each box the probe that decided each axis, and what it showed."""
    parts = []
    for oracle, f in rows:
        body = [[AXES[d.axis], d.value, d.probe, d.evidence] for d in f.axes if d.value != MOOT]
        parts.append(f"### {oracle} `{f.name}`\n\n" + markdown(["axis", "value", "probe", "what it showed"], body))
    return "\n\n".join(parts) + "\n"


def score_table(rows: Iterable[Row]) -> str:
    """Markdown table of the score on planted subjects."""
    body = [[r.family, str(r.subjects), str(r.correct), str(r.undecided), str(r.wrong)] for r in rows]
    return markdown(["planted subjects", "boxes", "axes correct", "undecided", "wrong"], body) + "\n"


def text(f: Fingerprint) -> str:
    """Return one fingerprint for a terminal, no line over `WIDTH` characters."""
    title = f"{f.name} ({_nominal(f)})"
    lines = [title, "=" * len(title)]
    for d in f.axes:
        said = "; ".join(part for part in (d.probe, d.evidence) if part)
        lines += textwrap.wrap(f"{AXES[d.axis]:<22}{d.value:<17}{said}", WIDTH, subsequent_indent=" " * 39)
    return "\n".join([*lines, *textwrap.wrap(f"note: {f.note}", WIDTH, subsequent_indent="  ")] if f.note else lines)


def _nominal(f: Fingerprint) -> str:
    return ", ".join(f"{name} {shown(float(value))}" for name, value in f.nominal.items())


def markdown(heading: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Table in Markdown, without an end of line."""
    lines = [heading, ["---"] * len(heading), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
