"""What lies in the folder of goldens, and whether it may be believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import oracles, reference
from ..errors import GoldenError, NetworkError
from ..network import Integer, Layer, Network, Neuron
from ..oracles.recorded import RECEIVED, Golden, folder, names, read
from ..schema import breaches
from ..trace import Case, Trace, compare
from .grid import grid

SCHEMA = "schema.json"
FAILING = frozenset({"fault", "drifted", "missing"})  # states of a row that are no success
MOST_BYTES = 100_000  # of each file
MOST_IN_ALL = 2_000_000
SUFFIXES = (".json", ".npz")


@dataclass(frozen=True)
class Row:
    """What one command says of one case.

    Parameters
    ----------
    oracle, case : str
    state : str
        What `record`, `diff`, `accept`, `reject` and `verify` say.
    detail : str
    """

    oracle: str
    case: str
    state: str
    detail: str = ""


def entries(root: Path | None = None) -> tuple[str, ...]:
    """Return what is in the folder, ``<oracle>/<case>``, whether it is whole or not.

    Raises
    ------
    GoldenError
        There is no golden at all.
    """
    base = root or folder()
    found = {p.relative_to(base) for p in base.rglob("*") if p.is_file()} - {Path(SCHEMA)}
    names = {str(p.with_suffix("") if p.suffix in SUFFIXES else p) for p in found}
    if not names:
        raise GoldenError(f"{base}: no golden in it; record some with `snnverify golden record ORACLE`")
    return tuple(sorted(names))


def verify(root: Path | None = None) -> tuple[Row, ...]:
    """Judge every entry of the folder; a row of state ``fault`` names the command that mends it."""
    base, rows = root or folder(), []
    for entry in entries(base):
        oracle, _, case = entry.rpartition("/")
        try:
            rows.append(Row(oracle, case, "ok", f"confirmed by {verify_entry(entry, base)}"))
        except GoldenError as e:
            rows.append(Row(oracle, case, "fault", str(e)))
    size = sum(p.stat().st_size for p in base.rglob("*") if p.is_file())
    if size > MOST_IN_ALL:
        rows.append(
            Row("", "", "fault", f"{size} bytes in all, over {MOST_IN_ALL}: make the cases of the grid smaller")
        )
    return tuple(rows)


def verify_entry(entry: str, root: Path | None = None) -> str:
    """Judge one golden, ``<oracle>/<case>``; return by whom it is confirmed.

    Raises
    ------
    GoldenError
        An orphan, a received file, an oracle or a case that nobody knows, a file over 100 kB, text that breaks the
        schema or does not fit the arrays, content that is not what was reviewed, spikes that are not confirmed.
    """
    base = root or folder()
    oracle, _, case = entry.rpartition("/")
    here, again = f"golden {entry}", f"`snnverify golden record {oracle}`"
    if oracle not in oracles.names():
        raise GoldenError(f"{here}: no oracle has the name {oracle!r}; take it away with `git rm -r golden/{entry}*`")
    if case.endswith(RECEIVED):
        case = case.removesuffix(RECEIVED)
        raise GoldenError(f"{here}: received and not accepted; see `snnverify golden diff {oracle}`, then `snnverify "
                          f"golden accept {oracle} {case} --why REASON` or `snnverify golden reject`")  # fmt: skip
    files = [Path(f"{base / entry}{suffix}") for suffix in SUFFIXES]
    for file, other in zip(files, reversed(files), strict=True):
        if not file.is_file():
            raise GoldenError(f"{here}: there is no {file.name}; record it anew with {again}, or take the rest away "
                              f"with `git rm golden/{oracle}/{other.name}`")  # fmt: skip
        if file.stat().st_size > MOST_BYTES:
            raise GoldenError(f"{here}: {file.name} has {file.stat().st_size} bytes, over {MOST_BYTES}; make the case "
                              f"smaller in the grid, then {again}")  # fmt: skip
    text, golden = read(oracle, case, base)
    for breach in breaches(text, schema(base), here):
        raise GoldenError(f"{breach}; record it anew with {again}")
    if case not in grid() or grid()[case].case != golden.case:
        raise GoldenError(f"{here}: the grid has no such case any more; record what it has with {again}, or take this "
                          f"away with `git rm golden/{entry}.*`")  # fmt: skip
    wanted = {"oracle": oracle, "case": case, "guards": grid()[case].guards, **describe(golden)}
    for key, value in wanted.items():
        if text[key] != value:
            raise GoldenError(
                f"{here}: its json says {key} = {text[key]!r}, and it is {value!r}; record it with {again}"
            )
    by: str = text["accepted"]["confirmed_by"]
    if why := parting(oracle, case, golden, by, base):
        raise GoldenError(f"{here}: {by} does not confirm it ({why}); record it anew with {again}")
    return by


def parting(oracle: str, case: str, golden: Golden, by: str, root: Path) -> str:
    """Tell how a golden parts from the reference, or from another library's golden; empty where not.

    Every spike is compared, and every potential that both tell.

    Raises
    ------
    GoldenError
        `by` is the library itself, of whatever version, or our own simulator; or it has no golden of this case.
    """
    if by == "snnverify" or by.startswith(oracle) or oracle.startswith(by):
        raise GoldenError(f"golden {oracle}/{case}: {by!r} cannot confirm it, being what is under test; name another "
                          "library with `--confirm`")  # fmt: skip
    if by == "reference":
        other = _reference(golden.case)
    else:
        if by not in oracles.names():
            raise GoldenError(f"golden {oracle}/{case}: no oracle has the name {by!r}; see `snnverify oracle list`")
        # two libraries may confirm each other: whichever is accepted first finds the other one only received
        second = read(by, case if case in names(by, root) else case + RECEIVED, root)[1]
        if second.case != golden.case:
            raise GoldenError(f"golden {by}/{case}: it is of another case; use `snnverify golden record {by}` first")
        other = second.trace
    try:
        parted = compare(golden.case.network, golden.trace, other)
    except NetworkError as e:
        return str(e)
    if parted.spikes_differ:
        return str(parted)
    for part in ("v", "v_peak"):
        ours, theirs = getattr(golden.trace, part), getattr(other, part)
        if unlike := sorted(k for k in {*ours} & {*theirs} if not np.array_equal(ours[k], theirs[k])):
            return f"the spikes agree, and {part} of {', '.join(unlike)} differs"
    return ""


@lru_cache(256)
def _reference(case: Case) -> Trace:
    """Several libraries record one case; the exact reference runs it once."""
    return reference.run(case)


def describe(golden: Golden) -> dict[str, Any]:
    """Return the text of a json that follows from its arrays: what a reviewer reads."""
    case, network = golden.case, golden.case.network
    return {
        "stimulus": f"{case.encoding} {list(case.x.shape)}, {case.steps} steps, {case.dtype}",
        "layers": {layer.name: " ".join(_words(network, layer)) for layer in network.layers},
        "spikes": {name: f"{int(s.sum())} in {s.size} entries; by step "
                   + " ".join(str(int(k)) for k in s.reshape(len(s), -1).sum(1))
                   for name, s in golden.trace.spikes.items()},
    }  # fmt: skip


def _words(network: Network, layer: Layer) -> Iterator[str]:
    yield " + ".join(f"{type(b.op).__name__}({b.source})" for b in layer.branches)
    yield f"-> {list(network.shapes[layer.name])}"
    if isinstance(layer.act, (Neuron, *Integer)):
        axes = {f.name: getattr(layer.act, f.name) for f in fields(layer.act)}
        told = (f"{f.name}={_value(axes[f.name])}" for f in fields(layer.act) if np.any(axes[f.name] != f.default))
        yield f"{type(layer.act).__name__}({', '.join(told)})"


def _value(v: Any) -> str:
    return repr(v.tolist() if isinstance(v, np.ndarray) else v)


@cache
def schema(root: Path) -> dict[str, Any]:
    """Return the JSON schema of a golden's text, as it is shipped."""
    file = root / SCHEMA if (root / SCHEMA).is_file() else folder() / SCHEMA
    tree: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return tree
