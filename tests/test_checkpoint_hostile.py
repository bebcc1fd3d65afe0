"""Hostile and damaged files: refused in one line, and nothing of them executed."""

import os
import pickle
import random
import struct
import zipfile

import pytest
import torch

from snnverify.detector.archive import read_archive
from snnverify.detector.checkpoint import open_net
from snnverify.detector.model import Detector, described
from snnverify.errors import DataError, SnnverifyError

# Malicious pickles: each would do harm where it is executed; `canary` is what would exist then.


def zipped(path, data, records=(), names=("data.pkl",), **options):
    with zipfile.ZipFile(path, "w", options.pop("compression", zipfile.ZIP_STORED)) as z:
        for name in names:
            z.writestr(f"archive/{name}", data)
        for name, content in records:
            z.writestr(name, content)
    return path


class Reduced:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def named(module, name):
    """A callable that is pickled by a name of our choosing."""
    return f"c{module}\n{name}\n".encode()


def calls(module, name, *arguments):
    return b"\x80\x02" + named(module, name) + pickle.dumps(arguments, 2)[2:-1] + b"R."


MALICIOUS = {
    "os.system": lambda c: pickle.dumps(Reduced(os.system, (f"touch {c}",))),
    "posix.system, protocol 0": lambda c: pickle.dumps(Reduced(os.system, (f"touch {c}",)), 0),
    "system by STACK_GLOBAL": lambda c: pickle.dumps(Reduced(os.system, (f"touch {c}",)), 4),
    "eval": lambda c: pickle.dumps(Reduced(eval, (f"open({str(c)!r}, 'w')",))),
    "eval of Python 2": lambda c: calls("__builtin__", "eval", f"open({str(c)!r}, 'w')"),
    "exec": lambda c: calls("builtins", "exec", f"open({str(c)!r}, 'w')"),
    "open": lambda c: calls("builtins", "open", str(c), "w"),
    "getattr": lambda c: calls("builtins", "getattr", "x", "__class__"),
    "a name with escape codes": lambda c: pickle.dumps({"x": 1}, 4)[:2] + b"\x8c\x0bos\n\x1b[2Jevil\x8c\x01x\x93.",
    "subprocess.Popen": lambda c: calls("subprocess", "Popen", ["touch", str(c)]),
    "runpy": lambda c: calls("runpy", "run_path", str(c)),
    "importlib": lambda c: calls("importlib", "import_module", "antigravity"),
    "functools.partial": lambda c: calls("functools", "partial", "x"),
    "torch.hub.load": lambda c: calls("torch.hub", "load", "owner/repository", "model"),
    "torch.load": lambda c: calls("torch", "load", str(c)),
    "torch.storage._load_from_bytes": lambda c: calls("torch.storage", "_load_from_bytes", b"x"),
    "torch._utils._rebuild_wrapper_subclass": lambda c: calls("torch._utils", "_rebuild_wrapper_subclass", "x"),
    "torch._tensor._rebuild_from_type_v2": lambda c: calls("torch._tensor", "_rebuild_from_type_v2", "x"),
    "a function of a foreign package": lambda c: calls("evil", "run", str(c)),
    "a class of torch.nn that is called": lambda c: calls("torch.nn.modules.activation", "SiLU"),
    "a huge bytearray": lambda c: calls("builtins", "bytearray", 1 << 50),
    "a huge range": lambda c: calls("builtins", "range", 1 << 50),
    "an instance of a class of the library": lambda c: b"\x80\x02" + named("subprocess", "Popen") + b")\x81.",
    "an instance of what may only be called": lambda c: b"\x80\x02" + named("collections", "OrderedDict") + b")\x81.",
    "INST": lambda c: b"(S'touch'\nios\nsystem\n.",
    "OBJ": lambda c: b"(" + named("os", "system") + b"X\x01\x00\x00\x00xo.",
    "an extension code": lambda c: b"\x80\x02\x82\x01.",
    "reduce of a reduce": lambda c: pickle.dumps(Reduced(os.system, (Reduced(eval, ("1",)),))),
    "a reduce within a module's state": lambda c: b"\x80\x02" + named("models.yolo", "Model") + b")\x81}X\x01\x00\x00\x00x"
                                                  + calls("os", "system", "x")[2:-1] + b"sb.",
    "__setstate__ of what was called": lambda c: calls("torch", "Size", (1,))[:-1] + b"}b.",
    "state of a class": lambda c: b"\x80\x02" + named("models.yolo", "Model") + b"}b.",
    "state of a mapping": lambda c: b"\x80\x02}}b.",
    "slots": lambda c: b"\x80\x02" + named("models.yolo", "Model") + b")\x81N}\x86b.",
    "state twice": lambda c: b"\x80\x02" + named("models.yolo", "Model") + b")\x81}X\x01\x00\x00\x00xNsb}b.",
    "items of an instance": lambda c: b"\x80\x02" + named("models.yolo", "Model") + b")\x81X\x01\x00\x00\x00xNs.",
    "append to an instance": lambda c: b"\x80\x02" + named("models.yolo", "Model") + b")\x81Na.",
    "a persistent id that is no storage": lambda c: b"\x80\x02X\x04\x00\x00\x00fileQ.",
    "a persistent id of text": lambda c: b"\x80\x02Pfile\n.",
    "an unhashable key": lambda c: b"\x80\x02}]Ns.",
    "a key that is hashed for ever": lambda c: b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.",
}  # fmt: skip


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, name):
    canary = tmp_path / "canary"
    data = MALICIOUS[name](canary)
    path = zipped(tmp_path / "a.pt", data)
    with pytest.raises(SnnverifyError) as e:
        open_net(path)
    assert not canary.exists()
    assert str(path) in str(e.value)
    assert str(e.value).isprintable()
    if name.startswith(("os.system", "eval")):
        pickle.loads(data)  # it is harmful indeed
        assert canary.exists()


