"""A converted net in numpy alone, written from the specification and not from `blocks`: spike for spike what must come out.

Sums are taken in float64 and rounded once to the dtype of the net. Where all numbers are ``k / 2^m`` of few bits, every
correct implementation gives the same bits. For ordinary weights each leaf gets the recorded values of its sources and a
bound on how far rounding alone may take it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..content import Array
from ..errors import DataError, Unsupported
from .walk import Node, follow


@dataclass
class Simulated:
    """What was computed.

    Parameters
    ----------
    values : mapping of str to array
        Output of each leaf by path, and ``output`` or ``output.<k>``; shaped as torch has them.
    bounds : mapping of str to array
        How far a correct implementation may be from it, by rounding alone; 0 where there is nothing to round.
    """

    values: dict[str, Array] = field(default_factory=dict)
    bounds: dict[str, Array | float] = field(default_factory=dict)


def simulate(
    tree: Node, tensors: Mapping[str, Array], image: Array, forced: Mapping[str, Array] | None = None
) -> Simulated:
    """Run a net of the family on images.

    Parameters
    ----------
    tree : mapping
        Its description (`rebuild.describe`).
    tensors : mapping of str to array
        Parameters and buffers by path.
    image : array [B, C, H, W]
        Of the dtype in which the net computes.
    forced : mapping of str to array, optional
        What leaves gave elsewhere, by path: each leaf's own value is kept, and this is handed on in its place.

    Returns
    -------
    Simulated

    Raises
    ------
    Unsupported
        A module that emits SiLU, or is outside the family; names it by path.
    DataError
        Tensors that are missing, or sizes that do not fit.
    """
    net = _Arrays(tree, tensors, image.dtype, forced)
    try:
        y = follow(tree, net.operations(), image)
    except KeyError as e:
        raise DataError(f"{e.args[0]}: the tensor is missing") from e
    outputs = {f"output.{k}": v for k, v in enumerate(y)} if isinstance(y, list) else {"output": y}
    for name, value in outputs.items():
        net.keep(name, value, net.mean_bounds.pop(0))
    return net.found


class _Arrays:
    """Operations on arrays ``[T, B, C, H, W]``."""

    def __init__(
        self, tree: Node, tensors: Mapping[str, Array], dtype: Any, forced: Mapping[str, Array] | None
    ) -> None:
        self.steps = tree["attributes"]["constants"]["steps"]
        self.tensors, self.dtype, self.forced = tensors, dtype, forced or {}
        self.found = Simulated()
        self.mean_bounds: list[Array] = []
        self.u = float(np.finfo(dtype).eps) / 2
        self.blurred = 0  # roundings that the values before a linear map have already

    def operations(self) -> dict[str, Callable[[str, Node, Any], Any]]:
        return {
            "image": lambda path, node, x: np.broadcast_to(x, (self.steps, *x.shape)),
            "add": lambda path, node, xs: xs[0] + xs[1],
            "mean over T": self._mean_over_steps, "mean over space": self._mean_over_space,
            "Snn_Conv2d": self._convolution, "BatchNorm3d1": self._norm, "BatchNorm3d2": self._norm,
            "mem_update": self._memory, "nn.SiLU": self._silu, "nn.Identity": lambda path, node, x: self.keep(path, x),
            "nn.MaxPool3d": self._pool, "nn.Upsample": self._upsample, "Upsample": self._upsample,
            "nn.Linear": self._linear, "Concat": lambda path, node, xs: self.keep(path, np.concatenate(xs, 2)),
        }  # fmt: skip

    def keep(self, path: str, value: Array, bound: Array | float = 0.0) -> Array:
        """Note what a leaf gives and hand on what is forced there."""
        self.found.values[path], self.found.bounds[path] = value, bound
        if path not in self.forced:
            return value
        given = self.forced[path]
        if given.shape != value.shape:
            raise DataError(f"{path}: {list(given.shape)} where the specification has {list(value.shape)}")
        return given

    def gamma(self, n: int) -> float:
        """Relative error of n roundings, and of the float64 sum here (Higham 2002, section 3.1)."""
        here = n * 2.0**-53
        return n * self.u / (1 - n * self.u) + here / (1 - here)

    def rounded(self, path: str, value: Array, size: Array, roundings: int) -> Array:
        """Keep a sum, `size` being that of its terms' absolute values, rounded to the net's dtype."""
        return self.keep(path, value.astype(self.dtype), self.gamma(roundings) * size)

    def weights(self, path: str) -> tuple[Array, Array]:
        w = self.tensors[f"{path}.weight"].astype(np.float64)
        b = self.tensors.get(f"{path}.bias")
        return w, np.zeros(len(w)) if b is None else b.astype(np.float64)

    def _convolution(self, path: str, node: Node, x: Array) -> Array:
        a, (w, b) = node["attributes"], self.weights(path)
        value = _convolved(x, w, a) + b[:, None, None]
        size = _convolved(np.abs(x), np.abs(w), a) + np.abs(b)[:, None, None]
        return self.rounded(path, value, size, w[0].size + 2)

    def _norm(self, path: str, node: Node, x: Array) -> Array:
        """``gamma (x - mean) / sqrt(var + eps) + beta``; [T, B, C, H, W], kept as [B, C, T, H, W], which the leaf sees."""
        if not all(node["attributes"][k] for k in ("affine", "track_running_stats")):
            raise Unsupported(path, "a batch norm without its own statistics depends on the batch")
        gamma, beta, mean, var = (
            self.tensors[f"{path}.{k}"].astype(np.float64) for k in ("weight", "bias", "running_mean", "running_var")
        )
        scale = (gamma / np.sqrt(var + node["attributes"]["eps"]))[:, None, None]
        column = [v[:, None, None] for v in (beta, mean)]
        value = (x.astype(np.float64) - column[1]) * scale + column[0]
        size = (np.abs(x).astype(np.float64) + np.abs(column[1])) * np.abs(scale) + np.abs(column[0])
        # eps as stored, sum, root, quotient, product with gamma; product, difference, sum
        return np.moveaxis(self.rounded(path, np.moveaxis(value, 0, 2), np.moveaxis(size, 0, 2), 8), 2, 0)

    def _memory(self, path: str, node: Node, x: Array) -> Array:
        """A potential that decays, takes in its input, and is emptied by a spike; in the net's own dtype."""
        constants = node["attributes"]["constants"]
        if node["attributes"]["act"]:
            raise Unsupported(path, "it emits SiLU: there are no spikes to compare")
        if len(x) != constants["steps"]:
            raise DataError(f"{path}: {len(x)} steps to an activation of T = {constants['steps']}")
        level, decay = (x.dtype.type(constants[k]) for k in ("threshold", "decay"))
        held = np.zeros_like(x[0])
        spikes = np.zeros_like(x)
        for t, arriving in enumerate(x):
            held = held * decay + arriving
            over = held > level
            spikes[t][over] = 1
            held[over] = 0
        return self.keep(path, spikes)

    def _silu(self, path: str, node: Node, x: Array) -> Array:
        raise Unsupported(path, "an nn.SiLU that was left: its values are no spikes")

    def _pool(self, path: str, node: Node, x: Array) -> Array:
        """Greatest value of each window in space; kept as the leaf sees it, [B, C, T, H, W]."""
        a = node["attributes"]
        if a["ceil_mode"] or any(np.ravel(a["padding"])) or any(n != 1 for n in np.ravel(a["dilation"])):
            raise Unsupported(path, "max pooling with padding, dilation or ceil_mode")
        (_, kh, kw), (_, sh, sw) = (np.broadcast_to(a[k], 3) for k in ("kernel_size", "stride"))
        value = sliding_window_view(x, (kh, kw), (-2, -1))[..., ::sh, ::sw, :, :].max((-2, -1))
        return np.moveaxis(self.keep(path, np.moveaxis(value, 0, 2)), 2, 0)

    def _upsample(self, path: str, node: Node, x: Array) -> Array:
        a = node["attributes"]
        factor = a["scale"] if node["kind"] == "Upsample" else a["scale_factor"]
        if a.get("mode", "nearest") != "nearest" or a.get("size") is not None or np.ndim(factor) or factor % 1:
            raise Unsupported(path, "upsampling other than nearest by a whole factor")
        value = np.repeat(np.repeat(x, int(factor), -2), int(factor), -1)
        if node["kind"] == "Upsample":
            return self.keep(path, value)
        return self.keep(path, value.reshape(-1, *value.shape[2:])).reshape(value.shape)

    def _mean_over_space(self, path: str, node: Node, x: Array) -> Array:
        """In float64: it is no leaf, and its roundings are added to those of the linear map behind it."""
        self.blurred = x.shape[-1] * x.shape[-2]
        return np.stack([x.mean((-2, -1), dtype=np.float64), np.abs(x).mean((-2, -1), dtype=np.float64)])

    def _linear(self, path: str, node: Node, x: Array) -> Array:
        w, b = self.weights(path)
        return self.rounded(path, x[0] @ w.T + b, x[1] @ np.abs(w).T + np.abs(b), w[0].size + 2 + self.blurred)

    def _mean_over_steps(self, path: str, node: Node, x: Array) -> Array:
        mean, size = (v.mean(0, dtype=np.float64) for v in (x, np.abs(x)))
        if node["kind"] == "Detect":
            mean, size = (_boxes(v, node["attributes"]["na"]) for v in (mean, size))
        self.mean_bounds.append(self.gamma(len(x)) * size)
        return np.asarray(mean, self.dtype)


def _boxes(y: Array, anchors: int) -> Array:
    """[B, na * no, H, W] -> [B, na, H, W, no]."""
    return np.moveaxis(y.reshape(len(y), anchors, -1, *y.shape[2:]), 2, -1)


def _convolved(x: Array, w: Array, a: Mapping[str, Any]) -> Array:
    """Correlation of maps [T, B, C, H, W] with w [C', C / groups, kh, kw], in float64."""
    (sh, sw), (ph, pw), (dh, dw) = (np.broadcast_to(a[k], 2) for k in ("stride", "padding", "dilation"))
    padded = np.pad(x.astype(np.float64), [(0, 0)] * 3 + [(ph, ph), (pw, pw)])
    kh, kw = w.shape[2:]
    windows = sliding_window_view(padded, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), (-2, -1))
    windows = windows[:, :, :, ::sh, ::sw, ::dh, ::dw]
    parts = zip(np.split(windows, a["groups"], 2), np.split(w, a["groups"], 0), strict=True)
    sums = [np.tensordot(v, k, ([2, 5, 6], [1, 2, 3])) for v, k in parts]  # [T, B, H', W', C']
    return np.moveaxis(np.concatenate(sums, -1), -1, 2)
