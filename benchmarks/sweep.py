"""A data set through several conversions of one network: what the model of `costs` is asked about, and what is clocked."""

from __future__ import annotations

import pickle
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from snnverify.content import Array
from snnverify.convert import ConvertedNetwork, convert
from snnverify.convert.curves import TILE
from snnverify.pipeline.models import outputs
from snnverify.simulate import simulate
from snnverify.trace import Trace

from .costs import Fit, Job, work

STEPS = (4, 8, 16, 32, 64)
MODES, STARTS = ("max", "99.9%", "1/2", "1/3", "1/4"), ("half", "zero")
VARIANTS = len(MODES) * len(STARTS)


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


def spikes(trace: Trace) -> dict[str, float]:
    """Spikes of every spiking layer, over samples and steps."""
    return {k: float(c.sum()) for k, c in trace.counts.items()}


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
    """Predict the reporting process's own phases from a conversion on few samples and on some more, and outputs on these."""

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
           phases: dict[str, float]) -> Job:  # fmt: skip
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
               float(np.mean(sizes)), phases)  # fmt: skip
