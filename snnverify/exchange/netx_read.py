"""NetX files (HDF5) of lava-dl as networks of integer neurons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..activation import Cuba, SigmaDelta
from ..content import Array
from ..errors import CodecError, ConfigError, NetworkError, Unsupported
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, output_shape
from .hdf5 import Source, opened
from .netx_fields import Fields, layers_of
from .netx_format import BUDGET, INPUT_WEIGHT, LAG, MADE, wrong_delays


@dataclass(frozen=True)
class Options:
    """How the file is to be run; nothing of it is stored."""

    transform: bool
    reset_interval: int | None
    reset_offset: int
    overflow: Literal["refuse", "wrap", "none"]


def read_netx(
    source: Source, *, layers: int | None = None, input_shape: Shape | None = None, transform: bool = True,
    reset_interval: int | None = None, reset_offset: int = 0, overflow: Literal["refuse", "wrap", "none"] = "refuse",
) -> Network:  # fmt: skip
    """Read a network that lava-dl exported; its layers are named by their index in the file.

    An input layer with a neuron is a `Scale` and a `Cuba` with ``drive="bias"`` or a `SigmaDelta` of role "delta", which
    takes its input at once, where every other layer sees its source one step late; one without only states the shape. A
    pooling is two layers, ``k.sum`` (analog) and ``k``. A dense layer without neuron, and an average, is an analog
    read-out: slayer's meaning. lava's own reader gives the former a neuron out of reach of its threshold, whose potential
    is 64 times the running sum of the read-out (netx/hdf5.py create_dense).

    Parameters
    ----------
    source : path, bytes, or array of uint8
    layers : int, optional
        Read the first k layers of the file alone (`num_layers` of lava.lib.dl.netx).
    input_shape : tuple of int, optional
        (C,) or (C, H, W); needed for a file that begins with a convolution.
    transform : bool
        False: the input is the bias mantissa (or activation) itself, as users of netx hand it over, and not yet to be
        multiplied by the input layer's weight, 64 where none is stored.
    reset_interval, reset_offset : int
        As given to netx: the k-th layer with a neuron (from 0) is reset first in step ``reset_offset + k``.
    overflow : {"refuse", "wrap", "none"}
        As of `Cuba`.

    Raises
    ------
    CodecError
        Missing, no HDF5, reaching into other files, a dataset that is missing, malformed or contradicts another.
    Unsupported
        Layers, neurons and parameters that a network here cannot hold; names them with their place.
    ConfigError
        An option out of range.
    """
    if layers is not None and (not isinstance(layers, int) or layers < 1):
        raise ConfigError(f"layers = {layers!r}: at least 1, or None for all")
    if reset_interval is not None and reset_interval < 1:
        raise ConfigError(f"reset_interval = {reset_interval}: at least 1 step, or None for no reset")
    with opened(source, "NetX", BUDGET) as file:
        return _network(
            layers_of(file, layers), input_shape, Options(transform, reset_interval, reset_offset, overflow)
        )


def _network(found: Sequence[Fields], input_shape: Shape | None, options: Options) -> Network:
    shape = stated = _input_shape(found[0], input_shape)
    layers: list[Layer] = []
    source, neurons = INPUT, 0
    for i, f in enumerate(found):
        kind, ending = f.text("type"), i == len(found) - 1
        if kind == "input" and i > 0:
            raise CodecError(f"{f.where}: an input layer; it must be the first")
        if kind == "input" and "neuron/type" not in f:
            if unused := [key for key in ("weight", "bias") if key in f]:
                raise Unsupported(
                    f.at(unused[0]), "an input layer without neuron applies none", "export its neuron, too"
                )
            continue
        try:
            ops = OPS[kind](f, shape, options)
            for suffix, op in zip((".sum", "")[-len(ops) :], ops, strict=True):
                shape = output_shape(op, shape)
                layers.append(Layer(f"{i}{suffix}", (Branch(op, source),)))
                source = layers[-1].name
            f.agrees("shape", _stated(f, kind, shape))
            if kind not in ("flatten", "average") and "neuron/type" in f:
                act = _act(f, shape[0], kind, neurons, options)
                layers[-1] = Layer(source, layers[-1].branches, act)
                neurons += 1
            elif kind != "flatten" and not ending:
                raise Unsupported(f.where, "a layer without neuron before the last one", "only a read-out has none")
        except NetworkError as e:
            raise CodecError(f"{f.where}: {e}") from None
    if not layers:
        raise CodecError("layer: an input layer without neuron is all that is read; there is no network")
    return Network(stated, tuple(layers))


def _input_shape(first: Fields, given: Shape | None) -> Shape:
    """Shape of the network's input: stated in the file, given, or the inputs of a first dense layer."""
    kind = first.text("type")
    if kind == "input":
        shape = tuple(int(n) for n in first.whole("shape").reshape(-1))
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise CodecError(f"{first.at('shape')}: {shape}; (C,) or (C, H, W)")
        if given is not None and tuple(given) != shape:
            raise ConfigError(f"input_shape = {given}: the file says {shape}")
        return shape
    if given is not None:
        return tuple(given)
    if kind in ("dense", "dense_rec"):
        return (_matrix(first).shape[1],)
    raise Unsupported(first.where, f"the file begins with a {kind} layer and states no input", "give input_shape")


