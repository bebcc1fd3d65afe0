"""What people read of a run: tables, plots, text, HTML, and a record that the gate judges again."""

from .libraries import render_defects, render_laws, render_matrix, render_outcomes, render_rows
from .record import Stored
from .store import check_target, judge_again, load, write
from .tables import tables
from .text import render_summary, render_text, render_verdicts

__all__ = [
    "Stored", "check_target", "judge_again", "load", "render_defects", "render_laws", "render_matrix", "render_outcomes",
    "render_rows", "render_summary", "render_text", "render_verdicts", "tables", "write",
]  # fmt: skip
