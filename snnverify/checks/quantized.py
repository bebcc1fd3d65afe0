"""Loihi's integer dynamics: closed forms, symmetries, and parity with the exact reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Cuba
from ..content import Array
from ..errors import DataError, Unsupported
from ..findings import Measure
from ..network import Branch, Conv, Dense, Layer, Network
from ..oracles import ANY, Oracle
from ..strategies import biased_inputs, graded_cases, integer_acts, integer_cases, integers
from ..trace import Case
from . import check
from .common import differences, identical, same

EDGE = 2**23


def alike(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Measure everything that the subject tells against the reference."""
    ours, exactly = subject.run(case), reference.run(case)
    yield same(case, ours, exactly, "spikes differ")
    for name in exactly.spikes:
        for part in ("v", "v_peak", "v_end", "counts"):
            if getattr(ours, part).get(name) is not None or not subject.families:  # a library need not tell them
                a, b = getattr(ours, part)[name], getattr(exactly, part)[name]
                yield Measure(f"{part} differs", differences(a, b), where=name)
    if subject.families:
        return
    yield Measure("read-out differs", differences(ours.readout, exactly.readout))
    for name, events in exactly.events.items():
        for kind, count in events.items():
            yield Measure(f"{kind} off", abs(ours.events[name][kind] - count), where=name)


