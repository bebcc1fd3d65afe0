"""Tests of the tester: patch the production code with one realistic bug at a time, and see which checks notice.

A mutant is a patch of the real source (`mutants/*.toml`), applied while the package is imported anew in a process of
its own: what the checks then run is the production subject with a bug, not a toy copy.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Any

import tomllib

from .content import write_atomic
from .errors import ConfigError

PACKAGE = Path(__file__).parent
# Rooms, or beginnings of the names of their checks, that can reach the code which a family of mutants patches.
ROOMS = {
    "simulator": (
        "dynamics",
        "lif",
        "invariance",
        "parity",
        "golden",
        "conversion",
        "converter",
        "calibration",
        "model",
    ),
    "leak": ("lif",),
    "fused": ("dynamics", "invariance", "parity"),
    "fused integers": ("quantized",),
    "fused encoder": ("encoding.simulated",),
    "quantized": ("quantized",),
    "encoder": ("encoding", "operators"),
    "qcfs": ("operators",),
    "exchange": ("exchange",),
    "netx": ("netx",),
    "blocks": ("blocks",),
    "weights": ("weights",),
    "converter": ("conversion", "converter", "calibration", "model"),
    "fold": ("batchnorm", "conversion", "model"),
    "import": ("importer",),
    "vectors": ("vectors",),
    "gate": ("statistics", "gate"),
    "release": ("gate",),
    "mapping": ("mapping",),
    "audit": ("audit",),
    "detector data": ("detector.boxes", "detector.dataset", "detector.fidelity"),
    "fidelity": ("model", "parity"),
    "energy": ("energy",),
    "detector": (
        "detector.membrane",
        "detector.recurrences",
        "detector.nothing",
        "detector.spikes",
        "detector.inputs",
        "detector.constants",
        "detector.comparison",
        "detector.wrong",
        "detector.library",
        "detector.laws",
        "detector.records",
        "detector.shortcuts",
    ),
    "diagram": ("detector.diagram",),
    "checkpoint": ("detector.checkpoint",),
    "waterfall": ("waterfall",),
}
KILLERS = PACKAGE / "mutants" / "killers.json"


Outcome = tuple[str, float]  # of a check on a mutant, and the processor seconds that it took
KILLS = ("fail", "error")


@dataclass(frozen=True)
class Mutant:
    """One bug: its name, family, confession, author (the file it is listed in) and edits (file, old, new)."""

    name: str
    family: str
    bug: str
    author: str
    edits: tuple[tuple[str, str, str], ...]

    def sources(self) -> dict[str, str]:
        """Return the patched text of every file, by path; every old text must occur exactly once."""
        texts: dict[str, str] = {}
        for file, old, new in self.edits:
            path = str(PACKAGE / file)
            text = texts.get(path) or Path(path).read_text("utf-8")
            if text.count(old) != 1:
                raise ConfigError(
                    f"mutant {self.name!r}: its text occurs {text.count(old)} times in {file}; it must once"
                )
            texts[path] = text.replace(old, new)
        return texts


def mutants(patterns: Sequence[str] = ()) -> list[Mutant]:
    """Read the mutants whose names match (all without a pattern)."""
    found = []
    for file in sorted((PACKAGE / "mutants").glob("*.toml")):
        for m in tomllib.loads(file.read_text("utf-8"))["mutant"]:
            edits = tuple((e["file"], e["old"], e["new"]) for e in m.get("edit", [m]))
            found.append(Mutant(m["name"], m["family"], m["bug"], file.stem, edits))
    chosen = [m for m in found if not patterns or any(fnmatch(m.name, p) for p in patterns)]
    if not chosen:
        raise ConfigError(f"mutant = {', '.join(patterns)}: no such mutant among {len(found)}")
    return chosen


def matrix(patterns: Sequence[str], *, examples: int, jobs: int, every: bool, out: Callable[[str], Any]) -> int:
    """Print mutant x check; return 0 where every mutant dies, every check kills, and the unpatched package passes.

    `killers.json` says which checks have killed a mutant before, cheap ones, so chosen that together they are all checks.
    Those are asked first; all that can reach the patched code where they let it live, or a check is without a kill. With
    `every` all are asked of every mutant; without patterns, too, `killers.json` is then written anew.
    """
    chosen = mutants(patterns)
    _preload()
    reach = {m.name: _reaching(m.family) for m in chosen}
    names = list(dict.fromkeys(n for family in ROOMS for n in _reaching(family) if any(n in r for r in reach.values())))
    known = {} if every else json.loads(KILLERS.read_text("utf-8"))
    asked = {m.name: [n for n in known.get(m.name, ()) if n in reach[m.name]] or reach[m.name] for m in chosen}
    found: dict[str, dict[str, Outcome]] = {m.name: {} for m in chosen}
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:

        def judge(wanted: dict[str, list[str]]) -> None:
            of = [m for m in chosen if wanted.get(m.name)]
            tasks = ((wanted[m.name], m.sources(), examples, m.family.startswith("fused")) for m in of)
            for m, outcomes in zip(of, pool.imap(_outcomes, tasks, chunksize=1), strict=True):
                found[m.name] |= outcomes
                kills = [n for n, (outcome, _) in outcomes.items() if outcome in KILLS]
                out(f"{m.name}: {', '.join(kills) or 'lives'}  ({m.author})")

        pristine = pool.apply_async(_outcomes, ((names, {}, examples, True),))
        judge(asked)
        baseline = pristine.get()
        # a law of which the package has no part (such as a library's quantiser) cannot kill a mutant of the package
        able = [n for n in names if baseline[n][0] != "unsupported" and not patterns]
        idle, alive = _failed(able, found)
        judge({m: [n for n in reach[m] if n not in found[m] and (m in alive or n in idle)] for m in reach})
    wrong = [n for n in names if baseline[n][0] not in ("pass", "unsupported")]
    for name in wrong:
        out(f"{name} does not pass on the package itself: {baseline[name][0]}")
    idle, alive = _failed(able, found)
    killers = _killers(found)
    for i, name in enumerate(names):
        kills = sum(name in k for k in killers.values())
        out(f"{i + 1:4} {name:44} kills {kills}{'' if every else ' of those it was asked of'}")
    out(f"\nchecks that kill none: {', '.join(idle) or 'none'}")
    out(f"mutants that live: {', '.join(alive) or 'none'}")
    out(f"killed {len(chosen) - len(alive)}/{len(chosen)}")
    if every and not patterns:
        write_atomic(KILLERS, (json.dumps(_cover(killers), indent=1) + "\n").encode())
    return 1 if alive or idle or wrong else 0


def _killers(found: dict[str, dict[str, Outcome]]) -> dict[str, dict[str, float]]:
    """Of every mutant the checks that noticed, and their seconds."""
    return {m: {n: s for n, (outcome, s) in f.items() if outcome in KILLS} for m, f in found.items()}


def _failed(checks: list[str], found: dict[str, dict[str, Outcome]]) -> tuple[list[str], list[str]]:
    """Return which of some checks killed none, and which mutants live."""
    killers = _killers(found)
    return [n for n in checks if not any(n in k for k in killers.values())], [m for m, k in killers.items() if not k]


def _reaching(family: str) -> list[str]:
    """Names of the checks that can reach the code which a family of mutants patches."""
    from .checks import select

    return [c.name for c in select() if any(c.name.startswith(r if "." in r else f"{r}.") for r in ROOMS[family])]


def _cover(killers: dict[str, dict[str, float]]) -> dict[str, list[str]]:
    """For every mutant its cheapest killer, and for every check that is nobody's cheapest the mutant with fewest to ask."""
    chosen = {m: [min(k, key=lambda n: k[n])] for m, k in killers.items() if k}
    for name in sorted({n for k in killers.values() for n in k} - {n for c in chosen.values() for n in c}):
        mutant = min((m for m, k in killers.items() if name in k), key=lambda m: (len(chosen[m]), killers[m][name]))
        chosen[mutant].append(name)
    return chosen


