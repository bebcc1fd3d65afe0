"""NetX files: what we write and read is the same network, the one that lava-dl means, or it is refused with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from .. import reference
from ..activation import Cuba, SigmaDelta
from ..content import Array
from ..errors import CodecError, Unsupported
from ..exchange import netx_bytes, netx_ignores, read_netx
from ..exchange.hdf5 import datasets, written
from ..findings import Measure
from ..network import INPUT, Branch, Conv, Dense, Layer, Network, Pool, Scale
from ..oracles import Oracle
from ..trace import Case
from . import check
from .common import differences
from .netx_files import SIGMA, by_hand, chain, handmade, netx_networks, sigma
from .netx_tables import LEFT_OUT, REACHING, SPOILT, UNHELD, reaching

Values = dict[str, Any]


def indexed(network: Network) -> Network:
    """Name the layers by their index in the file, which has an input layer in front where the network has none."""
    names, i = {INPUT: INPUT}, 0 if isinstance(network.layers[0].branches[0].op, Scale) else 1
    for layer in network.layers:
        pooled = isinstance(layer.branches[0].op, Pool)
        names[layer.name] = f"{i}.sum" if pooled else str(i)
        i += not pooled
    layers = (
        Layer(names[v.name], (Branch(v.branches[0].op, names[v.branches[0].source]),), v.act) for v in network.layers
    )
    return replace(network, layers=tuple(layers))


def unequal(a: Network, b: Network) -> Iterator[Measure]:
    """Layers of two networks that are not the same in every bit."""
    yield Measure("layers more or less", float(abs(len(a.layers) - len(b.layers))))
    yield Measure("another input", float(a.input_shape != b.input_shape))
    for p, q in zip(a.layers, b.layers, strict=False):
        yield Measure("a layer is another", float(p != q), where=p.name, detail="" if p == q else f"{p} became {q}")


@check("operators", netx_networks())
def round_trip(network: Network, subject: Oracle) -> Iterator[Measure]:
    """A network of integer neurons written as NetX and read is the same in every bit, but for the names of its layers [lava-dl 0.6.0, slayer/block/base.py export_hdf5]."""
    read = subject.operator("read_netx")(subject.operator("netx_bytes")(network))
    yield from unequal(indexed(network), read)


@check("operators", netx_networks())
def stored(network: Network, subject: Oracle) -> Iterator[Measure]:
    """Each array of the network lies in the file where lava-dl has it, as a cross-correlation, channel first, y before x [lava-dl 0.6.0, slayer/block/base.py export_hdf5]."""
    found = datasets(subject.operator("netx_bytes")(network), "NetX")
    expected: Values = {}
    for layer in indexed(network).layers:
        if not layer.name.endswith(".sum"):
            expected |= {f"layer/{layer.name}/{key}": value for key, value in _expected(layer).items()}
    for path, value in expected.items():
        yield Measure("missing", float(path not in found), where=path)
        if path in found:
            yield Measure("stored otherwise", differences(np.asarray(value), found[path]), where=path)


def _expected(layer: Layer) -> Values:
    """What the file must hold of a layer; geometry of a pooling is `handmade`'s to judge."""
    op, act, values = layer.branches[0].op, layer.act, dict[str, Any]()
    if isinstance(op, Conv):
        values = {"weight": op.weight, "stride": op.stride, "dilation": op.dilation, "groups": op.groups,
                  "padding": [before for before, _ in op.padding], "kernelSize": op.weight.shape[2:]}  # fmt: skip
    if isinstance(op, Dense) and act is not None:
        values = {"weight": op.weight, "inFeatures": op.weight.shape[1], "outFeatures": op.weight.shape[0]}
    if isinstance(act, Cuba):
        values |= {"neuron/vThMant": act.threshold, "neuron/iDecay": act.current_decay, "neuron/vDecay": act.voltage_decay,
                   "neuron/refDelay": act.refractory}  # fmt: skip
        values |= {} if act.recurrent is None else {"weight_rec": act.recurrent}
        values |= {} if act.weight_exponent == 0 else {"neuron/wgtExp": act.weight_exponent}
    if isinstance(act, (Cuba, SigmaDelta)):
        values |= {} if np.ndim(act.axon_delay) == 0 and act.axon_delay == 0 else {"delay": act.axon_delay}
        if isinstance(op, Scale) and (getattr(act, "drive", "") == "bias" or getattr(act, "role", "") == "delta"):
            return values | {"weight": op.factor} | ({} if op.bias is None else {"bias": op.bias})
        values |= {} if np.ndim(act.bias) == 0 else {"bias": act.bias}
    return values


VARIANTS = st.fixed_dictionaries({
    "texts": st.sampled_from(["S10", "O"]), "one": st.sampled_from([(), (1,)]), "trailing": st.booleans(),
    "dtype": st.sampled_from(["<f4", "<f8", "<i2"]), "weighted": st.booleans(), "flat": st.booleans(),
})  # fmt: skip


