"""What every change costs on labelled data: right answers at each station, paired, and how far each layer moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..content import Array, Content
from ..errors import DataError
from ..kernels.encode import of_rows
from ..network import Network, per_channel
from ..shards import HERE, Shards, run
from ..stats import Paired, from_predictions
from .stations import ANALOG, Chain, Deployment, chain
from .walk import onwards, values_of

TILE = 256
PAIRS = ("moved", "apart")  # to the station before, and to the ANN


@dataclass(frozen=True, eq=False)
class WaterfallTile(Content):
    """Some consecutive samples: classes [stations, N]; sums of ``|difference|``, and peaks, [stations, layers]."""

    classes: Array
    moved: Array
    apart: Array
    most: Array


@dataclass(frozen=True, eq=False)
class Waterfall(Content):
    """The drop in accuracy, change by change.

    Parameters
    ----------
    chain : Chain
    labels : int array [N]
    classes : int array [stations, N]
    moved, apart : array [stations, layers]
        Mean size, over samples and units, of the difference of a layer's values to those of the station before, and to
        the trained ANN's, in thresholds. Layers are those of ``chain.scales``.
    most : array [stations, layers]
        Greatest of the former.
    """

    chain: Chain
    labels: Array
    classes: Array
    moved: Array
    apart: Array
    most: Array

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the stations."""
        return self.chain.keys

    def right(self, i: int) -> int:
        """Samples that station `i` classifies rightly."""
        return int((self.classes[i] == self.labels).sum())

    def paired(self, i: int, j: int) -> Paired:
        """Return the paired table of stations `i` and `j`, in the order of the chain."""
        return from_predictions(self.labels, self.classes[i], self.classes[j])

    def lost(self, i: int) -> int:
        """Right answers that the change to station `i` costs; they add up to those that all cost."""
        return self.right(i - 1) - self.right(i) if i else 0

    def agreement(self, i: int, j: int) -> int:
        """Samples that two stations classify alike."""
        return int((self.classes[i] == self.classes[j]).sum())


def measure(
    of: Chain, x: Array, labels: Array, *, first_sample: int | Array = 0, progress: Callable[[int], None] | None = None,
    shards: Shards = HERE,
) -> Waterfall:  # fmt: skip
    """Run labelled samples through every station, in tiles.

    Parameters
    ----------
    of : Chain
    x, labels : arrays [N, *shape], [N]
        In the user's units.
    first_sample : int or int array [N]
        See `simulate`.
    progress : callable, optional
        Called with the number of samples that are done.
    shards : Shards

    Raises
    ------
    DataError
        No sample, or not one label for each.
    """
    labels = np.asarray(labels)
    if not len(x) or labels.shape != (len(x),):
        raise DataError(f"labels of shape {labels.shape} for {len(x)} samples: one class for each, at least one")
    tasks = [{"of": of, "x": part, "first_sample": numbers} for part, numbers in tiles(x, first_sample)]

    def done(number: int) -> None:
        if progress is not None:
            progress(len(tasks[number]["x"]))  # type: ignore[arg-type]

    parts = run(waterfall_tile, tasks, WaterfallTile, shards, done)
    shapes = of.stations[1].network.shapes
    units = np.array([math.prod(shapes[k]) for k in of.scales], float)
    moved, apart = (_added([getattr(t, k) for t in parts]) / (units * len(x)) for k in PAIRS)
    classes = np.concatenate([t.classes for t in parts], axis=1)
    return Waterfall(of, labels, classes, moved, apart, np.max([t.most for t in parts], axis=0))


def tiles(x: Array, first_sample: int | Array) -> Iterator[tuple[Array, int | Array]]:
    """Yield some consecutive samples at a time, and their `first_sample`."""
    for start in range(0, len(x), TILE):
        rows = slice(start, start + TILE)
        yield x[rows], of_rows(first_sample, rows)


