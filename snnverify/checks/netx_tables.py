"""NetX files and networks by hand that are refused, or obeyed in part, by what is special about each."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..activation import Cuba, Neuron, SigmaDelta
from ..exchange.hdf5 import written
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from .netx_files import chain

Values = dict[str, Any]


def _put(path: str, value: Any) -> Callable[[Values], Values]:
    return lambda values: {**values, path: value}


def _drop(path: str) -> Callable[[Values], Values]:
    return lambda values: {key: value for key, value in values.items() if key != path}


# what is done to the file by hand, and the place that the refusal must name
SPOILT: Mapping[str, Callable[[Values], Values]] = {
    "layer/6/weight": _put("layer/6/weight", np.full((4, 24), 0.5)),
    "layer/1/weight": _put("layer/1/weight", np.full((2, 1, 2, 3), np.nan)),
    "layer/2/weight": _put("layer/2/weight", np.full((2, 3, 2, 2), 256)),
    "layer/6/weight_rec": _put("layer/6/weight_rec", np.full((4, 4), -258)),
    "layer/1/bias": _put("layer/1/bias", np.array([0.5, 1])),
    "layer/1/delay": _put("layer/1/delay", np.array([1, 63])),
    "layer/2/bias": _put("layer/2/bias", np.array([1, 2])),
    "layer/3/weight": _put("layer/3/weight", np.array([[[[2], [4]]]])),
    "layer/3/dilation": _put("layer/3/dilation", np.array([2, 1])),
    "layer/1/shape": _put("layer/1/shape", np.array([2, 2, 3])),
    "layer/5/shape": _put("layer/5/shape", np.array([25, 1, 1])),
    "layer/7/shape": _put("layer/7/shape", np.array([3, 1, 1])),
    "layer/1/inChannels": _put("layer/1/inChannels", 3),
    "layer/6/inFeatures": _put("layer/6/inFeatures", 25),
    "layer/1/kernelSize": _put("layer/1/kernelSize", np.array([3, 2])),
    "layer/1/neuron/gradedSpike": _put("layer/1/neuron/gradedSpike", np.array(True)),
    "layer/1/neuron/type": _put("layer/1/neuron/type", np.array([b"ALIF"], "S10")),
    "layer/1/neuron/weight_exp": _put("layer/1/neuron/weight_exp", np.array([-1.0])),
    "layer/1/neuron/messageBits": _put("layer/1/neuron/messageBits", 8),
    "layer/1/neuron/vThMant": _drop("layer/1/neuron/vThMant"),
    "layer/1/neuron/iDecay": _put("layer/1/neuron/iDecay", np.array([1, 2, 3])),
    "layer/1/neuron": _put("layer/1/neuron/iDecay", 4097),
    "layer/2/neuron": _put("layer/2/neuron/vThMant", -1),
    "layer/1/stride": _drop("layer/1/stride"),
    "layer/5/type": _put("layer/5/type", np.array([b"concat"], "S10")),
    "layer/2/shortcut": _put("layer/2/shortcut", 1),
    "layer/7: a layer without neuron": lambda v: (
        v | {f"layer/8/{key}": v[f"layer/5/{key}"] for key in ("type", "shape")}
    ),
    "layer/1: an input layer": lambda v: (
        {k: x for k, x in v.items() if not k.startswith("layer/1/")}
        | {f"layer/1/{key}": v[f"layer/0/{key}"] for key in ("type", "shape")}
    ),
    "layer/0/weight: an input layer without neuron": lambda v: (
        {k: x for k, x in v.items() if not k.startswith("layer/0/neuron")}
    ),
    "layer/0/bias: an input layer without neuron": lambda v: (
        {k: x for k, x in v.items() if not k.startswith("layer/0/neuron") and k != "layer/0/weight"}
    ),
    "layer/1/padding": _put("layer/1/padding", np.array([1, -1])),
    "layer/3/padding": _put("layer/3/padding", np.array([-1, 0])),
    "layer/10": _put("layer/10/type", np.array([b"flatten"], "S10")),
}


TWO = Dense(np.array([[2, 4], [6, -8]]))
UNIT = Cuba(1)
# networks that no file holds, by what is wrong
UNHELD: Mapping[str, Network] = {
    "sources": Network((2,), (Layer("layer0", (Branch(TWO), Branch(Scale())), UNIT),)),
    "integers": chain((Dense(np.array([[0.5, 2]])), None)),
    "256": chain((Dense(np.array([[2, 256]])), UNIT)),
    "-255 ... 2 in steps of 1": chain((Dense(np.array([[-255, 2]])), UNIT)),
    "-129 ... 129": chain((Dense(np.array([[129, -129]])), UNIT)),
    "-255 ... 254": chain((Dense(np.array([[254, 2], [2, 4]])), Cuba(1, recurrent=-np.array([[255, 1], [1, 1]])))),
    "threshold = 131072": chain((TWO, Cuba(2**17))),
    "threshold = 8388608": chain((TWO, SigmaDelta(2**23))),
    "bias = 1 ... 4096": chain((TWO, Cuba(1, bias=np.array([1, 4096])))),
    "bias = -4097": chain((TWO, Cuba(1, bias=-4097))),
    "padding": Network(
        (1, 4, 4), (Layer("layer0", (Branch(Conv(np.full((1, 1, 2, 2), 2), padding=((-1, -1), (0, 0)))),), UNIT),)
    ),
    "(-1, 0)": Network(
        (1, 4, 4),
        (
            Layer("layer0", (Branch(Pool("sum", (2, 2), (2, 2), (-1, 0))),)),
            Layer("layer1", (Branch(Scale(2), "layer0"),), UNIT),
        ),
    ),
    "bias_exponent": chain((TWO, Cuba(1, bias_exponent=5))),
    "reset_interval": chain((TWO, Cuba(1, reset_interval=4))),
    "overflow": chain((TWO, Cuba(1, overflow="wrap"))),
    "delay": chain((TWO, Cuba(1, delay=0))),
    "axon_delay": chain((TWO, Cuba(1, axon_delay=np.array([0, 63])))),
    "cum_error": chain((TWO, SigmaDelta(1, cum_error=True))),
    "spike_exponent": chain((TWO, SigmaDelta(1, spike_exponent=5))),
    "state_exponent": chain((TWO, SigmaDelta(1, state_exponent=5))),
    "Neuron": chain((TWO, Neuron())),
    "Scale": chain((Scale(2), UNIT)),
    "Dense": chain((TWO, Cuba(1, drive="bias"))),
    "bias": chain((Dense(TWO.weight, np.array([1, 2])), None)),
    "without neuron": chain((TWO, None), (TWO, UNIT)),
    "one integer": chain((Scale(np.array([2, 4])), Cuba(1, drive="bias", delay=0))),
    "at once": chain((Scale(2), Cuba(1, drive="bias"))),
    "sigma output": chain((TWO, SigmaDelta(1, np.array([1, 2]), "sigma"))),
    "input layer": chain((Scale(2), Cuba(1, drive="bias", delay=0, axon_delay=1))),
}


def reaching(values: Values, path: str, put: Callable[[Any, str], Any]) -> bytes:
    """Return a file whose dataset at `path` was replaced by `put`."""
    import h5py

    buffer = io.BytesIO(written(values))
    with h5py.File(buffer, "r+") as file:
        file.move(path, "elsewhere")
        put(file, path)
    return buffer.getvalue()


def _external(file: Any, path: str) -> None:
    """The text of this very file, which is there whenever this runs, stands for 4 * 24 weights of 8 bits."""
    _ = file.create_dataset(path, (4, 24), "i1", external=[(__file__, 0, 96)])


def _virtual(file: Any, path: str) -> None:
    import h5py

    layout = h5py.VirtualLayout((4, 24), "i1")
    layout[:] = h5py.VirtualSource("not-there.h5", "w", (4, 24))  # would be read as zeros
    _ = file.create_virtual_dataset(path, layout)


def _link(kind: str, *target: str) -> Callable[[Any, str], None]:
    def put(file: Any, path: str) -> None:
        import h5py

        file[path] = getattr(h5py, kind)(*target)

    return put


# how the weights of layer 6 can lie elsewhere
REACHING: Mapping[str, Callable[[Any, str], None]] = {
    "external storage": _external,
    "virtual": _virtual,
    "external link": _link("ExternalLink", "not-there.h5", "/w"),
    "soft link": _link("SoftLink", "/elsewhere"),
}

PLANE = Conv(np.full((1, 1, 2, 2), 2))


def _plane(*ops: tuple[Any, Any]) -> Network:
    return Network((1, 2, 2), tuple(
        Layer(f"layer{i}", (Branch(op, f"layer{i - 1}" if i else INPUT),), act) for i, (op, act) in enumerate(ops)
    ))  # fmt: skip


ON_ONE = np.array([0, 1])
OWN = np.array([[0, 2], [-2, 0]])
# networks, and what netx does not obey in a file of them. It puts delays on the synapses of dense layers: spikes are as
# late as on the axon where nothing else drives the neuron, which a bias and its layer's own spikes do
LEFT_OUT: Mapping[str, tuple[Network, tuple[str, ...]]] = {
    "all obeyed": (chain((TWO, Cuba(3, 100, 200))), ()),
    "a bias": (chain((TWO, Cuba(1, bias=ON_ONE))), ()),
    "recurrent": (chain((TWO, Cuba(1, recurrent=OWN))), ()),
    "delays": (chain((TWO, Cuba(1, axon_delay=3))), ()),
    "delays by channel": (chain((TWO, Cuba(1, axon_delay=ON_ONE))), ()),
    "delays beside a bias of 0": (chain((TWO, Cuba(1, bias=0 * ON_ONE, axon_delay=3))), ()),
    "delays beside a bias": (chain((TWO, Cuba(1, bias=2, axon_delay=3))), ("layer0: axon_delay",)),
    "delays beside a bias of one": (chain((TWO, UNIT), (TWO, Cuba(1, bias=ON_ONE, axon_delay=ON_ONE))),
                                    ("layer1: axon_delay",)),
    "delays, recurrent": (chain((TWO, Cuba(1, axon_delay=ON_ONE, recurrent=OWN))), ("layer0: axon_delay",)),
    "a delay of 0 in one number, recurrent": (chain((TWO, Cuba(1, axon_delay=0, recurrent=OWN))), ()),
    "delays of 0, recurrent": (chain((TWO, Cuba(1, axon_delay=0 * ON_ONE, recurrent=OWN))), ("layer0: axon_delay",)),
    "delays of 0": (chain((TWO, Cuba(1, axon_delay=0 * ON_ONE))), ()),
    "delays of messages": (chain((TWO, SigmaDelta(1, axon_delay=3))), ()),
    "delays of messages beside a bias": (chain((TWO, SigmaDelta(1, bias=ON_ONE, axon_delay=3))),
                                         ("layer0: axon_delay",)),
    "delays of a convolution": (_plane((PLANE, Cuba(1, axon_delay=3))), ("layer0: axon_delay",)),
    "a convolution": (_plane((PLANE, UNIT), (Flatten(), None)), ()),
    "refDelay": (chain((TWO, UNIT), (TWO, Cuba(1, refractory=2))), ("layer1: refractory",)),
    "wgtExp": (chain((TWO, Cuba(1, weight_exponent=-1))), ("layer0: weight_exponent",)),
    "two at once": (chain((TWO, Cuba(1, weight_exponent=1, refractory=3))),
                    ("layer0: refractory", "layer0: weight_exponent")),
    "a unit activation": (chain((TWO, SigmaDelta(1, activation="unit"))), ("layer0: activation",)),
    "a rectifier": (chain((TWO, SigmaDelta(1))), ()),
    "a pooling": (_plane((Pool("sum", (2, 2)), None), (Scale(2), UNIT)), ("layer0: pooling",)),
    "convT": (_plane((Conv(PLANE.weight, transposed=True), UNIT)), ("layer0: transposed convolution",)),
    "an average": (chain((TWO, UNIT), (Dense(np.array([[0.5, 0.5]])), None)), ("layer1: average",)),
    "a read-out": (chain((TWO, UNIT), (TWO, None)), ()),
    "negative, the least no power of two": (chain((Dense(-np.array([[3, 5]])), UNIT)), ()),
    "negative, the least a power of two": (chain((Dense(-np.array([[3, 8]])), UNIT)), ("layer0: weights",)),
    "negative ones beside 0": (chain((Dense(-np.array([[0, 130]])), UNIT)), ()),
    "odd negative ones beside 0": (chain((Dense(-np.array([[0, 131]])), UNIT)), ("layer0: weights",)),
    "-256": (chain((Dense(-np.array([[256, 2]])), UNIT)), ("layer0: weights",)),
    "positive ones": (chain((Dense(np.array([[255, 1]])), UNIT)), ()),
    "a read-out of powers of two": (chain((TWO, UNIT), (Dense(-np.array([[4, 2]])), None)), ("layer1: weights",)),
    "recurrent of powers of two": (chain((TWO, Cuba(1, recurrent=-np.array([[16, 2], [2, 2]])))), ("layer0: weights",)),
    "no weight": (chain((Dense(0 * TWO.weight), UNIT)), ("layer0: weights all 0",)),
}  # fmt: skip
