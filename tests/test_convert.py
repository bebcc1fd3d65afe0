"""Conversion of users' torch models: thresholds against numpy, networks against torch, laws, notes and refusals."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from snnverify.activation import Cuba, Neuron, Relu
from snnverify.content import load, save
from snnverify.convert import ConversionWarning, ConvertedNetwork, convert
from snnverify.errors import ConfigError, DataError, NetworkError, SnnverifyError, Unsupported
from snnverify.network import Branch, Conv, Dense, Layer, Network, Pool, Scale
from snnverify.simulate import forward
from snnverify.zoo.corpus.modules import Calls, randomise

SHAPE = (2, 6, 6)


def randn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def built(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model its seeded weights, which do not depend on what drew before, and put it in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            fan = p[0].numel() if p.ndim > 1 else 16
            p.copy_(torch.randn(p.shape, generator=generator) * (2 / fan) ** 0.5)
    return model.eval()


def ann_of(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return copy.deepcopy(model).double().eval()(torch.tensor(x, dtype=torch.float64)).numpy()


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


# ------------------------------------------------------------------------------------------------ topologies


def residual() -> nn.Module:
    return Calls(lambda m, x: m.fc(m.flat(m.act2(m.b(h := m.act1(m.a(x))) + h))), a=nn.Conv2d(2, 4, 3, padding=1),
                 act1=nn.ReLU(), b=nn.Conv2d(4, 4, 3, padding=1), act2=nn.ReLU(), flat=nn.Flatten(),
                 fc=nn.Linear(144, 3))  # fmt: skip


def grouped() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 9, 3, groups=3), nn.ReLU(),
                         nn.Conv2d(9, 9, 2, groups=9), nn.ReLU(), nn.Flatten(), nn.Linear(9, 3))  # fmt: skip


def transposed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.ReLU(),
                         nn.ConvTranspose2d(6, 2, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(50, 3))  # fmt: skip


def concatenated() -> nn.Module:
    def run(m, x):
        return m.fc(m.flat(m.act3(m.c(torch.cat([m.act1(m.a(x)), x, m.act2(m.b(x))], 1)))))

    return Calls(run, a=nn.Conv2d(2, 3, 1), act1=nn.ReLU(), b=nn.Conv2d(2, 2, 3, padding=1), act2=nn.ReLU(),
                 c=nn.Conv2d(7, 4, 3), act3=nn.ReLU(), flat=nn.Flatten(), fc=nn.Linear(64, 3))  # fmt: skip


def pooled_sum() -> nn.Module:
    def run(m, x):
        h = m.act1(m.a(x))
        return m.fc(m.flat(m.act2(m.b(h) + m.pool(h) + h)))

    return Calls(run, a=nn.Conv2d(2, 3, 3), act1=nn.ReLU(), b=nn.Conv2d(3, 3, 1), pool=nn.AvgPool2d(3, 1, 1),
                 act2=nn.ReLU(), flat=nn.Flatten(), fc=nn.Linear(48, 3))  # fmt: skip


def all_convolutional() -> nn.Module:
    """A global average of the last activation gives the classes: no weights come after its thresholds."""
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten())  # fmt: skip


def image_to_image() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AvgPool2d(2))


TOPOLOGIES = [lenet, residual, grouped, transposed, concatenated, pooled_sum, all_convolutional, image_to_image]


def uneven(factory: Callable[[], nn.Module]) -> nn.Module:
    """Weights whose channels differ widely in size, so that a factor on the wrong channel shows."""
    model = built(factory(), 3)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
                axis = 1 if isinstance(m, nn.ConvTranspose2d) else 0
                size = torch.logspace(-1, 0.5, m.weight.shape[axis])
                m.weight.mul_(size.reshape([-1 if a == axis else 1 for a in range(4)]))
    return model


@pytest.mark.parametrize("mode", ["max", "channel-wise"])
@pytest.mark.parametrize("factory", TOPOLOGIES, ids=lambda f: f.__name__)
def test_thresholds_balance_in_every_topology(factory: Callable[[], nn.Module], mode: str) -> None:
    model, x = uneven(factory), randn(8, *SHAPE, seed=5)
    y = ann_of(model, x)
    forms = {form: convert(model, x, mode=mode, form=form) for form in ("normalise", "balance")}
    for form, c in forms.items():
        # Without dynamics, the weights alone must compute what torch does: a ReLU for every neuron. Fewer than 2000
        # products and 10 layers: 2000 x 10 x 2^-53 = 2e-12.
        layers = [replace(v, act=Relu()) if isinstance(v.act, Neuron) else v for v in c.snn.layers]
        out = forward(Network(SHAPE, tuple(layers)), x)[c.snn.output.name]
        unit = c.units[c.snn.output.name]
        found = out * np.reshape(unit, (-1, *(1,) * (out.ndim - 2)) if np.ndim(unit) else ())
        np.testing.assert_allclose(found, y, rtol=0, atol=2e-12 * np.abs(y).max(), err_msg=form)
        if form == "normalise":
            assert all(np.all(theta == 1) for theta in c.thresholds.values())
    counts = {form: c.simulate(x, 64, dtype="float64").counts for form, c in forms.items()}
    for name, a in counts["normalise"].items():
        # The two forms are one network in two units; only a rounding can part them.
        assert (a != counts["balance"][name]).mean() < 1e-3, name
    if y.ndim == 2:
        two = np.sort(forms["normalise"].run(x, 64), 1)[:, -2:]
        clear = two[:, 1] - two[:, 0] > 1e-3 * np.abs(y).max()  # no tie that a rounding may decide
        assert clear.mean() > 0.5
        classes = [c.classify(x, 64)[clear].tolist() for c in forms.values()]
        assert classes[0] == classes[1]
    errors = [np.abs(forms["normalise"].run(x, steps) - y).max() / np.abs(y).max() for steps in (32, 512)]
    assert errors[1] < min(0.08, errors[0] / 2), errors


def test_a_module_used_again_beside_a_sum_of_three_has_a_name_of_its_own() -> None:
    """Reuse is named ``relu:2``, and so is the summand that pooling puts in front of a sum."""
    def run(m, x):
        return m.relu(m.a(m.relu(m.a(x) + m.b(x) + m.pool(m.first(m.a(x))))))

    conv = {k: nn.Conv2d(2, 2, 3, padding=1) for k in "ab"}
    model = built(Calls(run, **conv, pool=nn.AvgPool2d(3, 1, 1), first=nn.ReLU(), relu=nn.ReLU()))
    c = convert(model, X[:20], mode="max")
    y = ann_of(model, X[:20])
    assert np.abs(c.run(X[:20], 512) - y).max() < 0.1 * y.max()


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


# ------------------------------------------------------------------------------------------------ refusals

ANN = Network((2,), (Layer("r", (Branch(Dense(np.eye(2))),), Relu()), Layer("o", (Branch(Scale(), "r"),))))
TWO = np.ones((3, 2))
REFUSED = {
    "mode": ({"mode": "maximum"}, ConfigError, r"mode = 'maximum': one of max, NN\.N%.*channel-wise"),
    "mode empty": ({"mode": ""}, ConfigError, r"mode = ''"),
    "mode 1/0": ({"mode": "1/0"}, ConfigError, r"mode = '1/0'"),
    "percentile 0": ({"mode": "0%"}, ConfigError, r"mode = '0%': a percentile lies in \(0, 100\]"),
    "percentile 101": ({"mode": "101%"}, ConfigError, r"mode = '101%': a percentile lies in \(0, 100\]"),
    "percentile as a number": ({"mode": 99.9}, ConfigError, r"mode = 99\.9: a fraction.*; a percentile ends in %"),
    "fraction 0": ({"mode": 0}, ConfigError, r"mode = 0: a fraction"),
    "fraction nan": ({"mode": float("nan")}, ConfigError, r"mode = nan"),
    "v_init name": ({"v_init": "quarter"}, ConfigError, r"v_init = 'quarter': half, zero, or a fraction"),
    "v_init 1": ({"v_init": 1}, ConfigError, r"v_init = 1: .*\[0, 1\)"),
    "v_init negative": ({"v_init": -0.5}, ConfigError, r"v_init = -0\.5"),
    "v_init nan": ({"v_init": float("nan")}, ConfigError, r"v_init = nan"),
    "reset": ({"reset": "soft"}, ConfigError, r"reset = 'soft': one of subtract"),
    "form": ({"form": "scale"}, ConfigError, r"form = 'scale': one of normalise, balance"),
    "population": ({"population": "postive"}, ConfigError, r"population = 'postive': one of all, positive"),
    "readout": ({"readout": "spikes"}, ConfigError, r"readout = 'spikes': one of auto, membrane, count"),
    "nan": ({"calibration": [[1.0, np.nan]]}, DataError, "calibration set: it holds NaN or infinity; mend"),
    "infinity": ({"calibration": [[1.0, np.inf]]}, DataError, "calibration set: it holds NaN or infinity"),
    "empty": ({"calibration": np.ones((0, 2))}, DataError, "calibration set: it is empty; give at least one"),
}  # fmt: skip


@pytest.mark.parametrize("torch_model", [False, True], ids=["network", "torch"])
@pytest.mark.parametrize(("change", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(change: dict[str, object], error: type[Exception], message: str, torch_model: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval() if torch_model else ANN
    with pytest.raises(error, match=message) as e:
        convert(model, **({"calibration": TWO} | change))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("calibration", [np.ones((3, 5)), np.ones(2), np.ones((3, 2, 1))])
def test_a_calibration_set_of_another_shape_is_refused(calibration: object) -> None:
    for model in (ANN, nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()):
        with pytest.raises(SnnverifyError, match="shape") as e:
            convert(model, calibration)  # type: ignore[arg-type]
        assert "\n" not in str(e.value)
    with pytest.raises(DataError, match=r"calibration set of shape .*: \[N, \*shape\] with shape \(2,\)"):
        convert(ANN, calibration)  # type: ignore[arg-type]


def test_a_misspelt_population_is_refused_without_calibration_too() -> None:
    with pytest.raises(ConfigError, match="population = 'postive'"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convert(ANN, population="postive")  # type: ignore[arg-type]


def test_read_outs_that_contradict_the_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="readout = 'membrane': the ANN ends in an activation.*use count or auto"):
        convert(line(), [[1.0]], readout="membrane")
    assert convert(line(), [[1.0]], readout="count").readout == "count"
    assert convert(ANN, TWO, readout="membrane").readout == "membrane"


def test_what_cannot_spike_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="no ReLU-like activation to replace; convert a network with ReLU"):
        convert(nn.Linear(2, 2).eval(), TWO)
    with pytest.raises(Unsupported, match=r"no ReLU-like activation"):
        convert(nn.Linear(2, 2).eval(), TWO, readout="count")
    pool = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    with pytest.raises(Unsupported, match="2: max pooling has no spiking form; use average pooling"):
        convert(pool, X[:4])
    with pytest.raises(Unsupported, match="1: "):
        convert(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.ReLU()).eval(), TWO)
    for act in (Neuron(), Cuba(3)):
        half_spiking = Network((2,), (*ANN.layers, Layer("s", (Branch(Scale(), "r"),), act)))
        with pytest.raises(Unsupported, match="s: "), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            convert(half_spiking)


def test_the_input_shape_is_asked_for_where_nothing_tells_it() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()).eval()
    with pytest.raises(ConfigError, match=r"input_shape: neither .*; give input_shape=\(\.\.\.\)"):
        convert(model)
    with pytest.raises((NetworkError, DataError)):
        convert(model, X[:3], input_shape=(2, 5, 5))
    c = convert(lenet(), X[:3])
    with pytest.raises(DataError, match=r"x of shape \(3, 2, 6, 5\)"):
        c.run(X[:3, :, :, :5], 4)
    with pytest.raises(DataError, match="at least 1 time step"):
        c.classify(X[0], 0)


def test_names_of_inserted_layers_do_not_meet_those_of_the_network() -> None:
    conv = Conv(np.ones((1, 1, 1)))
    layers = [Layer("r", (Branch(conv), Branch(Scale()), Branch(Pool("average", (1,)))), Relu()),
              Layer("r:2", (Branch(conv, "r"),), Relu())]  # fmt: skip
    c = convert(Network((1, 2), tuple(layers)), np.ones((1, 1, 2)), mode="max", v_init="zero")
    assert c.run(np.full((1, 2), 0.25), 8).tolist() == [[0.75, 0.75]]