@check("simulator", integer_cases(read_out=True))
def exact(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Every spike, potential, count and event of a CUBA network equals the reference in every bit, over all axes of the neuron [Intel's recurrence: recorded traces of lava-dl 0.6.0; lava-nc 0.10.0, proc/lif/models.py]."""
    yield from alike(case, subject)


@check("simulator", biased_inputs())
def input_bias(case: Case, subject: Oracle) -> Iterator[Measure]:
    """An input layer adds its affine input to the potential as a bias mantissa, never to the current [lava-dl 0.6.0, netx/hdf5.py create_input; recorded pilotnet_lif]."""
    yield from alike(case, subject)


@check("simulator", graded_cases())
def graded(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Messages, activations and sums of sigma-delta units equal the reference in every bit [lava-nc 0.10.0, proc/sdn/models.py; recorded pilotnet_sdnn]."""
    yield from alike(case, subject)


def prompt(subject: Oracle) -> int:
    """Smallest delay of a CUBA layer that the subject has: some cannot but lag their source by a step."""
    legal = [f.get("delay", (1,)) for f in subject.families.values()
             if f.get("type") == "Cuba" and "current" in f.get("drive", ("current",))]  # fmt: skip
    return 0 if not legal or ANY in legal else min(min(delays) for delays in legal)


def one_unit(op: Any, act: Cuba, x: Array) -> Case:
    """One layer of one unit on trains x [T, N, inputs]."""
    layer = Layer("unit", (Branch(op),), act)
    return Case(Network(x.shape[2:], (layer,)), np.asarray(x, float), len(x), "spikes", kind="integer")


DRIVEN: Any = st.fixed_dictionaries({
    "weight": st.integers(1, 254), "threshold": st.integers(1, 600), "steps": st.integers(1, 40), "share": st.integers(0, 2),
})  # fmt: skip


@check("simulator", DRIVEN)
def firing_period(d: dict[str, int], subject: Oracle) -> Iterator[Measure]:
    """Without decays a unit that gets one spike of weight w a step fires in every (floor(theta / w) + 1)-th step: 64 n w > 64 theta, strictly, also on a tie [by hand]."""
    w = d["weight"] + d["weight"] % 2  # an even mantissa, which every 8-bit synapse holds
    theta = w * d["share"] or d["threshold"]  # two draws of three tie with the threshold
    period = theta // w + 1
    late = prompt(subject)
    trace = subject.run(one_unit(Dense(np.array([[w]])), Cuba(theta, delay=late), np.ones((d["steps"], 1, 1))))
    fires = [t for t in range(late, d["steps"]) if (t + 1 - late) % period == 0]
    yield Measure("steps of spikes", differences(np.flatnonzero(trace.spikes["unit"]), fires))


IMPULSES: Any = st.tuples(
    integers((1, 3), -127, 127), integers((9, 1, 3), 0, 1), st.sampled_from([1, 37, 1024, 3000, 4095]),
    st.sampled_from([1, 52, 1024, 2000, 4095]),
)  # fmt: skip


@check("simulator", IMPULSES)
def mirror(drawn: Any, subject: Oracle) -> Iterator[Measure]:
    """Rounding toward zero is odd: below threshold the potentials under -W are those under W with the sign changed, and an undriven one never grows [by hand: rz(-x) = -rz(x)]."""
    w, x, current_decay, voltage_decay = drawn
    act = Cuba(131071, current_decay, voltage_decay, delay=prompt(subject))
    up, down = (subject.run(one_unit(Dense(2 * s * w), act, x)) for s in (1, -1))
    if not up.v:
        raise Unsupported(subject.name, "it does not tell potentials")
    yield Measure("potentials not mirrored", differences(down.v["unit"], -up.v["unit"]))
    still = subject.run(one_unit(Dense(2 * w), replace(act, current_decay=4096), np.concatenate([x[:1], 0 * x])))
    size = np.abs(still.v["unit"][act.delay :].astype(np.int64)).ravel()
    yield Measure("an undriven potential grew", float(np.sum(size[1:] > size[:-1])))
    # with a decay d of 4096 whatever is left loses at least 1 as long as |v| d >= 4096 does not round to nothing
    lost = size[:-1] - size[1:]
    least = np.ceil(size[:-1] * voltage_decay / 4096)
    yield Measure("it lost less than its decay", float(np.sum(lost < least)))


@check("simulator", integer_cases(depth=2, bias=0, reset_interval=None))
def time_invariance(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Without bias and reset, a train that comes k steps later gives the same spikes k steps later, whatever the delays [definition of Cuba]."""
    k = 1 + case.steps % 3
    late = replace(case, x=np.concatenate([np.zeros((k, *case.x.shape[1:])), case.x]), steps=case.steps + k)
    now, then = subject.run(case), subject.run(late)
    for name, s in now.spikes.items():
        yield Measure("spikes not shifted", differences(then.spikes[name][k:], s), where=name)
        yield Measure("spikes before the first input", float(np.count_nonzero(then.spikes[name][:k])), where=name)


@check("simulator", integer_cases(depth=1, delay=st.sampled_from([1, 2, 3]), reset_interval=None, bias=0))
def input_delay(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A layer of delay d fires d steps after the same layer of delay 0 [definition of Cuba]."""
    layer = case.network.output
    d = layer.act.delay  # type: ignore[union-attr]
    prompt = replace(case.network, layers=(*case.network.layers[:-1], replace(layer, act=replace(layer.act, delay=0))))  # type: ignore[type-var]
    late, now = (subject.run(c).spikes[layer.name] for c in (case, replace(case, network=prompt)))
    yield Measure(
        "spikes not late by the delay", differences(late[d:], now[: max(case.steps - d, 0)]), where=layer.name
    )


@check("simulator", integer_cases(depth=1, axon_delay=0))
def output_delay(case: Case, subject: Oracle) -> Iterator[Measure]:
    """An axonal delay of k steps makes the next layer see the spikes k steps later, and leaves the unit's own spikes [ntidigits, lava-dl 0.6.0]."""
    layer, shape = case.network.output, case.network.shapes[case.network.output.name]
    k = 1 + case.steps % 3
    channels = np.arange(shape[0]) % 2 * k  # every other channel is late
    weight = np.eye(shape[0], dtype=np.int64) * 127
    op = Dense(weight) if len(shape) == 1 else Conv(weight.reshape(*weight.shape, 1, 1))
    more = prompt(subject)
    relay = Layer("relay", (Branch(op, layer.name),), Cuba(0, delay=more))
    layers = (*case.network.layers[:-1], replace(layer, act=replace(layer.act, axon_delay=channels)), relay)  # type: ignore[type-var]
    trace = subject.run(replace(case, network=replace(case.network, layers=layers)))
    plain = subject.run(case).spikes[layer.name]
    yield Measure("the unit's own spikes moved", differences(trace.spikes[layer.name], plain), where=layer.name)
    for c, late in enumerate(channels.tolist()):
        arrived = trace.spikes["relay"][late + more :, :, c]
        sent = plain[: max(case.steps - late - more, 0), :, c]
        yield Measure("spikes not late by the axon's delay", differences(arrived, sent),
                      where=f"channel {c}")  # fmt: skip


@check(
    "simulator",
    integer_cases(depth=1, delay=0, reset_interval=st.integers(1, 4), reset_offset=0, refractory=1, recurrent=None),
)
def reset_interval(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Between two resets a layer behaves as if its run had begun at the first of them [lava-nc 0.10.0, PyLifResetModelBitAcc]."""
    name, every = case.network.output.name, int(case.network.output.act.reset_interval)  # type: ignore[union-attr,arg-type]
    whole = subject.run(case).spikes[name]
    for start in range(0, case.steps, every):
        part = case.x[start : start + every]
        alone = subject.run(replace(case, x=part, steps=len(part))).spikes[name]
        yield Measure(
            "spikes not those of a fresh start", differences(whole[start : start + every], alone), where=f"t = {start}"
        )


# A potential of -64 a that loses 1 / 4096 of itself is 1 - 64 a, rounded toward zero, where 0 < a < 64: with 64 (a + 5) it is
# beyond the threshold of 64 * 5, by 1, and would be on it if it had been rounded down.
_A = np.arange(130) % 63 + 1.0
BARELY = Case(
    Network((2,), (Layer("layer", (Branch(Dense(np.stack([-_A, _A + 5], 1))),), Cuba(5, voltage_decay=1, delay=0)),)),
    np.eye(2)[:, None],
    2,
    "spikes",
    dtype="float32",
    kind="integer",
)

_ANY = integer_cases(steps=16, refractory=st.integers(1, 4), threshold=st.integers(0, 20), recurrent=None)
_IN_32_BITS = integer_cases(steps=16, refractory=1, threshold=st.integers(0, 400), recurrent=None, overflow="none",
                            weight_exponent=st.integers(-2, 1), bias_exponent=st.integers(0, 3))  # fmt: skip


@check("operators", _ANY | _IN_32_BITS)
def engines(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The engine that `auto` takes gives every bit of the numpy engine, and of the reference where a decay rounds [DESIGN 4: limit 0]."""
    *before, last = case.network.layers
    if isinstance(last.act, Cuba):  # compiled neurons hand on their output at once
        last = replace(last, act=replace(last.act, axon_delay=0))
    case = replace(case, network=replace(case.network, layers=(*before, last)))
    run = subject.operator("simulate")
    for tried, expected in ((case, run(case, "full", engine="numpy")), (BARELY, reference.run(BARELY))):
        for record in ("full", "spikes"):  # short kernels serve where no potential is kept
            yield from identical(tried, run(tried, record), expected)


@check("simulator", integer_cases(depth=1, refractory=st.integers(2, 5), threshold=st.integers(0, 40)))
def refractory(case: Case, subject: Oracle) -> Iterator[Measure]:
    """After a spike a unit with refDelay r is silent for at least r - 1 steps [definition of Cuba; lava-nc 0.10.0, PyLifRefractoryModelFloat]."""
    layer = case.network.output
    spikes = subject.run(case).spikes[layer.name].astype(np.int64)
    silent = layer.act.refractory - 1  # type: ignore[union-attr]
    for k in range(1, silent + 1):
        yield Measure("spikes inside the refractory time", float(np.sum(spikes[:-k] * spikes[k:])), where=f"{k} after")


@check("simulator", integer_cases(depth=1, weight_exponent=st.integers(1, 7), recurrent=None))
def weight_exponent(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A weight exponent e >= 0 is the same as weights times 2^e [lava-nc 0.10.0, proc/dense/models.py]."""
    layer = case.network.output
    e = layer.act.weight_exponent  # type: ignore[union-attr]
    scaled = [replace(b, op=replace(b.op, **{k: v * 2**e for k in ("weight", "factor") if (v := getattr(b.op, k, None)) is not None}))
              for b in layer.branches]  # fmt: skip
    plain = replace(layer, branches=tuple(scaled), act=replace(layer.act, weight_exponent=0))  # type: ignore[type-var]
    network = replace(case.network, layers=(*case.network.layers[:-1], plain))
    a, b = (subject.run(c) for c in (case, replace(case, network=network)))
    yield Measure("spikes differ", differences(a.spikes[layer.name], b.spikes[layer.name]), where=layer.name)


LOUD: Any = integer_acts(
    Cuba, (2,), threshold=131071, current_decay=st.sampled_from([0, 1, 300]), voltage_decay=st.sampled_from([0, 1, 4096]),
    weight_exponent=7, overflow="wrap", delay=st.sampled_from([0, 1]), axon_delay=0, recurrent=None, reset_interval=None, refractory=1,
    bias=st.integers(-4000, 4000), bias_exponent=st.sampled_from([6, 7]),
)  # fmt: skip


@check("simulator", st.tuples(LOUD, integers((2, 3), -254, 254), integers((10, 1, 3), 0, 1)))
def overflow(drawn: Any, subject: Oracle) -> Iterator[Measure]:
    """Beyond 24 bits the current wraps by 2^24 into (-2^23, 2^23] and the potential stops at +-(2^23 - 1) [lava-nc 0.10.0, AbstractPyLifModelFixed.subthr_dynamics]."""
    act, w, x = drawn
    case = Case(
        Network((3,), (Layer("unit", (Branch(Dense(w)),), act),)), x.astype(float), len(x), "spikes", kind="integer"
    )
    yield from alike(case, subject)
    # weights of one sign and every input on: 1024 of them are 2^23 in the first step, and more later
    rows = np.array([[254, 254, 254, 254, 8], [-254, -254, -254, -254, -8]])
    loud = Layer("unit", (Branch(Dense(rows)),), replace(act, current_decay=0))
    loud_case = replace(case, network=Network((5,), (loud,)), x=np.ones((len(x), 1, 5)))
    yield from alike(loud_case, subject)
    if subject.families:
        return
    for row in rows:  # at either end
        strict = Layer("unit", (Branch(Dense(row[None])),), Cuba(131071, 0, weight_exponent=7))
        try:
            subject.run(replace(loud_case, network=Network((5,), (strict,)), x=np.ones((10, 1, 5)), steps=10))
        except Unsupported:
            yield Measure("24 bits left in silence", 0.0)
        else:
            yield Measure("24 bits left in silence", 1.0, where=f"weights {row[0]}")


@st.composite
def recurrent_cases(draw: st.DrawFn) -> Case:
    """Two units that excite and inhibit each other, on trains of several steps."""
    weights = integers((2, 2), -128, 127)
    act = draw(integer_acts(Cuba, (2,), recurrent=weights, threshold=st.integers(0, 60), overflow="none"))
    x = draw(integers((6, 1, 2), 0, 1)).astype(float)
    layer = Layer("unit", (Branch(Dense(np.array([[64, 32], [-16, 127]]))),), act)
    return Case(Network((2,), (layer,)), x, 6, "spikes", kind="integer")


@check(
    "operators",
    recurrent_cases()
    | integer_cases(reset_interval=st.sampled_from([2, 3, 5]), axon_delay=st.sampled_from([0, 2]))
    | graded_cases(),
)
def tiles(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A run in tiles of a sample and blocks of a step is the run as a whole: delays, decays, refractory steps, residues and the clock of resets go on [definition of simulate]."""
    run = subject.operator("simulate")
    whole, parts = run(case), run(case, memory=1)
    for name, spikes in whole.spikes.items():
        yield Measure("spikes differ", differences(parts.spikes[name], spikes), where=name)
        yield Measure("potentials differ", differences(parts.v[name], whole.v[name]), where=name)


@check("simulator", st.tuples(st.sampled_from([-2, -1, 0, 1, 2, 1000]), st.booleans(), st.integers(0, 2**16)))
def beyond_float32(drawn: tuple[int, bool, int], subject: Oracle) -> Iterator[Measure]:
    """Sums stay exact on both sides of 2^24, up to which float32 holds every integer [IEEE 754: 24-bit significand; by hand in Python's ints]."""
    off, folded, odd = drawn
    top = 2**24 + off
    # one large weight and many of 1, whose float32 sum would lose units beyond 2^24; then all but `odd` of it again
    row = np.array([top - 3, 1, 1, 1, -(top - 3) + odd], np.int64)
    x = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 1]], np.int64)
    op: Any = Conv(row.reshape(1, 1, 5)) if folded else Dense(row[None])
    trains = x[:, None, None, :] if folded else x[:, None, :]
    act = Cuba(131071, voltage_decay=4096, delay=0, overflow="none")
    by_hand = np.array([64 * sum(int(w) * int(i) for w, i in zip(row, step, strict=True)) for step in x])
    for sign in (1, -1):
        trace = subject.run(one_unit(op, act, sign * trains))
        if not trace.v_peak:
            raise Unsupported(subject.name, "it does not tell potentials")
        off_by = differences(trace.v_peak["unit"].astype(np.int64).ravel(), sign * by_hand)
        yield Measure("sums differ", off_by, where=f"2^24 {off:+d}, inputs {sign:+d}")


WEIGHTED: Any = integer_cases(recurrent=None).map(lambda case: replace(case, network=_weighted(case.network)))


def _weighted(network: Network) -> Network:
    """Return the network with ones for zero weights: an input that nothing weighs need not be looked at."""
    layers = []
    for layer in network.layers:
        ops = [replace(b.op, weight=np.where(b.op.weight == 0, 1, b.op.weight)) if isinstance(b.op, Dense | Conv) else b.op
               for b in layer.branches]  # fmt: skip
        layers.append(
            replace(layer, branches=tuple(replace(b, op=op) for b, op in zip(layer.branches, ops, strict=True)))
        )
    return replace(network, layers=tuple(layers))


@check("simulator", WEIGHTED)
def refused(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Inputs that are no integers are refused, and never rounded [definition of Cuba]."""
    if subject.families:
        raise Unsupported(subject.name, "a library takes what it is given")
    for x in (0.3 * case.x + 0.3, case.x + 2.0**-30):  # the latter is a whole number in float32
        try:
            subject.run(replace(case, x=x))
        except DataError:
            yield Measure("fractions of a spike were taken", 0.0)
        else:
            yield Measure("fractions of a spike were taken", 1.0)