def _preload() -> None:
    """Import what every child needs, once; nothing of it is patched."""
    import hypothesis
    import pandas
    import sklearn.datasets
    import torch.fx

    _ = hypothesis, pandas, sklearn, torch


def _outcomes(task: tuple[list[str], dict[str, str], int, bool]) -> dict[str, Outcome]:
    """In a process of its own: import the package patched, run some checks, return name -> outcome.

    A mutant of the numpy engine has that engine serve ``auto``, too. Compiled code is kept by the file on disk, which a
    patch leaves alone: code of patched kernels goes to a folder of its own.
    """
    names, sources, examples, fused = task
    patch(sources)
    if not fused:
        import_module("snnverify.simulate")._planned = lambda *case: None  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as cache:
        if fused and any("kernels" in path for path in sources):
            os.environ["NUMBA_CACHE_DIR"] = cache
            import_module("numba").config.CACHE_DIR = cache  # where it was imported before
        try:
            return _judge(names, examples)
        except Exception as e:  # the bug broke the package as a whole
            return {"package": (f"error: {e}", 0.0)}


def patch(sources: dict[str, str]) -> None:
    """Let this process, which must be one of its own, import the package anew with other texts of some files."""
    for name in [n for n in sys.modules if n.split(".")[0] == "snnverify"]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Patching(sources))
    import torch

    torch.set_num_threads(1)


def _judge(names: Sequence[str], examples: int) -> dict[str, Outcome]:
    from snnverify.checks import select
    from snnverify.oracles import get
    from snnverify.run import run, run_model

    own, models, found = get("snnverify"), None, {}
    for check in (c for c in select() if c.name in names):
        start = time.process_time()
        if check.kind != "model":
            outcome = run(check, own, examples=examples, shrink=False).outcome
        else:
            try:
                models = models or _models()
                outcomes = {run_model(check, m).outcome for m in models}
                outcome = next(o for o in ("error", "fail", "unsupported", "pass") if o in outcomes)
            except Exception:  # of the bug: there is no model to judge
                outcome = "error"
        found[check.name] = (outcome, round(time.process_time() - start, 2))
    return found


def _models() -> list[Any]:
    """Small embedded models under test."""
    from snnverify.config import Settings
    from snnverify.pipeline import prepare, subjects

    settings = Settings(timesteps=(4, 32), mode="99.9%")
    return [prepare(s, settings)[0] for s in subjects(settings, 64)]


class _Patching(importlib.abc.MetaPathFinder):
    """Loads patched files from memory, and finds all others as usual."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin in self.texts:
            spec.loader = _Loader(name, spec.origin, self.texts[spec.origin])
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec")
