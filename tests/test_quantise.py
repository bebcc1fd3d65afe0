"""Weights on a grid: by hand, refusals, codec; fine-tuning through it on the embedded models."""

import numpy as np
import pytest
import torch

from snnverify import content, zoo
from snnverify.activation import Relu
from snnverify.checks import select
from snnverify.convert import convert
from snnverify.errors import ConfigError, DataError, NetworkError, Unsupported
from snnverify.network import Branch, Conv, Dense, Layer, Network, Pool
from snnverify.oracles import get
from snnverify.quantise import Grid, QuantisedNetwork, quantise, quantise_weight
from snnverify.run import run
from snnverify.simulate import forward
from snnverify.zoo.activations import grid_of, static_int8
from snnverify.zoo.qat import FakeQuantise, Recipe, fine_tune_float, fine_tune_quantised
from snnverify.zoo.torchnet import TorchNetwork

INT4 = Grid("int4", per_channel=True)
POOLING = Layer("p", (Branch(Pool("sum", (2,))),), Relu())


@pytest.fixture(scope="module")
def digits():
    model = zoo.load_default("digits_mlp")
    return model, convert(model.module, model.train_x)


def test_by_hand():
    # max |w| = 3.5, Q = 7: s = 1/2. 1.25 / s = 2.5 ties to 2, 1.75 / s = 3.5 to 4, -0.25 / s = -0.5 to 0
    found = quantise_weight(Dense(np.array([[3.5, 1.25], [1.75, -0.25]])), Grid("int4"))
    assert (found.integers.tolist(), found.scale) == ([[7, 2], [4, 0]], 0.5)
    assert found.values.tolist() == [[3.5, 1.0], [2.0, 0.0]]
    assert found.memory_bits == 16
    # mean |w| = 13/8; the nearest power of two is 2 (1 is 5/8 off, 2 is 3/8)
    binary = quantise_weight(Dense(np.array([[3.5, 1.25, 0.0, -1.75]])), Grid("binary", power_of_two=True))
    assert binary.values.tolist() == [[2, 2, 2, -2]]


def test_groups_of_a_transposed_convolution():
    # [in 4, out / groups 1], 2 groups: outputs 0 and 1 see inputs (0, 1) and (2, 3)
    op = Conv(np.array([1.0, -7, 14, 70]).reshape(4, 1, 1), groups=2, transposed=True)
    found = quantise_weight(op, INT4)
    assert (found.scale.tolist(), found.integers.ravel().tolist()) == ([1, 10], [1, -7, 1, 7])


def test_tiny_and_silent_weights_stay_finite():
    for w in (5e-324, 1e-310, 0.0):
        for precision in ("int8", "int4", "binary"):
            found = quantise_weight(Dense(np.full((2, 2), w)), Grid(precision))
            assert np.isfinite(found.values).all()
            assert (np.abs(found.values - w) <= max(found.scale, 5e-324)).all()


def test_the_codec_keeps_it(digits, tmp_path):
    found = quantise(digits[1].snn, INT4)
    path = content.save(found, tmp_path / "net.npz")
    assert content.load(path, QuantisedNetwork) == found
    assert found.memory_bits == 4 * (64 * 128 + 128 * 64 + 64 * 10)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: Grid("int5"), ConfigError, "precision = 'int5': one of int8, int4, binary"),
        (lambda: quantise_weight(Dense(np.array([[np.nan]])), INT4), NetworkError, "NaN or infinity"),
        (lambda: quantise_weight(Dense(np.ones((2, 1))), INT4, np.ones(3)), NetworkError, r"scale of shape \(3,\)"),
        (lambda: quantise_weight(Dense(np.ones((1, 1))), Grid("int8"), 0.0), NetworkError, "above 0"),
        (lambda: quantise_weight(Pool("sum", (2,)), INT4), Unsupported, "Pool"),
        (
            lambda: quantise(Network((1, 4), (POOLING,)), INT4),
            Unsupported,
            "nothing",
        ),
    ],
)
def test_refusals(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_the_trained_module_is_the_network(digits):
    model, converted = digits
    cnn = convert(zoo.load_default("digits_cnn").module, model.train_x[:50]).ann
    for ann in (converted.ann, cnn):
        x = model.evaluation_x[:20].astype(float)
        with torch.no_grad():
            found = TorchNetwork(ann, torch.float64)(torch.tensor(x)).numpy()
        exact = forward(ann, x)[ann.output.name]
        # two orders of summation of some hundred products in float64
        assert np.abs(found - exact).max() < 2.0**-40 * np.abs(exact).max()
        assert TorchNetwork(ann, torch.float64).exported() == ann


@pytest.mark.parametrize("grid", [INT4, Grid("int8"), Grid("int4", True, True), Grid("binary", True)], ids=str)
def test_the_module_rounds_as_the_function(grid):
    w = np.random.default_rng(0).normal(size=(3, 5))
    made = quantise_weight(Dense(w), grid)
    s = torch.tensor(made.scale).reshape((-1, 1) if grid.per_channel else ())
    parts = FakeQuantise(grid, s)
    again = quantise_weight(Dense(w), grid, parts.scale.detach().numpy().reshape(made.scale.shape))
    assert np.array_equal(parts(torch.tensor(w)).detach().numpy(), again.values)
    assert np.allclose(again.scale, made.scale, rtol=2.0**-48)  # log2 and exp2, an ulp of the exponent each
    if grid.power_of_two:
        assert np.array_equal(again.scale, made.scale)


def test_scales_alone(digits):
    model, converted = digits
    found = fine_tune_quantised(
        converted.ann, model.train_x, model.train_y, INT4, train="scales", recipe=Recipe(epochs=2)
    )
    moved = []
    for layer, tuned in zip(converted.ann.layers, found.network.layers, strict=True):
        if isinstance(op := layer.branches[0].op, Dense):
            w = found.weights[f"{layer.name}.0"]
            assert np.array_equal(tuned.branches[0].op.bias, op.bias.astype(np.float32))  # as torch holds it
            exact = np.clip(np.rint(op.weight.astype(np.float32) / w.scale[:, None]), -7, 7)
            assert np.array_equal(w.integers, exact)  # the weights are the old ones
            moved.append(np.abs(w.scale / quantise_weight(op, INT4).scale - 1).max())
    assert min(moved) > 0.001


def test_weights_learn_and_seeds_decide(digits):
    model, converted = digits

    def tune(seed, **options):
        return fine_tune_quantised(converted.ann, model.train_x, model.train_y, Grid("int4"), seed=seed, **options)

    before = torch.get_num_threads(), torch.random.get_rng_state()
    ticks = []
    a = tune(1, progress=lambda done, todo: ticks.append((done, todo)))
    assert ticks == [(k, 5) for k in range(1, 6)]
    assert a == tune(1)
    assert a != tune(2)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])
    right = [np.mean(forward(n, model.train_x)[n.output.name].argmax(-1) == model.train_y)
             for n in (quantise(converted.ann, Grid("int4")).network, a.network)]  # fmt: skip
    assert right[1] > right[0]


