"""What an inference costs: operation counts and their energy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from .. import reference
from ..activation import Neuron
from ..content import Array, Content
from ..findings import Measure
from ..network import Conv, Dense, Flatten, Op, Pool, Scale, Shape
from ..oracles import Oracle
from ..reference.operations import connections
from ..strategies import exact_cases
from ..trace import Case
from . import check

STATIC = ("update", "mac")  # what a silent network still pays for: its neurons and its analog input
PRICES = {"synop": (Fraction(9, 10), Fraction(3, 2)), "mac": (Fraction(23, 5),) * 2, "update": (Fraction(52), Fraction(81)),
          "spike": (Fraction(17, 10),) * 2, "hop": (Fraction(3), Fraction(4)), "hop_ew": (Fraction(3),) * 2,
          "hop_ns": (Fraction(4),) * 2}  # fmt: skip
CONVENTIONS = [(a, b) for a in ("every", "nonzero") for b in ("each step", "once")]


@dataclass(frozen=True, eq=False)
class Sent(Content):
    """An operation, and what its source hands on in each step, [T, N, *shape]: spikes (0 or 1), or analog values."""

    op: Op
    x: Array
    spikes: bool


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Weighted operations with strides, padding, dilation and groups, some weights 0, on few spikes or on fractions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    axes, transposed = draw(st.sampled_from([0, 1, 2, 2])), draw(st.booleans())
    groups = draw(st.sampled_from([1, 1, 2])) if axes else 1
    a, b = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    shape: Shape = (a, *(draw(st.integers(3, 5)) for _ in range(axes)))
    levels = draw(st.sampled_from([(0, 1), (0, 1, 2), (-0.5, 0.25, 3.0)]))
    if axes:
        kernel = tuple(draw(st.integers(1, 3)) for _ in range(axes))
        one = (draw(st.integers(1, 2)) for _ in range(2))
        stride, dilation = ((n,) * axes for n in one)
        if not transposed and any((k - 1) * d >= n for n, k, d in zip(shape[1:], kernel, dilation, strict=True)):
            dilation = (1,) * axes
        pads = ((draw(st.integers(0, 1)),) * 2,) * axes
        lead = (a, b // groups) if transposed else (b, a // groups)
        weight = rng.choice(levels, (*lead, *kernel))
        bias = rng.choice(levels, b)
        op: Op = Conv(weight, bias, stride, pads, dilation, groups, transposed)
        if transposed and any((n - 1) * s + d * (k - 1) + 1 <= 2 * pads[0][0]
                              for n, s, d, k in zip(shape[1:], stride, dilation, kernel, strict=True)):  # fmt: skip
            op = Conv(weight, bias, stride, ((0, 0),) * axes, dilation, groups, transposed)
    else:
        op = Dense(rng.choice(levels, (b, a)), rng.choice(levels, b))
    lead2 = (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    spikes = draw(st.booleans())
    x = rng.integers(0, 2, (*lead2, *shape)).astype(float)
    if not spikes:
        x *= rng.choice([0.25, 0.75, 1.5], x.shape)
        x.flat[0] = 0.5  # never all zeros and ones
    return Sent(op, x, spikes)


def by_hand(op: Op, x: Array, spikes: bool) -> dict[str, int]:
    """Operations by a loop over every value of every step and every connection that the exact reference tells."""
    every = _fan_out(_ones(op), x.shape[2:])
    nonzero = _fan_out(op, x.shape[2:])
    found = {"every": 0, "nonzero": 0}
    for t, n, *unit in np.ndindex(x.shape):
        value = float(x[(t, n, *unit)])
        found["every"] += every.get(tuple(unit), 0) * (int(value) if spikes else 1)
        found["nonzero"] += nonzero.get(tuple(unit), 0) * (int(value) if spikes else int(value != 0))
    kind, other = ("synops", "macs") if spikes else ("macs", "synops")
    return {f"{kind}_{k}": v for k, v in found.items()} | {f"{other}_{k}": 0 for k in found}


def _ones(op: Op) -> Op:
    if isinstance(op, (Dense, Conv)):
        return replace(op, weight=np.ones_like(op.weight))
    return Scale(1.0) if isinstance(op, Scale) else op


def _fan_out(op: Op, shape: Shape) -> dict[tuple[int, ...], int]:
    found: dict[tuple[int, ...], int] = {}
    for fan in connections(op, shape)[0].values():
        for i, _ in fan:
            found[i] = found.get(i, 0) + 1
    return found


def _place(drawn: Sent, kind: str, spikes: bool) -> str:
    """What the known defects of counters hang on."""
    transposed = isinstance(drawn.op, Conv) and drawn.op.transposed
    weight = drawn.op.weight  # type: ignore[union-attr]
    weights = "weights of 0 and 1" if np.all((weight == 0) | (weight == 1)) else "other weights"
    return f"{'transposed ' * transposed}{kind}, {'spikes' if spikes else 'analog values'}, {weights}"


@check("operators", sent())
def operations(drawn: Sent, subject: Oracle) -> Iterator[Measure]:
    """Each spike costs an accumulation, and each analog value a MAC, for every connection of its fan-out or for those that are not 0: real connections, none into the padding [definition; NeuroBench, Yik et al., Nat. Commun. 16:1545, 2025, "synaptic operations"]."""
    counted = subject.operator("operations")(drawn.op, drawn.x, drawn.spikes)
    for name, number in by_hand(drawn.op, drawn.x, drawn.spikes).items():
        if name in counted:
            yield Measure("operations off", float(abs(counted[name] - number)), where=_place(drawn, name, drawn.spikes))


@check("operators", exact_cases())
def counts(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The counts of a network are those of a loop over every spike, every analog value and every connection of an exact run, step by step: additive over steps [definition; the exact reference]."""
    counted = subject.operator("counts")(case)
    for (layer, kind), number in _by_hand(case).items():
        yield Measure(f"{kind} off", float(abs(counted[layer][kind] - number)), where=layer)


