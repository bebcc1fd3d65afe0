"""Conversion of users' torch models: thresholds against numpy, networks against torch, laws, notes and refusals."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch_models import ann_of, built

from snnverify.activation import Neuron
from snnverify.content import load, save
from snnverify.convert import ConversionWarning, ConvertedNetwork, convert
from snnverify.simulate import forward
from snnverify.zoo.corpus.modules import randomise

SHAPE = (2, 6, 6)


def randn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def lenet() -> nn.Module:
    return built(nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 8), nn.ReLU(),
        nn.Linear(8, 3),
    ))  # fmt: skip


def line(weight: float = 1.0) -> nn.Module:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
    nn.init.constant_(model[0].weight, weight)
    return model.eval()


X = randn(150, *SHAPE)


def activations(model: nn.Module) -> dict[str, np.ndarray]:
    """What every ReLU puts out on X, by torch's own hooks."""
    model, found = copy.deepcopy(model).double(), {}
    for name, m in model.named_modules():
        if isinstance(m, nn.ReLU):
            m.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out.detach().numpy().copy()}))
    model(torch.tensor(X))
    return found


def positive(a: np.ndarray) -> np.ndarray:
    return a[a > 0]


def channels(f: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], object]:
    return lambda a: [f(a[:, c]) if a[:, c].max() > 0 else 1 for c in range(a.shape[1])]  # a silent channel has 1


MODES = {
    "max": ({"mode": "max"}, np.max),
    "99.9%": ({}, lambda a: np.percentile(a, 99.9)),
    "90%": ({"mode": "90%"}, lambda a: np.percentile(a, 90)),
    "99.99 %": ({"mode": " 99.99% "}, lambda a: np.percentile(a, 99.99)),
    "100%": ({"mode": "100%"}, np.max),
    "positive": ({"mode": "75%", "population": "positive"}, lambda a: np.percentile(positive(a), 75)),
    "half": ({"mode": 0.5}, lambda a: a.max() / 2),
    "2/3": ({"mode": "2/3"}, lambda a: a.max() * 2 / 3),
    "one": ({"mode": 1}, np.max),
    "channel-wise": ({"mode": "channel-wise"}, channels(np.max)),
    "max per channel": ({"mode": "max", "per_channel": True}, channels(np.max)),
    "97% per channel": ({"mode": "97%", "per_channel": True}, channels(lambda a: np.percentile(a, 97))),
    "positive per channel": ({"mode": "60%", "per_channel": True, "population": "positive"},
                             channels(lambda a: np.percentile(positive(a), 60))),
}  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), MODES.values(), ids=MODES)
@pytest.mark.filterwarnings("error")
def test_thresholds_equal_numpy_on_torch_activations(options: dict[str, object], expected: Callable) -> None:
    model = lenet()
    measured = activations(model)
    assert [(a == 0).mean() > 0.2 for a in measured.values()] == [True] * 3
    balanced = convert(model, X, form="balance", **options)
    normalised = convert(model, X, **options)
    assert list(balanced.thresholds) == ["1", "3", "6"]
    for name, a in measured.items():
        # activations are rounded to float32: 2^-24 each, and twice that in an interpolation between two
        np.testing.assert_allclose(balanced.thresholds[name], expected(a), rtol=2.0**-22, atol=0)
        np.testing.assert_array_equal(balanced.thresholds[name], normalised.scales[name])
        np.testing.assert_array_equal(normalised.thresholds[name], 1)


def test_thresholds_do_not_depend_on_the_order_of_the_calibration_set() -> None:
    model, mixed = lenet(), X[np.random.default_rng(1).permutation(len(X))]
    for mode in ("max", "99.9%", "channel-wise"):
        a, b = (convert(model, x, mode=mode).scales for x in (X, mixed))
        assert all(np.array_equal(a[k], b[k]) for k in a)


def test_a_percentile_of_zero_falls_back_to_the_maximum() -> None:
    x = np.zeros((100, 1))
    x[:3] = [[0.25], [0.5], [0.75]]
    assert convert(line(), x, mode="90%").scales["1"] == 0.75
    assert convert(line(), x, mode="90%", population="positive").scales["1"] == pytest.approx(0.7, rel=2**-22)


def test_the_calibration_report_says_what_numpy_says() -> None:
    model = lenet()
    measured = activations(model)
    rows = convert(model, X, mode="95%").calibration_report()
    assert [r["layer"] for r in rows] == list(measured)
    for row, a in zip(rows, measured.values(), strict=True):
        theta = np.percentile(a, 95)
        expected = {"threshold": theta, "mean_rate": a.mean() / theta, "max_rate": a.max() / theta,
                    "p99.9_rate": np.percentile(a, 99.9) / theta, "saturated": (a > theta).mean(),
                    "dead_units": (a.max(0) == 0).sum(), "units": a[0].size}  # fmt: skip
        assert set(row) == {"layer", *expected}
        for key, value in expected.items():
            assert row[key] == pytest.approx(value, rel=1e-6), key


