"""Known defects of the libraries: strict expected failures, in ``reproduced/*.toml`` beside the code that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("reproduced")
REPRODUCED = "findings.reproduced"  # the check that runs every minimal case; its measures are named by the ids


@dataclass(frozen=True)
class Defect:
    """A law or documented behaviour that a library breaks.

    Parameters
    ----------
    id : str
        Of the strict expected failure, ``findings.reproduced[id]``.
    oracles : tuple of str
        Who breaks it.
    title, case, measured, source, upstream : str
        What is wrong; the minimal case; what came out against what the law says; where in the library's source; the
        library's own issue, if one is known.
    laws : tuple of str
        Other checks that fail because of it, ``check`` or ``check: pattern`` of `Measure.where`. A check without a
        pattern is broken in every place; but where there is `raises`, by that exception alone.
    raises : str
        Part of the message where it breaks those checks by an exception; any other exception is an error.
    """

    id: str
    oracles: tuple[str, ...]
    title: str
    case: str
    measured: str
    source: str
    upstream: str
    laws: tuple[str, ...] = ()
    raises: str = ""

    def breaks(self, check: str) -> bool:
        """Whether a check fails because of this defect, somewhere or by an exception."""
        return check == REPRODUCED or any(law.partition(": ")[0] == check for law in self.laws)

    def covers(self, check: str, where: str) -> bool:
        """Whether a measure at this place is expected to break the check."""
        if check == REPRODUCED:
            return where == self.id
        places = [law.partition(": ")[2] for law in self.laws if law.partition(": ")[0] == check]
        return any(fnmatchcase(where, place) if place else not self.raises for place in places)


@cache
def defects() -> tuple[Defect, ...]:
    """All of them, in the order of the files."""
    import tomllib  # not in the Python 3.10 of a worker

    found = []
    for file in sorted(FOLDER.glob("*.toml")):
        for entry in tomllib.loads(file.read_text("utf-8")).get("finding", []):
            lists: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
            found.append(Defect(**lists))
    return tuple(found)


def defects_of(oracle: str, check: str) -> tuple[Defect, ...]:
    """Return the defects by which this oracle is known to break this check."""
    return tuple(d for d in defects() if oracle in d.oracles and d.breaks(check))
