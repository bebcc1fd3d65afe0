"""Accuracy over T of several conversions of one network, side by side on the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..content import Array, Content
from ..network import gated
from ..simulate import forward, run
from ..trace import Case

if TYPE_CHECKING:
    from . import ConvertedNetwork

MODES = ("max", "99.9%", "1/2", "1/3", "1/4", "1/5")  # of SpikingJelly's ann2snn tutorial
MODES_STEPS = 200
TILE = 256
Make = Callable[..., "ConvertedNetwork"]


@dataclass(frozen=True, eq=False)
class Curve(Content):
    """One conversion on a labelled data set.

    Parameters
    ----------
    compared : {"mode", "maxpool", "pool_neurons"}
        What tells it from the conversion of the report.
    name : str
    steps, right : tuple of int
        Each T, and how many samples are classified rightly at it.
    samples : int
    """

    compared: str
    name: str
    steps: tuple[int, ...]
    right: tuple[int, ...]
    samples: int


def side_by_side(
    make: Make,
    converted: ConvertedNetwork,
    x: Array,
    labels: Array,
    steps: Sequence[int],
    *,
    modes: bool = False,
    tick: Callable[[str, int], Callable[[int], None]] | None = None,
    **how: Any,
) -> tuple[Curve, ...]:
    """Measure what a gate and neurons after pooling cost, where there are any, and every mode where that is asked for.

    Parameters
    ----------
    make : callable (**options) -> ConvertedNetwork
        Converts the same model with the same calibration and options, but for those given.
    converted : ConvertedNetwork
        The conversion of the report.
    x, labels : arrays [N, *shape], [N]
    steps : sequence of int
        T of the report; modes are followed over every step up to 200 at least.
    modes : bool
    tick : callable (name, samples) -> callable (int), optional
        Told of a curve, returns what is to be told of samples done.
    **how
        ``encoding``, ``seed`` and ``first_sample`` of the runs.
    """

    def measured(compared: str, name: str, other: ConvertedNetwork, at: Sequence[int], ideal: bool = False) -> Curve:
        done = None if tick is None else tick(name, len(x))
        right = np.zeros(len(at), np.int64)
        for rows, predicted in predictions(other, x, at, ideal=ideal, **how):
            right += (predicted == labels[rows]).sum(1)
            if done is not None:
                done(predicted.shape[1])
        return Curve(compared, name, tuple(at), tuple(right.tolist()), len(x))

    found = []
    if any(gated(b) for v in converted.snn.layers for b in v.branches):
        found.append(measured("maxpool", "ideal max", converted, steps, ideal=True))
    if converted.options["pool_neurons"] == "True":
        found.append(measured("pool_neurons", "without pool neurons", make(pool_neurons=False), steps))
    if modes:
        every = range(1, max(MODES_STEPS, *steps) + 1)
        found += [measured("mode", mode, make(mode=mode), every) for mode in MODES]
    return tuple(found)


def predictions(
    converted: ConvertedNetwork, x: Array, steps: Sequence[int], *, encoding: Any = "constant", seed: int = 0,
    first_sample: int = 0, ideal: bool = False,
) -> Iterator[tuple[slice, Array]]:  # fmt: skip
    """Yield samples and their classes [len(steps), n], tile by tile.

    With `ideal` the unit of each window that is greatest in the ANN holds its gate from the first step on: what a gate
    that has to find out costs is the difference.
    """
    for start in range(0, len(x), TILE):
        rows = slice(start, min(start + TILE, len(x)))
        case = Case(converted.snn, x[rows], steps[-1], encoding, seed, first_sample + start, "float32")
        known = _leaders(converted, x[rows], steps[-1]) if ideal else None
        trace = run(case, "counts", readout_at=steps, head_start=known)
        yield rows, converted.outputs(trace).argmax(-1)


def _leaders(converted: ConvertedNetwork, x: Array, steps: int) -> Mapping[str, Array]:
    """Head starts in the order of the ANN's activations, so far apart that no unit catches up within a run."""
    activations, found = forward(converted.ann, x), {}
    for layer in converted.snn.layers:
        for b in layer.branches:
            if gated(b):
                a = activations[b.source].reshape(len(x), -1)
                # of equal ones the lowest index, which the stable order of the falling values puts first
                rank = np.argsort(np.argsort(-a, axis=1, kind="stable"), axis=1, kind="stable")
                act = converted.snn[b.source].act
                size = float(np.max(np.abs(getattr(act, "amplitude", 1.0))))
                found[b.source] = (-2.0 * steps * size * rank).reshape(activations[b.source].shape)
    return found
