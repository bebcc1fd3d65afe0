"""What a manifest records, key by key, against what two nets show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Measure
from .compare import Pair

# When and by what it was made says nothing of the nets. Where a constant came from is the conversion's to say, unless the
# file before has a manifest: then that says it, and what led to it.
FREE = re.compile(r"(versions|device|command|source)(\..*)?|.*\.(from|meaning)")
HELD = re.compile(r"source\.sha256|source\.earlier\..*")
ORIGIN = re.compile(r"(T|threshold|decay)\.from")
OF_BEFORE = re.compile(
    r"units\..*\.(before|kind|inplace)|inplace\..*|statistics\..*|source\.sha256|source\.earlier\..*"
)


def record(pair: Pair) -> Iterator[Measure]:
    """Units, activation, constants, comparison, reset, counts, digests and what led to the file before, as recorded, are those of the two files [what a manifest is for; all of it is made again from the files]."""
    if pair.said is None or pair.shown is None:
        yield Measure("records", 0.0, detail="no manifest")
        return
    said, shown = (dict(_leaves(json.loads(json.dumps(m)))) for m in (pair.said, pair.shown))
    whole = converted(pair.said)
    led = any(k.startswith("source.earlier.") for k in shown)
    for key in sorted(said.keys() | shown.keys()):
        held = HELD.fullmatch(key) or (led and ORIGIN.fullmatch(key))
        if (FREE.fullmatch(key) and not held) or ((OF_BEFORE.fullmatch(key) or ORIGIN.fullmatch(key)) and not whole):
            continue
        told, found = said.get(key, "nothing"), shown.get(key, "nothing")
        yield Measure("not what the files show", float(told != found), where=key, detail=f"says {told}, is {found}")


def converted(said: Mapping[str, Any] | None) -> bool:
    """Whether a manifest tells of a conversion; else it says what a net is, and nothing of one before."""
    source = None if said is None else said.get("source")
    return isinstance(source, Mapping) and bool(source.get("sha256"))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What nested mappings and lists hold, by dotted path."""
    for key, value in tree.items():
        if isinstance(value, (Mapping, list)):
            below = value if isinstance(value, Mapping) else {str(i): v for i, v in enumerate(value)}
            yield from _leaves(below, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
