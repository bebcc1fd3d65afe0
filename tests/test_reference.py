"""The reference on whole networks: closed forms of the literature, single units, events, and what it refuses."""

import functools
import math
import operator
from fractions import Fraction as Fr

import numpy as np
import pytest

from snnverify.activation import ClipFloor, Cuba, Neuron, Relu
from snnverify.errors import DataError, Unsupported
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.reference import forward, run, unit
from snnverify.trace import Case


def one_neuron(act, weight=1.0, bias=None):
    op = Dense(np.array([[weight]]), None if bias is None else np.array([bias]))
    return Network((1,), (Layer("n", (Branch(op),), act),))


def one_trace(act, inputs):
    x = np.array(inputs, float).reshape(-1, 1, 1)
    return run(Case(one_neuron(act), x, len(inputs), encoding="spikes"))


def column(array):
    return array.ravel().tolist()


@pytest.fixture
def dyadic():
    rng = np.random.default_rng(5)  # one per test: no draw depends on which tests ran before
    return lambda *shape: rng.integers(-40, 41, shape) / 8


GRID = [Fr(n, 8) for n in range(-3, 14)]


@pytest.mark.parametrize("theta", [Fr(1), Fr(3, 4)])
@pytest.mark.parametrize("z", GRID)
def test_soft_reset_counts_are_the_clipped_floor(z, theta):
    # N(T) = clip(floor((v0 + z T) / theta), 0, T) for 0 <= v0 < theta (Rueckauer et al. 2017); with v0 = theta/2 it is
    # clip(floor(z T / theta + 1/2), 0, T), the QCFS activation (Bu et al., ICLR 2022, eq. 12).
    for v0 in (Fr(0), theta / 2, theta * 3 / 4):
        case = Case(one_neuron(Neuron(theta=float(theta), v_init=float(v0))), np.array([[float(z)]]), 12)
        trace = run(case, readout_at=range(1, 13))
        law = [min(max(math.floor((v0 + z * T) / theta), 0), T) for T in range(1, 13)]
        assert column(trace.readout) == law


def test_qcfs_rounds_half_up_as_the_neuron_does():
    # theta 1, L = T = 4, z = 1/8, 3/8, 5/8, 7/8: z L is a half each time, half up gives 1, 2, 3, 4 (half even 0, 2, 2, 4).
    z = np.array([[1, 3, 5, 7, -1, 9, 0, 20]]) / 8
    expected = [[0.25, 0.5, 0.75, 1, 0, 1, 0, 1]]
    ann = Network((8,), (Layer("q", (Branch(Scale()),), ClipFloor(4)),))
    assert forward(ann, z)["q"].tolist() == expected
    snn = Network((8,), (Layer("q", (Branch(Scale()),), Neuron(v_init=0.5)),))
    assert (run(Case(snn, z, 4)).readout[0] / 4).tolist() == expected


def test_clip_floor_with_levels_threshold_and_shift_per_channel():
    # theta 3, L 2, shift 0: steps of 1.5: 1 -> 0, 2 -> 1.5, 3.25 -> 3, 9 -> 3; theta 1: steps of 0.5, all clipped at 1.
    net = Network((2, 4), (Layer("q", (Branch(Scale()),), ClipFloor(2, np.array([3.0, 1.0]), 0.0)),))
    x = np.array([[[1, 2, 3.25, 9]] * 2])
    assert forward(net, x)["q"].tolist() == [[[0, 1.5, 3, 3], [1, 1, 1, 1]]]


@pytest.mark.parametrize("z", [z for z in GRID if z > 0])
def test_hard_reset_to_zero_fires_with_period_ceil_theta_over_z(z):
    # From v = 0 the potential after k steps is k z; it fires at the first k with k z >= theta and starts again at 0.
    theta, steps = Fr(3, 2), 15
    trace = run(Case(one_neuron(Neuron(theta=1.5, reset="value")), np.array([[float(z)]]), steps))
    period = math.ceil(theta / z)
    assert column(trace.spikes["n"]) == [int((t + 1) % period == 0) for t in range(steps)]


