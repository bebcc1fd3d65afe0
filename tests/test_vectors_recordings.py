"""How recordings are compared: on networks and values worked out by hand, whether or not the real ones were fetched."""

import numpy as np
import pytest

from snnverify.activation import Cuba, SigmaDelta
from snnverify.checks import select, vectors
from snnverify.errors import Unsupported
from snnverify.exchange.recordings import Recorded, Recording, alone
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Scale
from snnverify.oracles import Oracle, get
from snnverify.run import run
from snnverify.simulate import run as simulated
from snnverify.trace import Case


def spikes(*values):
    """[T, 1, 1] of one unit."""
    return np.array(values)[:, None, None]


def chain():
    """Three CUBA layers of one unit that fire on every spike of the layer before, one step later."""
    act, twice = Cuba(1, voltage_decay=4096), Dense(np.array([[2]]))
    layers = (Layer("a", (Branch(twice),), act), Layer("b", (Branch(twice, "a"),), act))
    return Network((1,), (*layers, Layer("c", (Branch(twice, "b"),), act)))


X = spikes(1, 0, 1, 1, 0, 0)
RECORDED = (
    Recorded("a.npy", "a", "spikes", spikes(1, 0, 1, 1, 0), 1),  # of steps 1 ... 5
    Recorded("c.npy", "c", "spikes", spikes(0, 0, 0, 1, 0, 1)),
    Recorded("c-u.npy", "c", "current", 128 * spikes(0, 0, 0, 1, 0, 1)),
    Recorded("c-v.npy", "c", "voltage", spikes(0, 0, 0, 0, 0, 0)),
)
CHAIN = Recording("chain", chain(), X, RECORDED)


def of(monkeypatch, *recordings):
    """Let one of the sets be these recordings."""
    monkeypatch.setattr(vectors, "recordings", lambda name: recordings)


def test_every_recorded_value_end_to_end(monkeypatch):
    of(monkeypatch, CHAIN)
    rows = list(vectors.rows("dense", get("snnverify")))
    assert [(r.file, r.mode, r.values, r.differ) for r in rows] == [
        ("a.npy", "end to end", 5, 0), ("c.npy", "end to end", 6, 0),
        ("c-u.npy", "end to end", 6, 0), ("c-v.npy", "end to end", 6, 0)]  # fmt: skip


def test_values_that_differ_are_counted_and_break_the_check(monkeypatch):
    wrong = Recorded("c.npy", "c", "spikes", spikes(0, 0, 1, 1, 0, 0))
    of(monkeypatch, Recording("chain", chain(), X, (wrong,)))
    (row,) = vectors.rows("dense", get("snnverify"))
    assert (row.values, row.differ) == (6, 2)
    (check,) = select("vectors.dense")
    found = run(check, get("snnverify"))
    assert found.outcome == "fail"
    assert found.worst.where == "chain, c.npy, end to end"
    assert found.worst.detail == "2 of 6 values"


def test_a_layer_alone_sees_the_recorded_spikes_in_their_steps():
    recorded = (Recorded("a.npy", "a", "spikes", spikes(1, 1), 2), Recorded("b.npy", "b", "spikes", spikes(0, 0, 0)))
    case = alone(Recording("chain", chain(), X, recorded), "b")
    assert [layer.name for layer in case.network.layers] == ["b"]
    assert case.x.ravel().tolist() == [0, 0, 1, 1, 0, 0]
    assert simulated(case).spikes["b"].ravel().tolist() == [0, 0, 0, 1, 1, 0]  # not those that X would bring


def test_a_layer_alone_keeps_the_flatten_before_it():
    act = Cuba(1, voltage_decay=4096)
    convolution = Layer("a", (Branch(Conv(np.ones((2, 1, 1, 1)))),), act)
    flat = Layer("f", (Branch(Flatten(), "a"),))
    last = Layer("b", (Branch(Dense(np.array([[2, 0, 0, 0]])), "f"),), act)
    seen = np.zeros((2, 1, 2, 1, 2), int)
    seen[0, 0, 0, 0, 0] = 1
    recording = Recording("r", Network((1, 1, 2), (convolution, flat, last)), np.zeros((2, 1, 1, 1, 2)),
                          (Recorded("a", "a", "spikes", seen),))  # fmt: skip
    case = alone(recording, "b")
    assert [layer.name for layer in case.network.layers] == ["f", "b"]
    assert simulated(case).spikes["b"].ravel().tolist() == [0, 1]


