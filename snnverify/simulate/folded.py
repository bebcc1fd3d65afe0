"""The numpy engine: layers one after the other over a block of steps, time folded into the batch of each product.

A value that is constant in time (the input, and what hangs on it alone) is computed once. Samples are taken in tiles and
time in blocks, so that working memory stays inside a stated budget however long the run or the data set.

The sum of a product depends on its shape: BLAS has other kernels for other sizes and for the rows at an edge. So tiles
and blocks follow from network, steps and budget alone, never from the number of samples; the last tile is filled up with
zeros before every product and cut afterwards, and BLAS has one thread. What a sample does then depends on its place in
its tile at most: neither on its neighbours (a row of a product has a sum of its own) nor on the tiles beside it or the
number of threads, which take whole tiles. Layers of integers are exact and need none of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from ..activation import Cuba, Neuron, SigmaDelta
from ..kernels import blas, encode, loihi, neuron, synapse
from ..network import INPUT, Array, Branch, Conv, Integer, Layer, Network, gated, per_channel
from ..trace import Case
from .operations import Gates, over_time
from .parallel import cores, in_threads
from .recorder import Recorder

TILE = 64  # samples: enough for BLAS, whose products have a row for each
BLOCK = 255  # steps: their spikes are counted in 8 bits
CACHE = 2**24  # bytes of working arrays that a tile should not exceed even where the budget is greater


def run(
    case: Case, out: Recorder, samples: int, memory: int, progress: Callable[[int], None] | None,
    head_start: Mapping[str, Array] | None, threads: int | None = None,
) -> None:  # fmt: skip
    """Fill a recorder with the run of a case."""
    tile, block = tiling(case.network, TILE, case.steps, np.dtype(case.dtype).itemsize, min(memory, CACHE))
    tile = 2 ** int(math.log2(tile))  # so that batches of the usual sizes leave no tile half empty
    tiles = [slice(n, min(n + tile, samples)) for n in range(0, samples, tile)]
    threads = min(threads or cores(), max(1, memory // CACHE))  # a tile takes CACHE at most
    work = partial(_tile, case, out, tile, block, head_start or {})
    with blas.one_thread():
        for rows in in_threads(work, tiles, threads):
            if progress is not None:
                progress(rows.stop - rows.start)


def tiling(network: Network, samples: int, steps: int, itemsize: int, memory: int) -> tuple[int, int]:
    """Choose samples per tile and steps per block so that the working arrays of a block fit into `memory` bytes."""
    widest = total = columns = 0
    for layer in network.layers:
        out = math.prod(network.shapes[layer.name])
        total += 2 * out  # the summed input and the emitted values
        for b in layer.branches:
            source = math.prod(network.shapes[b.source])
            if gated(b):  # values and their running sums, in float64
                source += 4 * source
            if isinstance(b.op, Conv):  # a copy of the input, padded, and every window of it
                source *= 1 + (math.prod(b.op.stride) if b.op.transposed else 1)
                columns = max(columns, out // b.op.channels[1] * b.op.channels[0] * math.prod(b.op.weight.shape[2:]))
            widest = max(widest, 2 * out + source)  # the branch, and the sum with others
    if any(isinstance(layer.act, Integer) for layer in network.layers):
        itemsize = 16  # int64, beside what it is made of
    per_entry = itemsize * (widest + total)
    entries = max((memory - synapse.COLUMNS) // per_entry, memory // (per_entry + itemsize * columns), 1)
    block = min(steps, entries, BLOCK)
    block = math.ceil(steps / math.ceil(steps / block))  # as many blocks, of one length
    return max(1, min(samples, entries // block)), block


def _tile(case: Case, out: Recorder, tile: int, block: int, head_start: Mapping[str, Array], rows: slice) -> slice:
    """Run one tile of samples over all steps; a value is [steps, tile, *shape], or [1, tile, *shape] if constant."""
    network, n = case.network, rows.stop - rows.start
    if any(isinstance(layer.act, Integer) for layer in network.layers):
        tile = n  # exact in any shape
    last_use = {b.source: layer.name for layer in network.layers for b in layer.branches}
    still, sums = _constants(case, rows, tile)
    states: dict[str, neuron.State] = {layer.name: {} for layer in network.spiking}
    gates = {(v.name, i): _filled(np.asarray(head_start[b.source][rows], float)[None], tile)[0] for v in network.layers
             for i, b in enumerate(v.branches) if head_start and gated(b)}  # fmt: skip
    for t in range(0, case.steps, block):
        ts = slice(t, min(t + block, case.steps))
        values = dict(still) if INPUT in still else {INPUT: _filled(_stimulus(case, rows, ts), tile)}
        for layer in network.layers:
            if layer.name not in still:
                z = _summed(layer, values, ts, gates, still, sums)
                if layer.act is not None:
                    z = _filled(_fired(case, layer, z[:, :n], ts, rows, states[layer.name], out), tile)
                values[layer.name] = z
            for source in [name for name in values if last_use.get(name) == layer.name]:
                del values[source]
        out.output(values[network.output.name][:, :n], ts, rows)
    for layer in network.spiking:
        out.v_end[layer.name][rows] = states[layer.name]["v"]
    return rows


def _constants(case: Case, rows: slice, tile: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Values that are constant in time, by layer, and the sum of each layer's branches on them."""
    values: dict[str, Array] = {}
    sums: dict[str, Array] = {}
    if case.encoding == "constant":
        values[INPUT] = _filled(_stimulus(case, rows, slice(0, 1)), tile)
    for layer in case.network.layers:
        part = tuple(b for b in layer.branches if _still(b, values))
        if part:
            sums[layer.name] = over_time(replace(layer, branches=part), values, 1, {})
        if part == layer.branches and layer.act is None:
            values[layer.name] = sums[layer.name]
    return values, sums


