"""What a network takes on a many-core chip: units, connections, memory, cores, and the limits that it breaks.

The partition is stated, simple, and not claimed to be the best: a core holds consecutive units of one layer, as many as
its limits allow, each connection stores its own weight, and a unit that alone is over a limit gets a core and is named.
A layer without activation takes a unit per value, too (pooling relays, the read-out); flattening renames and takes none.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..activation import Cuba
from ..content import Array
from ..network import INPUT, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, per_channel
from ..simulate import apply, fan_out
from .targets import Target

PRECISIONS: Mapping[str, int] = {"fp32": 32, "int8": 8, "int4": 4, "binary": 1}
Progress = Callable[[int, int], None]
PER_CORE = ("units_per_core", "weight_bits_per_core", "input_axons_per_core")


@dataclass(frozen=True)
class Wire:
    """A bundle of connections: an operation on the values of a layer that has units of its own (or the input)."""

    op: Op
    source: str
    shape: Shape


@dataclass(frozen=True)
class Need:
    """What a layer takes: `stored` are weights as trained (a kernel once), `connections` non-zero ones, each by itself."""

    layer: str
    units: int
    stored: int
    connections: int
    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Core:
    """Units `start` to `stop` of a layer, in C order, and what they take."""

    layer: str
    start: int
    stop: int
    weight_bits: int
    input_axons: int
    output_axons: int = 0


@dataclass(frozen=True)
class Violation:
    """A limit that a layer breaks, by the worst of its units or cores."""

    layer: str
    limit: str
    value: int
    most: int


@dataclass(frozen=True)
class Placement:
    """A network on a target: needs by layer, cores of the partition, a lower bound of their number
    for any partition that keeps the limits, and broken limits.
    """

    needs: Sequence[Need]
    cores: Sequence[Core]
    least_cores: int
    violations: Sequence[Violation]
    bits: int


def place(network: Network, target: Target, precision: str, progress: Progress | None = None) -> Placement:
    """Map a network onto a target.

    Parameters
    ----------
    network : Network
    target : Target
    precision : {"fp32", "int8", "int4", "binary"}
        Of a stored weight.
    progress : callable (done, total), optional
        Told of units that have a core, and again of those whose axons are counted.
    """
    bits = PRECISIONS[precision]
    wires = {layer.name: wires_of(network, layer) for layer in network.layers if not _renames(layer)}
    shapes = network.shapes
    into = {name: _fan_in(bundle, shapes[name]) for name, bundle in wires.items()}
    out: dict[str, Array] = {name: np.zeros(shapes[name], np.int64) for name in wires}
    for bundle in wires.values():
        for w in bundle:
            if w.source != INPUT:
                out[w.source] += fan_out(w.op, w.shape).reshape(shapes[w.source])
    needs = [
        Need(name, into[name].size, sum(_stored(w.op) for w in wires[name]), int(into[name].sum()),
             int(into[name].max()), int(out[name].max()))
        for name in wires
    ]  # fmt: skip
    done, total = 0, 2 * sum(n.units for n in needs)

    def told(cores: Iterable[Core]) -> Iterator[Core]:
        nonlocal done
        for c in cores:
            done += c.stop - c.start
            if progress is not None:
                progress(done, total)
            yield c

    cut = [c for name in wires for c in told(_partition(name, wires[name], into[name], target, bits))]
    cores = _axons(cut, told(cut), wires, shapes)
    return Placement(needs, cores, _least(needs, target, bits), tuple(_violations(needs, cores, target)), bits)


def wires_of(network: Network, layer: Layer) -> tuple[Wire, ...]:
    """Bundles that end in a layer; behind flattening they start at what was flattened, whose units have the same order."""
    found = []
    for b in layer.branches:
        source = b.source
        while source != INPUT and _renames(network[source]):
            source = network[source].branches[0].source
        found.append(Wire(b.op, source, network.shapes[b.source]))
    if isinstance(layer.act, Cuba) and layer.act.recurrent is not None:
        units = math.prod(network.shapes[layer.name])
        found.append(Wire(Dense(layer.act.recurrent.reshape(units, units)), layer.name, (units,)))
    return tuple(found)


def _renames(layer: Layer) -> bool:
    return layer.act is None and len(layer.branches) == 1 and isinstance(layer.branches[0].op, Flatten)


def _stored(op: Op) -> int:
    """Weights as trained: a kernel once; a pooling and a plain skip hold none."""
    if isinstance(op, Scale):
        return 0 if np.ndim(op.factor) == 0 and op.factor == 1 else int(np.size(op.factor))
    return 0 if isinstance(op, (Pool, Flatten)) else int(op.weight.size)


def _fan_in(wires: Sequence[Wire], shape: Shape) -> Array:
    """Count the connections into every unit of a layer, int64 of its shape."""
    total = np.zeros(shape, np.int64)
    for w in wires:
        total += fan_in(w.op, w.shape, shape)
    return total


def fan_in(op: Op, shape: Shape, out: Shape) -> Array:
    """Count the non-zero connections into every unit of an operation's output `out`, int64."""
    if isinstance(op, (Flatten, Scale)):
        factor = per_channel(op.factor, shape) if isinstance(op, Scale) else np.ones(())
        return np.broadcast_to((factor != 0).astype(np.int64), shape).reshape(out)
    if isinstance(op, Dense):
        return np.asarray(np.count_nonzero(op.weight, axis=1), np.int64).reshape(out)
    if isinstance(op, Pool):
        op = Conv(
            np.ones((shape[0], 1, *op.kernel)), None, op.stride, tuple((p, p) for p in op.padding), groups=shape[0]
        )
    mask = Conv((op.weight != 0).astype(float), None, op.stride, op.padding, op.dilation, op.groups, op.transposed,
                op.output_padding)  # fmt: skip
    return np.asarray(np.rint(apply(mask, np.ones((1, *shape)))[0]), np.int64)