def _by_hand(case: Case) -> dict[tuple[str, str], int]:
    """What `counts.count` tells, of all samples: from the reference's spikes, in exact numbers."""
    trace, network, T = reference.run(case), case.network, case.steps
    moving = case.encoding == "spikes"
    x = case.x if moving else np.broadcast_to(case.x, (T, *case.x.shape))
    values: dict[str, Array] = {"input": np.asarray(x, float)}
    spikes: dict[str, Array] = {"input": x} if moving and np.all((x == 0) | (x == 1)) else {}
    still = set() if moving else {"input"}
    found: dict[tuple[str, str], int] = {}
    for layer in network.layers:
        tally = dict.fromkeys(("synops_every", "synops_nonzero", "macs_every", "macs_nonzero", "constant_every",
                               "constant_nonzero"), 0)  # fmt: skip
        for b in layer.branches:
            if layer.act is None and len(layer.branches) == 1 and isinstance(b.op, Flatten):
                continue
            is_spikes = b.source in spikes
            seen = spikes[b.source] if is_spikes else values[b.source]
            constant = b.source in still
            for t in range(1 if constant else T):
                for kind, number in by_hand(b.op, seen[t : t + 1], is_spikes).items():
                    tally[kind.replace("macs", "constant") if constant else kind] += number
        found |= {(layer.name, kind): number for kind, number in tally.items()}
        first = layer.branches[0]
        if layer.name in trace.spikes:
            spikes[layer.name] = trace.spikes[layer.name]
            found[layer.name, "updates"] = trace.spikes[layer.name].size
            found[layer.name, "spikes"] = int(trace.spikes[layer.name].sum())
            amplitude = np.asarray(layer.act.amplitude)  # type: ignore[union-attr]
            shape = network.shapes[layer.name]
            each = amplitude.reshape(amplitude.shape + (1,) * (len(shape) - 1)) if amplitude.ndim else amplitude
            values[layer.name] = trace.spikes[layer.name] * each
            continue
        values[layer.name] = _analog(network, layer, values)
        alone = len(layer.branches) == 1 and first.source in spikes
        if alone and isinstance(first.op, Flatten):
            spikes[layer.name] = spikes[first.source].reshape(*values[layer.name].shape)
        elif alone and isinstance(first.op, Pool) and first.op.kind == "gate":
            spikes[layer.name] = reference.operations.passed(first.op, spikes[first.source])
        elif all(b.source in still for b in layer.branches):
            still.add(layer.name)
    return found