@pytest.mark.filterwarnings("error")
def test_a_channel_without_a_positive_activation_leaves_no_nan_in_the_report() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    rng = np.random.default_rng(0)
    for per_channel in (False, True):
        c = convert(model, rng.random((50, 2)), mode="90%", per_channel=per_channel, population="positive")
        (row,) = c.calibration_report()
        assert all(np.isfinite(v) for v in row.values() if not isinstance(v, str)), row
        assert row["dead_units"] == 1


# ------------------------------------------------------------------------------------------------ running what comes out


def test_a_single_sample_is_a_batch_of_one() -> None:
    c, batch = convert(lenet(), X, mode="max"), X[:3]
    y = c.run(batch, 20)
    assert y.shape == (3, 3)
    assert c.classify(batch, 20).tolist() == y.argmax(1).tolist()
    for n in range(3):
        np.testing.assert_array_equal(c.run(X[n], 20), c.run(X[n : n + 1], 20)[0])
        assert c.classify(X[n], 20).shape == ()
        assert c.classify(X[n], 20) == c.classify(batch[n : n + 1], 20)[0]
    assert c.run(X[0].tolist(), 20).shape == (3,)
    trace = c.simulate(X[0], 5)
    assert {k: v.shape[:2] for k, v in trace.v.items()} == dict.fromkeys(("1", "3", "6"), (5, 1))
    assert c.simulate(batch, 5, record="counts").spikes == {}


def test_a_given_train_has_time_first() -> None:
    c = convert(line(), np.ones((1, 1)), v_init="zero")
    train = np.array([1, 0, 1, 1])[:, None, None]  # [T, N, 1]
    np.testing.assert_array_equal(c.run(train, 4, encoding="spikes"), [[0.75]])
    np.testing.assert_array_equal(c.run(train[:, 0], 4, encoding="spikes"), [0.75])
    assert c.simulate(train[:, 0], 4, encoding="spikes").spikes["1"].ravel().tolist() == [1, 0, 1, 1]
    rate = c.run([0.25], 2000, encoding="poisson", seed=1)
    assert abs(rate[0] - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 2000)
    assert c.run([0.25], 2000, encoding="poisson", seed=2) != rate


def test_the_read_out_is_in_the_units_of_the_ann() -> None:
    """Input 1/2, weight 3, threshold 6: a rate of 1/4 counts 6/4 = 3/2, whichever way the weights are scaled."""
    for form in ("normalise", "balance"):
        c = convert(line(3.0), [[2.0]], mode="max", v_init="zero", form=form)
        assert (c.readout, c.scales["1"]) == ("count", 6)
        assert c.run([0.5], 16).tolist() == [1.5]
        linear = nn.Sequential(*line(3.0), nn.Linear(1, 1, bias=False))
        nn.init.constant_(linear[2].weight, -2.0)
        c = convert(linear, [[2.0]], mode="max", v_init="zero", form=form)
        assert (c.readout, list(c.thresholds)) == ("membrane", ["1"])
        assert c.run([0.5], 16).tolist() == [-3]
        counted = convert(linear, [[-1.0], [2.0]], mode="max", v_init="zero", form=form, readout="count")
        assert (counted.readout, list(counted.thresholds)) == ("count", ["1", "2"])
        assert counted.run([0.5], 16).tolist() == [0]  # a count is never negative


@pytest.mark.parametrize(("v_init", "bound"), [("zero", 1), ("half", 0.5), (0.25, 0.75), (0.875, 0.875)])
@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_the_rate_of_one_neuron_is_within_its_law(v_init: str | float, bound: float, weight: float) -> None:
    """|r - clip(x)| <= max(v_0, 1 - v_0) / T: all potentials are multiples of 2^-10 and exact in float32."""
    steps, x = 128, np.arange(-205, 1230)[:, None] / 1024
    c = convert(line(weight), np.ones((1, 1)), mode="max", v_init=v_init)
    error = np.abs(c.run(x, steps) / weight - np.clip(x, 0, 1)).max()
    assert error <= bound / steps
    assert error >= bound / steps - 1 / 1024


