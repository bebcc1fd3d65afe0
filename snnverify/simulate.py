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

from . import __version__
from .activation import ClipFloor, Cuba, Neuron, Relu
from .errors import ConfigError, NetworkError, Unsupported
from .kernels import encode, neuron, synapse
from .network import (
    INPUT,
    Array,
    Conv,
    Dense,
    Flatten,
    Layer,
    Network,
    Op,
    Pool,
    Scale,
    Shape,
    gated,
    output_shape,
    per_channel,
)  # fmt: skip
from .trace import Case, Encoding, Provenance, Record, Trace

MEMORY = 64 * 2**20
Progress = Callable[[int], None]
Gates = dict[tuple[str, int], Array]


def simulate(
    network: Network, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
    first_sample: int = 0, dtype: str = "float32", record: Record = "counts", readout_at: Sequence[int] | None = None,
    memory: int = MEMORY, progress: Progress | None = None,
) -> Trace:  # fmt: skip
    """Run a spiking network on a batch.

    Parameters
    ----------
    network : Network
        Its activations are `Neuron`, `Cuba` or None.
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
    out = _Recorder(network, case, n_samples, marks, record)
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
    per_entry = itemsize * (widest + total)
    block = max(1, min(steps, memory // per_entry))
    return max(1, min(samples, memory // (per_entry * block))), block


def forward(network: Network, x: npt.ArrayLike, dtype: str = "float64") -> dict[str, Array]:
    """Activations of an ANN network.

    Parameters
    ----------
    network : Network
        Its activations are `Relu`, `ClipFloor` or None.
    x : array [N, *input_shape]
    dtype : {"float32", "float64"}

    Returns
    -------
    dict of layer name to array [N, *shape]
    """
    values: dict[str, Array] = {INPUT: np.asarray(x, dtype)}
    if values[INPUT].shape[1:] != network.input_shape:
        raise NetworkError(f"x of shape {values[INPUT].shape}: [N, *shape] with shape {network.input_shape}")
    for layer in network.layers:
        z = summed(layer, values)
        if isinstance(layer.act, Relu):
            z = np.maximum(z, 0)
        elif isinstance(layer.act, ClipFloor):
            theta = per_channel(layer.act.theta, z.shape[1:]).astype(dtype)
            z = np.clip(np.floor(z * layer.act.levels / theta + layer.act.shift), 0, layer.act.levels)
            z = z * theta / layer.act.levels
        elif layer.act is not None:
            raise Unsupported(layer.name, f"{type(layer.act).__name__} has no analog value", "use simulate")
        values[layer.name] = z
    del values[INPUT]
    return values


def summed(layer: Layer, values: Mapping[str, Array]) -> Array:
    """Sum of a layer's branches on values ``[B, *shape]``."""
    total: Array | None = None
    for b in layer.branches:
        y = apply(b.op, values[b.source])
        total = y if total is None else total + y
    assert total is not None
    return total


def apply(op: Op, x: Array) -> Array:
    """One operation on a batch ``[B, *shape]``, in the dtype of `x`."""
    if isinstance(op, Flatten):
        return x.reshape(len(x), -1)
    if isinstance(op, Pool):
        return synapse.pool(x, op.kind, op.kernel, op.stride, op.padding, op.count_include_pad)
    if isinstance(op, Scale):
        y = x if np.ndim(op.factor) == 0 and op.factor == 1 else x * per_channel(op.factor, x.shape[1:]).astype(x.dtype)
    elif isinstance(op, Dense):
        y = synapse.dense(x, op.weight.astype(x.dtype, copy=False))
    else:
        w = op.weight.astype(x.dtype, copy=False)
        geometry = op.stride, op.padding, op.dilation, op.groups
        turned = op.transposed
        y = synapse.conv_transposed(x, w, *geometry, op.output_padding) if turned else synapse.conv(x, w, *geometry)
    return y if op.bias is None else y + per_channel(op.bias, y.shape[1:]).astype(x.dtype)


