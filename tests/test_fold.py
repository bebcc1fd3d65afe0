"""Folding keeps the values and removes the layers; what it cannot fold it names."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from snnverify.activation import Relu
from snnverify.convert.fold import fold, fold_batchnorm
from snnverify.errors import NetworkError, Unsupported
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale
from snnverify.simulate import forward


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def chain(input_shape: tuple[int, ...], *steps: tuple[str, Op, Relu | None]) -> Network:
    """Layers one after the other."""
    names = ["input", *(name for name, _, _ in steps)]
    pairs = zip(pairwise(names), steps, strict=True)
    return Network(
        input_shape, tuple(Layer(name, (Branch(op, source),), act) for (source, name), (_, op, act) in pairs)
    )


def assert_same_values(a: Network, b: Network) -> None:
    x = rng().normal(size=(5, *a.input_shape))
    expected, found = forward(a, x)[a.output.name], forward(b, x)[b.output.name]
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def conv(o: int, i: int, k: int, **kw: object) -> Conv:
    return Conv(rng().normal(size=(o, i, k, k)), rng().normal(size=o), **kw)  # type: ignore[arg-type]


def bn(c: int) -> Scale:
    return Scale(rng().normal(size=c), rng().normal(size=c) + 1)


def test_batchnorm_by_hand() -> None:
    # gamma / sqrt(var + eps) = 6 / sqrt(3.75 + 0.25) = 3 and -1 / sqrt(0 + 0.25) = -2;
    # b' = 3 (1 - 2) + 5 = 2 and -2 (0 - 4) - 1 = 7
    w, b = fold_batchnorm(np.array([[2.0, 4.0], [1.0, -3.0]]), np.array([1.0, 0.0]), np.array([6.0, -1.0]),
                          np.array([5.0, -1.0]), np.array([2.0, 4.0]), np.array([3.75, 0.0]), 0.25)  # fmt: skip
    np.testing.assert_array_equal(w, [[6.0, 12.0], [-2.0, 6.0]])
    np.testing.assert_array_equal(b, [2.0, 7.0])


def test_batchnorm_without_affine_and_bias() -> None:
    w, b = fold_batchnorm(np.array([[3.0]]), None, None, None, np.array([6.0]), np.array([8.0]), 1.0)
    assert (w.item(), b.item()) == (1.0, -2.0)  # 3 / sqrt(9), -6 / 3


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 2, 3)])
def test_batchnorm_as_torch_fuses_it(shape: tuple[int, ...]) -> None:
    r = rng()
    w, b, gamma, beta, mean = r.normal(size=shape), *r.normal(size=(4, 4))
    var = r.uniform(0.1, 2, 4)
    w_t, b_t, gamma_t, beta_t, mean_t, var_t = (torch.tensor(v) for v in (w, b, gamma, beta, mean, var))
    fuse = fuse_linear_bn_weights if len(shape) == 2 else fuse_conv_bn_weights
    expected = fuse(w_t, b_t, mean_t, var_t, 1e-3, gamma_t, beta_t)
    for found, wanted in zip(fold_batchnorm(w, b, gamma, beta, mean, var, 1e-3), expected, strict=True):
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-14, atol=1e-15)


def test_batchnorm_of_a_grouped_transposed_convolution() -> None:
    r = rng()
    w, b, (gamma, beta, mean) = r.normal(size=(4, 3, 2, 2)), r.normal(size=6), r.normal(size=(3, 6))
    var, x = r.uniform(0.1, 2, 6), r.normal(size=(2, 4, 3, 3))
    w2, b2 = fold_batchnorm(w, b, gamma, beta, mean, var, 1e-3, transposed=True, groups=2)
    t = torch.tensor
    y = torch.conv_transpose2d(t(x), t(w), t(b), stride=2, groups=2)
    expected = torch.nn.functional.batch_norm(y, t(mean), t(var), t(gamma), t(beta), eps=1e-3)
    found = torch.conv_transpose2d(t(x), t(w2), t(b2), stride=2, groups=2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_a_variance_that_is_not_positive() -> None:
    one = np.ones(2)
    with pytest.raises(NetworkError, match="channel 1"):
        fold_batchnorm(np.ones((2, 2)), None, one, one, one, np.array([1.0, -1e-5]), 1e-5)


def test_conv_bn_relu_is_one_layer() -> None:
    net = chain((2, 5, 5), ("conv", conv(3, 2, 3), None), ("bn", bn(3), None), ("relu", Scale(1.0), Relu()))
    folded = fold(net)
    assert [(layer.name, type(layer.branches[0].op)) for layer in folded.layers] == [("relu", Conv)]
    assert_same_values(net, folded)


def test_a_residual_sum_takes_over_both_branches_and_adds_the_offset_once() -> None:
    layers = (
        Layer("stem", (Branch(conv(2, 2, 1)),), Relu()),
        Layer("conv", (Branch(conv(2, 2, 3, padding=((1, 1), (1, 1))), "stem"),)),
        Layer("add", (Branch(Scale(1.0), "conv"), Branch(Scale(0.5, 3.0), "stem"))),
        Layer("bn", (Branch(bn(2), "add"),)),
        Layer("relu", (Branch(Scale(1.0), "bn"),), Relu()),
    )
    net = Network((2, 4, 4), layers)
    folded = fold(net)
    assert [layer.name for layer in folded.layers] == ["stem", "relu"]
    assert [type(b.op) for b in folded["relu"].branches] == [Conv, Scale]
    assert_same_values(net, folded)


def test_a_source_that_is_read_twice_stays() -> None:
    layers = (
        Layer("fc", (Branch(Dense(rng().normal(size=(3, 3)))),)),
        Layer("bn", (Branch(bn(3), "fc"),)),
        Layer("relu", (Branch(Scale(1.0), "bn"),), Relu()),
        Layer("out", (Branch(Dense(rng().normal(size=(3, 3))), "relu"), Branch(Scale(1.0), "fc"))),
    )
    net = Network((3,), layers)
    folded = fold(net)
    assert [layer.name for layer in folded.layers] == ["fc", "relu", "out"]
    assert isinstance(folded["relu"].branches[0].op, Scale)
    assert_same_values(net, folded)


@pytest.mark.parametrize("pool", [
    Pool("average", (2, 1)), Pool("sum", (2, 2)), Pool("average", (2, 2), padding=(1, 1), count_include_pad=False),
])  # fmt: skip
def test_bn_after_an_activation_goes_past_pooling_and_flattening_into_the_weights(pool: Pool) -> None:
    stem = chain((2, 4, 3), ("relu", Scale(1.0), Relu()), ("pool", pool, None))
    units = int(np.prod(stem.shapes["pool"]))
    net = chain(
        (2, 4, 3), ("relu", Scale(1.0), Relu()), ("bn", bn(2), None), ("pool", pool, None), ("flat", Flatten(), None),
        ("fc", Dense(rng().normal(size=(3, units))), None),
    )  # fmt: skip
    folded = fold(net)
    assert [layer.name for layer in folded.layers] == ["relu", "pool", "flat", "fc"]
    assert folded["pool"].branches[0].op == pool
    assert_same_values(net, folded)


@pytest.mark.parametrize("op", [
    Dense(np.arange(6.0).reshape(2, 3)), Conv(np.arange(24.0).reshape(2, 3, 2, 2), stride=(2, 2)), Scale(2.0, 1.0),
    Conv(np.arange(24.0).reshape(6, 1, 2, 2), np.arange(6.0), groups=3),
])  # fmt: skip
@pytest.mark.parametrize("scale", [Scale(np.array([2.0, -1.0, 0.5]), np.array([1.0, 2.0, 3.0])), Scale(-0.5, 2.0),
                                   Scale(np.array([2.0, -1.0, 0.5]))])  # fmt: skip
def test_forward_into_each_operation(op: Op, scale: Scale) -> None:
    shape = (3,) if isinstance(op, Dense) else (3, 5, 5)
    net = chain(shape, ("relu", Scale(1.0), Relu()), ("bn", scale, None), ("op", op, None))
    folded = fold(net)
    assert [layer.name for layer in folded.layers] == ["relu", "op"]
    assert_same_values(net, folded)


@pytest.mark.parametrize("op", [
    Conv(np.arange(24.0).reshape(4, 3, 2), padding=((1, 0),), groups=1),
    Conv(np.arange(24.0).reshape(4, 3, 2), stride=(2,), groups=2, transposed=True),
    Pool("average", (3,), (1,), (1,)),
])  # fmt: skip
def test_a_border_lets_a_factor_through_but_not_an_offset(op: Conv | Pool) -> None:
    channels = 4 if isinstance(op, Conv) and op.transposed else 3
    factor = np.arange(1.0, channels + 1)
    last = () if isinstance(op, Conv) else (("flat", Flatten(), None), ("fc", Dense(np.ones((1, 15))), None))
    steps = [(("relu", Scale(1.0), Relu()), ("bn", Scale(factor, offset), None), ("op", op, None), *last)
             for offset in (None, np.zeros(channels), factor)]  # fmt: skip
    for allowed in steps[:2]:
        net = chain((channels, 5), *allowed)
        assert "bn" not in {layer.name for layer in fold(net).layers}
        assert_same_values(net, fold(net))
    net = chain((channels, 5), *steps[2])
    with pytest.raises(Unsupported, match=r"^bn: .*fold_batchnorm=False"):
        fold(net)
    assert fold(net, frozenset({"bn"})) == net


@pytest.mark.parametrize(("factor", "folds"), [(2.0, True), (-2.0, False)])
def test_max_pooling_lets_positive_factors_through(factor: float, folds: bool) -> None:
    net = chain((1, 4), ("relu", Scale(1.0), Relu()), ("bn", Scale(factor, 1.0), None), ("pool", Pool("max", (2,)), None),
                ("conv", Conv(np.ones((1, 1, 2))), None))  # fmt: skip
    if folds:
        assert [layer.name for layer in fold(net).layers] == ["relu", "pool", "conv"]
        assert_same_values(net, fold(net))
    else:
        with pytest.raises(Unsupported, match=r"^bn: .*negative"):
            fold(net)


def test_a_scale_with_several_readers_goes_into_all_of_them() -> None:
    pool = Pool("average", (2,))
    layers = (
        Layer("relu", (Branch(Scale(1.0)),), Relu()),
        Layer("bn", (Branch(bn(2), "relu"),)),
        Layer("a", (Branch(pool, "bn"),)),
        Layer("b", (Branch(pool, "bn"), Branch(Conv(rng().normal(size=(2, 2, 1)), stride=(2,)), "bn"))),
        Layer("c", (Branch(pool, "bn"),)),
        Layer("fa", (Branch(Flatten(), "a"),)),
        Layer("sum", (Branch(Scale(1.0), "b"), Branch(Scale(2.0), "c"), Branch(Conv(np.ones((2, 2, 1))), "a")), Relu()),
        Layer("fs", (Branch(Flatten(), "sum"),)),
        Layer("out", (Branch(Dense(rng().normal(size=(2, 4))), "fs"), Branch(Dense(rng().normal(size=(2, 4))), "fa"))),
    )
    net = Network((2, 4), layers)
    folded = fold(net)
    analog = [v.name for v in folded.layers if v.act is None and any(isinstance(b.op, Scale) for b in v.branches)]
    assert analog == []
    assert_same_values(net, folded)


def test_a_scale_as_output_stays_the_output() -> None:
    net = chain((3,), ("relu", Scale(1.0), Relu()), ("bn", bn(3), None))
    assert fold(net) == net


def test_fold_is_a_projection_and_leaves_its_argument() -> None:
    net = chain((2, 5, 5), ("conv", conv(3, 2, 3), None), ("bn", bn(3), None), ("relu", Scale(1.0), Relu()))
    before = net.digest
    assert fold(fold(net)) == fold(net)
    assert Network(net.input_shape, net.layers).digest == before


def test_kept_layers_stay_but_what_is_around_them_folds() -> None:
    net = chain((2, 5, 5), ("conv", conv(3, 2, 3), None), ("bn", bn(3), None), ("twice", Scale(2.0), None),
                ("relu", Scale(1.0), Relu()))  # fmt: skip
    folded = fold(net, frozenset({"bn"}))
    assert [layer.name for layer in folded.layers] == ["conv", "bn", "relu"]
    assert folded["bn"] == net["bn"]
    assert_same_values(net, folded)
