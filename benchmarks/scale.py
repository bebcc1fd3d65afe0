"""How long a data set takes on how many workers: costs measured here, fitted, held to the clock, and extrapolated.

python -m benchmarks.scale [--rounds 5] [--plot scale.png] [--short]

Measures single runs of the benchmark's nets on one core; tasks and bytes through Dask on this machine; the reporting
process's own phases. It then predicts, and clocks, ten variants of MNIST's tutorial CNN (of the embedded digits model where
MNIST is not there) on one and on two local workers; and predicts ImageNet's 50,000 images on 1 to 1,000 workers. There is
no ImageNet in it: images are random, and the network is `imagenet.network`, ResNet-18's shape with random weights.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from threadpoolctl import threadpool_limits

from snnverify.content import Array
from snnverify.convert.curves import TILE, CurveTile
from snnverify.errors import ConfigError, SnnverifyError
from snnverify.fidelity.tiles import tile as fidelity_tile
from snnverify.shards import Shards, run
from snnverify.simulate import simulate, warm_up

from . import imagenet, machine, nets
from .clocked import CALIBRATION, held_to_the_clock, receive
from .costs import UNITS, Costs, Fit, Job, fitted, line, switches, work
from .forecast import WORKERS, plot, predicted, text
from .shards import workers
from .sweep import STEPS, Sweep, converted, job_of, processor, serial, spikes

IMAGES = 50_000
SENT = (2**10, 2**20, 2**22, 2**24)  # bytes of a task's data

MANY = {2**10: 200, 2**20: 40, 2**22: 16, 2**24: 8}  # tasks of each size

PILOT = 8  # steps of the stand-in's runs


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


def traffic(rounds: int) -> tuple[Fit, float, float]:
    """Fit a task's core seconds over its bytes in this process, which holds client and scheduler; start and slope."""
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
    try:
        if options.rounds < 1:
            raise ConfigError(f"--rounds = {options.rounds}: at least 1")
        print("\n".join(machine.described()))
        torch.set_num_threads(1)
        with threadpool_limits(1):
            job, costs = measured(1 if options.short else options.rounds, options.short)
        forecast(job, costs)
        if options.plot:
            plot(job, costs, options.plot)
    except (SnnverifyError, AssertionError) as e:
        print(f"benchmarks: {e}", file=sys.stderr)
        return 1 if isinstance(e, AssertionError) else 2
    return 0


def measured(rounds: int, short: bool) -> tuple[Job, Costs]:
    """Print what was measured, and the fit's trials; the job that is predicted, and what belongs to the machine."""
    few = min(2, rounds)  # of what takes long
    warm_up()
    names, units, seconds = simulations(rounds, short)
    fit = fitted(units, seconds)
    print(f"\nsimulator, one core: {fit}")
    coefficients = [[u, f"{1e9 * s:.4g}"] for u, s in zip(UNITS, fit.seconds, strict=True)]
    print(tabulate(coefficients, ["unit", "ns each"], disable_numparse=True))
    runs = [[n, f"{1e3 * s:.3f}", f"{1e3 * fit(u):.3f}", f"{o:+.0%}"]
            for n, u, s, o in zip(names, units, seconds, fit.off, strict=True)]  # fmt: skip
    print(tabulate(runs, ["run", "ms", "fitted", "off by"], disable_numparse=True))
    sent, task, byte = traffic(few)
    costs = Costs(task, byte)
    print(f"\ntasks through Dask: {1e3 * task:.2f} ms each + {1e9 * byte:.3g} ns a byte; {sent}", flush=True)
    held_to_the_clock(fit, costs, few, short)
    return stand_in(fit, (units, seconds), short), costs


def forecast(job: Job, costs: Costs) -> None:
    """Print the prediction over the number of workers, and where its bottleneck changes."""
    print(f"\nImageNet, predicted: {IMAGES:,} images, T {STEPS} out of one run, {job.variants} variants, {job.tasks} tasks "
          f"of {TILE} images; {job.second:.3f} core s an image, layout {job.layout:.1f} s, {job.network_bytes / 1e6:.0f} MB "
          f"a variant, {IMAGES * job.sample_bytes / 1e9:.0f} GB of images; links of {8 * costs.bandwidth / 1e9:.0f} Gbit/s "
          "(assumed)")  # fmt: skip
    print(text(predicted(job, costs)))
    print("first bottleneck:", ", then ".join(f"{k} from {n}" for n, k in switches(job, costs, WORKERS[-1])))


if __name__ == "__main__":
    sys.exit(main())
