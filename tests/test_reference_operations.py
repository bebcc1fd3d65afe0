"""The exact operations against torch in float64 on dyadic numbers, where both are exact: equality has no tolerance."""

import math
from fractions import Fraction as Fr

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from snnverify.activation import Relu
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.reference import connections, forward, run
from snnverify.trace import Case


@pytest.fixture
def dyadic():
    rng = np.random.default_rng(5)  # one per test: no draw depends on which tests ran before
    return lambda *shape: rng.integers(-40, 41, shape) / 8


def value(op, x):
    return forward(Network(x.shape[1:], (Layer("y", (Branch(op),)),)), x)["y"]


def t(array):
    return torch.from_numpy(np.asarray(array, np.float64))


CONVS = {
    "1d": ((2, 3, 7), (4, 3, 3), {}),
    "1d-stride-pad-dilation": ((1, 2, 9), (3, 2, 3), {"stride": (2,), "padding": (2,), "dilation": (2,)}),
    "2d": ((2, 2, 5, 4), (3, 2, 3, 2), {}),
    "2d-all": ((1, 4, 6, 5), (6, 2, 2, 3), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}),
    "2d-depthwise": ((1, 3, 4, 4), (6, 1, 3, 3), {"padding": (1, 1), "groups": 3}),
}


@pytest.mark.parametrize(("x_shape", "w_shape", "options"), CONVS.values(), ids=CONVS)
def test_conv_equals_torch(x_shape, w_shape, options, dyadic):
    x, w, b = dyadic(*x_shape), dyadic(*w_shape), dyadic(w_shape[0])
    expected = {3: F.conv1d, 4: F.conv2d}[x.ndim](t(x), t(w), t(b), **options).numpy()
    ours = {**options, "padding": tuple((p, p) for p in options.get("padding", ()))}
    np.testing.assert_array_equal(value(Conv(w, b, **ours), x), expected)


def test_conv_with_padding_before_and_after(dyadic):
    x, w = dyadic(1, 2, 4, 5), dyadic(3, 2, 3, 2)
    expected = F.conv2d(F.pad(t(x), (3, 0, 1, 2)), t(w), stride=2).numpy()  # torch pads the last axis first
    np.testing.assert_array_equal(value(Conv(w, stride=(2, 2), padding=((1, 2), (3, 0))), x), expected)


TRANSPOSED = {
    "1d": ((2, 3, 4), (3, 2, 3), {}),
    "1d-all": ((1, 4, 5), (4, 3, 3), {"stride": (3,), "padding": (2,), "output_padding": (2,), "dilation": (2,),
                                      "groups": 2}),
    "2d-stride": ((1, 2, 3, 4), (2, 3, 2, 2), {"stride": (2, 2)}),
    "2d-all": ((1, 4, 3, 3), (4, 2, 3, 2), {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2),
                                            "dilation": (2, 1), "groups": 2}),
}  # fmt: skip


@pytest.mark.parametrize(("x_shape", "w_shape", "options"), TRANSPOSED.values(), ids=TRANSPOSED)
def test_transposed_conv_equals_torch(x_shape, w_shape, options, dyadic):
    x, w, b = dyadic(*x_shape), dyadic(*w_shape), dyadic(w_shape[1] * options.get("groups", 1))
    expected = {3: F.conv_transpose1d, 4: F.conv_transpose2d}[x.ndim](t(x), t(w), t(b), **options).numpy()
    ours = {**options, "padding": tuple((p, p) for p in options.get("padding", ()))}
    np.testing.assert_array_equal(value(Conv(w, b, transposed=True, **ours), x), expected)


def test_transposed_conv_cropped_unevenly(dyadic):
    x, w = dyadic(1, 2, 5), dyadic(2, 3, 4)
    expected = F.conv_transpose1d(t(x), t(w), stride=2).numpy()[:, :, 2:-1]
    np.testing.assert_array_equal(value(Conv(w, stride=(2,), padding=((2, 1),), transposed=True), x), expected)


