"""What a manifest records, key by key, against what two nets show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Measure
from .compare import Pair

# Where, when and by what it was made says nothing of the nets; where a constant came from is the conversion's to say.
FREE = re.compile(r"(versions|device|command|source)(\..*)?|.*\.(from|meaning)")
OF_BEFORE = re.compile(r"units\..*\.(before|kind|inplace)|inplace\..*|statistics\..*|source\.sha256")


def record(pair: Pair) -> Iterator[Measure]:
    """Units, activation, constants, comparison, reset, counts and digests that are recorded are those of the two files [what a manifest is for; all of it is made again from the files]."""
    if pair.said is None or pair.shown is None:
        yield Measure("records", 0.0, detail="no manifest")
        return
    said, shown = (dict(_leaves(json.loads(json.dumps(m)))) for m in (pair.said, pair.shown))
    for key in sorted(said.keys() | shown.keys()):
        free = FREE.fullmatch(key) and key != "source.sha256"
        if free or (OF_BEFORE.fullmatch(key) and not converted(pair.said)):
            continue
        told, found = said.get(key, "nothing"), shown.get(key, "nothing")
        yield Measure("not what the files show", float(told != found), where=key, detail=f"says {told}, is {found}")


def converted(said: Mapping[str, Any] | None) -> bool:
    """Whether a manifest tells of a conversion; else it says what a net is, and nothing of one before."""
    source = None if said is None else said.get("source")
    return isinstance(source, Mapping) and bool(source.get("sha256"))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What nested mappings hold, by dotted path."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
