"""Our own simulator: the public call on arrays, its engines ``fused``, ``fused, spikes`` and ``numpy``."""

from __future__ import annotations

from typing import Any

from snnverify.oracles import Oracle
from snnverify.trace import Case

from .common import Model, peer


def oracle() -> Oracle:
    """The peer."""
    from snnverify import __version__

    return peer("snnverify", __version__, build)


def build(case: Case, engine: str, threads: int) -> Model:
    """Model of one engine; `Unsupported` where it has none for this network."""
    from threadpoolctl import threadpool_limits

    from snnverify.simulate import simulate

    threadpool_limits(threads)  # of the BLAS, to which the worker's start gave one thread
    kind, _, recorded = engine.partition(", ")
    given: dict[str, Any] = {"encoding": case.encoding, "dtype": case.dtype, "engine": kind}

    def run(record: str) -> Any:
        return simulate(case.network, case.x, case.steps, record=record, threads=threads, **given)  # type: ignore[arg-type]

    timed = recorded or "counts"
    return Model(lambda: run(timed), lambda: run("spikes").spikes, lambda: run(timed).counts)
