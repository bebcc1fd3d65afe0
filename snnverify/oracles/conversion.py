"""What a library's converter made: read back into our terms, and run by the library itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..content import Array, Content
from ..network import Network, Neuron
from ..trace import Trace


@dataclass(frozen=True, eq=False)
class Converted(Content):
    """A library's conversion of an ANN.

    Parameters
    ----------
    ann : Network
        What was converted.
    snn : Network
        Read back from the library's converted model: weights, thresholds, scales, initial potentials, semantics.
    units : mapping of layer to array
        What one unit of a layer's emitted values is worth in ANN units, () or (C,).
    trace : Trace or None
        The library's own run, spikes of every layer, where inputs and steps were given.
    outputs : array [R, N, *output shape] or None
        Read-out in ANN units at ``trace.readout_at``, as the library's user reads it.
    notes : tuple of str
        Warnings of the library.
    """

    ann: Network
    snn: Network
    units: Mapping[str, Array]
    trace: Trace | None = None
    outputs: Array | None = None
    notes: tuple[str, ...] = ()

    @property
    def thresholds(self) -> dict[str, Array | float]:
        """Threshold of every spiking layer."""
        return {v.name: v.act.theta for v in self.snn.layers if isinstance(v.act, Neuron)}
