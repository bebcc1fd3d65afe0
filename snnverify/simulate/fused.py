"""The fused engine: a block of samples goes through all layers, a layer at a time, and hands on its spikes as bits.

Every sample is computed alone, in an order that the network alone fixes: its bits depend neither on the samples beside it nor
on threads, tiles or budget. A unit's current is its layer's biases, then the constant branches and then the others, as the
layer has them, but the last synapses at the end; each summed by input pixel, in a pixel by channel, by fused multiply-adds. Where a branch's
weights are multiples of a power of two and small, its sums are integers of 16 bits, and exact.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..kernels import encode, fused_record
from ..kernels import fused_layer as kernel
from ..kernels.fused_synapse import VALUES
from ..network import INPUT, Array, per_channel
from ..trace import Case
from .layout import Frame, aligned
from .recorder import Recorder
from .stages import Part, Stage, stages

STEPS = 64  # of a block at most: what a byte counts, and bits that stay in the second cache
SHARE = 512 * 1024  # bytes of a chunk's arrays: half of a second cache, that they stay in it
NO_BITS, NO_WINDOWS = np.zeros(0, np.uint8), np.zeros((1, 1), np.int32)


def run(
    case: Case, out: Recorder, samples: int, memory: int, threads: int | None, progress: Callable[[int], None] | None
) -> None:
    """Fill a recorder with the run of a case."""
    plan = stages(case.network, case.encoding, case.dtype)
    threads = threads or len(os.sched_getaffinity(0))
    size = _chunk_size(plan, case, samples, memory, threads)
    chunks = [slice(n, min(n + size, samples)) for n in range(0, samples, size)]
    for rows in _each(lambda rows: _chunk(plan, case, rows, out), chunks, threads):
        if progress is not None:
            progress(rows.stop - rows.start)


def _each(work: Callable[[slice], slice], chunks: list[slice], threads: int) -> Iterator[slice]:
    """Work on chunks, in threads: the kernels hold no lock."""
    if min(threads, len(chunks)) == 1:
        yield from map(work, chunks)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(work, chunks)
    finally:  # Ctrl-C waits for the chunks at work, not for the others
        pool.shutdown(cancel_futures=True)


def _chunk_size(plan: tuple[Stage, ...], case: Case, samples: int, memory: int, threads: int) -> int:
    """Samples at a time: as many as stay in cache and budget, and no more than give every thread its part."""
    steps, size = min(case.steps, STEPS), np.dtype(case.dtype).itemsize
    each = 0
    for stage in plan:
        kept = 2 + stage.currents + bool(stage.constant) + (steps if len(stage.varying) > 1 or stage.neuron is None else 0)
        each += stage.frame.units * (kept * size + steps // 8)
    return max(1, min(-(-samples // threads), max(1, min(memory // threads, SHARE) // each)))


def _chunk(plan: tuple[Stage, ...], case: Case, rows: slice, out: Recorder) -> slice:
    """Run one chunk of samples over all steps."""
    n = rows.stop - rows.start
    states = {s.name: _state(s, n) for s in plan if s.neuron is not None}
    constants: dict[str, Array] = {}
    total = np.zeros((n, *case.network.shapes[plan[-1].name]))
    ends = sorted({*range(STEPS, case.steps, STEPS), *out.marks})
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        ts = slice(start, stop)
        held: dict[str, Array] = {INPUT: _stimulus(case, rows, ts, constants)}
        for stage in plan:
            held[stage.name] = _stage(stage, held, constants, states, ts, rows, out)
        _read(plan[-1], held[plan[-1].name], total, ts, rows, out)
    for stage in plan:
        if stage.name in states:
            _first(states[stage.name][0], stage.frame, out.v_end[stage.name][rows])
    return rows


def _state(stage: Stage, n: int) -> tuple[Array, Array, Array, Array]:
    units, dtype = stage.frame.units, stage.bias.dtype
    v = aligned((n, units), dtype)
    v[:] = stage.v_init
    more = np.zeros(n * stage.currents * units, dtype)
    return v.ravel(), more, np.zeros(n * units // 64, np.uint64), aligned((units,), dtype)


def _stimulus(case: Case, rows: slice, ts: slice, constants: dict[str, Array]) -> Array:
    """The input of a block as bits or values [n, T or 1, ...]."""
    frame = Frame(case.network.input_shape)
    if case.encoding == "constant":
        if INPUT not in constants:
            constants[INPUT] = _frames(case.x[None, rows], frame, case.dtype)
        return constants[INPUT]
    if case.encoding == "spikes":
        return _frames(case.x[ts, rows], frame, case.dtype)
    x = encode.poisson(case.x[rows], ts.start, ts.stop, case.seed, case.first_sample + rows.start)
    return np.packbits(_frames(x, frame, np.uint8), axis=-1, bitorder="little")


def _frames(x: Array, frame: Frame, dtype: Any) -> Array:
    """Frames [n, T, units] of values [T, n, *shape]."""
    found = np.zeros((x.shape[1], x.shape[0], frame.units), dtype)
    for t, values in enumerate(x):
        found[:, t, : frame.pixels * frame.channels].reshape(len(values), frame.pixels, -1)[:, :, : frame.shape[0]] = (
            values.reshape(len(values), frame.shape[0], -1).swapaxes(1, 2)
        )
    return found


def _first(frames: Array, frame: Frame, into: Array) -> None:
    """Write frames [n, units] with the channel first."""
    fused_record.channels_first(frames.reshape(len(into), -1), frame.channels, into.reshape(len(into), frame.shape[0], -1))


def _stage(
    stage: Stage, held: dict[str, Array], constants: dict[str, Array], states: dict[str, Any], ts: slice, rows: slice,
    out: Recorder,
) -> Array:  # fmt: skip
    """Run one layer over a block; its bits or its values."""
    n, steps, frame = rows.stop - rows.start, ts.stop - ts.start, stage.frame
    if stage.name not in constants and stage.constant:
        constants[stage.name] = _constant(stage, held, n)
    base = constants.get(stage.name, stage.bias[None, None])
    last = next((p for p in reversed(stage.varying) if p.synapses is not None), None) if stage.neuron else None
    others = [p for p in stage.varying if p is not last]
    if others:
        base = _repeated(base, n, steps)
        for part in others:
            _accumulate(part, held, base)
    if stage.neuron is None:
        return base if stage.varying else _repeated(base, n, 1)
    bits = np.empty((n, steps, frame.units // 64), np.uint64)
    kept = tuple(np.empty((n, steps, frame.units) if out.record == "full" else (0, 0, 0), base.dtype) for _ in range(2))
    strides = (frame.units * base.shape[1] * (len(base) > 1), frame.units * (base.shape[1] > 1))
    flat = stage.neuron, states[stage.name], bits.ravel(), steps, tuple(k.ravel() for k in kept)
    if last is None:
        kernel.driven(base.ravel(), strides, *flat)
    else:
        source, weights, scale, sums, scratch = _gear(last, held, frame.units)
        kernel.spiking(source, weights, scale, sums, base.ravel(), strides, *flat, scratch)
    _record(stage, bits.view(np.uint8), kept, ts, rows, out)
    return bits.view(np.uint8)


def _repeated(base: Array, n: int, steps: int) -> Array:
    found = aligned((n, steps, base.shape[2]), base.dtype)
    found[:] = base
    return found


def _constant(stage: Stage, held: dict[str, Array], n: int) -> Array:
    """Biases and constant branches, [n, 1, units]."""
    base = _repeated(stage.bias[None, None], n, 1)
    for part in stage.constant:
        _accumulate(part, held, base)
    return base


def _accumulate(part: Part, held: dict[str, Array], base: Array) -> None:
    """Add a branch to base [n, T, units]; of a matrix, some columns for all samples, then the next: it outgrows the cache."""
    frames, units = base.shape[0] * base.shape[1], base.shape[2]
    if part.synapses is None:
        source = _source(part, held, part.view.stored.channels)
        counts = np.zeros(part.view.stored.channels, np.uint8)
        kernel.accumulate_windows(source, part.factor, base.ravel(), frames, units, counts)
        return
    source, (pieces, ranges, targets, weight), scale, sums, scratch = _gear(part, held, units)
    cuts = [ranges] if len(targets) > 1 else [np.asarray([[i, i + 1]]) for i in range(len(pieces))]
    for cut in cuts:
        kernel.accumulate(source, (pieces, cut, targets, weight), scale, sums, base.ravel(), frames, units, scratch)


def _gear(part: Part, held: dict[str, Array], units: int) -> tuple[Any, ...]:
    """What the kernels need of a branch: source, weights, unit of the sums, room for the sums, and scratch."""
    view, laid = part.view, part.synapses
    assert laid is not None
    dtype = laid.weight.dtype
    channels = view.stored.units if laid.rows == 0 and len(laid.targets) == 1 else view.stored.channels
    room = aligned((units + laid.channels,), dtype)
    scratch = np.empty(channels + 8, np.int32), np.empty(channels + 8, dtype), np.empty(channels, np.uint8)
    weights = laid.pieces, laid.ranges, laid.targets, laid.weight
    return _source(part, held, channels), weights, laid.scale, room, scratch


def _source(part: Part, held: dict[str, Array], channels: int) -> tuple[Any, ...]:
    """A branch's source as `kernels.fused_layer.spiking` takes it, `channels` a pixel."""
    view, data = part.view, held[part.view.source]
    bits, values = (NO_BITS, data) if view.kind == VALUES else (data, np.zeros(0, part.dtype))
    windows = NO_WINDOWS if view.windows is None else view.windows
    rows = 0 if part.synapses is None else part.synapses.rows
    return view.kind, bits.ravel(), values.ravel(), data.shape[2], channels // 8, rows, windows


