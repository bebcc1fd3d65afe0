"""How long a data set takes on how many workers: costs measured here, fitted, held to the clock, and extrapolated.

python -m benchmarks.scale [--rounds 5] [--plot scale.png] [--short]

Measures single runs of the benchmark's nets on one core; tasks and bytes through Dask on this machine; the reporting
process's own stages. It then predicts, and clocks, ten variants of MNIST's tutorial CNN (of the embedded digits model where
MNIST is not there) on one and on two local workers; and predicts ImageNet's 50,000 images on 1 to 1,000 workers. There is
no ImageNet in it: images are random, and the network is `imagenet.network`, ResNet-18's shape with random weights.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from tabulate import tabulate
from threadpoolctl import threadpool_limits
from torch import nn

from snnverify import zoo
from snnverify.content import Array
from snnverify.convert import ConvertedNetwork, convert
from snnverify.convert.curves import TILE, CurveTile, curve_tile
from snnverify.fidelity.tiles import tile as fidelity_tile
from snnverify.pipeline.models import outputs
from snnverify.shards import Shards, run
from snnverify.simulate import simulate, warm_up
from snnverify.trace import Trace

from . import imagenet, machine, nets
from .costs import UNITS, Costs, Fit, Job, fitted, line, parts, switches, total, work
from .forecast import WORKERS, plot, predicted, text
from .shards import workers

STEPS = (4, 8, 16, 32, 64)
MODES, STARTS = ("max", "99.9%", "1/2", "1/3", "1/4"), ("half", "zero")
VARIANTS = len(MODES) * len(STARTS)
IMAGES, CALIBRATION = 50_000, 500
SENT = (2**10, 2**20, 2**22, 2**24)  # bytes of a task's data
MANY = {2**10: 200, 2**20: 40, 2**22: 16, 2**24: 8}  # tasks of each size
PILOT = 8  # steps of the stand-in's runs


@dataclass(frozen=True)
class Sweep:
    """What is swept: a trained model, what it is calibrated and judged on."""

    title: str
    module: nn.Module
    calibration: Array
    x: Array
    y: Array


def processor(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call in this process, and what it returns."""
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


