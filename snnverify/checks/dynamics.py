"""Laws of IF/LIF dynamics, each drawn only where it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Neuron
from ..content import Array
from ..findings import Measure
from ..network import Branch, Layer, Network, Scale, per_channel
from ..oracles import Oracle
from ..strategies import exact_cases, units
from ..trace import Case
from . import check
from .common import also, differences, told

IF: dict[str, Any] = {"reset": "subtract", "reset_delay": 0, "max_spikes": 1, "v_floor": None, "leak": 1.0, "v_rest": 0.0,
      "input_scaled": False, "syn_decay": None, "delay": 0, "order": "leak-integrate", "amplitude": 1.0}  # fmt: skip
INSIDE: Any = st.integers(0, 7).map(lambda k: k / 8)  # v_init as used with theta = 1: 0 <= v_init < theta


def act_of(case: Case) -> Neuron:
    """The neuron of a one-layer case."""
    act = case.network.layers[0].act
    assert isinstance(act, Neuron)
    return act


def _each(case: Case, subject: Oracle, *parts: Literal["v"]) -> Iterator[tuple[Fraction, Array, Array]]:
    """Input, spikes [T] and, where they are told, potentials [T] of every neuron of a `units` case."""
    trace = told(case, subject, *parts)
    v = trace.v.get("unit", np.full_like(trace.spikes["unit"], np.nan, dtype=float))
    for n in range(len(case.x)):
        yield Fraction(float(case.x[n, 0])), trace.spikes["unit"][:, n, 0], v[:, n, 0]


@check("simulator", exact_cases(reset="subtract", reset_delay=0, leak=1.0, v_floor=None, syn_decay=None, delay=0))
def charge_balance(case: Case, subject: Oracle) -> Iterator[Measure]:
    """IF with soft reset keeps charge: V_T - V_0 = sum I - theta N [Rueckauer et al. 2017]."""
    trace = told(case, subject, "v")
    first = case.network.layers[0]
    if not isinstance(first.act, Neuron):
        return
    theta, v_init = (per_channel(p, case.network.shapes[first.name]) for p in (first.act.theta, first.act.v_init))
    # Only the first layer's input is known without the simulator; deeper ones are `layer_identity` and `parity.exact`.
    summing = Network(case.network.input_shape, (replace(first, act=None),))
    stimuli = case.x if case.encoding == "spikes" else [case.x] * case.steps
    charge = sum(reference.forward(summing, x)[first.name] for x in stimuli)
    residual = trace.v[first.name][-1] - v_init - charge + theta * trace.spikes[first.name].sum(0)
    yield Measure("residual", float(np.abs(residual).max()), where=first.name)


LONG = Case(  # more spikes than a byte counts: tried every time
    Network((1,), (Layer("unit", (Branch(Scale(1.0)),), Neuron()),)), np.array([[1.0], [0.75]]), 300, kind="exact"
)


@check("simulator", units(steps=300, **(IF | {"theta": 1.0, "v_init": INSIDE})))
def constant_count(case: Case, subject: Oracle) -> Iterator[Measure]:
    """IF under constant input z fires clip(floor((v0 + z T) / theta), 0, T) times, one less at a tie for `>` [Bu et al., ICLR 2022]."""
    for tried in also(case, LONG, subject):
        act = act_of(tried)
        v0, theta, T = Fraction(float(act.v_init)), Fraction(float(act.theta)), tried.steps
        trace = subject.run(tried)
        for n, (z,) in enumerate(tried.x.tolist()):
            quotient = (v0 + Fraction(z) * T) / theta
            expected = min(max(floor(quotient) if act.fires == ">=" else ceil(quotient) - 1, 0), T)
            found = int(trace.spikes["unit"][:, n].astype(int).sum()), int(trace.counts["unit"][n, 0])
            yield Measure("spikes off", max(abs(k - expected) for k in found), where=f"z = {z:g}")


@check("simulator", units(**(IF | {"theta": 1.0, "v_init": 0.5, "fires": ">="})))
def qcfs_equality(case: Case, subject: Oracle) -> Iterator[Measure]:
    """IF with v0 = theta/2 fires clip(floor(z T / theta + 1/2), 0, T) times: the QCFS activation, half up [Bu et al., ICLR 2022]."""
    theta = Fraction(float(act_of(case).theta))
    for z, s, _ in _each(case, subject):
        level = min(max(floor(z * case.steps / theta + Fraction(1, 2)), 0), case.steps)
        yield Measure("levels off", abs(int(s.sum()) - level), where=f"z = {float(z):g}")


@check("simulator", units(steps=40, **(IF | {"theta": 1.0, "v_init": st.sampled_from([0.0, 0.5]), "fires": ">="})))
def rate_bound(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The rate of constant input lies within 1/T (v0 = 0) or 1/(2T) (v0 = theta/2) of clip(z/theta, 0, 1) [Bu et al., ICLR 2022; FACTS: constant current alone]."""
    v0, T = float(act_of(case).v_init), case.steps
    for z, s, _ in _each(case, subject):
        error = abs(Fraction(int(s.sum()), T) - min(max(z, Fraction(0)), Fraction(1)))
        yield Measure("|rate - clip(z)| T", float(error * T), limit=1.0 if v0 == 0 else 0.5, where=f"z = {float(z):g}")


