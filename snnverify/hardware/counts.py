"""Operations of an inference, exact integers for every sample: what spikes cost, and what analog values do.

A *synaptic operation* (accumulate, AC) is a connection that a spike goes over; a *MAC* is one that an analog value goes
over: the input's, those of a layer without neurons (pooling). Counted are, side by side, every connection of the operation
and those whose weight is not 0 (of MACs, those where value and weight are not 0). Padding has no connections: a unit at the
border has a smaller fan-out. Biases, resets and leaks belong to the update of a neuron, of which there is one a step.
A layer that only flattens renames values and costs nothing; a gate hands spikes on.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from ..activation import Cuba
from ..content import Array, Content
from ..errors import ConfigError, DataError
from ..network import INPUT, Conv, Dense, Network, Op, Scale, Shape
from ..objects import nearest
from ..simulate import fan_out, forward, run
from ..trace import Case, Trace
from . import sent
from .mesh import Routes

Connections = Literal["every", "nonzero"]
Constant = Literal["each step", "once"]
# What a table of energies may price; a hop E-W or N-S where a mapping tells which, else one of either.
OPERATIONS = ("synop", "mac", "update", "spike", "hop", "hop_ew", "hop_ns")
# Per layer and sample. Of MACs those on values that change from step to step, over all steps; those on constant ones, once.
KINDS = (
    "spikes", "handed", "updates", "synops_every", "synops_nonzero", "macs_every", "macs_nonzero", "constant_every",
    "constant_nonzero", "packets", "hops", "hops_ew", "hops_ns",
)  # fmt: skip


ROUTES = ("packets", "hops", "hops_ew", "hops_ns")  # those that a spike sends between cores


@dataclass(frozen=True)
class Convention:
    """How operations are counted where people differ.

    Parameters
    ----------
    connections : {"every", "nonzero"}
        Every connection, or those whose weight (of MACs: and value) is not 0.
    constant : {"each step", "once"}
        Whether MACs on an input that never changes are paid in each of the T steps, or once and kept.
    """

    connections: Connections = "every"
    constant: Constant = "each step"

    def __post_init__(self) -> None:
        for name, legal in (("connections", get_args(Connections)), ("constant", get_args(Constant))):
            if getattr(self, name) not in legal:
                raise ConfigError(f"{name} = {getattr(self, name)!r}: one of {', '.join(legal)}")

    def __str__(self) -> str:
        paid = "in each step" if self.constant == "each step" else "once"
        return f"{self.connections} connection{'s' * (self.connections != 'every')}, constant input paid {paid}"


CONVENTIONS = tuple(Convention(a, b) for a in get_args(Connections) for b in get_args(Constant))


@dataclass(frozen=True, eq=False)
class Counts(Content):
    """Operations of every layer and sample.

    Parameters
    ----------
    steps : int
        T; 1 for an ANN.
    layers : mapping of layer (or ``"input"``) to mapping of `KINDS` to int64 array [N]
        ``spikes`` are those that neurons, or the encoding of the input, emit; ``handed`` those that a layer hands on,
        also through a flattening or a gate; ``packets`` one for each core that a spike reaches, by a mapping, else
        one for each spike. These and hops are booked on the layer that sends, all else on the one that receives.
    """

    steps: int
    layers: Mapping[str, Mapping[str, Array]]

    def of(self, convention: Convention) -> dict[str, dict[str, Array]]:
        """`OPERATIONS` of every layer by one convention: int64 [N] each."""
        repeated = self.steps if convention.constant == "each step" else 1
        how = convention.connections
        return {
            name: {
                "synop": c[f"synops_{how}"], "mac": c[f"macs_{how}"] + repeated * c[f"constant_{how}"],
                "update": c["updates"], "spike": c["packets"],
                "hop": c["hops"], "hop_ew": c["hops_ew"], "hop_ns": c["hops_ns"],
            }
            for name, c in self.layers.items()
        }  # fmt: skip

    def total(self, convention: Convention) -> dict[str, int]:
        """`OPERATIONS` of all layers and samples."""
        layers = self.of(convention).values()
        return {kind: sum(int(c[kind].sum()) for c in layers) for kind in OPERATIONS}

    def per_sample(self, convention: Convention) -> dict[str, Array]:
        """`OPERATIONS` of all layers together, int64 [N]."""
        layers = list(self.of(convention).values())
        return {kind: np.asarray(np.sum([c[kind] for c in layers], axis=0, dtype=np.int64)) for kind in OPERATIONS}

    @property
    def samples(self) -> int:
        """N."""
        return len(next(iter(self.layers.values()))["spikes"])


def joined(parts: Sequence[Counts]) -> Counts:
    """Counts of consecutive samples as those of all of them."""
    first = parts[0]
    layers = {
        name: {kind: np.concatenate([p.layers[name][kind] for p in parts]) for kind in KINDS} for name in first.layers
    }
    return Counts(first.steps, layers)


def count(case: Case, trace: Trace | None = None, routes: Routes | None = None) -> Counts:
    """Operations of a spiking network.

    Parameters
    ----------
    case : Case
        An input train (``encoding="spikes"``) of zeros and ones alone is one of spikes; any other is analog.
    trace : Trace, optional
        Of this case, with its spikes where the network pools them into analog values; simulated if not given.
    routes : mapping of layer to mapping of str to int or int array of its shape, optional
        What one spike of each unit sends between cores: ``"hops"``, of which nobody knows the direction, or what
        `mesh.routes` tells of a mapping onto a chip: ``"packets"``, ``"hops_ew"``, ``"hops_ns"``.

    Raises
    ------
    ConfigError
        Routes of a layer that does not exist.
    DataError
        Routes that are no integers >= 0 for the layer's units; a trace without the spikes that are needed.
    """
    network, train = case.network, sent.train(case)
    spiking = sent.spiking(network, train is not None and bool(np.all((train == 0) | (train == 1))))
    constant = sent.constant(network) if train is None else frozenset()
    varying = {b.source for v in network.layers for b in v.branches} - spiking - constant
    if trace is None:
        trace = run(case, "spikes" if varying else "counts")
    handed = sent.handed(network, spiking, trace.counts, train)
    values = sent.values(case, trace, train) if varying else sent.still(network, case.x, constant)
    layers = {name: _nothing(trace.readout.shape[1]) for name in (INPUT, *(v.name for v in network.layers))}
    for layer in network.layers:
        found = layers[layer.name]
        if layer.act is not None:
            found["updates"] += case.steps * math.prod(network.shapes[layer.name])
        for b, fans in zip(layer.branches, _fan_outs(network)[layer.name], strict=True):
            if sent.renames(layer):
                continue
            if b.source in spiking:
                kind, weighed = "synops", (handed[b.source],) * 2
            else:
                kind, there = ("constant" if b.source in constant else "macs"), values[b.source]
                weighed = np.full(there.shape[1:], len(there)), np.count_nonzero(there, axis=0)
            for how, number, fan in zip(("every", "nonzero"), weighed, fans, strict=True):
                found[f"{kind}_{how}"] += _weighed(number, fan)
        recurrent = layer.act.recurrent if isinstance(layer.act, Cuba) else None
        if recurrent is not None:
            found["synops_every"] += _weighed(trace.counts[layer.name], np.full(len(recurrent), len(recurrent)))
            found["synops_nonzero"] += _weighed(trace.counts[layer.name], np.count_nonzero(recurrent, axis=0))
    for name, number in handed.items():
        layers[name]["handed"] += number.reshape(len(number), -1).sum(1, dtype=np.int64)
        if name == INPUT or name in trace.counts:
            layers[name]["spikes"] += layers[name]["handed"]
    for name, kinds in (routes or {}).items():
        if name not in layers:
            raise ConfigError(f"routes of {name!r}: there is no such layer{nearest(name, layers)}")
        for kind, each in kinds.items():
            per_spike = _route(name, kind, each, network.shapes[name])
            if name in handed:
                layers[name][kind] += _weighed(handed[name], per_spike)
    for name, found in layers.items():
        if "packets" not in (routes or {}).get(name, ()):
            found["packets"] += found["spikes"]
    return Counts(case.steps, layers)


def count_ann(network: Network, x: Array) -> Counts:
    """MACs of an ANN: every value goes over every connection once, or only those that are not 0 do."""
    values = forward(network, x) | {INPUT: np.asarray(x)}
    layers = {name: _nothing(len(x)) for name in (INPUT, *(v.name for v in network.layers))}
    for layer in network.layers:
        for b, (every, nonzero) in zip(layer.branches, _fan_outs(network)[layer.name], strict=True):
            if not sent.renames(layer):
                layers[layer.name]["constant_every"] += int(every.sum())
                layers[layer.name]["constant_nonzero"] += _weighed(values[b.source] != 0, nonzero)
    return Counts(1, layers)


def connections(op: Op, shape: Shape) -> tuple[Array, Array]:
    """Fan-out of every unit of the operation's input, int64: all connections, and those whose weight is not 0."""
    dense = op
    if isinstance(op, (Dense, Conv)):
        dense = replace(op, weight=np.ones_like(op.weight))
    elif isinstance(op, Scale):
        dense = Scale(1.0)
    return fan_out(dense, shape), fan_out(op, shape)


