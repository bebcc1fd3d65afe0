"""How each torch operation is drawn as layers: one plain function per operation, arguments named as torch names them.

Each op becomes a layer of its own and `fold` joins them afterwards. A handler takes the `Site` of the call, then the call's
own arguments, in which activations are `Value`; it returns the result's `Value` or raises `Unsupported`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from ..activation import ClipFloor, Relu
from ..errors import NetworkError
from ..network import Array, Branch, Conv, Dense, Flatten, Pool, Scale, Shape, output_shape
from .drawing import Site, Value, activation, array, channelwise
from .fold import batchnorm_scale

_DEFAULT_POOL = "use the floor form without dilation or indices, or a strided convolution"


def linear(at: Site, input: Any, weight: Any, bias: Any = None) -> Value:
    """``y = W x + b`` on flat samples; over a concatenation one branch per part."""
    x, w = activation(at, input), array(at, weight)
    shape = at.shape_of(x)
    if len(shape) != 1:
        raise at.refuse(f"it acts on the last axis of samples of shape {shape}", "flatten first, or use Conv1d")
    b = None if bias is None else array(at, bias)
    return at.layer(tuple(
        Branch(Dense(w[:, where], b if i == 0 else None), p) for i, (p, where) in enumerate(at.slices(x))
    ))  # fmt: skip


def conv(at: Site, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
         groups: int = 1, padding_mode: str = "zeros") -> Value:  # fmt: skip
    """Convolution over 1 or 2 axes; ``padding="same"`` puts the odd zero behind, as torch does."""
    w = array(at, weight)
    n = w.ndim - 2
    d = _axes(dilation, n)
    if padding == "same":
        total = [di * (k - 1) for di, k in zip(d, w.shape[2:], strict=True)]
        pads = tuple((t // 2, t - t // 2) for t in total)
    else:
        pads = tuple((p, p) for p in _axes(0 if padding == "valid" else padding, n))
    form = {"stride": _axes(stride, n), "padding": pads, "dilation": d}
    return _convolve(at, activation(at, input), w, bias, groups, padding_mode, form, transposed=False)


def conv_transpose(at: Site, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                   output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
                   padding_mode: str = "zeros") -> Value:  # fmt: skip
    """Transposed convolution over 1 or 2 axes; padding is cropped from the output."""
    w = array(at, weight)
    n = w.ndim - 2
    form = {
        "stride": _axes(stride, n),
        "padding": tuple((p, p) for p in _axes(padding, n)),
        "dilation": _axes(dilation, n),
        "output_padding": _axes(output_padding, n),
    }
    return _convolve(at, activation(at, input), w, bias, groups, padding_mode, form, transposed=True)


def _convolve(at: Site, x: Value, w: Array, bias: Any, groups: int, padding_mode: str, form: dict[str, Any], *,
              transposed: bool) -> Value:  # fmt: skip
    if padding_mode != "zeros":
        raise at.refuse(f"padding_mode={padding_mode!r}", "train with padding_mode='zeros'")
    b = None if bias is None else array(at, bias)
    if len(x.parts) == 1:
        op = Conv(w, b, groups=groups, transposed=transposed, **form)
        return at.layer((Branch(op, x.parts[0]),))
    if groups == 1:  # the sum over input channels is a sum over parts
        return at.layer(tuple(
            Branch(Conv(w[s] if transposed else w[:, s], b if i == 0 else None, transposed=transposed, **form), p)
            for i, (p, s) in enumerate(at.slices(x))
        ))  # fmt: skip
    ins, outs = (w.shape[0] // groups, w.shape[1]) if transposed else (w.shape[1], w.shape[0] // groups)
    if any(s.start % ins or s.stop % ins for _, s in at.slices(x)):
        raise at.refuse(f"a group of {ins} channels spans two parts of a concatenation", "let groups divide each part")
    made: list[str] = []
    for p, s in at.slices(x):
        rows = slice(s.start // ins * outs, s.stop // ins * outs)
        op = Conv(w[s if transposed else rows], None if b is None else b[rows], groups=(s.stop - s.start) // ins,
                  transposed=transposed, **form)  # fmt: skip
        made += at.layer((Branch(op, p),)).parts
    return Value(tuple(made))


def batch_norm(at: Site, input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
               training: bool = False, momentum: Any = 0.1, eps: float = 1e-5) -> Value:  # fmt: skip
    """Batch normalisation in eval mode: a Scale per channel."""
    x = activation(at, input)
    if training or running_mean is None or running_var is None:
        raise at.refuse(
            "it normalises by the statistics of each batch", "train it with track_running_stats=True, in eval"
        )
    mean, var = array(at, running_mean), array(at, running_var)
    gamma, beta = (None if p is None else array(at, p) for p in (weight, bias))
    return _scaled(at, x, *batchnorm_scale(gamma, beta, mean, var, eps))


def relu(at: Site, input: Any, inplace: bool = False) -> Value:
    """``max(x, 0)``."""
    return at.each(activation(at, input), Scale(1.0), Relu())


def clamp(at: Site, input: Any, min: Any = None, max: Any = None) -> Value:
    """``clamp(min=0)`` is ReLU."""
    if max is not None or isinstance(min, (torch.Tensor, Value)) or min != 0:
        raise at.refuse(f"clamp to [{min}, {max}]", "use ReLU, or QCFS whose theta is the ceiling")
    return relu(at, input)


def qcfs(at: Site, input: Any, levels: int, theta: Any, shift: float) -> Value:
    """Quantisation-clip-floor-shift activation."""
    x = activation(at, input)
    t = channelwise(at, theta, at.shape_of(x))
    return Value(tuple(
        at.drawing.add(at.path, (Branch(Scale(1.0), p),), ClipFloor(levels, _part(t, s), shift)) for p, s in at.slices(x)
    ))  # fmt: skip


def avg_pool(at: Site, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
             count_include_pad: bool = True, divisor_override: Any = None) -> Value:  # fmt: skip
    """Average pooling."""
    if divisor_override is not None:
        raise at.refuse("divisor_override", "leave it out and scale the next layer's weights")
    return _pool(at, input, "average", kernel_size, stride, padding, count_include_pad)


def max_pool(at: Site, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
             ceil_mode: bool = False, return_indices: bool = False) -> Value:  # fmt: skip
    """Max pooling, which an ANN network holds and a spiking one does not."""
    if return_indices or any(d != 1 for d in _axes(dilation, 1)):
        raise at.refuse("with dilation or indices", _DEFAULT_POOL)
    return _pool(at, input, "max", kernel_size, stride, padding, True)


def adaptive_avg_pool(at: Site, input: Any, output_size: Any) -> Value:
    """Average pooling whose windows do not overlap."""
    return _adaptive(at, input, "average", output_size)


def adaptive_max_pool(at: Site, input: Any, output_size: Any, return_indices: bool = False) -> Value:
    """Max pooling whose windows do not overlap."""
    if return_indices:
        raise at.refuse("with indices", _DEFAULT_POOL)
    return _adaptive(at, input, "max", output_size)


def _adaptive(at: Site, input: Any, kind: Literal["average", "max"], output_size: Any) -> Value:
    spatial = at.shape_of(activation(at, input))[1:]
    wanted = [n if o is None else o for n, o in zip(spatial, _axes(output_size, len(spatial)), strict=True)]
    if any(n % o for n, o in zip(spatial, wanted, strict=True)):
        raise at.refuse(
            f"{spatial} does not divide into {tuple(wanted)} equal windows", "choose a size that divides it"
        )
    return _pool(at, input, kind, [n // o for n, o in zip(spatial, wanted, strict=True)], None, 0, True)


def _pool(at: Site, input: Any, kind: Literal["average", "max"], kernel: Any, stride: Any, padding: Any,
          count_include_pad: bool) -> Value:  # fmt: skip
    x = activation(at, input)
    shape = at.shape_of(x)
    n = len(shape) - 1
    k = _axes(kernel, n)
    op = Pool(kind, k, _axes(stride, n) if stride else k, _axes(padding, n), count_include_pad)
    if op.kernel == op.stride == (1,) * n and not any(op.padding):
        return x
    try:
        fits = output_shape(op, shape) == at.shape
    except NetworkError:
        fits = False
    if not fits:  # ceil_mode, where it makes a difference
        raise at.refuse(f"with ceil_mode it makes {at.shape}, with windows beyond the border", _DEFAULT_POOL)
    return at.each(x, op)


def mean(at: Site, input: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Mean over all spatial axes: global average pooling."""
    x = activation(at, input)
    spatial = at.shape_of(x)[1:]
    axes = () if dim is None else tuple(dim) if isinstance(dim, Sequence) else (dim,)
    if not spatial or sorted(a % (len(spatial) + 2) for a in axes) != list(range(2, len(spatial) + 2)):
        raise at.refuse(f"mean over {dim}", "take the mean over all axes after the channels, or none")
    pooled = at.each(x, Pool("average", spatial))
    return pooled if keepdim else at.each(pooled, Flatten())


