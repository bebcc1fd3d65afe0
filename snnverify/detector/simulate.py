"""The family in numpy, written from its specification: what torch computes is held to this, not to itself.

Nothing of `blocks` is used. Values are exact where every product and sum is representable (dyadic weights in float64).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..content import Array

Arrays = Mapping[str, Array]


def membrane(x: Array, threshold: float, decay: float) -> Array:
    """Spikes of ``mem[t] = decay mem[t-1] (1 - s[t-1]) + x[t]``, ``s = mem > threshold``, ``mem[0] = x[0]``; x: [T, ...]."""
    mem, out = np.array(x[0]), []
    for t in range(len(x)):
        if t:
            mem = mem * x.dtype.type(decay) * (1 - out[-1]) + x[t]
        out.append((mem > threshold).astype(x.dtype))
    return np.stack(out)


def silu_membrane(x: Array, decay: float, inplace: bool) -> Array:
    """Values ``s = silu(mem)`` of the same recurrence; where the SiLU works in place, ``mem[t-1]`` in it is ``s[t-1]``."""
    mem, out = np.array(x[0]), []
    for t in range(len(x)):
        if t:
            mem = (out[-1] if inplace else mem) * x.dtype.type(decay) * (1 - out[-1]) + x[t]
        out.append(silu(mem))
    return np.stack(out)


def silu(x: Array) -> Array:
    """``x / (1 + exp(-x))``."""
    with np.errstate(over="ignore"):
        return np.asarray(x / (1 + np.exp(-x)))


def convolution(x: Array, weight: Array, bias: Array | None, stride: int, padding: int) -> Array:
    """Convolution of every step: [T, B, C, H, W], [O, C, k, k] -> [T, B, O, H', W']."""
    k, around = weight.shape[-1], [(0, 0)] * 3 + [(padding, padding)] * 2
    windows = sliding_window_view(np.pad(x, around), (k, k), (-2, -1))[..., ::stride, ::stride, :, :]
    y = np.einsum("tbchwij,ocij->tbohw", windows, weight, optimize=True)
    return y if bias is None else y + bias[:, None, None]


def normalised(x: Array, arrays: Arrays, at: str, eps: float) -> Array:
    """``gamma (x - mean) / sqrt(var + eps) + beta`` by channel."""
    gamma, beta, mean, var = (
        arrays[f"{at}.{n}"][:, None, None] for n in ("weight", "bias", "running_mean", "running_var")
    )
    return np.asarray((x - mean) * (gamma / np.sqrt(var + eps)) + beta)


class Run:
    """One forward pass; `taken` and `given` hold input and output of every convolution and activation by module path.

    Parameters
    ----------
    arrays : mapping of str to array
        State dict.
    threshold, decay : float
    eps : float
        Of the batch norms.
    """

    def __init__(self, arrays: Arrays, threshold: float, decay: float, eps: float = 1e-5) -> None:
        self.arrays, self.threshold, self.decay, self.eps = arrays, threshold, decay, eps
        self.taken: dict[str, Array] = {}
        self.given: dict[str, Array] = {}

    def spikes(self, x: Array, at: str) -> Array:
        """An activation."""
        self.taken[at] = x
        self.given[at] = y = membrane(x, self.threshold, self.decay)
        return y

    def conv(self, x: Array, at: str, stride: int = 1) -> Array:
        """A convolution with as much padding as keeps the size."""
        weight = self.arrays[f"{at}.weight"]
        self.taken[at] = x
        self.given[at] = y = convolution(x, weight, self.arrays.get(f"{at}.bias"), stride, weight.shape[-1] // 2)
        return y

    def conv_bn(self, x: Array, at: str, conv: str, bn: str, stride: int = 1) -> Array:
        """A convolution and the batch norm after it."""
        return normalised(self.conv(x, f"{at}.{conv}", stride), self.arrays, f"{at}.{bn}.bn", self.eps)

    def residual(self, x: Array, at: str, stride: int) -> Array:
        """A `BasicBlock_2`."""
        f, s = f"{at}.residual_function", f"{at}.shortcut"
        y = self.conv_bn(self.spikes(x, f"{f}.0"), f, "1", "2", stride)
        y = self.conv_bn(self.spikes(y, f"{f}.3"), f, "4", "5")
        if f"{s}.2.weight" not in self.arrays:
            return y + x
        h, w = (n // stride for n in x.shape[-2:])
        pooled = x[..., : h * stride, : w * stride].reshape(*x.shape[:3], h, stride, w, stride).max((-3, -1))
        return y + self.conv_bn(self.spikes(pooled, f"{s}.1"), s, "2", "3")

    def block(self, name: str, x: Any, at: str, arguments: list[Any]) -> Any:
        """One block of a description; a list of maps where it joins them."""
        stride = arguments[2] if len(arguments) > 2 else 1
        if name == "BasicBlock_2":
            return self.residual(x, at, stride)
        if name in ("Conv", "Conv_A", "Conv_1"):
            y = self.conv_bn(x, at, "conv", "bn", stride)
            return y if name == "Conv_1" else self.spikes(y, f"{at}.act")
        if name == "Upsample":
            return x.repeat(arguments[0], -2).repeat(arguments[0], -1)
        if name == "Concat":
            return np.concatenate(x, 2)
        if name == "Classify":
            return (x.mean((-2, -1)) @ self.arrays[f"{at}.linear.weight"].T + self.arrays[f"{at}.linear.bias"]).mean(0)
        ys = [self.conv(v, f"{at}.m.{i}").mean(0) for i, v in enumerate(x)]  # Detect
        anchors = self.arrays[f"{at}.anchors"].shape[1]
        return [y.reshape(len(y), anchors, -1, *y.shape[2:]).transpose(0, 1, 3, 4, 2) for y in ys]


def simulate(description: Mapping[str, Any], arrays: Arrays, image: Array, eps: float = 1e-5) -> tuple[Any, Run]:
    """Run a converted net: every activation emits spikes.

    Parameters
    ----------
    description : mapping
        As of `model.Detector`.
    arrays : mapping of str to array
        Its state dict.
    image : array [B, C, H, W]
    eps : float

    Returns
    -------
    output : array [B, classes], or list of arrays [B, anchors, H, W, 5 + classes]
    run : Run
    """
    run = Run(arrays, description.get("threshold", 0.5), description.get("decay", 0.25), eps)
    y: Any = np.broadcast_to(image, (description.get("T", 5), *image.shape))
    outputs: list[Any] = []
    for i, (source, number, name, arguments) in enumerate([*description["backbone"], *description["head"]]):
        if isinstance(source, list):
            y = [outputs[j] for j in source]
        elif i:
            y = outputs[source]
        for k in range(number):
            at = f"model.{i}" if number == 1 else f"model.{i}.{k}"
            y = run.block(name, y, at, list(arguments) if k == 0 else [*arguments[:2], 1])
        outputs.append(y)
    return y, run