def test_bad_training(digits):
    model, converted = digits
    with pytest.raises(ConfigError, match="one of scales, weights"):
        fine_tune_quantised(converted.ann, model.train_x, model.train_y, INT4, train="both")
    with pytest.raises(DataError, match="one integer class each"):
        fine_tune_quantised(converted.ann, model.train_x, model.train_y[:-1], INT4)
    with pytest.raises(DataError, match="lower the learning rate"):
        fine_tune_float(converted.ann, model.train_x * 1e30, model.train_y, recipe=Recipe(lr_weights=1e20))


def test_static_activations():
    model = zoo.load_default("digits_cnn")
    static, ranges = static_int8(model.module, model.train_x)
    assert set(ranges) == {"relu1", "relu2"}
    x = torch.tensor(model.evaluation_x[:50])
    seen = []
    static.relu1.register_forward_hook(lambda m, i, o: seen.append(o.numpy()))
    with torch.no_grad():
        static(x)
        plain = torch.relu(model.module.bn1(model.module.conv1(x))).numpy()
    r = ranges["relu1"]
    assert len(np.unique(seen[0])) <= 256
    inside = plain <= r.high
    assert np.abs(seen[0] - plain)[inside].max() <= r.scale * (0.5 + 2.0**-14)  # 255 steps in float32
    _, cut = static_int8(model.module, model.train_x, percentile=99.0)
    assert cut["relu1"].high < r.high
    again = static_int8(model.module, model.train_x, batch=7)[1]
    assert again == ranges


def test_static_activations_of_silu_hold_its_negative_part():
    net = torch.nn.Sequential(torch.nn.SiLU())
    r = static_int8(net, np.linspace(-4, 4, 101, dtype=np.float32)[:, None])[1]["0"]
    assert r.low == pytest.approx(-0.2785, abs=1e-3)  # the minimum of x / (1 + exp(-x))
    assert r.zero_point == round(-r.low / r.scale)


def test_static_activations_refuse():
    net = torch.nn.Sequential(torch.nn.ReLU())
    for options, error, said in (
        ({"percentile": 50.0}, ConfigError, "percentile"),
        ({"kinds": (torch.nn.SiLU,)}, Unsupported, "SiLU"),
    ):
        with pytest.raises(error, match=said):
            static_int8(net, np.ones((2, 1), np.float32), **options)
    with pytest.raises(DataError, match="no sample"):
        static_int8(net, np.ones((0, 1), np.float32))
    with pytest.raises(DataError, match="range"):
        static_int8(net, np.full((2, 1), np.nan, np.float32))
    with pytest.raises(DataError, match="range"):
        grid_of(1.0, 0.0)


def test_torchs_own_is_another_subject():
    found = get("snnverify.oracles.torch_ao:oracle")
    w, s = np.array([[-9.0, 2.5, 3.5]]), np.ones(1)
    q, y = found.operator("grid_weight")(w, s, "int4")
    assert (q.tolist(), y.tolist()) == ([[-7, 2, 4]], [[-7, 2, 4]])
    with pytest.raises(Unsupported, match="binary"):
        found.operator("grid_weight")(w, s, "binary")


@pytest.mark.parametrize("name", ["weights.nearest", "weights.straight_through", "weights.activations"])
def test_torchs_own_fake_quantisation_keeps_the_laws(name):
    (check,) = select(name)
    finding = run(check, get("snnverify.oracles.torch_ao:oracle"), examples=60, seed_value=3)
    assert (finding.outcome, finding.cases > 10) == ("pass", True), finding.explain()