def _record(stage: Stage, bits: Array, kept: tuple[Array, ...], ts: slice, rows: slice, out: Recorder) -> None:
    """Take a layer's spikes, and its potentials, of a block."""
    frame, name = stage.frame, stage.name
    width = frame.channels // 8
    counts = out.counts[name][rows]
    fused_record.count(bits.ravel(), bits.shape[1], width, counts.reshape(len(counts), frame.shape[0], -1), np.empty(frame.units, np.uint8))
    if name in out.spikes:
        into = out.spikes[name][ts, rows]
        fused_record.unpack(bits, width, into.reshape(*into.shape[:2], frame.shape[0], -1))
    keep = out.potentials(name, ts, rows)
    for frames, into in zip(kept, keep or (), strict=False):
        for t in range(len(into)):
            _first(frames[:, t], frame, into[t])


def _read(stage: Stage, handed_on: Array, total: Array, ts: slice, rows: slice, out: Recorder) -> None:
    """Bring the sum of the output's values up to date; a mark ends its block."""
    if stage.neuron is not None:
        counts = out.counts[stage.name][rows]
        np.multiply(counts, per_channel(stage.worth, counts.shape[1:]), out=total)
    else:
        steps = ts.stop - ts.start
        values = handed_on.sum(1, dtype=np.float64) * (steps if handed_on.shape[1] == 1 else 1)
        part = np.empty(total.shape)
        _first(values, stage.frame, part)
        total += part
    if ts.stop in out.marks:
        out.readout[out.marks.index(ts.stop), rows] = total
