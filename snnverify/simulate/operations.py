"""Operations of layers on batches of values: the analog forward pass, sums of branches, their exact form, fan-out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..activation import Clip, ClipFloor, Cuba, Relu
from ..bounds import fan_in
from ..errors import DataError, NetworkError, Unsupported
from ..kernels import synapse
from ..network import (
    INPUT,
    Array,
    Branch,
    Conv,
    Dense,
    Flatten,
    Integer,
    Layer,
    Network,
    Op,
    Pool,
    Scale,
    Shape,
    gated,
    output_shape,
    per_channel,
    whole,
)  # fmt: skip

Gates = dict[tuple[str, int], Array]
FLOAT32 = 2.0**24  # float32 holds every integer up to here
LARGEST = 2.0**45  # of a sum: times 2^13 by its neuron's exponents, and with other branches, it stays inside 64 bits


def forward(network: Network, x: npt.ArrayLike, dtype: str = "float64") -> dict[str, Array]:
    """Activations of an ANN network.

    Parameters
    ----------
    network : Network
        Its activations are `Relu`, `Clip`, `ClipFloor` or None.
    x : array [N, *input_shape]
    dtype : {"float32", "float64"}

    Returns
    -------
    dict of layer name to array [N, *shape]
    """
    values: dict[str, Array] = {INPUT: np.asarray(x, dtype)}
    if values[INPUT].shape[1:] != network.input_shape:
        raise NetworkError(f"x of shape {values[INPUT].shape}: [N, *shape] with shape {network.input_shape}")
    for layer in network.layers:
        values[layer.name] = activated(layer, summed(layer, values))
    del values[INPUT]
    return values


def activated(layer: Layer, z: Array) -> Array:
    """Analog value of a layer whose branches sum up to ``z`` [B, *shape]."""
    if isinstance(layer.act, Relu):
        return np.maximum(z, 0)
    if isinstance(layer.act, Clip):
        return np.clip(z, 0, per_channel(layer.act.theta, z.shape[1:]).astype(z.dtype))
    if isinstance(layer.act, ClipFloor):
        theta = per_channel(layer.act.theta, z.shape[1:]).astype(z.dtype)
        z = np.clip(np.floor(z * layer.act.levels / theta + layer.act.shift), 0, layer.act.levels)
        return np.asarray(z * theta / layer.act.levels)
    if layer.act is not None:
        raise Unsupported(layer.name, f"{type(layer.act).__name__} has no analog value", "use simulate")
    return z


def summed(layer: Layer, values: Mapping[str, Array]) -> Array:
    """Sum of a layer's branches on values ``[B, *shape]``."""
    total: Array | None = None
    for b in layer.branches:
        y = apply(b.op, values[b.source])
        total = y if total is None else total + y
    assert total is not None
    return total


def apply(op: Op, x: Array) -> Array:
    """One operation on a batch ``[B, *shape]``: in the dtype of `x`, or exactly where that is one of integers."""
    if x.dtype.kind in "iu" and not isinstance(op, Flatten):
        return exactly(op, x) if whole(op) else _applied(op, x.astype(np.float64))
    return _applied(op, x)


def exactly(op: Op, x: Array) -> Array:
    """One operation of integer weights on integers ``[B, *shape]``: int64, and no rounding anywhere.

    float32 holds every integer up to 2^24. Each partial sum of an output ``sum_i w_i x_i + b``, in whatever order and
    grouping BLAS takes it, is an integer of at most ``max_o sum_i |w_oi| max |x| + max |b|``. Where that is below 2^24
    every product and partial sum is therefore exact in float32; else everything is done in int64.
    """
    bias = getattr(op, "bias", None)
    reach = fan_in(op)[0] * float(np.abs(x, dtype=np.float64).max(initial=0))
    reach += 0.0 if bias is None else float(np.abs(bias).max())
    if reach >= LARGEST:
        raise NetworkError(f"{type(op).__name__}: sums of up to {reach:g} are beyond any integer neuron; scale weights or "
                           "input down")  # fmt: skip
    return _applied(op, x.astype(np.float32 if reach < FLOAT32 else np.int64)).astype(np.int64)


def _applied(op: Op, x: Array) -> Array:
    if isinstance(op, Flatten):
        return x.reshape(len(x), -1)
    if isinstance(op, Pool):
        return synapse.pool(x, op.kind, op.kernel, op.stride, op.padding, op.count_include_pad)
    if isinstance(op, Scale):
        y = x if np.ndim(op.factor) == 0 and op.factor == 1 else x * per_channel(op.factor, x.shape[1:]).astype(x.dtype)
    elif isinstance(op, Dense):
        y = synapse.dense(x, op.weight.astype(x.dtype, copy=False))
    else:
        w = op.weight.astype(x.dtype, copy=False)
        geometry = op.stride, op.padding, op.dilation, op.groups
        turned = op.transposed
        y = synapse.conv_transposed(x, w, *geometry, op.output_padding) if turned else synapse.conv(x, w, *geometry)
    return y if op.bias is None else y + per_channel(op.bias, y.shape[1:]).astype(x.dtype)


