"""What a library's converter made: read back into our terms, and run by the library itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..content import Array, Content
from ..errors import Unsupported
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


@dataclass(frozen=True)
class LibraryConversion:
    """The same face as `snnverify.convert.ConvertedNetwork`, each run made by the library.

    Parameters
    ----------
    convert : callable (x, steps) -> Converted
        Converts anew and, given inputs, runs: a library's converted model does not travel.
    made : Converted
    """

    convert: Callable[[Array | None, int], Converted]
    made: Converted

    @property
    def snn(self) -> Network:
        """The spiking network, read back."""
        return self.made.snn

    @property
    def units(self) -> Mapping[str, Array]:
        """What one unit of a layer's emitted values is worth in ANN units."""
        return self.made.units

    @property
    def thresholds(self) -> dict[str, Array | float]:
        """Threshold of every spiking layer, in the potential's unit."""
        return self.made.thresholds

    def simulate(self, x: Any, steps: int, **options: Any) -> Trace:
        """Trace of the library's own run, at constant input."""
        _without(options)
        made = self.convert(np.asarray(x), steps)
        if made.trace is None:
            raise Unsupported("conversion", "the library does not tell its spikes")
        return made.trace

    def run(self, x: Any, steps: int, **options: Any) -> Array:
        """Read-out in ANN units after so many steps, [N, *output shape]; without N for a single sample."""
        _without(options)
        a = np.asarray(x)
        single = a.ndim == len(self.snn.input_shape)
        outputs = self.convert(a[None] if single else a, steps).outputs
        if outputs is None:
            raise Unsupported("conversion", "the library does not tell its read-out")
        return np.asarray(outputs[-1][0] if single else outputs[-1])

    def classify(self, x: Any, steps: int, **options: Any) -> Array:
        """Arg max of `run`."""
        return np.asarray(self.run(x, steps, **options).argmax(-1))

    def __getattr__(self, name: str) -> Any:
        raise Unsupported("conversion", f"the library has no {name}")


def _without(options: Mapping[str, Any]) -> None:
    if options:
        raise Unsupported("conversion", f"the library's run has no {', '.join(options)}")
