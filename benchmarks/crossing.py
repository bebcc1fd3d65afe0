"""From how many spikes on products of bytes are faster than lists of weight rows: the choice of `simulate.dense`, clocked.

python -m benchmarks.crossing [--repeats 40] [--short]

A convolution over random spikes, one thread, both ways in turn. `asked`: the share of inputs that fire from which on the
simulator takes products. `clocked`: where both take as long. `lost`: how much longer the way that is taken takes than the
better one, at the rate where that is most; `as fitted`: the same, had `simulate.dense.CYCLES` been a least-squares fit of
these times, which the second table shows.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tabulate import tabulate

from snnverify.errors import SnnverifyError, Unavailable
from snnverify.kernels.arguments import Images
from snnverify.network import Branch, Conv, Layer, Network, Neuron, Pool
from snnverify.simulate import dense, fused
from snnverify.simulate.layout import Synapses
from snnverify.simulate.recorder import Recorder
from snnverify.simulate.stages import Part, Stage
from snnverify.simulate.worker import Worker
from snnverify.trace import Case

from .costs import fitted
from .machine import described

RATES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.4, 0.55, 0.7)
SAMPLES, STEPS = 2, 16


@dataclass(frozen=True)
class Shape:
    """A convolution: channels, size of the input, kernel, stride, and pixels a side of windows that are pooled before."""

    inputs: int
    outputs: int
    size: int
    kernel: int = 3
    stride: int = 1
    pool: int = 1

    def network(self) -> Network:
        """With weights that are small multiples of a power of two, as the byte ways of both want them."""
        weight = np.random.default_rng(0).integers(-3, 4, (self.outputs, self.inputs, self.kernel, self.kernel)) / 64
        border = ((self.kernel // 2,) * 2,) * 2
        pool = Layer("pool", (Branch(Pool("average", (self.pool,) * 2)),))
        conv = Conv(weight, None, (self.stride,) * 2, border)
        return Network((self.inputs, self.size, self.size), (pool, Layer("conv", (Branch(conv, "pool"),), Neuron())))

    def __str__(self) -> str:
        more = f", stride {self.stride}" * (self.stride > 1) + f", pooled {self.pool}x{self.pool}" * (self.pool > 1)
        return f"{self.inputs}-{self.outputs} {self.kernel}x{self.kernel} on {self.size}x{self.size}{more}"


SHAPES = (
    Shape(32, 32, 28), Shape(32, 32, 28, pool=2), Shape(64, 64, 32), Shape(64, 64, 32, pool=2), Shape(16, 32, 28, pool=2),
    Shape(8, 32, 28), Shape(32, 64, 28, stride=2), Shape(32, 32, 16, kernel=5), Shape(128, 128, 8),
)  # fmt: skip


@dataclass(frozen=True)
class Clocked:
    """Seconds of a frame by rate, as lists and as products, what they take, and spikes by rate and where they are asked."""

    rows: Sequence[float]
    products: Sequence[float]
    spikes: Sequence[float]
    least: float
    work: dense.Work
    words: float  # of 64 neurons, which both ways run


def clocked(shape: Shape, rates: Sequence[float], repeats: int) -> Clocked:
    """Time one shape at every rate; each way's least of `repeats` turns."""
    network, rng = shape.network(), np.random.default_rng(1)
    rows: list[float] = []
    products: list[float] = []
    spikes: list[float] = []
    for rate in rates:
        x = (rng.random((STEPS, SAMPLES, *network.input_shape)) < rate).astype(np.float32)
        case = Case(network, x, STEPS, "spikes", dtype="float32")
        stage, part, images, laid = _convolution(case)
        ways = [_call(case, replace(stage, last=_with(part, images, least))) for least in (math.inf, 0.0)]
        turns = [[_seconds(call) for call in ways] for _ in range(repeats)]
        for times, least in zip((rows, products), np.min(turns, axis=0), strict=True):
            times.append(float(least) / (SAMPLES * STEPS))
        spikes.append(float(x.sum()) / (SAMPLES * STEPS))
    op = network["conv"].branches[0].op
    assert isinstance(op, Conv)
    taps, words = laid.weights.targets.shape[1], len(images.products.offsets)
    found = dense.work(words, taps, part.view.frame, stage.frame, op, shape.pool**2, laid)
    return Clocked(rows, products, spikes, images.least, found, stage.frame.units / 64)


