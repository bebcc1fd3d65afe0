"""One thread's part of the fused engine: a chunk of samples through all layers, block of steps by block of steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..kernels import fused_dense, fused_encode, fused_record
from ..kernels import fused_layer as kernel
from ..kernels.fused_dense import PIXELS
from ..kernels.fused_synapse import VALUES
from ..network import INPUT, Array, per_channel
from ..trace import Case
from . import integers
from .image import NO_IMAGE
from .integers import Calls
from .layout import Frame, plain
from .memory import LINE, aligned
from .parallel import cores
from .recorder import Recorder
from .stages import Part, Stage

NO_BITS = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class _Ready:
    """A stage with its arguments in place: calls at the beginning of a chunk, calls in every block, spikes, what is kept."""

    once: Calls
    each: Calls
    bits: Array
    kept: tuple[Array, ...]


class Worker:
    """Runs chunks of a plan, one after the other, in memory that it keeps: fresh pages cost as much as the work.

    Arguments of the kernels are put together once for as long as chunks and blocks keep their sizes: in a small network that
    takes longer than the kernels.
    """

    def __init__(self, plan: tuple[Stage, ...]) -> None:
        self.plan = plan
        views = [p.view for s in plan for p in (*s.others, s.last, s.skip) if p is not None]
        self.numbers = any(v.source == INPUT and v.kind == VALUES for v in views)  # come in each step, and not bits
        self.arrays: dict[tuple[str, str], Array] = {}
        self.held: dict[str, Array] = {}  # bits or values of the layers in this block, [n, T or 1, ...]
        self.ready: dict[str, _Ready] = {}
        self.sizes: tuple[Any, ...] = ()
        self.clock = np.zeros(1, np.int64)

    def room(self, name: str, what: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of this worker; it holds what it held."""
        found = self.arrays.get((name, what))
        if found is None or (found.shape, found.dtype) != (shape, dtype):
            found = self.arrays[name, what] = aligned(shape, dtype)
        return found

    def run(self, case: Case, out: Recorder, rows: slice, steps: int) -> None:
        """Run a chunk of samples over all steps, `steps` at a time, into a recorder."""
        self.case, self.out, self.rows, self.n = case, out, rows, rows.stop - rows.start
        states = {s.name: self.state(s) for s in self.plan if s.neuron is not None}
        last, marks = self.plan[-1], out.marks
        total = np.zeros((self.n, *last.frame.shape))
        ends = sorted({*range(steps, case.steps, steps), *marks})
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            self.ts = slice(start, stop)
            self.clock[0] = start
            if self.sizes != (sizes := (self.n, stop - start, out.record == "full", case.steps)):
                self.sizes = sizes
                self.ready.clear()
            self.held[INPUT] = self.stimulus()
            for stage in self.plan:
                self.stage(stage, states)
            self.add_output(last, total)
            if stop in marks:
                out.readout[marks.index(stop), rows] = total
        for stage in self.plan:
            if stage.name in states:
                v = states[stage.name][0 if stage.cuba is None else 1]
                self.first(v, 0, stage.frame, out.v_end[stage.name][rows])
        del self.case, self.out

    def state(self, stage: Stage) -> tuple[Array, ...]:
        """Potentials, synaptic currents, last spikes and room for inputs, before the first step."""
        name, n, units, dtype = stage.name, self.n, stage.frame.units, stage.bias.dtype
        if stage.cuba is not None:
            return integers.state(partial(self.room, name), (n, units), self.narrow(stage))
        v, more = self.room(name, "v", (n, units), dtype), self.room(name, "more", (n * stage.currents * units,), dtype)
        last = self.room(name, "last", (n * units // 64,), np.uint64)
        v[:], more[:], last[:] = stage.v_init, 0, 0
        return v.reshape(-1), more, last, self.room(name, "x", (64,), dtype)

    def stimulus(self) -> Array:
        """The input of a block."""
        case, rows, ts = self.case, self.rows, self.ts
        frame = Frame(case.network.input_shape)
        if case.encoding == "constant":
            values = self.room(INPUT, "values", (self.n, 1, frame.units), case.dtype)
            return values if ts.start else _frames(case.x[None, rows], frame, values)
        shape = self.n, ts.stop - ts.start, frame.units
        if self.numbers:
            return _frames(case.x[ts, rows], frame, self.room(INPUT, "values", shape, case.dtype))
        x = case.x[ts, rows]
        if case.encoding == "poisson":
            x = fused_encode.poisson(case.x[rows], ts.start, ts.stop, case.seed, case.first_sample + rows.start)
        bits = self.room(INPUT, "bits", (*shape[:2], shape[2] // 8), np.uint8)
        channels_first = *x.shape[:2], frame.shape[0], frame.pixels
        fused_record.pack(plain(x), channels_first, bits.reshape(-1), frame.channels // 8, bits.shape[2])
        return bits

    def stage(self, stage: Stage, states: dict[str, Any]) -> None:
        """Run one layer over the block; `held` gets its bits or its values."""
        ready = self.ready.get(stage.name)
        if ready is None:
            ready = self.ready[stage.name] = self.prepared(stage, states.get(stage.name))
        for call in (*ready.once, *ready.each) if self.ts.start == 0 else ready.each:
            call()
        if stage.neuron is not None:
            self.record(stage, ready.bits, ready.kept)

    def prepared(self, stage: Stage, state: Any) -> _Ready:
        """Put a stage's calls together; its sources are held."""
        n, (_, steps, full, _), units, dtype = self.n, self.sizes, stage.frame.units, stage.bias.dtype
        kept = tuple(
            self.room(stage.name, f"kept {k}", (n, steps, units) if full else (0, 0, 0), dtype) for k in range(2)
        )
        if stage.cuba is not None:
            return self.cuba(stage, state, kept)
        base, strides, once, each = stage.bias, (0, 0), Calls(), Calls()
        for what, parts, length, calls in (("once", stage.constant, 1, once), ("each", stage.others, steps, each)):
            if parts or (stage.neuron is None and what == "once"):
                more = self.room(stage.name, what, (n, length, units), dtype)
                calls += [partial(_repeat, base, more), *self.accumulate(parts, more, not stage.bias.any())]
                base, strides = more, (units * length, units * (length > 1))
        if stage.neuron is None:
            self.held[stage.name] = base
            return _Ready(once, each, NO_BITS, kept)
        bits = self.room(stage.name, "bits", (n, steps, units // 64), np.uint64)
        sent = self.held[stage.name] = bits.view(np.uint8)
        flat = (base.reshape(-1), strides, stage.neuron, state, bits.reshape(-1), units, steps,
                tuple(k.reshape(-1) for k in kept))  # fmt: skip
        if stage.last is None:
            each.append(partial(kernel.driven, *flat))
        else:
            source, weights, scale, sums, scratch = self.gear(stage.name, stage.last, units)
            image = self.image(stage.name, stage.last, steps)
            skip = (
                self.source(stage.skip or stage.last),
                _factor(stage),
                self.room(stage.name, "skip", (units,), base.dtype),
            )
            each.append(partial(kernel.spiking, source, weights, image, scale, sums, skip, *flat, scratch))
        return _Ready(once, each, sent, kept)

    def cuba(self, stage: Stage, state: Any, kept: tuple[Array, ...]) -> _Ready:
        """`prepared` for integer neurons: what arrives late, and what is handed on late, are delayed as bits."""
        act, last, steps, room = stage.cuba, stage.last, self.sizes[1], partial(self.room, stage.name)
        assert act is not None
        assert last is not None
        arriving, line = integers.late(room, "arriving", self.held[last.view.source], act.delay)
        source, weights, _, sums, scratch = self.gear(stage.name, last, stage.frame.units, arriving)
        bits = room("bits", (self.n, steps, stage.frame.units // 64), np.uint64)
        image = self.image(stage.name, last, steps)
        call = integers.call(stage, state, source, weights, image, sums, scratch[0], bits, steps, kept, self.clock,
                             self.case.steps)  # fmt: skip
        self.held[stage.name], once, each = integers.handed_on(room, act, stage.frame, bits.view(np.uint8))
        return _Ready([*line[:1], *once], [*line[1:], call, *each], bits.view(np.uint8), kept)

    def narrow(self, stage: Stage) -> bool:
        """Whether the states of integer neurons have 32 bits."""
        return integers.narrow(stage, self.case.steps, self.out.record)

    def accumulate(self, parts: tuple[Part, ...], base: Array, zeros: bool) -> Calls:
        """Calls that add branches to base [n, T, units], which holds zeros or not."""
        frames, units, flat = base.shape[0] * base.shape[1], base.shape[2], base.reshape(-1)
        calls: Calls = []
        for part in parts:
            if part.synapses is None:
                scratch = _scratch(part, base.dtype)[2:]
                calls.append(
                    partial(kernel.accumulate_windows, self.source(part), part.factor, flat, frames, units, scratch)
                )
                continue
            source, weights, scale, sums, scratch = self.gear("", part, units)
            if part.view.kind == VALUES and part.single and not part.view.varies:
                pieces, _, _, weight = weights
                _, _, values, size, *_ = source
                fours = frames // 4 + 4
                room = np.empty((fours + 1) * kernel.GROUP, np.uint16), np.empty(fours, np.int64)
                slow = partial(kernel.accumulate_matrix, values, size, pieces, weight, flat, frames, units, *room)
                fast = self.bytes(part, values, flat, frames, units) if zeros and len(parts) == 1 else None
                calls.append(slow if fast is None else partial(_first_that_can, fast, slow))
            else:
                calls.append(partial(kernel.accumulate, source, weights, scale, sums, flat, frames, units, scratch))
        return calls

    def bytes(self, part: Part, values: Array, base: Array, frames: int, units: int) -> Callable[[], bool] | None:
        """`accumulate_bytes` with its arguments in place; None where the weights are no bytes."""
        if (i := part.image) is None:
            return None
        starts = np.pad(np.arange(frames) * i.size, (0, 2 * max(PIXELS))).astype(np.int32)
        counts = self.room("", "bytes", (frames * i.size,), np.uint8)
        sums = self.room("", "sums of bytes", ((frames + max(PIXELS)) * units,), np.int32)
        image = starts, i.offsets, i.pieces, i.weight
        scales = np.ldexp(i.scale, -np.arange(fused_dense.POWERS)).astype(base.dtype)
        return partial(fused_dense.accumulate_bytes, values, i.size, image, counts, sums, scales, base, frames, units)

    def gear(self, name: str, part: Part, units: int, arriving: Array | None = None) -> tuple[Any, ...]:
        """What the kernels need of synapses: source, weights, unit of the sums, room for the sums (zeros), and scratch."""
        laid = part.synapses
        assert laid is not None
        sums = self.room(f"{name} {laid.sums} {units}", "sums", (units + max(PIXELS) * laid.channels,), laid.sums)
        weights = laid.pieces, laid.ranges, laid.targets, laid.weight
        return self.source(part, arriving), weights, laid.scale, sums, _scratch(part, laid.sums)

    def image(self, name: str, part: Part, steps: int) -> tuple[Any, ...]:
        """A branch's image as `kernels.fused_layer.spiking` takes it."""
        i, laid = part.image or NO_IMAGE, part.synapses
        assert laid is not None
        counts = self.room(name, "image", (steps * i.size + LINE if part.image else 0,), np.uint8)
        return counts, i.size, i.least, i.span, i.places, (laid.channels, i.starts, i.offsets, i.pieces, i.weight)

    def source(self, part: Part, arriving: Array | None = None) -> tuple[Any, ...]:
        """A branch's source as `kernels.fused_layer.spiking` takes it, or what arrives of it."""
        view, data = part.view, self.held[part.view.source] if arriving is None else arriving
        bits, values = (NO_BITS, data) if view.kind == VALUES else (data, np.zeros(0, part.dtype))
        pixels = 1 if part.single else view.stored.pixels
        windows = np.arange(pixels, dtype=np.int32)[:, None] if view.windows is None else view.windows
        rows, nothing = (0, 0) if part.synapses is None else (part.synapses.rows, part.synapses.nothing)
        size, width = data.shape[2], part.channels // 8
        return view.kind, bits.reshape(-1), values.reshape(-1), size, width, rows, nothing, windows

    def first(self, frames: Array, t: int, frame: Frame, into: Array) -> None:
        """Write step t of frames [n, T, units] with the channel first."""
        steps, shape = frames.size // (self.n * frame.units), (self.n, frame.shape[0], frame.pixels)
        fused_record.channels_first(
            frames.reshape(-1), t * frame.units, steps * frame.units, frame.channels, into.reshape(-1), shape
        )

    def record(self, stage: Stage, bits: Array, kept: tuple[Array, ...]) -> None:
        """Take a layer's spikes, and its potentials, of the block."""
        frame, name, out = stage.frame, stage.name, self.out
        width, shape = frame.channels // 8, (self.n, frame.shape[0], frame.pixels)
        offsets = np.arange(bits.shape[1], dtype=np.int32)
        scratch = self.room(name, "counts", (frame.units,), np.uint8)
        total = out.counts[name][self.rows].reshape(-1)
        fused_record.count(bits.reshape(-1), offsets, width, total, shape, scratch, self.ts.start > 0)
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


_idle: deque[Worker] = deque(maxlen=max(cores(), 4))


def borrowed(plan: tuple[Stage, ...]) -> Worker:
    """A worker of a plan: one that an earlier run gave back, or a new one."""
    for _ in range(len(_idle)):
        try:
            worker = _idle.popleft()
        except IndexError:  # other threads borrow, too
            break
        if worker.plan is plan:
            return worker
        _idle.append(worker)
    return Worker(plan)


def give_back(worker: Worker) -> None:
    """Keep a worker, and its memory, for the next run; at most as many as run at once."""
    _idle.append(worker)


def _first_that_can(fast: Callable[[], bool], slow: Callable[[], object]) -> None:
    if not fast():
        slow()


def _repeat(pattern: Array, frames: Array) -> None:
    """Write a pattern of a frame, or one of [n, 1, units], to frames [n, T, units]."""
    if pattern.ndim == 1:
        frames.reshape(-1, len(pattern))[:] = pattern
    else:
        frames[:] = pattern


def _factor(stage: Stage) -> Array:
    """Of the stage's skip, repeated to whole words; empty where it has none."""
    if stage.skip is None or stage.skip.factor is None:
        return np.zeros(0, stage.bias.dtype)
    return np.tile(stage.skip.factor, math.lcm(64, len(stage.skip.factor)) // len(stage.skip.factor))


def _scratch(part: Part, dtype: Any) -> tuple[Array, Array, Array, Array]:
    """Room for the active inputs of a pixel, what they hand on, counts of spikes, and bits."""
    view, channels = part.view, part.channels
    active = channels * (1 if view.windows is None else view.windows.shape[1]) + 32
    return (np.empty(active, np.uint16 if view.frame.units <= 2**16 else np.int32), np.empty(active, dtype),
            np.empty(channels, np.uint8), np.empty(channels // 8, np.uint8))  # fmt: skip


def _frames(x: Array, frame: Frame, found: Array) -> Array:
    """Frames [n, T, units] of values [T, n, *shape], into `found`, whose padding is zero."""
    body = found[:, :, : frame.pixels * frame.channels].reshape(*found.shape[:2], frame.pixels, frame.channels)
    body[..., : frame.shape[0]] = x.reshape(*x.shape[:2], frame.shape[0], -1).transpose(1, 0, 3, 2)
    return found