def _analog(network: Any, layer: Any, values: dict[str, Array]) -> Array:
    """Exact values, [T, N, *shape], of a layer without neurons."""
    shape = network.shapes[layer.name]
    lead = values["input"].shape[:2]
    found = np.zeros((*lead, *shape))
    for unit in np.ndindex(shape):
        for b in layer.branches:
            term = (
                b,
                reference.operations.fan_in(b.op, network.shapes[b.source], unit),
                reference.operations.bias(b.op, unit),
            )
            for n in range(lead[1]):
                steps = [reference.operations.values_of(v) for v in np.asarray(values[b.source], float)[:, n]]
                for t, y in enumerate(reference.operations.series(term, steps)):
                    found[(t, n, *unit)] += float(y)
    return found


@check("operators", exact_cases())
def agrees_with_the_trace(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Spikes, updates and the non-zero synaptic operations are the events of the trace, but for an input that spikes itself, which a trace does not count [definition of Trace.events]."""
    counted, events = subject.operator("counts")(case), reference.run(case).events
    for layer in case.network.layers:
        yield Measure("spikes off", abs(counted[layer.name]["spikes"] - events[layer.name]["spikes"]), where=layer.name)
        yield Measure("updates off", abs(counted[layer.name]["updates"] - events[layer.name]["neuron_updates"]),
                      where=layer.name)  # fmt: skip
        if case.encoding == "constant":
            off = counted[layer.name]["synops_nonzero"] - events[layer.name]["synaptic_operations"]
            yield Measure("synaptic operations off", abs(off), where=layer.name)


@check("operators", exact_cases())
def count_times_table(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The estimate is count times table at both ends of its range, by each convention, and the energies of the layers add up to it [definition of an energy estimate]."""
    counted = subject.operator("counts")(case)
    for a, b in CONVENTIONS:
        whole = [Fraction(0), Fraction(0)]
        for layer, c in counted.items():
            priced = _priced(c, a, case.steps if b == "each step" else 1)
            got = subject.operator("energy")(priced, PRICES)
            for end in (0, 1):
                due = sum((n * PRICES[k][end] for k, n in priced.items()), Fraction(0))
                whole[end] += due
                yield Measure("energy off, pJ", float(abs(got[end] - due)), where=f"{layer}: {a}, {b}")
        told = subject.operator("network_energy")(case, PRICES, a, b)
        for end in (0, 1):
            yield Measure("layers do not add up, pJ", float(abs(told[end] - whole[end])), where=f"{a}, {b}")


def _priced(c: Any, connections: str, repeated: int) -> dict[str, int]:
    return {"synop": c[f"synops_{connections}"], "update": c["updates"], "spike": c["spikes"], "hop": 0, "hop_ew": 0, "hop_ns": 0,
            "mac": c[f"macs_{connections}"] + repeated * c[f"constant_{connections}"]}  # fmt: skip


@check("operators", st.tuples(*(st.fractions(0, 9, max_denominator=10) for _ in range(2)), *(st.integers(0, 99),) * 3))
def hops_by_direction(drawn: tuple[Fraction, Fraction, int, int, int], subject: Oracle) -> Iterator[Measure]:
    """A hop costs what its direction does, one of unknown direction from the cheaper to the dearer of the two, and any hop the same where a table has one price [Davies et al., IEEE Micro 38(1), 2018, Table 2 prices hops E-W and N-S apart]."""
    ew, ns, *n = drawn
    counts = dict(zip(("hop_ew", "hop_ns", "hop"), n, strict=True))
    for given, dearest in (({"hop_ew": ew, "hop_ns": ns}, n[0] * ew + n[1] * ns + n[2] * max(ew, ns)),
                           ({"hop": ew}, sum(n) * ew)):  # fmt: skip
        least = dearest - n[2] * (max(ew, ns) - min(ew, ns)) * (len(given) - 1)
        told = subject.operator("energy")(counts, subject.operator("prices")(given))
        yield Measure(
            "energy off, pJ", float(max(abs(told[0] - least), abs(told[1] - dearest))), where=", ".join(given)
        )


@check("operators", exact_cases(v_floor=None, max_spikes=1))
def silence_costs_the_static_terms(case: Case, subject: Oracle) -> Iterator[Measure]:
    """At rate 0 a network pays for the updates of its neurons and its analog values alone [spikes are what is event-driven]."""
    theta = 2.0**40  # never reached
    layers = tuple(
        replace(v, act=replace(v.act, theta=theta, v_init=0.0)) if isinstance(v.act, Neuron) else v
        for v in case.network.layers
    )
    silent = replace(case, network=replace(case.network, layers=layers), encoding="constant",
                     x=case.x if case.encoding == "constant" else case.x[0])  # fmt: skip
    free = {k: v if k in STATIC else (Fraction(10**9),) * 2 for k, v in PRICES.items()}
    only = {k: v for k, v in PRICES.items() if k in STATIC}
    got, due = (subject.operator("network_energy")(silent, p, "every", "each step") for p in (free, only))
    yield Measure("silence pays for spikes, pJ", float(abs(got[1] - due[1])))
    units = sum(math.prod(case.network.shapes[v.name]) for v in case.network.spiking)
    paid = subject.operator("network_energy")(silent, {"update": PRICES["update"]}, "every", "each step")
    samples = len(silent.x)
    yield Measure("updates off, pJ", float(abs(paid[0] - PRICES["update"][0] * units * samples * case.steps)))


@check("operators", sent())
def monotone_in_rate(drawn: Sent, subject: Oracle) -> Iterator[Measure]:
    """One more spike never makes it cheaper, and costs exactly its fan-out [a synaptic operation for each connection]."""
    x = (drawn.x != 0).astype(float)
    unit = tuple(0 for _ in x.shape)
    less, more = x.copy(), x.copy()
    less[unit], more[unit] = 0.0, 1.0
    counted = subject.operator("operations")
    few, many = counted(drawn.op, less, True), counted(drawn.op, more, True)
    fans = {"synops_every": _fan_out(_ones(drawn.op), x.shape[2:]), "synops_nonzero": _fan_out(drawn.op, x.shape[2:])}
    for kind, fan in fans.items():
        if kind in few:
            added = many[kind] - few[kind]
            yield Measure("a spike adds less than its fan-out", float(abs(added - fan.get(unit[2:], 0))),
                          where=_place(drawn, kind, True))  # fmt: skip


@check("operators", sent())
def static_estimate(drawn: Sent, subject: Oracle) -> Iterator[Measure]:
    """Mean rate x fan-out x T is the count where all units have one rate, and where all have one fan-out [distributivity]."""
    shape = drawn.x.shape[2:]
    uniform = np.ones_like(drawn.x)
    uniform[:1] = 0.0
    dense = isinstance(drawn.op, Dense)
    for x, label in ((uniform, "one rate"), *(((drawn.x != 0).astype(float), "one fan-out"),) * dense):
        total = int(x.sum())
        for how, op in (("every", _ones(drawn.op)), *((("nonzero", drawn.op),) if label == "one rate" else ())):
            fan = sum(_fan_out(op, shape).values())
            due = Fraction(total * fan, math.prod(shape))
            counted = by_hand(drawn.op, x, True)[f"synops_{how}"]
            got = subject.operator("static_synops")(drawn.op, x, how)
            yield Measure("static estimate off", float(abs(got - due)), where=f"{label}, {how}")
            yield Measure("static estimate is not the count", float(abs(got - counted)), where=f"{label}, {how}")


@check("operators", st.tuples(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)))
def break_even(drawn: tuple[int, int, int], subject: Oracle) -> Iterator[Measure]:
    """At the break-even rate the SNN costs what the ANN does, and none is told where the SNN is dearer when silent [E_ann = E_0 + r E_1]."""
    per_rate, still, ann = drawn
    rate = subject.operator("break_even")(Fraction(ann), Fraction(still), Fraction(per_rate))
    yield Measure("wrongly told or left out", float((rate is None) != (ann < still)))
    if rate is not None:
        yield Measure("energies differ, pJ", float(abs(still + rate * per_rate - ann)))


