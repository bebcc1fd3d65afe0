"""THE simulator: Network + input -> Trace, in numpy.

Layers run one after the other over a block of steps, so a synapse is one matrix product over samples and time folded
together; a value that is constant in time (the input, and what hangs on it alone) is computed once. Samples are taken
in tiles and time in blocks, so that working memory stays inside a stated budget however long the run or the data set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt

from ..activation import ClipFloor, Cuba, Neuron, Relu, SigmaDelta
from ..errors import ConfigError, Unsupported
from ..kernels import encode, loihi, neuron
from ..network import INPUT, Array, Conv, Integer, Network, Pool, gated, per_channel
from ..trace import Case, Encoding, Record, Trace
from .operations import Gates, apply, exactly, fan_out, forward, over_time, summed
from .recorder import Recorder

__all__ = ["MEMORY", "apply", "exactly", "fan_out", "forward", "over_time", "plan", "run", "simulate", "summed"]
MEMORY = 64 * 2**20
Progress = Callable[[int], None]


def simulate(
    network: Network, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
    first_sample: int = 0, dtype: str = "float32", record: Record = "counts", readout_at: Sequence[int] | None = None,
    memory: int = MEMORY, progress: Progress | None = None,
) -> Trace:  # fmt: skip
    """Run a spiking network on a batch.

    Parameters
    ----------
    network : Network
        Its activations are `Neuron`, `Cuba`, `SigmaDelta` or None.
    x : array [N, *input_shape], or [T, N, *input_shape] for ``encoding="spikes"``
    steps : int
        T.
    encoding : {"constant", "poisson", "spikes"}
        The input current itself at every step; Bernoulli spikes; the user's own train.
    seed, first_sample : int
        Of the stochastic encoding; see `kernels.encode.poisson`.
    dtype : {"float32", "float64"}
        Of potentials and currents.
    record : {"counts", "spikes", "full"}
        What the trace keeps beside counts, read-out and last potentials.
    readout_at : sequence of int, optional
        Steps at which the accumulated read-out is kept; T is added.
    memory : int
        Budget for working arrays, bytes (recorded arrays come on top).
    progress : callable, optional
        Called with the number of samples that are done.

    Returns
    -------
    Trace

    Raises
    ------
    DataError
        `x` does not fit, or holds NaN; no step.
    Unsupported
        An activation that does not spike.
    """
    case = Case(network, np.asarray(x), steps, encoding, seed, first_sample, dtype)  # type: ignore[arg-type]
    return run(case, record, readout_at=readout_at, memory=memory, progress=progress)


def run(
    case: Case, record: Record = "full", *, readout_at: Sequence[int] | None = None, memory: int = MEMORY,
    progress: Progress | None = None, head_start: Mapping[str, Array] | None = None,
) -> Trace:  # fmt: skip
    """`simulate` for a Case; `head_start` is what the sources of gates, [N, *shape], count as having handed on before."""
    network, steps = case.network, case.steps
    if record not in get_args(Record):
        raise ConfigError(f"record = {record!r}: one of {', '.join(get_args(Record))}")
    marks = tuple(sorted({*map(int, readout_at or ()), steps}))
    if marks[0] < 1 or marks[-1] > steps:
        raise ConfigError(f"readout_at = {marks}: steps of a run lie in 1 ... {steps}")
    for layer in network.layers:
        pooled = any(isinstance(b.op, Pool) and b.op.kind == "max" for b in layer.branches)
        if pooled or isinstance(layer.act, (Relu, ClipFloor)):
            what = "max pooling" if pooled else type(layer.act).__name__
            raise Unsupported(layer.name, f"{what} does not spike", "convert the network first")
    n_samples = case.x.shape[1 if case.encoding == "spikes" else 0]
    tile, block = plan(network, n_samples, steps, np.dtype(case.dtype).itemsize, memory)
    out = Recorder(network, case, n_samples, marks, record)
    for n in range(0, n_samples, tile):
        rows = slice(n, min(n + tile, n_samples))
        states: dict[str, neuron.State] = {}
        gates = {(v.name, i): np.asarray(head_start[b.source][rows], float) for v in network.layers
                 for i, b in enumerate(v.branches) if head_start and gated(b)}  # fmt: skip
        for t in range(0, steps, block):
            _block(case, rows, slice(t, min(t + block, steps)), states, gates, out)
        for layer in network.spiking:
            out.v_end[layer.name][rows] = states[layer.name]["v"]
        if progress is not None:
            progress(rows.stop - rows.start)
    return out.trace()


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
