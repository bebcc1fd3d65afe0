"""Diagnoses of planted divergences: changed axes, roundings, and what no axis explains."""

from dataclasses import replace

import numpy as np
import pytest

from snnverify import reference
from snnverify.activation import Neuron
from snnverify.diagnosis import Change, compare_boxes, compare_oracles, diagnose, explained, text, trace_of
from snnverify.diagnosis.evidence import evidence
from snnverify.diagnosis.planted import network, score, score_table
from snnverify.diagnosis.rows import Units
from snnverify.errors import DataError, Unsupported
from snnverify.fingerprint.outside import OUTSIDE
from snnverify.fingerprint.planted import box_of, in_fractions
from snnverify.network import Branch, Conv, Layer, Network, Pool, Scale
from snnverify.oracles import Oracle
from snnverify.trace import Case, compare


def case_of(neuron=None, seed=0):
    rng = np.random.default_rng(seed)
    weights = [rng.integers(-6, 11, (6, 5)) / 8, rng.integers(-6, 11, (6, 6)) / 8]
    return Case(network(neuron or Neuron(), weights), rng.integers(0, 9, (24, 4, 5)) / 8, 24, "spikes", kind="exact")


def changed(case, **axes):
    layers = tuple(replace(layer, act=replace(layer.act, **axes)) for layer in case.network.layers)
    return reference.run(replace(case, network=replace(case.network, layers=layers)))


@pytest.mark.parametrize(
    ("base", "axes"),
    [
        ({}, {"fires": ">"}),
        ({"leak": 0.75}, {"reset": "value"}),
        ({"leak": 0.75}, {"input_scaled": True}),
        ({"leak": 0.75}, {"reset_delay": 1}),
        ({}, {"max_spikes": None}),
        ({}, {"delay": 1}),
        ({"leak": 0.75}, {"fires": ">", "reset": "value"}),
    ],
)
def test_axes_of_kinds_are_named(base, axes):
    case = case_of(Neuron(**base))
    found = explained(case, changed(case, **axes))
    assert axes in [{c.axis: c.becomes for c in one} for one in found.sets]
    assert all(c.was == getattr(Neuron(**base), c.axis) for one in found.sets for c in one)
    assert {len(one) for one in found.sets} == {len(axes)}


def test_a_number_is_given_as_round_as_the_spikes_allow():
    case = case_of(Neuron(leak=0.75))
    found = explained(case, changed(case, v_init=0.3))
    (value,) = [c.becomes for one in found.sets for c in one if c.axis == "v_init"]
    assert value == pytest.approx(0.3, abs=0.02)
    again = changed(case, v_init=value)
    assert all(np.array_equal(again.spikes[k], s) for k, s in changed(case, v_init=0.3).spikes.items())


def test_rounding_is_told_from_an_axis():
    """Ten tenths are 1 - 2^-53 in float64 and more than 1 in float32; the exact sum of the doubles lies above 1."""
    case = Case(network(Neuron(), [np.full((1, 1), 0.1)]), np.ones((1, 1)), 30, dtype="float32")
    exactly = reference.run(case)
    spikes = {k: np.array(s) for k, s in exactly.spikes.items()}
    late = spikes["layer0"][:, 0, 0]
    t = int(late.argmax())
    late[t], late[t + 1] = 0, 1
    assert exactly.v_peak["layer0"][t, 0, 0] == pytest.approx(1.0, abs=1e-6)
    found = diagnose(case, exactly, replace(exactly, spikes=spikes))
    assert found.diagnosis.startswith("rounding, margin ")
    assert found.b.margin < 1e-6


def in_order(products):
    """Sums [T] of float32 products [T, K], added one by one."""
    total = np.zeros(len(products), np.float32)
    for k in range(products.shape[1]):
        total = total + products[:, k]
    return total


