"""Simulators in their own processes: prepared on a network, held to the obvious loop, then timed in turn."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snnverify.content import Array
from snnverify.errors import OracleError, Unsupported
from snnverify.oracles import Oracle
from snnverify.oracles.environments import find
from snnverify.oracles.hosts import remote
from snnverify.trace import Case, Trace

from .judge import Agreement, agreement

ROOT = Path(__file__).parents[1]
TIMEOUT = 3600.0  # seconds that a call may take before its process counts as hung
PAUSE = 0.05  # seconds between turns: worker threads of a BLAS or of torch spin for a while after their last product
OURS, FUSED, NUMPY = "snnverify", "fused", "numpy"
ONCE = "first once"  # a peer's engine that computes the first layer's constant current once, as ours do


@dataclass(frozen=True)
class Simulator:
    """A row of the table.

    Parameters
    ----------
    name, engine : str
    environment : str
        Oracle in whose interpreter it runs; empty for this one.
    integers : bool or None
        Whether it runs networks of integers alone, or none of those; None for both.
    slow : bool
        One call a round.
    """

    name: str
    engine: str
    environment: str = ""
    integers: bool | None = None
    slow: bool = False

    def runs(self, case: Case) -> bool:
        """Whether a network is of its kind."""
        return self.integers is None or self.integers == (case.kind == "integer")


SIMULATORS = (
    Simulator(OURS, FUSED),
    Simulator(OURS, f"{FUSED}, spikes"),
    Simulator(OURS, NUMPY),
    Simulator("spikingjelly", "single-step", "spikingjelly", False),
    Simulator("spikingjelly", "multi-step", "spikingjelly", False),
    Simulator("spikingjelly", f"multi-step, {ONCE}", "spikingjelly", False),
    Simulator("snntorch", "loop over time", "snntorch", False),
    Simulator("sinabs", "multi-step", "sinabs", False),
    Simulator("norse", "loop over time", "norse", False),
    Simulator("slayer", "blocks", "lava-block", True),
    Simulator("netx", "run", "lava-netx", True, slow=True),
    Simulator("netx", "with compilation", "lava-netx", True, slow=True),
)


@dataclass
class Prepared:
    """A simulator with a network in its process; `turns` holds a list of seconds for each round."""

    simulator: Simulator
    worker: Oracle
    agreement: Agreement
    build: float
    first: float
    turns: list[list[float]] = field(default_factory=list)

    @property
    def rounds(self) -> list[float]:
        """Median seconds of each round."""
        return [statistics.median(r) for r in self.turns if r]

    @property
    def median(self) -> float:
        """Seconds: the median of the rounds."""
        return statistics.median(self.rounds)


class Peers:
    """One process for each library, kept from net to net."""

    def __init__(self) -> None:
        self.started: dict[str, Oracle] = {}

    def get(self, simulator: Simulator) -> Oracle:
        """Worker of a simulator; `Unavailable` where its environment is not installed."""
        if simulator.name not in self.started:
            self.started[simulator.name] = start(simulator)
        return self.started[simulator.name]


def start(simulator: Simulator) -> Oracle:
    """Start the process of a simulator."""
    python = find(simulator.environment) if simulator.environment else Path(sys.executable)
    module = "ours" if simulator.name == OURS else simulator.name
    return remote(simulator.name, python, f"benchmarks.peers.{module}:oracle", root=ROOT, timeout=TIMEOUT)


def prepare(peers: Peers, simulators: Iterable[Simulator], case: Case, loop: Trace, threads: int,
            note: Callable[[str], None], tick: Callable[[str], None]) -> list[Prepared]:  # fmt: skip
    """Build a network in every simulator and compare its spikes with the loop's.

    Parameters
    ----------
    note : callable
        Told in a line of every simulator that is left out, and why.
    tick : callable
        Told the name of every simulator before it is prepared.

    Raises
    ------
    AssertionError
        Our own spikes or counts differ, and not by rounding.
    """
    found = []
    for s in simulators:
        if not s.runs(case):
            continue
        tick(f"{s.name} {s.engine}")
        try:
            worker = peers.get(s)
            told = worker.operator("prepare")(case, s.engine, threads)
        except (Unsupported, OracleError) as e:  # of which `Unavailable` is one
            if s.name == OURS and not isinstance(e, Unsupported):
                raise
            note(f"{s.name}, {s.engine}: left out: {e}")
            continue
        spikes = {k: unpacked(*packed) for k, packed in told["spikes"].items()}
        agreed = agreement(case, loop, spikes)
        for name, counts in told["counts"].items():
            if not np.array_equal(counts, spikes[name].sum(0, dtype=np.int64)):
                raise AssertionError(
                    f"{s.name}, {s.engine}: layer {name!r}: counts of the timed call are not its spikes'"
                )
        if s.name == OURS and not agreed.counts:
            raise AssertionError(
                f"{s.name}, {s.engine}: {agreed.differ} of {agreed.compared} spikes differ from the loop"
            )
        found.append(Prepared(s, worker, agreed, told["build"], told["first"]))
    return found


def unpacked(bits: Array, shape: Sequence[int]) -> Array:
    """Spikes that came as bits."""
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(tuple(shape))


def take_turns(
    prepared: Sequence[Prepared], rounds: int, repeats: int, seconds: float, tick: Callable[[], None]
) -> None:
    """Time them in turn, so that a drift of the machine's load meets all alike; a turn is the median of its calls."""
    for _ in range(rounds):
        for p in prepared:
            p.turns.append([])
        for k in range(repeats):
            for p in prepared:
                if not p.simulator.slow or k == 0:
                    time.sleep(PAUSE)
                    most = 1 if p.simulator.slow else 1000
                    times = p.worker.operator("turn")(p.simulator.engine, seconds, most)
                    p.turns[-1].append(statistics.median(times))
                tick()


def compiling(case: Case, threads: int) -> Mapping[str, Any]:
    """Seconds of the fused engine's first call with an empty cache of kernels, and in a second process with that cache."""
    before = os.environ.get("NUMBA_CACHE_DIR")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        try:
            for name in ("empty", "cached"):
                found[name] = start(Simulator(OURS, FUSED)).operator("prepare")(case, FUSED, threads, False)["first"]
        finally:
            del os.environ["NUMBA_CACHE_DIR"]
            os.environ.update({} if before is None else {"NUMBA_CACHE_DIR": before})
    return found
