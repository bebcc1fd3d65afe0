"""Where a net comes from, through every conversion that led to it: what one manifest says is not lost in the next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from .complete import Origins

SAID = {"steps": "T", "threshold": "threshold", "decay": "decay"}  # keys of constants, and of a manifest


def earlier(manifest: Mapping[str, Any]) -> list[Any]:
    """The manifests that led to a file, oldest first, its own last; none holds another.

    Raises
    ------
    DataError
        Something else than nested mappings, lists, texts and numbers.
    """
    try:
        own = json.loads(json.dumps(dict(manifest)))
    except (TypeError, ValueError, RecursionError) as e:
        raise DataError("its manifest is none: it holds something else than texts and numbers; convert it again") from e
    own.pop("files", None)
    source = own.get("source")
    before = source.pop("earlier", []) if isinstance(source, dict) else []
    if not isinstance(before, list) or not all(isinstance(m, dict) for m in before):
        raise DataError("source.earlier of its manifest is no list of manifests; convert it again")
    return [*before, own]


def origins(found: Origins, manifest: Mapping[str, Any]) -> Origins:
    """Where each constant came from in the first place: an assumed one stays assumed in whatever is made of the file."""
    first = {}
    for key, (value, origin) in found.items():
        told = manifest.get(SAID[key])
        same = isinstance(told, Mapping) and told.get("value") == value and isinstance(told.get("from"), str)
        first[key] = (value, told["from"] if same and told is not None else origin)
    return first


def told(steps: Sequence[Mapping[str, Any]]) -> str:
    """Files and conversions that led to one, in a line; nothing where there were none."""
    said = []
    for m in steps:
        source, statistics = m.get("source"), m.get("statistics")
        file = source.get("file", "a live module") if isinstance(source, Mapping) else "?"
        sha256 = str(source.get("sha256", ""))[:16] if isinstance(source, Mapping) else ""
        total = statistics.get("total") if isinstance(statistics, Mapping) else "?"
        said.append(f"{file}{f', sha256 {sha256}' if sha256 else ''}: {total} converted")
    return "".join(
        c if c.isprintable() else "?" for c in "; ".join(said)
    )  # a file may be called by codes of a terminal
