"""Accuracy over T of several conversions of one network, side by side on the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..content import Array, Content
from ..kernels import blas
from ..kernels.encode import of_rows
from ..network import gated
from ..shards import HERE, Shards
from ..shards import run as run_pieces
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


@dataclass(frozen=True, eq=False)
class CurveTile(Content):
    """How many of some samples one conversion classifies rightly at each T."""

    right: tuple[int, ...]


def side_by_side(
    make: Make,
    converted: ConvertedNetwork,
    x: Array,
    labels: Array,
    steps: Sequence[int],
    *,
    modes: bool = False,
    tick: Callable[[int], Callable[[int], None]] | None = None,
    shards: Shards = HERE,
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
    tick : callable (int) -> callable (int), optional
        Told of the samples of all curves together, returns what is to be told of those that are done.
    shards : Shards
        Who computes the tiles of all curves, and where finished ones are kept.
    **how
        ``encoding``, ``seed`` and ``first_sample`` of the runs.
    """
    every = range(1, max(MODES_STEPS, *steps) + 1)
    wanted: list[tuple[str, str, ConvertedNetwork, Sequence[int], bool]] = []
    if any(gated(b) for v in converted.snn.layers for b in v.branches):
        wanted.append(("maxpool", "ideal max", converted, steps, True))
    if converted.options["pool_neurons"] == "True":
        wanted.append(("pool_neurons", "without pool neurons", make(pool_neurons=False), steps, False))
    if modes:
        wanted += [("mode", mode, make(mode=mode), every, False) for mode in MODES]
    first = how.pop("first_sample", 0)
    tasks = [
        {"converted": other, "x": part, "labels": labels[rows], "steps": list(at), "ideal": ideal,
         "first_sample": of_rows(first, rows), **how}
        for rows, part in _tiles(x) for _, _, other, at, ideal in wanted  # what is sent of the data serves all curves
    ]  # fmt: skip
    done = None if tick is None or not tasks else tick(len(x) * len(wanted))
    found = run_pieces(
        curve_tile, tasks, CurveTile, shards, None if done is None else lambda number: done(len(tasks[number]["x"]))
    )
    curves = []
    for i, (compared, name, _, at, _) in enumerate(wanted):
        right = map(sum, zip(*(tile.right for tile in found[i :: len(wanted)]), strict=True))
        curves.append(Curve(compared, name, tuple(at), tuple(right), len(x)))
    return tuple(curves)


def _tiles(x: Array) -> Iterator[tuple[slice, Array]]:
    for start in range(0, len(x), TILE):
        rows = slice(start, min(start + TILE, len(x)))
        yield rows, x[rows]


def curve_tile(labels: Array, **given: Any) -> CurveTile:
    """Judge one tile of samples; the arguments are those of `tile_predictions`, and its labels [N]."""
    return CurveTile(tuple((tile_predictions(**given) == labels).sum(1).tolist()))


def predictions(
    converted: ConvertedNetwork, x: Array, steps: Sequence[int], *, first_sample: int | Array = 0, **how: Any
) -> Iterator[tuple[slice, Array]]:
    """Yield samples and their classes [len(steps), n], tile by tile; see `tile_predictions`."""
    for rows, part in _tiles(x):
        yield rows, tile_predictions(converted, part, steps, first_sample=of_rows(first_sample, rows), **how)


def tile_predictions(
    converted: ConvertedNetwork, x: Array, steps: Sequence[int], *, encoding: Any = "constant", seed: int = 0,
    first_sample: int | Array = 0, ideal: bool = False, threads: int | None = None,
) -> Array:  # fmt: skip
    """Return the classes of one tile of samples at each T, [len(steps), N].

    With `ideal` the unit of each window that is greatest in the ANN holds its gate from the first step on: what a gate
    that has to find out costs is the difference.
    """
    with blas.one_thread():
        known = _leaders(converted, x, steps[-1]) if ideal else None
        case = Case(converted.snn, x, steps[-1], encoding, seed, first_sample, "float32")
        trace = run(case, "counts", readout_at=steps, head_start=known, threads=threads)
        return np.asarray(converted.outputs(trace).argmax(-1))


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
