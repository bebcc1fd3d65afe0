"""One trained network run four ways on the same spikes, and what differs from our integers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..activation import Cuba
from ..content import Array
from ..data import Dataset
from ..exchange import read_netx
from ..network import INPUT, Network
from ..oracles import Oracle
from ..simulate import run
from ..trace import Case, Record, Trace
from .training import Progress, Settings, State

OURS = "snnverify, integers"
KINDS = {"spikingjelly": "SpikingJelly net", "lava-dl": "lava-dl net, slayer blocks"}
TILE = 256  # images that are encoded and run at once


@dataclass
class Outcome:
    """What was found.

    Parameters
    ----------
    right : mapping of name to (right, images)
    differing : mapping of name to (entries that differ from ours, entries compared)
    remarks : list of str
        Reasons, and what the reader should know.
    sound : bool
        Whether every difference is explained, and there was something to compare.
    """

    right: dict[str, tuple[int, int]] = field(default_factory=dict)
    differing: dict[str, tuple[int, int]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    sound: bool = True

    def count(self, name: str, outputs: Array, labels: Array) -> None:
        """Add images whose class fired most."""
        right, images = self.right.get(name, (0, 0))
        self.right[name] = right + int(np.sum(outputs.argmax(1) == labels)), images + len(labels)

    def compare(self, name: str, theirs: Array, ours: Array) -> None:
        """Add entries that differ."""
        differ, of = self.differing.get(name, (0, 0))
        self.differing[name] = differ + int(np.sum(np.asarray(theirs) != ours)), of + ours.size


def evaluate(
    settings: Settings, exchange: Oracle, network: Network, state: State, data: Dataset, progress: Progress
) -> tuple[Outcome, Array]:
    """Run all evaluation images as SpikingJelly net, as lava-dl net and in integers; compare the spike counts of outputs.

    Returns what was found, and the spikes [T, n, C, H, W] of the first images, which are to run through NetX too.

    SpikingJelly cuts weights at 255 / 64, off the grid, where lava-dl cuts them at 254 / 64. Where a network has such
    weights, that is held to be the reason only if integers with 255 in their place give SpikingJelly's outputs.
    """
    found, fired, first = Outcome(), 0, []
    csnn_run = exchange.operator("csnn_run")
    above, beyond = cut_at_255(network, state)
    names = {k: f"outputs of the {v}" for k, v in KINDS.items()}
    again = f"{names['spikingjelly']}, against weights cut at 255/64"
    for rows, spikes in encoded(settings, exchange, data, progress):
        first.append(spikes[:, : max(0, settings.samples - rows.start)])
        ours = outputs(network, spikes)
        found.count(OURS, ours, data.y[rows])
        fired += int(ours.sum())
        for kind, name in KINDS.items():
            theirs = np.asarray(csnn_run(state, spikes, settings.training, kind))
            found.count(name, theirs, data.y[rows])
            found.compare(names[kind], theirs, ours)
            if above and kind == "spikingjelly":
                found.compare(again, theirs, outputs(beyond, spikes))
    if above:
        found.remarks.append(
            f"{above} weights lie above 254/64: SpikingJelly cuts them at 255/64, off the grid, lava-dl at 254/64"
        )
    if not fired:
        found.remarks.append("no output ever fired, so that equal outputs say nothing: raise -lr or -epochs")
    wrong = found.differing[names["lava-dl"]][0] + found.differing[again if above else names["spikingjelly"]][0]
    found.sound = bool(fired) and not wrong
    return found, np.concatenate(first, 1)


def encoded(settings: Settings, exchange: Oracle, data: Dataset, progress: Progress) -> Iterator[tuple[slice, Array]]:
    """Poisson spikes [T, n, C, H, W] of the evaluation images, tile by tile; each tile draws from a seed of its own."""
    for i in range(0, len(data), TILE):
        progress("evaluation", i, len(data))
        rows = slice(i, min(i + TILE, len(data)))
        options = {**settings.training, "seed": settings.seed + i}
        yield rows, np.asarray(exchange.operator("csnn_encode")(data.x[rows], options))
    progress("evaluation", len(data), len(data))


def outputs(network: Network, spikes: Array) -> Array:
    """Spike counts [N, classes] of the last layer."""
    return integers(network, spikes, "counts").counts[network.output.name]


def integers(network: Network, spikes: Array, record: Record) -> Trace:
    """Run spikes [T, N, *shape] through a network of integers."""
    return run(Case(network, np.asarray(spikes, float), len(spikes), "spikes", kind="integer"), record)


def cut_at_255(network: Network, state: State) -> tuple[int, Network]:
    """Number of trained weights above the grid, and the network with 255 mantissas in their place."""
    above, layers = 0, []
    for layer in network.layers:
        op: Any = layer.branches[0].op
        trained = state.get(f"net.{layer.name}.synapse.weight")
        if trained is not None:
            over = np.rint(trained * 32) > 127
            above += int(over.sum())
            op = replace(op, weight=np.where(over.reshape(op.weight.shape), 255, op.weight))
        layers.append(replace(layer, branches=(replace(layer.branches[0], op=op),)))
    return above, replace(network, layers=tuple(layers))


def on_the_chip(network: Network) -> Network:
    """The same network in chip time: every layer sees its source a step later."""
    layers = [replace(v, act=replace(v.act, delay=1)) if isinstance(v.act, Cuba) else v for v in network.layers]
    return replace(network, layers=tuple(layers))


def read_back(path: Path, network: Network) -> tuple[Network, bool]:
    """Network of the exported file, and whether it is the trained one in chip time: every operation and every neuron."""
    found = read_netx(path, input_shape=network.input_shape)
    a, b = _placed(found), _placed(on_the_chip(network))
    same = [(act, sources) for act, sources, _ in a] == [(act, sources) for act, sources, _ in b] and all(
        type(p) is type(q) and _equal(vars(p), vars(q)) for (*_, x), (*_, y) in zip(a, b, strict=True)
        for p, q in zip(x, y, strict=True)
    )  # fmt: skip
    return found, same


def _placed(network: Network) -> list[tuple[Any, list[int], list[Any]]]:
    """Neurons, places of the sources and operations of every layer: all of a network but its names."""
    place = {INPUT: -1, **{v.name: i for i, v in enumerate(network.layers)}}
    return [(v.act, [place[b.source] for b in v.branches], [b.op for b in v.branches]) for v in network.layers]


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two operations have the same values, integers in whatever type."""
    return all(np.array_equal(np.asarray(a[k]), np.asarray(b[k])) for k in a if not k.startswith("_"))


def through_netx(
    netx: Oracle, chip: Network, file: Array, spikes: Array, labels: Array, progress: Progress, found: Outcome
) -> None:
    """Run spikes [T, n, C, H, W] through lava-nc from the exported file; compare every spike of every layer with ours.

    Each of L layers takes a step, so the run is L steps longer than the input, and its counts are those of slayer.
    """
    n = spikes.shape[1]
    padded = np.concatenate([spikes, np.zeros((len(chip.spiking), *spikes.shape[1:]), spikes.dtype)]).astype(float)
    for i in range(n):
        progress("NetX in lava-nc", i, n)
        theirs = netx.operator("netx_run")(file, padded[:, i : i + 1], len(padded), None, 0)
        for name, s in integers(chip, padded[:, i : i + 1], "spikes").spikes.items():
            found.compare("spikes of all layers in NetX", theirs[name], s)
        found.count("NetX in lava-nc", np.asarray(theirs[chip.output.name]).sum(0), labels[i : i + 1])
    progress("NetX in lava-nc", n, n)
    found.sound &= not found.differing["spikes of all layers in NetX"][0]
