"""netx of lava-dl as a subject: networks written as NetX files, read by it and run on the CPU in fixed point.

Runs inside the library's own interpreter; the file is ours, everything after it is the library's. Each sample is a run of
its own. netx's synapses take a step; its input layers have none and take what is given in the same step, so that a ``delay``
of 1 there is input that is given a step later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..activation import Cuba
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Integer, Network
from ..trace import Case, Provenance, Record, Trace
from . import ANY, ONE, Families, Oracle, reproduced
from .lava_nc_neurons import VARIABLES, drive_by_bias, keeps_to_24_bits, mantissas
from .lava_nc_run import lava_shape, lay, lay_train, run, unlay
from .lava_nc_synapses import path, reach
from .lava_nc_trace import handed_over
from .lava_netx_file import file_of

_SHARED = dict.fromkeys(("threshold", "current_decay", "voltage_decay"), ONE)
_CUBA = {"type": "Cuba", **_SHARED, "bias": ANY, "overflow": ("wrap", "refuse", "none"), "recurrent": ANY}
_GRADED = {"type": "SigmaDelta", "threshold": ONE}
FAMILIES: Families = {
    "CUBA": _CUBA,
    "CUBA(reset_interval)": {**_CUBA, "reset_interval": ANY, "reset_offset": ANY},
    "input CUBA": {**_CUBA, "drive": ("bias",), "delay": (0, 1), "recurrent": (None,), "bias": (0,)},
    "SDNN": {**_GRADED, "bias": ANY},
    "input SDNN": {**_GRADED, "role": ("delta",), "delay": (0, 1)},
    "SDNN(sigma_output)": {"type": "SigmaDelta", "role": ("sigma",)},
}


def oracle() -> Oracle:
    """Simulator by way of a file, and operators on any file."""
    found = version("lava-dl")
    return Oracle(
        "lava-netx",
        found,
        simulator=partial(simulate, Provenance("lava-netx", found)),
        operators={
            "netx_run": netx_run,
            "netx_describe": netx_describe,
            "optimize_weights": optimize_weights,
            **reproduced.operators("lava_netx"),
        },
        families=FAMILIES,
    )


def simulate(provenance: Provenance, case: Case, record: Record = "full") -> Trace:
    """Trace of a case whose network is written to a file and read back by netx."""
    if case.encoding == "poisson":
        raise Unsupported("encoding = 'poisson'", "a library draws its own spikes", "give the spikes themselves")
    x = case.x if case.encoding == "spikes" else np.broadcast_to(case.x, (case.steps, *case.x.shape))
    for layer in case.network.spiking:
        if not isinstance(layer.act, Integer):
            raise Unsupported(layer.name, f"{type(layer.act).__name__} is none of a NetX file's neurons")
        if np.any(layer.act.axon_delay):
            raise Unsupported(layer.name, "axon_delay: netx delays what enters the neuron", "use operator netx_run")
        if isinstance(layer.act, Cuba):
            _bounded(case.network, layer.name, layer.act, x)
    interval, offset = _reset(case.network)
    names = [layer.name for layer in case.network.spiking]
    first = getattr(case.network.layers[0].act, "delay", 1)
    found = _run(file_of(case.network), x, interval, offset, record == "full", first)
    kept = {
        part: {
            name: np.stack([one[part, k] for one in found], 1) for k, name in enumerate(names) if (part, k) in found[0]
        }
        for part in ("spikes", "v", "v_peak")
    }
    return handed_over(case.network, kept, record, case.steps, provenance)


def _bounded(network: Network, name: str, act: Cuba, x: Array) -> None:
    """Refuse states that might leave 24 bits where netx's neurons wrap, and the case asks for something else."""
    own, branches = np.abs(act.bias).max(), network[name].branches
    if act.drive == "bias":
        scale = branches[0].op
        own = own + np.abs(x * np.max(np.abs(scale.factor))).max() + np.max(np.abs(scale.bias or 0))  # type: ignore[union-attr]
    paths = [path(network, name, b) for b in branches] if act.drive == "current" else []
    keeps_to_24_bits(name, act, reach(act, paths, x), float(own) * 2.0**act.bias_exponent, len(x))


def _reset(network: Network) -> tuple[int | None, int]:
    """Reset interval and offset as netx takes them: the k-th layer is reset k steps after the first one."""
    told = set()
    for k, layer in enumerate(network.spiking):
        interval = getattr(layer.act, "reset_interval", None)
        told.add((interval, (getattr(layer.act, "reset_offset", 0) - k) % interval if interval else 0))
    if len(told) > 1:
        raise Unsupported("reset_interval", "netx resets every layer in one interval, each a step after the one before")
    return told.pop()


def netx_run(
    file: Array, x: Array, steps: int, reset_interval: int | None = None, reset_offset: int = 0
) -> dict[str, Array]:
    """Spikes [T, N, *shape] of every layer with a neuron, named by its index in the file.

    Parameters
    ----------
    file : uint8 array
        Content of a NetX file.
    x : array [T, N, *shape]
        Input, channel first; every layer sees in step t what came in step t - 1. But an input layer of the file takes it
        at once, multiplies it with its weight and adds its bias (CUBA).
    steps : int
        T.
    reset_interval, reset_offset : int
        As given to netx.

    Raises
    ------
    Unsupported
        A layer that netx does not implement.
    """
    found = _run(file, x[:steps], reset_interval, reset_offset, False, 0)
    indices = [index for index, _, _ in _described(file, x.shape[2:])]
    return {index: np.stack([one["spikes", k] for one in found], 1) for k, index in enumerate(indices)}