def fan_out(op: Op, shape: Shape) -> Array:
    """Count the non-zero connections of every unit of the operation's input. Returns int64 of that shape."""
    if isinstance(op, (Flatten, Scale)):
        factor = per_channel(op.factor, shape) if isinstance(op, Scale) else np.ones(())
        return np.broadcast_to((factor != 0).astype(np.int64), shape)
    if isinstance(op, Dense):
        return np.asarray(np.count_nonzero(op.weight, axis=0), np.int64)
    if isinstance(op, Pool):
        ones = np.ones((shape[0], 1, *op.kernel))
        op = Conv(ones, None, op.stride, tuple((p, p) for p in op.padding), groups=shape[0])
    # The adjoint of the operation, with its weights replaced by 1 where they are not 0, on an output of ones.
    out = np.ones((1, *output_shape(op, shape)))
    mask = (op.weight != 0).astype(float)
    if op.transposed:
        y = synapse.conv(out, mask, op.stride, op.padding, op.dilation, op.groups)
    else:
        sizes = zip(shape[1:], out.shape[2:], op.weight.shape[2:], op.stride, op.padding, op.dilation, strict=True)
        rest = [n - ((m - 1) * s - sum(p) + d * (k - 1) + 1) for n, m, k, s, p, d in sizes]
        y = synapse.conv_transposed(out, mask, op.stride, op.padding, op.dilation, op.groups, rest)
    inside = np.ix_(*(range(n) for n in shape))  # a long output padding leaves windows beyond the input
    return np.asarray(np.rint(y[0][inside]), np.int64)


def _block(case: Case, rows: slice, ts: slice, states: dict[str, neuron.State], gates: Gates, out: _Recorder) -> None:
    """Run one tile of samples over one block of steps; a value is [steps, n, *shape], or [1, n, *shape] if constant."""
    network, steps = case.network, ts.stop - ts.start
    values: dict[str, Array] = {INPUT: _stimulus(case, rows, ts)}
    last_use = {b.source: layer.name for layer in network.layers for b in layer.branches}
    for layer in network.layers:
        z = over_time(layer, values, steps, gates)
        if isinstance(layer.act, (Neuron, Cuba)):
            keep = out.potentials(layer.name, ts, rows)
            state = states.setdefault(layer.name, {})
            if isinstance(layer.act, Neuron):
                s = neuron.advance(layer.act, z, steps, state, _resolver(z), keep)
                amplitude = _resolver(z)(layer.act.amplitude)
                values[layer.name] = s.astype(z.dtype) * amplitude
            else:
                s = neuron.advance_cuba(layer.act, z, steps, state, _resolver(z), keep)
                values[layer.name] = s.astype(case.dtype)
            out.spikes_of(layer.name, s, ts, rows)
        else:
            values[layer.name] = z
        for source in [name for name in values if last_use.get(name) == layer.name]:
            del values[source]
    out.output(values[network.output.name], ts, rows)


def over_time(layer: Layer, values: Mapping[str, Array], steps: int, gates: Gates) -> Array:
    """Sum of the branches over a block of steps, with time folded into the batch; constant branches are computed once.

    Values are [steps, n, *shape], or [1, n, *shape] where constant; `gates` is what the inputs of every gate have
    accumulated, by layer and number of branch, and is brought up to date.
    """
    total: Array | None = None
    for i, b in enumerate(layer.branches):
        if gated(b):
            x = np.broadcast_to(values[b.source], (steps, *values[b.source].shape[1:]))
            before = gates.get((layer.name, i), np.zeros(x.shape[1:]))
            assert isinstance(b.op, Pool)
            y, gates[layer.name, i] = synapse.gate(x, before, b.op.kernel, b.op.stride, b.op.padding)
            total = y if total is None else total + y
    for constant in (True, False):
        part = [b for b in layer.branches if (len(values[b.source]) == 1) == constant and not gated(b)]
        if part:
            folded = {b.source: values[b.source].reshape(-1, *values[b.source].shape[2:]) for b in part}
            y = summed(Layer(layer.name, tuple(part)), folded)
            y = y.reshape(-1, values[part[0].source].shape[1], *y.shape[1:])
            total = y if total is None else total + y
    assert total is not None
    return total


