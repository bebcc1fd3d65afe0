"""Laws of the mapping: counts by enumeration, cores that keep their limits, neurons that can go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..content import Content
from ..findings import Measure
from ..hardware.targets import Limit, Mesh, Target
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Neuron, Pool, Scale
from ..oracles import Oracle
from ..reference.operations import connections
from ..strategies import exact_cases
from ..trace import Case
from . import check
from .common import differences

BITS = 4  # of int4, in which the networks are placed


@dataclass(frozen=True, eq=False)
class Chip(Content):
    """A network and a small chip's limits."""

    network: Network
    units: int
    weight_bits: int
    axons: int
    columns: int
    cores: int  # at each router

    @property
    def target(self) -> Target:
        """The chip."""
        limits = {
            "units_per_core": self.units,
            "weight_bits_per_core": self.weight_bits,
            "input_axons_per_core": self.axons,
        }
        mesh = Mesh(self.columns, 1000, self.cores, "drawn", "model")
        return Target("drawn", "drawn", {k: Limit(v, "drawn", "model") for k, v in limits.items()}, mesh)


@st.composite
def chips(draw: st.DrawFn) -> Chip:
    """Small spiking networks on chips with about as little room as they need."""
    network = draw(exact_cases()).network
    return Chip(network, draw(st.integers(1, 8)), BITS * draw(st.integers(1, 24)), draw(st.integers(1, 12)),
                draw(st.integers(1, 4)), draw(st.integers(1, 3)))  # fmt: skip


def _pairs(network: Network) -> dict[str, set[tuple[int, str, int]]]:
    """Every (unit, source, its unit) that a layer connects, one by one, in the reference's own reading of the operations."""
    found: dict[str, set[tuple[int, str, int]]] = {}
    for layer in network.layers:
        if _flat(layer):
            continue
        shape = network.shapes[layer.name]
        pairs = found[layer.name] = set()
        for k, b in enumerate(layer.branches):
            source = b.source
            while source != INPUT and _flat(network[source]):
                source = network[source].branches[0].source
            inside = network.shapes[b.source]
            for out, terms in connections(b.op, inside)[0].items():
                here = int(np.ravel_multi_index(out, shape))
                pairs |= {(here, f"{k} {source}", int(np.ravel_multi_index(i, inside))) for i, w in terms if w}
    return found


def _flat(layer: Layer) -> bool:
    return layer.act is None and len(layer.branches) == 1 and isinstance(layer.branches[0].op, Flatten)


@check("operators", chips())
def enumeration(d: Chip, subject: Oracle) -> Iterator[Measure]:
    """Connections, greatest fan-in and greatest fan-out of every layer are those of an enumeration one by one [definition]."""
    placed = subject.operator("place")(d.network, d.target, "int4")
    pairs = _pairs(d.network)
    out: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for each in pairs.values():
        for _, source, i in each:
            out[source.split(" ", 1)[1]][i] += 1
    yield Measure("layers missing", float({n.layer for n in placed.needs} != set(pairs)))
    for n in placed.needs:
        into: dict[int, int] = defaultdict(int)
        for here, _, _ in pairs[n.layer]:
            into[here] += 1
        wanted = (int(np.prod(d.network.shapes[n.layer])), len(pairs[n.layer]), max(into.values(), default=0),
                  max(out[n.layer].values(), default=0))  # fmt: skip
        told = (n.units, n.connections, n.fan_in, n.fan_out)
        yield Measure("differs", float(told != wanted), where=n.layer, detail=f"{told} for {wanted}")


def _needs(pairs: set[tuple[int, str, int]], start: int, stop: int) -> tuple[int, int, int]:
    """Units, weight bits and input axons of some units of a layer."""
    inside = [(source.split(" ", 1)[1], i) for here, source, i in pairs if start <= here < stop]
    return stop - start, BITS * len(inside), len(set(inside))


