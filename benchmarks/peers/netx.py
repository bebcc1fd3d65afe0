"""lava-dl's netx on lava-nc's CPU simulation: a file, read and compiled, then run; engine ``run`` or ``with compilation``.

A lava network runs once, so every call builds it anew. ``run`` is timed from when its processes have started to when they
have finished their steps; ``with compilation`` is the whole call: file, graph, compiler, start, steps, end.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

from snnverify.oracles import Oracle
from snnverify.trace import Case, Provenance, Trace

from .common import Model, peer


def oracle() -> Oracle:
    """The peer."""
    return peer("netx", version("lava-nc"), build)


def build(case: Case, engine: str, threads: int) -> Model:
    """Model of one engine; lava-nc has a process of its own for every layer, whatever `threads` says."""
    from lava.magma.core.process.process import AbstractProcess

    from snnverify.oracles.lava_netx import simulate

    marks: dict[str, float] = {}
    last: list[Trace] = []  # of the last run: another one for its spikes would take as long again
    create, wait = AbstractProcess.create_runtime, AbstractProcess.wait

    def created(self: Any, *args: Any, **kwargs: Any) -> None:
        create(self, *args, **kwargs)
        marks["start"] = time.perf_counter()

    def waited(self: Any) -> None:
        wait(self)
        marks["end"] = time.perf_counter()

    def run() -> None:
        AbstractProcess.create_runtime, AbstractProcess.wait = created, waited
        try:
            last[:] = [simulate(Provenance("netx", version("lava-nc")), case, "spikes")]
        finally:
            AbstractProcess.create_runtime, AbstractProcess.wait = create, wait

    def seconds() -> float:
        run()
        return marks["end"] - marks["start"]

    return Model(run, lambda: last[0].spikes, seconds=seconds if engine == "run" else None)
