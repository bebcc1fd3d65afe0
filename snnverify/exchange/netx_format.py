"""What a NetX file holds: the datasets of every layer and neuron type that lava-dl 0.6.0 writes or reads.

``layer/0``, ``layer/1``, ... each hold ``type``, ``shape`` and the datasets below; a neuron is ``neuron/type`` and its
parameters (lava-dl 0.6.0, slayer/block/base.py ``export_hdf5``; netx/hdf5.py). Channel first; kernels are those of a
cross-correlation, in the order (y, x); numbers are integers, whatever their dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activation import Cuba, SigmaDelta
from ..content import Array
from ..loihi.quantise import GRID, loihi_weights, sign_mode_of
from ..network import Layer

INTEGRATED = ("delay", "weight", "bias", "shape")
WINDOW = ("kernelSize", "stride", "padding", "dilation", *INTEGRATED)
# type -> datasets beside `type` and those of the neuron
LAYERS: dict[str, tuple[str, ...]] = {
    "input": ("weight", "bias", "shape"),
    "flatten": ("shape",),
    "average": ("shape",),
    "dense": ("inFeatures", "outFeatures", *INTEGRATED),
    "dense_rec": ("inFeatures", "outFeatures", "weight_rec", *INTEGRATED),
    "conv": ("inChannels", "outChannels", "groups", *WINDOW),
    "convT": ("inChannels", "outChannels", "groups", *WINDOW),
    "pool": WINDOW,
    "unpool": WINDOW,
}
CUBA = ("iDecay", "vDecay", "vThMant", "refDelay", "wgtExp", "gradedSpike", "weight_exp", "messageBits")
TRAINING = ("theta", "scaleRho", "tauRho")  # of the surrogate gradient, and the threshold once more
NEURONS: dict[str, tuple[str, ...]] = {
    "CUBA": (*CUBA, *TRAINING),
    "LOIHI": (*CUBA, *TRAINING),
    "SDNN": ("activation", "vThMant", "sigma_output", "weight_exp", "messageBits"),
}
TEXTS = ("type", "neuron/type", "neuron/activation")
WEIGHTS = ("weight", "weight_rec")
BUDGET = 2**30  # bytes that a file may unpack to; the synapses of a whole chip are fewer
MADE = 2**24  # numbers of a weight that a file implies by its shapes alone
LONGEST = 62  # steps of axonal delay
LAG = {True: 0, False: 1}  # steps by which an input layer, and any other one, sees its input late
INPUT_WEIGHT = 64  # of an input layer whose file states none (netx/hdf5.py create_input)


def whole(value: Any) -> bool:
    """Whether numbers are finite integers, whatever their dtype."""
    a = np.asarray(value)
    return a.dtype.kind in "iu" or (a.dtype.kind == "f" and bool(np.all(np.isfinite(a)) and np.all(a == np.rint(a))))


def wrong_weights(weight: Array) -> str:
    """Say what netx would cut in these weights; empty where it takes them as they are (netx/utils.py optimize_weight_bits).

    Its range is that of 8 bits with the signs that they show; but odd ones of both signs it runs in 9 bits (finding NC-9).
    """
    if not whole(weight):
        return "they must be integers (lava's reader would cut them to some); quantise them to the 8-bit grid first"
    least, greatest = GRID["mixed"][0], GRID[sign_mode_of(weight)][1]
    if weight.size and (weight.min() < least or weight.max() > greatest):
        return f"{weight.min():g} ... {weight.max():g} is outside {least} ... {greatest}, which 8 bits hold; scale them"
    return ""


def altered(*weights: Array) -> bool:
    """Whether netx makes other weights of these, of one layer and in its range: findings NC-7, NC-8.

    It shifts them together as far as their signs allow, to -256 where all are negative, and reckons the bits (netx/utils.py
    optimize_weight_bits); each synapse then cuts its own to these bits, of the signs that it sees (netx/blocks/process.py).
    """
    joint = np.hstack(weights).astype(np.int64)
    low, high = int(joint.min()), int(joint.max())
    if low == high == 0:
        return False
    signed = low < 0 <= high
    ends = {127 if signed else 255: high, -128 if signed else -256: low}
    shift = int(np.floor(np.log2(min(end / w for end, w in ends.items() if end * w > 0)))) + signed
    free = next(n for n in range(8, -1, -1) if not np.any(joint % 2**n)) - signed
    bits = 8 - shift - free
    return bits > 8 or any(np.any(loihi_weights(w.astype(np.int64) << shift, bits) != w * 2**shift) for w in weights)


def wrong_delays(delay: Any) -> str:
    """Say what an axon of the chip cannot hold in these delays; empty where it holds them."""
    if not whole(delay) or np.min(delay) < 0 or np.max(delay) > LONGEST:
        return f"an axonal delay is an integer, 0 ... {LONGEST} steps"
    return ""


def encodes(layer: Layer) -> bool:
    """Whether a layer turns the input of the network into spikes or messages: the `input` layer of a file."""
    act = layer.act
    return (isinstance(act, Cuba) and act.drive == "bias") or (isinstance(act, SigmaDelta) and act.role == "delta")