def operations(op: Op, x: Array, spikes: bool) -> dict[str, int]:
    """Operations of one operation on what its source hands on in each step, by the two ways to count connections.

    Parameters
    ----------
    op : Op
    x : array [T, N, *shape]
    spikes : bool
        Whether `x` are numbers of spikes, or analog values.

    Returns
    -------
    dict of ``synops_every``, ``synops_nonzero``, ``macs_every``, ``macs_nonzero`` to int, over all steps and samples
    """
    every, nonzero = connections(op, x.shape[2:])
    there = x.sum((0, 1)) if spikes else np.count_nonzero(x, axis=(0, 1))
    all_of_them = there if spikes else np.full(x.shape[2:], x.shape[0] * x.shape[1])
    found = {"every": int((all_of_them * every).sum()), "nonzero": int((there * nonzero).sum())}
    return {f"{kind}_{how}": n if (kind == "synops") == spikes else 0
            for kind in ("synops", "macs") for how, n in found.items()}  # fmt: skip


def static_synops(network: Network, counts: Counts, connections: Connections = "every") -> dict[str, Fraction]:
    """Synaptic operations of each layer by the usual estimate, mean rate x fan-out x T, over all samples.

    The mean rate of a layer times T times N is the number of spikes that it hands on over the number of its units. It is
    exact where the units have equal rates or equal fan-outs, as in front of a layer that is fully connected.
    """
    handed = {name: int(c["handed"].sum()) for name, c in counts.layers.items()}
    return {
        layer.name: sum(
            (
                Fraction(
                    handed[b.source] * int(fans[connections == "nonzero"].sum()), math.prod(network.shapes[b.source])
                )
                for b, fans in zip(layer.branches, _fan_outs(network)[layer.name], strict=True)
                if not sent.renames(layer)
            ),
            Fraction(0),
        )
        for layer in network.layers
    }


