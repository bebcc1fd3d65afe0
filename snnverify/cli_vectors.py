"""The part of the shell face about recorded vectors: thin, too."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from .content import write_atomic
from .errors import ConfigError, OracleError, SnnverifyError, Unsupported

PAGE = """# Recorded vectors

What Intel recorded in the wheel of lava-dl 0.6.0, and how much of it our simulator gives. Made by
`snnverify vectors verify --mutants --out docs/vectors.md`; the conventions stand in `snnverify/exchange/recordings.py`.
*End to end* starts from the network's input; *alone* starts from the recorded values of the layer's source, and so covers
only layers whose source was recorded. Of the {values:,} recorded values {stood_in:,} are potentials of units that spike,
for which 128 was recorded: that stands for 0, and 0 is what they are compared with. Not read: `complex_dense`, whose
neurons resonate, which no activation here does; `mnist.net`, of which nothing was recorded; the 15 steps of
`tinynet_sdnn/layer1.npy` that its recorder did not run.

"""
BROKEN = """
## Broken on purpose

Values that differ with one convention broken at a time: of the simulator's {:,} end to end and {:,} layer by layer, and of
{:,} in single units run in exact arithmetic. Empty: the bug is out of reach. *refused*: what the bug makes of a recording
cannot be run. A dash: none differs; the vectors cannot tell such a bug, because they hold no weight or bias exponent but
0 and 6, no refDelay but 1, no odd weight, no state beyond 2^21, no recurrence, and no reset where a current outlives its
step. The checks `quantized.*` tell it. Traces tell no currents: a bias in a current that lasts a single step changes
nothing in them either.

"""
LOIHI = ("kernels/loihi.py", "reference/loihi.py")
REFUSED = "refused"
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
    from .exchange.recordings import SETS, recordings
    from .fingerprint.present import markdown
    from .oracles import get
    from .report import render_rows

    if jobs < 1:
        raise ConfigError(f"jobs = {jobs}: at least 1 process")
    read_config()
    found = [row for name in SETS for row in rows(name, get(oracle))]
    heading = ["recording", "file", "layer", "quantity", "recorded", "end to end", "alone"]
    cells = list(_cells(found))
    print(render_rows(cells, heading))
    print("\n".join(dict.fromkeys(row.why for row in found if row.why)))
    if all(row.differ is None for row in found):
        raise Unsupported(oracle, "it expresses none of the recordings", "ask for another implementation")
    read = [r for name in SETS for each in recordings(name) for r in each.recorded]
    totals = {"values": sum(r.values.size for r in read), "stood_in": sum(r.stood_in for r in read)}
    page = PAGE.format(**totals) + markdown(heading, cells) + "\n"
    if mutants:
        broken, sizes = _broken(jobs)
        heading = ["broken", "what", "end to end", "alone", "units"]
        print(render_rows(broken, heading))
        page += BROKEN.format(*sizes) + markdown(heading, broken) + "\n"
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
    whole, apart = ([m[mode] for m in arrays.values() if mode in m] for mode in MODES)
    yield ("all", f"{len(arrays)} arrays", "", "", f"{_values(whole):,}", f"{_same(whole):,}",
           f"{_same(apart):,} of {_values(apart):,} whose source was recorded")  # fmt: skip


def _values(found: Iterable[Any]) -> int:
    return sum(row.values for row in found)


def _same(found: Iterable[Any]) -> int:
    return sum(row.values - row.differ for row in found if row.differ is not None)


def _said(row: Any) -> str:
    if row is None or row.differ is None:
        return "" if row is None else "unsupported"
    return f"{row.values - row.differ:,}"


def _broken(jobs: int) -> tuple[list[tuple[str, ...]], list[int]]:
    """Count what differs under every mutant of integer dynamics and recordings, and how many values there are."""
    from .mutation import mutants

    chosen = [m for m in mutants() if m.family == "vectors" or {file for file, _, _ in m.edits} & set(LOIHI)]
    tasks = [("the package itself", {}), *((m.name, m.sources()) for m in chosen)]
    with ThreadPoolExecutor(jobs) as threads:
        counts = threads.map(lambda task: _apart(_counted, *task), tasks)
        sizes, lines = next(counts), []
        for m, found in zip(chosen, counts, strict=True):
            lines.append((m.name, m.bug, *(_number(found.get(k)) for k in sizes)))
            print(*lines[-1][:1], *lines[-1][2:], sep="; ", file=sys.stderr, flush=True)
    return lines, [values for _, values in sizes.values()]


def _apart(task: Callable[..., Any], name: str, *arguments: Any) -> Any:
    """What a task returns in a new process of its own."""
    try:
        # spawned: a fork of a process with threads may inherit a lock that nobody opens again
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as one:
            return one.submit(task, *arguments).result()
    except BrokenProcessPool as e:
        raise OracleError(f"{name}: its process died, most likely for want of memory; give fewer --jobs") from e


def _number(count: tuple[int | str, int] | None) -> str:
    if count is None or isinstance(count[0], str):
        return "" if count is None else str(count[0])
    return f"{count[0]:,}" if count[0] else "-"


def _counted(sources: dict[str, str]) -> dict[str, tuple[int | str, int]]:
    """In a process of its own: what `tally` finds in the package with other texts of some files."""
    from .mutation import patch

    patch(sources)
    from snnverify.cli_vectors import tally  # of the package as it is now

    return tally({Path(path).parent.name for path in sources})


def tally(rooms: set[str]) -> dict[str, tuple[int | str, int]]:
    """Values that differ, of how many, end to end, layer by layer and in single units, as far as `rooms` reach them.

    `REFUSED` in the place of the first where some of them cannot be run, which without a room is an error.
    """
    from . import reference
    from .checks.vectors import rows, sampled
    from .exchange.recordings import SETS
    from .oracles import get

    def simulated() -> Iterator[tuple[str, int | None, int]]:
        yield from ((r.mode, r.differ, r.values) for name in SETS for r in rows(name, get("snnverify")))

    def units() -> Iterator[tuple[str, int | None, int]]:
        yield from (("units", differ, values) for _, _, values, differ in sampled(reference.unit))

    counts: dict[str, tuple[int | str, int]] = {}
    for run, kinds, reached in (
        (simulated, MODES, rooms != {"reference"}),
        (units, ("units",), not rooms or rooms & {"reference", "exchange"}),
    ):
        if not reached:
            continue
        try:
            found = list(run())
        except SnnverifyError:  # what the bug makes of a recording cannot even be read
            if not rooms:
                raise
            found = [(kind, None, 0) for kind in kinds]
        for kind in kinds:
            mine = [(differ, values) for k, differ, values in found if k == kind]
            differing = [differ for differ, _ in mine if differ is not None]
            whole = len(differing) == len(mine)
            counts[kind] = sum(differing) if whole else REFUSED, sum(values for _, values in mine)
    return counts
