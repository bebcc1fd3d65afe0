"""Folding: linear layers without an activation are written into their neighbours, until none can be.

Two rules, run to a fixed point. *Inline*: a Scale branch takes over the branches of a source that has no activation and
feeds nothing else (batch normalisation after a convolution, the activation after it, residual sums). *Forward*: an
analog Scale layer goes into the weights of what follows it, past average pooling and flattening (batch normalisation
after an activation).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from ..errors import NetworkError, Unsupported
from ..network import Array, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape

Number = Array | float
_SEPARATE = "fold_batchnorm=False keeps it as a separate analog layer (costs one multiply-add per unit and step)"


def batchnorm_scale(
    gamma: Array | None, beta: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """``factor = gamma / sqrt(var + eps)``, ``offset = beta - factor mean``; no affine is gamma 1, beta 0.

    Parameters
    ----------
    gamma, beta, mean, var : float arrays [C], gamma and beta optional
    eps : float

    Raises
    ------
    NetworkError
        ``var + eps <= 0``.
    """
    variance = np.asarray(var, np.float64) + eps
    if np.any(variance <= 0):
        raise NetworkError(
            f"batch normalisation: var + eps = {variance.min():.3g} in channel {int(variance.argmin())}; "
            "it must be > 0: check the running variance"
        )
    factor = (1.0 if gamma is None else np.asarray(gamma, np.float64)) / np.sqrt(variance)
    return factor, (0.0 if beta is None else np.asarray(beta, np.float64)) - factor * np.asarray(mean, np.float64)


def fold_batchnorm(
    weight: Array, bias: Array | None, gamma: Array | None, beta: Array | None, mean: Array, var: Array, eps: float,
    *, transposed: bool = False, groups: int = 1,
) -> tuple[Array, Array]:  # fmt: skip
    """``W' = gamma / sqrt(var + eps) W``, ``b' = gamma (b - mean) / sqrt(var + eps) + beta``, in float64.

    Parameters
    ----------
    weight : array
        [out, in] of a linear layer, [out, in / groups, *kernel], or transposed [in, out / groups, *kernel].
    bias : array [out], optional
    gamma, beta, mean, var : arrays [out], gamma and beta optional
    eps : float
    transposed : bool
    groups : int

    Raises
    ------
    NetworkError
        ``var + eps <= 0``.
    """
    w, b = np.asarray(weight, np.float64), None if bias is None else np.asarray(bias, np.float64)
    factor, offset = batchnorm_scale(gamma, beta, mean, var, eps)
    op = after(Dense(w, b) if w.ndim == 2 else Conv(w, b, groups=groups, transposed=transposed), factor, offset)
    assert isinstance(op, (Dense, Conv))
    assert op.bias is not None
    return op.weight, op.bias


def after(op: Op, factor: Number, offset: Number | None) -> Op | None:
    """``factor op(x) + offset`` as one operation; None where there is none."""
    if isinstance(op, (Pool, Flatten)):
        return op if offset is None and np.ndim(factor) == 0 and factor == 1 else None
    if isinstance(op, Scale):
        return Scale(factor * op.factor, _sum(_times(factor, op.bias), offset))
    outputs = len(op.weight) if isinstance(op, Dense) else op.channels[1]
    rows = np.broadcast_to(factor, outputs)
    bias = _sum(_times(rows, op.bias), None if offset is None else np.broadcast_to(offset, outputs))
    if isinstance(op, Dense):
        return Dense(op.weight * rows[:, None], bias)
    # transposed: output channel g (out / groups) + j is column j of the rows of group g
    repeats = len(op.weight) // op.groups
    table = np.repeat(rows.reshape(op.groups, -1), repeats, 0) if op.transposed else rows[:, None]
    return _with(op, op.weight * table.reshape(table.shape + (1,) * (op.weight.ndim - 2)), bias)


def before(op: Op, factor: Number, offset: Number | None) -> Op | None:
    """``op(factor x + offset)`` as one operation with weights; None where there is none."""
    if isinstance(op, Scale):
        return after(Scale(factor, offset), op.factor, op.bias)
    if isinstance(op, Dense):
        inputs = op.weight.shape[1]
        extra = None if offset is None else op.weight @ np.broadcast_to(offset, inputs)
        return Dense(op.weight * np.broadcast_to(factor, inputs), _sum(op.bias, extra))
    if not isinstance(op, Conv):
        return None
    kernel = (1,) * (op.weight.ndim - 2)
    if op.transposed:  # at the borders, or between strides, fewer weights meet an output: an offset is not constant
        rows = np.broadcast_to(factor, len(op.weight)).reshape(-1, 1, *kernel)
        return None if _any(offset) else _with(op, op.weight * rows, op.bias)
    if _any(offset) and any(p for pair in op.padding for p in pair):
        return None

    def columns(value: Number) -> Array:  # [out, in / groups]: what each output's group has in its input channels
        groups = np.broadcast_to(value, op.channels[0]).reshape(op.groups, -1)
        return np.repeat(groups, len(op.weight) // op.groups, 0)

    table = columns(factor)
    taps = op.weight.reshape(*op.weight.shape[:2], -1).sum(-1)
    extra = None if offset is None else (taps * columns(offset)).sum(1)
    return _with(op, op.weight * table.reshape(*table.shape, *kernel), _sum(op.bias, extra))


def past(op: Op, factor: Number, offset: Number | None, shape: Shape) -> tuple[Number, Number | None] | None:
    """``op(factor x + offset) = factor' op(x) + offset'`` for pooling and flattening of `shape`; None where not."""
    if isinstance(op, Flatten):
        units = math.prod(shape[1:])
        return _repeat(factor, units), None if offset is None else _repeat(offset, units)
    if not isinstance(op, Pool):
        return None
    if op.kind == "max":
        return (factor, offset) if np.all(np.asarray(factor) >= 0) else None
    if _any(offset) and any(op.padding) and (op.kind == "sum" or op.count_include_pad):
        return None
    return factor, _times(float(math.prod(op.kernel)), offset) if op.kind == "sum" else offset


def fold(network: Network, keep: frozenset[str] = frozenset()) -> Network:
    """Fold linear layers into their neighbours; the values of the output stay the same up to rounding.

    Parameters
    ----------
    network : Network
    keep : frozenset of str
        Scale layers that stay layers of their own.

    Raises
    ------
    Unsupported
        A Scale layer that cannot be folded into what follows it, for example an offset before a padded convolution.
    """
    layers, stuck = rewrite(network.layers, dict(network.shapes), keep)
    for name, reader in stuck.items():
        raise Unsupported(name, *why_stuck(name, reader, layers))
    return Network(network.input_shape, layers, network.note)


def why_stuck(name: str, reader: str, layers: tuple[Layer, ...]) -> tuple[str, str]:
    """Reason and remedy for a Scale layer that `rewrite` could not fold into the layer `reader`."""
    ops = [b.op for layer in layers if layer.name == reader for b in layer.branches if b.source == name]
    if any(isinstance(op, Pool) and op.kind == "max" for op in ops):
        return f"a negative factor before the max pooling {reader!r} cannot be folded", "put it after the pooling"
    what = "transposed convolution" if any(isinstance(op, Conv) and op.transposed for op in ops) else "padded operation"
    return (
        f"its offset cannot be folded into the {what} {reader!r}, whose border sees less of it",
        f"put the normalisation after the convolution; {_SEPARATE}",
    )


def rewrite(
    layers: tuple[Layer, ...], shapes: dict[str, Shape], keep: frozenset[str]
) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """Apply both rules until neither applies.

    Parameters
    ----------
    layers : tuple of Layer
        In order of computation, the output last. Sources that are no layer are inputs.
    shapes : dict
        Sample shape of every source and layer; brought up to date in place.
    keep : frozenset of str

    Returns
    -------
    layers : tuple of Layer
    stuck : dict of str to str
        Scale layers outside `keep` that cannot be folded, each with the layer that does not take it.
    """
    found = {layer.name: layer for layer in layers}
    while True:
        found, changed = _inline(found, keep)
        if not changed:
            stuck: dict[str, str] = {}
            found, changed = _forward(found, shapes, keep, stuck)
        if not changed:
            return tuple(found.values()), stuck


def _inline(layers: dict[str, Layer], keep: frozenset[str]) -> tuple[dict[str, Layer], bool]:
    uses = Counter(b.source for layer in layers.values() for b in layer.branches)
    for layer in layers.values():
        for i, b in enumerate(layer.branches):
            source = layers.get(b.source)
            if source is None or source.act is not None or uses[b.source] > 1 or {layer.name, b.source} & keep:
                continue
            taken = _taken_over(source.branches, b.op)
            if taken is not None:
                new = Layer(layer.name, (*layer.branches[:i], *taken, *layer.branches[i + 1 :]), layer.act)
                return {k: new if k == layer.name else v for k, v in layers.items() if k != source.name}, True
    return layers, False


def _taken_over(branches: tuple[Branch, ...], op: Op) -> list[Branch] | None:
    """Return the branches of a source, each followed by the Scale `op`; its offset goes into the first alone."""
    if not isinstance(op, Scale):
        return None
    taken = []
    for i, b in enumerate(branches):
        joined = after(b.op, op.factor, op.bias if i == 0 else None)
        if joined is None:
            return None
        taken.append(Branch(joined, b.source))
    return taken


def _forward(
    layers: dict[str, Layer], shapes: dict[str, Shape], keep: frozenset[str], stuck: dict[str, str]
) -> tuple[dict[str, Layer], bool]:
    output = next(reversed(layers))
    for q in layers.values():
        op = q.branches[0].op
        if q.act is not None or len(q.branches) > 1 or not isinstance(op, Scale) or q.name in keep or q.name == output:
            continue
        readers = [r for r in layers.values() if any(b.source == q.name for b in r.branches)]
        if any(r.name in keep for r in readers):
            continue
        blocked = next((r.name for r in readers if not all(_takes(b, q, op, shapes) for b in r.branches)), None)
        if blocked is None:
            return _moved(layers, shapes, q, op), True
        stuck[q.name] = blocked
    return layers, False


def _takes(b: Branch, q: Layer, op: Scale, shapes: dict[str, Shape]) -> bool:
    if b.source != q.name:
        return True
    return bool(before(b.op, op.factor, op.bias) or past(b.op, op.factor, op.bias, shapes[q.name]))


def _moved(layers: dict[str, Layer], shapes: dict[str, Shape], q: Layer, op: Scale) -> dict[str, Layer]:
    """Write the Scale layer `q` into all that read it; a pooling or flattening gets a Scale after it instead."""
    new: dict[str, Layer] = {}
    renamed: dict[str, str] = {}
    q_shape = shapes[q.name]
    names = [q.name]  # the first Scale that moves on keeps the name

    def draw(name: str, branch: Branch, shape: Shape) -> None:
        new[name] = Layer(name, (branch,))
        shapes[name] = shape

    for layer in layers.values():
        if layer.name == q.name:
            continue
        shape = shapes[layer.name]
        branches: list[Branch] = []
        for b in layer.branches:
            joined = before(b.op, op.factor, op.bias) if b.source == q.name else None
            moved = past(b.op, op.factor, op.bias, q_shape) if b.source == q.name and not joined else None
            if joined:
                branches.append(Branch(joined, q.branches[0].source))
            elif (
                moved and layer.act is None and len(layer.branches) == 1
            ):  # keeps its name; the Scale goes on under q's
                renamed[layer.name] = names.pop() if names else _unused(f"{q.name}:{layer.name}", layers, new)
                draw(layer.name, Branch(b.op, q.branches[0].source), shape)
                draw(renamed[layer.name], Branch(Scale(*moved), layer.name), shape)
            elif moved:
                branches.append(Branch(Scale(*moved), _unused(f"{layer.name}:{q.name}", layers, new)))
                draw(branches[-1].source, Branch(b.op, q.branches[0].source), shape)
            else:
                branches.append(Branch(b.op, renamed.get(b.source, b.source)))
        if branches:
            new[layer.name] = Layer(layer.name, tuple(branches), layer.act)
    return new


def _unused(name: str, *taken: dict[str, Layer]) -> str:
    while any(name in layers for layers in taken):
        name += "'"
    return name


def _with(op: Conv, weight: Array, bias: Array | None) -> Conv:
    return Conv(weight, bias, op.stride, op.padding, op.dilation, op.groups, op.transposed, op.output_padding)


def _sum(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def _times(factor: Number, a: Any) -> Any:
    return None if a is None else factor * a


def _any(offset: Number | None) -> bool:
    return offset is not None and bool(np.any(offset))


def _repeat(value: Number, units: int) -> Number:
    return np.repeat(value, units) if np.ndim(value) else value