def analog_macs(network: Network, encoded: bool, steps: int) -> dict[str, int]:
    """MACs of each layer per sample: every connection that analog values go over, in each of the steps.

    `encoded` says whether the input is one of spikes; a constant one is analog.
    """
    spiking = sent.spiking(network, encoded)
    return {
        layer.name: steps
        * sum(
            int(every.sum())
            for b, (every, _) in zip(layer.branches, _fan_outs(network)[layer.name], strict=True)
            if b.source not in spiking and not sent.renames(layer)
        )
        for layer in network.layers
    }


def synapses_from(network: Network, sources: Collection[str], connections: Connections = "every") -> int:
    """Connections that leave these sources; flattening makes none."""
    return sum(
        int(fans[connections == "nonzero"].sum())
        for layer in network.layers
        for b, fans in zip(layer.branches, _fan_outs(network)[layer.name], strict=True)
        if b.source in sources and not sent.renames(layer)
    )


def _nothing(samples: int) -> dict[str, Array]:
    return {kind: np.zeros(samples, np.int64) for kind in KINDS}


def _weighed(number: Array, fan: Array) -> Array:
    """``sum_i number_ni fan_i`` for every sample n, in integers."""
    return np.asarray(number.reshape(len(number), -1).astype(np.int64) @ fan.ravel().astype(np.int64))


@lru_cache(maxsize=8)
def _fan_outs(network: Network) -> Mapping[str, Sequence[tuple[Array, Array]]]:
    return {v.name: [connections(b.op, network.shapes[b.source]) for b in v.branches] for v in network.layers}


def _route(name: str, kind: str, each: Array | int, shape: Shape) -> Array:
    given = np.asarray(each)
    if kind not in ROUTES:
        raise ConfigError(f"routes of {name!r}: {kind} is none of {', '.join(ROUTES)}{nearest(kind, ROUTES)}")
    if given.dtype.kind not in "iu" or given.shape not in ((), shape) or np.any(given < 0):
        raise DataError(f"{kind} of {name!r}: an integer >= 0, or an array of them of shape {shape}")
    return np.broadcast_to(given, shape)
