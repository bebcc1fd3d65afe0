"""The exact neurons, each axis alone, against traces written out by hand."""

import numpy as np
import pytest

from snnverify.activation import Cuba, Neuron
from snnverify.errors import DataError, NetworkError, Unsupported
from snnverify.network import Branch, Dense, Layer, Network, Scale
from snnverify.reference import run
from snnverify.trace import Case


def one_neuron(act, weight=1.0, bias=None):
    op = Dense(np.array([[weight]]), None if bias is None else np.array([bias]))
    return Network((1,), (Layer("n", (Branch(op),), act),))


def one_trace(act, inputs, weight=1.0):
    x = np.array(inputs, float).reshape(-1, 1, 1)
    return run(Case(one_neuron(act, weight), x, len(inputs), encoding="spikes"))


def column(array):
    return array.ravel().tolist()


# Each row: axes, input I of each step, then v_peak, spikes and v by hand. Rows of one group share their input, so that a
# group shows the axis at work: its rows differ in nothing but that axis. Default: theta 1, v_init 0, no leak.
AXES = {
    # 0.5 + 0.5 = 1 is a tie: it fires at >= (then 0 + 0.5), and not at > (then 1 + 0.5 = 1.5 fires, 0.5 is left).
    "fires": [
        ({"fires": ">="}, [0.5, 0.5, 0.5], [0.5, 1, 0.5], [0, 1, 0], [0.5, 0, 0.5]),
        ({"fires": ">"}, [0.5, 0.5, 0.5], [0.5, 1, 1.5], [0, 0, 1], [0.5, 1, 0.5]),
    ],
    # 0.75 + 0.75 = 1.5 fires; subtraction keeps 0.5, so 0.5 + 0.75 = 1.25 fires; a value of 0 or -0.5 does not.
    "reset": [
        ({"reset": "subtract"}, [0.75] * 3, [0.75, 1.5, 1.25], [0, 1, 1], [0.75, 0.5, 0.25]),
        ({"reset": "value"}, [0.75] * 3, [0.75, 1.5, 0.75], [0, 1, 0], [0.75, 0, 0.75]),
        ({"reset": "value", "v_reset": -0.5}, [0.75] * 3, [0.75, 1.5, 0.25], [0, 1, 0], [0.75, -0.5, 0.25]),
    ],
    # Leak 1/2. Immediate: 1.5 -> 0.5, then 0.25 + 0.5 = 0.75. Delayed: 1.5 stays in v; the next step leaks and adds first,
    # 0.75 + 0.5, and then takes 1 off: 0.25 (the reset first would give 0.75); then 0.125 + 1 = 1.125.
    "reset_delay": [
        ({"leak": 0.5}, [1.5, 0.5, 1], [1.5, 0.75, 1.375], [1, 0, 1], [0.5, 0.75, 0.375]),
        ({"leak": 0.5, "reset_delay": 1}, [1.5, 0.5, 1], [1.5, 0.25, 1.125], [1, 0, 1], [1.5, 0.25, 1.125]),
        # To a value of 0.25, late: 1.5 | 0.25, the input is lost | 0.125 + 1 = 1.125.
        ({"leak": 0.5, "reset_delay": 1, "reset": "value", "v_reset": 0.25}, [1.5, 0.5, 1],
         [1.5, 0.25, 1.125], [1, 0, 1], [1.5, 0.25, 1.125]),
        # Two spikes are taken off late: 2.5 | 1.25 + 0.5 - 2 = -0.25.
        ({"leak": 0.5, "reset_delay": 1, "max_spikes": 2}, [2.5, 0.5], [2.5, -0.25], [2, 0], [2.5, -0.25]),
    ],
    # 3 holds three thresholds at >=, of which 1, 2 or all may fire; strictly it holds 3 > 2, two. -2 holds none.
    "max_spikes": [
        ({"max_spikes": 1}, [3, 0, 0, -2], [3, 2, 1, -2], [1, 1, 1, 0], [2, 1, 0, -2]),
        ({"max_spikes": 2}, [3, 0, 0, -2], [3, 1, 0, -2], [2, 1, 0, 0], [1, 0, 0, -2]),
        ({"max_spikes": None}, [3, 0, 0, -2], [3, 0, 0, -2], [3, 0, 0, 0], [0, 0, 0, -2]),
        ({"max_spikes": None, "fires": ">"}, [3, 0, 0, -2], [3, 1, 1, -1], [2, 0, 0, 0], [1, 1, 1, -1]),
        # A hard reset ignores how many: 2 spikes, then v_reset = 0.25.
        ({"max_spikes": 2, "reset": "value", "v_reset": 0.25}, [3, 0, 0, -2],
         [3, 0.25, 0.25, -1.75], [2, 0, 0, 0], [0.25, 0.25, 0.25, -1.75]),
    ],
    # Inhibition of -1: without a floor it is remembered (-1, -0.25, 0.5), at a floor of 0 forgotten (0, 0.75, 1.5).
    "v_floor": [
        ({"v_floor": None}, [-1, 0.75, 0.75], [-1, -0.25, 0.5], [0, 0, 0], [-1, -0.25, 0.5]),
        ({"v_floor": 0.0}, [-1, 0.75, 0.75], [0, 0.75, 1.5], [0, 0, 1], [0, 0.75, 0.5]),
        ({"v_floor": -0.5}, [-1, 0.75, 0.75], [-0.5, 0.25, 1], [0, 0, 1], [-0.5, 0.25, 0]),
        # The floor acts before the comparison, not after a reset: v may rest below it until the next step.
        ({"v_floor": -0.5, "reset": "value", "v_reset": -1.0}, [1, 0], [1, -0.5], [1, 0], [-1, -0.5]),
    ],
    # Leak 1/2 to 0: 0.75, 0.375, 0.1875. To a rest of 0.5: 0.5 + (0 - 0.5)/2 + 0.75 = 1 fires -> 0; 0.25; 0.375.
    "v_rest": [
        ({"leak": 0.5}, [0.75, 0, 0], [0.75, 0.375, 0.1875], [0, 0, 0], [0.75, 0.375, 0.1875]),
        ({"leak": 0.5, "v_rest": 0.5}, [0.75, 0, 0], [1, 0.25, 0.375], [1, 0, 0], [0, 0.25, 0.375]),
        ({"leak": 1.0, "v_rest": 0.5}, [0.75, 0, 0], [0.75] * 3, [0] * 3, [0.75] * 3),
        ({"leak": 0.0}, [0.75, 0, 0.5], [0.75, 0, 0.5], [0, 0, 0], [0.75, 0, 0.5]),
    ],
    # Leak 3/4. Scaled by 1/4: 0.5; 0.375 + 0.5 = 0.875; 0.65625 + 0.5 = 1.15625 fires.
    # Not scaled: 2 -> 1; 0.75 + 2 = 2.75 -> 1.75; 1.3125 + 2 = 3.3125 -> 2.3125.
    "input_scaled": [
        ({"leak": 0.75}, [2, 2, 2], [2, 2.75, 3.3125], [1, 1, 1], [1, 1.75, 2.3125]),
        ({"leak": 0.75, "input_scaled": True}, [2, 2, 2], [0.5, 0.875, 1.15625], [0, 0, 1], [0.5, 0.875, 0.15625]),
    ],
    # One input of 0.5; as a current it decays 0.5, 0.25, 0.125, 0.0625 and adds up: 0.5, 0.75, 0.875, 0.9375;
    # then 0.5 + 0.03125 = 0.53125 more: 1.46875 fires. A decay of 0 is the same as none.
    "syn_decay": [
        ({}, [0.5, 0, 0, 0, 0.5], [0.5, 0.5, 0.5, 0.5, 1], [0, 0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5, 0]),
        ({"syn_decay": 0.5}, [0.5, 0, 0, 0, 0.5],
         [0.5, 0.75, 0.875, 0.9375, 1.46875], [0, 0, 0, 0, 1], [0.5, 0.75, 0.875, 0.9375, 0.46875]),
        ({"syn_decay": 0.0}, [0.5, 0, 0, 0, 0.5], [0.5, 0.5, 0.5, 0.5, 1], [0, 0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5, 0]),
    ],
    # Leak 1/2. Leak first: 1.5 -> 0.5; 0.25 + 1.5 = 1.75. Input first: (0 + 1.5)/2 = 0.75; (0.75 + 1.5)/2 = 1.125.
    # Around a rest of 0.5: 0.5 + (0 - 0.5 + 1.5)/2 = 1 fires -> 0, and again.
    "order": [
        ({"leak": 0.5}, [1.5, 1.5], [1.5, 1.75], [1, 1], [0.5, 0.75]),
        ({"leak": 0.5, "order": "integrate-leak"}, [1.5, 1.5], [0.75, 1.125], [0, 1], [0.75, 0.125]),
        ({"leak": 0.5, "order": "integrate-leak", "v_rest": 0.5}, [1.5, 1.5], [1, 1], [1, 1], [0, 0]),
        # and the input halved as well: 0.5 + (0 - 0.5 + 0.75)/2 = 0.625; 0.5 + (0.125 + 0.75)/2 = 0.9375.
        ({"leak": 0.5, "order": "integrate-leak", "v_rest": 0.5, "input_scaled": True}, [1.5, 1.5],
         [0.625, 0.9375], [0, 0], [0.625, 0.9375]),
    ],
    "v_init": [
        ({}, [0.5, 0.25], [0.5, 0.75], [0, 0], [0.5, 0.75]),
        ({"v_init": 0.5}, [0.5, 0.25], [1, 0.25], [1, 0], [0, 0.25]),
    ],
    "theta": [
        ({"theta": 0.5}, [0.75, 0.25], [0.75, 0.5], [1, 1], [0.25, 0]),
        ({"theta": 2.0}, [0.75, 1.5], [0.75, 2.25], [0, 1], [0.75, 0.25]),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("axes", "inputs", "v_peak", "spikes", "v"),
    [pytest.param(*row, id=f"{axis}-{i}") for axis, rows in AXES.items() for i, row in enumerate(rows)],
)
def test_each_neuron_axis_by_hand(axes, inputs, v_peak, spikes, v):
    trace = one_trace(Neuron(**axes), inputs)
    assert column(trace.v_peak["n"]) == v_peak
    assert column(trace.spikes["n"]) == spikes
    assert column(trace.v["n"]) == v
    assert column(trace.v_end["n"]) == v[-1:]
    assert column(trace.counts["n"]) == [sum(spikes)]
    assert column(trace.readout) == [sum(spikes)]


def test_constant_half_with_the_defaults_of_mem_update_fires_every_other_step():
    # theta 0.5, strict, decay 0.25, hard reset: 0.5 (a tie) | 0.125 + 0.5 = 0.625 fires | 0.5 | 0.625 fires | 0.5.
    act = Neuron(theta=0.5, fires=">", leak=0.25, reset="value")
    trace = run(Case(one_neuron(act), np.array([[0.5]]), 5))
    assert column(trace.spikes["n"]) == [0, 1, 0, 1, 0]
    assert column(trace.v_peak["n"]) == [0.5, 0.625, 0.5, 0.625, 0.5]


def test_per_channel_parameters_follow_axis_0_and_amplitude_is_what_is_handed_on():
    # Input 1 on both channels of a [2, 2] sample. Channel 0: theta 1, v_init 0 fires each step. Channel 1: theta 2,
    # v_init 0.5 reaches 1.5, 2.5 -> 0.5, 1.5: one spike in 3 steps. Amplitudes 0.5 and 3.
    act = Neuron(theta=np.array([1.0, 2.0]), amplitude=np.array([0.5, 3.0]), v_init=np.array([0.0, 0.5]))
    net = Network((2, 2), (Layer("n", (Branch(Scale()),), act), Layer("out", (Branch(Scale(2.0), "n"),))))
    trace = run(Case(net, np.ones((1, 2, 2)), 3), readout_at=(1, 2, 3))
    assert trace.counts["n"].tolist() == [[[3, 3], [1, 1]]]
    assert trace.readout[:, 0].tolist() == [[[1, 1], [0, 0]], [[2, 2], [6, 6]], [[3, 3], [6, 6]]]
    assert trace.readout_at == (1, 2, 3)


def cuba_trace(inputs, weight=1, **axes):
    return one_trace(Cuba(**axes), inputs, weight)


def test_cuba_negative_states_round_toward_zero():
    # Weight 3, input -1 at t = 0, delay 1, both decays one half (2048/4096). From t = 1:
    #   u: 64 * 3 * -1 = -192, -96, -48, -24, -12, -6, -3, rz(-1.5) = -1, rz(-0.5) = 0      (floor would stay at -1)
    #   v: -192; -96 - 96 = -192; -96 - 48 = -144; -72 - 24 = -96; -48 - 12 = -60; -30 - 6 = -36; -18 - 3 = -21;
    #      rz(-10.5) - 1 = -11; rz(-5.5) + 0 = -5; rz(-2.5) = -2; -1; 0
    trace = cuba_trace([-1] + [0] * 12, 3, threshold=1, current_decay=2048, voltage_decay=2048)
    assert column(trace.v["n"]) == [0, -192, -192, -144, -96, -60, -36, -21, -11, -5, -2, -1, 0]
    assert column(trace.counts["n"]) == [0]
    # The positive pulse mirrors it until it would fire; a threshold of 4 (256) is never passed.
    mirror = cuba_trace([1] + [0] * 12, 3, threshold=4, current_decay=2048, voltage_decay=2048)
    assert column(mirror.v["n"]) == [0, 192, 192, 144, 96, 60, 36, 21, 11, 5, 2, 1, 0]


def test_cuba_decays_are_of_4096():
    # current_decay 1024 keeps 3/4, voltage_decay 4096 keeps nothing, so v = u: 64, 48, 36, 27, rz(20.25), rz(15), rz(11.25).
    trace = cuba_trace([1] + [0] * 6, threshold=1, current_decay=1024, voltage_decay=4096, delay=0)
    assert column(trace.v["n"]) == [64, 48, 36, 27, 20, 15, 11]


def test_cuba_fires_strictly_above_64_thresholds_resets_at_once_and_sees_its_source_late():
    # Threshold 2 -> 128; u is the input alone, v has no leak. Input 1 1 1 1 1 one step late: v = 0, 64, 128 (a tie, no
    # spike), 192 fires -> 0, 64.
    inputs = [1] * 5
    trace = cuba_trace(inputs, threshold=2)
    assert column(trace.v_peak["n"]) == [0, 64, 128, 192, 64]
    assert column(trace.spikes["n"]) == [0, 0, 0, 1, 0]
    assert column(trace.v["n"]) == [0, 64, 128, 0, 64]
    assert column(cuba_trace(inputs, threshold=2, delay=0).spikes["n"]) == [0, 0, 1, 0, 0]
    assert column(cuba_trace(inputs, threshold=2, delay=2).v_peak["n"]) == [0, 0, 64, 128, 192]


def test_cuba_bias_enters_v_alone_from_the_first_step():
    # current_decay 2048: u = 0, 64, 32, 16. Bias 1 adds 64 to v in every step, the first included; threshold 100 is out of
    # reach: v = 64; 64 + 64 + 64 = 192; 192 + 32 + 64 = 288; 288 + 16 + 64 = 368.
    trace = cuba_trace([1, 0, 0, 0], threshold=100, current_decay=2048, bias=1)
    assert column(trace.v["n"]) == [64, 192, 288, 368]


def test_cuba_current_survives_the_reset():
    # Weight 4, no decay of u: u = 256 for ever once fed; threshold 1: v = 256 > 64 fires and restarts at 0 each step.
    trace = cuba_trace([1, 0, 0], 4, threshold=1, current_decay=0, delay=0)
    assert column(trace.v_peak["n"]) == [256, 256, 256]
    assert column(trace.spikes["n"]) == [1, 1, 1]


def test_cuba_bias_per_channel_and_layer_after_layer_adds_a_delay_each():
    # Layer a: bias (2, 0), threshold 1: channel 0 has v = 128 > 64 at every step. Layer b sees it one step late, weight 1:
    # v = 0, 64, 128 fires -> 0, 64.
    a = Layer("a", (Branch(Dense(np.zeros((2, 1)))),), Cuba(1, bias=np.array([2, 0])))
    b = Layer("b", (Branch(Dense(np.array([[1, 1]])), "a"),), Cuba(1))
    trace = run(Case(Network((1,), (a, b)), np.zeros((1, 1)), 4))
    assert trace.spikes["a"][:, 0].tolist() == [[1, 0]] * 4
    assert column(trace.v_peak["b"]) == [0, 64, 128, 64]
    assert column(trace.spikes["b"]) == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("inputs", "axes", "state"),
    [
        ([131072], {}, "u"),  # 64 * 2^17 = 2^23, one above the greatest 24-bit number
        ([-131073], {}, "u"),
        ([131071, 131071], {"threshold": 10**6}, "v"),
    ],
)
def test_cuba_outside_24_bits_is_unsupported(inputs, axes, state):
    with pytest.raises(Unsupported, match=f"{state} = .* outside 24 bits"):
        cuba_trace(inputs, **{"threshold": 1, "delay": 0, **axes})


def test_cuba_reaches_both_ends_of_24_bits():
    assert column(cuba_trace([-131072], threshold=1, delay=0).v["n"]) == [-(2**23)]
    assert column(cuba_trace([131071], threshold=1, delay=0).v_peak["n"]) == [2**23 - 64]


def test_cuba_takes_integers_only():
    with pytest.raises(NetworkError, match=r"'n': a Dense with weights that are no integers"):
        cuba_trace([1], 0.5, threshold=1)
    with pytest.raises(DataError, match=r"'input' hands on 0\.5"):
        cuba_trace([0.5], 2, threshold=1)
    with pytest.raises(NetworkError, match="bias"):
        cuba_trace([1], threshold=1, bias=0.5)
    with pytest.raises(NetworkError, match="a branch has a bias"):
        run(Case(one_neuron(Cuba(1), bias=1.0), np.ones((1, 1)), 2))
