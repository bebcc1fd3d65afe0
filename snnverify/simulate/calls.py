"""What a stage calls in a block of steps: kernels with their arguments, put together once for blocks of one size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..kernels import fused_dense
from ..kernels import fused_layer as kernel
from ..kernels.arguments import Base, Images, Kept, Scratch, Skip, Source, Weights, bound
from ..kernels.fused_dense import PIXELS
from ..kernels.fused_synapse import VALUES
from ..network import Array
from . import integers
from .dense import NO_IMAGES
from .desk import Calls, Desk
from .memory import LINE
from .stages import Part, Stage

NO_BITS = np.zeros(0, np.uint8)


class Sizes(NamedTuple):
    """Samples of a chunk, steps of a block and of the run, and whether potentials are recorded."""

    samples: int
    steps: int
    run: int
    full: bool


class Ready(NamedTuple):
    """Calls at the beginning of a chunk and in every block; the stage's spikes, and the potentials that are kept."""

    at_start: Calls
    in_block: Calls
    bits: Array
    kept: Kept


def ready(stage: Stage, state: Any, desk: Desk, sizes: Sizes) -> Ready:
    """Put a stage's calls together; the desk holds its sources, and from here on what the stage hands on."""
    n, steps, units, dtype = sizes.samples, sizes.steps, stage.frame.units, stage.bias.dtype
    shape = (n, steps, units) if sizes.full else (0, 0, 0)
    kept = Kept(*(desk.room(stage.name, f"kept {part}", shape, dtype) for part in Kept._fields))
    if stage.cuba is not None:
        return _cuba(stage, state, kept, desk, sizes)
    base, at_start, in_block = Base(stage.bias, 0, 0), Calls(), Calls()
    for what, parts, length, calls in (("once", stage.constant, 1, at_start), ("each", stage.others, steps, in_block)):
        if parts or (stage.neurons is None and what == "once"):
            sums = desk.room(stage.name, what, (n, length, units), dtype)
            calls += [partial(_repeat, base.values, sums), *_accumulate(parts, sums, not stage.bias.any(), desk)]
            base = Base(sums, units * length, units * (length > 1))
    if stage.neurons is None:
        desk.held[stage.name] = base.values
        return Ready(at_start, in_block, NO_BITS, kept)
    bits = desk.room(stage.name, "bits", (n, steps, units // 64), np.uint64)
    sent = desk.held[stage.name] = bits.view(np.uint8)
    neurons = (base._replace(values=base.values.reshape(-1)), stage.neurons, state, bits.reshape(-1), units, steps,
               Kept(*(k.reshape(-1) for k in kept)))  # fmt: skip
    if (part := stage.last) is None:
        in_block.append(bound(kernel.driven, *neurons))
    else:
        weights, scale, sums, scratch = _gear(stage.name, part, units, desk)
        skip = Skip(_source(stage.skip or part, desk), _factor(stage), desk.room(stage.name, "skip", (units,), dtype))
        images = _images(stage.name, part, steps, desk)
        in_block.append(
            bound(kernel.spiking, _source(part, desk), weights, images, scale, sums, skip, *neurons, scratch)
        )
    return Ready(at_start, in_block, sent, kept)


def _cuba(stage: Stage, state: Any, kept: Kept, desk: Desk, sizes: Sizes) -> Ready:
    """`ready` for integer neurons: what arrives late, and what is handed on late, are delayed as bits."""
    act, part, name, units = stage.cuba, stage.last, stage.name, stage.frame.units
    assert act is not None
    assert part is not None
    room = partial(desk.room, name)
    arriving, line = integers.late(room, "arriving", desk.held[part.view.source], act.delay)
    weights, _, sums, scratch = _gear(name, part, units, desk)
    bits = room("bits", (sizes.samples, sizes.steps, units // 64), np.uint64)
    images = _images(name, part, sizes.steps, desk)
    call = integers.call(
        stage, state, _source(part, desk, arriving), weights, images, sums, scratch.index, bits, sizes.steps, kept,
        desk.clock, sizes.run,
    )  # fmt: skip
    desk.held[name], at_start, in_block = integers.handed_on(room, act, stage.frame, bits.view(np.uint8))
    return Ready([*line[:1], *at_start], [*line[1:], call, *in_block], bits.view(np.uint8), kept)


def _accumulate(parts: tuple[Part, ...], base: Array, zeros: bool, desk: Desk) -> Calls:
    """Calls that add branches to base [n, T, units], which holds zeros or not."""
    frames, units, flat = base.shape[0] * base.shape[1], base.shape[2], base.reshape(-1)
    calls: Calls = []
    for part in parts:
        source = _source(part, desk)
        if part.synapses is None:
            scratch = _scratch(part, base.dtype)
            calls.append(bound(kernel.accumulate_windows, source, part.factor, flat, frames, units, scratch))
            continue
        weights, scale, sums, scratch = _gear("", part, units, desk)
        if part.view.kind == VALUES and part.single and not part.view.varies:
            fours = frames // 4 + 4
            room = np.empty((fours + 1) * kernel.GROUP, np.uint16), np.empty(fours, np.int64)
            slow = bound(kernel.accumulate_matrix, source.values, source.size, weights, flat, frames, units, *room)
            fast = _as_bytes(part, source, flat, frames, units, desk) if zeros and len(parts) == 1 else None
            calls.append(slow if fast is None else partial(_first_that_can, fast, slow))
        else:
            calls.append(bound(kernel.accumulate, source, weights, scale, sums, flat, frames, units, scratch))
    return calls


def _as_bytes(
    part: Part, source: Source, base: Array, frames: int, units: int, desk: Desk
) -> Callable[[], bool] | None:
    """`accumulate_bytes` with its arguments in place; None where the weights are no bytes."""
    if (matrix := part.matrix) is None:
        return None
    starts = np.pad(np.arange(frames) * matrix.size, (0, 2 * max(PIXELS))).astype(np.int32)
    counts = desk.room("", "bytes", (frames * matrix.size,), np.uint8)
    sums = desk.room("", "sums of bytes", ((frames + max(PIXELS)) * units,), np.int32)
    scales = np.ldexp(matrix.scale, -np.arange(fused_dense.POWERS)).astype(base.dtype)
    products = matrix.products._replace(starts=starts)
    return bound(
        fused_dense.accumulate_bytes, source.values, matrix.size, products, counts, sums, scales, base, frames, units
    )


def _first_that_can(fast: Callable[[], bool], slow: Callable[[], object]) -> None:
    if not fast():
        slow()


def _repeat(pattern: Array, frames: Array) -> None:
    """Write a pattern of a frame, or one of [n, 1, units], to frames [n, T, units]."""
    if pattern.ndim == 1:
        frames.reshape(-1, len(pattern))[:] = pattern
    else:
        frames[:] = pattern


def _source(part: Part, desk: Desk, arriving: Array | None = None) -> Source:
    """A branch's source, or what arrives of it."""
    view, data = part.view, desk.held[part.view.source] if arriving is None else arriving
    bits, values = (NO_BITS, data) if view.kind == VALUES else (data, np.zeros(0, part.dtype))
    pixels = 1 if part.single else view.stored.pixels
    rows, zeros = (0, 0) if part.synapses is None else (part.synapses.rows, part.synapses.zeros)
    return Source(
        kind=view.kind, bits=bits.reshape(-1), values=values.reshape(-1), size=data.shape[2], width=part.channels // 8,
        rows=rows, zeros=zeros,
        windows=np.arange(pixels, dtype=np.int32)[:, None] if view.windows is None else view.windows,
    )  # fmt: skip


def _gear(name: str, part: Part, units: int, desk: Desk) -> tuple[Weights, Any, Array, Scratch]:
    """What the kernels need of synapses: weights, unit of the sums, room for the sums (zeros), and scratch."""
    laid = part.synapses
    assert laid is not None
    sums = desk.room(f"{name} {laid.sums} {units}", "sums", (units + max(PIXELS) * laid.channels,), laid.sums)
    return laid.weights, laid.scale, sums, _scratch(part, laid.sums)


def _images(name: str, part: Part, steps: int, desk: Desk) -> Images:
    """A branch's images with their room."""
    if part.images is None:
        return NO_IMAGES
    return part.images._replace(counts=desk.room(name, "images", (steps * part.images.size + LINE,), np.uint8))


def _factor(stage: Stage) -> Array:
    """Of the stage's skip, repeated to whole words; empty where it has none."""
    if stage.skip is None or stage.skip.factor is None:
        return np.zeros(0, stage.bias.dtype)
    return np.tile(stage.skip.factor, math.lcm(64, len(stage.skip.factor)) // len(stage.skip.factor))


def _scratch(part: Part, dtype: Any) -> Scratch:
    view, channels = part.view, part.channels
    active = channels * (1 if view.windows is None else view.windows.shape[1]) + 32
    return Scratch(
        index=np.empty(active, np.uint16 if view.frame.units <= 2**16 else np.int32), factor=np.empty(active, dtype),
        counts=np.empty(channels, np.uint8), active=np.empty(channels // 8, np.uint8),
    )  # fmt: skip
