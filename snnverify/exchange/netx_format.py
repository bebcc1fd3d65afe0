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
LEAST, GREATEST = -256, 254  # 8 bits with a sign, on the even grid
LONGEST = 62  # steps of axonal delay
LAG = {True: 0, False: 1}  # steps by which an input layer, and any other one, sees its input late
INPUT_WEIGHT = 64  # of an input layer whose file states none (netx/hdf5.py create_input)


def whole(value: Any) -> bool:
    """Whether numbers are finite integers, whatever their dtype."""
    a = np.asarray(value)
    return a.dtype.kind in "iu" or (a.dtype.kind == "f" and bool(np.all(np.isfinite(a)) and np.all(a == np.rint(a))))


def wrong_weights(weight: Array) -> str:
    """Say what a synapse of the chip cannot hold in these weights; empty where it holds them."""
    if not whole(weight):
        return "they must be integers (lava's reader would cut them to some); quantise them to the 8-bit grid first"
    if weight.size and (weight.min() < LEAST or weight.max() > GREATEST):
        return f"{weight.min():g} ... {weight.max():g} is outside {LEAST} ... {GREATEST}, which 8 bits hold; scale them"
    return ""


def wrong_delays(delay: Any) -> str:
    """Say what an axon of the chip cannot hold in these delays; empty where it holds them."""
    if not whole(delay) or np.min(delay) < 0 or np.max(delay) > LONGEST:
        return f"an axonal delay is an integer, 0 ... {LONGEST} steps"
    return ""


def encodes(layer: Layer) -> bool:
    """Whether a layer turns the input of the network into spikes or messages: the `input` layer of a file."""
    act = layer.act
    return (isinstance(act, Cuba) and act.drive == "bias") or (isinstance(act, SigmaDelta) and act.role == "delta")
