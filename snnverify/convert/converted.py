"""What a conversion gives: the two networks, and how they hang together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..activation import Neuron
from ..content import Array, Content
from ..kernels.encode import of_rows
from ..network import Network, per_channel
from ..simulate import MEMORY, simulate
from ..trace import Encoding, Record, Trace
from .calibrate import LayerStatistics
from .inputs import InputRange
from .rates import LayerRates

Readout = Literal["membrane", "count"]
TILE = 256


class ConversionWarning(UserWarning):
    """Something about a conversion that its user should know."""


@dataclass(frozen=True, eq=False)
class ConvertedNetwork(Content):
    """A spiking network, the ANN it comes from, and how they hang together.

    Parameters
    ----------
    ann, snn : Network
        The folded ANN and its conversion; layers of one name belong together.
    statistics : tuple of LayerStatistics
    units : mapping of layer to array
        What one unit of a layer's emitted values is worth in ANN units, () or (C,).
    readout : {"membrane", "count"}
        The output layer's accumulated input, or its spikes.
    options : mapping of str to str
        How it was converted.
    notes : tuple of str
        What a reader of the report should know.
    rates : tuple of LayerRates
        On the calibration set, where a range was asked for.
    inputs : InputRange, optional
        How the user's inputs become those in [0, 1] that both networks take.
    """

    ann: Network
    snn: Network
    statistics: tuple[LayerStatistics, ...]
    units: Mapping[str, Array]
    readout: Readout
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rates: tuple[LayerRates, ...] = ()
    inputs: InputRange | None = None

    def entered(self, x: npt.ArrayLike, encoding: Encoding = "constant") -> Array:
        """Return the samples [N, *shape] as both networks take them; probabilities of spikes are clipped to [0, 1]."""
        plain = self.inputs is None or encoding == "spikes"
        return np.asarray(x) if plain else self.inputs.unit(np.asarray(x), clip=encoding == "poisson")  # type: ignore[union-attr]

    @property
    def thresholds(self) -> dict[str, Array]:
        """Threshold of every spiking layer, in the potential's unit."""
        return {v.name: np.asarray(v.act.theta) for v in self.snn.layers if isinstance(v.act, Neuron)}

    @property
    def scales(self) -> dict[str, Array]:
        """Activation in ANN units that a rate of 1 stands for, per spiking layer."""
        return {s.layer: s.threshold for s in self.statistics if s.layer in self.thresholds}

    def simulate(self, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
                 record: Record = "full", dtype: str = "float32", memory: int = MEMORY) -> Trace:  # fmt: skip
        """Trace of a batch, or of a single sample as a batch of one; `memory` is the budget beside what is recorded."""
        batch, _ = self._batched(x, encoding)
        return simulate(self.snn, batch, steps, encoding=encoding, seed=seed, record=record, dtype=dtype, memory=memory)

    def run(self, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
            dtype: str = "float32", first_sample: int | Array = 0) -> Array:  # fmt: skip
        """Read-out per step in ANN units, [N, *output shape]; without N for a single sample.

        Runs tile by tile, so that nothing but the read-out grows with the number of samples.
        """
        batch, single = self._batched(x, encoding)
        axis = 1 if encoding == "spikes" else 0
        parts = []
        for start in range(0, max(batch.shape[axis], 1), TILE):
            part = batch[:, start : start + TILE] if axis else batch[start : start + TILE]
            numbers = of_rows(first_sample, slice(start, start + TILE))
            trace = simulate(self.snn, part, steps, encoding=encoding, seed=seed, first_sample=numbers, dtype=dtype)
            parts.append(self.outputs(trace)[-1])
        y = np.concatenate(parts)
        return np.asarray(y[0] if single else y)

    def outputs(self, trace: Trace) -> Array:
        """Mean read-out per step in ANN units, [R, N, *output shape], at every step of ``trace.readout_at``."""
        name = self.snn.output.name
        steps = np.reshape(trace.readout_at, (-1,) + (1,) * (trace.readout.ndim - 1))
        return np.asarray(trace.readout / steps * per_channel(self.units[name], self.snn.shapes[name]))

    def classify(self, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
                 first_sample: int | Array = 0) -> Array:  # fmt: skip
        """Class of every sample: the arg max of the read-out; ties go to the lowest index."""
        return np.asarray(self.run(x, steps, encoding=encoding, seed=seed, first_sample=first_sample).argmax(-1))

    def calibration_report(self) -> tuple[dict[str, Any], ...]:
        """One row per layer: threshold; mean, maximum and 99.9 percentile of the rate that is asked for; units."""
        rows = []
        for s in self.statistics:
            top = float(np.max(s.threshold))
            rows.append({
                "layer": s.layer, "threshold": top, "mean_rate": s.mean / top, "max_rate": s.maximum / top,
                "p99.9_rate": s.p999 / top, "saturated": s.saturated, "dead_units": s.dead, "units": s.units,
            })  # fmt: skip
        return tuple(rows)

    def _batched(self, x: npt.ArrayLike, encoding: Encoding) -> tuple[Array, bool]:
        """Add the sample axis to a single sample (after the time axis of a given spike train)."""
        a = np.asarray(x)
        lead = 1 if encoding == "spikes" else 0
        single = a.ndim == len(self.snn.input_shape) + lead
        return self.entered(np.expand_dims(a, lead) if single else a, encoding), single
