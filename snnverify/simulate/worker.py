"""One thread's part of the fused engine: a chunk of samples through all layers, block of steps by block of steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..activation import Cuba
from ..errors import Unsupported
from ..kernels import encode, fused_loihi, fused_record
from ..kernels import fused_layer as kernel
from ..kernels.fused_dense import PIXELS
from ..kernels.fused_synapse import VALUES
from ..kernels.loihi import delayed
from ..kernels.neuron import State
from ..network import INPUT, Array, per_channel
from ..trace import Case
from .layout import Frame
from .image import NO_IMAGE
from .memory import LINE, aligned
from .recorder import Recorder
from .stages import Part, Stage

NO_BITS = np.zeros(0, np.uint8)
Calls = list[Callable[[], object]]


@dataclass(frozen=True)
class _Ready:
    """A stage with its arguments in place: calls at the beginning of a chunk, calls in every block, and what is kept."""

    once: Calls
    each: Calls
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
            if self.sizes != (sizes := (self.n, stop - start, out.record == "full")):
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

    def state(self, stage: Stage) -> tuple[Array, Array, Array, Array]:
        """Potentials, synaptic currents, last spikes and room for inputs, before the first step."""
        name, n, units, dtype = stage.name, self.n, stage.frame.units, stage.bias.dtype
        if stage.cuba is not None:
            kind = np.int32 if self.narrow(stage) else np.int64
            u, v, wait = (self.room(name, part, (n, units), kind) for part in ("u", "v", "wait"))
            u[:], v[:], wait[:] = 0, 0, 0
            return u, v, wait, {}  # type: ignore[return-value]
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
            x = encode.poisson(case.x[rows], ts.start, ts.stop, case.seed, case.first_sample + rows.start)
        flags = _frames(x, frame, self.room(INPUT, "flags", shape, np.uint8))
        bits = self.room(INPUT, "bits", (*shape[:2], shape[2] // 8), np.uint8)
        bits[:] = np.packbits(flags, axis=-1, bitorder="little")
        return bits

    def stage(self, stage: Stage, states: dict[str, Any]) -> None:
        """Run one layer over the block; `held` gets its bits or its values."""
        ready = self.ready.get(stage.name)
        if ready is None:
            ready = self.ready[stage.name] = self.prepared(stage, states.get(stage.name))
        for call in (*ready.once, *ready.each) if self.ts.start == 0 else ready.each:
            call()
        if stage.cuba is not None:
            self.cuba(stage, states[stage.name], ready.kept)
        elif stage.neuron is not None:
            self.record(stage, self.held[stage.name], ready.kept)

    def prepared(self, stage: Stage, state: Any) -> _Ready:
        """Put a stage's calls together; its sources are held."""
        n, (_, steps, full), units, dtype = self.n, self.sizes, stage.frame.units, stage.bias.dtype
        kept = tuple(
            self.room(stage.name, f"kept {k}", (n, steps, units) if full else (0, 0, 0), dtype) for k in range(2)
        )
        if stage.cuba is not None:
            return _Ready([], [], kept)
        base, strides, once, each = stage.bias, (0, 0), Calls(), Calls()
        for what, parts, length, calls in (("once", stage.constant, 1, once), ("each", stage.others, steps, each)):
            if parts or (stage.neuron is None and what == "once"):
                more = self.room(stage.name, what, (n, length, units), dtype)
                calls += [partial(_repeat, base, more), *self.accumulate(parts, more)]
                base, strides = more, (units * length, units * (length > 1))
        if stage.neuron is None:
            self.held[stage.name] = base
            return _Ready(once, each, kept)
        bits = self.room(stage.name, "bits", (n, steps, units // 64), np.uint64)
        self.held[stage.name] = bits.view(np.uint8)
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
        return _Ready(once, each, kept)

    def cuba(self, stage: Stage, state: Any, kept: tuple[Array, ...]) -> None:
        """`stage` for integer neurons: what arrives late, and what is handed on late, are delayed as bits."""
        act, last, steps = stage.cuba, stage.last, self.ts.stop - self.ts.start
        assert act is not None
        assert last is not None
        arriving = _delayed(act.delay, self.held[last.view.source], steps, state[3])
        source, weights, _, sums, scratch = self.gear(stage.name, last, stage.frame.units, arriving)
        bits = self.room(stage.name, "bits", (self.n, steps, stage.frame.units // 64), np.uint64)
        numbers, flat = fused_loihi.settings(act), bits.reshape(-1)
        if self.narrow(stage):
            units = tuple(np.minimum(u, 2**31 - 1).astype(np.int32) for u in stage.units or ())
            image = self.image(stage.name, last, steps)
            failed = fused_loihi.spiking_in_32_bits(source, weights, image, sums, numbers, units, state[:2], flat, steps,
                                                    self.ts.start, scratch[0])  # fmt: skip
        else:
            room = scratch[0], np.empty(64, np.int64), np.zeros(128, np.int64)
            keep = tuple(k.reshape(-1) for k in kept)
            failed = fused_loihi.spiking(source, weights, sums, numbers, stage.units, state[:3], flat, steps,
                                         self.ts.start, keep, room)  # fmt: skip
        if failed:
            what = f"{'uv'[failed % 2]} leaves 24 bits in step {failed // 2 - 1}"
            raise Unsupported("Cuba", what, "scale weights, bias or input down")
        self.record(stage, bits.view(np.uint8), kept)
        sent = bits.view(np.uint8)
        late = _handed_on(act, stage.frame, sent, steps, state[3])
        self.held[stage.name] = sent if late is sent else self.room(stage.name, "late", sent.shape, np.uint8)
        self.held[stage.name][:] = late  # the next layers' calls know this array

    def narrow(self, stage: Stage) -> bool:
        """Whether 32 bits hold whatever the states of integer neurons can come to in the run, and the short kernel them."""
        act = stage.cuba
        if (
            act is None
            or stage.units is None
            or self.out.record == "full"
            or act.refractory > 1
            or act.overflow == "wrap"
        ):
            return False
        current = stage.reach * 2.0 ** (6 + max(act.weight_exponent, 0))
        bias = float(np.abs(stage.units[2]).max())
        steps = self.case.steps if act.overflow == "none" else 1  # else both begin a step within 24 bits
        held = 0 if act.overflow == "none" else 2.0**23
        u = held + steps * current
        return held + steps * (u + bias) < 2**31

    def accumulate(self, parts: tuple[Part, ...], base: Array) -> Calls:
        """Calls that add branches to base [n, T, units]."""
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
                calls.append(
                    partial(kernel.accumulate_matrix, values, size, pieces, weight, flat, frames, units, *room)
                )
            else:
                calls.append(partial(kernel.accumulate, source, weights, scale, sums, flat, frames, units, scratch))
        return calls

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
        fused_record.count(bits.reshape(-1), offsets, width, out.counts[name][self.rows].reshape(-1), shape, scratch)
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


_idle: deque[Worker] = deque(maxlen=4)


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
    """Keep a worker, and its memory, for the next run; at most four of them."""
    _idle.append(worker)


def _repeat(pattern: Array, frames: Array) -> None:
    """Write a pattern of a frame, or one of [n, 1, units], to frames [n, T, units]."""
    if pattern.ndim == 1:
        frames.reshape(-1, len(pattern))[:] = pattern
    else:
        frames[:] = pattern


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


def _frames(x: Array, frame: Frame, found: Array) -> Array:
    """Frames [n, T, units] of values [T, n, *shape], into `found`, whose padding is zero."""
    body = found[:, :, : frame.pixels * frame.channels].reshape(*found.shape[:2], frame.pixels, frame.channels)
    body[..., : frame.shape[0]] = x.reshape(*x.shape[:2], frame.shape[0], -1).transpose(1, 0, 3, 2)
    return found
