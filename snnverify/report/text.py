"""The report for a terminal: the same tables, in 120 characters."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from ..convert.analyze import LayerVerdict
from ..pipeline import Assessment, Run
from .present import Shown, view
from .tables import tables
from .words import explain, overall

WIDTH = 120
_TITLES = {
    "accuracy": "Accuracy over T (points; bound: upper 95 %)", "errors": "Errors over T",
    "waterfall": "Waterfall: what each change costs (points)",
    "layers": "Layers (errors in units of the threshold)",
    "curves": "Side by side (accuracy, %)",
    "classes": "Classes", "checks": "Checks", "operations": "Operations (all samples and steps)",
}  # fmt: skip
_ASCII = str.maketrans({"\u2212": "-", "\u2013": "-", "\u202f": " "})  # a terminal or log may know no more
_LONGEST = {"layer": 16, "check": 34, "where": 34, "class": 16, "station": 30}  # longest text under a heading


def render_text(run: Run) -> str:
    """Tables of a run for a terminal, no line over 120 characters; the verdicts come last."""
    frames, parts = tables(run), []
    for a in run.assessments:
        title = _cut(_plain(a.model.name), WIDTH)
        parts.append(f"{title}\n{'=' * len(title)}")
        for name, title in _TITLES.items():
            shown = view(name, frames, a.model.name, compact=True)
            if shown.rows:
                parts.append(f"{title}\n{_table(shown)}")
    return "\n\n".join([*parts, *_verdicts(run)]).translate(_ASCII) + "\n"


def render_summary(run: Run, told: Sequence[Assessment] = ()) -> str:
    """Accuracy over T and the verdict of every model of a run, the verdicts last; of what is told already the bare one."""
    frames = tables(run)
    kinds = ["errors" if a.model.fidelity.regression else "accuracy" for a in run.assessments]
    parts = [f"{_plain(a.model.name)}: {_TITLES[kind]}\n{_table(view(kind, frames, a.model.name, compact=True))}"
             for a, kind in zip(run.assessments, kinds, strict=True)]  # fmt: skip
    return "\n\n".join([*parts, *_verdicts(run, told)]).translate(_ASCII)


def render_verdicts(rows: Iterable[LayerVerdict]) -> str:
    """Table of what `convert.analyze` says of every operation of a model; the ways out below it."""
    rows = list(rows)
    cells = [[_cut(_plain(r.path), 30), _cut(_plain(r.operation), 24), r.verdict, textwrap.fill(_plain(r.why), 46)]
             for r in rows]  # fmt: skip
    parts = [tabulate(cells, ["module", "operation", "verdict", "why"], tablefmt="simple", disable_numparse=True)]
    parts += [_wrapped(f"{_plain(r.path)}: {_plain(r.remedy)}") for r in rows if r.remedy]
    counts = Counter(r.verdict for r in rows)
    parts.append(", ".join(f"{n} {verdict}" for verdict, n in counts.items()) or "there is no operation")
    return "\n".join(parts)


def _verdicts(run: Run, told: Sequence[Assessment] = ()) -> list[str]:
    """One block per model: the requirements that matter, what they mean, the verdict; then that of all models."""
    parts = []
    for a in run.assessments:
        if any(a is t for t in told):
            parts.append(_wrapped(_plain(f"{a.verdict.outcome}: {a.model.name} (why: above)")))
            continue
        said = explain(a)
        lines = [f"[{r.outcome}] {r.name}: {r.detail}" for r in a.verdict.requirements
                 if r.outcome != "PASS" or r.name in ("accuracy drop", "error increase")]  # fmt: skip
        lines += [s for s in (said.meaning, said.cause, said.remedy, *said.waterfall) if s]
        lines += [f"{a.verdict.outcome}: {a.model.name}"]
        parts.append("\n".join(_wrapped(_plain(line)) for line in lines))
    if len(run.assessments) != 1:
        outcome, every = overall(run), len(run.assessments)
        of = sum(a.verdict.outcome == outcome for a in run.assessments)
        parts.append(f"{outcome}: {f'{of} of ' * (of < every)}{every} models")
    return parts


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
