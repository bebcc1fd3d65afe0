"""A prediction held to the clock: ten variants of a small data set on one and on two local workers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import torch
from tabulate import tabulate

from snnverify import zoo
from snnverify.content import Array
from snnverify.convert import convert
from snnverify.convert.curves import TILE, CurveTile, curve_tile
from snnverify.pipeline.models import outputs
from snnverify.shards import Shards, run
from snnverify.simulate import simulate
from snnverify.simulate.parallel import cores

from . import nets
from .costs import Costs, Fit, parts, total
from .shards import workers
from .sweep import STEPS, VARIANTS, Sweep, converted, job_of, processor, serial

CALIBRATION = 500
SPIN = (
    "import time; s, p = time.perf_counter(), time.process_time()\n"
    "while time.perf_counter() < s + 1: pass\n"
    "print((time.process_time() - p) / (time.perf_counter() - s))"
)


def local_sweep(short: bool) -> Sweep:
    """MNIST's last fifth through the tutorial CNN, or the embedded digits model."""
    if any(nets.MNIST.glob("t10k-images*")):
        found = nets.example("mnist_tutorial").subject("cnn", str(nets.MNIST), 4000, 512 if short else 1024, 4)
        module, calibration, x, y = found
        return Sweep(f"MNIST tutorial CNN, {len(x)} images", module, calibration[:CALIBRATION], x, y)
    m = zoo.load_default("digits_cnn")
    x, y = (np.resize(a, (1024, *a.shape[1:])) for a in (m.evaluation_x, m.evaluation_y))
    return Sweep(f"embedded digits_cnn, {len(x)} images", m.module, m.train_x[:CALIBRATION], x, y)


def receive(number: int, data: Array, threads: int | None = None) -> CurveTile:
    """Return at once: what is left is the cost of a task and its bytes."""
    return CurveTile((number,))


def clocked(sweep: Sweep, n: int) -> tuple[float, float, tuple[int, ...]]:
    """Seconds of the sweep on n local workers, processor seconds that its workers used, and who was right."""
    with workers(n) as execute:
        _ = run(receive, [{"number": k, "data": np.zeros(4)} for k in range(4 * n)], CurveTile, Shards(execute))
        warm = [{"converted": convert(sweep.module, sweep.calibration[:8]), "x": sweep.x[k : k + 1], "labels":
                 sweep.y[k : k + 1], "steps": [1]} for k in range(4 * n)]  # fmt: skip
        run(curve_tile, warm, CurveTile, Shards(execute))  # imports and kernels
        used, start = of_workers(), time.perf_counter()
        variants = [v for _, v in converted(sweep)]
        for dtype in (torch.float32, torch.float64):
            outputs(sweep.module, sweep.x, dtype, None)
        tiles = [(sweep.x[k : k + TILE], sweep.y[k : k + TILE]) for k in range(0, len(sweep.x), TILE)]
        tasks = [{"converted": v, "x": x, "labels": y, "steps": list(STEPS)} for x, y in tiles for v in variants]
        found = run(curve_tile, tasks, CurveTile, Shards(execute))
        right = tuple(map(sum, zip(*(f.right for f in found), strict=True)))
        return time.perf_counter() - start, of_workers() - used, right


def of_workers() -> float:
    """Processor seconds of this process's children until now."""
    found = [c.cpu_times() for c in psutil.Process().children(recursive=True)]
    return sum(t.user + t.system for t in found)


def share(n: int) -> float:
    """Measure the part of a core that each of n busy processes gets now: 1 on a machine where nobody else is at work."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True) for _ in range(n)]
    return statistics.fmean(float(p.communicate()[0]) for p in spinning)


def held_to_the_clock(fit: Fit, costs: Costs, rounds: int, short: bool) -> None:
    """Predict the local sweep on one and two workers, then clock it."""
    sweep = local_sweep(short)
    phases = serial(sweep, len(sweep.x), len(sweep.calibration), (50, 100))
    variants = [v for _, v in converted(sweep)]
    job = job_of(sweep, fit, variants, len(sweep.x), 32, STEPS[-1], phases)
    predicted = {n: parts(job, replace(costs, bandwidth=np.inf), n) for n in (1, 2)}
    print(f"\n{sweep.title}, {VARIANTS} variants, T {STEPS[-1]}: {job.tasks} tasks; predicted, s, before it is clocked")
    named = list(predicted[1])
    print(tabulate([[n, *(f"{p[k]:.2f}" for k in named), f"{total(job, p):.2f}"] for n, p in predicted.items()],
                   ["workers", *named, "total"], disable_numparse=True), flush=True)  # fmt: skip
    few = sweep.x[:TILE]
    itself = [processor(lambda v=v: simulate(v.snn, few, STEPS[-1], threads=1))[0] / len(few) for v in variants]
    print(f"an image on a variant: {1e3 * job.second:.3f} ms by its counts, which the fit has not seen; "
          f"{1e3 * statistics.fmean(itself):.3f} measured")  # fmt: skip
    found: dict[int, list[tuple[float, float, tuple[int, ...]]]] = {1: [], 2: []}
    shares: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for n, runs in found.items():
            shares[n].append(share(n))
            runs.append(clocked(sweep, n))
            shares[n].append(share(n))
    rows = []
    for n, runs in found.items():
        clock, used = ([r[k] for r in runs] for k in (0, 1))
        alone, middle = total(job, predicted[n]), statistics.median(clock)
        one, all_of_them = (statistics.fmean(shares[k]) for k in (1, n))
        # while the serial phases last one process is busy, else n are
        slowed = {k: v / (one if k in job.serial else all_of_them) for k, v in predicted[n].items()}
        said = total(job, slowed)
        computed = job.second * job.samples * job.variants + n * job.variants * job.layout
        rows.append([n, f"{alone:.1f}", f"{all_of_them:.2f}", f"{said:.1f}", f"{middle:.1f}",
                     f"{min(clock):.1f} - {max(clock):.1f}", f"{middle / alone:.2f}", f"{middle / said:.2f}",
                     f"{computed:.1f}", f"{statistics.median(used):.1f}"])  # fmt: skip
    head = ["workers", "predicted s", "share of a core", "predicted at it", "clock s", "rounds", "clock / predicted",
            "at the share", "workers' core s, predicted", "used"]  # fmt: skip
    print(tabulate(rows, head, disable_numparse=True))
    rights = {r[2] for runs in found.values() for r in runs}
    if len(rights) != 1:
        raise AssertionError(f"runs differ: {rights}")
    print(f"all runs agree: {rights.pop()} of {len(sweep.x) * VARIANTS} right at T = {STEPS}; load "
          f"{os.getloadavg()[0]:.1f} on {cores()} cores")  # fmt: skip
