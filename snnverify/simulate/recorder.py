"""The arrays of a Trace while it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .. import __version__
from ..activation import Cuba, Integer, SigmaDelta
from ..network import Array, Flatten, Network, gated
from ..trace import Case, Provenance, Record, Trace
from .kept import PerNetwork
from .memory import arrays
from .operations import apply, fan_out


class Recorder:
    """Recorded arrays of a run, filled tile by tile and block by block; they hold anything before a tile's first block."""

    def __init__(self, network: Network, case: Case, samples: int, marks: tuple[int, ...], record: Record) -> None:
        shapes, potential = network.shapes, case.dtype
        self.network, self.case, self.marks, self.record = network, case, marks, record
        names = [layer.name for layer in network.spiking]
        many = {v.name: isinstance(v.act, SigmaDelta) or getattr(v.act, "max_spikes", 1) != 1 for v in network.spiking}
        kinds = {layer.name: np.int64 if isinstance(layer.act, Integer) else potential for layer in network.spiking}
        self.readout = np.zeros((len(marks), samples, *shapes[network.output.name]))
        once = {k: (samples, *shapes[k]) for k in names}
        self.counts, self.v_end = arrays(once, dict.fromkeys(names, np.int32)), arrays(once, kinds)
        time_major = {k: (case.steps, samples, *shapes[k]) for k in names if record != "counts"}
        self.spikes = arrays(time_major, {k: np.int32 if many[k] else np.uint8 for k in names})
        full = record == "full"
        self.v = {k: np.zeros(s, kinds[k]) for k, s in time_major.items() if full}
        self.v_peak = {k: np.zeros(s, kinds[k]) for k, s in time_major.items() if full}

    def potentials(self, name: str, ts: slice, rows: slice) -> tuple[Array, Array] | None:
        """Where the potentials of a block go; None where they are not recorded."""
        return (self.v[name][ts, rows], self.v_peak[name][ts, rows]) if self.record == "full" else None

    def spikes_of(self, name: str, s: Array, ts: slice, rows: slice) -> None:
        """Take the spikes of a block."""
        act = self.network[name].act
        few = s.dtype == np.uint8 and len(s) * (getattr(act, "max_spikes", 1) or 256) < 256  # numpy adds bytes fastest
        total = s.sum(0, dtype=np.uint8 if few else np.int32)
        found = np.count_nonzero(s, axis=0) if isinstance(act, SigmaDelta) else total
        self.counts[name][rows] = found + (self.counts[name][rows] if ts.start else 0)
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
        """The Trace; its arrays are not written to after this."""
        fans = _fan_outs(self.network)
        events: dict[str, dict[str, int]] = {}
        emitted = dict(self.counts)  # spikes that a layer hands on, [N, *shape]
        most = {v.name: (getattr(v.act, "max_spikes", 1) or 2**31) * self.case.steps for v in self.network.spiking}
        totals = {name: _total(counts, most[name]) for name, counts in emitted.items()}
        for layer in self.network.layers:
            counts, first = self.counts.get(layer.name), layer.branches[0]
            operations = sum(
                int(np.einsum("i,i", totals[b.source].ravel(), fan))
                for b, fan in zip(layer.branches, fans[layer.name], strict=True)
                if b.source in totals
            )
            if isinstance(layer.act, Cuba) and layer.act.recurrent is not None:
                operations += int((totals[layer.name] * np.count_nonzero(layer.act.recurrent, axis=0)).sum())
            passes = counts is None and len(layer.branches) == 1 and first.source in emitted
            if passes and isinstance(first.op, Flatten):
                emitted[layer.name], operations = apply(first.op, emitted[first.source]), 0  # it renames spikes
            elif passes and gated(first):  # as many as the unit with the most
                emitted[layer.name] = apply(first.op, emitted[first.source].astype(float)).astype(np.int64)
            if layer.name in emitted and counts is None:
                totals[layer.name] = _total(emitted[layer.name], 2**31)
            events[layer.name] = {
                "spikes": 0 if counts is None else int(totals[layer.name].sum()),
                "neuron_updates": 0 if counts is None else self.case.steps * counts.size,
                "synaptic_operations": operations,
            }
        arrays = (self.counts, self.v_end, self.spikes, self.v, self.v_peak)
        for a in (self.readout, *(a for d in arrays for a in d.values())):
            for part in (a, a.base):  # owned here: the trace takes them without a copy
                if isinstance(part, np.ndarray):
                    part.setflags(write=False)
        provenance = Provenance("simulate", __version__)
        return Trace(self.readout, self.marks, *arrays, events=events, provenance=provenance)


@PerNetwork
def _fan_outs(network: Network) -> Mapping[str, Sequence[Array]]:
    """Fan-out of the source of every branch of every layer, flat: dearer than a run, and asked for after each."""
    return {v.name: [fan_out(b.op, network.shapes[b.source]).ravel() for b in v.branches] for v in network.layers}


def _total(counts: Array, most: int) -> Array:
    """Spikes [N, *shape], at most `most` each, added up over the samples, int64; as int32 where that holds them: faster."""
    total: Array = np.add.reduce(counts, 0, np.int32 if len(counts) * most < 2**31 else np.int64)
    return total.astype(np.int64)
