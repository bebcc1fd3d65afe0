"""What a lava graph recorded, as a Trace: counts, last potentials, and a read-out that is computed outside the library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Conv, Network
from ..trace import Provenance, Record, Trace
from .lava_nc_synapses import path


def handed_over(
    network: Network, kept: Mapping[str, Mapping[str, Array]], record: Record, steps: int, provenance: Provenance
) -> Trace:
    """Trace of ``spikes``, ``v`` and ``v_peak`` [T, N, *shape] by layer, as far as the library tells them."""
    spikes = kept["spikes"]
    return Trace(
        _readout(network, spikes)[None], (steps,),
        counts={name: np.count_nonzero(s, axis=0) for name, s in spikes.items()},
        v_end={name: a[-1] for name, a in kept["v"].items()}, spikes=spikes if record != "counts" else {},
        v=kept["v"], v_peak=kept["v_peak"], provenance=provenance,
    )  # fmt: skip


def _readout(network: Network, spikes: Mapping[str, Array]) -> Array:
    """Sum over all steps of what the last layer hands on; an analog one is a matrix product outside the library."""
    out = network.output
    if out.act is not None:
        return np.asarray(_handed_on(out.act, spikes[out.name]).sum(0, dtype=float))
    total: Array = np.zeros(())
    for p in (path(network, out.name, b) for b in out.branches):
        if p.source == INPUT or isinstance(p.op, Conv):
            raise Unsupported(out.name, "an analog read-out is a matrix of the spikes of a layer")
        summed = _handed_on(network[p.source].act, spikes[p.source]).sum(0, dtype=float)
        total = total + summed.reshape(len(summed), -1) @ p.op.weight.T
    return total


def _handed_on(act: Any, s: Array) -> Array:
    """Spikes [T, N, C, ...] of which each channel is late by its axonal delay."""
    delays = np.broadcast_to(act.axon_delay, s.shape[2:3])
    late = np.zeros_like(s)
    for d in np.unique(delays[delays < len(s)]).tolist():
        late[d:, :, delays == d] = s[: len(s) - d, :, delays == d]
    return late
