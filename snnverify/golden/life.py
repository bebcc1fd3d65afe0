"""The life of a golden: recorded, compared, accepted."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..content import save, write_atomic
from ..errors import GoldenError, NetworkError, Unsupported
from ..oracles import Oracle, family_of
from ..oracles.hosts import versions
from ..oracles.recorded import RECEIVED, Golden, folder, hashes, names, read
from ..trace import Case, Trace, compare
from .files import Row, describe, parting, verify_entry
from .grid import grid

FORM = "snnverify.golden/1"


def record(oracle: Oracle, root: Path | None = None, check: bool = False) -> tuple[Row, ...]:
    """Run every case of the grid that an oracle can express.

    Parameters
    ----------
    oracle : Oracle
    root : Path, optional
        Folder of the goldens.
    check : bool
        Write nothing, and tell instead where the library no longer does what its accepted goldens say.

    Returns
    -------
    tuple of Row
        ``unsupported``; ``unchanged``: as accepted; ``received``: written beside the accepted one, which stays. With
        `check`, in place of ``received``: ``drifted``; where there is no golden yet, ``missing``, or ``unconfirmed``
        where the reference would not confirm one, which is a finding about the library and no drift.
    """
    base, rows = root or folder(), []
    accepted = set(names(oracle.name, base))
    for name, design in grid().items():
        received = base / oracle.name / f"{name}{RECEIVED}"
        old, change = _truth(oracle.name, name, base) if name in accepted else (None, "not accepted yet")
        try:
            golden = Golden(design.case, _trace(oracle, design.case))
        except Unsupported as e:
            rows.append(Row(oracle.name, name, "drifted" if name in accepted else "unsupported", str(e)))
            continue
        change = difference(old, golden) if old else change
        if not change:
            rows.append(Row(oracle.name, name, "unchanged"))
            if not check:
                _delete(received)
        elif check and name in accepted:
            rows.append(Row(oracle.name, name, "drifted", change))
        elif check:
            told = parting(oracle.name, name, golden, "reference", base)
            rows.append(Row(oracle.name, name, "unconfirmed" if told else "missing", told or change))
        else:
            _write(received, golden, {"guards": design.guards, "versions": _versions(oracle)})
            rows.append(Row(oracle.name, name, "received", change))
    rows += [Row(oracle.name, name, "drifted", "the grid has no such case any more")
             for name in sorted(accepted - set(grid()))]  # fmt: skip
    return tuple(rows)


def _truth(oracle: str, name: str, root: Path) -> tuple[Golden | None, str]:
    """Return an accepted golden and "", or why it may not be believed: then what is received can take its place."""
    try:
        verify_entry(f"{oracle}/{name}", root)
        return read(oracle, name, root)[1], ""
    except GoldenError as e:
        return None, str(e)


def _trace(oracle: Oracle, case: Case) -> Trace:
    if oracle.families:
        for layer in case.network.spiking:
            family_of(layer.act, oracle.families)
    return oracle.run(case, "full")


def difference(old: Golden, new: Golden) -> str:
    """Tell how two goldens of one name differ, who made them left aside; empty where they do not."""
    if old.case != new.case:
        return "the case of the grid has changed"
    a, b = (replace(g.trace, provenance=None) for g in (old, new))
    if a == b:
        return ""
    try:
        parted = compare(old.case.network, a, b)
    except NetworkError as e:
        return str(e)
    if parted.spikes_differ:
        return str(parted)
    unlike = [f.name for f in fields(Trace) if replace(a, **{f.name: getattr(b, f.name)}) != a]
    return f"the spikes agree, and {', '.join(unlike)} differ"


def diff(oracle: str, root: Path | None = None) -> tuple[Row, ...]:
    """Compare each received golden with the accepted one, or with the reference where there is none.

    Raises
    ------
    GoldenError
        Nothing was received, or a file is damaged.
    """
    base, rows = root or folder(), []
    for name in _chosen(oracle, (), base):
        new = read(oracle, name + RECEIVED, base)[1]
        if name in names(oracle, base):
            old, told = _truth(oracle, name, base)
            told, against = difference(old, new) if old else told, "the accepted one"
        else:
            told, against = parting(oracle, name, new, "reference", base), "reference"
        rows.append(Row(oracle, name, "differs" if told else "same", f"{told or 'equal'}, against {against}"))
    return tuple(rows)


def accept(
    oracle: str, cases: Sequence[str] = (), *, why: str, confirm: str = "reference", root: Path | None = None
) -> tuple[Row, ...]:
    """Make received goldens the truth: all of those that are named, or none.

    Parameters
    ----------
    oracle : str
    cases : sequence of str
        Names; every received one by default.
    why : str
        Why this is the truth now; it goes into the json, with the date.
    confirm : str
        ``reference``, or a second library that has an accepted golden of the same case.
    root : Path, optional

    Raises
    ------
    GoldenError
        No reason, nothing received under that name, or spikes that are not confirmed.
    """
    base = root or folder()
    if not why.strip():
        raise GoldenError(
            f"why = {why!r}: say why this is the truth now: `snnverify golden accept {oracle} --why REASON`"
        )
    texts = {}
    for name in _chosen(oracle, cases, base):
        texts[name], golden = read(oracle, name + RECEIVED, base)
        if told := parting(oracle, name, golden, confirm, base):
            raise GoldenError(
                f"golden {oracle}/{name}: {confirm} does not confirm it ({told}); where the library is right, name a second "
                f"one: `snnverify golden accept {oracle} {name} --why REASON --confirm LIBRARY`, else "
                f"`snnverify golden reject {oracle} {name}`"
            )
    for name, text in texts.items():
        source, target = base / oracle / f"{name}{RECEIVED}", base / oracle / name
        text["accepted"] = {"on": _today(), "why": why.strip(), "confirmed_by": confirm}
        Path(f"{source}.npz").replace(f"{target}.npz")
        _write_text(target, text)
        _delete(source)
    return tuple(Row(oracle, name, "accepted", f"confirmed by {confirm}") for name in texts)


def reject(oracle: str, cases: Sequence[str] = (), root: Path | None = None) -> tuple[Row, ...]:
    """Take received goldens away, every one by default; accepted ones stay.

    Raises
    ------
    GoldenError
        Nothing was received under that name.
    """
    base = root or folder()
    chosen = _chosen(oracle, cases, base)
    for name in chosen:
        _delete(base / oracle / f"{name}{RECEIVED}")
    return tuple(Row(oracle, name, "rejected") for name in chosen)


def _chosen(oracle: str, cases: Sequence[str], root: Path) -> tuple[str, ...]:
    """Names that are given, all of which must have been received; without one, all that were."""
    waiting = sorted(p.name.removesuffix(f"{RECEIVED}.json") for p in (root / oracle).glob(f"*{RECEIVED}.json"))
    unknown = sorted(set(cases) - set(waiting))
    if unknown or not waiting:
        at = f"{oracle}/{unknown[0]}" if unknown else oracle
        raise GoldenError(f"golden {at}: nothing was received; `snnverify golden record {oracle}` first")
    return tuple(cases) or tuple(waiting)


def _write(base: Path, golden: Golden, told: dict[str, Any]) -> None:
    save(golden, f"{base}.npz")
    oracle = base.parent.name
    _write_text(base, {
        "schema": FORM, "oracle": oracle, "case": base.name.removesuffix(RECEIVED), **told,
        "command": f"snnverify golden record {oracle}", "recorded": _today(), "accepted": None, **describe(golden),
        "arrays": hashes(Path(f"{base}.npz")),
    })  # fmt: skip


def _write_text(base: Path, text: dict[str, Any]) -> None:
    write_atomic(f"{base}.json", json.dumps(text, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _delete(base: Path) -> None:
    for suffix in (".json", ".npz"):
        Path(f"{base}{suffix}").unlink(missing_ok=True)


def _versions(oracle: Oracle) -> dict[str, str]:
    """Of the library and what it runs on; an oracle in this process runs on ours."""
    there = versions(oracle) or {"python": platform.python_version(), "numpy": np.__version__}
    return {"library": oracle.version, **{k: there[k] for k in ("python", "numpy", "torch") if there.get(k)}}


def _today() -> str:
    return datetime.date.today().isoformat()
