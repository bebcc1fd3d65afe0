"""The recorded host: an oracle that answers from goldens, so that a library's traces speak where it is not installed.

A golden is ``<oracle>/<case>.npz``, a `Golden`, beside ``<case>.json``, reviewed text with a sha256 of every array.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..content import Content, load
from ..errors import CodecError, GoldenError, Unsupported
from ..trace import Case, Record, Trace
from . import Oracle

PREFIX = "recorded:"
RECEIVED = ".received"


@dataclass(frozen=True, eq=False)
class Golden(Content):
    """A case and the trace that a library gave."""

    case: Case
    trace: Trace


def folder() -> Path:
    """Return where the accepted goldens lie: in the installed package, else at the top of the checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "goldens"
    return shipped if shipped.is_dir() else package.parent / "golden"


def names(oracle: str, root: Path | None = None) -> tuple[str, ...]:
    """Return the cases that an oracle has an accepted golden of."""
    found = ((root or folder()) / oracle).glob("*.json")
    return tuple(sorted(p.stem for p in found if not p.stem.endswith(RECEIVED)))


def recorded_oracles(root: Path | None = None) -> tuple[str, ...]:
    """Return the oracles that have accepted goldens."""
    base = root or folder()
    return tuple(p.name for p in sorted(base.glob("*")) if p.is_dir() and names(p.name, base))


def hashes(path: Path) -> dict[str, str]:
    """Sha256 of the content of every array of an ``.npz`` (type, shape, bytes), the tree of its fields among them.

    Of the content, because compression may differ from one machine to the next.
    """
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as npz:
        arrays = {name: npz[name] for name in sorted(npz.files)}
    return {name: hashlib.sha256(f"{a.dtype.str}{a.shape}".encode() + a.tobytes()).hexdigest()
            for name, a in arrays.items()}  # fmt: skip


def read(oracle: str, name: str, root: Path | None = None) -> tuple[dict[str, Any], Golden]:
    """Read one golden (``name`` with its ``.received`` where it is not accepted yet).

    Returns
    -------
    text : dict
        What the json says.
    golden : Golden

    Raises
    ------
    GoldenError
        A file that is missing or damaged, or an array that is not the one that was reviewed.
    """
    base = (root or folder()) / oracle / name
    mend = f"record it anew with `snnverify golden record {oracle}`"
    try:
        # not `with_suffix`: the name of a received file holds a dot
        text = json.loads(Path(f"{base}.json").read_text("utf-8"))
        golden = load(f"{base}.npz", Golden)
        found = hashes(Path(f"{base}.npz"))
    except (OSError, ValueError, CodecError) as e:
        raise GoldenError(f"golden {oracle}/{name}: {e}; {mend}") from None
    told = text.get("arrays") if isinstance(text, dict) else None
    if not isinstance(told, dict):
        raise GoldenError(f"golden {oracle}/{name}: its json names no arrays; {mend}")
    unlike = sorted(k for k in {*found, *told} if found.get(k) != told.get(k))
    if unlike:
        raise GoldenError(f"golden {oracle}/{name}: {', '.join(unlike)}: not the content that was reviewed; {mend}")
    return text, golden


def oracle(name: str, root: Path | None = None) -> Oracle:
    """Oracle ``recorded:<name>``: it answers the cases of its goldens and no others.

    Raises
    ------
    GoldenError
        There is none, or one is damaged.
    """
    known: dict[Case, Trace] = {}
    versions = set()
    for case in names(name, root):
        golden = read(name, case, root)[1]
        known[golden.case] = golden.trace
        versions.add(golden.trace.provenance.version if golden.trace.provenance else "unknown")
    if not known:
        raise GoldenError(
            f"oracle = {PREFIX + name!r}: nothing is recorded; use `snnverify golden record {name}` first"
        )

    def run(case: Case, record: Record = "full") -> Trace:
        if case not in known:
            raise Unsupported(PREFIX + name, "this case was never recorded", f"run it on {name!r} itself")
        trace = known[case]
        if record != "full":
            trace = replace(trace, v={}, v_peak={})
        return replace(trace, spikes={}) if record == "counts" else trace

    return Oracle(PREFIX + name, ", ".join(sorted(versions)), simulator=run)