@check("operators", st.integers(1, 5000))
def equal_information(steps: int, subject: Oracle) -> Iterator[Measure]:
    """A spiking neuron of T steps tells T + 1 values apart: the ANN of equal information has the fewest bits b with 2^b >= T + 1 [Yan et al., arXiv:2409.08290]."""
    for tried in (steps, 2 ** steps.bit_length()):  # a power of two just has no room for T + 1
        fewest = next(b for b in range(64) if 2**b >= tried + 1)
        bits = subject.operator("equal_bits")(tried)
        yield Measure("bits off", float(abs(bits - fewest)), where=f"T = {tried}")


@check("operators", st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=2, max_size=30))
def measured(drawn: list[tuple[int, int]], subject: Oracle) -> Iterator[Measure]:
    """p50 and p99 are the least latencies that half, and 99 %, of the samples keep; the interval of the mean energy has Student's 95 % [definition; Student, Biometrika 6:1, 1908]."""
    latency, energy = (np.array(values, float) for values in zip(*drawn, strict=True))
    found = subject.operator("compare_log")(energy, latency)
    for share, told in ((50, found.p50), (99, found.p99)):
        least = next(v for v in sorted(latency) if 100 * int((latency <= v).sum()) >= share * len(latency))
        yield Measure("percentile off", abs(told - least), where=f"p{share}")
    error = float(energy.std(ddof=1)) / math.sqrt(len(energy))
    if error:
        t = stats.t(len(energy) - 1)
        ends = [float(t.cdf((end - energy.mean()) / error)) for end in (found.low, found.high)]
        # the quantile and its inverse are each off by some 10 roundings, the two ends by as many more
        yield Measure("share inside off 95 %", abs(ends[1] - ends[0] - 0.95), 2.0**-52 * 1e4)
        yield Measure("shares outside differ", abs(ends[0] - (1 - ends[1])), 2.0**-52 * 1e4)


