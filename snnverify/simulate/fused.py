"""The fused engine: a few samples go through all layers, a layer at a time, and hand on their spikes as bits.

Every sample is computed alone, in an order that the network alone fixes: its bits depend neither on the samples beside it
nor on threads, chunks or budget. A unit's current is its layer's biases, the constant branches, then the others in the order
of the layer, but the last synapses at the end; each is summed by input pixel (of a window of pooled spikes: pixel by pixel)
and in a pixel by channel (a Dense on constant numbers: in groups of 64 inputs), by fused multiply-adds. Where a branch's
weights are small multiples of a power of two, its sums are integers of 16 bits, and exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ..activation import Neuron
from ..kernels.fused_record import binary
from ..network import (
    Branch,
    Conv,
    Dense,
    Flatten,
    Layer,
    Network,
    Pool,
    Scale,
)  # fmt: skip
from ..trace import Case
from .layout import Frame, plain
from .parallel import cores, in_threads
from .recorder import Recorder
from .stages import Plan, plan_of
from .worker import borrowed, give_back

STEPS = 64  # of a block at most: what a byte counts, and bits that stay in the second cache
SHARE = 2 * 2**20  # bytes of a chunk's arrays: more of them leave the cache, fewer cost more calls


def run(
    case: Case, plan: Plan, out: Recorder, samples: int, memory: int, threads: int | None,
    progress: Callable[[int], None] | None,
) -> None:  # fmt: skip
    """Fill a recorder with the run of a case, whose network was planned."""
    threads = threads or cores()
    size, steps = chunk(plan, case, samples, memory, threads, out.record == "full")
    chunks = [slice(n, min(n + size, samples)) for n in range(0, samples, size)]

    def work(rows: slice) -> slice:
        worker = borrowed(plan)
        worker.run(case, out, rows, steps)
        give_back(worker, case.network)
        return rows

    for rows in in_threads(work, chunks, threads):
        if progress is not None:
            progress(rows.stop - rows.start)


def warm_up() -> float:
    """Load the kernels of float32 networks on constant input, or compile them where that was never done; seconds it took."""
    started = time.perf_counter()
    fine, coarse, dense = (
        np.full(shape, w) for shape, w in (((32, 1, 3, 3), 0.3), ((32, 32, 1, 1), 0.5), ((10, 128), 0.1))
    )
    layers = (
        Layer("first", (Branch(Conv(fine)),), Neuron()),
        Layer("second", (Branch(Conv(coarse), "first"), Branch(Scale(), "first")), Neuron()),
        Layer("pool", (Branch(Pool("average", (2, 2)), "second"),)),
        Layer("third", (Branch(Conv(coarse), "pool"),), Neuron()),
        Layer("flat", (Branch(Flatten(), "third"),)),
        Layer("out", (Branch(Dense(dense), "flat"),)),
    )
    case = Case(Network((1, 6, 6), layers), np.ones((1, 1, 6, 6)), 2, dtype="float32")
    run(case, plan(case), Recorder(case.network, case, 1, (2,), "counts"), 1, 2**20, 1, None)
    return time.perf_counter() - started


def plan(case: Case) -> Plan:
    """Plan a case's network for its kind of input: one frame for all steps, bits, or numbers; `Unsupported` as `plan_of`."""
    ones = case.encoding == "poisson" or (case.encoding == "spikes" and binary(plain(case.x)))
    return plan_of(case.network, "bits" if ones else case.encoding, case.dtype)


def chunk(plan: Plan, case: Case, samples: int, memory: int, threads: int, full: bool) -> tuple[int, int]:
    """Samples and steps at a time: what fits into the budget; samples, into a cache, too, and every thread gets its part."""
    budget, item = memory // min(threads, samples), np.dtype(case.dtype).itemsize
    units = Frame(case.network.input_shape).units
    # bytes of a sample: the input and what it was made of; of each step: its numbers, a copy of them as drawn, and bits
    once, step = (2 * item * units, 0) if case.encoding == "constant" else (0, (2 + item) * units)
    images, sums = 0, 0  # bytes of a step, and of all, whatever the number of samples
    for stage in plan:
        # potentials, synaptic currents and constant input; of integers u, v and refractory time, 64 bits each
        kept = item * (1 + stage.currents + bool(stage.constant)) if stage.cuba is None else 24
        once += stage.frame.units * kept
        step += stage.frame.units // 8 + stage.frame.units * item * bool(stage.others)
        # numbers as bytes, and their sums in 32 bits
        once += sum(5 * max(stage.frame.units, p.matrix.size) for p in stage.constant if p.matrix is not None)
        if full:  # potentials after and before the reset, until they are turned
            step += 2 * stage.frame.units * stage.bias.itemsize * (stage.neurons is not None)
        sums += stage.frame.units * (4 + item)  # currents, and room for a frame of skips
        if stage.last is not None and stage.last.images is not None:
            images += stage.last.images.size
    budget -= sums
    steps = max(1, min(case.steps, STEPS, (budget - once) // max(step + images, 1)))
    room = min(budget - images * steps, SHARE)
    return max(1, min(-(-samples // threads), room // (once + step * steps))), steps