def waterfall_tile(of: Chain, x: Array, first_sample: int | Array, threads: int | None = None) -> WaterfallTile:
    """Run one tile of samples through every station; a pure function."""
    size = (len(of.stations), len(of.scales))
    moved, apart, most = np.zeros(size), np.zeros(size), np.zeros(size)
    classes = np.zeros((size[0], len(x)), np.int64)
    ann: Mapping[str, Array] = {}
    before: Mapping[str, Array] = {}
    for i, station in enumerate(of.stations):
        classes[i], values = values_of(of, station, x, first_sample, threads)
        ann, before = ann or values, before or values
        for j, k in enumerate(of.scales):
            step = np.abs(values[k] - before[k])
            moved[i, j], most[i, j] = step.sum(), step.max()
            apart[i, j] = np.abs(values[k] - ann[k]).sum()
        before = values
    return WaterfallTile(classes, moved, apart, most)


def _added(parts: Sequence[Array]) -> Array:
    """Sum of arrays of one shape; every entry is rounded once."""
    stacked = np.stack(parts)
    flat = [math.fsum(column) for column in stacked.reshape(len(parts), -1).T]
    return np.array(flat).reshape(stacked.shape[1:])


@dataclass(frozen=True, eq=False)
class Split(Content):
    """One change made in the first j layers alone, j = 0, 1, ...: what each layer's part costs.

    Parameters
    ----------
    layers : tuple of str
        Of which the last one is the output.
    right : tuple of int
        Right answers with the first j layers changed; one more than layers.
    """

    layers: tuple[str, ...]
    right: tuple[int, ...]

    def lost(self) -> dict[str, int]:
        """Right answers that the change costs in each layer, given those before it; they add up."""
        return {k: a - b for k, a, b in zip(self.layers, self.right, self.right[1:], strict=False)}


def split(w: Waterfall, i: int, x: Array, first_sample: int | Array = 0) -> Split | None:
    """Make the change to station `i` layer by layer, from the input on; None where it is not one of layers.

    Where the station before is analog, the first j layers are told the values that station `i` gives them, and the rest
    is the station before. A spiking network cannot be told values; there, layers are exchanged, which all these changes
    allow. A change of the input alone has no layers.
    """
    of = w.chain
    if not 0 < i < len(of.stations):
        return None
    before, after = of.stations[i - 1 : i + 1]
    if before.run != after.run and before.run != ANALOG:
        return None
    if before.run == ANALOG:
        layers = [*(k for k in of.scales if k != before.network.output.name), before.network.output.name]
        rows = _told(w, i, x, layers[:-1], first_sample)
    else:
        layers = [v.name for v in after.network.layers if v.branches != before.network[v.name].branches
                  or v.act != before.network[v.name].act]  # fmt: skip
        if [v.name for v in before.network.layers] != [v.name for v in after.network.layers]:
            return None
        rows = [_classes(of, replaced(before.network, after.network, layers[:j]), i, x, first_sample)
                for j in range(1, len(layers))]  # fmt: skip
    right = [w.right(i - 1), *(int((row == w.labels).sum()) for row in rows), w.right(i)]
    return Split(tuple(layers), tuple(right)) if layers else None


def replaced(before: Network, after: Network, names: Sequence[str]) -> Network:
    """Return the network with some of its layers taken from another one."""
    layers = tuple(after[v.name] if v.name in names else v for v in before.layers)
    return Network(before.input_shape, layers, before.note)


def _classes(of: Chain, network: Network, i: int, x: Array, first_sample: int | Array) -> Array:
    from dataclasses import replace

    station = replace(of.stations[i], network=network)
    return np.concatenate([values_of(of, station, *tile)[0] for tile in tiles(x, first_sample)])


def _told(w: Waterfall, i: int, x: Array, layers: Sequence[str], first_sample: int | Array) -> list[Array]:
    """Classes with the first j layers as station `i` has them, and the rest as the station before, j = 1 ... all."""
    of, rows = w.chain, [[] for _ in layers]  # type: ignore[var-annotated]
    before, after = of.stations[i - 1 : i + 1]
    for part, numbers in tiles(x, first_sample):
        values = values_of(of, after, part, numbers)[1]
        told: dict[str, Array] = {}
        for j, k in enumerate(layers):
            told[k] = values[k] * per_channel(of.scales[k], values[k].shape[1:])
            found, _ = onwards(before.network, before.entered(part), told)
            rows[j].append(found[before.network.output.name].argmax(-1))
    return [np.concatenate(row) for row in rows]


def waterfall(ann: Network, d: Deployment, x: Array, labels: Array, **how: object) -> Waterfall:
    """`chain` and `measure` in one."""
    return measure(chain(ann, d), x, labels, **how)  # type: ignore[arg-type]