def _still(branch: Branch, still: Mapping[str, Array]) -> bool:
    return branch.source in still and not gated(branch)


def _summed(
    layer: Layer,
    values: Mapping[str, Array],
    ts: slice,
    gates: Gates,
    still: Mapping[str, Array],
    sums: Mapping[str, Array],
) -> Array:
    """Sum of a layer's branches, the constant ones first."""
    moving = [i for i, b in enumerate(layer.branches) if not _still(b, still)]
    if not moving:
        return sums[layer.name]
    z = over_time(layer, values, ts.stop - ts.start, gates, moving)
    return sums[layer.name] + z if layer.name in sums else z


def _fired(case: Case, layer: Layer, z: Array, ts: slice, rows: slice, state: neuron.State, out: Recorder) -> Array:
    """What a spiking layer hands on; everything is recorded on the way."""
    steps, keep = ts.stop - ts.start, out.potentials(layer.name, ts, rows)
    if isinstance(layer.act, Neuron):
        z = z.astype(case.dtype, copy=False)  # what an integer layer hands on is made of integers
        s = neuron.advance(layer.act, z, steps, state, _resolver(z), keep)
        sent = s.astype(z.dtype)
        if np.any(layer.act.amplitude != 1):
            sent *= neuron.full(_resolver(z)(layer.act.amplitude), z[0])
    else:
        assert isinstance(layer.act, (Cuba, SigmaDelta))
        s = loihi.advance(layer.act, z, steps, state, _resolver(z), keep)
        sent = loihi.handed_on(np.asarray(layer.act.axon_delay), s, steps, state)
    out.spikes_of(layer.name, s, ts, rows)
    return sent


def _filled(x: Array, tile: int) -> Array:
    """``x`` [steps, n, *shape] with zeros for the samples that its tile lacks."""
    if x.shape[1] == tile:
        return x
    return np.concatenate([x, np.zeros((len(x), tile - x.shape[1], *x.shape[2:]), x.dtype)], axis=1)


def _stimulus(case: Case, rows: slice, ts: slice) -> Array:
    if case.encoding == "spikes":
        x = case.x[ts, rows]
    elif case.encoding == "poisson":
        x = encode.poisson(case.x[rows], ts.start, ts.stop, case.seed, encode.of_rows(case.first_sample, rows))
    else:
        x = case.x[None, rows]
    if not any(isinstance(layer.act, Integer) for layer in case.network.layers):
        return x.astype(case.dtype)
    whole = x.dtype.kind in "iub" or bool(np.all(x == np.rint(x)))  # integers are never rounded on their way
    return x.astype(np.int64 if whole else np.float64)


def _resolver(z: Array) -> neuron.Resolve:
    return lambda p: per_channel(p, z.shape[2:]).astype(z.dtype)