def test_names_of_nothing_harmful_are_read(tmp_path):
    path = zipped(
        tmp_path / "a.pt", pickle.dumps({"names": {1, 2}, "size": torch.Size([2]), "n": [1.5, None, (True,)]}, 2)
    )
    value = read_archive(path).value
    assert value["n"] == [1.5, None, (True,)]


# Malformed files


def stored(size, stride, offset=0, elements=4, kind="FloatStorage", record="0", content=b"\0" * 16):
    """A net of one linear layer whose weight says that it lies so in its storage."""
    pid = b"(X\x07\x00\x00\x00storage" + named("torch", kind)
    pid += b"".join(pickle.dumps(v, 2)[2:-1].split(b"q\x00")[0] for v in (record, "cpu", elements)) + b"tQ"
    tensor = named("torch._utils", "_rebuild_tensor_v2") + b"(" + pid + pickle.dumps(offset, 2)[2:-1]
    for v in (size, stride):
        tensor += b"(" + b"".join(pickle.dumps(n, 2)[2:-1] for n in v) + b"t"
    tensor += b"\x89}tR"
    return b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"s.", [("archive/data/0", content)]


def test_a_tensor_is_read_in_its_order(tmp_path):
    data, records = stored((2, 2), (1, 2), content=struct.pack("<4f", 1, 2, 3, 4))
    archive = read_archive(zipped(tmp_path / "a.pt", data, records))
    assert archive.tensor(archive.value["w"]).tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("wrong", [
    {"size": (5,), "stride": (1,)}, {"size": (4,), "stride": (2,)}, {"size": (4,), "stride": (1,), "offset": 1},
    {"size": (-1,), "stride": (1,)}, {"size": (4,), "stride": (-1,)}, {"size": (4,), "stride": (1,), "offset": -1},
    {"size": (1 << 40,), "stride": (0,)}, {"size": (1 << 62,), "stride": (1,)}, {"size": (4,), "stride": (1, 1)},
    {"size": (4,), "stride": (1,), "elements": 1 << 40}, {"size": (4,), "stride": (1,), "record": "7"},
    {"size": (4,), "stride": (1,), "record": "../0"}, {"size": (4,), "stride": (1,), "kind": "StrangeStorage"},
    {"size": (4,), "stride": (1,), "content": b"\0" * 15},
    {"size": (16,), "stride": (1,), "elements": 16, "kind": "BoolStorage", "content": b"\2" * 16},
], ids=str)  # fmt: skip
def test_a_tensor_that_is_not_in_its_storage_is_refused(tmp_path, wrong):
    data, records = stored(**wrong)
    archive = read_archive(zipped(tmp_path / "a.pt", data, records))
    with pytest.raises(DataError, match=r"a\.pt"):
        archive.tensor(archive.value["w"])


def damaged(path, start, content):
    raw = bytearray(path.read_bytes())
    raw[start : start + len(content)] = content
    path.write_bytes(raw)
    return path


