"""The numpy engine: layers one after the other over a block of steps, time folded into the batch of each product.

A value that is constant in time (the input, and what hangs on it alone) is computed once. Samples are taken in tiles and
time in blocks, so that working memory stays inside a stated budget however long the run or the data set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..activation import Cuba, Neuron, SigmaDelta
from ..kernels import encode, loihi, neuron
from ..network import INPUT, Array, Conv, Integer, Network, gated, per_channel
from ..trace import Case
from .operations import Gates, over_time
from .recorder import Recorder


def run(
    case: Case, out: Recorder, samples: int, memory: int, progress: Callable[[int], None] | None,
    head_start: Mapping[str, Array] | None,
) -> None:  # fmt: skip
    """Fill a recorder with the run of a case."""
    network, steps = case.network, case.steps
    tile, block = plan(network, samples, steps, np.dtype(case.dtype).itemsize, memory)
    for n in range(0, samples, tile):
        rows = slice(n, min(n + tile, samples))
        states: dict[str, neuron.State] = {}
        gates = {(v.name, i): np.asarray(head_start[b.source][rows], float) for v in network.layers
                 for i, b in enumerate(v.branches) if head_start and gated(b)}  # fmt: skip
        for t in range(0, steps, block):
            _block(case, rows, slice(t, min(t + block, steps)), states, gates, out)
        for layer in network.spiking:
            out.v_end[layer.name][rows] = states[layer.name]["v"]
        if progress is not None:
            progress(rows.stop - rows.start)


def plan(network: Network, samples: int, steps: int, itemsize: int, memory: int) -> tuple[int, int]:
    """Choose samples per tile and steps per block so that the working arrays of a block fit into `memory` bytes."""
    widest = total = 0
    for layer in network.layers:
        out = math.prod(network.shapes[layer.name])
        total += 2 * out  # the summed input and the emitted values
        for b in layer.branches:
            columns = out
            if gated(b):  # values and their running sums, in float64
                columns += 4 * math.prod(network.shapes[b.source])
            if isinstance(b.op, Conv):  # im2col holds every input channel under the kernel, at every output position
                columns = out // b.op.channels[1] * b.op.channels[0] * math.prod(b.op.weight.shape[2:])
            widest = max(widest, columns + math.prod(network.shapes[b.source]))
    if any(isinstance(layer.act, Integer) for layer in network.layers):
        itemsize = 16  # int64, beside what it is made of
    per_entry = itemsize * (widest + total)
    block = max(1, min(steps, memory // per_entry))
    return max(1, min(samples, memory // (per_entry * block))), block


def _block(case: Case, rows: slice, ts: slice, states: dict[str, neuron.State], gates: Gates, out: Recorder) -> None:
    """Run one tile of samples over one block of steps; a value is [steps, n, *shape], or [1, n, *shape] if constant."""
    network, steps = case.network, ts.stop - ts.start
    values: dict[str, Array] = {INPUT: _stimulus(case, rows, ts)}
    last_use = {b.source: layer.name for layer in network.layers for b in layer.branches}
    for layer in network.layers:
        z = over_time(layer, values, steps, gates)
        if isinstance(layer.act, (Neuron, *Integer)):
            keep = out.potentials(layer.name, ts, rows)
            state = states.setdefault(layer.name, {})
            if isinstance(layer.act, Neuron):
                z = z.astype(case.dtype, copy=False)  # what an integer layer hands on is made of integers
                s = neuron.advance(layer.act, z, steps, state, _resolver(z), keep)
                amplitude = _resolver(z)(layer.act.amplitude)
                values[layer.name] = s.astype(z.dtype) * amplitude
            else:
                assert isinstance(layer.act, (Cuba, SigmaDelta))
                s = loihi.advance(layer.act, z, steps, state, _resolver(z), keep)
                values[layer.name] = loihi.handed_on(np.asarray(layer.act.axon_delay), s, steps, state)
            out.spikes_of(layer.name, s, ts, rows)
        else:
            values[layer.name] = z
        for source in [name for name in values if last_use.get(name) == layer.name]:
            del values[source]
    out.output(values[network.output.name], ts, rows)


def _stimulus(case: Case, rows: slice, ts: slice) -> Array:
    if case.encoding == "spikes":
        x = case.x[ts, rows]
    elif case.encoding == "poisson":
        x = encode.poisson(case.x[rows], ts.start, ts.stop, case.seed, case.first_sample + rows.start)
    else:
        x = case.x[None, rows]
    if not any(isinstance(layer.act, Integer) for layer in case.network.layers):
        return x.astype(case.dtype)
    whole = x.dtype.kind in "iub" or bool(np.all(x == np.rint(x)))  # integers are never rounded on their way
    return x.astype(np.int64 if whole else np.float64)


def _resolver(z: Array) -> neuron.Resolve:
    return lambda p: per_channel(p, z.shape[2:]).astype(z.dtype)