def _stimulus(case: Case, rows: slice, ts: slice) -> Array:
    if case.encoding == "spikes":
        x = case.x[ts, rows]
    elif case.encoding == "poisson":
        x = encode.poisson(case.x[rows], ts.start, ts.stop, case.seed, case.first_sample + rows.start)
    else:
        x = case.x[None, rows]
    return x.astype(case.dtype)


def _resolver(z: Array) -> neuron.Resolve:
    return lambda p: per_channel(p, z.shape[2:]).astype(z.dtype)


class _Recorder:
    """The arrays of a Trace while it is made."""

    def __init__(self, network: Network, case: Case, samples: int, marks: tuple[int, ...], record: Record) -> None:
        shapes, potential = network.shapes, case.dtype
        self.network, self.case, self.marks, self.record = network, case, marks, record
        names = [layer.name for layer in network.spiking]
        many = {layer.name: getattr(layer.act, "max_spikes", 1) != 1 for layer in network.spiking}
        kinds = {layer.name: np.int64 if isinstance(layer.act, Cuba) else potential for layer in network.spiking}
        self.readout = np.zeros((len(marks), samples, *shapes[network.output.name]))
        self.counts = {k: np.zeros((samples, *shapes[k]), np.int32) for k in names}
        self.v_end = {k: np.zeros((samples, *shapes[k]), kinds[k]) for k in names}
        time_major = {k: (case.steps, samples, *shapes[k]) for k in names if record != "counts"}
        self.spikes = {k: np.zeros(s, np.int32 if many[k] else np.uint8) for k, s in time_major.items()}
        full = record == "full"
        self.v = {k: np.zeros(s, kinds[k]) for k, s in time_major.items() if full}
        self.v_peak = {k: np.zeros(s, kinds[k]) for k, s in time_major.items() if full}

    def potentials(self, name: str, ts: slice, rows: slice) -> tuple[Array, Array] | None:
        return (self.v[name][ts, rows], self.v_peak[name][ts, rows]) if self.record == "full" else None

    def spikes_of(self, name: str, s: Array, ts: slice, rows: slice) -> None:
        self.counts[name][rows] += s.sum(0, dtype=np.int32)
        if name in self.spikes:
            self.spikes[name][ts, rows] = s

    def output(self, value: Array, ts: slice, rows: slice) -> None:
        """Add the output's values of a block to every mark that it reaches."""
        for r, mark in enumerate(self.marks):
            taken = min(mark, ts.stop) - ts.start
            if taken > 0:
                part = value[:taken].sum(0, dtype=np.float64)
                self.readout[r, rows] += part if len(value) > 1 or taken == 1 else part * taken

    def trace(self) -> Trace:
        shapes = self.network.shapes
        events: dict[str, dict[str, int]] = {}
        emitted = dict(self.counts)  # spikes that a layer hands on, [N, *shape]
        for layer in self.network.layers:
            counts, first = self.counts.get(layer.name), layer.branches[0]
            operations = sum(
                int((emitted[b.source].sum(0, dtype=np.int64) * fan_out(b.op, shapes[b.source])).sum())
                for b in layer.branches
                if b.source in emitted
            )
            passes = counts is None and len(layer.branches) == 1 and first.source in emitted
            if passes and isinstance(first.op, Flatten):
                emitted[layer.name], operations = apply(first.op, emitted[first.source]), 0  # it renames spikes
            elif passes and gated(first):  # as many as the unit with the most
                emitted[layer.name] = apply(first.op, emitted[first.source].astype(float)).astype(np.int64)
            events[layer.name] = {
                "spikes": 0 if counts is None else int(counts.sum(dtype=np.int64)),
                "neuron_updates": 0 if counts is None else self.case.steps * counts.size,
                "synaptic_operations": operations,
            }
        arrays = (self.counts, self.v_end, self.spikes, self.v, self.v_peak)
        for a in (self.readout, *(a for d in arrays for a in d.values())):
            a.setflags(write=False)  # owned here: the trace takes them without a copy
        provenance = Provenance("simulate", __version__)
        return Trace(self.readout, self.marks, *arrays, events=events, provenance=provenance)
