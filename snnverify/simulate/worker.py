"""One thread's part of the fused engine: a chunk of samples through all layers, block of steps by block of steps."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from ..kernels import encode, fused_encode, fused_record
from ..kernels.arguments import CubaState, State
from ..kernels.fused_synapse import VALUES
from ..network import INPUT, Array, Network, per_channel
from ..trace import Case
from . import integers
from .calls import Ready, Sizes, ready
from .desk import Desk
from .kept import Spare
from .layout import Frame, plain
from .parallel import cores
from .recorder import Recorder
from .stages import Plan, Stage

States = dict[str, State | CubaState]


class Chunk(NamedTuple):
    """Samples of a case that are at work, where their run is recorded, and how many they are."""

    case: Case
    out: Recorder
    rows: slice
    samples: int


class Worker:
    """Runs chunks of a plan, one after the other, in memory that it keeps: fresh pages cost as much as the work.

    Arguments of the kernels are put together once for as long as chunks and blocks keep their sizes: in a small network that
    takes longer than the kernels.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        views = [p.view for s in plan for p in (*s.others, s.last, s.skip) if p is not None]
        self.numbers = any(v.source == INPUT and v.kind == VALUES for v in views)  # come in each step, and not bits
        self.desk = Desk()
        self.ready: dict[str, Ready] = {}
        self.sizes: Sizes | None = None

    def run(self, case: Case, out: Recorder, rows: slice, steps: int) -> None:
        """Run a chunk of samples over all steps, `steps` at a time, into a recorder."""
        chunk = Chunk(case, out, rows, rows.stop - rows.start)
        states = {s.name: self.state(s, chunk) for s in self.plan if s.neurons is not None}
        output, marks = self.plan[-1], out.marks
        total = np.zeros((chunk.samples, *output.frame.shape))
        ends = sorted({*range(steps, case.steps, steps), *marks})
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            ts = slice(start, stop)
            self.desk.clock[0] = start
            if self.sizes != (sizes := Sizes(chunk.samples, stop - start, case.steps, out.record == "full")):
                self.sizes = sizes
                self.ready.clear()
            self.desk.held[INPUT] = self.stimulus(chunk, ts)
            for stage in self.plan:
                self.advance(stage, chunk, ts, states, sizes)
            self.add_output(output, chunk, ts, total)
            if stop in marks:
                out.readout[marks.index(stop), rows] = total
        for stage in self.plan:
            if stage.name in states:
                _channels_first(states[stage.name].v, 0, stage.frame, out.v_end[stage.name][rows])

    def state(self, stage: Stage, chunk: Chunk) -> State | CubaState:
        """What neurons keep from step to step, before the first one."""
        n, units, dtype, room = chunk.samples, stage.frame.units, stage.bias.dtype, partial(self.desk.room, stage.name)
        if stage.cuba is not None:
            return integers.state(
                room, (n, units), integers.narrow(stage, chunk.case.steps, chunk.out.record == "full")
            )
        v, more = room("v", (n, units), dtype), room("more", (n * stage.currents * units,), dtype)
        last = room("last", (n * units // 64,), np.uint64)
        v[:], more[:], last[:] = stage.v_init, 0, 0
        return State(v.reshape(-1), more, stage.currents, last, room("x", (64,), dtype))

    def stimulus(self, chunk: Chunk, ts: slice) -> Array:
        """The input of a block."""
        case, rows = chunk.case, chunk.rows
        room, frame = partial(self.desk.room, INPUT), Frame(case.network.input_shape)
        if case.encoding == "constant":
            values = room("values", (chunk.samples, 1, frame.units), case.dtype)
            return values if ts.start else _frames(case.x[None, rows], frame, values)
        shape = chunk.samples, ts.stop - ts.start, frame.units
        if self.numbers:
            return _frames(case.x[ts, rows], frame, room("values", shape, case.dtype))
        x = case.x[ts, rows]
        if case.encoding == "poisson":
            numbers = encode.of_rows(case.first_sample, rows)
            x = fused_encode.poisson(case.x[rows], ts.start, ts.stop, case.seed, numbers)
        bits = room("bits", (*shape[:2], shape[2] // 8), np.uint8)
        channels_first = *x.shape[:2], frame.shape[0], frame.pixels
        fused_record.pack(plain(x), channels_first, bits.reshape(-1), frame.channels // 8, bits.shape[2])
        return bits

    def advance(self, stage: Stage, chunk: Chunk, ts: slice, states: States, sizes: Sizes) -> None:
        """Run one stage over the block; the desk gets its bits or its values."""
        calls = self.ready.get(stage.name)
        if calls is None:
            calls = self.ready[stage.name] = ready(stage, states.get(stage.name), self.desk, sizes)
        for call in (*calls.at_start, *calls.in_block) if ts.start == 0 else calls.in_block:
            call()
        if stage.neurons is not None:
            self.record(stage, calls, chunk, ts)

    def record(self, stage: Stage, calls: Ready, chunk: Chunk, ts: slice) -> None:
        """Take a stage's spikes, and its potentials, of the block."""
        frame, name, out, bits = stage.frame, stage.name, chunk.out, calls.bits
        width, shape = frame.channels // 8, (chunk.samples, frame.shape[0], frame.pixels)
        offsets = np.arange(bits.shape[1], dtype=np.int32)
        scratch = self.desk.room(name, "counts", (frame.units,), np.uint8)
        total = out.counts[name][chunk.rows].reshape(-1)
        fused_record.count(bits.reshape(-1), offsets, width, total, shape, scratch, ts.start > 0)
        if name in out.spikes:
            spikes = out.spikes[name].reshape(*out.spikes[name].shape[:2], frame.shape[0], -1)
            column = np.empty(fused_record.TILE, np.uint8)
            fused_record.unpack(bits, width, spikes, ts.start, chunk.rows.start, column)
        for frames, into in zip(calls.kept, out.potentials(name, ts, chunk.rows) or (), strict=False):
            for t in range(len(into)):
                _channels_first(frames, t, frame, into[t])

    def add_output(self, stage: Stage, chunk: Chunk, ts: slice, total: Array) -> None:
        """Bring the sum of the output's values, total [n, *shape], up to date."""
        if stage.neurons is not None:
            counts = chunk.out.counts[stage.name][chunk.rows]
            np.multiply(counts, per_channel(stage.worth, counts.shape[1:]), out=total)
            return
        values = self.desk.held[stage.name]
        times = ts.stop - ts.start if values.shape[1] == 1 else 1
        part = np.empty(total.shape)
        _channels_first(values.sum(1, dtype=np.float64) * times, 0, stage.frame, part)
        total += part


_idle: Spare[Worker] = Spare(max(cores(), 4))  # fewer than run at once, and every chunk would build its own


def borrowed(plan: Plan) -> Worker:
    """A worker of a plan: one that an earlier run gave back, or a new one."""
    return _idle.take(lambda worker: worker.plan is plan) or Worker(plan)


def give_back(worker: Worker, network: Network) -> None:
    """Keep a worker, and its memory, for the next run of its network; at most as many as run at once."""
    _idle.give(worker, network)


def _frames(x: Array, frame: Frame, into: Array) -> Array:
    """Frames [n, T, units] of values [T, n, *shape], into an array whose padding is zero."""
    body = into[:, :, : frame.pixels * frame.channels].reshape(*into.shape[:2], frame.pixels, frame.channels)
    body[..., : frame.shape[0]] = x.reshape(*x.shape[:2], frame.shape[0], -1).transpose(1, 0, 3, 2)
    return into


def _channels_first(frames: Array, t: int, frame: Frame, into: Array) -> None:
    """Write step t of frames [n, T, units] as into [n, *shape]."""
    n, shape = len(into), (len(into), frame.shape[0], frame.pixels)
    steps = frames.size // (n * frame.units)
    start, stride = t * frame.units, steps * frame.units
    fused_record.channels_first(frames.reshape(-1), start, stride, frame.channels, into.reshape(-1), shape)