def _convolution(case: Case) -> tuple[Stage, Part, Images, Synapses]:
    """The stage of the convolution, its branch, and the weights of both ways."""
    stage = fused.plan(case)[-1]
    part = stage.last
    if part is None or part.images is None or part.synapses is None:
        raise Unavailable("this processor has no products of bytes (avx512_vnni): every convolution goes by rows")
    return stage, part, part.images, part.synapses


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _with(part: Part, images: Images, least: float) -> Part:
    return replace(part, images=images._replace(least=least))


def _call(case: Case, stage: Stage) -> Callable[[], object]:
    """The kernel of a stage with its arguments in place, warm."""
    worker = Worker((stage,))
    worker.run(case, Recorder(case.network, case, SAMPLES, (STEPS,), "counts"), slice(0, SAMPLES), STEPS)
    return worker.ready[stage.name].in_block[-1]


def crossing(found: Clocked) -> float:
    """Spikes of a frame at which both ways take as long, between the rates that were clocked; 0 or inf beyond them."""
    gap = np.subtract(found.rows, found.products)
    if gap[0] >= 0:
        return 0.0
    later = np.flatnonzero(gap > 0)
    if not len(later):
        return math.inf
    k = later[0]
    return float(np.interp(0.0, gap[k - 1 : k + 1], found.spikes[k - 1 : k + 1]))


def lost(found: Clocked, least: float) -> float:
    """What a choice by `least` spikes of a frame costs at the rate where it costs most, over the better way."""
    taken = [p if s >= least else r for r, p, s in zip(found.rows, found.products, found.spikes, strict=True)]
    return float(np.max(taken / np.minimum(found.rows, found.products))) - 1


def cycles(found: Sequence[Clocked]) -> tuple[dense.Work, str]:
    """Least-squares costs of the units of `Work`, against half a cycle of a product; and how far times are from them."""
    units, seconds = [], []
    for c in found:
        for row, product, spikes in zip(c.rows, c.products, c.spikes, strict=True):
            w = c.work
            units += [(0, 0, w.pixels, w.sums, w.row * spikes, c.words), (w.products, w.counted, 0, 0, 0, c.words)]
            seconds += [row, product]
    fit = fitted(np.array(units, float), np.array(seconds))
    scale = dense.CYCLES.products / fit.seconds[0]
    return dense.Work(*(float(s * scale) for s in fit.seconds[:5])), str(fit)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables; 2 where there is nothing to measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40, help="turns of each way (40)")
    parser.add_argument("--short", action="store_true", help="one shape, one turn: that it runs")
    options = parser.parse_args(arguments)
    shapes, repeats = (SHAPES[5:6], 1) if options.short else (SHAPES, options.repeats)
    try:
        print("\n".join(described()))
        found = [clocked(shape, RATES, repeats) for shape in shapes]
    except SnnverifyError as e:
        print(f"benchmarks: {e}")
        return 2
    fit, told = (None, "") if options.short else cycles(found)  # one turn of one shape fits nothing
    rows = []
    for shape, c in zip(shapes, found, strict=True):
        share = 100 / (shape.inputs * shape.size**2)
        least = (c.least, *(() if fit is None else (dense.least_spikes(c.work, fit),)))
        losses = (f"{100 * lost(c, chosen):.0f}" for chosen in least)
        rows.append((str(shape), f"{share * c.least:.1f}", f"{share * crossing(c):.1f}", *losses))
    names = ("convolution", "asked %", "clocked %", "lost %", "as fitted %")
    print(tabulate(rows, names[: len(rows[0])], disable_numparse=True))
    if fit is not None:
        taken = [(unit, cost, f"{own:.2f}") for unit, cost, own in zip(fit._fields, dense.CYCLES, fit, strict=True)]
        print(tabulate(taken, ("unit", "cycles taken", "fitted"), disable_numparse=True), f"\n{told}", sep="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