def median_of(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median processor seconds of each call, in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for k in range(rounds + 1):
        for call, mine in zip(calls, times, strict=True):
            seconds = processor(call)[0]
            if k:  # the first lays out
                mine.append(seconds)
    return [max(statistics.median(t), 1e-7) for t in times]


def simulations(rounds: int, short: bool) -> tuple[list[str], Array, Array]:
    """Names, units and seconds of runs of the nets over T, batch and input."""
    subjects = []
    for name in ("mlp", "cnn", "residual", "digits"):
        s = nets.ordinary(nets.NETS[name](short))
        n, t = len(s.case.x), s.case.steps
        grown: list[dict[str, Any]] = [
            {},
            {"steps": 2 * t},
            {"samples": 2 * n},
            {"samples": 1},
            {"gain": 0.5},
            {"gain": 1.5},
        ]
        subjects += [(f"{name} {g or ''}", nets.scaled(s, **g).case) for g in grown]
    calls = [lambda c=c: simulate(c.network, c.x, c.steps, threads=1) for _, c in subjects]
    seconds = median_of(calls, rounds)  # type: ignore[arg-type]
    units = [work(c.network, len(c.x), c.steps, spikes(call())) for (_, c), call in zip(subjects, calls, strict=True)]
    return [name for name, _ in subjects], np.array(units), np.array(seconds)


def spikes(trace: Trace) -> dict[str, float]:
    """Spikes of every spiking layer, over samples and steps."""
    return {k: float(c.sum()) for k, c in trace.counts.items()}


def receive(number: int, data: Array, threads: int | None = None) -> CurveTile:
    """Return at once: what is left is the cost of a task and its bytes."""
    return CurveTile((number,))


def traffic(rounds: int) -> tuple[Fit, float, float]:
    """Fit of a task's seconds over its bytes: core seconds of this process, in which client and scheduler are; start, slope."""
    rng, seconds = np.random.default_rng(0), []
    with workers(1) as execute:
        run(receive, [{"number": 0, "data": np.zeros(4)}], CurveTile, Shards(execute))
        for size in SENT:
            found = []
            for _ in range(rounds):
                tasks = [{"number": k, "data": rng.integers(256, size=size, dtype=np.uint8)} for k in range(MANY[size])]
                found.append(processor(lambda t=tasks: run(receive, t, CurveTile, Shards(execute)))[0] / len(tasks))
            seconds.append(statistics.median(found))
    return line(SENT, seconds)


def converted(
    sweep: Sweep, n: int | None = None, starts: Sequence[str] = STARTS
) -> Iterator[tuple[float, ConvertedNetwork]]:
    """Every variant, from n calibration samples, with the processor seconds that it took."""
    for mode, v_init in product(MODES, starts):
        yield processor(
            lambda m=mode, v=v_init: digested(convert(sweep.module, sweep.calibration[:n], mode=m, v_init=v))
        )


def digested(found: ConvertedNetwork) -> ConvertedNetwork:
    """Have its name made, which belongs to its cost."""
    _ = found.digest
    return found


def serial(sweep: Sweep, samples: int, calibration: int, few: tuple[int, int]) -> dict[str, float]:
    """Predict the reporting process's own stages from a conversion on few samples and on some more, and outputs on these."""

    def conversion(n: int) -> float:
        return processor(lambda: digested(convert(sweep.module, sweep.calibration[:n])))[0]

    conversion(few[0])  # what is imported at the first
    low, high = conversion(few[0]), conversion(few[1])
    slope = max(0.0, (high - low) / (few[1] - few[0]))
    start = max(0.0, low - few[0] * slope)
    part, dtypes = sweep.x[: few[1]], (torch.float32, torch.float64)
    outputs(sweep.module, part, torch.float64, None)
    ann = sum(processor(lambda d=d: outputs(sweep.module, part, d, None))[0] for d in dtypes) / len(part)
    return {"conversion": VARIANTS * (start + slope * calibration), "ANN outputs": samples * ann}


def job_of(sweep: Sweep, fit: Fit, variants: Sequence[ConvertedNetwork], samples: int, pilot: int, steps: int,
           stages: dict[str, float]) -> Job:  # fmt: skip
    """Predict a job by its counts, from a pilot run of a few samples and steps of every variant."""
    seconds, layout = [], []
    for v in variants:
        cold, trace = processor(lambda v=v: simulate(v.snn, sweep.x[:pilot], steps, threads=1))
        warm = processor(lambda v=v: simulate(v.snn, sweep.x[:pilot], steps, threads=1))[0]
        grown = {k: n * STEPS[-1] / steps for k, n in spikes(trace).items()}
        seconds.append(fit(work(v.snn, pilot, STEPS[-1], grown, calls=0)) / pilot)
        layout.append(max(0.0, cold - warm))
    sizes = [len(pickle.dumps(v, 5)) for v in variants]
    return Job(samples, TILE, VARIANTS, float(np.mean(seconds)), statistics.median(layout), sweep.x[0].nbytes,
               float(np.mean(sizes)), stages)  # fmt: skip


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


def local_sweep(short: bool) -> Sweep:
    """MNIST's last fifth through the tutorial CNN, or the embedded digits model."""
    from .nets import MNIST, _example

    if any(MNIST.glob("t10k-images*")):
        found = _example("mnist_tutorial").subject("cnn", str(MNIST), 1024, 512 if short else 1024, 1 if short else 2)
        module, calibration, x, y = found
        return Sweep(f"MNIST tutorial CNN, {len(x)} images", module, calibration[:CALIBRATION], x, y)
    m = zoo.load_default("digits_cnn")
    x, y = (np.resize(a, (1024, *a.shape[1:])) for a in (m.evaluation_x, m.evaluation_y))
    return Sweep(f"embedded digits_cnn, {len(x)} images", m.module, m.train_x[:CALIBRATION], x, y)


SPIN = (
    "import time; s, p = time.perf_counter(), time.process_time()\n"
    "while time.perf_counter() < s + 1: pass\n"
    "print((time.process_time() - p) / (time.perf_counter() - s))"
)


def share(n: int) -> float:
    """Measure the part of a core that each of n busy processes gets now: 1 on a machine where nobody else is at work."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True) for _ in range(n)]
    return statistics.fmean(float(p.communicate()[0]) for p in spinning)


def held_to_the_clock(fit: Fit, costs: Costs, rounds: int, short: bool) -> None:
    """Predict the local sweep on one and two workers, then clock it."""
    sweep = local_sweep(short)
    stages = serial(sweep, len(sweep.x), len(sweep.calibration), (50, 100))
    variants = [v for _, v in converted(sweep)]
    job = job_of(sweep, fit, variants, len(sweep.x), 32, STEPS[-1], stages)
    predicted = {n: parts(job, replace(costs, bandwidth=np.inf), n) for n in (1, 2)}
    print(f"\n{sweep.title}, {VARIANTS} variants, T {STEPS[-1]}: {job.tasks} tasks; predicted, s, before it is clocked")
    stages_of = list(predicted[1])
    print(tabulate([[n, *(f"{p[k]:.2f}" for k in stages_of), f"{total(job, p):.2f}"] for n, p in predicted.items()],
                   ["workers", *stages_of, "total"], disable_numparse=True), flush=True)  # fmt: skip
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
        alone, got, middle = total(job, predicted[n]), statistics.fmean(shares[n]), statistics.median(clock)
        computed = job.second * job.samples * job.variants + n * job.variants * job.layout
        rows.append([n, f"{alone:.1f}", f"{got:.2f}", f"{alone / got:.1f}", f"{middle:.1f}",
                     f"{min(clock):.1f} - {max(clock):.1f}", f"{middle / alone * got:.2f}", f"{computed:.1f}",
                     f"{statistics.median(used):.1f}", f"{statistics.median(used) / computed:.2f}"])  # fmt: skip
    print(tabulate(rows, ["workers", "predicted s", "share of a core", "predicted at it", "clock s", "rounds", "ratio",
                          "workers' core s, predicted", "used", "ratio"], disable_numparse=True))  # fmt: skip
    rights = {r[2] for runs in found.values() for r in runs}
    if len(rights) != 1:
        raise AssertionError(f"runs differ: {rights}")
    print(f"all runs agree: {rights.pop()} of {len(sweep.x) * VARIANTS} right at T = {STEPS}; load "
          f"{os.getloadavg()[0]:.1f} on {machine.cores()} cores")  # fmt: skip


def stand_in(fit: Fit, rows: tuple[Array, Array], short: bool) -> Job:
    """Hold the fit to the stand-in, which it has not seen; then fit with it, and predict ImageNet."""
    module = imagenet.network(width=8) if short else imagenet.network()
    images = imagenet.images(3)
    sweep = Sweep("stand-in", module, images, images, np.zeros(3, int))
    variants = [v for _, v in converted(sweep, 2, ("half",))]
    one = variants[0].snn
    shown: list[list[Any]] = []
    units, seconds = [], []
    for steps in (PILOT // 2, PILOT, 2 * PILOT):
        call = lambda t=steps: simulate(one, images[:1], t, threads=1)  # noqa: E731
        (s,) = median_of([call], 3)
        u = work(one, 1, steps, spikes(call()))
        shown.append([steps, f"{u[-1] / 1e9:.2f}", f"{fit(u):.3f}", f"{s:.3f}", f"{s / fit(u):.2f}"])
        units.append(u)
        seconds.append(s)
    rate = sum(spikes(call()).values()) / units[-1][2]
    print(f"\nthe stand-in on one image, unknown to the fit: {machine_products(one) / 1e9:.2f} G multiply-adds a step, mean "
          f"firing rate {rate:.3f}")  # fmt: skip
    print(tabulate(shown, ["T", "G operations", "predicted core s", "measured", "ratio"], disable_numparse=True))
    own = fitted(np.concatenate([rows[0], units]), np.concatenate([rows[1], seconds]))
    # what the counts leave out of so large a network (its weights leave the caches) is taken from its own runs
    factor = float(np.median(np.array(seconds) / [own(u) for u in units]))
    scaled = Fit(own.seconds * factor, own.off)
    print(f"fitted with it: {own}; the stand-in's own runs are {factor:.2f} of that, which the prediction takes")
    job = job_of(sweep, scaled, variants, IMAGES, 1, PILOT, serial(sweep, IMAGES, CALIBRATION, (1, 3)))
    full, _ = processor(lambda: fidelity_tile(variants[0], images[:1], (PILOT,), "constant", 0, 0, threads=1))
    print(f"its layer-by-layer fidelity, one image: {full:.2f} core s at T = {PILOT}; a variant alone {job.second:.2f} at "
          f"T = {STEPS[-1]}")  # fmt: skip
    return job


def machine_products(network: Any) -> float:
    """Multiply-adds of one sample in one step."""
    return float(sum(machine.products(b.op, network.shapes[b.source]) for v in network.layers for b in v.branches))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, fit, hold to the clock, extrapolate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of every measurement (5)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw time over workers")
    parser.add_argument("--short", action="store_true", help="small nets, single rounds: that it works, no figures")
    options = parser.parse_args(arguments)
    rounds = 1 if options.short else options.rounds
    torch.set_num_threads(1)
    print("\n".join(machine.described()))
    with threadpool_limits(1):
        warm_up()
        names, units, seconds = simulations(rounds, options.short)
        fit = fitted(units, seconds)
        print(f"\nsimulator, one core: {fit}")
        print(tabulate([[u, f"{1e9 * s:.4g}"] for u, s in zip(UNITS, fit.seconds, strict=True)], ["unit", "ns each"],
                       disable_numparse=True))  # fmt: skip
        print(tabulate([[n, f"{1e3 * s:.3f}", f"{1e3 * fit(u):.3f}", f"{o:+.0%}"] for n, u, s, o in
                        zip(names, units, seconds, fit.off, strict=True)], ["run", "ms", "fitted", "off by"],
                       disable_numparse=True))  # fmt: skip
        sent, task, byte = traffic(1 if options.short else 2)
        costs = Costs(task, byte)
        print(f"\ntasks through Dask: {1e3 * task:.2f} ms each + {1e9 * byte:.3g} ns a byte; {sent}", flush=True)
        held_to_the_clock(fit, costs, 1 if options.short else 2, options.short)
        job = stand_in(fit, (units, seconds), options.short)
    print(f"\nImageNet, predicted: {IMAGES:,} images, T {STEPS} out of one run, {job.variants} variants, {job.tasks} tasks "
          f"of {TILE} images; {job.second:.3f} core s an image, layout {job.layout:.1f} s, {job.network_bytes / 1e6:.0f} MB "
          f"a variant, {IMAGES * job.sample_bytes / 1e9:.0f} GB of images; links of {8 * costs.bandwidth / 1e9:.0f} Gbit/s "
          "(assumed)")  # fmt: skip
    print(text(predicted(job, costs)))
    print("first bottleneck:", ", then ".join(f"{k} from {n}" for n, k in switches(job, costs, WORKERS[-1])))
    if options.plot:
        plot(job, costs, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
