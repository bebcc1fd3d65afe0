"""NetX files: the vendor's own read completely, hostile ones refused in one line, nothing half-written."""

import time

import h5py
import numpy as np
import pytest

from snnverify.activation import Cuba, SigmaDelta
from snnverify.checks.netx_files import by_hand, handmade
from snnverify.errors import CodecError, ConfigError, SnnverifyError, Unavailable, Unsupported
from snnverify.exchange import netx_bytes, netx_ignores, read_netx, write_netx
from snnverify.exchange.hdf5 import written
from snnverify.exchange.vectors import locate
from snnverify.network import Branch, Conv, Dense, Layer, Network, Pool, Scale

# layers of each file of the wheel, and of those: how many have a neuron, hold a convolution, hold a matrix
VENDOR = {
    "tiny.net": (3, 3, 2, 0),
    "mnist.net": (4, 3, 0, 3),
    "gts/pilotnet_lif/network.net": (11, 10, 5, 4),
    "gts/ntidigits/ntidigits.net": (6, 3, 0, 4),
    "gts/pilotnet_sdnn/network.net": (10, 9, 4, 4),
    "gts/pilotnet_sdnn/square_network.net": (5, 5, 4, 0),
}


def vendor(name):
    try:
        return locate("lava-dl", name)
    except Unavailable as e:
        pytest.skip(str(e))


@pytest.mark.parametrize("name", VENDOR)
def test_vendor_files_are_read_completely(name):
    """Every weight, bias, delay and neuron parameter is the one that h5py finds."""
    path = vendor(name)
    network = read_netx(path)
    layers, neurons, convolutions, matrices = VENDOR[name]
    with h5py.File(path) as file:
        assert len(file["layer"]) == layers
        for i in range(layers):
            stored = file[f"layer/{i}"]
            kind = stored["type"][0].decode()
            if kind == "input" and "neuron" not in stored:
                assert network.input_shape == tuple(stored["shape"])
                continue
            layer = network[str(i)]
            op, act = layer.branches[0].op, layer.act
            if kind == "input":
                factor = int(np.ravel(stored["weight"])[0]) if "weight" in stored else 64
                bias = float(np.ravel(stored["bias"])[0]) if "bias" in stored else None
                assert (op.factor, op.bias) == (factor, bias)
            elif "weight" in stored:
                assert np.array_equal(op.weight.ravel(), stored["weight"][()].ravel())
            assert np.prod(network.shapes[str(i)]) == np.prod(stored["shape"])
            if "neuron" in stored and kind != "input":
                bias = stored["bias"][()] if "bias" in stored else 0
                assert np.array_equal(act.bias, bias)
            if "neuron/iDecay" in stored:
                params = [stored[f"neuron/{key}"][()] for key in ("iDecay", "vDecay", "vThMant", "refDelay")]
                assert [act.current_decay, act.voltage_decay, act.threshold, act.refractory] == params
            if "delay" in stored:
                assert np.array_equal(act.axon_delay, stored["delay"])
            assert (act is None) == ("neuron" not in stored)
    assert len(network.spiking) == neurons
    ops = [layer.branches[0].op for layer in network.layers]
    assert sum(isinstance(op, Conv) for op in ops) == convolutions
    assert sum(isinstance(op, Dense) for op in ops) == matrices


def test_vendor_files_by_hand():
    """Spot values, looked up in the files with h5dump."""
    pilot = read_netx(vendor("gts/pilotnet_lif/network.net"), reset_interval=17)
    conv = pilot["4"].branches[0].op
    assert (conv.stride, conv.padding, pilot.shapes["4"]) == ((2, 1), ((1, 1), (0, 0)), (64, 4, 22))
    assert pilot["10"].act.threshold == 131071
    assert [v.act.reset_offset for v in pilot.spiking] == list(range(10))
    digits = read_netx(vendor("gts/ntidigits/ntidigits.net"))
    assert digits.input_shape == (1, 1, 64)
    assert (digits["2"].act.axon_delay.max(), digits["2"].branches[0].op.weight.min()) == (62, -248)
    assert digits["5"].branches[0].op.weight[1, 22] == 1 / 22
    sdnn = read_netx(vendor("gts/pilotnet_sdnn/network.net"))
    assert [v.act.role for v in sdnn.spiking] == ["delta", *["sigma-delta"] * 7, "sigma"]
    assert sdnn["1"].act.threshold == 13


@pytest.mark.parametrize("name", VENDOR)
def test_vendor_files_survive_writing(name, tmp_path):
    network = read_netx(vendor(name))
    assert read_netx(write_netx(network, tmp_path / "again.net")) == network


