"""Fingerprints of boxes written as plain loops, of the exact reference, and of what no neuron does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnverify import reference
from snnverify.activation import Neuron
from snnverify.fingerprint import MOOT, UNDECIDED, evidence, fingerprint, from_operator, table, text
from snnverify.fingerprint.axes import AXES, OF_NEURON
from snnverify.fingerprint.certain import Candidate, follow, refuted
from snnverify.fingerprint.outside import OUTSIDE
from snnverify.fingerprint.planted import box_of, in_fractions, score
from snnverify.fingerprint.probes import thresholds
from snnverify.network import Branch, Layer, Network, Scale
from snnverify.strategies import neurons
from snnverify.trace import Case


def loop(step, start=0.0):
    """Box of a scalar loop ``(v, i, theta) -> (v, spikes)``; a second call goes on, another batch size raises."""

    def simulate(x, theta):
        spikes = np.zeros(x.shape)
        for n, column in enumerate(x.T):
            v = start
            for t, i in enumerate(column):
                v, spikes[t, n] = step(v, i, theta)
        return spikes

    return box_of(simulate)


def soft(v, i, theta):
    v += i
    return (v - theta, 1) if v > theta else (v, 0)


def hard(v, i, theta):
    v += (i - (v - 0.25)) / 4  # leaks to 0.25, input scaled by 1/4
    return (0.125, 1) if v >= theta else (v, 0)


def several(v, i, theta):
    v = 0.75 * (v + i)
    s = int(max(0, min(v // theta, 3)))
    return max(v - s * theta, -2.0), s


def test_soft_reset_fires_above():
    found = fingerprint(loop(soft, 0.5), {"theta": 1.0})
    values = {a: found[a] for a in AXES}
    assert values == {
        "fires": ">", "reset": "subtract", "v_reset": MOOT, "reset_delay": MOOT, "max_spikes": "1", "v_floor": "none",
        "leak": "1", "v_rest": MOOT, "order": MOOT, "input_scaled": MOOT, "v_init": "0.5", "syn_decay": "none",
        "syn_order": MOOT, "delay": "0", "between_calls": "kept", "new_batch": "error",
    }  # fmt: skip


def test_hard_reset_with_leak_target_and_scaled_input():
    """The same spikes would come from an unscaled input with other potentials; a second threshold tells."""
    found = fingerprint(loop(hard), {"theta": 1.0, "leak": 0.75})
    wanted = {"fires": ">=", "reset": "value", "v_reset": "0.125", "reset_delay": "0", "leak": "0.75", "v_rest": "0.25",
              "order": "leak-integrate", "input_scaled": "yes", "v_init": "0", "max_spikes": "1"}  # fmt: skip
    assert {a: found[a] for a in wanted} == wanted


def test_several_spikes_and_a_decay_after_the_input():
    found = fingerprint(loop(several), {"theta": 1.0, "leak": 0.75})
    # the floor of `several` lies after the spikes, a Neuron's before them: a potential that is low does not spike
    wanted = {"reset": "subtract", "max_spikes": "3", "leak": "0.75", "order": "integrate-leak", "input_scaled": "no",
              "v_floor": "-2"}  # fmt: skip
    assert {a: found[a] for a in wanted} == wanted
    assert (
        found["fires"] == ">="
    )  # v is 3/4 of a dyadic number and never 1 or 2; the third spike has a tie, 3 = 3/4 of 4


def test_evidence_is_a_probe_and_its_trace():
    decided = {d.axis: d for d in fingerprint(loop(soft), {"theta": 1.0}).axes}
    assert decided["fires"].probe == "inputs 1"
    assert decided["fires"].evidence.startswith("spikes 0; comparison >=")
    assert all(d.probe and d.evidence for d in decided.values() if d.value not in (MOOT, UNDECIDED))


@pytest.mark.parametrize(
    ("neuron", "nominal"),
    [
        (Neuron(leak=0.75, syn_decay=0.5, syn_order="add-decay", delay=1, fires=">"), {"leak": 0.75, "syn_decay": 0.5}),
        (Neuron(leak=0.625, reset="value", v_reset=-0.375, reset_delay=1, v_floor=-1.0), {"leak": 0.625}),
        (Neuron(reset="none", leak=0.375, v_rest=0.25, v_init=-0.5), {"leak": 0.375}),
        (Neuron(max_spikes=None, v_floor=-0.25, v_init=0.125), {}),
    ],
)
def test_the_exact_reference(neuron, nominal):
    found = fingerprint(box_of(in_fractions(neuron), "reset", "reset"), {"theta": 1.0} | nominal)
    shown = {">": ">", None: "none", False: "no", True: "yes"}
    for axis in OF_NEURON:
        value = getattr(neuron, axis)
        if found[axis] not in (MOOT, UNDECIDED):
            name = "unlimited" if axis == "max_spikes" and value is None else None
            wanted = name or (shown.get(value) if isinstance(value, bool) or value is None else None) or f"{value}"
            assert found[axis] == wanted or float(found[axis]) == float(value), axis
    assert found.note == ""
    assert sum(found[axis] == UNDECIDED for axis in OF_NEURON) == 0
    assert (found["between_calls"], found["new_batch"]) == ("reset", "reset")


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_the_model_nothing_is_claimed(name):
    found = fingerprint(box_of(OUTSIDE[name](np.random.default_rng(5))), {"theta": 1.0})
    assert {found[axis] for axis in OF_NEURON} == {UNDECIDED}
    assert found.note


def test_a_half_leak_cannot_be_told_where_the_leak_is_not_a_parameter():
    """v/2 + i/2 is a scaled input, or an input that leaks; only another leak tells, and this box has but one."""
    found = fingerprint(loop(lambda v, i, theta: (lambda u: (u - theta * (u >= theta), u >= theta))((v + i) / 2)),
                        {"theta": 1.0, "leak": 0.5})  # fmt: skip
    assert (found["order"], found["input_scaled"], found["leak"]) == (UNDECIDED, UNDECIDED, "0.5")


@pytest.mark.parametrize("between", ["kept", "reset"])
@pytest.mark.parametrize("batch", ["kept", "reset", "error"])
def test_state_between_calls(between, batch):
    found = fingerprint(box_of(in_fractions(Neuron()), between, batch), {"theta": 1.0})
    assert found["between_calls"] == between
    assert found["new_batch"] == ("reset" if (between, batch) == ("reset", "kept") else batch)


def test_thresholds_are_exact_to_a_float32():
    box = loop(lambda v, i, theta: (v + i, int(v + i >= 0.7)))
    around = [[np.float32(v), np.nextafter(np.float32(v), np.float32(1))] for v in (0.7, 0.45)]
    exact = [min(f for f in near if float(f) + before >= 0.7) for near, before in zip(around, (0.0, 0.25), strict=True)]
    assert thresholds(box, [(), (0.25,)], 0, {"theta": 1.0}).tolist() == exact
    assert thresholds(loop(lambda v, i, theta: (v, 1)), [()], 0, {"theta": 1.0}).tolist() == [-np.inf]
    assert thresholds(loop(lambda v, i, theta: (v, 0)), [()], 0, {"theta": 1.0}).tolist() == [np.inf]


@given(neurons(), st.integers(0, 2**32 - 1))
def test_what_is_certain_is_what_the_reference_does(neuron, seed):
    """On dyadic inputs the reference is never refuted, its potentials are met, and a flipped spike far off is seen."""
    neuron = replace(neuron, amplitude=1.0)
    x = np.random.default_rng(seed).integers(-8, 16, (6, 3)) / 8
    case = Case(Network((1,), (Layer("unit", (Branch(Scale(1.0)),), neuron),)), x[:, :, None], 6, "spikes")
    true = reference.run(case)
    spikes = true.spikes["unit"][:, :, 0].astype(int)
    assert not refuted(Candidate(neuron), x, spikes).any()
    peaks, unsure = follow(Candidate(neuron), x, spikes)
    assert np.all(np.abs(peaks - true.v_peak["unit"][:, :, 0]) <= unsure + 1e-12 * np.abs(peaks))
    sure = (unsure == 0) | (np.abs(peaks / neuron.theta - np.rint(peaks / neuron.theta)) * neuron.theta > unsure)
    wrong = spikes + 1
    seen = refuted(Candidate(neuron), x[:1], wrong[:1])
    assert np.array_equal(seen, sure[:1])


def test_a_box_that_raises_or_emits_no_counts_is_left_undecided():
    broken = fingerprint(lambda calls, params: ["ValueError: no" for _ in calls], {"theta": 1.0})
    assert broken["fires"] == UNDECIDED
    assert "ValueError: no" in broken.note
    halves = fingerprint(lambda calls, params: [np.full(c.shape, 0.5) for c in calls], {"theta": 1.0})
    assert "0.5" in halves.note
    signed = fingerprint(lambda calls, params: [-np.ones(c.shape) for c in calls], {"theta": 1.0})
    assert "-1" in signed.note


def test_score_has_nothing_wrong():
    rows = score(7)
    assert [r.wrong for r in rows] == [0] * 5, [f for r in rows for f in r.faults]
    assert [r.family for r in rows] == ["no axis", "single axes", "pairs", "triples", "outside the model"]
    share = {r.family: r.correct / (r.correct + r.undecided) for r in rows}
    assert min(share.values()) > 0.85


def test_an_operator_becomes_a_box_and_a_row_of_the_table():
    def operator(name, calls, params):
        assert name == "IF"
        return [(spikes, None) for spikes in loop(soft)(calls, params)]

    found = fingerprint(from_operator(operator, "IF"), {"theta": 1.0}, "IF")
    lines = table([("mine", found)]).splitlines()
    assert lines[0].count("|") == lines[2].count("|") == len(AXES) + 4
    assert lines[2].startswith("| mine | `IF` | theta 1 | > | subtract |")
    assert "| comparison | > | inputs 1 |" in evidence([("mine", found)])
    assert max(map(len, text(found).splitlines())) <= 120
