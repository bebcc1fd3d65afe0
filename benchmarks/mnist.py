"""MNIST's 10,000 images through the trained tutorial CNN, T = 64, counts alone: ours, and SpikingJelly's own loop.

python -m benchmarks.mnist [--rounds 5] [--samples 10000] [--threads 2]

The library is given fewer images a turn, in the batch that is named, and its time an image is what is compared. Spikes of
both are first held to the obvious loop on a few images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tabulate import tabulate

from snnverify.convert import convert
from snnverify.data import load_data
from snnverify.errors import ConfigError, DataError, SnnverifyError
from snnverify.simulate import simulate
from snnverify.simulate.parallel import cores
from snnverify.trace import Case

from . import loop, machine
from .measure import FUSED, OURS, Peers, Simulator, prepare, take_turns
from .nets import MNIST, example

STEPS, JUDGED, BATCH = 64, 8, 64
LIBRARY = tuple(Simulator("spikingjelly", e, "spikingjelly", False, slow=True) for e in ("single-step", "multi-step"))


def subject(samples: int) -> tuple[Case, Sequence[int]]:
    """The tutorial CNN, trained on 4,000 of the images, converted; all images and their labels.

    Raises
    ------
    DataError
        The data are not there.
    """
    if not any(MNIST.glob("t10k-images*")):
        raise DataError(f"no MNIST in {MNIST}: set SNNVERIFY_MNIST to a folder with its t10k pair")
    module, calibration, _, _ = example("mnist_tutorial").subject("cnn", str(MNIST), 4000, 1, 4)
    d = load_data(str(MNIST))
    x = d.x.reshape(-1, 1, 28, 28)[:samples].astype(np.float32)
    return Case(convert(module, calibration[:500]).snn, x, STEPS, dtype="float32"), d.y[:samples]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each simulator."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.mnist", description=__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    p.add_argument("--samples", type=int, default=10_000, help="images of ours (10,000)")
    p.add_argument("--threads", type=int, default=cores(), help="of both (all cores)")
    options = p.parse_args(arguments)
    try:
        for name in ("rounds", "samples", "threads"):
            if getattr(options, name) < 1:
                raise ConfigError(f"--{name} = {getattr(options, name)}: at least 1")
        print("\n".join(machine.described()))
        compare(options.rounds, options.samples, options.threads)
    except (SnnverifyError, AssertionError) as e:
        print(f"benchmarks: {e}", file=sys.stderr)
        return 1 if isinstance(e, AssertionError) else 2
    return 0


def compare(rounds: int, samples: int, threads: int) -> None:
    """Hold both to the loop, time them in turn, print milliseconds an image."""
    case, labels = subject(samples)
    few, part = replace(case, x=case.x[:JUDGED]), replace(case, x=case.x[:BATCH])
    ours, peers = Simulator(OURS, FUSED, slow=True), Peers()
    notes: list[str] = []
    agreed = prepare(peers, (ours, *LIBRARY), few, loop.run(few), threads, notes.append, lambda name: None)
    print("\n".join(notes), end="\n" if notes else "")
    for a in agreed:
        a.worker.operator("prepare")(case if a.simulator is ours else part, a.simulator.engine, threads, False)
    take_turns(agreed, rounds, 1, 0.0, lambda: None)
    shown, base = [], 0.0
    for a in agreed:
        n = len(case.x) if a.simulator is ours else len(part.x)
        times = [1e3 * s / n for s in a.rounds]
        middle = statistics.median(times)
        base = base or middle
        spread = f"{min(times):.3f} - {max(times):.3f}"
        shown.append([a.simulator.name, a.simulator.engine, f"{n:,}", f"{middle:.3f}", spread,
                      f"{middle * len(case.x) / 1e3:.1f}", f"{middle / base:.1f}", str(a.agreement)])  # fmt: skip
    print(f"MNIST tutorial CNN, T {STEPS}, {threads} threads, {rounds} turns; load {os.getloadavg()[0]:.1f}")
    head = [
        "simulator",
        "engine",
        "images a turn",
        "ms an image",
        "turns",
        f"s for {len(case.x):,}",
        "to ours",
        "spikes equal",
    ]
    print(tabulate(shown, head, disable_numparse=True))
    trace = simulate(case.network, case.x, STEPS, threads=threads)
    right = float((trace.readout[-1].argmax(-1) == np.asarray(labels)).mean())
    print(f"accuracy at T = {STEPS}: {100 * right:.2f} % of all {len(case.x):,}, the 4,000 of training among them")


if __name__ == "__main__":
    sys.exit(main())