@check("operators", sent())
def ann(drawn: Sent, subject: Oracle) -> Iterator[Measure]:
    """An ANN pays a MAC for every connection of every value once, or for those where neither is 0, whatever its sign [definition]."""
    x = drawn.x[0] * np.where(np.arange(drawn.x[0].size).reshape(drawn.x[0].shape) % 3, 1.0, -1.0)
    told, expected = subject.operator("count_ann")(drawn.op, x), by_hand(drawn.op, x[None], False)
    for name, number in told.items():
        yield Measure("MACs off", float(abs(number - expected[name])), where=name)


@check("operators", exact_cases())
def samples_and_prices_add_up(case: Case, subject: Oracle) -> Iterator[Measure]:
    """What the samples pay adds up to what all pay, what has no price is told however rare, and a MAC of 8 bits costs what a table of 8 bits says, accumulator included [definition; Horowitz, ISSCC 2014]."""
    samples = case.x.shape[1] if case.encoding == "spikes" else len(case.x)
    for how in CONVENTIONS:
        each, total = subject.operator("per_sample")(case, *how)
        yield Measure("samples off", float(any(len(v) != samples for v in each.values())))
        yield Measure("totals off", float({k: sum(v) for k, v in each.items()} != total))
    told = subject.operator("unpriced")(total, {"synop": PRICES["synop"]})
    yield Measure("unpriced off", float(told != {k: n for k, n in total.items() if n and k != "synop"}))
    low, high = subject.operator("quantised_mac")({"mac": PRICES["mac"]}, Fraction(31, 10), 8)
    yield Measure("MAC of 8 bits off, pJ", float(max(abs(low - PRICES["mac"][0]), abs(high - PRICES["mac"][1]))))
