"""NetX files: the vendor's own read completely, nothing half-written."""

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


def test_numbers_are_integers_whatever_their_dtype():
    values = handmade() | {"layer/1/neuron/wgtExp": np.float32(2), "layer/2/neuron/vThMant": np.array([302.0])}
    act = read_netx(written(values))["1"].act
    assert (act.weight_exponent, type(act.weight_exponent)) == (2, int)
    assert read_netx(written(values)) == by_hand()


def test_weights_of_both_signs_that_only_lava_holds_are_read():
    """lava runs them in 9 bits (NC-9); no synapse of the chip does, and so they are not written."""
    values = handmade() | {"layer/6/weight": np.tile([129, -129], (4, 12))}
    network = read_netx(written(values))
    assert network["6"].branches[0].op.weight.max() == 129
    with pytest.raises(Unsupported, match="layer-1"):
        netx_bytes(Network((2,), (Layer("layer-1", (Branch(Dense(np.array([[129, -129]]))),), Cuba(1)),)))


def test_the_threshold_of_a_layer_that_never_fires_is_written():
    """2^18 - 1, which slayer's affine layers have; any other one beyond 17 bits is refused."""
    silent = Network((1,), (Layer("1", (Branch(Dense(np.array([[2]]))),), Cuba(2**18 - 1)),))
    assert read_netx(netx_bytes(silent))["1"].act == silent["1"].act


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


def test_pooling_is_two_layers():
    network = read_netx(written(handmade()))
    assert network["3.sum"].branches[0].op == Pool("sum", (2, 1), (2, 2))
    assert network["3"].branches == (Branch(Scale(28), "3.sum"),)
