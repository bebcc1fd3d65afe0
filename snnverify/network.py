"""What a network is: layers that sum branches, complete neuron semantics, shapes.

ANN and SNN are the same `Network` type; conversion is a pure function from one to the other. A layer is the *sum of
its branches*, each an operation on the values of an earlier layer, then an activation; so a residual sum is two
branches and a cycle cannot be written. The sample axes of a value are ``(C,)``, ``(C, L)`` or ``(C, H, W)``; channel
is always axis 0, and a per-channel parameter has shape ``()`` or ``(C,)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Union

import numpy as np

from .activation import Act, Clip, ClipFloor, Cuba, Integer, Neuron, Relu, SigmaDelta
from .content import Array, Content, frozen
from .errors import NetworkError

Shape = tuple[int, ...]
INPUT = "input"


@dataclass(frozen=True, eq=False)
class Dense(Content):
    """``y = W x + b``. ``weight``: [out, in]; ``bias``: [out] or None."""

    weight: Array
    bias: Array | None = None


@dataclass(frozen=True, eq=False)
class Conv(Content):
    """Convolution over 1 or 2 axes, in the cross-correlation form of the deep-learning libraries.

    Parameters
    ----------
    weight : array
        [out, in / groups, *kernel]; transposed: [in, out / groups, *kernel].
    bias : array, optional
        [out].
    stride, dilation, output_padding : tuple of int, one per axis
        ``output_padding`` belongs to the transposed form alone.
    padding : tuple of (before, after), one per axis
        Zeros added around the input; in the transposed form, cropped from the output.
    groups : int
    transposed : bool
    """

    weight: Array
    bias: Array | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        axes = self.weight.ndim - 2
        for name, default in (("stride", 1), ("dilation", 1), ("output_padding", 0), ("padding", (0, 0))):
            value = getattr(self, name) or (default,) * axes
            if len(value) != axes:
                raise NetworkError(f"Conv.{name} = {value}: the kernel has {axes} axes")
            object.__setattr__(self, name, value)
        if min((*self.stride, *self.dilation)) < 1:
            raise NetworkError(f"Conv: stride {self.stride}, dilation {self.dilation}: at least 1")
        if self.groups < 1 or self.weight.shape[0] % self.groups:
            raise NetworkError(
                f"Conv.groups = {self.groups}: it must divide the {self.weight.shape[0]} channels of axis 0"
            )

    @property
    def channels(self) -> tuple[int, int]:
        """Input and output channels."""
        a, b = self.weight.shape[:2]
        return (a, b * self.groups) if self.transposed else (b * self.groups, a)


@dataclass(frozen=True, eq=False)
class Pool(Content):
    """Pooling over the trailing axes.

    Parameters
    ----------
    kind : {"average", "sum", "max", "gate"}
        ``gate`` is the maximum of spike trains (after Rueckauer et al., Front. Neurosci. 11:682, 2017, section "Spiking
        max-pooling"): with ``A_i(t)`` what unit i of the window has handed on in steps 1 ... t, the current one included
        (so that the first spike passes), it hands on ``y(t) = max_i A_i(t) - max_i A_i(t - 1)``, A(0) = 0. Of trains of
        one spike a step that lets the spikes of the unit with the greatest count through; on a tie the unit that leads
        keeps the gate (at first the one that spikes first, of several the lowest index), so that trains which take turns
        are not added up. Over one step, or of constants, it is the maximum.
    kernel, stride, padding : tuple of int, one per axis
        Padding is symmetric, by zeros (average, sum) or by minus infinity (max, gate).
    count_include_pad : bool
        Whether an average divides by the whole kernel (True) or by the entries inside the input (False).
    """

    kind: Literal["average", "sum", "max", "gate"]
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "stride", self.stride or self.kernel)
        if min((*self.kernel, *self.stride)) < 1:
            raise NetworkError(f"Pool: kernel {self.kernel}, stride {self.stride}: at least 1")
        object.__setattr__(self, "padding", self.padding or (0,) * len(self.kernel))


@dataclass(frozen=True, eq=False)
class Flatten(Content):
    """All sample axes into one, in C order."""


@dataclass(frozen=True, eq=False)
class Scale(Content):
    """``y = factor x + bias``, per channel or for all: the identity of a skip, or a batch normalisation."""

    factor: Array | float = 1.0
    bias: Array | float | None = None


Op = Union[Dense, Conv, Pool, Flatten, Scale]  # noqa: UP007 - evaluated at run time under Python 3.10


@dataclass(frozen=True, eq=False)
class Branch(Content):
    """One summand of a layer: `op` on the values of layer `source` (or ``"input"``)."""

    op: Op
    source: str = INPUT


@dataclass(frozen=True, eq=False)
class Layer(Content):
    """The sum of its branches, then an activation; ``act=None`` passes analog values on."""

    name: str
    branches: tuple[Branch, ...]
    act: Act = None


@dataclass(frozen=True, eq=False)
class Network(Content):
    """Layers in the order of computation; the last one is the output.

    Parameters
    ----------
    input_shape : tuple of int
        Sample axes of the input, channel first.
    layers : tuple of Layer
    note : str
        Where it comes from.

    Raises
    ------
    NetworkError
        Two layers of one name, a source that is not an earlier layer, shapes that do not fit, NaN or infinity.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    note: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers:
            raise NetworkError("network: it has no layer")
        _ = self.shapes

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Sample shape of the input and of every layer."""
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        fractions: set[str] = set()  # analog layers that may make fractions of integers
        for layer in self.layers:
            if layer.name in shapes:
                raise NetworkError(f"layer {layer.name!r}: the name is taken")
            if not layer.branches:
                raise NetworkError(f"layer {layer.name!r}: it has no branch")
            found: list[Shape] = []
            for b in layer.branches:
                if b.source not in shapes:
                    raise NetworkError(f"layer {layer.name!r}: source {b.source!r} is not an earlier layer")
                _finite(layer.name, b.op)
                try:
                    found.append(output_shape(b.op, shapes[b.source]))
                except NetworkError as e:
                    raise NetworkError(f"layer {layer.name!r}: {e}") from None
            if len(set(found)) > 1:
                raise NetworkError(f"layer {layer.name!r}: its branches have shapes {found}; a sum needs equal ones")
            if isinstance(layer.act, Integer):
                _integer(layer)
                if fractions & {b.source for b in layer.branches}:
                    what = f"layer {layer.name!r}: it reads averages or fractions"
                    raise NetworkError(f"{what}; {type(layer.act).__name__} takes integers: pool by sums")
            elif layer.act is None and any(not whole(b.op) or b.source in fractions for b in layer.branches):
                fractions.add(layer.name)
            if layer.act is not None:
                _finite(layer.name, layer.act)
                _per_channel(layer.name, layer.act, found[0])
            shapes[layer.name] = found[0]
        return shapes

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    @property
    def output(self) -> Layer:
        """The last layer."""
        return self.layers[-1]

    @property
    def spiking(self) -> tuple[Layer, ...]:
        """The layers whose activation is a spiking neuron."""
        return tuple(layer for layer in self.layers if isinstance(layer.act, (Neuron, *Integer)))


def gated(branch: Branch) -> bool:
    """Whether a branch is the gate of a spiking max pooling: the one operation with a state."""
    return isinstance(branch.op, Pool) and branch.op.kind == "gate"


def whole(op: Op) -> bool:
    """Whether an operation makes integers of integers: its weights and bias are some."""
    if isinstance(op, Pool):
        return op.kind != "average"
    parts = (getattr(op, name, None) for name in ("weight", "factor", "bias"))
    return all(p is None or np.array_equal(p, np.rint(p)) for p in parts)


def per_channel(value: Array | float, shape: Shape) -> Array:
    """Give a parameter of shape () or (C,) the axes of a sample, so that it broadcasts along the channel axis."""
    a = np.asarray(value)
    return a.reshape(a.shape + (1,) * (len(shape) - 1)) if a.ndim else a


def output_shape(op: Op, shape: Shape) -> Shape:
    """Sample shape that `op` makes of `shape`; `NetworkError` where it does not fit."""
    if isinstance(op, Flatten):
        return (math.prod(shape),)
    if isinstance(op, Scale):
        for p in (op.factor, op.bias):
            if p is not None and np.shape(p) not in ((), shape[:1]):
                raise NetworkError(f"Scale parameter of shape {np.shape(p)} on input {shape}: () or ({shape[0]},)")
        return shape
    if isinstance(op, Dense):
        if op.weight.ndim != 2 or shape != op.weight.shape[1:]:
            raise NetworkError(f"Dense weight {op.weight.shape} on input {shape}: [out, in] on (in,)")
        _bias(op.bias, op.weight.shape[0])
        return (op.weight.shape[0],)
    axes = len(op.kernel) if isinstance(op, Pool) else op.weight.ndim - 2
    if len(shape) != axes + 1:
        raise NetworkError(f"{type(op).__name__} over {axes} axes on input {shape}: channel first, then {axes} axes")
    if isinstance(op, Pool):
        if any(p > k // 2 for k, p in zip(op.kernel, op.padding, strict=True)):
            raise NetworkError(f"Pool padding {op.padding} is over half of kernel {op.kernel}")
        out = tuple((n + 2 * p - k) // s + 1
                    for n, k, s, p in zip(shape[1:], op.kernel, op.stride, op.padding, strict=True))  # fmt: skip
        channels = shape[0]
    else:
        wanted, channels = op.channels
        if shape[0] != wanted:
            raise NetworkError(f"Conv weight {op.weight.shape}, groups {op.groups} on input {shape}: {wanted} channels")
        _bias(op.bias, channels)
        out = tuple(
            (n - 1) * s - sum(p) + d * (k - 1) + o + 1 if op.transposed else (n + sum(p) - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d, o in zip(
                shape[1:], op.weight.shape[2:], op.stride, op.padding, op.dilation, op.output_padding, strict=True
            )
        )
    if min(out) < 1:
        raise NetworkError(f"{type(op).__name__} on input {shape} leaves nothing: output {(channels, *out)}")
    return (channels, *out)


def _bias(bias: Array | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise NetworkError(f"bias of shape {bias.shape}: ({channels},)")


def _integer(layer: Layer) -> None:
    """Refuse what integer dynamics cannot add up; their recurrence has its bias in the neuron, not in the sum."""
    kind = type(layer.act).__name__
    for b in layer.branches:
        if isinstance(layer.act, Cuba) and layer.act.drive == "bias":
            parts = [v for v in (getattr(b.op, k, None) for k in ("weight", "factor", "bias")) if v is not None]
            if not all(whole(Scale(np.ldexp(v, layer.act.bias_exponent))) for v in parts):
                what = f"layer {layer.name!r}: a weight or bias that is no integer times 2^-{layer.act.bias_exponent}"
                raise NetworkError(f"{what}, of which the bias mantissa of {kind} is one; round it first")
            continue  # whether the mantissa is, depends on the input
        encodes = isinstance(layer.act, SigmaDelta) and layer.act.role == "delta"
        if not whole(b.op):
            what = f"layer {layer.name!r}: a {type(b.op).__name__} with weights that are no integers"
            raise NetworkError(f"{what}; {kind} takes integers: quantise them first, and pool by sums")
        bias = getattr(b.op, "bias", None)
        if bias is not None and np.any(bias) and not encodes:  # an encoder's is part of its affine input
            raise NetworkError(f"layer {layer.name!r}: a branch has a bias; a {kind} layer has it in {kind}.bias")


def _finite(where: str, item: Content) -> None:
    for name, value in vars(item).items():
        if isinstance(value, (float, np.ndarray)) and not np.all(np.isfinite(value)):
            raise NetworkError(f"layer {where!r}: {type(item).__name__}.{name} holds NaN or infinity; mend the weights")


def _per_channel(where: str, act: Content, shape: Shape) -> None:
    for name, value in vars(act).items():
        if isinstance(act, Cuba) and name == "recurrent":
            if value is not None and value.shape != shape * 2:
                raise NetworkError(
                    f"layer {where!r}: recurrent has shape {value.shape}; {(*shape, *shape)} for {shape}"
                )
        elif isinstance(value, np.ndarray) and value.shape not in ((), shape[:1]):
            raise NetworkError(f"layer {where!r}: {name} has shape {value.shape}; () or ({shape[0]},)")


__all__ = [
    "INPUT", "Act", "Array", "Branch", "Clip", "ClipFloor", "Conv", "Cuba", "Dense", "Flatten", "Integer", "Layer",
    "Network", "Neuron", "Op", "Pool", "Relu", "Scale", "Shape", "SigmaDelta", "frozen", "gated", "output_shape",
    "per_channel", "whole",
]  # fmt: skip
