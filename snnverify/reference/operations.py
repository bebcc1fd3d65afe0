"""Exact numbers and the operations of a branch, each as a sparse matrix in Fractions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from ..content import Array
from ..network import Branch, Conv, Dense, Flatten, Op, Pool, Scale, Shape, output_shape

Index = tuple[int, ...]
Values = Mapping[Index, Fraction]  # what one source emits in one step to one sample
FanIn = list[tuple[Index, Fraction]]  # the inputs of one unit and their non-zero weights
Term = tuple[Branch, FanIn, Fraction]  # one summand of one unit: its branch, fan-in and bias

ZERO, ONE = Fraction(0), Fraction(1)


@lru_cache(maxsize=1 << 16)
def _fraction(number: float) -> Fraction:
    return Fraction(number)


def exact(number: Any) -> Fraction:
    """Return the exact value of a Python or numpy number."""
    return _fraction(number.item() if isinstance(number, (np.generic, np.ndarray)) else number)


def nearest(value: Fraction, dtype: str) -> Any:
    """Round `value` once, to nearest with ties to even, to ``"float64"`` or ``"float32"``."""
    near = np.dtype(dtype).type(float(value))
    if dtype == "float64" or not np.isfinite(near):
        return near
    # The double may have been rounded onto a tie of float32; the neighbour is then nearer. A true tie is an exact
    # double, which float32 rounds to even, and `min` keeps the first of equals.
    around = [near, *(np.nextafter(near, np.float32(to)) for to in (-np.inf, np.inf))]
    return min((a for a in around if np.isfinite(a)), key=lambda a: abs(exact(a) - value))


def channel(parameter: Array | float, index: Index) -> Fraction:
    """Return the value that a parameter of shape () or (C,) has for the unit at `index`."""
    return exact(parameter[index[0]] if np.ndim(parameter) else parameter)  # type: ignore[index]


def values_of(array: Array) -> Values:
    """Return the exact values of an array [*shape] by index."""
    return {i: _fraction(x) for i, x in zip(np.ndindex(array.shape), array.ravel().tolist(), strict=True)}


def dense(op: Dense, shape: Shape, out: Index) -> FanIn:
    """``y_o = sum_i W_oi x_i``."""
    return [((i,), exact(w)) for i, w in enumerate(op.weight[out[0]])]


def conv(op: Conv, shape: Shape, out: Index) -> FanIn:
    """Cross-correlation ``y_o = sum_k w_k x[o s + k d - p]``; transposed, ``w_k x_i`` goes to ``y[i s + k d - p]``."""
    inputs, outputs = (c // op.groups for c in op.channels)
    group, o = divmod(out[0], outputs)
    found: FanIn = []
    for k in np.ndindex(op.weight.shape[2:]):
        place = []
        for axis, at in enumerate(out[1:]):
            s, shift = op.stride[axis], k[axis] * op.dilation[axis] - op.padding[axis][0]
            position, rest = divmod(at - shift, s) if op.transposed else (at * s + shift, 0)
            if rest or not 0 <= position < shape[axis + 1]:
                break
            place.append(position)
        else:
            for c in range(group * inputs, (group + 1) * inputs):
                w = op.weight[(c, o, *k) if op.transposed else (out[0], c - group * inputs, *k)]
                found.append(((c, *place), exact(w)))
    return found


def pool(op: Pool, shape: Shape, out: Index) -> FanIn:
    """Return the entries of the window inside the input, each with weight 1 (sum, max, gate) or one over their divisor."""
    inside = []
    for k in np.ndindex(op.kernel):
        place = tuple(o * s + a - p for o, s, a, p in zip(out[1:], op.stride, k, op.padding, strict=True))
        if all(0 <= at < n for at, n in zip(place, shape[1:], strict=True)):
            inside.append((out[0], *place))
    divisor = math.prod(op.kernel) if op.count_include_pad else len(inside)
    weight = Fraction(1, divisor) if op.kind == "average" else ONE
    return [(i, weight) for i in inside]


def flatten(op: Flatten, shape: Shape, out: Index) -> FanIn:
    """``y_j = x_i`` where i is the j-th index in C order."""
    return [(tuple(int(i) for i in np.unravel_index(out[0], shape)), ONE)]


def scale(op: Scale, shape: Shape, out: Index) -> FanIn:
    """``y = factor x``."""
    return [(out, channel(op.factor, out))]


_FAN_IN: Mapping[type, Callable[[Any, Shape, Index], FanIn]] = {
    Dense: dense, Conv: conv, Pool: pool, Flatten: flatten, Scale: scale,
}  # fmt: skip


def fan_in(op: Op, shape: Shape, out: Index) -> FanIn:
    """Return the inputs of the output unit `out` and their weights, zero weights left out."""
    return [(i, w) for i, w in _FAN_IN[type(op)](op, shape, out) if w]


def bias(op: Op, out: Index) -> Fraction:
    """Return what `op` adds to the output unit `out` whatever its input."""
    b = getattr(op, "bias", None)
    return ZERO if b is None else channel(b, out)


def connections(op: Op, shape: Shape) -> tuple[dict[Index, FanIn], dict[Index, Fraction]]:
    """Return an operation on inputs of `shape` as a sparse matrix: one home of every linear operation.

    Returns
    -------
    weights : dict of output index to list of (input index, Fraction)
        Zero weights are left out. A maximum pooling has its windows, every weight 1.
    biases : dict of output index to Fraction
    """
    units = list(np.ndindex(output_shape(op, shape)))
    return {o: fan_in(op, shape, o) for o in units}, {o: bias(op, o) for o in units}


def is_gate(op: Op) -> bool:
    """Tell whether an operation is the gate of a spiking max pooling."""
    return isinstance(op, Pool) and op.kind == "gate"


def series(term: Term, values: Sequence[Values]) -> list[Fraction]:
    """Return one summand in each step. All but the gate look at that step alone."""
    branch, fan, _ = term
    if not is_gate(branch.op):
        return [apply(term, step) for step in values]
    counts, highest, found = {i: ZERO for i, _ in fan}, ZERO, []
    for step in values:
        for i in counts:
            counts[i] += step[i]
        leader = max(counts, key=counts.__getitem__)
        found.append(counts[leader] - highest)
        highest = counts[leader]
    return found


def passed(op: Op, spikes: Array) -> Array:
    """Return the numbers of spikes that a gate lets through, [T, N, *output shape], of those before it, [T, N, *shape]."""
    shape = spikes.shape[2:]
    found = np.zeros((*spikes.shape[:2], *output_shape(op, shape)), np.int64)
    for n in range(spikes.shape[1]):
        trains = [{i: Fraction(int(train[i])) for i in np.ndindex(shape)} for train in spikes[:, n]]
        for out in np.ndindex(found.shape[2:]):
            term = (Branch(op), fan_in(op, shape, out), ZERO)
            for t, s in enumerate(series(term, trains)):
                found[(t, n, *out)] = int(s)
    return found


def apply(term: Term, values: Values) -> Fraction:
    """Return ``b + sum_i w_i x_i``, or the greatest x_i of the window for a maximum pooling."""
    branch, fan, total = term
    if isinstance(branch.op, Pool) and branch.op.kind == "max":
        return max(values[i] for i, _ in fan)
    for i, w in fan:
        x = values[i]
        if x:
            total += w * x
    return total
