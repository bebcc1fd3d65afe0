"""Loihi's numbers, blocks and conversions: what the drawn laws of room ``blocks`` do not reach."""

import runpy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from snnverify import reference
from snnverify.activation import Cuba, Neuron
from snnverify.convert import convert
from snnverify.errors import ConfigError, DataError, NetworkError, Unsupported
from snnverify.loihi import (
    average,
    chain,
    conv,
    decay_mantissa,
    dense,
    flatten,
    lava_blocks,
    lava_cuba,
    loihi_weights,
    named,
    optimize_weights,
    pool,
    quantize_8bit,
    threshold_mantissa,
    to_tnx,
    weight_mantissa,
)
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.simulate import run
from snnverify.trace import Case

HARD = Neuron(reset="value")


def one(op, act, shape):
    return Network(shape, (Layer("y", (Branch(op),), act),))


def test_ties_between_two_points_go_to_even_multiples():
    # of scale 64 the grid is k / 32: 1/64 lies between 0 and 1, 3/64 between 1 and 2
    assert np.array_equal(quantize_8bit(np.array([1, 3, 5, -1, -3]) / 64, 64) * 32, [0, 2, 2, 0, -2])
    assert np.array_equal(weight_mantissa([-9.0, 9.0], 64), [-256, 254])


def test_a_scale_that_is_no_power_of_two_is_exact():
    # 0.1 in float32 is above 1/10: of scale 10 its half step 0.5 is passed, and it goes to k = 1
    w = float(np.float32(0.1))
    assert Fraction(w) > Fraction(1, 10)
    assert weight_mantissa(w, 10) == 2
    assert weight_mantissa(float(np.nextafter(np.float32(0.1), np.float32(0))), 10) == 0


def test_decays_are_rounded_as_slayer_keeps_them():
    assert [decay_mantissa(k / 4096) for k in (0.5, 1.5, 2.5, 4095.5)] == [0, 2, 2, 4096]
    assert (decay_mantissa(-0.1), decay_mantissa(1.1), decay_mantissa(1)) == (0, 4096, 4096)
    assert decay_mantissa((0.5 + 2**-40) / 4096) == 0  # in float32 a tie
    assert np.array_equal(decay_mantissa(np.array([0.25, 1 / 3])), [1024, 1365])


