"""How cost grows: with T, with the batch, with spikes; and the memory of a run that keeps counts alone, or all.

``python -m benchmarks.scaling NET SAMPLES STEPS RECORD`` prints, as JSON, the memory of one run in a fresh process.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from snnverify.errors import OracleError, Unsupported
from snnverify.simulate import MEMORY, run

from . import nets
from .judge import Agreement
from .measure import FUSED, NUMPY, OURS, ROOT, Peers, Prepared, Simulator, take_turns
from .table import figure, save

FACTORS = (0.5, 1, 2, 4, 8)  # of T and of the batch
GAINS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # of the input
RECORDED = ("spikes", "full")
MIB = 2.0**20


@dataclass(frozen=True)
class Curve:
    """Milliseconds of runs, in turn; `along` names what grows."""

    net: str
    engine: str
    along: str
    at: tuple[float, ...]
    ms: tuple[float, ...]

    @property
    def fit(self) -> tuple[float, float]:
        """Slope and value at 0 of the line with the least squares of relative errors."""
        x, y = np.array(self.at), np.array(self.ms)
        slope, start = np.polyfit(x, y, 1, w=1 / y)
        return float(slope), float(start)

    @property
    def off(self) -> float:
        """Greatest relative distance from the line."""
        slope, start = self.fit
        return max(abs(y / (slope * x + start) - 1) for x, y in zip(self.at, self.ms, strict=True))


def curves(names: Sequence[str], threads: int, repeats: int, seconds: float, short: bool,
           note: Callable[[str], None]) -> Iterator[Curve]:  # fmt: skip
    """Measure every net over T, batch and input gain, by the fused engine and by numpy's."""
    peers = Peers()
    for name in names:
        subject = nets.NETS[name](short)
        case = subject.case
        samples, factors, gains = len(case.x), FACTORS[:3] if short else FACTORS, GAINS[2:5] if short else GAINS
        runs = {
            "T": [nets.scaled(subject, steps=max(1, int(f * case.steps))) for f in factors],
            "batch": [nets.scaled(subject, samples=max(1, int(f * samples))) for f in factors],
            "synaptic operations": [nets.scaled(subject, gain=g) for g in gains],
        }
        for along, subjects in runs.items():
            for engine in (FUSED, NUMPY):
                try:
                    yield _curve(peers, name, engine, along, subjects, threads, repeats, seconds)
                except Unsupported as e:
                    note(f"{name}, {engine}: left out: {e}")


def _curve(peers: Peers, name: str, engine: str, along: str, subjects: Sequence[nets.Subject], threads: int,
           repeats: int, seconds: float) -> Curve:  # fmt: skip
    simulator = Simulator(OURS, engine)
    worker = peers.get(simulator)
    ms: list[list[float]] = [[] for _ in subjects]
    for _ in range(repeats):
        for k, s in enumerate(subjects):
            worker.operator("prepare")(s.case, engine, threads, False)
            p = Prepared(simulator, worker, Agreement(0, 0), 0.0, 0.0)
            take_turns([p], 1, 1, seconds, lambda: None)
            ms[k].append(1e3 * p.median)
    at = [_position(s, along) for s in subjects]
    return Curve(name, engine, along, tuple(at), tuple(float(np.median(m)) for m in ms))


def _position(subject: nets.Subject, along: str) -> float:
    case = subject.case
    if along == "T":
        return float(case.steps)
    if along == "batch":
        return float(len(case.x))
    return float(sum(e["synaptic_operations"] for e in run(case, "counts").events.values()))