def reshape(at: Site, input: Any, *_: Any, **__: Any) -> Value:
    """View, reshape, flatten or squeeze that leaves the sample as it is or makes all its axes one."""
    x = activation(at, input)
    shape = at.shape_of(x)
    if at.whole_batch and at.shape == shape:
        return x
    if at.whole_batch and at.shape == (math.prod(shape),):
        return at.each(x, Flatten())
    raise at.refuse(
        f"samples of shape {shape} become {at.shape}", "flatten all axes after the batch, as flatten(1) does"
    )


def unchanged(at: Site, input: Any, *_: Any, **__: Any) -> Value:
    """Identity, contiguous, clone, detach, a cast that changes nothing."""
    x = activation(at, input)
    if not at.same_type or at.shape != at.shape_of(x):
        raise at.refuse("it changes the type or the shape", "convert a model of one floating type")
    return x


def dropout(at: Site, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    """Inactive in eval mode."""
    if training and p:
        raise at.refuse("it stays active in eval mode", "pass training=self.training")
    return activation(at, input)


def cat(at: Site, tensors: Sequence[Any], dim: int = 0) -> Value:
    """Concatenation on the channel axis."""
    if dim % (len(at.shape) + 1) != 1:
        raise at.refuse(f"concatenation on axis {dim}", "concatenate on the channel axis (1)")
    return Value(tuple(p for t in tensors for p in activation(at, t).parts))


def add(at: Site, input: Any, other: Any, alpha: float = 1) -> Value:
    """``input + alpha other``: of two activations a layer with two branches, with a constant a Scale."""
    if not isinstance(other, Value):
        x = activation(at, input)
        return _scaled(at, x, 1.0, alpha * channelwise(at, other, at.shape_of(x)))
    if not isinstance(input, Value):
        return _scaled(at, other, float(alpha), channelwise(at, input, at.shape_of(other)))
    sizes = [[at.drawing.shapes[p] for p in v.parts] for v in (input, other)]
    if sizes[0] != sizes[1]:
        raise at.refuse(
            f"samples of shapes {at.shape_of(input)} and {at.shape_of(other)}, in parts {sizes[0]} and {sizes[1]}",
            "add activations of one shape; concatenate after the addition",
        )
    made: list[str] = []
    for p, q in zip(input.parts, other.parts, strict=True):
        made += at.layer((Branch(Scale(1.0), p), Branch(Scale(float(alpha)), q))).parts
    return Value(tuple(made))


def sub(at: Site, input: Any, other: Any, alpha: float = 1) -> Value:
    """``input - alpha other``."""
    return add(at, input, other, -alpha)


def mul(at: Site, input: Any, other: Any) -> Value:
    """Product with a constant."""
    if isinstance(input, Value) and isinstance(other, Value):
        raise at.refuse("the product of two activations", "replace the gate by a sum, or by weights that are constant")
    x, c = (input, other) if isinstance(input, Value) else (activation(at, other), input)
    return _scaled(at, x, channelwise(at, c, at.shape_of(x)))


def div(at: Site, input: Any, other: Any, rounding_mode: str | None = None) -> Value:
    """Quotient by a constant."""
    if isinstance(other, Value) or rounding_mode is not None:
        raise at.refuse("a division by an activation, or one that rounds", "divide by a constant")
    x = activation(at, input)
    with np.errstate(divide="ignore"):  # a division by zero is refused as an infinite factor
        factor = np.divide(1.0, channelwise(at, other, at.shape_of(x)))
    return _scaled(at, x, factor if factor.ndim else float(factor))


def neg(at: Site, input: Any) -> Value:
    """``-x``."""
    return _scaled(at, activation(at, input), -1.0)


def _scaled(at: Site, x: Value, factor: Array | float, offset: Array | float | None = None) -> Value:
    """One Scale layer per part; none where it changes nothing."""
    none = offset is None or not np.any(offset)
    if none and np.ndim(factor) == 0 and factor == 1:
        return x
    made = [
        at.drawing.add(at.path, (Branch(Scale(_part(factor, s), None if none else _part(offset, s)), p),))
        for p, s in at.slices(x)
    ]
    if offset is not None:
        at.drawing.separate.update(made)
    return Value(tuple(made))


def _part(value: Any, where: slice) -> Any:
    return value[where] if np.ndim(value) else value


def _axes(value: Any, n: int) -> Shape:
    """One value per axis."""
    v = tuple(value) if isinstance(value, Sequence) else (value,)
    return v * n if len(v) == 1 else v
