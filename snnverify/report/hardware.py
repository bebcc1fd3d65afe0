"""Audits of claims and mappings as tables: for a terminal, and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ..hardware.audit import Finding, tally
from ..hardware.claims import Claims
from .libraries import render_rows
from .markdown import escape

_WIDTHS = (12, 20, 14, 20, 46)  # of the columns, 120 characters with what is between them
_HEADINGS = ("verdict", "claim", "said", "follows", "why")


def render_audit(claims: Claims, findings: Sequence[Finding]) -> str:
    """Table of every claim, inconsistent ones first, then the tally."""
    rows = [[textwrap.fill(_plain(cell), w) for cell, w in zip(_cells(f), _WIDTHS, strict=True)]
            for f in sorted(findings, key=_weight)]  # fmt: skip
    return f"{_plain(claims.title)}\n{render_rows(rows, _HEADINGS)}\n\n{tally(findings)}"


def markdown_audit(claims: Claims, findings: Sequence[Finding]) -> str:
    """Give the same as Markdown, in the order of the file, with what the report says in its own words."""
    lines = [f"## {escape(claims.title)}", "", f"Source: {escape(claims.source)}. {tally(findings).capitalize()}.", ""]
    return "\n".join([*lines, *table([(f.verdict, f.quote, *_cells(f)[3:]) for f in findings],
                                     ("verdict", "the report says", "follows", "why"))]) + "\n"  # fmt: skip


def table(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [headings, ["---"] * len(headings), *([escape(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cells(f: Finding) -> tuple[str, str, str, str, str]:
    return f.verdict, f.name, f.said, f.follows, f.reason + (f" ({f.note})" if f.note else "")


def _weight(f: Finding) -> int:
    return ("inconsistent", "unverifiable", "consistent").index(f.verdict)


def _plain(text: str) -> str:
    return "".join(ch for ch in " ".join(text.split()) if ch.isprintable())