def _stated(f: Fields, kind: str, shape: Shape) -> Sequence[int]:
    """Form that the layer's own `shape` must have; flat ones may be padded by axes of length 1."""
    said = f.whole("shape").reshape(-1).tolist()
    return said if len(shape) == 1 and math.prod(said) == shape[0] else shape


def _input(f: Fields, shape: Shape, options: Options) -> tuple[Op, ...]:
    if not options.transform:
        return (Scale(1.0),)
    return (Scale(f.number("weight", INPUT_WEIGHT), f.number("bias") if "bias" in f else None),)


def _matrix(f: Fields, key: str = "weight") -> Array:
    """Weights [out, in] of a dense layer; netx takes flat ones, too."""
    weight, out = f.weight(key, 2), math.prod(f.whole("shape").reshape(-1).tolist())
    if weight.ndim == 1 and out > 0 and weight.size % out == 0:
        weight = weight.reshape(out, -1)
    if weight.ndim != 2:
        raise CodecError(f"{f.at(key)}: shape {weight.shape}; [out, in]")
    return weight


def _dense(f: Fields, shape: Shape, options: Options) -> tuple[Op, ...]:
    weight = _matrix(f)
    f.agrees("inFeatures", weight.shape[1:])
    f.agrees("outFeatures", weight.shape[:1])
    if "neuron/type" not in f and (extra := [key for key in ("bias", "delay", "weight_rec") if key in f]):
        raise Unsupported(f.at(extra[0]), "a layer without neuron has none", "export the layer with its neuron")
    return (Dense(weight),)


def _window(f: Fields, key: str = "weight") -> Array:
    """Weights [a, b, y, x] of a convolution or pooling."""
    weight = f.weight(key, 4)
    if weight.ndim != 4:
        raise CodecError(f"{f.at(key)}: shape {weight.shape}; two axes of channels, then y and x")
    f.agrees("kernelSize", weight.shape[2:])
    return weight


def _padding(f: Fields) -> tuple[int, int]:
    padding = f.pair("padding")
    if min(padding) < 0:
        raise CodecError(f"{f.at('padding')}: {padding}; at least 0")
    return padding


def _ends(f: Fields) -> tuple[tuple[int, int], ...]:
    return tuple((p, p) for p in _padding(f))


def _conv(f: Fields, shape: Shape, options: Options) -> tuple[Op, ...]:
    op = Conv(_window(f), None, f.pair("stride"), _ends(f), f.pair("dilation"), f.number("groups"),
              transposed=f.text("type") == "convT")  # fmt: skip
    f.agrees("inChannels", op.channels[:1])
    f.agrees("outChannels", op.channels[1:])
    return (op,)


def _uniform(f: Fields) -> tuple[Array, Any]:
    """Kernel of a pooling, and the one weight in it."""
    weight = _window(f)
    if weight.shape[:2] != (1, 1) or np.any(weight != weight.flat[0]):
        raise Unsupported(f.at("weight"), "a pooling with weights that differ", "write it as a convolution with groups")
    return weight, int(weight.flat[0])


def _pool(f: Fields, shape: Shape, options: Options) -> tuple[Op, ...]:
    weight, factor = _uniform(f)
    if f.pair("dilation") != (1, 1):
        raise Unsupported(f.at("dilation"), "a dilated pooling", "write it as a convolution with groups")
    return Pool("sum", weight.shape[2:], f.pair("stride"), _padding(f)), Scale(factor)


def _unpool(f: Fields, shape: Shape, options: Options) -> tuple[Op, ...]:
    weight, _ = _uniform(f)
    _affordable(f, shape[0] * weight.size)
    every = np.broadcast_to(weight, (shape[0], *weight.shape[1:]))
    return (Conv(every, None, f.pair("stride"), _ends(f), f.pair("dilation"), shape[0], transposed=True),)