def _partition(name: str, wires: Sequence[Wire], into: Array, target: Target, bits: int) -> Iterator[Core]:
    """Cut a layer into cores: each takes consecutive units while its limits hold, one at least."""
    start, stored = 0, bits * np.concatenate([[0], np.cumsum(into)])
    units, memory, axons = (target.most(limit) for limit in PER_CORE)
    while start < into.size:
        high = into.size if units is None else min(into.size, start + units)
        if memory is not None:
            high = min(high, int(np.searchsorted(stored, stored[start] + memory, "right")) - 1)
        high = max(high, start + 1)
        low = high if axons is None else start + 1  # axons grow with the stop, so that halving finds the last that fits
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high) if _fits(_core(name, wires, into, start, middle, bits), target) else (low, middle - 1)
            )
        yield _core(name, wires, into, start, low, bits)
        start = low


def _core(name: str, wires: Sequence[Wire], into: Array, start: int, stop: int, bits: int) -> Core:
    sources = sources_of(wires, into.shape, start, stop)
    weight_bits = int(into.reshape(-1)[start:stop].sum()) * bits
    return Core(name, start, stop, weight_bits, sum(int(s.sum()) for s in sources.values()))


def sources_of(wires: Sequence[Wire], shape: Shape, start: int, stop: int) -> dict[str, Array]:
    """Which units of each source reach units `start` to `stop` of a layer: flat booleans."""
    chosen = np.zeros(math.prod(shape), np.int64)
    chosen[start:stop] = 1
    found: dict[str, Array] = {}
    for w in wires:
        on = chosen if isinstance(w.op, Dense) else chosen.reshape(shape)
        hit = fan_out(w.op, w.shape, on).reshape(-1) > 0
        found[w.source] = found[w.source] | hit if w.source in found else hit
    return found


def _taken(core: Core) -> Mapping[str, int]:
    """What a core takes of each of its limits."""
    return {"units_per_core": core.stop - core.start, "weight_bits_per_core": core.weight_bits,
            "input_axons_per_core": core.input_axons, "output_axons_per_core": core.output_axons}  # fmt: skip


def _fits(core: Core, target: Target) -> bool:
    taken = _taken(core)
    return all((most := target.most(k)) is None or taken[k] <= most for k in PER_CORE)


def _axons(
    cores: Sequence[Core], told: Iterable[Core], wires: Mapping[str, Sequence[Wire]], shapes: Mapping[str, Shape]
) -> list[Core]:
    """Add the output axons: one for every pair of a unit and a core that it reaches; `told` are the same cores."""
    reached: dict[str, Array] = defaultdict(lambda: np.zeros(1, np.int64))
    for c in told:
        for source, hit in sources_of(wires[c.layer], shapes[c.layer], c.start, c.stop).items():
            reached[source] = reached[source] + hit
    return [Core(c.layer, c.start, c.stop, c.weight_bits, c.input_axons, int(reached[c.layer][c.start : c.stop].sum()))
            for c in cores]  # fmt: skip


def _least(needs: Sequence[Need], target: Target, bits: int) -> int:
    """Cores that no partition within the limits can do without: the tightest of all units and all weights."""
    total = {
        "units_per_core": sum(n.units for n in needs),
        "weight_bits_per_core": bits * sum(n.connections for n in needs),
    }
    return max([1, *(math.ceil(v / most) for k, v in total.items() if (most := target.most(k)))])


def _violations(needs: Sequence[Need], cores: Sequence[Core], target: Target) -> list[Violation]:
    """Name every limit that is broken, with the layer and the worst number."""
    worst: dict[tuple[str, str], int] = defaultdict(int)
    for n in needs:
        worst[n.layer, "fan_in"], worst[n.layer, "fan_out"] = n.fan_in, n.fan_out
    for c in cores:
        for limit, value in _taken(c).items():
            worst[c.layer, limit] = max(worst[c.layer, limit], value)
    worst["all", "cores"], worst["all", "connections"] = len(cores), sum(n.connections for n in needs)
    return [Violation(layer, limit, value, most) for (layer, limit), value in worst.items()
            if (most := target.most(limit)) is not None and value > most]  # fmt: skip