def test_layers_of_a_file():
    path = vendor("gts/pilotnet_lif/network.net")
    assert [layer.name for layer in read_netx(path, layers=3).layers] == ["0", "1", "2"]
    with pytest.raises(CodecError, match="there is no network"):
        read_netx(vendor("gts/ntidigits/ntidigits.net"), layers=1)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"layers": 0}, "layers = 0"),
        ({"reset_interval": 0}, "reset_interval = 0"),
        ({"input_shape": (3,)}, "input_shape"),
    ],
)
def test_options_out_of_range(option, said):
    with pytest.raises(SnnverifyError, match=said) as caught:
        read_netx(written(handmade()), **option)
    assert isinstance(caught.value, ConfigError)


def test_a_file_without_input_layer():
    conv = Layer("1", (Branch(Conv(np.full((1, 1, 2, 2), 2))),), Cuba(3))
    values = {
        f"layer/{i}/{k.split('/', 2)[2]}": v for k, v in handmade().items() for i in (0,) if k.startswith("layer/2/")
    }
    with pytest.raises(Unsupported, match="layer/0: the file begins with a convT layer"):
        read_netx(written(values))
    assert read_netx(written(values), input_shape=(2, 3, 2)).shapes["0"] == (3, 4, 3)
    network = Network((1, 3, 3), (conv,))
    assert read_netx(netx_bytes(network)) == network


def test_bytes_of_a_network_are_always_the_same():
    assert netx_bytes(by_hand()) == netx_bytes(by_hand())


def test_nothing_is_half_written(tmp_path):
    unwritable = Network((1,), (Layer("a", (Branch(Dense(np.array([[2]]))),), Cuba(1, reset_interval=3)),))
    with pytest.raises(Unsupported, match="a: reset_interval = 3"):
        write_netx(unwritable, tmp_path / "folder" / "network.net")
    assert list(tmp_path.iterdir()) == []


def test_what_lavas_reader_leaves_out():
    said = netx_ignores(by_hand())
    assert {"1: refractory", "1: weight_exponent", "1: axon_delay", "2: transposed convolution", "3.sum: pooling",
            "4: transposed convolution", "7: average"} == set(said)  # fmt: skip
    silent = Network((1,), (Layer("a", (Branch(Dense(np.array([[0]]))),), Cuba(1, axon_delay=3)),))
    assert netx_ignores(silent) == ("a: weights all 0",)
    unit = Network((1,), (Layer("a", (Branch(Dense(np.array([[2]]))),), SigmaDelta(1, activation="unit")),))
    assert netx_ignores(unit) == ("a: activation",)


def hostile(make):
    """Write a file with h5py, and give its bytes."""

    def build(folder):
        path = folder / "hostile.net"
        with h5py.File(path, "w") as file:
            for key, value in handmade().items():
                file.create_dataset(key, data=value)
            make(file)
        return path

    return build  # fmt: skip


def put(key, value):
    def make(file):
        if key in file:
            del file[key]
        file[key] = value

    return hostile(make)