@check("operators", chips())
def cores(d: Chip, subject: Oracle) -> Iterator[Measure]:
    """Cores hold each unit once and keep their limits, or hold one unit that alone breaks them and is named; none could take its neighbour's first unit [the stated partition]."""
    placed = subject.operator("place")(d.network, d.target, "int4")
    pairs, limits = _pairs(d.network), (d.units, d.weight_bits, d.axons)
    named = {v.layer for v in placed.violations}
    for name, each in pairs.items():
        mine = [c for c in placed.cores if c.layer == name]
        held = [u for c in mine for u in range(c.start, c.stop)]
        yield Measure(
            "units lost or doubled", float(held != list(range(int(np.prod(d.network.shapes[name]))))), where=name
        )
        for c in mine:
            needs = _needs(each, c.start, c.stop)
            over = any(n > most for n, most in zip(needs, limits, strict=True))
            yield Measure(
                "limit broken unnamed", float(over and not (c.stop - c.start == 1 and name in named)), where=name
            )
            yield Measure("needs differ", float((c.stop - c.start, c.weight_bits, c.input_axons) != needs), where=name)
        for a, b in pairwise(mine):
            room = all(n <= most for n, most in zip(_needs(each, a.start, b.start + 1), limits, strict=True))
            yield Measure("a core is left early", float(room), where=name)
    units = sum(int(np.prod(d.network.shapes[name])) for name in pairs)
    least = max(-(-units // d.units), -(-BITS * sum(map(len, pairs.values())) // d.weight_bits))
    yield Measure("another lower bound", float(placed.least_cores != least))
    if not placed.violations:  # the bound is one of partitions that keep the limits
        yield Measure("fewer cores than the lower bound", float(len(placed.cores) < placed.least_cores))


@check("operators", chips())
def output_axons(d: Chip, subject: Oracle) -> Iterator[Measure]:
    """Output axons are one for every pair of a unit and a core that it reaches [definition]."""
    placed, pairs = subject.operator("place")(d.network, d.target, "int4"), _pairs(d.network)
    reached: set[tuple[str, int, int]] = set()
    for number, c in enumerate(placed.cores):
        reached |= {
            (source.split(" ", 1)[1], i, number) for here, source, i in pairs[c.layer] if c.start <= here < c.stop
        }
    for c in placed.cores:
        wanted = sum(layer == c.layer and c.start <= i < c.stop for layer, i, _ in reached)
        yield Measure("differs", float(abs(c.output_axons - wanted)), where=c.layer)


def _ways(d: Chip, subject: Oracle) -> Iterator[tuple[str, int, int, int]]:
    """Layer and unit of every packet that one spike of each unit sends, and its hops along the row and along the column."""
    placed, pairs = subject.operator("place")(d.network, d.target, "int4").cores, _pairs(d.network)
    at = {(c.layer, u): (k // d.cores // d.columns, k // d.cores % d.columns)
          for k, c in enumerate(placed) for u in range(c.start, c.stop)}  # fmt: skip
    core = {(c.layer, u): k for k, c in enumerate(placed) for u in range(c.start, c.stop)}
    ways = {((source, i), core[name, here], at[name, here]) for name, each in pairs.items()
            for here, source, i in ((h, s.split(" ", 1)[1], i) for h, s, i in each) if source != INPUT}  # fmt: skip
    for unit, _, (row, column) in ways:
        yield *unit, abs(at[unit][1] - column), abs(at[unit][0] - row)


@check("operators", chips())
def hops(d: Chip, subject: Oracle) -> Iterator[Measure]:
    """A spike goes as a packet from its core's router to that of each core that it reaches, along its row and then along its column; within a router it makes no hop [Davies et al., IEEE Micro 38(1), 2018: dimension-order routing, unicast; the stated order of cores]."""
    told = subject.operator("mesh_routes")(d.network, d.target, "int4")
    wanted = {name: {kind: np.zeros(d.network.shapes[name], np.int64) for kind in ("packets", "hops_ew", "hops_ns")}
              for name in _pairs(d.network)}  # fmt: skip
    for name, unit, along, across in _ways(d, subject):
        for kind, n in (("packets", 1), ("hops_ew", along), ("hops_ns", across)):
            wanted[name][kind].reshape(-1)[unit] += n
    for name, kinds in wanted.items():
        for kind, due in kinds.items():
            yield Measure("differs", differences(told[name][kind], due), where=f"{name}: {kind}")


@dataclass(frozen=True, eq=False)
class Sender(Content):
    """A case, and the chip that its network lies on."""

    case: Case
    chip: Chip


@st.composite
def senders(draw: st.DrawFn) -> Sender:
    """A convolution, a gate or a sum over its windows, a layer that adds what it skipped, and dense layers behind flattening."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["gate", "gate", "sum"]))
    layers = (
        Layer("conv", (Branch(Conv(rng.integers(-1, 4, (2, 1, 2, 2)) / 4)),), Neuron(theta=0.5)),
        Layer("pool", (Branch(Pool(kind, (2, 2), (1, 1)), "conv"),)),
        Layer(
            "merge", (Branch(Conv(rng.integers(-1, 4, (2, 2, 1, 1)) / 4), "pool"), Branch(Scale(0.5), "pool")), Neuron()
        ),
        Layer("flat", (Branch(Flatten(), "merge"),)),
        Layer("fc", (Branch(Dense(rng.integers(-2, 5, (3, 8)) / 4), "flat"),), Neuron(theta=0.5)),
        Layer("out", (Branch(Dense(rng.integers(-2, 5, (2, 3)) / 4), "fc"),)),
    )
    network = Network((1, 4, 4), layers)
    x = rng.integers(0, 5, (2, 1, 4, 4)) / 4
    chip = Chip(network, draw(st.integers(2, 9)), BITS * draw(st.integers(8, 48)), draw(st.integers(8, 40)),
                draw(st.integers(1, 4)), draw(st.integers(1, 3)))  # fmt: skip
    return Sender(Case(network, x, draw(st.integers(1, 5)), kind="exact"), chip)


@check("operators", senders())
def traffic(d: Sender, subject: Oracle) -> Iterator[Measure]:
    """Packets and hops of a run are those of every spike, one by one: of neurons and of what a gate hands on, once behind a flattening, and none of analog values [unicast, as above; the exact reference]."""
    told, network = subject.operator("mesh_operations")(d.case, d.chip.target, "int4"), d.case.network
    sent = dict(reference.run(d.case).spikes)
    pool = network["pool"].branches[0].op
    if isinstance(pool, Pool) and pool.kind == "gate":
        sent["pool"] = reference.operations.passed(pool, sent["conv"])
    due: dict[tuple[str, str], int] = defaultdict(int)
    for name, unit, along, across in _ways(d.chip, subject):
        spikes = int(sent[name].reshape(*sent[name].shape[:2], -1)[:, :, unit].sum()) if name in sent else 0
        for kind, n in (("spike", 1), ("hop_ew", along), ("hop_ns", across)):
            due[name, kind] += n * spikes
    for layer in network.layers:
        for kind in ("spike", "hop", "hop_ew", "hop_ns"):
            off = abs(told[layer.name][kind] - due[layer.name, kind])
            yield Measure("operations off", float(off), where=f"{layer.name}: {kind}")


@check("operators", chips())
def precision(d: Chip, subject: Oracle) -> Iterator[Measure]:
    """Fewer bits a weight never need more cores, nor a higher lower bound [monotonicity of the sums]."""
    placed = [subject.operator("place")(d.network, d.target, p) for p in ("binary", "int4", "int8", "fp32")]
    for a, b in pairwise(placed):
        yield Measure("more cores", float(len(a.cores) - len(b.cores)))
        yield Measure("higher bound", float(a.least_cores - b.least_cores))


@st.composite
def silenced(draw: st.DrawFn) -> Case:
    """A convolution, pooled and flattened, and dense layers, in which drawn channels cannot reach their threshold."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = [rng.integers(-2, 5, s) / 4 for s in ((3, 1, 2, 2), (4, 12), (2, 4))]
    thetas = [np.where(rng.random(n) < 0.4, 64.0, 0.5) for n in (3, 4)]
    acts = [Neuron(theta=t, v_init=0.0) for t in thetas]
    layers = (
        Layer("conv", (Branch(Conv(weights[0])),), acts[0]),
        Layer("pool", (Branch(Pool("sum", (1, 2), (1, 2)), "conv"),)),
        Layer("flat", (Branch(Flatten(), "pool"),)),
        Layer("fc", (Branch(Dense(weights[1]), "flat"),), acts[1]),
        Layer("out", (Branch(Dense(weights[2]), "fc"),)),
    )
    x = rng.integers(0, 5, (2, 1, 3, 5)) / 4
    return Case(Network((1, 3, 5), layers), x, draw(st.integers(1, 6)), kind="exact")


@check("operators", silenced())
def removal(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Removing the channels that stay silent changes no spike of another neuron and no read-out, in exact arithmetic; every wholly silent channel but the last goes [a silent neuron adds nothing to any sum]."""
    found: Any = subject.operator("remove_dead")(case)
    before, after = reference.run(case), reference.run(replace(case, network=found.network))
    yield Measure("changes told", float(found.changed))
    yield Measure("read-out differs", differences(before.readout, after.readout))
    for name, counts in before.counts.items():
        silent = (counts == 0).all(axis=0)
        channels = silent.reshape(len(silent), -1).all(axis=1)
        wanted = ~channels
        wanted[0] |= not wanted.any()  # a layer keeps one
        kept = found.keep.get(name, np.ones(len(channels), bool))
        yield Measure("silent units told wrong", float(abs(found.silent[name] - int(silent.sum()))), where=name)
        yield Measure("channels kept differ", differences(kept, wanted), where=name)
        yield Measure("spikes differ", differences(before.spikes[name][:, :, kept], after.spikes[name]), where=name)