POOLS = {
    "2d": ((2, 5, 6), (2, 3), None, (0, 0)),
    "2d-overlap-pad": ((2, 5, 6), (3, 2), (2, 1), (1, 1)),
    "1d-pad": ((3, 7), (3,), (2,), (1,)),
}


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), POOLS.values(), ids=POOLS)
def test_average_pool_equals_torch(shape, kernel, stride, padding, include, dyadic):
    x = 36 * dyadic(2, *shape)  # every divisor of these windows (1, 2, 3, 4, 6) divides 36: the means are dyadic
    pool = {2: F.avg_pool1d, 3: F.avg_pool2d}[len(shape)]
    expected = pool(t(x), kernel, stride, padding, count_include_pad=include).numpy()
    op = Pool("average", kernel, stride or (), padding, include)
    np.testing.assert_array_equal(value(op, x), expected)


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), POOLS.values(), ids=POOLS)
def test_max_and_sum_pool_equal_torch(shape, kernel, stride, padding, dyadic):
    x = -np.abs(dyadic(2, *shape)) - 1  # below zero: padding with zeros would show
    largest = {2: F.max_pool1d, 3: F.max_pool2d}[len(shape)](t(x), kernel, stride, padding).numpy()
    np.testing.assert_array_equal(value(Pool("max", kernel, stride or (), padding), x), largest)
    mean = {2: F.avg_pool1d, 3: F.avg_pool2d}[len(shape)](t(x) * math.prod(kernel) * 8, kernel, stride, padding).numpy()
    np.testing.assert_array_equal(value(Pool("sum", kernel, stride or (), padding), x) * 8, mean)


def test_dense_flatten_and_scale(dyadic):
    x, w, b = dyadic(2, 2, 3, 2), dyadic(4, 12), dyadic(4)
    np.testing.assert_array_equal(value(Flatten(), x), t(x).flatten(1).numpy())
    flat = x.reshape(2, 12)
    np.testing.assert_array_equal(value(Dense(w, b), flat), F.linear(t(flat), t(w), t(b)).numpy())
    factor, shift = np.array([0.5, -2.0]), np.array([1.0, 0.25])
    expected = x * factor[:, None, None] + shift[:, None, None]
    np.testing.assert_array_equal(value(Scale(factor, shift), x), expected)
    np.testing.assert_array_equal(value(Scale(3.0, -0.5), x), 3 * x - 0.5)


def test_connections_are_exact_and_sparse():
    weights, biases = connections(Pool("average", (3,), (1,), (1,), count_include_pad=True), (1, 3))
    assert weights[(0, 0)] == [((0, 0), Fr(1, 3)), ((0, 1), Fr(1, 3))]
    assert biases[(0, 0)] == 0
    weights, _ = connections(Pool("average", (3,), (1,), (1,), count_include_pad=False), (1, 3))
    assert weights[(0, 0)] == [((0, 0), Fr(1, 2)), ((0, 1), Fr(1, 2))]
    weights, biases = connections(Dense(np.array([[0.0, 0.1]]), np.array([-0.1])), (2,))
    assert weights == {(0,): [((1,), Fr(0.1))]}
    assert biases == {(0,): -Fr(0.1)}
    assert connections(Scale(0.0), (2,))[0] == {(0,): [], (1,): []}


def test_forward_equals_torch_on_a_residual_net_with_relu_and_pooling(dyadic):
    x, w1, w2, b1, w3 = dyadic(2, 2, 4, 4), dyadic(3, 2, 3, 3), dyadic(3, 3, 1, 1), dyadic(3), dyadic(2, 12)
    pad = ((1, 1), (1, 1))
    net = Network((2, 4, 4), (
        Layer("a", (Branch(Conv(w1, b1, padding=pad)),), Relu()),
        Layer("b", (Branch(Conv(w2), "a"), Branch(Scale(0.5), "a")), Relu()),
        Layer("pool", (Branch(Pool("max", (2, 2)), "b"),)),
        Layer("flat", (Branch(Flatten(), "pool"),)),
        Layer("out", (Branch(Dense(w3), "flat"),)),
    ))  # fmt: skip
    a = F.relu(F.conv2d(t(x), t(w1), t(b1), padding=1))
    b = F.relu(F.conv2d(a, t(w2)) + 0.5 * a)
    pool = F.max_pool2d(b, 2)
    expected = {"a": a, "b": b, "pool": pool, "flat": pool.flatten(1), "out": F.linear(pool.flatten(1), t(w3))}
    found = forward(net, x)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array.numpy())
    # Steps of an ANN under constant input repeat it: the readout is T times its output.
    np.testing.assert_array_equal(run(Case(net, x, 3)).readout[0], 3 * expected["out"].numpy())