def test_a_hard_reset_fires_with_period_ceil_theta_over_x() -> None:
    x = np.arange(1, 17) / 16
    c = convert(line(), np.ones((1, 1)), mode="max", v_init="zero", reset="value")
    assert c.run(x[:, None], 240).ravel().tolist() == [240 // math.ceil(1 / v) / 240 for v in x]


@pytest.mark.parametrize("form", ["normalise", "balance"])
def test_the_template_of_the_neuron_is_carried_with_its_leak(form: str) -> None:
    template = Neuron(leak=0.75, fires=">", v_floor=-0.5, theta=9.0, amplitude=9.0, v_init=9.0, reset="value")
    x = np.arange(-4, 25)[:, None] / 8
    c = convert(line(2.0), [[2.0]], mode="max", v_init="zero", neuron=template, form=form)
    act = c.snn["1"].act
    assert isinstance(act, Neuron)
    assert (act.leak, act.fires, act.reset, act.v_init) == (0.75, ">", "subtract", 0)
    expected = []
    for z in (x / 2).ravel():  # in units of the threshold, which is 4
        v, spikes = 0.0, 0
        for _ in range(24):
            v = max(0.75 * v + z, -0.5)
            spikes += v > 1
            v -= v > 1
        expected.append(spikes)
    assert c.simulate(x, 24, dtype="float64").counts["1"].ravel().tolist() == expected
    assert 0 in expected[8:]  # a leak keeps small inputs silent
    assert 24 in expected


# ------------------------------------------------------------------------------------------------ notes


def test_without_calibration_every_threshold_is_one_and_a_warning_says_so() -> None:
    with pytest.warns(ConversionWarning, match="no calibration set: every threshold is 1; give one") as caught:
        c = convert(lenet(), input_shape=SHAPE)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert all(np.all(v == 1) for v in (*c.thresholds.values(), *c.scales.values()))
    assert any("no calibration set" in n for n in c.notes)
    with pytest.warns(ConversionWarning):
        assert convert(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval()).snn.input_shape == (3,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert convert(lenet(), X[:5]).notes == ()


def test_a_model_in_training_mode_is_noted_and_left_as_it_is() -> None:
    model = randomise(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
                                    nn.Linear(48, 2)))  # fmt: skip
    model.train()
    before = copy.deepcopy(model.state_dict())
    c = convert(model, X[:20], mode="max")
    assert any("training mode" in n for n in c.notes)
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    y = ann_of(model, X[:20])  # in eval mode: no dropout, running statistics
    np.testing.assert_allclose(forward(c.ann, X[:20])[c.ann.output.name], y, atol=1e-12 * np.abs(y).max())


def test_an_unfolded_batch_normalisation_is_noted_with_its_cost() -> None:
    model = randomise(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5),
                                    nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)))  # fmt: skip
    c = convert(model.eval(), X[:20], mode="max", fold_batchnorm=False)
    (note,) = c.notes
    assert "batch normalisation not folded (1, 5)" in note
    assert f"{3 * 4 * 4 + 5} analog multiply-adds" in note
    assert c.options["fold_batchnorm"] == "False"
    folded = convert(model, X[:20], mode="max")
    assert folded.notes == ()
    assert [{"1", "5"} & {v.name for v in n.layers} for n in (c.snn, folded.snn)] == [{"1", "5"}, set()]
    y = ann_of(model, X[:20])
    for converted in (c, folded):
        assert np.abs(converted.run(X[:20], 512) - y).max() < 0.05 * np.abs(y).max()


def test_a_layer_that_the_calibration_set_leaves_silent_is_noted() -> None:
    c = convert(line(), [[-1.0], [0.0]])
    assert any("silent on the calibration set: 1" in n for n in c.notes)
    assert c.scales["1"] == 1


def test_save_and_load(tmp_path: Path) -> None:
    c = convert(lenet(), X[:30], mode="channel-wise")
    back = load(save(c, tmp_path / "c.npz"), ConvertedNetwork)
    assert back.digest == c.digest
    np.testing.assert_array_equal(back.run(X[:4], 16), c.run(X[:4], 16))
    assert (back.options, back.notes, back.calibration_report()) == (c.options, c.notes, c.calibration_report())
    assert convert(lenet(), X[:30]) != c


def test_a_long_run_goes_tile_by_tile_and_changes_nothing() -> None:
    x = np.random.default_rng(3).integers(0, 9, (600, 2)) / 8
    net = convert(built(nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3))), x, mode="max")
    whole = net.outputs(net.simulate(x, 8, record="counts"))[-1]
    assert np.array_equal(net.run(x, 8), whole)
    rates = x / x.max()
    drawn = net.outputs(net.simulate(rates, 8, record="counts", encoding="poisson", seed=5))[-1]
    assert np.array_equal(net.run(rates, 8, encoding="poisson", seed=5), drawn)