@check("operators", VARIANTS)
def read_by_hand(variant: Mapping[str, Any], subject: Oracle) -> Iterator[Measure]:
    """A file that was written by hand is the network that was written by hand, however its texts, numbers and kernels are stored [lava-dl 0.6.0, slayer/block/base.py export_hdf5; tests/lava/lib/dl/netx/*.net; netx/hdf5.py create_dense: flat weights are reshaped to out rows]."""
    read = subject.operator("read_netx")(np.frombuffer(written(handmade(**variant)), np.uint8))
    yield from unequal(by_hand(variant["dtype"], variant["weighted"]), read)


@check("operators", st.sampled_from(SIGMA))
def stored_switch(stored: Any, subject: Oracle) -> Iterator[Measure]:
    """A sigma-delta layer hands on its sums where sigma_output is stored as true, and only there [lava-dl 0.6.0, slayer/block/sigma_delta.py Output: True; netx/hdf5.py get_neuron_params goes by its presence, but no writer stores False].

    A file that says False means a layer with threshold and rectifier, which is what `stored` None says by its absence.
    """
    file, network = sigma(stored)
    yield from unequal(network, subject.operator("read_netx")(np.frombuffer(written(file), np.uint8)))


@check("operators", st.tuples(st.integers(11, 25), st.none() | st.integers(2, 25)))
def many_layers(drawn: tuple[int, int | None], subject: Oracle) -> Iterator[Measure]:
    """Layers follow each other by number, 2 before 10, and the first k are those of the least numbers [lava-dl 0.6.0, netx/hdf5.py _create: layer_config of i in range(num_layers)]."""
    number, count = drawn
    matrices = [2 * np.array([[i, 1], [-1, i]]) for i in range(number)]
    file: Values = {"layer/0/type": "input", "layer/0/shape": np.array([2])}
    cuba: Values = {"type": "CUBA", "iDecay": 4096, "vDecay": 0, "vThMant": 9, "refDelay": 1}
    for i, weight in enumerate(matrices, 1):
        file |= {f"layer/{i}/type": "dense", f"layer/{i}/shape": np.array([2]), f"layer/{i}/weight": weight}
        file |= {f"layer/{i}/neuron/{key}": value for key, value in cuba.items()}
    read = subject.operator("read_netx")(np.frombuffer(written(file), np.uint8), layers=count)
    kept = matrices if count is None else matrices[: count - 1]
    yield from unequal(indexed(chain(*((Dense(weight), Cuba(9)) for weight in kept))), read)


OPTIONS = st.fixed_dictionaries({
    "layers": st.integers(1, 8), "transform": st.booleans(), "reset_interval": st.none() | st.integers(1, 9),
    "reset_offset": st.integers(0, 9), "overflow": st.sampled_from(["refuse", "wrap", "none"]),
})  # fmt: skip


@check("operators", OPTIONS)
def options(drawn: Mapping[str, Any], subject: Oracle) -> Iterator[Measure]:
    """The reader takes the first k layers of the file, leaves the input as it is where told, resets the k-th layer with a neuron k steps later, and lets every neuron overflow as told [lava-dl 0.6.0, netx/hdf5.py _create: num_layers, reset_interval, reset_offset; lava-nc 0.10.0, proc/lif/models.py wraps at 24 bits]."""
    read = subject.operator("read_netx")(np.frombuffer(written(handmade()), np.uint8), **drawn)
    interval, offset = drawn["reset_interval"], drawn["reset_offset"]
    kept, k = [], 0
    for layer in by_hand().layers:
        if int(layer.name.removesuffix(".sum")) >= drawn["layers"]:
            break
        act = layer.act
        if isinstance(act, Cuba):
            reset = {} if interval is None else {"reset_interval": interval, "reset_offset": offset + k}
            act = replace(act, overflow=drawn["overflow"], **reset)
            k += 1
        branches = layer.branches if drawn["transform"] or layer.name != "0" else (Branch(Scale(1.0)),)
        kept.append(Layer(layer.name, branches, act))
    yield from unequal(replace(by_hand(), layers=tuple(kept)), read)


@check("operators", st.sampled_from(sorted(SPOILT)))
def spoilt_files(place: str, subject: Oracle) -> Iterator[Measure]:
    """A file with one dataset that is missing, malformed, out of range, unknown or at odds with another is refused with the place of it [what each means: lava-dl 0.6.0, netx/hdf5.py]."""
    yield from _refused(place, written(SPOILT[place](handmade())), subject)


@check("operators", st.sampled_from(sorted(REACHING)))
def reaching_files(what: str, subject: Oracle) -> Iterator[Measure]:
    """A file whose data lie elsewhere, in another file of the machine or under another name, is refused with the place of it [HDF5 1.14 reference manual, H5Pset_external, H5Pset_virtual, H5Lcreate_external, H5Lcreate_soft]."""
    yield from _refused("layer/6/weight", reaching(handmade(), "layer/6/weight", REACHING[what]), subject)


