"""Operations on batches, and their fan-out, against torch on dyadic values: equal bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from snnverify.errors import NetworkError
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale
from snnverify.simulate import apply, fan_out

pytestmark = pytest.mark.usefixtures("one_thread")


def dyadic(seed: int, *shape: int) -> np.ndarray:
    """k/8 with |k| <= 16: sums of a few thousand products are exact."""
    return np.random.default_rng(seed).integers(-16, 17, shape) / 8


def as_torch(op: Op, x: np.ndarray) -> np.ndarray:
    t, axes = torch.tensor(x), x.ndim - 2
    if isinstance(op, Dense):
        return (t @ torch.tensor(op.weight).T + (0 if op.bias is None else torch.tensor(op.bias))).numpy()
    if isinstance(op, Pool):
        if op.kind == "max":
            return (F.max_pool1d, F.max_pool2d)[axes - 1](t, op.kernel, op.stride, op.padding).numpy()
        pool = (F.avg_pool1d, F.avg_pool2d)[axes - 1]
        y = pool(t, op.kernel, op.stride, op.padding, False, op.count_include_pad or op.kind == "sum").numpy()
        return np.rint(y * np.prod(op.kernel) * 8) / 8 if op.kind == "sum" else y  # the sums are multiples of 1/8
    assert isinstance(op, Conv)
    w, b = torch.tensor(op.weight), None if op.bias is None else torch.tensor(op.bias)
    if op.transposed:
        up = (F.conv_transpose1d, F.conv_transpose2d)[axes - 1]
        crop = [lo for lo, _ in op.padding]
        return up(t, w, b, op.stride, crop, op.output_padding, op.groups, op.dilation).numpy()
    t = F.pad(t, [p for pair in reversed(op.padding) for p in pair])  # torch lists the last axis first
    return (F.conv1d, F.conv2d)[axes - 1](t, w, b, op.stride, 0, op.dilation, op.groups).numpy()


def convolutions(axes: int, transposed: bool) -> list[tuple[Conv, tuple[int, ...]]]:
    found = []
    for stride, padding, dilation, groups in itertools.product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2, 4)):
        extra = (stride + padding + dilation + groups) % 2
        if transposed and extra >= max(stride, dilation):
            extra = 0  # torch refuses more output padding than that
        kernel, spatial = (3, 2)[:axes], (7, 6)[:axes]
        weight = dyadic(stride, *((4, 8 // groups) if transposed else (8, 4 // groups)), *kernel)
        # The second axis differs from the first; a convolution pads one side more.
        lo, strides = (padding, min(padding, 1))[:axes], (stride, stride % 3 + 1)[:axes]
        pads = tuple((p, p if transposed else p + extra) for p in lo)
        more = (extra, 0)[:axes] if transposed else ()
        op = Conv(
            weight, dyadic(7, 8) if extra else None, strides, pads, (dilation, 1)[:axes], groups, transposed, more
        )
        found.append((op, (4, *spatial)))
    return found


@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
@pytest.mark.parametrize("axes", [1, 2])
def test_convolutions_equal_torch(axes: int, transposed: bool) -> None:
    grid = convolutions(axes, transposed)
    assert len(grid) == 54
    for op, shape in grid:
        x = dyadic(11, 2, *shape)
        expected, found = as_torch(op, x), apply(op, x)
        assert found.shape == expected.shape == (2, *Network(shape, (Layer("l", (Branch(op),)),)).shapes["l"])
        np.testing.assert_array_equal(found, expected, err_msg=repr(op))


def test_a_transposed_convolution_may_crop_one_side_more() -> None:
    x, w = dyadic(16, 2, 3, 5, 4), dyadic(17, 3, 2, 3, 3)
    whole = F.conv_transpose2d(torch.tensor(x), torch.tensor(w), stride=2).numpy()
    op = Conv(w, None, (2, 2), ((0, 1), (2, 0)), transposed=True)
    np.testing.assert_array_equal(apply(op, x), whole[:, :, :-1, 2:])
    one_hot = torch.eye(60, dtype=torch.float64).reshape(60, 3, 5, 4)
    moved = F.conv_transpose2d(one_hot, torch.tensor(w), stride=2).numpy()[:, :, :-1, 2:] != 0
    np.testing.assert_array_equal(fan_out(op, (3, 5, 4)).ravel(), moved.reshape(60, -1).sum(1))


POOLS = [
    Pool(kind, kernel[:axes], stride[:axes], padding[:axes], include)  # type: ignore[arg-type]
    for axes in (1, 2)
    for kind in ("average", "sum", "max")
    for kernel, stride in (((2, 3), (2, 3)), ((3, 2), (1, 2)), ((4, 4), (3, 1)))
    for padding in ((0, 0), (1, 1), (1, 0))
    for include in (True, False)
]


def test_pooling_equals_torch() -> None:
    for op in POOLS:
        x = dyadic(12, 2, 3, *(9, 7)[: len(op.kernel)]) - (
            3 if op.kind == "max" else 0
        )  # below the zeros of a wrong pad
        # The sum is exact, the division rounds once: at most one unit in the last place.
        np.testing.assert_allclose(apply(op, x), as_torch(op, x), rtol=2.0**-52, atol=0, err_msg=repr(op))


def test_dense_scale_and_flatten_by_hand() -> None:
    x = dyadic(13, 2, 3, 2, 2)
    np.testing.assert_array_equal(apply(Flatten(), x), x.reshape(2, 12))
    per_channel = apply(Scale(np.array([1.0, 2, -1]), np.array([0.5, 0, 1])), x)
    expected = np.stack([x[:, 0] + 0.5, 2 * x[:, 1], 1 - x[:, 2]], 1)
    np.testing.assert_array_equal(per_channel, expected)
    np.testing.assert_array_equal(apply(Scale(2.0, np.array(1.0)), x), 2 * x + 1)
    dense = Dense(dyadic(14, 5, 12), dyadic(15, 5))
    np.testing.assert_array_equal(apply(dense, x.reshape(2, 12)), as_torch(dense, x.reshape(2, 12)))


def test_an_operation_keeps_the_dtype_of_its_input() -> None:
    for op in (Dense(dyadic(1, 2, 3)), Conv(dyadic(1, 2, 3, 1), dyadic(2, 2)), Scale(0.5), Pool("average", (2,))):
        x = np.ones((1, 3) if isinstance(op, Dense) else (1, 3, 4), np.float32)
        assert apply(op, x).dtype == np.float32


def test_fan_out_equals_probing_every_input_unit() -> None:
    """An output that one input unit moves is one non-zero connection; torch says which do, by a one-hot batch."""
    ops: list[tuple[Op, tuple[int, ...]]] = [(Dense(dyadic(1, 6, 5)), (5,)), (Dense(np.zeros((2, 3))), (3,))]
    ops += [(op, (3, *(6, 5)[: len(op.kernel)])) for op in POOLS if op.kind == "average" and op.count_include_pad]
    ops += [c for axes in (1, 2) for t in (False, True) for c in convolutions(axes, t)[::3]]
    for op, shape in ops:
        if not isinstance(op, Pool):
            op = replace(op, bias=None, weight=op.weight * (np.abs(op.weight) > 0.75))  # type: ignore[union-attr]
        size = int(np.prod(shape))
        moved = as_torch(op, np.eye(size).reshape(size, *shape)) != 0
        found = fan_out(op, shape)
        assert (found.shape, found.dtype) == (shape, np.int64)
        np.testing.assert_array_equal(found.ravel(), moved.reshape(size, -1).sum(1), err_msg=repr(op))
    assert fan_out(Scale(np.array([0.0, 2.0])), (2, 3)).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert fan_out(Flatten(), (2, 2)).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("build", [
    lambda: Pool("sum", (2,), (0,)), lambda: Conv(np.ones((1, 1, 2)), stride=(0,)),
    lambda: Conv(np.ones((3, 1, 2)), groups=2),
])  # fmt: skip
def test_a_geometry_without_meaning_is_a_network_error(build: Callable[[], Op]) -> None:
    with pytest.raises(NetworkError, match=r"at least 1|must divide"):
        build()
