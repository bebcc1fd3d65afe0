"""The fused engine: a few samples go through all layers, a layer at a time, and hand on their spikes as bits.

Every sample is computed alone, in an order that the network alone fixes: its bits depend neither on the samples beside it
nor on threads, chunks or budget. A unit's current is its layer's biases, the constant branches, then the others in the order
of the layer, but the last synapses at the end; each is summed by input pixel and in a pixel by channel (a Dense on constant
numbers: in groups of 16 inputs), by fused multiply-adds. Where a branch's weights are small multiples of a power of two, its
sums are integers of 16 bits, and exact.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..activation import Cuba, Neuron
from ..errors import Unsupported
from ..kernels import encode, fused_loihi, fused_record
from ..kernels import fused_layer as kernel
from ..kernels.fused_synapse import VALUES
from ..kernels.loihi import delayed
from ..kernels.neuron import State
from ..network import (
    INPUT,
    Array,
    Branch,
    Conv,
    Dense,
    Flatten,
    Layer,
    Network,
    Pool,
    Scale,
    per_channel,
)  # fmt: skip
from ..trace import Case
from .layout import Frame, aligned
from .parallel import cores, each
from .recorder import Recorder
from .stages import Part, Stage, stages

STEPS = 64  # of a block at most: what a byte counts, and bits that stay in the second cache
SHARE = 2 * 2**20  # bytes of a chunk's arrays: more of them leave the cache, fewer cost more calls
NO_BITS = np.zeros(0, np.uint8)


def run(
    case: Case, plan: tuple[Stage, ...], out: Recorder, samples: int, memory: int, threads: int | None,
    progress: Callable[[int], None] | None,
) -> None:  # fmt: skip
    """Fill a recorder with the run of a case, whose network was planned."""
    threads = threads or cores()
    size, steps = _parts(plan, case, samples, memory, threads)
    chunks = [slice(n, min(n + size, samples)) for n in range(0, samples, size)]
    own = threading.local()

    def work(rows: slice) -> slice:
        if not hasattr(own, "worker"):
            own.worker = _Worker(plan, case, out, steps)
        own.worker.run(rows)
        return rows

    for rows in each(work, chunks, threads):
        if progress is not None:
            progress(rows.stop - rows.start)


def warm_up() -> float:
    """Load the kernels of float32 networks, or compile them where that was never done; how many seconds that took."""
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


def plan(case: Case) -> tuple[Stage, ...]:
    """Plan a case's network for its kind of input: one frame for all steps, bits, or numbers; `Unsupported` as `stages`."""
    ones = case.encoding == "poisson" or (case.encoding == "spikes" and bool(np.all((case.x == 0) | (case.x == 1))))
    return stages(case.network, "bits" if ones else case.encoding, case.dtype)


