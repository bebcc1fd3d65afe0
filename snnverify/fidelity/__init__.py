"""What a conversion kept, measured on labelled data in tiles of samples: accuracy over T, and every layer's errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from ..content import Array, Content
from ..convert import ConvertedNetwork
from ..errors import DataError
from ..kernels.encode import of_rows
from ..shards import HERE, Shards, run
from ..stats import Paired, from_predictions
from ..trace import Encoding
from .layers import LayerFidelity, finished
from .tiles import FidelityTile, added, size, tile

__all__ = ["Fidelity", "LayerFidelity", "ModelUnderTest", "measure"]


@dataclass(frozen=True, eq=False)
class Fidelity(Content):
    """Predictions and layer errors of one model on one data set.

    Parameters
    ----------
    steps : tuple of int
        The T at which the SNN is read out, ascending.
    labels, ann : int array [N]
        True classes and those of the ANN; of a regression, targets and outputs, float64 [N, outputs].
    snn : int array [len(steps), N]
        Of a regression, float64 [len(steps), N, outputs].
    ties : tuple of int
        Samples whose greatest read-out was not unique, at each T (the arg max takes the lowest index); 0 of a regression.
    layers : tuple of LayerFidelity
    events : mapping of layer to mapping of str to int
        Exact operation counts over all samples and steps; of an encoded input, its spikes and the operations they make.
    """

    steps: tuple[int, ...]
    labels: Array
    ann: Array
    snn: Array
    ties: tuple[int, ...]
    layers: tuple[LayerFidelity, ...]
    events: Mapping[str, Mapping[str, int]]

    @property
    def regression(self) -> bool:
        """Whether the targets are numbers, not classes."""
        return bool(self.labels.dtype.kind == "f")

    def paired(self, steps: int, label: int | None = None) -> Paired:
        """Return the paired table of ANN and SNN at one T, of all samples or of one class."""
        kept = np.ones(len(self.labels), bool) if label is None else self.labels == label
        return from_predictions(self.labels[kept], self.ann[kept], self.snn[self.steps.index(steps)][kept])


@dataclass(frozen=True, eq=False)
class ModelUnderTest:
    """A conversion with the data and the figures it is judged on.

    Parameters
    ----------
    name : str
    converted : ConvertedNetwork
    x : array [N, *shape]
    logits : array [N, classes]
        What the trained model itself (not its import) says, in float64 where it can be run so.
    unit, noise : float
        Unit roundoff of `logits`, 2^-53 or 2^-24, and their greatest distance to the same outputs in float32: how much
        this very model amplifies rounding.
    fidelity : Fidelity
    margin : Fraction
        Greatest accuracy drop that is let through.
    seed : int
    command : str
        That measures this model again.
    encoding : {"constant", "poisson", "spikes"}
        Of the input.
    limits : mapping of check to float
        Policy limits of the user.
    """

    name: str
    converted: ConvertedNetwork
    x: Array
    logits: Array
    unit: float
    noise: float
    fidelity: Fidelity
    margin: Fraction
    seed: int = 0
    command: str = ""
    encoding: Encoding = "constant"
    limits: Mapping[str, float] = field(default_factory=dict)


def measure(
    converted: ConvertedNetwork,
    x: Array,
    labels: Array,
    logits: Array,
    steps: Sequence[int],
    *,
    encoding: Encoding = "constant",
    seed: int = 0,
    first_sample: int | Array = 0,
    progress: Callable[[int], None] | None = None,
    shards: Shards = HERE,
) -> Fidelity:
    """Run a data set through the converted network, in tiles; the result is the same wherever each of them is computed.

    Every T is read out of one run of the largest, so tiles of samples are all there is to share out.

    Parameters
    ----------
    converted : ConvertedNetwork
    x, labels : arrays [N, *shape], [N]
        Labels of floats, [N, outputs], are the targets of a regression.
    logits : array [N, classes]
        Of the trained model.
    steps : sequence of int
    encoding, seed, first_sample
        See `simulate`.
    progress : callable, optional
        Called with the number of samples that are done.
    shards : Shards
        Who computes the tiles, and where finished ones are kept.

    Raises
    ------
    DataError
        Logits that are not one row of finite numbers per sample.
    """
    marks = tuple(sorted(set(steps)))
    if not marks or marks[0] < 1:
        raise DataError(f"steps = {list(steps)}: at least one, each at least 1")
    regression = np.asarray(labels).dtype.kind == "f"
    if np.shape(labels) != (logits.shape if regression else (len(x),)) or not len(x):
        raise DataError(f"labels of shape {np.shape(labels)} for {len(x)} samples: one class for each, at least one")
    if logits.ndim != 2 or len(logits) != len(x) or not np.all(np.isfinite(logits)):
        raise DataError(f"model output of shape {logits.shape}: [N, classes] of finite numbers is needed to classify")
    common = {"converted": converted, "marks": marks, "encoding": encoding, "seed": seed, "regression": regression}
    step = size(converted)
    tiles = [slice(start, start + step) for start in range(0, len(x), step)]
    tasks = [{**common, "x": x[rows], "first_sample": of_rows(first_sample, rows)} for rows in tiles]

    def done(number: int) -> None:
        if progress is not None:
            progress(min(step, len(x) - number * step))

    whole = added(run(tile, tasks, FidelityTile, shards, done))
    layers = tuple(finished(converted, v, marks[-1], encoding) for v in whole.layers)
    said = logits.astype(float) if regression else logits.argmax(-1)
    return Fidelity(marks, np.asarray(labels), said, whole.snn, whole.ties, layers, whole.events)
