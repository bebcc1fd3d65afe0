"""Minimal cases of the findings on netx of lava-dl 0.6.0: what it does with weights, and what of a file it leaves out."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...content import Array
from .refusal import Pair, unless_refused

CUBA = {"neuron/type": b"CUBA", "neuron/vThMant": 1, "neuron/iDecay": 4096, "neuron/vDecay": 4096, "neuron/refDelay": 1}
DENSE = {"type": b"dense", "weight": [[2]], "shape": [1], **CUBA}


def _run(x: Any, *layers: Mapping[str, Any]) -> list[Array]:
    """Spikes [T] of the first unit of every layer, by netx; `x` [T] or [T, C, H, W]."""
    import h5py

    from ..lava_netx import netx_run

    buffer, x = io.BytesIO(), np.asarray(x, float)
    with h5py.File(buffer, "w") as f:
        for i, layer in enumerate(layers):
            for key, value in layer.items():
                f[f"layer/{i}/{key}"] = value
    found = netx_run(np.frombuffer(buffer.getvalue(), np.uint8), x.reshape(len(x), 1, *(x.shape[1:] or (1,))), len(x))
    return [s.reshape(len(s), -1)[:, 0] for s in found.values()]


def _effective(weight: list[list[int]]) -> Array:
    """What netx's Dense process multiplies with, for a weight matrix of a file."""
    from ..lava_nc import loihi_weights
    from ..lava_netx import optimize_weights

    mantissa, bits, exponent, _ = optimize_weights(np.array(weight))
    return loihi_weights(mantissa, bits, None) * 2.0**exponent


def negative_power_of_two() -> Pair:
    """Weights of 8 bits are kept: those that are all negative."""
    return (_effective([[-64]]), _effective([[-128, -32]])), (np.array([[-64.0]]), np.array([[-128.0, -32]]))


def negative_beside_zero() -> Pair:
    """Weights of 8 bits are kept: negative ones beside 0."""
    return (_effective([[-64, 0]]), _effective([[-255, 0]])), (np.array([[-64.0, 0]]), np.array([[-255.0, 0]]))


@unless_refused
def nine_bits() -> Pair:
    """A synapse gets 8 weight bits at most."""
    from ..lava_netx import optimize_weights

    return optimize_weights(np.array([[-255, 253]]))[1] <= 8, True


def no_weights() -> Pair:
    """A dense layer without any weight but 0 is loaded: a bias of 2 over threshold 1 fires in every step."""
    return _run([1, 1], {**DENSE, "weight": [[0]], "bias": [2]})[0], np.array([1, 1])


@unless_refused
def weight_exponent() -> Pair:
    """Dataset wgtExp of a file counts: weight 2 at exponent -1 is 1 and no more than threshold 1."""
    return _run([1, 1, 1], {**DENSE, "neuron/wgtExp": -1})[0], np.array([0, 0, 0])


@unless_refused
def refractory_delay() -> Pair:
    """Dataset refDelay of a file counts: with 3 a neuron that is driven all the time fires in every third step."""
    return _run([1] * 5, {**DENSE, "neuron/refDelay": 3})[0], np.array([0, 1, 0, 0, 1])


@unless_refused
def delay_of_convolution() -> Pair:
    """Axonal delays of a convolution count: the next layer fires two steps later, whichever way they are kept."""
    one = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "shape": [1, 1, 1], **CUBA}
    conv = {"type": b"conv", "weight": [[[[2]]]], "delay": [2], **one}
    flat = {"type": b"flatten", "shape": [1]}
    return _run(np.ones((5, 1, 1, 1)), conv, flat, DENSE)[-1], np.array([0, 0, 0, 0, 1])


@unless_refused
def axonal_delay() -> Pair:
    """An axonal delay of 2 keeps the spikes of a neuron that its bias drives from the next layer for two steps."""
    return _run([0] * 5, {**DENSE, "bias": [2], "delay": [2]}, DENSE)[-1], np.array([0, 0, 0, 1, 1])


@unless_refused
def linear_activation() -> Pair:
    """The activation of a sigma-delta neuron counts: "unit" hands a negative one on, 64 times -2 as -2."""
    sdnn = {"neuron/type": b"SDNN", "neuron/vThMant": 0, "neuron/activation": b"unit"}
    dense = {"type": b"dense", "weight": [[-2], [6]], "shape": [2], **sdnn}
    return _run([64, 0], dense)[0], np.array([0, -2])


@unless_refused
def recurrent_delay() -> Pair:
    """A delay of 0 changes nothing in a recurrent layer: weight 2 alone is no more than threshold 2."""
    layer = {**DENSE, "type": b"dense_rec", "weight_rec": [[-2]], "neuron/vThMant": 2}
    return _run([1] * 3, {**layer, "delay": [0]})[0], _run([1] * 3, layer)[0]


def delay_bits() -> Pair:
    """Delays of 0 ... m need as many bits as m has: 1, 1 and 3 for 0, 1 and 4."""
    from lava.lib.dl.netx.utils import num_delay_bits

    return tuple(int(num_delay_bits(np.array([0, m]))) for m in (1, 4)), (1, 3)


@unless_refused
def beyond_8_bits() -> Pair:
    """Positive weights beyond 8 bits are refused, or cut to the greatest one as those of both signs are."""
    return _effective([[512, 2]]), np.array([[255.0, 2]])


CONV = {"type": b"conv", "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, **CUBA}


def one_bias() -> Pair:
    """A bias of one number is that of every neuron, in a convolution as in a dense layer: 2 over threshold 1 fires."""
    conv = {**CONV, "weight": [[[[2]]], [[[4]]]], "shape": [2, 1, 1], "bias": 2}
    return _run(np.zeros((2, 1, 1, 1)), conv)[0], np.array([1, 1])


def message_bits() -> Pair:
    """A file may state the width of its messages: 0, which is what a neuron has by default, changes nothing."""
    return _run([1] * 3, {**DENSE, "neuron/messageBits": 0})[0], np.array([0, 1, 1])


@unless_refused
def exponent_of_norm() -> Pair:
    """Dataset weight_exp of a file counts: weight 2 in a layer that halves is 1 and no more than threshold 1."""
    return _run([1] * 3, {**DENSE, "neuron/weight_exp": 1})[0], np.array([0, 0, 0])


@unless_refused
def no_sigma_output() -> Pair:
    """A layer of sigma_output False hands on changes, as one that does not state it: 64 times 2 as 2, once."""
    sdnn = {"type": b"dense", "weight": [[2]], "shape": [1], "neuron/type": b"SDNN", "neuron/vThMant": 0}
    return _run([64, 0, 0], {**sdnn, "neuron/sigma_output": False})[0], np.array([0, 2, 0])


CASES: Mapping[str, Callable[[], Pair]] = {
    "NC-7": negative_power_of_two,
    "NC-8": negative_beside_zero,
    "NC-9": nine_bits,
    "NC-10": no_weights,
    "NC-11": weight_exponent,
    "NC-12": refractory_delay,
    "NC-13": delay_of_convolution,
    "NC-14": axonal_delay,
    "NC-15": linear_activation,
    "NC-16": recurrent_delay,
    "NC-17": delay_bits,
    "NC-18": beyond_8_bits,
    "NC-19": one_bias,
    "NC-20": message_bits,
    "NC-21": exponent_of_norm,
    "NC-22": no_sigma_output,
}
