"""What Intel recorded in the lava-dl 0.6.0 wheel, as networks, inputs and expected values: the conventions, said once.

Axes: ``[W, H, C, T]`` and ``[C, T]`` (tinynet ``[N, C, H, W, T]``, one sample) become ``[T, 1, C, H, W]`` and
``[T, 1, C]``. Weights of the .net files are kernels ``[O, C, ky, kx]`` of a cross-correlation, used as they are; the
``*_kernel.npy`` beside them hold the same ``[O, kx, ky, C]``, flipped. A flatten counts ``(c H + y) W + x``.
Steps are those of the chip, from 0: the input layer takes its input at once, any other sees in step t what its source
sent in step t - 1, and biases act from step 0 on.

pilotnet_lif
    ``image.npy`` is the bias mantissa of the input layer (no transform) in every step. Spikes, currents and potentials
    at index t are those after step t. Where a layer spikes the recorded potential is 128, which stands for 0 and is read
    as 0 (42,842 others are 128 in earnest). Three recordings lie in the folder: *A* (input, conv-0 ... 4, fc-0 ... 2) with
    a reset every 17 steps, in layer l (the input is 0) before step l; *B* (input-s) with one every 16; *C* (fc-3-s, -u, -v)
    every 16 and one step earlier, before step l - 1 mod 16. The inputs of C were not recorded: it is compared end to end
    alone.
tinynet
    ``input_bias.npy`` is the bias mantissa of the input layer. Index 0 is empty and the layers are aligned: index i >= 1
    of layer l is step i - 1 + l. Each layer is reset before its first recorded step. Recorded currents are u / 64.
tinynet_sdnn
    Three blocks, each recorded alone. The input is ``input_bias.npy`` times sin(2 pi t / 15), cut to integers, through a
    delta encoder of threshold 20; layer1 ran a single step, in which its bias alone acts; layer2 (a sigma decoder) was
    sent messages without payload: 1 wherever layer1's is not 0.
dense
    A layer of threshold 6, voltage decay 415 and, as the vendor's process adds 1 to its ``du``, current decay 4096; index
    t is step t, currents are u / 64.
ntidigits
    The input spikes; each neuron of layers 2 and 3 hands its spikes on ``delay`` steps later. Output index 0 is empty:
    index i is step i - 1.
pilotnet_sdnn
    ``input.npy`` in every step; ``act0.npy`` holds the messages of the input layer, ``sigma*.npy`` the sums of each layer
    after step t, ``output.npy`` those of the last one in steps 0 ... 8. The square network sees the first 33 columns.
    Messages of the layers between were not recorded: to test layer l + 1 alone, layer l is given the recorded
    increments of its sum.

Not read: ``complex_dense`` (resonate-and-fire neurons, which no activation here is); ``mnist.net`` (nothing was recorded).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from ..activation import Cuba, SigmaDelta
from ..content import Array
from ..errors import DataError
from ..network import INPUT, Branch, Conv, Dense, Layer, Network, Scale, Shape
from ..trace import Case
from . import vectors
from .netx_read import read_netx

Quantity = Literal["spikes", "current", "voltage", "messages", "sigma"]
_array = partial(vectors.array, "lava-dl")


@dataclass(frozen=True, eq=False)
class Recorded:
    """One recorded array.

    Parameters
    ----------
    file : str
        Where it was read.
    layer : str
        Whose it is.
    quantity : {"spikes", "current", "voltage", "messages", "sigma"}
        ``messages`` are what a sigma-delta layer sends, ``sigma`` its sum.
    values : int32 array [T', N, *shape]
    first : int
        Step of ``values[0]``.
    stood_in : int
        How many of the values are not what the file holds, which stands for something else.
    """

    file: str
    layer: str
    quantity: Quantity
    values: Array
    first: int = 0
    stood_in: int = 0


@dataclass(frozen=True, eq=False)
class Recording:
    """A run of a network, with what was recorded of it.

    Parameters
    ----------
    name : str
    network : Network
    x : array [T, N, *input_shape]
    recorded : tuple of Recorded
    """

    name: str
    network: Network
    x: Array
    recorded: tuple[Recorded, ...]

    @property
    def case(self) -> Case:
        """The run, from the network's input."""
        return Case(self.network, self.x, len(self.x), "spikes", kind="integer")

    def of(self, layer: str, *quantities: Quantity) -> Recorded | None:
        """First of these quantities that was recorded of a layer."""
        return next((r for q in quantities for r in self.recorded if (r.layer, r.quantity) == (layer, q)), None)


SETS = ("tinynet", "tinynet_sdnn", "dense", "pilotnet_lif", "ntidigits", "pilotnet_sdnn")


def recordings(name: str) -> tuple[Recording, ...]:
    """Read the recordings of one of `SETS`; `Unavailable` with the command where they were not fetched."""
    return tuple(_READERS[name]())


def alone(recording: Recording, layer: str) -> Case | None:
    """One layer on the recorded values of its source; None where they are not known, or it is the network's input."""
    network, chain = recording.network, [recording.network[layer]]
    while (source := chain[0].branches[0].source) != INPUT and network[source].act is None:
        chain.insert(0, network[source])
    if source == INPUT:
        return None
    if (sent := recording.of(source, "spikes", "messages")) is not None:
        x = sent.values
    elif (sent := recording.of(source, "sigma")) is not None:
        x = np.diff(sent.values, axis=0, prepend=0)
        relay = replace(network[source].act, delay=0)  # type: ignore[type-var]
        chain.insert(0, Layer(source, (Branch(Scale()),), relay))
    else:
        return None
    chain[0] = replace(chain[0], branches=(Branch(chain[0].branches[0].op),))
    silent = np.zeros((len(recording.x), *x.shape[1:]), np.int32)  # steps of which nothing was recorded
    silent[sent.first : sent.first + len(x)] = x
    return Case(Network(x.shape[2:], tuple(chain)), silent, len(silent), "spikes", kind="integer")


def _network(file: str, **options: Any) -> Network:
    """Network of a file, whose input layer takes what it is given as it is."""
    return read_netx(vectors.locate("lava-dl", file), transform=False, **options)


def _whole(file: str, factor: int = 1) -> Array:
    """Integers of one array times `factor`, [T, N, *shape]."""
    a = _array(file)
    if not np.array_equal(a, np.rint(a)):
        raise DataError(f"{file}: it holds numbers that are no integers; what is recorded of integer neurons is")
    a = np.moveaxis(a, -1, 0) if a.ndim == 5 else a.T[:, None]
    return np.ascontiguousarray(a, np.int32) * factor


def _in_every_step(file: str, steps: int) -> Array:
    """The same input ``[W, H, C]`` (or with a last axis of 1) in every step."""
    a = _array(file)
    x = a.reshape(a.shape[:3]).T.astype(np.int64)
    return np.broadcast_to(x, (steps, 1, *x.shape))


def _pilotnet_lif() -> Iterator[Recording]:
    def run(part: str, steps: int, interval: int, offset: int, layers: int | None, *recorded: Recorded) -> Recording:
        net = _network("gts/pilotnet_lif/network.net", layers=layers, reset_interval=interval, reset_offset=offset)
        return Recording(f"pilotnet_lif {part}", net, _in_every_step("gts/pilotnet_lif/image.npy", steps), recorded)

    def layer(number: int, file: str) -> Iterator[Recorded]:
        path = f"gts/pilotnet_lif/{file}"
        spikes, v = _whole(f"{path}.npy"), _whole(f"{path}-v.npy")
        marked = (spikes > 0) & (v == 128)
        yield Recorded(f"{file}.npy", str(number), "spikes", spikes)
        yield Recorded(f"{file}-u.npy", str(number), "current", _whole(f"{path}-u.npy"))
        yield Recorded(f"{file}-v.npy", str(number), "voltage", np.where(marked, 0, v), stood_in=int(marked.sum()))

    numbers = {1: "conv-0", 2: "conv-1", 3: "conv-2", 4: "conv-3", 5: "conv-4", 7: "fc-0", 8: "fc-1", 9: "fc-2"}
    image = Recorded("input.npy", "0", "spikes", _whole("gts/pilotnet_lif/input.npy"))
    yield run("A", 24, 17, 0, 10, image, *(r for n, file in numbers.items() for r in layer(n, file)))
    yield run("B", 24, 16, 0, 1, Recorded("input-s.npy", "0", "spikes", _whole("gts/pilotnet_lif/input-s.npy")))
    last: tuple[tuple[str, Quantity], ...] = (("s", "spikes"), ("u", "current"), ("v", "voltage"))
    yield run("C", 25, 16, -1, None, *(
        Recorded(f"fc-3-{s}.npy", "10", q, _whole(f"gts/pilotnet_lif/fc-3-{s}.npy")) for s, q in last))  # fmt: skip


def _tinynet() -> Iterator[Recording]:
    def layer(number: int, file: str, quantity: Quantity = "spikes", factor: int = 1) -> Recorded:
        return Recorded(file, str(number), quantity, _whole(f"gts/tinynet/{file}", factor)[1:], number)

    net = _network("tiny.net", reset_interval=17)
    recorded = (layer(0, "input.npy"), layer(1, "layer1.npy"), layer(1, "current.npy", "current", 64),
                layer(2, "output.npy"))  # fmt: skip
    yield Recording("tinynet", net, _in_every_step("gts/tinynet/input_bias.npy", 17), recorded)


def _tinynet_sdnn() -> Iterator[Recording]:
    def block(file: str, shape: Shape, branch: Branch, act: SigmaDelta, x: Array, recorded: Array) -> Recording:
        net = Network(shape, (Layer("0", (branch,), act),))
        return Recording(f"tinynet_sdnn {file[:-4]}", net, x, (Recorded(file, "0", "messages", recorded),))

    folder = "gts/tinynet_sdnn/"
    sent, first = _whole(f"{folder}input.npy"), _whole(f"{folder}layer1.npy")
    wave = _array(f"{folder}input_bias.npy")[..., None] * np.sin(2 * np.pi * np.arange(15) / 15)
    kernel = _array(f"{folder}layer1_kernel.npy")[:, ::-1, ::-1].transpose(0, 3, 2, 1)
    bias, weight = _array(f"{folder}layer1_bias.npy"), _array(f"{folder}layer2_weight.npy")
    encoder, decoder = SigmaDelta(20, role="delta", delay=0), SigmaDelta(role="sigma")
    yield block("input.npy", (3, 16, 16), Branch(Scale()), encoder, wave.astype(np.int64).T[:, None], sent)
    yield block("layer1.npy", (3, 16, 16), Branch(Conv(kernel, stride=(2, 2))), SigmaDelta(20, bias), sent, first[:1])
    flat = _array(f"{folder}layer1.npy").reshape(-1, 16).T[:, None]
    yield block("layer2.npy", (864,), Branch(Dense(weight)), decoder, (flat != 0).astype(np.int64),
                _whole(f"{folder}layer2.npy"))  # fmt: skip


def _dense() -> Iterator[Recording]:
    weight = _array("gts/dense/weight.npy")
    net = Network(weight.shape[1:], (Layer("0", (Branch(Dense(weight)),), Cuba(6, voltage_decay=415)),))
    recorded = (Recorded("out.npy", "0", "spikes", _whole("gts/dense/out.npy")),
                Recorded("current.npy", "0", "current", _whole("gts/dense/current.npy", 64)))  # fmt: skip
    yield Recording("dense", net, _whole("gts/dense/in.npy"), recorded)


def _ntidigits() -> Iterator[Recording]:
    net = _network("gts/ntidigits/ntidigits.net", layers=5)
    x = _whole("gts/ntidigits/input.npy")
    recorded = Recorded("output.npy", "4", "spikes", _whole("gts/ntidigits/output.npy")[1:])
    yield Recording("ntidigits", net, x.reshape(len(x), 1, *net.input_shape), (recorded,))


def _pilotnet_sdnn() -> Iterator[Recording]:
    def layer(number: int, file: str, quantity: Quantity = "sigma") -> Recorded:
        return Recorded(f"{file}.npy", str(number), quantity, _whole(f"gts/pilotnet_sdnn/{file}.npy"))

    x, sent = _in_every_step("gts/pilotnet_sdnn/input.npy", 20), layer(0, "act0", "messages")
    net = _network("gts/pilotnet_sdnn/network.net")
    recorded = (sent, layer(1, "sigma1"), layer(2, "sigma2"), layer(9, "output", "messages"))
    yield Recording("pilotnet_sdnn", net, x, recorded)
    net = _network("gts/pilotnet_sdnn/square_network.net")
    columns = replace(sent, values=sent.values[..., :33])
    yield Recording("pilotnet_sdnn square", net, x[..., :33], (
        columns, *(layer(n, f"sigma{n}_square") for n in range(1, 5))))  # fmt: skip


_READERS: dict[str, Callable[[], Iterator[Recording]]] = {
    "tinynet": _tinynet, "tinynet_sdnn": _tinynet_sdnn, "dense": _dense, "pilotnet_lif": _pilotnet_lif,
    "ntidigits": _ntidigits, "pilotnet_sdnn": _pilotnet_sdnn,
}  # fmt: skip