def mantissas(layer: Layer, values: Mapping[str, Array]) -> Array:
    """Sum of the branches of a layer of integer dynamics: int64, with ``drive="bias"`` times ``2^bias_exponent``."""
    act = layer.act
    if isinstance(act, Cuba) and act.drive == "bias":
        return np.asarray(sum(_bias_mantissas(layer, act.bias_exponent, b, values[b.source]) for b in layer.branches))
    return np.asarray(
        sum(apply(b.op, _whole(layer, b.source, values[b.source], "no integers")) for b in layer.branches)
    )


def _bias_mantissas(layer: Layer, exponent: int, branch: Branch, x: Array) -> Array:
    """One branch of an input layer times ``2^exponent``, exactly: fractions count in units of 2^-24."""
    where = f"layer {layer.name!r}: {branch.source!r}"
    places = 0 if x.dtype.kind in "iu" else 24
    units = np.ldexp(x.astype(np.float64), places)
    if not np.array_equal(units, np.rint(units)) or np.abs(units).max(initial=0) >= 2.0**44:
        raise DataError(f"{where} hands on numbers that are no multiples of 2^-24 below 2^20; round the input first")
    op = branch.op
    scaled = {k: np.ldexp(np.asarray(getattr(op, k)), exponent) for k in ("weight", "factor") if hasattr(op, k)}
    if (bias := getattr(op, "bias", None)) is not None:
        scaled["bias"] = np.ldexp(np.asarray(bias), exponent + places)
    found = exactly(replace(op, **scaled), units.astype(np.int64))
    if np.any(found & ((1 << places) - 1)):
        raise DataError(f"{where} makes bias mantissas that are no integers times 2^-{exponent}; round the input first")
    return found >> places


def _whole(layer: Layer, source: str, x: Array, what: str) -> Array:
    """Return `x` as integers; `DataError` where it holds others."""
    if x.dtype.kind in "iu":
        return x
    if not np.array_equal(x, np.rint(x)):
        raise DataError(f"layer {layer.name!r}: {source!r} hands on {what}; {type(layer.act).__name__} takes integers, "
                        "scale and round them first")  # fmt: skip
    return x.astype(np.int64)


def fan_out(op: Op, shape: Shape, chosen: Array | None = None) -> Array:
    """Count the non-zero connections of every unit of the operation's input, int64 of that shape.

    Only those to the `chosen` units of its output, where given (0 or 1, of the output's shape).
    """
    if isinstance(op, (Flatten, Scale)):
        factor = per_channel(op.factor, shape) if isinstance(op, Scale) else np.ones(())
        every = np.broadcast_to((factor != 0).astype(np.int64), shape)
        return every if chosen is None else every * chosen.reshape(shape)
    if isinstance(op, Dense):
        rows = op.weight if chosen is None else op.weight[chosen != 0]
        return np.asarray(np.count_nonzero(rows, axis=0), np.int64)
    if isinstance(op, Pool):
        ones = np.ones((shape[0], 1, *op.kernel))
        op = Conv(ones, None, op.stride, tuple((p, p) for p in op.padding), groups=shape[0])
    # The adjoint of the operation, with its weights replaced by 1 where they are not 0, on an output of ones.
    out = np.ones((1, *output_shape(op, shape))) if chosen is None else chosen[None].astype(float)
    mask = (op.weight != 0).astype(float)
    if op.transposed:
        y = synapse.conv(out, mask, op.stride, op.padding, op.dilation, op.groups)
    else:
        sizes = zip(shape[1:], out.shape[2:], op.weight.shape[2:], op.stride, op.padding, op.dilation, strict=True)
        rest = [n - ((m - 1) * s - sum(p) + d * (k - 1) + 1) for n, m, k, s, p, d in sizes]
        y = synapse.conv_transposed(out, mask, op.stride, op.padding, op.dilation, op.groups, rest)
    inside = np.ix_(*(range(n) for n in shape))  # a long output padding leaves windows beyond the input
    return np.asarray(np.rint(y[0][inside]), np.int64)


def over_time(
    layer: Layer, values: Mapping[str, Array], steps: int, gates: Gates, chosen: Collection[int] | None = None
) -> Array:
    """Sum of the branches over a block of steps, with time folded into the batch; constant branches are computed once.

    Only the branches of the `chosen` numbers, where given. Values are [steps, n, *shape], or [1, n, *shape] where
    constant; `gates` is what the inputs of every gate have accumulated, by layer and number of branch, and is brought up
    to date.
    """
    total: Array | None = None
    branches = [(i, b) for i, b in enumerate(layer.branches) if chosen is None or i in chosen]
    for i, b in branches:
        if gated(b):
            x = np.broadcast_to(values[b.source], (steps, *values[b.source].shape[1:]))
            before = gates.get((layer.name, i), np.zeros(x.shape[1:]))
            assert isinstance(b.op, Pool)
            y, gates[layer.name, i] = synapse.gate(x, before, b.op.kernel, b.op.stride, b.op.padding)
            total = y if total is None else total + y
    for constant in (True, False):
        part = [b for _, b in branches if (len(values[b.source]) == 1) == constant and not gated(b)]
        if part:
            folded = {b.source: values[b.source].reshape(-1, *values[b.source].shape[2:]) for b in part}
            part_sum = mantissas if isinstance(layer.act, Integer) else summed
            y = part_sum(replace(layer, branches=tuple(part)), folded)
            y = y.reshape(-1, values[part[0].source].shape[1], *y.shape[1:])
            total = y if total is None else total + y
    assert total is not None
    return total