def _parts(plan: tuple[Stage, ...], case: Case, samples: int, memory: int, threads: int) -> tuple[int, int]:
    """Samples and steps at a time: what fits into the budget; samples, into a cache, too, and every thread gets its part."""
    budget, size = memory // min(threads, samples), np.dtype(case.dtype).itemsize
    units = Frame(case.network.input_shape).units
    constant = case.encoding == "constant"
    once, step = (2 * size * units, 0) if constant else (0, (2 + size) * units)  # bytes of a sample
    for stage in plan:
        kept = size * (1 + stage.currents + bool(stage.constant)) if stage.cuba is None else 24
        once += stage.frame.units * kept
        step += stage.frame.units // 8 + stage.frame.units * size * bool(stage.others)
    steps = max(1, min(case.steps, STEPS, (budget - once) // max(step, 1)))
    return max(1, min(-(-samples // threads), min(budget, SHARE) // (once + step * steps))), steps


class _Worker:
    """One thread's part of a run: chunk after chunk, in memory that it keeps, for fresh pages cost as much as the work."""

    def __init__(self, plan: tuple[Stage, ...], case: Case, out: Recorder, steps: int) -> None:
        self.plan, self.case, self.out, self.steps = plan, case, out, steps
        views = [p.view for s in plan for p in (*s.others, s.last, s.skip) if p is not None]
        self.numbers = any(v.source == INPUT and v.kind == VALUES for v in views)  # come in each step, and not bits
        self.arrays: dict[tuple[str, str], Array] = {}
        self.held: dict[str, Array] = {}  # bits or values of the layers in this block, [n, T or 1, ...]
        self.constants: dict[str, Array] = {}  # what is the same in every block

    def room(self, name: str, what: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of this worker; it holds what it held."""
        found = self.arrays.get((name, what))
        if found is None or found.shape != shape:
            found = self.arrays[name, what] = aligned(shape, dtype)
        return found

    def run(self, rows: slice) -> None:
        """Run a chunk of samples over all steps."""
        self.rows, self.n = rows, rows.stop - rows.start
        self.constants.clear()
        states = {s.name: self.state(s) for s in self.plan if s.neuron is not None}
        last, marks = self.plan[-1], self.out.marks
        total = np.zeros((self.n, *last.frame.shape))
        ends = sorted({*range(self.steps, self.case.steps, self.steps), *marks})
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            self.ts = slice(start, stop)
            self.held[INPUT] = self.stimulus()
            for stage in self.plan:
                self.held[stage.name] = self.stage(stage, states)
            self.add_output(last, total)
            if stop in marks:
                self.out.readout[marks.index(stop), rows] = total
        for stage in self.plan:
            if stage.name in states:
                v = states[stage.name][0 if stage.cuba is None else 1]
                self.first(v, 0, stage.frame, self.out.v_end[stage.name][rows])

    def state(self, stage: Stage) -> tuple[Array, Array, Array, Array]:
        """Potentials, synaptic currents, last spikes and room for inputs, before the first step."""
        name, units, dtype = stage.name, stage.frame.units, stage.bias.dtype
        if stage.cuba is not None:
            u, v, wait = (np.zeros((self.n, units), np.int64) for _ in range(3))
            return u, v, wait, {}  # type: ignore[return-value]
        v = self.room(name, "v", (self.n, units), dtype)
        v[:] = stage.v_init
        more = np.zeros(self.n * stage.currents * units, dtype)
        return v.ravel(), more, np.zeros(self.n * units // 64, np.uint64), self.room(name, "x", (64,), dtype)

    def stimulus(self) -> Array:
        """The input of a block."""
        case, rows, ts = self.case, self.rows, self.ts
        frame = Frame(case.network.input_shape)
        if case.encoding == "constant":
            if INPUT not in self.constants:
                self.constants[INPUT] = _frames(case.x[None, rows], frame, case.dtype)
            return self.constants[INPUT]
        if self.numbers:
            return _frames(case.x[ts, rows], frame, case.dtype)
        x = case.x[ts, rows]
        if case.encoding == "poisson":
            x = encode.poisson(case.x[rows], ts.start, ts.stop, case.seed, case.first_sample + rows.start)
        return np.packbits(_frames(x, frame, np.uint8), axis=-1, bitorder="little")

    def stage(self, stage: Stage, states: dict[str, Any]) -> Array:
        """Run one layer over the block; its bits or its values."""
        n, steps, units = self.n, self.ts.stop - self.ts.start, stage.frame.units
        base = stage.bias[None, None]
        if stage.constant:
            if stage.name not in self.constants:
                self.constants[stage.name] = self.room(stage.name, "constant", (n, 1, units), base.dtype)
                self.constants[stage.name][:] = base
                self.accumulate(stage.constant, self.constants[stage.name])
            base = self.constants[stage.name]
        if stage.others:
            whole = self.room(stage.name, "base", (n, steps, units), base.dtype)
            whole[:] = base
            base = whole
            self.accumulate(stage.others, base)
        if stage.cuba is not None:
            return self.cuba(stage, states[stage.name])
        if stage.neuron is None:
            return np.broadcast_to(base, (n, *base.shape[1:]))
        bits, kept = self.recorded(stage)
        strides = (units * base.shape[1] * (len(base) > 1), units * (base.shape[1] > 1))
        flat = (base.ravel(), strides, stage.neuron, states[stage.name], bits.ravel(), steps,
                tuple(k.ravel() for k in kept))  # fmt: skip
        if stage.last is None:
            kernel.driven(*flat)
        else:
            source, weights, scale, sums, scratch = self.gear(stage.name, stage.last, units)
            skip = (
                self.source(stage.skip or stage.last),
                _factor(stage),
                self.room(stage.name, "skip", (units,), base.dtype),
            )
            kernel.spiking(source, weights, scale, sums, skip, *flat, scratch)
        self.record(stage, bits.view(np.uint8), kept)
        return bits.view(np.uint8)

    def recorded(self, stage: Stage) -> tuple[Array, tuple[Array, Array]]:
        """Room for a layer's spikes of the block, as words, and for its potentials after and before the reset."""
        shape = self.n, self.ts.stop - self.ts.start, stage.frame.units
        kept = [np.empty(shape if self.out.record == "full" else (0, 0, 0), stage.bias.dtype) for _ in range(2)]
        return self.room(stage.name, "bits", (*shape[:2], shape[2] // 64), np.uint64), (kept[0], kept[1])

    def cuba(self, stage: Stage, state: Any) -> Array:
        """`stage` for integer neurons: what arrives late, and what is handed on late, are delayed as bits."""
        act, last, steps = stage.cuba, stage.last, self.ts.stop - self.ts.start
        assert act is not None
        assert last is not None
        arriving = _delayed(act.delay, self.held[last.view.source], steps, state[3])
        source, weights, _, sums, scratch = self.gear(stage.name, last, stage.frame.units, arriving)
        bits, kept = self.recorded(stage)
        room = scratch[0], np.empty(64, np.int64), np.zeros(128, np.int64)
        failed = fused_loihi.spiking(source, weights, sums, fused_loihi.settings(act), stage.units, state[:3], bits.ravel(),
                                     steps, self.ts.start, tuple(k.ravel() for k in kept), room)  # fmt: skip
        if failed:
            what = f"{'uv'[failed % 2]} leaves 24 bits in step {failed // 2 - 1}"
            raise Unsupported("Cuba", what, "scale weights, bias or input down")
        self.record(stage, bits.view(np.uint8), kept)
        return _handed_on(act, stage.frame, bits.view(np.uint8), steps, state[3])

    def accumulate(self, parts: tuple[Part, ...], base: Array) -> None:
        """Add branches to base [n, T, units]."""
        frames, units = base.shape[0] * base.shape[1], base.shape[2]
        for part in parts:
            if part.synapses is None:
                scratch = _scratch(part, base.dtype)[2:]
                kernel.accumulate_windows(self.source(part), part.factor, base.ravel(), frames, units, scratch)
                continue
            source, weights, scale, sums, scratch = self.gear("", part, units)
            if part.view.kind == VALUES and part.single and not part.view.varies:
                pieces, ranges, _, weight = weights
                at = np.arange(0, frames * units, units)[:, None]
                for_each = pieces, np.repeat(ranges, frames, axis=0), at, weight
                kernel.accumulate_matrix(source, for_each, base.ravel(), frames, scratch)
            else:
                kernel.accumulate(source, weights, scale, sums, base.ravel(), frames, units, scratch)

    def gear(self, name: str, part: Part, units: int, arriving: Array | None = None) -> tuple[Any, ...]:
        """What the kernels need of synapses: source, weights, unit of the sums, room for the sums (zeros), and scratch."""
        laid = part.synapses
        assert laid is not None
        dtype = laid.sums
        sums = self.room(f"{name} {dtype} {units}", "sums", (units + laid.channels,), dtype)
        weights = laid.pieces, laid.ranges, laid.targets, laid.weight
        return self.source(part, arriving), weights, laid.scale, sums, _scratch(part, dtype)

    def source(self, part: Part, arriving: Array | None = None) -> tuple[Any, ...]:
        """A branch's source as `kernels.fused_layer.spiking` takes it, or what arrives of it."""
        view, data = part.view, self.held[part.view.source] if arriving is None else arriving
        bits, values = (NO_BITS, data) if view.kind == VALUES else (data, np.zeros(0, part.dtype))
        pixels = 1 if part.single else view.stored.pixels
        windows = np.arange(pixels, dtype=np.int32)[:, None] if view.windows is None else view.windows
        rows = 0 if part.synapses is None else part.synapses.rows
        return view.kind, bits.ravel(), values.ravel(), data.shape[2], part.channels // 8, rows, windows

    def first(self, frames: Array, t: int, frame: Frame, into: Array) -> None:
        """Write step t of frames [n, T, units] with the channel first."""
        steps, shape = frames.size // (self.n * frame.units), (self.n, frame.shape[0], frame.pixels)
        fused_record.channels_first(
            frames.ravel(), t * frame.units, steps * frame.units, frame.channels, into.reshape(-1), shape
        )

    def record(self, stage: Stage, bits: Array, kept: tuple[Array, ...]) -> None:
        """Take a layer's spikes, and its potentials, of the block."""
        frame, name, out = stage.frame, stage.name, self.out
        width, counts = frame.channels // 8, out.counts[name][self.rows]
        offsets = np.arange(bits.shape[1], dtype=np.int32)
        scratch = self.room(name, "counts", (frame.units,), np.uint8)
        shape = self.n, frame.shape[0], frame.pixels
        fused_record.count(bits.ravel(), offsets, width, counts.reshape(-1), shape, scratch)
        if name in out.spikes:
            spikes = out.spikes[name].reshape(*out.spikes[name].shape[:2], frame.shape[0], -1)
            fused_record.unpack(
                bits, width, spikes, self.ts.start, self.rows.start, np.empty(fused_record.TILE, np.uint8)
            )
        for frames, into in zip(kept, out.potentials(name, self.ts, self.rows) or (), strict=False):
            for t in range(len(into)):
                self.first(frames, t, frame, into[t])

    def add_output(self, stage: Stage, total: Array) -> None:
        """Bring the sum of the output's values, total [n, *shape], up to date."""
        if stage.neuron is not None:
            counts = self.out.counts[stage.name][self.rows]
            np.multiply(counts, per_channel(stage.worth, counts.shape[1:]), out=total)
            return
        values = self.held[stage.name]
        times = self.ts.stop - self.ts.start if values.shape[1] == 1 else 1
        part = np.empty(total.shape)
        self.first(values.sum(1, dtype=np.float64) * times, 0, stage.frame, part)
        total += part


def _handed_on(act: Cuba, frame: Frame, bits: Array, steps: int, state: State) -> Array:
    """Bits [n, T, bytes] that reach the next layers: those of each channel as late as its axon delay."""
    delays = np.broadcast_to(np.asarray(act.axon_delay), frame.shape[:1])
    if not delays.any():
        return bits
    late = np.zeros_like(bits)
    for d in np.unique(delays):
        mask = np.packbits(frame.of(delays == d, 0, np.uint8), bitorder="little")
        late |= _delayed(int(d), bits & mask, steps, state, f"axon {d}")
    return late


def _delayed(delay: int, bits: Array, steps: int, state: State, name: str = "line") -> Array:
    """`kernels.loihi.delayed` for bits [n, T, bytes]."""
    return np.ascontiguousarray(delayed(delay, bits.swapaxes(0, 1), steps, state, name).swapaxes(0, 1))


def _factor(stage: Stage) -> Array:
    """Of the stage's skip; empty where it has none."""
    return np.zeros(0, stage.bias.dtype) if stage.skip is None or stage.skip.factor is None else stage.skip.factor


def _scratch(part: Part, dtype: Any) -> tuple[Array, Array, Array, Array]:
    """Room for the active inputs of a pixel, what they hand on, counts of spikes, and bits."""
    view, channels = part.view, part.channels
    active = channels * (1 if view.windows is None else view.windows.shape[1]) + 32
    return (np.empty(active, np.uint16 if view.frame.units <= 2**16 else np.int32), np.empty(active, dtype),
            np.empty(channels, np.uint8), np.empty(channels // 8, np.uint8))  # fmt: skip


def _frames(x: Array, frame: Frame, dtype: Any) -> Array:
    """Frames [n, T, units] of values [T, n, *shape]."""
    found = np.zeros((x.shape[1], x.shape[0], frame.units), dtype)
    body = found[:, :, : frame.pixels * frame.channels].reshape(*found.shape[:2], frame.pixels, frame.channels)
    body[..., : frame.shape[0]] = x.reshape(*x.shape[:2], frame.shape[0], -1).transpose(1, 0, 3, 2)
    return found