def netx_describe(file: Array) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Kind and shape, channel first, of every layer that netx makes of a file."""
    return tuple((kind, shape) for _, kind, shape in _described(file, None))


def optimize_weights(weight: Array) -> tuple[Array, int, int, str]:
    """Weight mantissas, bits, exponent and sign mode that netx chooses for a matrix of a file."""
    from lava.lib.dl.netx.utils import optimize_weight_bits

    mantissa, bits, exponent, sign = optimize_weight_bits(np.asarray(weight))
    return np.asarray(mantissa), int(bits), int(exponent), sign.name.lower()


def _described(file: Array, shape: tuple[int, ...] | None) -> list[tuple[str, str, tuple[int, ...]]]:
    """Index in the file, kind and shape of every layer with a neuron."""
    with _read(file, shape) as net:
        config = net.net_config["layer"]
        kinds = {str(i): config[i]["type"] for i in range(len(config))}
        stated = [i for i, kind in kinds.items() if kind == "input" and "neuron" not in config.f[i]]
        made = [i for i, kind in kinds.items() if kind != "flatten" and i not in stated]
        shapes = [tuple(int(n) for n in layer.shape[::-1]) for layer in net.layers]
    return [(i, kinds[i], shape) for i, shape in zip(made, shapes, strict=True)]


@contextmanager
def _read(file: Array, shape: tuple[int, ...] | None, **options: Any) -> Iterator[Any]:
    """Network of netx from the content of a file."""
    import h5py
    from lava.lib.dl.netx.hdf5 import Network as NetxNetwork

    with TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.net")
        with open(path, "wb") as f:
            f.write(np.asarray(file, np.uint8).tobytes())
        try:
            yield NetxNetwork(path, input_shape=None if shape is None else lava_shape(shape, 1), **options)
        except NotImplementedError as e:
            raise Unsupported("netx", str(e) or "a layer that it does not implement") from e
        finally:  # netx closes it nowhere
            for handle in h5py.h5f.get_obj_ids(types=h5py.h5f.OBJ_FILE):
                if handle.name == path.encode():
                    h5py.File(handle).close()


def _run(
    file: Array, x: Array, interval: int | None, offset: int, full: bool, delay: int
) -> list[dict[tuple[str, int], Array]]:
    """Run a file on each sample of x [T, N, *shape]: (what, k-th layer) -> [T, *shape]."""
    bits = 16 if np.any((x != 0) & (x != 1)) else 0
    options = {"reset_interval": interval, "reset_offset": offset, "input_message_bits": bits}
    found = []
    for n in range(x.shape[1]):
        with _read(file, x.shape[2:], **options) as net:
            found.append(_sample(net, x[:, n : n + 1], full, delay))
    return found


def _sample(net: Any, x: Array, full: bool, delay: int) -> dict[tuple[str, int], Array]:
    """Drive one network with x [T, 1, *shape], probe every layer and run it."""
    from lava.proc.io.sink import Read, RingBuffer

    _drive(net, x, delay)
    probes: dict[tuple[str, int], Any] = {}
    for k, layer in enumerate(net.layers):
        sink = probes["spikes", k] = RingBuffer(shape=layer.shape, buffer=len(x))
        layer.neuron.s_out.connect(sink.a_in)
        for what, variable in zip(("v", "v_peak"), VARIABLES[type(layer.neuron).__name__], strict=True):
            if full and variable is not None:
                reader = probes[what, k] = Read(buffer=len(x))
                reader.connect_var(getattr(layer.neuron, variable))
    found = run(net, len(x), probes, {})
    shapes = [layer.shape if len(layer.shape) == 1 else layer.shape[::-1] for layer in net.layers]
    return {
        (what, k): unlay(a, 1, shapes[k])[:, 0].astype(_kind(what, net.layers[k])) for (what, k), a in found.items()
    }


def _kind(what: str, layer: Any) -> Any:
    """Type of an array of a Trace."""
    return np.int64 if what != "spikes" else np.uint8 if type(layer.neuron).__name__.startswith("LIF") else np.int32


def _drive(net: Any, x: Array, delay: int) -> None:
    """Put the input x [T, 1, *shape] on a network: through its synapses, or `delay` steps late on its input layer."""
    from lava.proc.io.source import RingBuffer

    first = net.in_layer
    if type(first).__name__ != "Input":
        port = first.synapse.s_in
        data = x.reshape(*x.shape[:2], -1) if len(port.shape) == 1 else x  # a flattening that comes first is the user's
        RingBuffer(data=_integers(lay_train(data))).s_out.connect(port)
        return
    x = first.transform["weight"] * x + first.transform["bias"] if type(first.neuron).__name__ != "Delta" else x
    late = np.concatenate([np.zeros_like(x[:delay]), x[: len(x) - delay]])
    if type(first.neuron).__name__ == "Delta":
        RingBuffer(data=_integers(lay_train(late))).s_out.connect(first.neuron.a_in)
        return
    biases, exponent = mantissas(INPUT, list(late), 6)
    first.neuron.bias_mant.init = lay(biases[0]).astype(int)
    first.neuron.bias_exp.init = exponent
    drive_by_bias(first.neuron, biases)


def _integers(data: Array) -> Array:
    if np.any(data != np.rint(data)):
        raise Unsupported(INPUT, "messages are integers", "quantise the input")
    return data.astype(int)