def _affordable(f: Fields, numbers: int) -> None:
    if numbers > MADE:
        raise CodecError(f"{f.where}: its shapes imply a weight of {numbers} numbers; at most {MADE}")


def _average(f: Fields, shape: Shape, options: Options) -> tuple[Op, ...]:
    """Mean over equal blocks of units (slayer/block/base.py AbstractAverage)."""
    groups = math.prod(f.whole("shape").reshape(-1).tolist())
    if len(shape) > 1 or groups < 1 or shape[0] % groups:
        raise CodecError(f"{f.at('shape')}: {groups} averages do not divide the {shape} values of the layer before")
    _affordable(f, groups * shape[0])
    block = shape[0] // groups
    return (Dense(np.kron(np.eye(groups), np.full((1, block), 1 / block))),)


OPS: Mapping[str, Callable[[Fields, Shape, Options], tuple[Op, ...]]] = {
    "input": _input, "flatten": lambda f, shape, options: (Flatten(),), "average": _average, "dense": _dense,
    "dense_rec": _dense, "conv": _conv, "convT": _conv, "pool": _pool, "unpool": _unpool,
}  # fmt: skip


def _act(f: Fields, channels: int, kind: str, k: int, options: Options) -> Cuba | SigmaDelta:
    """Neuron of the k-th layer that has one."""
    sdnn, first = f.text("neuron/type") == "SDNN", kind == "input"
    if f.number("neuron/weight_exp", 0) != 0:
        raise Unsupported(f.at("neuron/weight_exp"), "a normalisation that scales: the file holds neither its weights nor "
                          "its bias so scaled, and netx leaves it out", "fold it before the export")  # fmt: skip
    if f.number("neuron/messageBits", 16 if sdnn else 0) != (16 if sdnn else 0):
        raise Unsupported(f.at("neuron/messageBits"), "messages of other than lava's default width", "leave it out")
    bias = 0 if first else f.per_channel("bias", channels, 0)
    delay = f.per_channel("delay", channels, 0)
    if wrong := wrong_delays(delay):
        raise Unsupported(f.at("delay"), wrong)
    try:
        return (_sigma_delta if sdnn else _cuba)(f, channels, bias, delay, first, k, options)
    except NetworkError as e:
        raise CodecError(f"{f.at('neuron')}: {e}") from None


def _cuba(f: Fields, channels: int, bias: Any, delay: Any, first: bool, k: int, options: Options) -> Cuba | SigmaDelta:
    if f.flag("neuron/gradedSpike"):
        raise Unsupported(f.at("neuron/gradedSpike"), "graded spikes of a CUBA neuron",
                          "export with graded_spike=False, or use sigma-delta neurons")  # fmt: skip
    reset = {} if options.reset_interval is None else {
        "reset_interval": options.reset_interval, "reset_offset": options.reset_offset + k}  # fmt: skip
    return Cuba(
        f.per_channel("neuron/vThMant", channels), f.per_channel("neuron/iDecay", channels),
        f.per_channel("neuron/vDecay", channels), bias, LAG[first], delay, weight_exponent=f.number("neuron/wgtExp", 0),
        refractory=f.number("neuron/refDelay", 1), overflow=options.overflow, drive="bias" if first else "current",
        recurrent=_matrix(f, "weight_rec") if f.text("type") == "dense_rec" else None, **reset,
    )  # fmt: skip


def _sigma_delta(
    f: Fields, channels: int, bias: Any, delay: Any, first: bool, k: int, options: Options
) -> Cuba | SigmaDelta:
    sigma, activation = (
        f.flag("neuron/sigma_output"),
        f.text("neuron/activation") if "neuron/activation" in f else "relu",
    )
    if activation not in ("relu", "unit"):
        raise Unsupported(f.at("neuron/activation"), f"activation {activation!r}", "export 'relu' or 'unit'")
    if f.text("type") == "dense_rec":
        raise Unsupported(f.at("weight_rec"), "recurrent sigma-delta neurons", "use CUBA neurons")
    if sigma and "bias" in f:
        raise Unsupported(f.at("bias"), "a bias on a sigma output", "it has none; add it to the read-out")
    if options.reset_interval is not None:
        raise Unsupported(f.at("neuron/type"), "sigma-delta neurons have no reset", "leave out reset_interval")
    role: Literal["sigma-delta", "delta", "sigma"] = "delta" if first else "sigma" if sigma else "sigma-delta"
    held: dict[str, Any] = {"role": role, "activation": activation, "delay": LAG[first], "axon_delay": delay}
    return SigmaDelta(f.per_channel("neuron/vThMant", channels), bias, **held)