def _refused(place: str, file: bytes, subject: Oracle) -> Iterator[Measure]:
    """Whether a file is refused, with the place."""
    read = subject.operator("read_netx")
    try:
        _ = read(np.frombuffer(file, np.uint8))
    except (CodecError, Unsupported) as e:
        yield Measure("the place is not named", float(place not in str(e)), where=place, detail=str(e))
        return
    yield Measure("read all the same", 1.0, where=place)


@check("operators", st.sampled_from(sorted(UNHELD)))
def refused_networks(what: str, subject: Oracle) -> Iterator[Measure]:
    """What a file cannot hold is refused with the layer and the reason, and never left out [lava-dl 0.6.0, slayer/block/base.py export_hdf5: there is no dataset for it]."""
    write = subject.operator("netx_bytes")
    try:
        _ = write(UNHELD[what])
    except Unsupported as e:
        said = str(e)
        yield Measure(
            "layer or reason is not named", float(what not in said or "layer" not in said), where=what, detail=said
        )
        return
    yield Measure("written all the same", 1.0, where=what)


@check("operators", st.sampled_from(sorted(LEFT_OUT)))
def left_out(what: str, subject: Oracle) -> Iterator[Measure]:
    """What lava's own reader drops, or cannot load, of a file is told with its layer, and nothing else is [lava-dl 0.6.0, netx/hdf5.py get_neuron_params, create_dense, create_conv, _create]."""
    network, expected = LEFT_OUT[what]
    said = subject.operator("netx_ignores")(network)
    yield Measure(
        "told otherwise", float(sorted(said) != sorted(expected)), where=what, detail=f"{said}, not {expected}"
    )


@st.composite
def _driven(draw: st.DrawFn, /) -> tuple[Network, Array]:
    """A network that lava's reader obeys, and a train of binary spikes."""
    network = draw(netx_networks(plain=True, kind="CUBA", first=False))
    assume(not netx_ignores(network))
    x = draw(st.lists(st.integers(0, 255), min_size=1, max_size=12))
    rng = np.random.default_rng(x)
    return network, rng.integers(0, 2, (len(x) + 3, 1, *network.input_shape)).astype(float)


@check("operators", _driven())
def runs_in_netx(drawn: tuple[Network, Array], subject: Oracle) -> Iterator[Measure]:
    """What we write lava's own reader loads, and its processes spike as the reference does [lava-dl 0.6.0, netx/hdf5.py Network]."""
    network, x = drawn
    run = subject.operator("netx_run")
    file = np.frombuffer(netx_bytes(network), np.uint8)
    found = run(file, x, len(x), None, 0)
    expected = reference.run(Case(indexed(network), x, len(x), "spikes", kind="integer")).spikes
    for name, spikes in expected.items():
        yield Measure("missing", float(name not in found), where=name)
        if name in found:
            yield Measure("spikes that differ", differences(spikes, found[name]), where=name)


def _on_grid(network: Network) -> Network:
    """Give every layer a bias on the 8-bit grid, to which slayer rounds."""
    acts = [replace(v.act, bias=2 * v.act.bias) if isinstance(v.act, Cuba) else v.act for v in network.layers]
    return replace(network, layers=tuple(replace(v, act=act) for v, act in zip(network.layers, acts, strict=True)))


# slayer has a block for nearly every plain network, and for few others
EXPORTED = st.booleans().flatmap(lambda plain: netx_networks(plain=plain, kind="CUBA", first=False))


@check("operators", EXPORTED.map(_on_grid))
def exported_by_slayer(network: Network, subject: Oracle) -> Iterator[Measure]:
    """A file that slayer exported for a network is read as that network [lava-dl 0.6.0, slayer/block/base.py export_hdf5]."""
    read = read_netx(subject.operator("slayer_export")(network), input_shape=network.input_shape)
    yield Measure("layers more or less", float(abs(len(network.layers) - len(read.layers))))
    for a, b in zip(network.layers, read.layers, strict=False):
        yield Measure("another operation", float(type(a.branches[0].op) is not type(b.branches[0].op)), where=a.name)
        for part, other in ((a.branches[0].op, b.branches[0].op), (a.act, b.act)):
            for field, value in vars(part).items() if part is not None else ():
                yield Measure(f"{field} differs", _apart(value, getattr(other, field, None)), where=a.name)


def _apart(a: Any, b: Any) -> float:
    """Count numbers that differ; one number stands for all of an array, nothing for nothing."""
    if isinstance(a, (str, type(None))) or b is None:
        return float(a != b)
    p, q = np.broadcast_arrays(np.asarray(a), np.asarray(b))
    return differences(p, q)
