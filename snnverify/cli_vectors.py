"""The part of the shell face about recorded vectors: thin, too."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .content import write_atomic
from .errors import ConfigError, Unsupported

PAGE = """# Recorded vectors

What Intel recorded in the wheel of lava-dl 0.6.0, and how much of it our simulator gives. Made by
`snnverify vectors verify --mutants --out docs/vectors.md`; the conventions stand in `snnverify/exchange/recordings.py`.
*End to end* starts from the network's input, *alone* from the recorded values of the layer's source (not for a first
layer, nor where they were not recorded). Not read: `complex_dense`, whose neurons resonate, which no activation here does;
`mnist.net`, of which nothing was recorded; the 15 steps of `tinynet_sdnn/layer1.npy` that its recorder did not run.

"""
BROKEN = """
## Broken on purpose

Values that differ with one convention broken at a time: of the simulator's {whole:,} end to end and {alone:,} layer by
layer, and of {units:,} in single units run in exact arithmetic. Empty: the bug is out of reach. A dash: none differs; the
vectors cannot tell such a bug, because they hold no weight or bias exponent but 0 and 6, no refDelay but 1, no odd
weight, no state beyond 2^21, no recurrence, and no reset where a current outlives its step. The checks `quantized.*`
tell it. Traces tell no currents: a bias in a current that lasts a single step changes nothing in them either.