@pytest.mark.parametrize("scaled", [False, True])
def test_lif_membrane_below_threshold_is_a_geometric_sum(scaled):
    # v[t] = leak^(t+1) v0 + k z (1 - leak^(t+1)) / (1 - leak), exact in float64: 2 bits per step.
    leak, v0, z, steps = Fr(3, 4), Fr(5, 8), Fr(7, 8), 12
    k = 1 - leak if scaled else 1
    act = Neuron(theta=100.0, leak=0.75, v_init=0.625, input_scaled=scaled)
    trace = run(Case(one_neuron(act), np.array([[0.875]]), steps))
    law = [leak**n * v0 + k * z * (1 - leak**n) / (1 - leak) for n in range(1, steps + 1)]
    assert [Fr(v) for v in column(trace.v["n"])] == law


def test_inhibition_after_excitation_gives_rate_one_half_at_mean_input_zero():
    for T in (4, 10):
        trace = one_trace(Neuron(), [1] * (T // 2) + [-1] * (T // 2))
        assert column(trace.counts["n"]) == [T // 2]


def test_decimal_weights_are_taken_as_stored_and_rounded_once():
    # The double nearest 0.1 is above 0.1, so ten of them reach theta = 1 in step 10; a float64 loop of 0.1 + 0.1 + ... has
    # 0.9999999999999999 there and fires in step 11.
    assert Fr(0.1) * 10 > 1
    assert functools.reduce(operator.add, [0.1] * 10) < 1  # `sum` compensates since Python 3.12
    assert column(run(Case(one_neuron(Neuron(), weight=0.1), np.ones((1, 1)), 11)).spikes["n"]) == [0] * 9 + [1, 0]
    # 1 + 2^-24 + 2^-60 lies above the tie of float32; by way of float64 (1 + 2^-24) it would round to even, to 1.
    net = one_neuron(None, 1 + 2.0**-24, bias=2.0**-60)
    readout = run(Case(net, np.ones((1, 1)), 1, dtype="float32")).readout
    assert readout.dtype == np.float32
    assert readout.item() == 1 + 2.0**-23
    tie = run(Case(one_neuron(None, 1 + 2.0**-24), np.ones((1, 1)), 1, dtype="float32")).readout
    assert tie.item() == 1


def test_dtypes_of_a_trace():
    trace = one_trace(Neuron(max_spikes=None), [300.0])
    assert trace.spikes["n"].dtype == np.int32
    assert column(trace.spikes["n"]) == [300]
    trace = one_trace(Neuron(), [300.0])
    assert (trace.spikes["n"].dtype, trace.counts["n"].dtype) == (np.uint8, np.int64)


def residual_net(dyadic):
    pad = ((1, 1), (1, 1))
    return Network((2, 4, 4), (
        Layer("a", (Branch(Conv(dyadic(3, 2, 3, 3), dyadic(3), padding=pad)),),
              Neuron(theta=np.array([4.0, 2.0, 8.0]), v_init=np.array([2.0, 1.0, 4.0]))),
        Layer("b", (Branch(Conv(dyadic(3, 3, 3, 3), padding=pad), "a"), Branch(Scale(0.5), "a")),
              Neuron(theta=3.0, amplitude=0.5, leak=0.75, reset="value", max_spikes=3, syn_decay=0.5)),
        Layer("pool", (Branch(Pool("average", (2, 2)), "b"),)),
        Layer("flat", (Branch(Flatten(), "pool"),)),
        Layer("out", (Branch(Dense(dyadic(4, 12)), "flat"),), Neuron(theta=16.0, fires=">", reset_delay=1, v_floor=-2.0)),
    ))  # fmt: skip


@pytest.mark.parametrize("encoding", ["constant", "spikes"])
def test_unit_equals_run_on_every_unit(encoding, dyadic):
    net, T = residual_net(dyadic), 6
    x = dyadic(2, 2, 4, 4) if encoding == "constant" else (dyadic(T, 2, 2, 4, 4) > 0).astype(float)
    case = Case(net, x, T, encoding=encoding)
    trace = run(case)
    assert all(len(np.unique(c)) > 2 for c in trace.counts.values())  # neither silent nor saturated
    for n in range(2):
        pooled = trace.spikes["b"][:, n].reshape(T, 3, 2, 2, 2, 2).mean((3, 5)) * 0.5
        inputs = {
            "input": np.broadcast_to(x[n], (T, *x[n].shape)) if encoding == "constant" else x[:, n],
            "a": trace.spikes["a"][:, n].astype(float),
            "flat": pooled.reshape(T, 12),
        }
        for layer in net.spiking:
            for index in np.ndindex(net.shapes[layer.name]):
                spikes, v, v_peak = unit(case, layer.name, n, index, inputs)
                at = (slice(None), n, *index)
                assert spikes == trace.spikes[layer.name][at].tolist()
                assert v == [Fr(e) for e in trace.v[layer.name][at].tolist()]
                assert v_peak == [Fr(e) for e in trace.v_peak[layer.name][at].tolist()]
    assert unit(case, "a", 1, (0, 0, 0), {}) == unit(case, "a", 1, (0, 0, 0), inputs)  # the stimulus of sample 1


def test_unit_delays_the_input_of_a_cuba_layer_itself():
    case = Case(one_neuron(Cuba(2)), np.ones((1, 1)), 5)
    assert unit(case, "n", 0, (0,), {"input": np.ones((5, 1))})[0] == [0, 0, 0, 1, 0]


def test_events_count_the_non_zero_fan_out_of_every_spike():
    # Input 1 on 4 units of theta 1: each fires in each of 3 steps, 2 samples: 4 * 3 * 2 = 24 spikes. None of the input's
    # own connections count. Fan-outs: Dense row (1, 0, 2, 0), (0, 0, 3, 0): 3 weights, 3 * 3 * 2 = 18. Pool of 3 by 1
    # with padding: windows per unit 2, 3, 3, 2 = 10, 60 in all. Scale 1 and 0: 4 and 0 per step. Flatten renames: it does
    # no work itself, and what it feeds sees spikes: Scale 4 per step = 24, the mirrored Dense another 18.
    ones, fire = np.ones((2, 1, 4)), Neuron()
    w = np.array([[1.0, 0, 2, 0], [0, 0, 3, 0]])
    net = Network((1, 4), (
        Layer("a", (Branch(Scale()),), fire),
        Layer("pool", (Branch(Pool("max", (3,), (1,), (1,)), "a"), Branch(Scale(0.0), "a"), Branch(Scale(), "input"))),
        Layer("flat", (Branch(Flatten(), "a"),)),
        Layer("relay", (Branch(Scale(), "flat"),), fire),
        Layer("out", (Branch(Dense(w), "relay"), Branch(Dense(w[::-1]), "flat"))),
    ))  # fmt: skip
    events = run(Case(net, ones, 3)).events
    assert events == {
        "a": {"spikes": 24, "neuron_updates": 24, "synaptic_operations": 0},
        "pool": {"spikes": 0, "neuron_updates": 0, "synaptic_operations": 60},
        "flat": {"spikes": 0, "neuron_updates": 0, "synaptic_operations": 0},
        "relay": {"spikes": 24, "neuron_updates": 24, "synaptic_operations": 24},
        "out": {"spikes": 0, "neuron_updates": 0, "synaptic_operations": 36},
    }
    # Three spikes of one step count three times: theta 1, input 3, weights (1, 0): 3 spikes * 1 * 2 steps.
    net = Network((1,), (Layer("a", (Branch(Scale()),), Neuron(max_spikes=None)),
                         Layer("out", (Branch(Dense(np.array([[1.0], [0.0]])), "a"),))))  # fmt: skip
    events = run(Case(net, np.full((1, 1), 3.0), 2)).events
    assert (events["a"]["spikes"], events["out"]["synaptic_operations"]) == (6, 6)


def test_what_the_specification_does_not_hold():
    net = one_neuron(Neuron())
    with pytest.raises(Unsupported, match="draw the spikes first"):
        run(Case(net, np.ones((1, 1)), 2, encoding="poisson"))
    with pytest.raises(Unsupported, match="use run"):
        forward(net, np.ones((1, 1)))
    with pytest.raises(DataError, match="x of shape"):
        forward(one_neuron(None), np.ones((1, 2)))
    with pytest.raises(Unsupported, match="does not spike"):
        unit(Case(one_neuron(Relu()), np.ones((1, 1)), 2), "n", 0, (0,), {})
    two = Network((1,), (*net.layers, Layer("m", (Branch(Scale(), "n"),), Neuron())))
    with pytest.raises(DataError, match=r"inputs\['n'\] is missing"):
        unit(Case(two, np.ones((1, 1)), 2), "m", 0, (0,), {})
    with pytest.raises(DataError, match=r"of shape \(3, 1\)"):
        unit(Case(two, np.ones((1, 1)), 2), "m", 0, (0,), {"n": np.ones((3, 1))})
    for readout_at in ((), (1,), (0, 2), (2, 1, 2), (1, 3)):
        with pytest.raises(DataError, match="readout_at"):
            run(Case(net, np.ones((1, 1)), 2), readout_at=readout_at)
