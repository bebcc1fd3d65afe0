"""NetX files that are hostile or damaged: refused in one line, and soon."""

import io
import time

import h5py
import numpy as np
import pytest

from snnverify.checks.netx_files import handmade
from snnverify.errors import CodecError, SnnverifyError, Unsupported
from snnverify.exchange import read_netx
from snnverify.exchange.hdf5 import written
from snnverify.network import Network


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


def test_a_bug_of_ours_is_no_damaged_file(monkeypatch):
    monkeypatch.setattr("snnverify.exchange.netx_read._act", lambda *given: given[9])
    with pytest.raises(IndexError):
        read_netx(written(handmade()))


def test_a_damaged_dataset_is_refused():
    """Its header is whole, its compressed data are not."""
    values = handmade() | {"layer/6/weight": np.arange(96).reshape(4, 24) * 2 - 96}
    weight = values.pop("layer/6/weight")
    with h5py.File(buffer := io.BytesIO(written(values)), "r+") as file:
        file.create_dataset("layer/6/weight", data=weight, compression="gzip")
        start = file["layer/6/weight"].id.get_chunk_info(0).byte_offset
    data = bytearray(buffer.getvalue())
    data[start : start + 8] = bytes(8)
    with pytest.raises(CodecError, match="NetX data: no NetX file in HDF5"):
        read_netx(bytes(data))
