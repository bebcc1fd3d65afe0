"""Operation counts and energies as subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from ..content import Array
from ..network import INPUT, Branch, Layer, Network, Op
from ..trace import Case

Prices = Mapping[str, "tuple[Fraction, Fraction]"]


def operators() -> dict[str, Callable[..., Any]]:
    """By the names that the checks know them by."""
    from ..hardware.counts import operations
    from ..hardware.energy import break_even, equal_bits

    return {
        "operations": operations,
        "counts": _counts,
        "energy": lambda counts, prices: _energy(counts, prices),
        "network_energy": _network_energy,
        "per_sample": _per_sample,
        "unpriced": _unpriced,
        "quantised_mac": _quantised_mac,
        "static_synops": _static,
        "break_even": break_even,
        "equal_bits": equal_bits,
        "prices": _prices,
        "mesh_operations": _mesh_operations,
        "compare_log": _compare,
        "held_to": _held,
        "count_ann": _count_ann,
        "judged_operations": _judged,
    }


def _counts(case: Case) -> dict[str, dict[str, int]]:
    """Every kind of count of every layer, over all samples."""
    from ..hardware.counts import count

    return {
        name: {kind: int(n.sum()) for kind, n in kinds.items()}
        for name, kinds in count(case).layers.items()
        if name != INPUT
    }


def _mesh_operations(case: Case, target: Any, precision: str) -> dict[str, dict[str, int]]:
    """Operations of every layer of a network that is mapped onto a target's mesh."""
    from ..hardware.counts import Convention, count
    from ..hardware.mapping import place
    from ..hardware.mesh import routes

    paths = routes(case.network, place(case.network, target, precision), target)
    told = count(case, routes=paths).of(Convention())
    return {name: {kind: int(n.sum()) for kind, n in kinds.items()} for name, kinds in told.items()}


def _prices(given: Mapping[str, Any]) -> dict[str, tuple[Fraction, Fraction]]:
    """Prices of a table's ``pJ``, lowest and highest."""
    from ..hardware.energy import prices

    return {k: (e.low, e.high) for k, e in prices(given).items()}


def _energy(counts: Mapping[str, Any], prices: Prices) -> tuple[Fraction, Fraction]:
    from ..hardware.energy import estimate

    found = estimate(counts, _table(prices))
    return found.low, found.high


def _per_sample(case: Case, connections: Any, constant: Any) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Operations of each sample, and of all of them, by one convention."""
    from ..hardware.counts import Convention, count

    counts, convention = count(case), Convention(connections, constant)
    return {k: v.tolist() for k, v in counts.per_sample(convention).items()}, counts.total(convention)


def _table(prices: Prices, multiplier: Fraction | None = None) -> Any:
    from ..hardware.energy import Range, Table

    priced = {k: Range(*ends) for k, ends in prices.items()}
    return Table("drawn", "", "derived", "", "", "0", priced, multiplier=multiplier)


def _unpriced(counts: Mapping[str, Any], prices: Prices) -> dict[str, int]:
    from ..hardware.energy import unpriced

    return unpriced(counts, _table(prices))


def _quantised_mac(prices: Prices, multiplier: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    from ..hardware.energy import quantised_mac

    found = quantised_mac(_table(prices, multiplier), bits)
    return found.low, found.high


def _network_energy(case: Case, prices: Prices, connections: Any, constant: Any) -> tuple[Fraction, Fraction]:
    from dataclasses import replace

    from ..hardware.counts import Convention, count

    counts = count(case)
    layers = {name: kinds for name, kinds in counts.layers.items() if name != INPUT}
    return _energy(replace(counts, layers=layers).total(Convention(connections, constant)), prices)


def _static(op: Op, x: Array, connections: Any) -> Fraction:
    """Estimate for one operation behind spikes x [T, N, *shape]."""
    from ..hardware.counts import Counts, static_synops

    network = Network(x.shape[2:], (Layer("layer", (Branch(op),)),))
    counts = Counts(len(x), {INPUT: {"handed": x.sum((0, *range(2, x.ndim))).astype(int)}})
    return static_synops(network, counts, connections)["layer"]


def _compare(energy: Array, latency: Array) -> Any:
    """A board's log beside an estimate of 1 J for each sample."""
    import numpy as np

    from ..hardware.measured import Log, compare

    n = np.arange(len(energy))
    return compare(Log(n, n, energy, latency), np.ones(len(n)), np.ones(len(n)))


def _held(energy: Array, low: float, high: float, tolerance: float, unpriced: Mapping[str, int]) -> Any:
    """Verdict on an estimate that is the same for every sample."""
    import numpy as np

    from ..hardware.measured import Log, compare

    n = np.arange(len(energy))
    log = Log(n, n, energy, np.ones(len(n)))
    return compare(log, np.full(len(n), low), np.full(len(n), high), tolerance, unpriced).holds


def _judged(network: Network, x: Array, steps: int, encoding: Any) -> dict[str, int]:
    """Synaptic operations and MACs over all samples of a conversion, as the gate judges them."""
    import numpy as np

    from ..convert import convert
    from ..fidelity import measure
    from ..hardware.counts import analog_macs

    converted = convert(network, x)
    labels = np.zeros(len(x), int)
    events = measure(converted, x, labels, np.eye(2)[labels], [steps], encoding=encoding).events
    macs = analog_macs(converted.snn, encoding != "constant", steps)
    return {"synops": sum(e["synaptic_operations"] for e in events.values()), "macs": len(x) * sum(macs.values())}


def _count_ann(op: Op, x: Array) -> dict[str, int]:
    """MACs of a network of one operation on x [N, *shape], by the two ways to count connections."""
    from ..hardware.counts import count_ann

    kinds = count_ann(Network(x.shape[1:], (Layer("layer", (Branch(op),)),)), x).layers["layer"]
    return {f"macs_{k}": int(kinds[f"constant_{k}"].sum()) for k in ("every", "nonzero")}
