"""Goldens: traces recorded from each library over a designed grid, confirmed by the reference, accepted by a person.

`record` writes received files, `diff` shows how they part from the accepted ones, `accept` makes them truth and says
why, `verify` finds whatever is damaged, orphaned or not confirmed. Tests write none of them.
"""

from ..oracles.recorded import folder
from .files import FAILING, Row, entries, verify, verify_entry
from .grid import Design, grid
from .life import accept, diff, record, reject

__all__ = [
    "FAILING",
    "Design",
    "Row",
    "accept",
    "diff",
    "entries",
    "folder",
    "grid",
    "record",
    "reject",
    "verify",
    "verify_entry",
]
