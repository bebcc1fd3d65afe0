"""Tests of the tester: patch the production code with one realistic bug at a time, and see which checks notice.

A mutant is a patch of the real source (`mutants/*.toml`), applied while the package is imported anew in a process of
its own: what the checks then run is the production subject with a bug, not a toy copy.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Any

import tomllib

from .errors import ConfigError

PACKAGE = Path(__file__).parent
# Rooms whose checks can reach the code that a family of mutants patches.
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
    "fidelity": ("model", "parity"),
    "energy": ("energy",),
}
MARK = {"pass": ".", "fail": "x", "error": "E", "unsupported": "."}


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


def matrix(patterns: Sequence[str], *, examples: int, jobs: int, out: Callable[[str], Any]) -> int:
    """Print mutant x check; return 0 where every mutant dies, every check kills, and the unpatched package passes."""
    chosen = mutants(patterns)
    _preload()
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        everything = tuple(dict.fromkeys(room for m in chosen for room in ROOMS[m.family]))
        tasks = [(everything, {}, examples, True),
                 *((ROOMS[m.family], m.sources(), examples, m.family.startswith("fused")) for m in chosen)]  # fmt: skip
        results = pool.imap(_outcomes, tasks, chunksize=1)
        baseline = next(results)
        names = list(baseline)
        wrong = [n for n, outcome in baseline.items() if outcome not in ("pass", "unsupported")]
        for name in wrong:
            out(f"{name} does not pass on the package itself: {baseline[name]}")
        width = max(len(m.name) for m in chosen) + 2
        out(f"{'':{width}}{''.join(str((i + 1) // 10 or ' ') for i in range(len(names)))}")
        out(f"{'mutant':{width}}{''.join(str((i + 1) % 10) for i in range(len(names)))}")
        kills, dead = dict.fromkeys(names, 0), []
        for m, outcomes in zip(chosen, results, strict=True):
            out(f"{m.name:{width}}{''.join(MARK.get(outcomes.get(n, ''), ' ') for n in names)}  {m.author}")
            killers = [n for n in names if outcomes.get(n) in ("fail", "error")]
            dead += [m.name] if killers else []
            for name in killers:
                kills[name] += 1
    out("\nx fail, E error, . pass, blank: the room cannot reach the patched code")
    for i, name in enumerate(names):
        out(f"{i + 1:4} {name:44} kills {kills[name]}")
    # a law of which the package has no part (such as a library's quantiser) cannot kill a mutant of the package
    idle = [n for n in names if not kills[n] and baseline[n] != "unsupported"] if not patterns else []
    out(f"\nchecks that kill none: {', '.join(idle) or 'none'}")
    out(f"mutants that live: {', '.join(m.name for m in chosen if m.name not in dead) or 'none'}")
    out(f"killed {len(dead)}/{len(chosen)}")
    return 0 if len(dead) == len(chosen) and not idle and not wrong else 1


def _preload() -> None:
    """Import what every child needs, once; nothing of it is patched."""
    import hypothesis
    import pandas
    import sklearn.datasets
    import torch.fx

    _ = hypothesis, pandas, sklearn, torch


def _outcomes(task: tuple[tuple[str, ...], dict[str, str], int, bool]) -> dict[str, str]:
    """In a process of its own: import the package patched, run the checks of some rooms, return name -> outcome.

    A mutant of the numpy engine has that engine serve ``auto``, too. Compiled code is kept by the file on disk, which a
    patch leaves alone: code of patched kernels goes to a folder of its own.
    """
    rooms, sources, examples, fused = task
    patch(sources)
    if not fused:
        import_module("snnverify.simulate")._planned = lambda *case: None  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as cache:
        if fused and any("kernels" in path for path in sources):
            os.environ["NUMBA_CACHE_DIR"] = cache
            import_module("numba").config.CACHE_DIR = cache  # where it was imported before
        try:
            return _judge(rooms, examples)
        except Exception as e:  # the bug broke the package as a whole
            return {"package": f"error: {e}"}


def patch(sources: dict[str, str]) -> None:
    """Let this process, which must be one of its own, import the package anew with other texts of some files."""
    for name in [n for n in sys.modules if n.split(".")[0] == "snnverify"]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Patching(sources))
    import torch

    torch.set_num_threads(1)


def _judge(rooms: Sequence[str], examples: int) -> dict[str, str]:
    from snnverify.checks import select
    from snnverify.oracles import get
    from snnverify.run import run, run_model

    own, found = get("snnverify"), {}
    for check in select():
        if check.kind != "model" and check.name.split(".")[0] in rooms:
            found[check.name] = run(check, own, examples=examples, shrink=False).outcome
    if "model" in rooms:
        checks = [c for c in select("model.*") if c.kind == "model"]
        try:
            models = _models()
        except Exception:
            return found | dict.fromkeys((c.name for c in checks), "error")
        for check in checks:
            outcomes = {run_model(check, m).outcome for m in models}
            found[check.name] = next(o for o in ("error", "fail", "unsupported", "pass") if o in outcomes)
    return {c.name: found[c.name] for c in select() if c.name in found}


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
