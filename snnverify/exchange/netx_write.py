"""Networks of integer neurons as NetX files (HDF5), as lava-dl writes and reads them. Runs in Lava's interpreter, too."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..activation import Cuba, SigmaDelta
from ..content import Array, write_atomic
from ..errors import Unsupported
from ..loihi.quantise import optimize_weights
from ..network import INPUT, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from .hdf5 import written
from .netx_format import LAG, altered, encodes, whole, wrong_delays, wrong_weights

RUN_TIME = "it is an option of a run that no file stores; give it to the reader"
NOT_HELD = "a NetX file has no place for it"
# field -> the one value that a file can mean, and why no other
HELD: Mapping[type, Mapping[str, tuple[Any, str]]] = {
    Cuba: {
        "bias_exponent": (6, NOT_HELD),
        "reset_interval": (None, RUN_TIME), "reset_offset": (0, RUN_TIME), "overflow": ("refuse", RUN_TIME),
    },
    SigmaDelta: {
        "cum_error": (False, NOT_HELD),
        "spike_exponent": (6, RUN_TIME), "state_exponent": (6, NOT_HELD),
    },
}  # fmt: skip
# field -> least and greatest value of the chip, as lava-nc 0.10.0 states it; its netx itself holds 32 bits
BITS_17, BITS_24 = (0, 2**17 - 1), (0, 2**23 - 1)
BITS_13, BITS_16 = (-(2**12), 2**12 - 1), (-(2**15), 2**15 - 1)
LIMITS: Mapping[type, Mapping[str, tuple[tuple[int, int], str]]] = {
    Cuba: {"threshold": (BITS_17, "17 bits, proc/lif/models.py vth"),
           "bias": (BITS_13, "13 bits with a sign, proc/lif/models.py bias_mant")},
    SigmaDelta: {"threshold": (BITS_24, "24 bits with a sign, proc/sdn/models.py vth"),
                 "bias": (BITS_16, "16 bits with a sign, proc/sdn/models.py bias")},
}  # fmt: skip
NEVER = 2**18 - 1  # threshold of a layer that is not to fire (slayer/block/base.py AbstractAffine.export_hdf5)
Entries = dict[str, Any]


def write_netx(network: Network, path: str | os.PathLike[str]) -> Path:
    """Write a network whole or not at all, so that `read_netx` of it is the same network with layers named by index.

    Names and the note are not stored; a number is read back as an integer, be it in an array of one. `netx_ignores` tells
    what is stored and yet not obeyed by the reader of lava-dl 0.6.0.

    Raises
    ------
    Unsupported
        What the file cannot hold, with its place.
    """
    return write_atomic(path, netx_bytes(network))


def netx_bytes(network: Network) -> bytes:
    """Return the content of the file of `write_netx`."""
    layers = enumerate(_described(network))
    return written({f"layer/{i}/{key}": value for i, entries in layers for key, value in entries.items()})


def netx_ignores(network: Network) -> tuple[str, ...]:
    """Say what a file of this network holds and lava's own reader leaves out or cannot load (lava-dl 0.6.0, netx/hdf5.py).

    It applies no refDelay, wgtExp and activation, delays only dense layers, and there what enters the neurons, which is
    the same without bias; a recurrent layer with delays, even 0, and dense weights without a positive one it may run with
    other weights; it cannot load transposed convolutions, poolings, averages and dense weights that are all 0.
    """
    found: list[str] = []
    for layer in network.layers:
        act, op = layer.act, layer.branches[0].op
        own: Array | None = getattr(act, "recurrent", None)
        delayed = isinstance(act, (Cuba, SigmaDelta)) and bool(np.any(act.axon_delay))
        dense = isinstance(op, Dense)
        held = isinstance(op, Dense) and not wrong_weights(op.weight) and (own is None or not wrong_weights(own))
        ignored = {
            "refractory": isinstance(act, Cuba) and act.refractory != 1,
            "weight_exponent": isinstance(act, Cuba) and act.weight_exponent != 0,
            "activation": isinstance(act, SigmaDelta) and act.role == "sigma-delta" and act.activation != "relu",
            "axon_delay": (delayed and (not dense or np.any(act.bias)))  # type: ignore[union-attr]
            or (own is not None and (delayed or np.ndim(act.axon_delay) > 0)),  # type: ignore[union-attr]
            "pooling": isinstance(op, Pool),
            "transposed convolution": isinstance(op, Conv) and op.transposed,
            "average": isinstance(op, Dense) and not whole(op.weight),
            "weights all 0": isinstance(op, Dense) and not np.any(op.weight),
            "weights": held and altered(op.weight, *([] if own is None else [own])),  # type: ignore[union-attr]
        }
        found += [f"{layer.name}: {what}" for what, is_so in ignored.items() if is_so]
    return tuple(found)


def _described(network: Network) -> list[Entries]:
    """Datasets of every layer of the file, in order."""
    layers, shapes = network.layers, network.shapes
    before = INPUT
    for layer in layers:
        if [b.source for b in layer.branches] != [before]:
            raise Unsupported(layer.name, f"its sources are {', '.join(b.source for b in layer.branches)}",
                              "a NetX file holds a chain; fold sums and skips into the weights")  # fmt: skip
        before = layer.name
    stated: Entries = {"type": _word("input"), "shape": np.array(network.input_shape)}
    if len(network.input_shape) not in (1, 3):
        raise Unsupported(INPUT, f"its shape is {network.input_shape}", "a NetX file has inputs (C,) and (C, H, W)")
    found = [] if encodes(layers[0]) else [stated]
    for i, layer in enumerate(layers):
        shape = shapes[layer.name]
        if entries := _layer(layer, shape[0], layers[i - 1] if i else None, layers[i + 1 :]):
            found.append({**entries, "shape": np.array(shape)})
    return found


def _layer(layer: Layer, channels: int, before: Layer | None, after: Sequence[Layer]) -> Entries:
    """Datasets of one layer but its shape; none for the sum of a pooling, which is written with its neuron."""
    op, act = layer.branches[0].op, layer.act
    if act is None:
        if isinstance(op, Flatten):
            return {"type": _word("flatten")}
        if isinstance(op, Dense) and not after:
            return _read_out(layer.name, op)
        if isinstance(op, Pool) and op.kind == "sum" and after and isinstance(after[0].branches[0].op, Scale):
            return {}
        raise Unsupported(layer.name, f"a {type(op).__name__} without neuron",
                          "a NetX file has a dense read-out at its end, flattening, sum pooling before a Scale")  # fmt: skip
    if not isinstance(act, (Cuba, SigmaDelta)):
        raise Unsupported(
            layer.name, f"its activation is {type(act).__name__}", "a NetX file holds Cuba and SigmaDelta"
        )
    if encodes(layer) != (before is None and isinstance(op, Scale)):
        what = "driven by its bias or of role 'delta'"
        raise Unsupported(layer.name, f"a {type(op).__name__}, a neuron that is {'' if encodes(layer) else 'not '}{what}",
                          "the two together make the first layer, and no other")  # fmt: skip
    if isinstance(op, Scale):
        entries = _input(layer.name, op) if before is None else _pool(layer.name, op, before)
    elif isinstance(op, Dense):
        entries = _dense(layer.name, op, act)
    elif isinstance(op, Conv):
        entries = _conv(layer.name, op)
    else:
        raise Unsupported(
            layer.name, f"a {type(op).__name__} with a neuron", "put a Scale between a pooling and its neuron"
        )
    return {**entries, **_neuron(layer.name, act, channels, encodes(layer))}


def _word(text: str) -> Array:
    return np.array([text.encode()], "S10")


def _weight(name: str, weight: Array) -> Array:
    if wrong := wrong_weights(weight):
        raise Unsupported(name, f"weights: {wrong}")
    try:
        optimize_weights(weight)
    except Unsupported as e:
        raise Unsupported(name, f"weights: {e.what}", e.remedy) from None
    return weight


def _biasless(name: str, bias: Any) -> None:
    if bias is not None:
        raise Unsupported(
            name, "a bias of the operation, which acts on the current", "the file holds the neuron's: Cuba.bias"
        )


def _read_out(name: str, op: Dense) -> Entries:
    _biasless(name, op.bias)
    out, units = op.weight.shape
    block = max(units // out, 1)
    if block > 1 and np.array_equal(op.weight, np.kron(np.eye(out), np.full((1, block), 1 / block))):
        return {"type": _word("average")}
    return {"type": _word("dense"), "inFeatures": units, "outFeatures": out, "weight": _weight(name, op.weight)}


def _dense(name: str, op: Dense, act: Cuba | SigmaDelta) -> Entries:
    _biasless(name, op.bias)
    out, units = op.weight.shape
    entries = {"type": _word("dense"), "inFeatures": units, "outFeatures": out, "weight": _weight(name, op.weight)}
    if isinstance(act, Cuba) and act.recurrent is not None:
        _weight(name, np.hstack([op.weight, act.recurrent]))  # netx gives the two one exponent
        entries |= {"type": _word("dense_rec"), "weight_rec": _weight(name, act.recurrent)}
    return entries


def _conv(name: str, op: Conv) -> Entries:
    _biasless(name, op.bias)
    if len(op.stride) != 2 or any(a != b or a < 0 for a, b in op.padding) or any(op.output_padding):
        raise Unsupported(name, f"a convolution over {len(op.stride)} axes, padding {op.padding}, output_padding "
                          f"{op.output_padding}", "it has two axes, both sides padded alike")  # fmt: skip
    inputs, outputs = op.channels
    return {
        "type": _word("convT" if op.transposed else "conv"), "inChannels": inputs, "outChannels": outputs,
        "kernelSize": np.array(op.weight.shape[2:]), "stride": np.array(op.stride),
        "padding": np.array([before for before, _ in op.padding]), "dilation": np.array(op.dilation),
        "groups": op.groups, "weight": _weight(name, op.weight),
    }  # fmt: skip


def _input(name: str, op: Scale) -> Entries:
    """Weight and bias of the transformation of the input; netx takes one integer each."""
    given = {key: np.asarray(value) for key, value in (("weight", op.factor), ("bias", op.bias)) if value is not None}
    for key, value in given.items():
        if value.size != 1 or not whole(value):
            raise Unsupported(name, f"a {key} of the input = {value}", "a NetX file holds one integer for all channels")
    return {"type": _word("input"), **{key: value.item() for key, value in given.items()}}


def _pool(name: str, op: Scale, before: Layer) -> Entries:
    pool, factor = before.branches[0].op, np.asarray(op.factor)
    if not isinstance(pool, Pool) or before.act is not None or factor.size != 1 or len(pool.kernel) != 2:
        raise Unsupported(name, "a Scale", "a NetX file has one after the sum pooling over two axes alone, one number")
    if min(pool.padding) < 0:
        raise Unsupported(before.name, f"padding {pool.padding}", "at least 0")
    _biasless(name, op.bias)
    return {
        "type": _word("pool"), "kernelSize": np.array(pool.kernel), "stride": np.array(pool.stride),
        "padding": np.array(pool.padding), "dilation": np.array([1, 1]),
        "weight": _weight(name, np.full((1, 1, *pool.kernel), factor.item())),
    }  # fmt: skip


def _neuron(name: str, act: Cuba | SigmaDelta, channels: int, first: bool) -> Entries:
    """Neuron, bias and axonal delays of a layer."""
    lag = {"delay": (LAG[first], "an input layer takes its input at once, any other lags its source by 1")}
    for field, (value, why) in {**HELD[type(act)], **lag}.items():
        if getattr(act, field) != value:
            raise Unsupported(name, f"{field} = {getattr(act, field)!r}: {why}", f"write it with {value!r}")
    for field, ((low, high), bits) in LIMITS[type(act)].items():
        value = np.asarray(getattr(act, field))
        if np.any((value < low) | (value > high)) and not (field == "threshold" and np.all(value == NEVER)):
            ends = " ... ".join(str(int(end)) for end in sorted({value.min(), value.max()}))
            raise Unsupported(name, f"{field} = {ends} is outside {low} ... {high}: {bits}",
                              "scale the layer down")  # fmt: skip
    held: Entries = {}
    for key, value in (("bias", np.asarray(act.bias)), ("delay", np.asarray(act.axon_delay))):
        if value.ndim or value.any():
            held[key] = np.full(channels, value) if key == "bias" else value
    if wrong := wrong_delays(act.axon_delay):
        raise Unsupported(name, f"axon_delay: {wrong}")
    if "bias" in held and (first or getattr(act, "role", "") == "sigma"):
        raise Unsupported(
            name, "a bias of an input layer or a sigma output", "the bias of an input layer is its Scale's"
        )
    if first and ("delay" in held or getattr(act, "recurrent", None) is not None):
        raise Unsupported(name, "delays or recurrent weights of an input layer", NOT_HELD)
    if isinstance(act, SigmaDelta):
        neuron = {"type": b"SDNN", "activation": act.activation.encode(), "vThMant": act.threshold}
        if act.role == "sigma":
            neuron["sigma_output"] = True
    else:
        neuron = {"type": b"CUBA", "iDecay": act.current_decay, "vDecay": act.voltage_decay,
                  "vThMant": act.threshold, "refDelay": act.refractory, "gradedSpike": False}  # fmt: skip
        if act.weight_exponent:
            neuron["wgtExp"] = act.weight_exponent
    return {**held, **{f"neuron/{k}": np.bytes_(v) if isinstance(v, bytes) else v for k, v in neuron.items()}}
