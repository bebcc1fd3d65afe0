"""Neurons that never spike on given data, removed, and the proof that nothing else changes.

A channel can go where all its units stayed silent, where its rows are those of dense layers or of convolutions, and where
everything that reads it has weights of its own for it: then network and removal are both written down as a `Network`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..content import Array
from ..kernels.encode import of_rows
from ..network import Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool
from ..simulate import run
from ..trace import Case, Trace

TILE = 64  # samples that are run together


@dataclass(frozen=True)
class Removal:
    """What silence was found and removed, by layer, and what it changed.

    Parameters
    ----------
    silent : mapping of layer to int
        Units without a spike on the data.
    removed : mapping of layer to int
        Units that were taken out of the network.
    keep : mapping of layer to array
        Which channels were kept, booleans [C]; a layer that is not in it is whole.
    kept_because : mapping of layer to str
        Why not all silent units could go.
    network : Network
        Without the removed units.
    changed : int
        Spikes of other units that differ, over all samples and steps.
    readout_error : float
        Greatest difference of the read-out, which rounds otherwise in other sizes of sums.
    counts : mapping of layer to int array [N, *shape]
        Spikes of the whole network's neurons over all steps.
    """

    silent: Mapping[str, int]
    removed: Mapping[str, int]
    keep: Mapping[str, Array]
    kept_because: Mapping[str, str]
    network: Network
    changed: int
    readout_error: float
    counts: Mapping[str, Array] = field(repr=False)


def remove_dead(case: Case, progress: Callable[[int, int], None] | None = None) -> Removal:
    """Run a case, remove the channels that stayed silent, run again, and compare every spike of the rest.

    `progress` is told of the samples that were run, twice each, and of how many are to be.
    """
    network, parts, done = case.network, list(tiles(case, TILE)), 0
    total = 2 * sum(n for _, n in parts)

    def ran(part: Case, samples: int) -> Trace:
        nonlocal done
        trace, done = run(part, "spikes"), done + samples
        if progress is not None:
            progress(done, total)
        return trace

    runs = [ran(*part) for part in parts]
    counts = {v.name: np.concatenate([r.counts[v.name] for r in runs]) for v in network.spiking}
    silent: dict[str, int] = {}
    keep: dict[str, Array] = {}
    because: dict[str, str] = {}
    for layer in network.spiking:
        dead = (counts[layer.name] == 0).all(axis=0)
        silent[layer.name] = int(dead.sum())
        if not dead.any():
            continue
        channels = dead.reshape(len(dead), -1).all(axis=1)
        if channels.all():
            channels[0] = False  # a layer keeps a channel
        why = _obstacle(network, layer)
        if why is None and channels.any():
            keep[layer.name] = ~channels
        if why is not None or int(channels.sum()) * (dead.size // len(dead)) < silent[layer.name]:
            because[layer.name] = why or "a channel goes only where all its units are silent, and not the last one"
    smaller = without(network, keep)
    changed, error = 0, 0.0
    for before, (part, n) in zip(runs, parts, strict=True):
        after = ran(replace(part, network=smaller), n)
        changed += sum(int(np.sum(_rest(before.spikes[name], keep.get(name)) != s)) for name, s in after.spikes.items())
        if network.output.name not in keep:
            error = max(error, float(np.abs(before.readout - after.readout).max()))
    removed = {name: int((~k).sum()) * math.prod(network.shapes[name][1:]) for name, k in keep.items()}
    return Removal(silent, removed, keep, because, smaller, changed, error, counts)


def tiles(case: Case, size: int) -> Iterator[tuple[Case, int]]:
    """Cases of at most `size` consecutive samples each, and how many: all of them together are the case."""
    axis = int(case.encoding == "spikes")
    for start in range(0, case.x.shape[axis], size):
        x = np.take(case.x, range(start, min(start + size, case.x.shape[axis])), axis)
        yield replace(case, x=x, first_sample=of_rows(case.first_sample, slice(start, start + size))), x.shape[axis]


def without(network: Network, keep: Mapping[str, Array]) -> Network:
    """Network of the channels that are kept; `keep` has booleans [C] by layer, all of them where it has none."""
    known: dict[str, Array] = {}  # of values along axis 0
    layers = []
    for layer in network.layers:
        own = keep.get(layer.name)
        branches = []
        for b in layer.branches:
            before = known.get(b.source)
            branches.append(Branch(_cut(b.op, before, own), b.source))
            if before is not None and own is None and isinstance(b.op, (Flatten, Pool)):
                each = math.prod(network.shapes[b.source][1:]) if isinstance(b.op, Flatten) else 1
                known[layer.name] = np.repeat(before, each)
        if own is not None:
            known[layer.name] = own
        layers.append(replace(layer, branches=tuple(branches), act=_cut_act(layer.act, own)))
    return replace(network, layers=tuple(layers))


def _obstacle(network: Network, layer: Layer) -> str | None:
    """Why no channel of a layer can be taken out, or None."""
    if layer.name == network.output.name:
        return "it is the output"
    if getattr(layer.act, "recurrent", None) is not None:
        return "it is recurrent"
    if not all(isinstance(b.op, Dense) or _plain(b.op) for b in layer.branches):
        return "its own rows are not those of dense layers or plain convolutions"
    waiting = [layer.name]
    while waiting:
        name = waiting.pop()
        for reader in network.layers:
            for b in reader.branches:
                if b.source != name:
                    continue
                if isinstance(b.op, (Flatten, Pool)) and len(reader.branches) == 1 and reader.act is None:
                    if reader.name == network.output.name:
                        return f"the output {reader.name} hands it on"
                    waiting.append(reader.name)
                elif not (isinstance(b.op, Dense) or _plain(b.op)):
                    return f"{reader.name} reads it without weights of its own for it"
    return None


def _plain(op: Op) -> bool:
    return isinstance(op, Conv) and op.groups == 1 and not op.transposed


def _cut(op: Op, columns: Array | None, rows: Array | None) -> Op:
    """Operation without the rows and columns that go."""
    if not isinstance(op, (Dense, Conv)):
        return op
    weight, bias = op.weight, op.bias
    if columns is not None:
        weight = weight[:, columns]
    if rows is not None:
        weight, bias = weight[rows], None if bias is None else bias[rows]
    return replace(op, weight=weight, bias=bias)


def _cut_act(act: Any, rows: Array | None) -> Any:
    if rows is None:
        return act
    per_channel = {k: v[rows] for k, v in vars(act).items() if isinstance(v, np.ndarray) and v.shape == rows.shape}
    return replace(act, **per_channel)


def _rest(spikes: Array, keep: Array | None) -> Array:
    return spikes if keep is None else spikes[:, :, keep]
