"""What is known of the libraries, as Markdown pages and terminal tables: defects, oracles, check counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import groupby
from typing import Any

from tabulate import tabulate

from ..checks import ROOMS, Check
from ..findings import OUTCOMES, Finding
from ..oracles.known import Defect

_LABELS = {"case": "Minimal case", "measured": "Measured", "source": "Source", "upstream": "Upstream"}


def render_laws(checks: Sequence[Check]) -> str:
    """Page of all checks by room, in Markdown; a room's heading is what its module says of itself."""
    lines = [
        "# Laws",
        "",
        "Every check, with its claim and its source. Made by `snnverify list --markdown`; a test holds it to that.",
    ]

    def room_of(c: Check) -> str:
        return c.name.partition(".")[0]

    for room, of_room in groupby(sorted(checks, key=lambda c: ROOMS.index(room_of(c))), key=room_of):
        said = (import_module(f"..checks.{room}", __package__).__doc__ or "").splitlines()[0].rstrip(".")
        lines += ["", f"## `{room}`: {said}", ""] + [f"- `{c.name}`: {c.claim} *{c.source}*" for c in of_room]
    return "\n".join(lines) + "\n"


def render_defects(defects: Iterable[Defect]) -> str:
    """Page of the laws that libraries break, in Markdown."""
    known = sorted(defects, key=lambda d: d.oracles)
    lines = [
        "# Findings", "",
        "Laws and documented behaviours that a library breaks. The minimal case of each is run against the library in",
        "every run of the suites, as a strict expected failure `findings.reproduced[id]`: a finding that no longer shows",
        "fails the run until it is struck from the list. Made by `snnverify oracle findings` from what lies in",
        "`snnverify/oracles/reproduced/`.", "",
        tabulate([[d.id, ", ".join(d.oracles), d.title] for d in known], ["id", "library", "what is wrong"],
                 tablefmt="github"),
    ]  # fmt: skip
    for oracles, of_one in groupby(known, key=lambda d: d.oracles):
        lines += ["", f"## {', '.join(oracles)}"]
        for d in of_one:
            lines += ["", f"### {d.id}: {d.title}", ""]
            lines += [f"- {label}: {' '.join(str(getattr(d, key)).split())}" for key, label in _LABELS.items()]
            lines += [f"- Breaks: {', '.join(f'`{law}`' for law in d.laws)}"] * bool(d.laws)
    return "\n".join(lines) + "\n"


def render_outcomes(findings: Sequence[Finding]) -> str:
    """Table of subjects and how often each outcome came up, with the number of cases and the time."""
    rows = []
    for subject in dict.fromkeys(f.subject for f in findings):
        mine = [f for f in findings if f.subject == subject]
        counts = [sum(f.outcome == o for f in mine) for o in OUTCOMES]
        rows.append([subject, len(mine), *counts, sum(f.cases for f in mine), f"{sum(f.seconds for f in mine):.1f}"])
    return str(tabulate(rows, ["subject", "checks", *OUTCOMES, "cases", "seconds"], tablefmt="simple"))


def render_matrix(findings: Sequence[Finding]) -> str:
    """Page of checks x subjects in Markdown: the outcome and on how many cases, or the defects that are expected."""
    subjects = list(dict.fromkeys(f.subject for f in findings))
    said = {(f.check, f.subject): _cell(f) for f in findings}
    rows = [[f"`{c}`", *(said.get((c, s), "") for s in subjects)] for c in dict.fromkeys(f.check for f in findings)]
    lines = [
        "# Laws x implementations", "",
        "A number is a pass on so many drawn cases; a dash, a law that the implementation has no part for or cannot",
        "express; a name, a known defect (`docs/findings.md`), expected to fail. Made by `pytest suites/ --oracle all",
        "--matrix FILE`.", "",
        str(tabulate(rows, ["law", *subjects], tablefmt="github", stralign="left", disable_numparse=True)), "", "```",
        render_outcomes(findings), "```",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _cell(f: Finding) -> str:
    ids = re.findall(r"(?:^|; |, )([A-Z]+\d*-\d+)(?=[:,]|$)", f.message) if f.outcome == "xfail" else []
    expected = ", ".join(ids) if len(ids) <= 3 else f"{len(ids)} findings"
    return {"pass": str(f.cases), "unsupported": "-", "xfail": expected}.get(f.outcome, f.outcome.upper())


def render_rows(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> str:
    """Plain table for a terminal."""
    return str(tabulate(rows, headers, tablefmt="simple", disable_numparse=True))