@pytest.mark.parametrize("op", ["average", "analog average", "transposed", "grouped"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_roundings_of_long_sums_are_roundings(op, seed):
    """The float32 sum of 1024 terms and the exact one lie on two sides of the threshold."""
    rng = np.random.default_rng(seed)
    a, w = rng.uniform(0, 1, (24, 1024)), rng.uniform(0, 1, 1024)
    a32, w32 = a.astype(np.float32), w.astype(np.float32)
    mean = op in ("average", "analog average")
    exactly, rounded = (a.mean(1), in_order(a32) / np.float32(1024)) if mean else (a @ w, in_order(a32 * w32))
    worst = int(np.abs(rounded - exactly).argmax())
    theta = float(rounded[worst])
    neuron = Neuron(theta=theta if theta > exactly[worst] else np.nextafter(theta, np.inf), leak=0.0, reset="none")
    groups = 2 if op == "grouped" else 1  # each group holds the same
    x = a.reshape(24, 1, 1, 32, 32) if mean else np.tile(a, groups).reshape(24, 1, -1, 1)
    linear = Branch(
        Pool("average", (32, 32)) if mean else Conv(np.tile(w, groups)[:, None, None], groups=groups, transposed=True)
    )
    layers = [Layer("unit", (linear,), neuron)]
    if op == "analog average":
        layers = [Layer("mean", (linear,)), Layer("unit", (Branch(Scale(1.0), "mean"),), neuron)]
    case = Case(Network(x.shape[2:], tuple(layers)), x, 24, "spikes", dtype="float32")
    spikes = np.broadcast_to((rounded.astype(float) >= neuron.theta)[:, None, None], (24, 1, groups))
    spikes = spikes.reshape(24, 1, *case.network.shapes["unit"]).astype(np.int32)
    found = diagnose(case, trace_of(case, {"unit": spikes}), reference.run(case))
    assert found.diagnosis.startswith("rounding, margin "), text(found)
    assert found.a.margin < 1e-5


def test_a_mean_over_three_entries_at_the_border_is_not_exact():
    """Windows of 4 with one padded entry divide by 3 where padding does not count."""
    pool = Branch(Pool("average", (4,), padding=(1,), count_include_pad=False))
    cases = [Case(Network((1, 6), (Layer("unit", (Branch(op),), Neuron()),)), np.ones((1, 1, 6)), 2)
             for op in (pool.op, replace(pool.op, count_include_pad=True))]  # fmt: skip
    counted_out, counted_in = (evidence(case, reference.run(case))[0].noise for case in cases)
    assert counted_out.min() > 0
    assert counted_in.max() == 0


def test_a_late_spike_of_an_exact_case_is_no_rounding():
    case = case_of()
    plain = reference.run(case)
    spikes = {k: np.array(s) for k, s in plain.spikes.items()}
    spikes["layer1"][5, 2, 3] ^= 1
    found = diagnose(case, plain, replace(plain, spikes=spikes), ("here", "there"))
    assert found.diagnosis == "unexplained: there unexplained"
    assert [(p.layer, p.t, p.n, p.unit) for p in found.first] == [("layer1", 5, 2, (3,))]


@pytest.mark.parametrize("name", ["refractory period", "adaptive threshold", "resonator"])
def test_outside_the_model_is_unexplained(name):
    case = case_of()
    act = OUTSIDE[name](np.random.default_rng(2))
    values, spikes = case.x, {}
    for layer in case.network.layers:
        drive = values @ layer.branches[0].op.weight.T
        spikes[layer.name] = act(drive.reshape(24, -1), 1.0).reshape(drive.shape)
        values = spikes[layer.name].astype(float)
    assert explained(case, trace_of(case, spikes)).sets == ()


def test_two_oracles_are_compared():
    strict = Oracle("strict", "1", simulator=lambda case, record: changed(case, fires=">"))
    exactly = Oracle("exact", "1", simulator=lambda case, record: reference.run(case))
    case = case_of()
    found = compare_oracles(exactly, strict, case)
    assert (Change("fires", ">=", ">"),) in found.b.sets
    assert found.a.declared
    assert found.first[0] in compare(case.network, reference.run(case), changed(case, fires=">")).causal
    assert "strict has" in text(found)
    assert "comparison > (declared: >=)" in text(found)
    assert compare_oracles(exactly, exactly, case).diagnosis == "the spikes agree"


def test_two_boxes_are_compared():
    boxes = [box_of(in_fractions(n)) for n in (Neuron(), Neuron(reset="value"))]
    found = compare_boxes(*boxes, Neuron(), {"theta": 1.0}, ("soft", "hard"))
    assert found.diagnosis == "hard has reset value (declared: subtract)"
    assert found.first[0].layer == "unit"


def test_a_trace_holds_every_spiking_layer():
    case = case_of()
    with pytest.raises(DataError, match="layer 'layer1'"):
        trace_of(case, {"layer0": np.zeros((24, 4, 6))})
    with pytest.raises(DataError, match="layer 'layer0'"):
        trace_of(case, {"layer0": np.zeros((24, 4, 5)), "layer1": np.zeros((24, 4, 6))})


def test_both_sides_may_be_off_the_declared_semantics():
    case = case_of(Neuron(leak=0.75))
    found = diagnose(case, changed(case, reset="value"), changed(case, delay=1))
    assert {c.axis for one in found.a.sets for c in one} == {"reset"}
    assert {c.axis for one in found.b.sets for c in one} == {"delay"}


def test_rows_and_the_reference_follow_the_same_recurrence():
    """No loss for the neuron that made the spikes, on every axis at once; a loss for another."""
    axes = {"leak": 0.5, "reset": "value", "v_reset": -0.25, "reset_delay": 1, "max_spikes": 2, "v_floor": -0.5,
            "v_rest": 0.25, "order": "integrate-leak", "v_init": 0.125, "syn_decay": 0.5, "syn_order": "add-decay",
            "delay": 1}  # fmt: skip
    case = case_of()
    seen = evidence(case, changed(case, **axes))
    loss = Units(seen, [np.arange(e.x.shape[1]) for e in seen]).loss([axes, axes | {"v_init": 1.5}, {}])
    assert loss[0] == 0
    assert min(loss[1:]) > 0
    assert not any(e.refutes(**axes).any() for e in seen)


def test_a_poisson_input_cannot_be_diagnosed():
    case = replace(case_of(), encoding="poisson", x=np.zeros((4, 5)))
    with pytest.raises(Unsupported, match="poisson"):
        evidence(case, reference.run(case_of()))


def test_score_has_nothing_wrong():
    rows = score(3, {"single axes": 14, "pairs": 6, "triples": 2, "rounding": 4, "outside the model": 4})
    assert [r.family for r in rows] == ["single axes", "pairs", "triples", "rounding", "outside the model"]
    assert [(r.missed, r.wrong) for r in rows] == [(0, 0)] * 5, [f for r in rows for f in r.faults]
    assert [r.named for r in rows][3:] == [4, 4]
    assert rows[0].named >= 12
    assert score_table(rows).count("\n") == 7