"""
LOIHI = ("kernels/loihi.py", "reference/loihi.py")
REFUSED = -1
MODES = ("end to end", "alone")
Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]


def register(add: Add) -> None:
    """Add the command."""
    p = add(_vectors, "vectors", "Values that other people recorded: fetch them, list them, reproduce them.")
    p.add_argument("action", choices=("fetch", "list", "verify"))
    p.add_argument("source", nargs="?", default="lava-dl", help="whose (lava-dl)")
    p.add_argument(
        "--wheel", type=Path, help="fetch: the wheel where it is on disk already; nothing is downloaded then"
    )
    p.add_argument("--oracle", default="snnverify", help="verify: the implementation under test (snnverify)")
    p.add_argument("--mutants", action="store_true", help="verify: break every convention, and count what differs")
    p.add_argument("--jobs", type=int, default=2, help="verify --mutants: processes (2)")
    p.add_argument("--out", type=Path, help="verify: write the tables there, in Markdown")


def _vectors(*, action: str, source: str, wheel: Path | None, command: str, **options: Any) -> int:
    from .exchange import vectors

    vectors.source(source)
    if wheel is not None and action != "fetch":
        raise ConfigError(f"wheel = {str(wheel)!r}: it goes with `snnverify vectors fetch`")
    if action == "fetch":
        print(vectors.fetch(source, wheel, lambda line: print(line, file=sys.stderr, flush=True)))
        return 0
    return _list(source) if action == "list" else _verify(**options)


def _list(source: str) -> int:
    from .exchange import vectors
    from .report import render_rows

    found = vectors.source(source)
    rows = vectors.status(source)
    print(render_rows([(f, state, f"{size:,}" if size else "", found.files[f][:16]) for f, state, size in rows],
                      ["file", "state", "bytes", "sha256"]))  # fmt: skip
    print(f"{found.folder}: {sum(state == 'ok' for _, state, _ in rows)} of {len(rows)} files, {found.licence}")
    return 0 if all(state == "ok" for _, state, _ in rows) else 1


def _verify(*, oracle: str, mutants: bool, jobs: int, out: Path | None) -> int:
    from .checks.vectors import rows
    from .config import read_config
    from .exchange.recordings import SETS
    from .fingerprint.present import markdown
    from .oracles import get
    from .report import render_rows

    read_config()
    found = [row for name in SETS for row in rows(name, get(oracle))]
    heading = ["recording", "file", "layer", "quantity", "recorded", "end to end", "alone"]
    cells = list(_cells(found))
    print(render_rows(cells, heading))
    print("\n".join(dict.fromkeys(row.why for row in found if row.why)))
    if all(row.differ is None for row in found):
        raise Unsupported(oracle, "it expresses none of the recordings", "ask for another implementation")
    page = PAGE + markdown(heading, cells) + "\n"
    if mutants:
        broken, sizes = _broken(jobs)
        heading = ["broken", "what", "end to end", "alone", "units"]
        print(render_rows(broken, heading))
        page += BROKEN.format(**sizes) + markdown(heading, broken) + "\n"
    if out is not None:
        write_atomic(out, page)
    return 1 if any(row.differ for row in found) else 0


def _cells(found: Iterable[Any]) -> Iterator[tuple[str, ...]]:
    """One line an array, reproduced / recorded in both modes; then the sums."""
    arrays: dict[tuple[str, str], dict[str, Any]] = {}
    for row in found:
        arrays.setdefault((row.recording, row.file), {})[row.mode] = row
    for (recording, file), modes in arrays.items():
        row = modes["end to end"]
        yield (recording, file, row.layer, row.quantity, f"{row.values:,}", *(_said(modes.get(m)) for m in MODES))
    recorded = [m["end to end"].values for m in arrays.values()]
    yield ("all", f"{len(arrays)} arrays", "", "", f"{sum(recorded):,}", *(
        f"{sum(m[mode].values - m[mode].differ for m in arrays.values() if mode in m and m[mode].differ is not None):,}"
        for mode in MODES))  # fmt: skip


def _said(row: Any) -> str:
    if row is None or row.differ is None:
        return "" if row is None else "unsupported"
    return f"{row.values - row.differ:,}"


def _broken(jobs: int) -> tuple[list[tuple[str, ...]], dict[str, int]]:
    """Count what differs under every mutant of integer dynamics and recordings, and how many values there are."""
    from .mutation import mutants

    chosen = [m for m in mutants() if m.family == "vectors" or {file for file, _, _ in m.edits} & set(LOIHI)]
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        counts = pool.imap(_counted, [{}, *(m.sources() for m in chosen)], chunksize=1)
        sizes, lines = next(counts), []
        for m, found in zip(chosen, counts, strict=True):
            lines.append((m.name, m.bug, *(_number(found.get(k)) for k in sizes)))
            print(*lines[-1][:1], *lines[-1][2:], sep="; ", file=sys.stderr, flush=True)
    return lines, {name: values for name, (_, values) in sizes.items()}


def _number(count: tuple[int, int] | None) -> str:
    return "" if count is None else {0: "-", REFUSED: "refused"}.get(count[0], f"{count[0]:,}")


def _counted(sources: dict[str, str]) -> dict[str, tuple[int, int]]:
    """In a process of its own: values that differ, of how many, end to end, layer by layer and in single units."""
    from .mutation import patch

    patch(sources)
    from snnverify import reference
    from snnverify.checks.vectors import rows, sampled
    from snnverify.errors import SnnverifyError  # of the package as it is now
    from snnverify.exchange.recordings import SETS
    from snnverify.oracles import get

    rooms = {Path(path).parent.name for path in sources}
    counts = {}
    if rooms != {"reference"}:  # which the simulator never reaches
        found = [row for name in SETS for row in rows(name, get("snnverify"))]
        for key, mode in (("whole", MODES[0]), ("alone", MODES[1])):
            mine = [r for r in found if r.mode == mode]
            counts[key] = sum(r.values if r.differ is None else r.differ for r in mine), sum(r.values for r in mine)
    if not rooms or rooms & {"reference", "exchange"}:
        refused = 0
        units: list[Any] = []
        try:
            units += sampled(reference.unit)
        except SnnverifyError:  # what the bug makes of a recording cannot be run any more
            refused = REFUSED
        counts["units"] = refused or sum(differ for *_, differ in units), sum(values for _, _, values, _ in units)
    return counts
