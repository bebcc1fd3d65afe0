"""Known defects of the libraries: strict expected failures, each owned by one oracle, listed in ``findings.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tomllib

FILE = Path(__file__).with_name("findings.toml")


@dataclass(frozen=True)
class Defect:
    """A law that a library breaks.

    Parameters
    ----------
    id : str
        Of the strict expected failure.
    oracle, check : str
        Who breaks which law.
    title, case, measured, source, upstream : str
        What is wrong; the minimal case; what came out against what the law says; where in the library's source; the
        library's own issue, if one is known.
    """

    id: str
    oracle: str
    check: str
    title: str
    case: str
    measured: str
    source: str
    upstream: str


@cache
def defects() -> tuple[Defect, ...]:
    """All of them, in the order of the file."""
    return tuple(Defect(**entry) for entry in tomllib.loads(FILE.read_text("utf-8")).get("finding", []))


def defects_of(oracle: str, check: str) -> tuple[Defect, ...]:
    """Return the defects by which this oracle is known to break this check."""
    return tuple(d for d in defects() if (d.oracle, d.check) == (oracle, check))