BURSTING = Case(  # one unit far above two thresholds, one far below zero: tried every time
    Network((1,), (Layer("unit", (Branch(Scale(1.0)),), Neuron(max_spikes=2)),)),
    np.array([[5.0], [-5.0]]),
    2,
    kind="exact",
)


@check("simulator", exact_cases())
def spikes_per_step(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A step never holds more than max_spikes spikes, nor fewer than 0 [definition of Neuron]."""
    for tried in also(case, BURSTING, subject):
        trace = subject.run(tried, "spikes")
        for layer in tried.network.spiking:
            most = getattr(layer.act, "max_spikes", 1)
            s = trace.spikes[layer.name].astype(np.int64)
            yield Measure("below zero", float(max(-s.min(), 0)), where=layer.name)
            if most is not None:
                yield Measure("over max_spikes", float(max(s.max() - most, 0)), where=layer.name)


@check("simulator", exact_cases(max_spikes=1))
def fires_at_threshold(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A unit spikes in the very steps in which v_peak reaches (or passes) the threshold [definition of Neuron]."""
    trace = told(case, subject, "v_peak")
    for layer in case.network.spiking:
        assert isinstance(layer.act, Neuron)
        theta, v = per_channel(layer.act.theta, case.network.shapes[layer.name]), trace.v_peak[layer.name]
        expected = v >= theta if layer.act.fires == ">=" else v > theta
        yield Measure("steps off", differences(trace.spikes[layer.name] > 0, expected), where=layer.name)


@check("simulator", exact_cases())
def reset_law(case: Case, subject: Oracle) -> Iterator[Measure]:
    """An immediate reset subtracts s theta or goes to v_reset, a delayed one (or none) changes nothing in the step of its spike [definition of Neuron]."""
    trace = told(case, subject, "v", "v_peak")
    for layer in case.network.spiking:
        act = layer.act
        assert isinstance(act, Neuron)
        peak, s = trace.v_peak[layer.name], trace.spikes[layer.name].astype(float)
        theta = per_channel(act.theta, case.network.shapes[layer.name])
        after = {"subtract": peak - s * theta, "value": np.where(s > 0, act.v_reset, peak), "none": peak}[act.reset]
        expected = peak if act.reset_delay else after
        yield Measure("potentials off", differences(trace.v[layer.name], expected), where=layer.name)


@check(
    "simulator",
    units(reset_delay=1, syn_decay=None, delay=0, v_floor=None, v_rest=0.0, order="leak-integrate", max_spikes=1,
          reset=st.sampled_from(["subtract", "value"])),
)  # fmt: skip
def delayed_reset(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A delayed reset acts in the next step on the leaked potential and its input: v_peak[t+1] = reset(leak v[t] + k I, s[t]) [snnTorch documentation, snn.Leaky]."""
    trace, act = told(case, subject, "v", "v_peak"), act_of(case)
    v, s, peak = (d["unit"].astype(float) for d in (trace.v, trace.spikes, trace.v_peak))
    free = act.leak * v[:-1] + (1 - act.leak if act.input_scaled else 1) * case.x[None]
    expected = free - s[:-1] * act.theta if act.reset == "subtract" else np.where(s[:-1] > 0, act.v_reset, free)
    yield Measure("potentials off", differences(peak[1:], expected))


@check("simulator", exact_cases(v_floor=st.sampled_from([0.0, -0.5, -1.0]), v_init=0.0))
def floor_holds(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The potential before reset never lies below v_floor [definition of Neuron]."""
    trace = told(case, subject, "v_peak")
    for layer in case.network.spiking:
        low = layer.act.v_floor - trace.v_peak[layer.name].min()  # type: ignore[union-attr]
        yield Measure("below the floor", float(max(low, 0)), where=layer.name)


@check("simulator", units(**(IF | {"theta": 1.0, "v_init": INSIDE, "reset": st.sampled_from(["subtract", "value"]),
                                   "v_reset": 0.0, "leak": st.sampled_from([1.0, 1.0, 0.5])})))  # fmt: skip
def monotone_fi(case: Case, subject: Oracle) -> Iterator[Measure]:
    """More constant input never makes fewer spikes [crossings come earlier; leaky only with hard reset]."""
    if act_of(case).leak < 1:  # with a leak the law is known for the hard reset, whose intervals are all alike
        case = replace(case, network=_with(case.network, reset="value"))
    counts = subject.run(case).counts["unit"][:, 0].astype(np.int64)
    falls = np.diff(counts[np.argsort(case.x[:, 0], kind="stable")])
    yield Measure("spikes lost", float(np.maximum(-falls, 0).max(initial=0)))


@check("simulator", units(**(IF | {"theta": 1.0, "v_init": INSIDE, "reset": "value", "v_reset": 0.0})))
def hard_reset_period(case: Case, subject: Oracle) -> Iterator[Measure]:
    """IF with hard reset to 0 first fires at step ceil((theta - v0) / z) and then every ceil(theta / z) steps [dynamics]."""
    act = act_of(case)
    theta, v0 = Fraction(float(act.theta)), Fraction(float(act.v_init))

    def wait(gap: Fraction, z: Fraction) -> int:
        return max(ceil(gap / z) if act.fires == ">=" else floor(gap / z) + 1, 1)

    for z, s, _ in _each(case, subject):
        expected = np.zeros(case.steps, int)
        if z > 0:
            expected[wait(theta - v0, z) - 1 :: wait(theta, z)] = 1
        yield Measure("steps off", differences(s.astype(int), expected), where=f"z = {float(z):g}")


LEAKY: dict[str, Any] = {
    "theta": 1024.0,
    "leak": st.sampled_from([0.5, 0.75]),
    "v_floor": None,
    "syn_decay": None,
    "delay": 0,
    "amplitude": 1.0,
}


@check("simulator", units(steps=8, **(LEAKY | {"v_rest": st.sampled_from([0.0, 0.25])})))
def lif_closed_form(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Below threshold V_t = v_rest + a^t (v0 - v_rest) + k I (1 - a^t) / (1 - a), a times it if the leak is last [geometric sum]."""
    act = act_of(case)
    a, rest, v0 = Fraction(act.leak), Fraction(act.v_rest), Fraction(float(act.v_init))
    gain = (1 - a if act.input_scaled else 1) * (1 if act.order == "leak-integrate" else a)
    for z, s, v in _each(case, subject, "v"):
        closed = [float(rest + a**t * (v0 - rest) + gain * z * (1 - a**t) / (1 - a)) for t in range(1, case.steps + 1)]
        yield Measure("spikes", float(s.sum()), where=f"z = {float(z):g}")
        yield Measure("potentials off", differences(v, closed), where=f"z = {float(z):g}")


@check("simulator", units(inputs=(0, 0), **LEAKY))
def leak_decays(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Without input the distance to v_rest shrinks by the factor leak in every step [definition of the leak]."""
    act = act_of(case)
    for _, _, v in _each(case, subject, "v"):
        path = np.concatenate([[float(act.v_init)], v])
        yield Measure("steps off", differences(path[1:] - act.v_rest, act.leak * (path[:-1] - act.v_rest)))


@check("simulator", units(steps=8, **(LEAKY | {"leak": 1.0, "v_rest": 0.0, "syn_decay": 0.5, "input_scaled": False,
                                            "syn_order": "decay-add"})))  # fmt: skip
def synaptic_current(case: Case, subject: Oracle) -> Iterator[Measure]:
    """With synaptic decay b the current is I (1 - b^t) / (1 - b), and the potential its running sum [geometric sum]."""
    act = act_of(case)
    b = Fraction(str(act.syn_decay))
    for z, _, v in _each(case, subject, "v"):
        current = [z * (1 - b**t) / (1 - b) for t in range(1, case.steps + 1)]
        closed = [float(Fraction(float(act.v_init)) + sum(current[: t + 1])) for t in range(case.steps)]
        yield Measure("potentials off", differences(v, closed), where=f"z = {float(z):g}")


@check("simulator", units(inputs=(8, 8), **(IF | {"theta": 1.0, "v_init": 0.0})))
def ties(case: Case, subject: Oracle) -> Iterator[Measure]:
    """Input equal to the threshold ties in every step: `>=` fires T times, `>` T - 1 times [definition of Neuron]."""
    expected = case.steps if act_of(case).fires == ">=" else case.steps - 1
    for _, s, _ in _each(case, subject):
        yield Measure("spikes off", abs(int(s.sum()) - expected))


@check(
    "simulator",
    units(steps=6, inputs=(0, 64), **(IF | {"theta": 1.0, "v_init": 0.0, "max_spikes": st.sampled_from([2, 3, None])})),
)
def burst(case: Case, subject: Oracle) -> Iterator[Measure]:
    """With m spikes a step the first step emits min(m, floor(z / theta)), at `>` one less if tied [Neuron]."""
    act = act_of(case)
    most = float("inf") if act.max_spikes is None else act.max_spikes
    for z, s, _ in _each(case, subject):
        whole = floor(z) if act.fires == ">=" else max(ceil(z) - 1, 0)
        yield Measure("spikes off", abs(int(s[0]) - min(most, whole)), where=f"z = {float(z):g}")


def _with(network: Network, **axes: Any) -> Network:
    return replace(network, layers=tuple(replace(v, act=replace(v.act, **axes)) for v in network.layers))  # type: ignore[type-var]
