"""Cases refuse what cannot run, and the comparator finds exactly the divergences that were planted."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from snnverify.activation import Cuba, Neuron
from snnverify.errors import DataError, NetworkError
from snnverify.network import INPUT, Branch, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.simulate import simulate
from snnverify.trace import Case, Parting, Trace, compare

ONE = Network((2,), (Layer("a", (Branch(Dense(np.eye(2))),), Neuron()),))
GOOD = {"x": np.ones((3, 2)), "steps": 4}
REFUSED = {
    "no step": ({"steps": 0}, r"steps = 0: .*at least 1"),
    "negative steps": ({"steps": -3}, r"steps = -3: .*at least 1"),
    "nan": ({"x": np.array([[0, np.nan]])}, r"x holds NaN or infinity: mend"),
    "infinity": ({"x": np.array([[0, -np.inf]])}, r"x holds NaN or infinity: mend"),
    "width": ({"x": np.ones((3, 4))}, r"x of shape \(3, 4\): \[N, \*shape\] with shape \(2,\)"),
    "no sample axis": ({"x": np.ones(2)}, r"x of shape \(2,\): \[N, \*shape\]"),
    "one axis too many": ({"x": np.ones((4, 3, 2))}, r"x of shape \(4, 3, 2\): \[N, \*shape\]"),
    "no sample": ({"x": np.ones((0, 2))}, r"x of shape \(0, 2\): there is no sample"),
    "train without time": ({"encoding": "spikes"}, r"x of shape \(3, 2\): \[T, N, \*shape\]"),
    "train too short": ({"x": np.ones((3, 1, 2)), "encoding": "spikes"}, r"x holds 3 steps, steps = 4"),
    "empty train": ({"x": np.ones((4, 0, 2)), "encoding": "spikes"}, r"there is no sample"),
    "rate over 1": ({"x": np.array([[0.5, 1.25]]), "encoding": "poisson"}, r"x in \[0\.5, 1\.25\].*\[0, 1\]; scale"),
    "rate below 0": ({"x": np.array([[-0.5, 1]]), "encoding": "poisson"}, r"x in \[-0\.5, 1\].*\[0, 1\]; scale"),
    "nan rate": ({"x": np.array([[np.nan, 1]]), "encoding": "poisson"}, r"NaN"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_case_refuses(change: Mapping[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message) as e:
        Case(ONE, **(GOOD | change))  # type: ignore[arg-type]
    assert "\n" not in str(e.value)


def test_what_lies_on_the_border_is_accepted() -> None:
    assert Case(ONE, np.ones((1, 2)), 1).steps == 1
    assert Case(ONE, np.array([[0.0, 1.0]]), 1, "poisson").x.tolist() == [[0, 1]]
    assert Case(ONE, np.full((1, 2), -7.0), 1).x.min() == -7
    assert Case(ONE, np.zeros((4, 1, 2), bool), 4, "spikes").x.shape == (4, 1, 2)


@pytest.mark.parametrize("field", ["encoding", "kind", "dtype"])
def test_a_misspelt_choice_is_refused(field: str) -> None:
    """Else "poison" would run as constant input without a word."""
    with pytest.raises((DataError, ValueError), match=field):
        Case(ONE, **(GOOD | {field: "poison"}))  # type: ignore[arg-type]


# a and c read the input, pool averages a, b reads a by way of the pool and flat, d reads b and c.
THETA = np.array([1.0, 2.0])
NET = Network((2, 2), (
    Layer("a", (Branch(Scale()),), Neuron(theta=THETA)),
    Layer("c", (Branch(Scale()),), Neuron()),
    Layer("pool", (Branch(Pool("average", (2,)), "a"),)),
    Layer("flat", (Branch(Flatten(), "pool"),)),
    Layer("b", (Branch(Dense(np.ones((3, 2))), "flat"),), Neuron()),
    Layer("cut", (Branch(Flatten(), "c"),)),
    Layer("d", (Branch(Dense(np.ones((2, 3))), "b"), Branch(Dense(np.ones((2, 4))), "cut")), Neuron()),
))  # fmt: skip
SPIKING = ("a", "c", "b", "d")
SOURCES = {"a": (), "c": (), "b": ("a",), "d": ("a", "b", "c")}
T, N = 6, 3


def made(seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    sizes = {k: (T, N, *NET.shapes[k]) for k in SPIKING}
    return {k: rng.integers(0, 2, s).astype(np.uint8) for k, s in sizes.items()}, {
        k: rng.normal(size=s) for k, s in sizes.items()
    }


def trace(spikes: Mapping[str, np.ndarray], v: Mapping[str, np.ndarray] | None = None) -> Trace:
    counts = {k: s.sum(0) for k, s in spikes.items()}
    samples = len(next(iter(counts.values())))
    return Trace(np.zeros((1, samples, 2)), (T,), counts, {}, spikes, v or {}, v or {})


def flipped(spikes: Mapping[str, np.ndarray], *places: tuple[object, ...]) -> dict[str, np.ndarray]:
    new = {k: s.copy() for k, s in spikes.items()}
    for name, *at in places:
        new[str(name)][tuple(at)] ^= 1  # type: ignore[arg-type]
    return new


def where(p: Parting) -> tuple[object, ...]:
    return (p.layer, p.t, p.n, *p.unit)


def test_equal_traces() -> None:
    spikes, v = made()
    found = compare(NET, trace(spikes, v), trace(spikes, v))
    entries = T * N * (4 + 4 + 3 + 2)
    assert (found.causal, found.first, found.margin) == ((), None, 0)
    assert (found.spikes_differ, found.spikes_compared, found.v_max) == (0, entries, 0)
    assert str(entries) in str(found)


def test_a_flipped_spike_is_found_with_its_place_and_margin_and_its_consequences_are_not() -> None:
    spikes, v = made()
    v["a"][2, 1, 1, 0] = 2.5  # theta of channel 1 is 2: margin 0.25
    cause = ("a", 2, 1, 1, 0)
    later = [("a", 4, 1, 1, 0), ("a", 5, 1, 1, 0), ("b", 2, 1, 0), ("b", 3, 1, 2), ("d", 3, 1, 0)]
    found = compare(NET, trace(spikes, v), trace(flipped(spikes, cause, *later), v))
    assert [where(p) for p in found.causal] == [cause]
    first = found.first
    assert first is not None
    assert (first.a, first.b) == (spikes["a"][cause[1:]], 1 - spikes["a"][cause[1:]])
    assert (first.v_peak, first.theta, first.margin, found.margin) == (2.5, 2, 0.25, 0.25)
    assert found.spikes_differ == 6
    text = str(found)
    assert all(
        word in text for word in ("layer 'a'", "step 2", "sample 1", "unit (1, 0)", "v = 2.5", "0.25", "6 of 234")
    )


def test_independent_flips_are_all_found() -> None:
    spikes, v = made()
    benign, other, beside, before = ("a", 3, 1, 0, 0), ("b", 5, 0, 2), ("c", 4, 1, 0, 1), ("d", 1, 1, 1)
    same_step = ("a", 3, 1, 1, 1)  # no unit of its own layer lies upstream of it
    for name, *at in (benign, other, beside, before, same_step):
        v[name][tuple(at)] = {"b": 3.0}.get(name, 1.0)
    found = compare(NET, trace(spikes, v), trace(flipped(spikes, benign, other, beside, before, same_step), v))
    assert {where(p) for p in found.causal} == {benign, other, beside, before, same_step}
    assert [p.t for p in found.causal] == [1, 3, 3, 4, 5]
    assert found.first is not None
    assert where(found.first) == before
    assert found.margin == 2  # |3 - 1| / 1 in sample 0, which the benign tie of sample 1 does not hide


def test_random_flips_against_the_definition() -> None:
    rng = np.random.default_rng(4)
    kinds = set()
    for trial in range(40):
        spikes, v = made(trial)
        places = []
        for name in rng.choice(SPIKING, rng.integers(1, 6)):
            places.append((name, *(int(rng.integers(0, s)) for s in spikes[name].shape)))
        other = flipped(spikes, *places)
        first: dict[tuple[str, int], dict[tuple[int, ...], int]] = {}
        for k in SPIKING:
            for n in range(N):
                steps = {u: [t for t in range(T) if spikes[k][(t, n, *u)] != other[k][(t, n, *u)]]
                         for u in np.ndindex(NET.shapes[k])}  # fmt: skip
                first[k, n] = {u: t[0] for u, t in steps.items() if t}
        expected = set()
        for (k, n), units in first.items():
            upstream = min((t for s in SOURCES[k] for t in first[s, n].values()), default=T)
            expected |= {(k, t, n, *u) for u, t in units.items() if t < upstream}
            kinds |= {t < upstream for t in units.values()}
        found = compare(NET, trace(spikes, v), trace(other, v))
        assert {where(p) for p in found.causal} == expected
        assert found.spikes_differ == sum(int((spikes[k] != other[k]).sum()) for k in SPIKING)
        assert {p.n for p in found.causal} == {n for (_, n), units in first.items() if units}
    assert kinds == {True, False}


def test_potentials_are_compared_while_the_sample_agrees() -> None:
    spikes, v = made()
    w = {k: a.copy() for k, a in v.items()}
    w["a"][1, 1, 0, 0] += 0.125  # before the flip
    w["c"][5, 0, 0, 0] -= 0.25  # in another sample
    w["a"][2, 1, 0, 1] += 64  # from the flip on
    w["b"][4, 1] += 64
    found = compare(NET, trace(spikes, v), trace(flipped(spikes, ("a", 2, 1, 0, 0)), w))
    assert found.v_max == 0.25
    w["c"][4, 1, 1, 1] += 0.5  # nothing upstream of c differs
    assert compare(NET, trace(spikes, v), trace(flipped(spikes, ("a", 2, 1, 0, 0)), w)).v_max == 0.5


def test_unknown_potentials_give_no_margin() -> None:
    spikes, v = made()
    found = compare(NET, trace(spikes), trace(flipped(spikes, ("a", 0, 0, 0, 0))))
    assert math.isnan(found.margin)
    assert math.isnan(found.v_max)
    assert not math.isnan(compare(NET, trace(spikes), trace(flipped(spikes, ("a", 0, 0, 0, 0)), v)).margin)


def test_a_threshold_of_integers_is_in_units_of_64() -> None:
    net = Network((1,), (Layer("q", (Branch(Scale()),), Cuba(3)),))
    spikes, v = {"q": np.zeros((2, 1, 1), np.uint8)}, {"q": np.full((2, 1, 1), 240)}
    other = {"q": np.array([[[0]], [[1]]], np.uint8)}
    p = compare(net, trace(spikes, v), trace(other, v)).first
    assert p is not None
    assert (p.layer, p.t, p.theta, p.margin) == ("q", 1, 192, 0.25)


def test_the_list_is_cut_at_its_limit_with_the_earliest_first() -> None:
    spikes, v = made()
    other = {k: 1 - s for k, s in spikes.items()}
    assert len(compare(NET, trace(spikes, v), trace(other, v)).causal) == N * (4 + 4)
    cut = compare(NET, trace(spikes, v), trace(flipped(spikes, *(("a", 5, n, i, j) for n in range(3) for i in (0, 1)
                                                                for j in (0, 1)), ("c", 1, 2, 0, 0))), limit=2)  # fmt: skip
    assert len(cut.causal) == 2
    assert where(cut.causal[0]) == ("c", 1, 2, 0, 0)


@pytest.mark.parametrize("layer", SPIKING)
def test_missing_spikes_are_an_error(layer: str) -> None:
    spikes, v = made()
    less = {k: s for k, s in spikes.items() if k != layer}
    for a, b in ((spikes, less), (less, spikes), (less, less)):
        with pytest.raises(NetworkError, match=f"layer '{layer}'"):
            compare(NET, trace(a, v), trace(b, v))
    with pytest.raises(NetworkError, match=rf"layer '{layer}': spikes of shape .* against"):
        compare(NET, trace(spikes, v), trace(spikes | {layer: spikes[layer][:-1]}, v))


def test_counts_alone_are_no_evidence_of_agreement() -> None:
    x = np.random.default_rng(0).random((3, 2, 2))
    with pytest.raises(NetworkError):
        compare(NET, simulate(NET, x, 4), simulate(NET, -x, 4))


def test_a_strict_comparison_is_told_from_a_rounding() -> None:
    """At x = 1/4 the potential meets theta = 1 exactly in step 3, the one step in which > and >= part."""

    def run(fires: str) -> Trace:
        net = Network((1,), (Layer("a", (Branch(Scale()),), Neuron(fires=fires)),))  # type: ignore[arg-type]
        return simulate(net, [[0.25], [0.3125]], 4, dtype="float64", record="full")

    net = Network((1,), (Layer("a", (Branch(Scale(), INPUT),), Neuron()),))
    found = compare(net, run(">="), run(">"))
    assert [(where(p), p.margin) for p in found.causal] == [(("a", 3, 0, 0), 0)]
    assert found.v_max == 0


def test_provenance_and_steps() -> None:
    made_by = simulate(ONE, np.ones((1, 2)), 5, readout_at=[2])
    assert (made_by.steps, made_by.readout_at) == (5, (2, 5))
    assert made_by.provenance is not None
    assert (made_by.provenance.oracle, made_by.provenance.numpy) == ("simulate", np.__version__)
