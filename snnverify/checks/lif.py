"""What a leak costs: the f-I curve of LIF in discrete time, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Neuron
from ..content import Array
from ..findings import Measure
from ..network import Branch, Layer, Network, Scale
from ..oracles import Oracle
from ..strategies import Conversion, conversions
from ..trace import Case
from . import check

LEAKS = {0.5: 44, 0.75: 22, 0.875: 14}  # with the steps for which float64 holds every potential exactly


@st.composite
def held(draw: st.DrawFn, /, reset: str) -> Case:
    """Neurons at rest under constant currents i = k / 32 of the threshold, as long as every potential is exact."""
    leak = draw(st.sampled_from(sorted(LEAKS)))
    theta = 2.0 ** draw(st.integers(-1, 1))
    act = Neuron(theta=np.asarray(theta), leak=leak, reset=reset)  # type: ignore[arg-type]
    currents = np.array([draw(st.lists(st.integers(0, 40), min_size=8, max_size=8))]) / 32 * theta
    return Case(Network((8,), (Layer("lif", (Branch(Scale(1.0)),), act),)), currents, LEAKS[leak], kind="exact")


def _parts(case: Case) -> tuple[Fraction, list[Fraction]]:
    act: Any = case.network.layers[0].act
    return Fraction(act.leak), [Fraction(float(v)) / Fraction(float(act.theta)) for v in case.x[0]]


@check("simulator", held("value"))
def hard_reset(case: Case, subject: Oracle) -> Iterator[Measure]:
    """With hard reset to 0 all intervals are the smallest k with i (1 - a^k) >= 1 - a, so N(T) = floor(T / k), and none where i <= 1 - a [geometric sum of v <- a v + I]."""
    (a, inputs), T = _parts(case), case.steps
    expected = []
    for i in inputs:
        k = next((k for k in range(1, T + 1) if i * (1 - a**k) >= 1 - a), None)
        expected.append(0 if k is None else T // k)
    yield Measure("count off", _off(subject.run(case).counts["lif"][0], expected))


@check("simulator", held("subtract"))
def soft_reset(case: Case, subject: Oracle) -> Iterator[Measure]:
    """With soft reset the rate is the rotation number rho of u <- {a u + i}: |N(T) - rho T| < 2, N = 0 where i <= 1 - a, N = T where i >= 1 [Bugeaud 1993; Laurent and Nogueira 2018; |F^T(x) - x - rho T| < 1 for the lift F of a circle map]."""
    (a, inputs), T = _parts(case), case.steps
    counts = subject.run(case).counts["lif"][0]
    for n, i in zip(counts.tolist(), inputs, strict=True):
        if i <= 1 - a or i >= 1:
            yield Measure("count off", float(abs(n - (T if i >= 1 else 0))), where=f"i = {i}")
        else:
            low, high = _rotation(i, a)
            yield Measure("count over 2 from the rate", float(max(low * T - n, n - high * T, 0)), 2.0, where=f"i = {i}")


def _rotation(i: Fraction, a: Fraction) -> tuple[Fraction, Fraction]:
    """Bounds of the rotation number, 2^-10 apart at most, by the map itself: N(T) / T -+ 1 / T over 2048 steps.

    Potentials are kept to 2^-200: the map contracts, so that errors stay below 2^-200 / (1 - a).
    """
    u, n, T = Fraction(0), 0, 2048
    for _ in range(T):
        u = Fraction(int((a * u + i) * 2**200), 2**200)
        if u >= 1:
            u, n = u - 1, n + 1
    return Fraction(n - 1, T), Fraction(n + 1, T)


@check("simulator", held("subtract"))
def leak_balance(case: Case, subject: Oracle) -> Iterator[Measure]:
    """The leak takes (1 - a) times the summed potential out of the charge: theta N = sum(I) - (1 - a) sum_{t < T} v_t - (v_T - v_0) [sum of v_t = a v_{t-1} + I_t - theta s_t over t]."""
    act: Any = case.network.layers[0].act
    trace = subject.run(case)
    v = np.concatenate([np.zeros_like(trace.v["lif"][:1]), trace.v["lif"]])[:, 0].astype(object)
    for unit in range(v.shape[1]):
        path = [Fraction(float(value)) for value in v[:, unit]]
        charge = case.steps * Fraction(float(case.x[0, unit])) - (1 - Fraction(act.leak)) * sum(path[:-1]) - path[-1]
        off = charge - Fraction(float(act.theta)) * int(trace.counts["lif"][0, unit])
        yield Measure("charge off", float(abs(off)), where=f"unit {unit}")


CURVE = st.tuples(st.integers(1, 31), st.integers(1, 32), st.sampled_from(["subtract", "value"]))


@check("operators", CURVE)
def curve(d: tuple[int, int, str], subject: Oracle) -> Iterator[Measure]:
    """The stated f-I curve is what a neuron fires in the long run: with hard reset exactly, with soft reset within the bounds of its count over 2,048 steps [the recurrence itself, in exact arithmetic]."""
    a, i, reset = Fraction(d[0], 32), Fraction(d[1], 32), d[2]
    found = Fraction(subject.operator("fi_rate")(i, a, reset))
    if reset == "subtract":
        low, high = (Fraction(int(i >= 1)),) * 2 if i <= 1 - a or i >= 1 else _rotation(i, a)
        # a rate of a denominator over 256 is told up to 1 / 256
        yield Measure(
            "rate off", float(max(low - found, found - high, Fraction(0))), 0.0 if found.denominator < 128 else 2.0**-8
        )
        return
    v, k = i, 1
    while v < 1 and k < 4096:  # above the rheobase by 1/32 at least: far fewer steps
        v, k = a * v + i, k + 1
    yield Measure("rate off", float(abs(found - (Fraction(1, k) if v >= 1 else 0))))


def _off(counts: Array, expected: list[int]) -> float:
    return float(np.abs(counts - np.array(expected)).max())


@check("operators", st.tuples(conversions(2), st.sampled_from(sorted(LEAKS))))
def lost(drawn: tuple[Conversion, float], subject: Oracle) -> Iterator[Measure]:
    """What a leak loses is the share, of the activations above 0, that are no more than theta (1 - leak): the neuron then never reaches its threshold [geometric sum; Burkitt, Biol. Cybern. 95:1, 2006]."""
    d, leak = drawn
    costs, thetas = subject.operator("leak_costs")(d.network, d.x, leak)
    values = reference.forward(d.network, d.x)
    for cost in costs:
        a, theta = values[cost.layer], Fraction(float(thetas[cost.layer]))
        positive = [Fraction(float(v)) for v in a.ravel() if v > 0]
        under = sum(v <= theta * Fraction(1 - leak) for v in positive)
        # a quotient of two integers, of one rounding
        yield Measure("share off", abs(cost.lost - under / max(len(positive), 1)), 2.0**-52, where=cost.layer)