def memory(names: Sequence[str], short: bool) -> Iterator[dict[str, Any]]:
    """Peak memory over T and over the size of the data set, and where more is recorded, each run in a fresh process."""
    for name in names:
        case = nets.NETS[name](short).case
        n, t = len(case.x), case.steps
        more = (1, 2) if short else (1, 4, 16)
        sizes = dict.fromkeys([(n, t * k) for k in more] + [(n * k, t) for k in more])
        recorded = [(n * more[1], t * more[1], record) for record in RECORDED]
        for samples, steps, record in [*((*size, "counts") for size in sizes), *recorded]:
            command = [
                sys.executable,
                "-m",
                "benchmarks.scaling",
                name,
                str(samples),
                str(steps),
                record,
                "short" if short else "",
            ]
            ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
            if ran.returncode:
                said = ran.stderr.strip().splitlines()
                raise OracleError(f"{name}, {samples} samples, T = {steps}: {said[-1] if said else 'no answer'}")
            yield {"net": name, "samples": samples, "T": steps, "record": record, **json.loads(ran.stdout)}


def child(name: str, samples: str, steps: str, record: Any, short: str = "") -> None:
    """Run once and print MiB: peak above what was there before, and of that what the trace itself holds.

    One run of 2 samples and 1 step before it has loaded every library and kernel. The high-water mark is Linux's, which
    is set back before the run.
    """
    subject = nets.scaled(nets.NETS[name](bool(short)), samples=int(samples), steps=int(steps))
    run(nets.scaled(subject, samples=2, steps=1).case, record)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else the run takes what the case's making left behind, and shows less
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    trace = run(subject.case, record)
    peak = _status("VmHWM") - before
    kept = (trace.counts, trace.v_end, trace.spikes, trace.v, trace.v_peak)
    arrays = (trace.readout, *(a for of_layers in kept for a in of_layers.values()))
    print(json.dumps({"peak MiB": peak / MIB, "trace MiB": sum(a.nbytes for a in arrays) / MIB}))


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def text(found: Sequence[Curve]) -> str:
    """A row for every curve: its points, the line through them, and how far off it they are."""
    shown = []
    for c in found:
        slope, start = c.fit
        points = "  ".join(f"{x:.4g}: {y:.3g}" for x, y in zip(c.at, c.ms, strict=True))
        shown.append([c.net, c.engine, c.along, points, f"{start:.3g} + {slope:.3g} x", f"{100 * c.off:.0f} %"])
    return tabulate(shown, ["net", "engine", "along", "ms", "line", "off it by"], disable_numparse=True)


def memory_text(found: Sequence[dict[str, Any]]) -> str:
    """A row for every run; working memory is the peak without what the trace holds."""
    shown = [[r["net"], r["samples"], r["T"], r["record"], *(f"{v:.1f}" for v in (r["peak MiB"], r["trace MiB"],
              r["peak MiB"] - r["trace MiB"])), f"{r['peak MiB'] / r['trace MiB']:.2f}"] for r in found]  # fmt: skip
    head = ["net", "samples", "T", "record", "peak MiB", "of it the trace", "working", "peak / trace"]
    return f"{tabulate(shown, head, disable_numparse=True)}\nthe budget of working arrays is {MEMORY / MIB:.0f} MiB"


def plot(found: Sequence[Curve], path: Path) -> None:
    """Draw a row for every net and engine, a panel for every direction: the points, and the line through them."""
    rows, alongs = list(dict.fromkeys((c.net, c.engine) for c in found)), list(dict.fromkeys(c.along for c in found))
    drawing = figure(figsize=(2.6 * len(alongs), 1.7 * len(rows)), layout="constrained")
    panels = drawing.subplots(len(rows), len(alongs), squeeze=False)
    for c in found:
        axes = panels[rows.index((c.net, c.engine)), alongs.index(c.along)]
        slope, start = c.fit
        x = np.array([0, *c.at])
        axes.plot(x, slope * x + start, linewidth=1)
        axes.plot(c.at, c.ms, "o", color="black", markersize=3)
        axes.set(xlabel=c.along, ylabel="ms", xlim=(0, None), ylim=(0, 1.1 * max(c.ms)))
        axes.set_title(f"{c.net}, {c.engine}: off by {100 * c.off:.0f} %", fontsize="small")
    save(drawing, path)


if __name__ == "__main__":
    child(*sys.argv[1:])
