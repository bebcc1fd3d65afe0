"""Where a run's time goes: layer by layer in one thread, counting and recording, and what Python takes around them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tabulate import tabulate

from snnverify.simulate import MEMORY, fused, run
from snnverify.simulate.recorder import Recorder
from snnverify.simulate.worker import Worker
from snnverify.trace import Case

CHUNK, CALL = "around layers", "around chunks"


class Timed(Worker):
    """A worker that keeps the seconds of its parts; those inside others are theirs alone."""

    def __init__(self, plan: Any) -> None:
        super().__init__(plan)
        self.spent: dict[str, float] = defaultdict(float)
        self.inside = 0.0

    def timed(self, part: str, call: Callable[..., Any], *given: Any) -> Any:
        """Call it on the clock of a part."""
        before, self.inside = self.inside, 0.0
        start = time.perf_counter()
        found = call(*given)
        whole = time.perf_counter() - start
        self.spent[part] += whole - self.inside
        self.inside = before + whole
        return found

    def run(self, *given: Any) -> None:
        """A chunk."""
        self.timed(CHUNK, super().run, *given)

    def advance(self, stage: Any, *given: Any) -> None:
        """A layer over a block of steps."""
        self.timed(stage.name, super().advance, stage, *given)

    def record(self, *given: Any) -> None:
        """Its spikes, counted."""
        self.timed("counting", super().record, *given)


def parts(case: Case, repeats: int) -> dict[str, float]:
    """Least milliseconds of each part of a run in one thread, over `repeats` runs, by part."""
    plan = fused.plan(case)
    samples = case.x.shape[1 if case.encoding == "spikes" else 0]
    worker = Timed(plan)
    size, steps = fused.chunk(plan, case, samples, MEMORY, 1, False)
    least: dict[str, float] = {}
    whole = float("inf")
    run(case, "counts", engine="fused", threads=1)
    for _ in range(repeats + 1):  # the first one puts calls together
        out = Recorder(case.network, case, samples, (case.steps,), "counts")
        worker.spent.clear()
        for n in range(0, samples, size):
            worker.run(case, out, slice(n, min(n + size, samples)), steps)
        start = time.perf_counter()
        run(case, "counts", engine="fused", threads=1)
        whole = min(whole, 1e3 * (time.perf_counter() - start))
        least = {part: min(least.get(part, whole), 1e3 * spent) for part, spent in worker.spent.items()}
    return least | {CALL: max(whole - sum(least.values()), 0.0)}


def text(name: str, found: dict[str, float]) -> str:
    """A net's parts as a table."""
    whole = sum(found.values())
    rows = [(name, part, ms, 100 * ms / whole) for part, ms in found.items()]
    return tabulate(rows, ("net", "part", "ms", "%"), floatfmt=("", "", ".3f", ".0f"))
