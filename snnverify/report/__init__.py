"""What people read of a run: tables, plots, text, HTML, and a record that the gate judges again."""

from .store import Stored, judge_again, load, write
from .tables import tables
from .text import render_text

__all__ = ["Stored", "judge_again", "load", "render_text", "tables", "write"]