def huge(file):
    del file["layer/6/weight"]
    file.create_dataset("layer/6/weight", (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip")


def many_small(file):
    for i in range(9):
        file.create_dataset(f"extra/{i}", (2**24, 2), "f4", chunks=(2**20, 2))


def many_layers(file):
    for i in range(8, 70_000):
        file["layer"].create_group(str(i))


def outside(file):
    del file["layer/6/weight"]
    file.create_dataset("layer/6/weight", (4, 24), "f4", external=[("/etc/hostname", 0, 384)])


def virtual(file):
    del file["layer/6/weight"]
    layout = h5py.VirtualLayout((4, 24), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", (4, 24))
    file.create_virtual_dataset("layer/6/weight", layout)


def deep(file):
    group = file
    for _ in range(70):
        group = group.create_group("g")


def circle(file):
    file["layer/5/back"] = file["layer"]


def is_a_group(file):
    del file["layer/6/weight"]
    file.create_group("layer/6/weight/in")


def empty(file):
    del file["layer/6/weight"]
    file["layer/6/weight"] = h5py.Empty("f4")


def two_parts(file):
    del file["layer/6/weight"]
    file["layer/6/weight/imag"] = file["layer/6/weight/real"] = np.ones((4, 24))


def huge_unpooling(file):
    for key in list(file["layer"]):
        if key not in "034":
            del file[f"layer/{key}"]
    del file["layer/3"]
    file.move("layer/4", "layer/1")
    file["layer/0/shape"][...] = file["layer/1/shape"][...] = (10**12, 1, 1)


def huge_average(file):
    for key in "123456":
        del file[f"layer/{key}"]
    file.move("layer/7", "layer/2")
    for key, value in {"type": b"flatten", "shape": np.array([10**8])}.items():
        file[f"layer/1/{key}"] = value
    file["layer/0/shape"][...] = (10**8, 1, 1)
    file["layer/2/shape"][...] = (10**8, 1, 1)


NOT_HDF5 = "no NetX file in HDF5"


def other(data):
    def make(folder):
        (folder / "other.net").write_bytes(data)
        return folder / "other.net"

    return make


HOSTILE = {
    "no HDF5": (other(b"PK\x03\x04" * 99), NOT_HDF5),
    "nothing": (other(b""), NOT_HDF5),
    "a huge unpooling": (hostile(huge_unpooling), "imply a weight"),
    "a huge average": (hostile(huge_average), "imply a weight"),
    "a folder": (lambda folder: folder, "cannot be read"),
    "not there": (lambda folder: folder / "x", "no such file"),
    "external link": (put("layer/6/weight_rec2", h5py.ExternalLink("/etc/passwd", "x")), "ExternalLink"),
    "soft link": (put("layer/6/weight", h5py.SoftLink("/layer/1/weight")), "layer/6/weight: a SoftLink"),
    "external storage": (hostile(outside), "layer/6/weight: its data lie in another file"),
    "virtual": (hostile(virtual), "layer/6/weight: its data lie in another file"),
    "10^12 numbers": (hostile(huge), "unpacks to more than"),
    "many arrays": (hostile(many_small), "unpacks to more than"),
    "70,000 layers": (hostile(many_layers), "/layer: it holds 70000 items"),
    "deep groups": (hostile(deep), "nest deeper"),
    "a circle": (hostile(circle), "linked twice"),
    "a group for weights": (hostile(is_a_group), "layer/6/weight"),
    "an empty array": (hostile(empty), "layer/6/weight: it is empty"),
    "no layers": (hostile(lambda file: file.__delitem__("layer")), "layer: there is no such group"),
    "layers in an array": (put("layer", np.zeros(3)), "layer: there is no such group"),
    "a layer in an array": (put("layer/5", np.zeros(3)), "layer/5: an array"),
    "a hole": (hostile(lambda file: file.__delitem__("layer/3")), "layer/7: the 7 layers must be numbered 0 ... 6"),
    "texts for weights": (put("layer/6/weight", np.full((4, 24), b"a")), "layer/6/weight: dtype |S1"),
    "objects for weights": (put("layer/6/bias", "word"), "layer/6/bias: dtype object; it must hold numbers"),
    "complex weights": (put("layer/6/weight", np.ones((4, 24), complex)), "layer/6/weight: dtype complex128"),
    "weights of two parts": (hostile(two_parts), "layer/6/weight: complex weights"),
    "numbers for a type": (put("layer/6/type", 3), "layer/6/type: int64"),
    "a long type": (put("layer/6/type", b"dense" * 100), "layer/6/type: 500 bytes"),
    "a type in Greek": (put("layer/6/type", "πυκνός"), "layer/6/type"),
    "infinity": (put("layer/6/weight", np.full((4, 24), np.inf)), "layer/6/weight: it holds NaN or infinity"),
    "no axis": (put("layer/6/weight", 4.0), "layer/6/weight"),
    "ten axes": (put("layer/6/weight", np.full((2,) * 10, 2.0)), "layer/6/weight"),
    "no input": (put("layer/0/shape", np.array([0, 4, 6])), "layer/0/shape"),
    "negative input": (put("layer/0/shape", np.array([-2, 4, 6])), "layer/0/shape"),
    "a huge input": (put("layer/0/shape", np.array([2, 10**9, 10**9])), "layer/1"),
    "negative stride": (put("layer/1/stride", np.array([-1, 1])), "layer/1"),
    "huge padding": (put("layer/1/padding", np.array([2**40, 0])), "layer/1"),
    "no groups": (put("layer/1/groups", 0), "layer/1"),
    "negative outputs": (put("layer/6/shape", np.array([-4])), "layer/6"),
    "a threshold of words": (put("layer/1/neuron/vThMant", b"high"), "layer/1/neuron/vThMant: dtype"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_in_one_line(what, tmp_path):
    make, said = HOSTILE[what]
    path, started = make(tmp_path), time.monotonic()
    with pytest.raises((CodecError, Unsupported)) as caught:
        read_netx(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(kept, tmp_path):
    whole = written(handmade())
    (tmp_path / "cut.net").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(CodecError, match=r"cut\.net: no NetX file in HDF5"):
        read_netx(tmp_path / "cut.net")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_are_read_or_refused(seed):
    """Flipped bytes end in a network or in an error of ours, never in another exception."""
    rng = np.random.default_rng(seed)
    data = np.frombuffer(written(handmade()), np.uint8).copy()
    data[rng.integers(0, len(data), 40)] ^= rng.integers(1, 256, 40, dtype=np.uint8)
    try:
        found = read_netx(data)
    except SnnverifyError as e:
        found = e
    assert isinstance(found, Network) or "\n" not in str(found)


def test_pooling_is_two_layers():
    network = read_netx(written(handmade()))
    assert network["3.sum"].branches[0].op == Pool("sum", (2, 1), (2, 2))
    assert network["3"].branches == (Branch(Scale(28.0), "3.sum"),)