def test_thresholds_are_truncated():
    assert [threshold_mantissa(t) for t in (0, 1, 1.99 / 64, 2 / 64)] == [0, 64, 1, 2]
    assert np.array_equal(threshold_mantissa(np.array([1.0, 0.5])), [64, 32])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: weight_mantissa([np.nan]), "weight holds NaN"),
        (lambda: weight_mantissa([1.0], 0), "scale = 0"),
        (lambda: weight_mantissa([1.0], 0.5), "scale = 0.5"),
        (lambda: threshold_mantissa(-1), "threshold = -1"),
        (lambda: decay_mantissa(np.nan), "decay"),
        (lambda: loihi_weights([0.5]), "fractions"),
        (lambda: loihi_weights([1], 9), "bits = 9"),
        (lambda: loihi_weights([1], 8, "positive"), "sign_mode = 'positive'"),
        (lambda: optimize_weights([201, -3]), "even numbers"),
        (lambda: named("recurrent", {}), "block = 'recurrent'"),
        (lambda: named("dense", {"treshold": 1}, np.eye(2)), "treshold"),
        (lambda: conv(np.ones((1, 1, 2, 2)), threshold=1, stride=(1, 1, 1)), "stride"),
        (lambda: average(5, 2), "num_outputs = 2"),
        (lambda: to_tnx(np.zeros(3)), "axis of samples"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises((ConfigError, DataError, NetworkError, Unsupported), match=words) as e:
        call()
    assert "\n" not in str(e.value)


def test_a_chain_is_named_by_place():
    weight = np.full((2, 1, 1, 1), 1.0)
    made = chain(
        (1, 4, 4), [conv(weight, threshold=1), pool(2, threshold=0.5), flatten(), dense(np.ones((2, 8)), threshold=1)]
    )
    assert [v.name for v in made.layers] == ["0", "1.sum", "1", "2", "3"]
    assert [v.branches[0].source for v in made.layers] == ["input", "0", "1.sum", "1", "2"]
    assert made["1"].act == Cuba(32, delay=1)
    assert made["1"].branches[0].op == Scale(64.0)


def test_kept_ties_fire_as_the_source_does():
    # weights 1/2: the potential meets the threshold of 1 exactly, in every second step
    source = one(Dense(np.array([[0.5]])), HARD, (1,))
    x = np.ones((6, 1, 1))
    spikes = reference.run(Case(source, x, 6, "spikes")).spikes["y"].ravel()
    assert np.array_equal(spikes, [0, 1, 0, 1, 0, 1])
    kept, strict = (lava_blocks(source, ties=t) for t in ("keep", "strict"))
    assert np.array_equal(run(Case(kept, x, 6, "spikes", kind="integer")).spikes["y"].ravel(), spikes)
    assert np.array_equal(run(Case(strict, x, 6, "spikes", kind="integer")).spikes["y"].ravel(), [0, 0, 1, 0, 0, 1])
    with pytest.raises(Unsupported, match="leaky"):
        lava_cuba(replace(HARD, leak=0.5), ties="keep")


def test_a_bias_of_the_chips_neuron_is_not_that_of_the_operation():
    """0.5 a step meets a threshold of 1 in every second one; on a chip the input comes a step late, and a bias does not."""
    source = one(Dense(np.array([[0.0]]), np.array([0.5])), HARD, (1,))
    x = np.zeros((6, 1, 1))
    spikes = reference.run(Case(source, x, 6, "spikes")).spikes["y"].ravel()
    assert np.array_equal(spikes, [0, 1, 0, 1, 0, 1])
    (layer,) = lava_blocks(one(Dense(np.array([[0.0]])), HARD, (1,)), ties="keep", delay=1).layers
    biased = one(layer.branches[0].op, replace(layer.act, bias=32), (1,))  # 32 of 64 mantissas
    late = reference.run(Case(biased, x, 6, "spikes", kind="integer")).spikes["y"].ravel()
    assert not np.array_equal(late[1:], spikes[:-1])  # as all else that is written arrives
    with pytest.raises(Unsupported, match="a block adds no bias"):
        lava_blocks(source, ties="keep", delay=1)


@pytest.mark.parametrize("theta", [1.3, 83 / 64, 1 / 64, 0.999])
def test_kept_ties_hold_for_any_threshold(theta):
    act = replace(HARD, theta=theta)
    weights = np.arange(1, 100)[:, None] * 2 / 64
    source = one(Dense(weights), act, (1,))
    x = np.ones((3, 1, 1))
    exact = reference.run(Case(source, x, 3, "spikes")).spikes["y"]
    made = lava_blocks(source, ties="keep")
    assert np.array_equal(run(Case(made, x, 3, "spikes", kind="integer")).spikes["y"], exact)


def test_thresholds_differ_by_channel():
    act = replace(HARD, theta=np.array([1.0, 2.0]))
    assert np.array_equal(lava_cuba(act).threshold, [64, 128])
    pooled = lava_blocks(one(Pool("average", (3, 3)), act, (2, 3, 3)))
    assert np.array_equal(pooled["y"].act.threshold, [64 * 9, 2 * 64 * 9])


def test_a_synaptic_current_is_loihis():
    assert lava_cuba(replace(HARD, syn_decay=0.75)).current_decay == 1024


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (one(Conv(np.ones((1, 1, 2))), HARD, (1, 4)), "2 axes"),
        (one(Conv(np.ones((1, 1, 2, 2)), padding=((1, 0), (0, 0))), HARD, (1, 4, 4)), "padding"),
        (one(Conv(np.ones((1, 1, 2, 2)), transposed=True), HARD, (1, 4, 4)), "transposed"),
        (one(Scale(2.0), HARD, (2,)), "Scale"),
        (one(Flatten(), HARD, (1, 2, 2)), "Flatten has no neurons"),
        (one(Pool("average", (2, 2)), HARD, (1, 3, 4)), "leaves a rest"),
        (one(Dense(np.array([[5.0]])), HARD, (1,)), r"y.weight.*scale = 50 or less"),
        (one(Dense(np.array([[1.0]])), replace(HARD, theta=4000.0), (1,)), "y.theta.*17 bits"),
        (one(Dense(np.array([[1.0]])), Cuba(1), (1,)), "not in Cuba"),
    ],
)
def test_what_no_block_holds_is_refused_by_name(network, words):
    with pytest.raises(Unsupported, match=words) as e:
        lava_blocks(network)
    assert e.value.remedy


def test_a_torch_model_goes_all_the_way():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, padding=1, bias=False), torch.nn.ReLU(), torch.nn.AvgPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(8, 3, bias=False),
    )  # fmt: skip
    x = np.random.default_rng(0).random((16, 1, 4, 4))
    spiking = convert(model, x, reset="value", v_init="zero", pool_neurons=True).snn
    made = lava_blocks(spiking)
    assert [type(v.act) for v in made.spiking] == [Cuba, Cuba]
    assert made.output.act is None
    trains = (np.random.default_rng(1).random((20, 3, 1, 4, 4)) < 0.5).astype(float)
    counts = run(Case(made, trains, 20, "spikes", kind="integer")).counts
    assert all(c.sum() > 0 for c in counts.values())


def test_the_example_runs(tmp_path, capsys):
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "lava_blocks.py"))
    example["main"](tmp_path / "blocks.net")
    out = capsys.readouterr().out
    assert "refused: 1.v_init" in out
    assert out.endswith("3 steps late, the same outputs: True\n")