FINE = b"\x80\x02}."
MALFORMED = {
    "empty": (lambda p: p.write_bytes(b""), "empty"),
    "text": (lambda p: p.write_text("weights"), "no file of torch.save"),
    "a pickle alone": (lambda p: p.write_bytes(FINE), "torch before 1.6"),
    "a zip's beginning": (lambda p: p.write_bytes(b"PK\x03\x04" + b"\0" * 40), "the zip is damaged"),
    "nothing inside": (lambda p: zipped(p, FINE, names=()), "without data.pkl"),
    "another zip": (lambda p: zipped(p, FINE, names=("x.txt",)), "without data.pkl"),
    "TorchScript": (lambda p: zipped(p, FINE, names=("data.pkl", "constants.pkl")), "TorchScript"),
    "a bomb": (lambda p: zipped(p, FINE + b"\0" * 100_000, compression=zipfile.ZIP_DEFLATED), "compressed"),
    "a path upwards": (lambda p: zipped(p, FINE, [("archive/../../x", b"")]), "path"),
    "an absolute path": (lambda p: zipped(p, FINE, [("/etc/x", b"")]), "path"),
    "a drive": (lambda p: zipped(p, FINE, [("C:/x", b"")]), "path"),
    "big-endian": (lambda p: zipped(p, FINE, [("archive/byteorder", b"big")]), "big-endian"),
    "a truncated pickle": (lambda p: zipped(p, b"\x80\x02}"), "damaged"),
    "no pickle": (lambda p: zipped(p, b"weights"), "damaged"),
    "an empty pickle": (lambda p: zipped(p, b""), "damaged"),
    "no value": (lambda p: zipped(p, b"\x80\x02."), "damaged"),
    "two values": (lambda p: zipped(p, b"\x80\x02NN."), "more than one value"),
    "an unknown memo": (lambda p: zipped(p, b"\x80\x02h\x07."), "damaged"),
    "a mark that is not there": (lambda p: zipped(p, b"\x80\x02t."), "damaged"),
    "a string longer than the file": (lambda p: zipped(p, b"\x80\x02X\xff\xff\xff\x7fx."), "damaged"),
    "a large pickle": (lambda p: zipped(p, b"N" * ((16 << 20) + 1)), "at most"),
    "a flipped bit": (lambda p: damaged(zipped(p, FINE), 50, b"\x01"), "damaged|no checkpoint|opcode"),
    "neither net nor tensors": (lambda p: zipped(p, b"\x80\x02]."), "neither a net nor named tensors"),
    "no tensors": (lambda p: zipped(p, FINE), "neither a net nor named tensors"),
    "a module without state": (lambda p: zipped(p, b"\x80\x02" + named("models.yolo", "Model") + b")\x81."), "save"),
    "deep lists": (lambda p: zipped(p, b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."), "neither"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_one_line(tmp_path, name):
    path = tmp_path / "a.pt"
    make, words = MALFORMED[name]
    make(path)
    with pytest.raises(SnnverifyError, match=words) as e:
        open_net(path)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_entries_that_say_they_hold_more_than_the_file_are_refused(tmp_path):
    path = zipped(tmp_path / "a.pt", FINE, [("archive/data/0", b"\0" * 8)])
    raw = path.read_bytes()
    central = raw.rindex(b"PK\x01\x02")
    damaged(path, central + 20, struct.pack("<II", 1 << 30, 1 << 30))
    with pytest.raises(DataError, match=r"says that it holds \d+ bytes"):
        open_net(path)


def test_an_encrypted_entry_is_refused(tmp_path):
    path = zipped(tmp_path / "a.pt", FINE)
    damaged(path, path.read_bytes().rindex(b"PK\x01\x02") + 8, b"\x01")
    with pytest.raises(DataError, match="encrypted"):
        open_net(path)


def test_two_entries_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped(tmp_path / "a.pt", FINE, [("archive/data.pkl", FINE)])
    with pytest.raises(DataError, match="two entries of one name"):
        open_net(path)


@pytest.mark.parametrize("path", ["none.pt", "folder", "a\0b"])
def test_what_is_no_file_is_one_line(tmp_path, path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        open_net(f"{tmp_path}/{path}")


def test_mutations_of_a_file_end_in_a_net_or_in_our_error(tmp_path):
    torch.save({"model": Detector(described("digits"))}, tmp_path / "a.pt")
    outcomes = mutate(tmp_path / "a.pt", tmp_path / "m.pt", seed=0, number=60)
    assert outcomes["net"] < 60


def mutate(source, target, seed, number):
    """Change the pickle or the file at random; whatever is read, nothing but our errors may come of it."""
    rng = random.Random(seed)
    with zipfile.ZipFile(source) as z:
        entries = {n: z.read(n) for n in z.namelist()}
    pkl = next(n for n in entries if n.endswith("data.pkl"))
    outcomes = {"net": 0}
    for _ in range(number):
        data = bytearray(entries[pkl])
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randrange(1, 9)]
                case 2:
                    data[at:at] = data[(b := rng.randrange(len(data))) : b + rng.randrange(1, 40)]
                case 3:
                    data[at] ^= 1 << rng.randrange(8)
        with zipfile.ZipFile(target, "w") as z:
            for name, content in entries.items():
                z.writestr(name, bytes(data) if name == pkl else content)
        raw = target.read_bytes()
        if rng.random() < 0.2:
            raw = bytearray(raw)
            for _ in range(rng.randrange(1, 20)):
                raw[rng.randrange(len(raw))] = rng.randrange(256)
            target.write_bytes(raw)
        try:
            open_net(target)
            outcomes["net"] += 1
        except SnnverifyError as e:
            assert "\n" not in str(e)  # noqa: PT017
            outcomes[type(e).__name__] = outcomes.get(type(e).__name__, 0) + 1
    return outcomes