def test_a_layer_alone_after_a_recorded_sum_gets_its_increments():
    act = SigmaDelta(threshold=0)
    net = Network(
        (1,),
        (Layer("a", (Branch(Dense(np.array([[1]]))),), act), Layer("b", (Branch(Dense(np.array([[3]])), "a"),), act)),
    )
    recording = Recording("r", net, spikes(0, 0, 0), (Recorded("a", "a", "sigma", spikes(0, 640, 640)),))
    case = alone(recording, "b")
    # the relay sums 640 up again in step 1, sends 640 / 64 = 10, and b sums 3 * 10 in step 2
    assert case.x.ravel().tolist() == [0, 640, 0]
    assert simulated(case).v_peak["a"].ravel().tolist() == [0, 640, 640]
    assert simulated(case).v_peak["b"].ravel().tolist() == [0, 0, 30]


@pytest.mark.parametrize("layer", ["a", "c"], ids=["first layer", "source not recorded"])
def test_nothing_to_start_a_layer_from(layer):
    assert alone(CHAIN, layer) is None


def test_current_is_what_a_step_added_to_the_potential():
    act = Cuba(25, voltage_decay=1024, bias=np.array([2, 0]), reset_interval=3, reset_offset=1)
    v = np.array([[[-5, 7]], [[64, 0]], [[-5, 10]]])
    v_peak = np.array([[[123, 7]], [[64, -64]], [[176, 10]]])
    # step 0 from 0; step 1 is a reset step, again from 0; step 2 from 64 * 3/4 = 48 and from 0; the bias is 2 * 64
    got = vectors.current(act, v, v_peak, np.asarray)
    assert got.tolist() == [[[-5, 7]], [[-64, -64]], [[0, 10]]]


def test_current_takes_a_negative_potential_rounded_toward_zero():
    act = Cuba(25, voltage_decay=1024)  # -5 * 3/4 = -3.75, toward zero -3
    got = vectors.current(act, np.array([[[-5]], [[61]]]), np.array([[[-5]], [[61]]]), np.asarray)
    assert got.ravel().tolist() == [-5, 64]


def test_what_a_subject_does_not_tell_is_said(monkeypatch):
    from dataclasses import replace

    of(monkeypatch, CHAIN)
    mute = Oracle("mute", "0", simulator=lambda case, record="full": replace(simulated(case), v={}, v_peak={}))
    why = {r.file: (r.differ, r.why) for r in vectors.rows("dense", mute)}
    assert why["c.npy"] == (0, "")
    assert why["c-u.npy"] == (None, "mute: it does not tell current")
    assert why["c-v.npy"] == (None, "mute: it does not tell voltage")


def test_a_subject_that_expresses_none_is_unsupported(monkeypatch):
    def refuse(case, record="full"):
        raise Unsupported("other", "no integer neurons")

    of(monkeypatch, CHAIN)
    (check,) = select("vectors.dense")
    found = run(check, Oracle("other", "0", simulator=refuse))
    assert found.outcome == "unsupported"
    assert "other: no integer neurons" in found.message


def test_units_are_held_to_the_recorded_values(monkeypatch):
    monkeypatch.setattr(vectors, "SETS", ("dense",))
    of(monkeypatch, CHAIN)
    unit = get("reference").operator("unit")
    assert {(r.file, differ) for r, _, _, differ in vectors.sampled(unit)} == {
        ("a.npy", 0), ("c.npy", 0), ("c-u.npy", 0), ("c-v.npy", 0)}  # fmt: skip

    def late(case, layer, n, index, inputs):
        fired, v, peak = unit(case, layer, n, index, inputs)
        return [0, *fired[:-1]], v, peak

    assert {r.file: differ for r, _, _, differ in vectors.sampled(late)} == {
        "a.npy": 4, "c.npy": 3, "c-u.npy": 0, "c-v.npy": 0}  # fmt: skip


def test_the_specification_refuses_what_would_take_it_hours():
    net = Network((2000,), (Layer("a", (Branch(Dense(np.ones((2000, 2000)))),), Cuba(1)),))
    with pytest.raises(
        Unsupported, match=r"reference: 8,000,000 products in exact fractions, more than .*operator 'unit'"
    ):
        get("reference").run(Case(net, np.zeros((2, 1, 2000)), 2, "spikes"))


def test_a_scale_at_the_input_is_no_product_that_counts():
    net = Network((2000,), (Layer("a", (Branch(Scale()),), Cuba(1, drive="bias", delay=0)),))
    assert get("reference").run(Case(net, np.full((1, 1, 2000), 2), 1, "spikes")).counts["a"].sum() == 2000
