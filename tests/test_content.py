"""Frozen values: digests, ownership, and a codec that refuses what it did not write and never runs it."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from snnverify.activation import ClipFloor, Cuba, Neuron, Relu
from snnverify.content import Content, load, save, write_atomic
from snnverify.errors import CodecError
from snnverify.findings import Finding, Measure
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.trace import Case, Divergence, Parting, Provenance, Trace


def network() -> Network:
    """Every operation and every activation, each field away from its default."""
    rng = np.random.default_rng(0)
    neuron = Neuron(
        theta=np.array([1.0, 2.0, 0.5]), amplitude=0.1, v_init=np.array([0.1, -0.0, 1e-300]), fires=">", reset="value",
        v_reset=0.25, reset_delay=1, max_spikes=None, v_floor=-1.5, leak=0.9, v_rest=0.125, input_scaled=True,
        syn_decay=0.3, syn_order="add-decay", delay=1, order="integrate-leak",
    )  # fmt: skip
    return Network((2, 6, 6), (
        Layer("conv", (Branch(Conv(rng.normal(size=(4, 1, 3, 2)), rng.normal(size=4), (1, 2), ((1, 0), (2, 1)), (2, 1),
                                   groups=2)),), Relu()),
        Layer("up", (Branch(Conv(rng.normal(size=(4, 3, 2, 2)).astype("f4"), None, (2, 2), transposed=True,
                                 output_padding=(1, 0)), "conv"),), neuron),
        Layer("mean", (Branch(Pool("average", (2, 2), (1, 1), (1, 0), count_include_pad=False), "up"),)),
        Layer("most", (Branch(Pool("max", (2, 1)), "mean"), Branch(Pool("sum", (2, 1)), "mean"))),
        Layer("flat", (Branch(Flatten(), "most"),)),
        Layer("scaled", (Branch(Scale(np.array(0.5), np.array(-1.0)), "flat"),), ClipFloor(4, np.array(2.0), 0.25)),
        Layer("out", (Branch(Dense(rng.integers(-3, 4, (2, 84)), rng.integers(0, 2, 2).astype("i1")), "scaled"),),
              Cuba(3, 1, 2, np.array([4, -5]), 0)),
    ), note="größe ≥ 1")  # fmt: skip


def trace() -> Trace:
    rng = np.random.default_rng(1)
    spikes = {"a": rng.integers(0, 2, (4, 2, 3)).astype(np.uint8), "b/c.d": np.zeros((4, 2, 0), np.int32)}
    v = {"a": np.array([np.nan, np.inf, -0.0], "f4")}
    events = {"a": {"spikes": 2**60, "neuron_updates": 0}}
    provenance = Provenance("someone", "1.2")
    return Trace(rng.normal(size=(2, 2, 3)), (2, 4), {"a": spikes["a"].sum(0)}, v, spikes, v, v, events, provenance)


def case() -> Case:
    x = np.random.default_rng(2).random((3, 2, 2, 6, 6))
    return Case(network(), x, 3, "spikes", 7, 9, "float32", "exact")


PARTING = Parting("a", 1, 2, (3, 0), 0, 1, float("nan"), 0.1)
MEASURE = Measure("m", float("-inf"), 5e-324, "here", "first")
VALUES = [network(), trace(), case(), PARTING, Divergence((PARTING, PARTING), 2, 9, float("nan")),
          Finding("c", "s", "fail", "claim", "source", 3, MEASURE, "", "again", 0.1)]  # fmt: skip


def same(a: object, b: object) -> bool:
    """Compare field by field, floats and arrays by their bits: no digest involved."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, Content):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return sorted(a) == sorted(b) and all(same(a[k], b[k]) for k in a)
    return a.hex() == b.hex() if isinstance(a, float) else a == b


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_round_trip_keeps_every_bit_and_the_digest(value: Content, tmp_path: Path) -> None:
    path = save(value, tmp_path / "new" / "v.npz")
    back = load(path, type(value))
    assert same(back, value)
    assert back.digest == value.digest
    assert back == value
    assert hash(back) == hash(value)
    assert [p.name for p in path.parent.iterdir()] == ["v.npz"]


def test_a_value_built_again_has_the_same_digest_and_arrays_in_another_order_do_too() -> None:
    assert network().digest == network().digest != case().digest
    assert len(network().digest) == 64
    w = np.arange(6.0).reshape(2, 3)
    assert Dense(np.asfortranarray(w)) == Dense(w) == Dense(w.astype(">f8"))
    assert Scale(1.0) != Dense(w)
    assert {Relu(), Relu()} == {Relu()}
    assert Relu() != "Relu"


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u1", "i4", "i8", "?"])
def test_every_bit_of_an_array_counts(dtype: str) -> None:
    raw = np.zeros(16, np.uint8)
    digests = {Dense(raw.view(dtype)).digest}
    for bit in range(8) if dtype != "?" else (0,):
        for byte in range(16):
            raw[byte] ^= 1 << bit
            digests.add(Dense(raw.view(dtype)).digest)
            raw[byte] = 0
    assert len(digests) == 1 + 16 * (8 if dtype != "?" else 1)


def test_dtype_shape_and_name_count_where_the_bytes_are_the_same() -> None:
    zeros = [Scale(np.zeros(6, d)) for d in ("f8", "i8", "u8", "c8", "M8[s]")]
    zeros += [Scale(np.zeros(s)) for s in ((2, 3), (3, 2), (1, 6), (6, 1))]
    zeros += [Scale(np.zeros(12, "f4")), Scale(1.0, np.zeros(6)), Scale(0.0, np.zeros(6)), Scale(-0.0, np.zeros(6))]
    assert len({z.digest for z in zeros}) == len(zeros)
    a, b = np.zeros(2), np.ones(2)
    swapped = [Trace(a, (1,), dict(zip(names, (a, b), strict=True)), {}) for names in ("xy", "yx")]
    assert swapped[0] != swapped[1]


FIELDS = [f for f in dataclasses.fields(Neuron) if f.name not in ("theta", "amplitude")]


def test_every_field_of_a_neuron_counts() -> None:
    other = network()["up"].act
    changed = [dataclasses.replace(Neuron(), **{f.name: getattr(other, f.name)}) for f in FIELDS]
    changed += [Neuron(), Neuron(theta=np.nextafter(1, 2)), Neuron(amplitude=np.nextafter(1, 2)), Neuron(v_floor=0.0)]
    assert len({n.digest for n in changed}) == len(changed)


def test_arrays_are_owned_and_read_only() -> None:
    weight, x = np.ones((2, 2)), np.ones((4, 1, 2))
    dense = Dense(weight[:, ::-1])
    made = Case(Network((2,), (Layer("a", (Branch(dense),), Neuron()),)), x, 4, "spikes")
    mapped = {"a": np.zeros(3)}
    traced = Trace(np.zeros(2), (1,), mapped, {})
    before = dense.digest, made.digest, traced.digest
    weight[:], x[:], mapped["a"][:], mapped["b"] = 5, 5, 5, np.zeros(1)
    assert dense.weight.tolist() == [[1, 1], [1, 1]]
    assert made.x.max() == 1
    assert {k: v.tolist() for k, v in traced.counts.items()} == {"a": [0, 0, 0]}
    for array in (dense.weight, made.x, traced.counts["a"], traced.readout):
        assert array.base is None
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        dense.weight = weight  # type: ignore[misc]
    assert (dataclasses.replace(dense).digest, made.digest, traced.digest) == before


def test_numpy_scalars_and_lists_become_plain_values() -> None:
    act = Neuron(leak=np.float32(0.5), max_spikes=np.int64(2))
    assert (type(act.leak), type(act.max_spikes)) == (float, int)
    assert act == Neuron(leak=0.5, max_spikes=2)
    assert Pool("sum", [np.int64(2), 2]) == Pool("sum", (2, 2))  # type: ignore[arg-type]


def refused(path: Path, kind: type[Content] = Case) -> str:
    with pytest.raises(CodecError) as e:
        load(path, kind)
    assert "\n" not in str(e.value)
    assert str(path) in str(e.value)
    return str(e.value)


def test_wrong_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    assert "no such file" in refused(path)
    for data in (b"", b"\x00", b"PK\x03\x04", b"{}\nnot\nan archive\n", "größe".encode(), os.urandom(200)):
        path.write_bytes(data)
        assert "not a file written by snnverify" in refused(path)
    refused(tmp_path)
    save(network(), path)
    assert "holds a Network, not a Case" in refused(path)
    assert isinstance(load(path, Content), Network)


def test_a_bare_npy_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    refused(tmp_path / "a.npy")


SMALL = Case(Network((1,), (Layer("a", (Branch(Scale()),), Neuron()),)), np.full((1, 1), 0.3), 2)


def test_truncated_files_are_refused_at_every_length(tmp_path: Path) -> None:
    data, path = save(SMALL, tmp_path / "v.npz").read_bytes(), tmp_path / "cut.npz"
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        refused(path)


def test_a_flipped_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    data, path = save(SMALL, tmp_path / "v.npz").read_bytes(), tmp_path / "flipped.npz"
    escaped: dict[str, int] = {}
    for i in range(0, len(data), 2):
        path.write_bytes(data[:i] + bytes([data[i] ^ 0x55]) + data[i + 1 :])
        try:
            assert same(load(path, Case), SMALL)  # a date or an attribute of the archive
        except CodecError as e:
            escaped |= {f"two lines at byte {i}": i} if "\n" in str(e) else {}
        except Exception as e:
            escaped[f"{type(e).__name__} at byte {i}"] = i
    assert not escaped


TREES = [
    "{", "[", "null", "3", '"Case"', "[]", "{}", '{"type": "Case"}', '{"type": "os.system"}', '{"type": ["Case"]}',
    '{"type": "Relu", "slope": 1}', '{"array": "root.x"}', '{"array": []}', '{"map": 3}', '{"float": "x"}',
    '{"float": 3}', '{"type": "Neuron", "leak": {"float": "0x1p+1"}}', '{"type": "Neuron", "fires": "<"}',
    '{"type": "Dense", "weight": {"array": "absent"}}', '{"type": "Network", "input_shape": [2], "layers": [3]}',
]  # fmt: skip


@pytest.mark.parametrize("tree", TREES)
def test_wrong_trees_are_refused(tree: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", __tree__=np.array(tree))
    refused(tmp_path / "t.npz")


def test_what_the_data_model_refuses_is_refused_in_a_file_too(tmp_path: Path) -> None:
    """A valid file whose network has been edited: the message of the data model comes through."""
    with np.load(save(SMALL, tmp_path / "v.npz")) as npz:
        arrays = {k: npz[k] for k in npz.files}
    tree = json.loads(str(arrays.pop("__tree__")))
    tree["steps"] = 0
    np.savez(tmp_path / "e.npz", __tree__=np.array(json.dumps(tree)), **arrays)
    assert "at least 1 time step" in refused(tmp_path / "e.npz")
    tree["steps"], arrays["root.x"] = 2, np.full((1, 1), np.nan)
    np.savez(tmp_path / "e.npz", __tree__=np.array(json.dumps(tree)), **arrays)
    assert "NaN" in refused(tmp_path / "e.npz")


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


def test_pickles_are_never_run(tmp_path: Path) -> None:
    fuse, path = tmp_path / "ran", tmp_path / "bomb.npz"
    bomb = np.array([Bomb(fuse)], dtype=object)
    tree = np.array('{"type": "Scale", "factor": {"array": "root.factor"}, "bias": null}')
    for arrays in ({"__tree__": tree, "root.factor": bomb}, {"__tree__": bomb}, {"__tree__": tree, "unused": bomb}):
        np.savez(path, **arrays)
        refused(path, Content)
        assert not fuse.exists()
    with np.load(path, allow_pickle=True) as npz:  # the bomb is a real one
        _ = npz["unused"]
    assert fuse.exists()
    fuse.rmdir()
    path.write_bytes(pickle.dumps(Bomb(fuse)))
    refused(path, Content)
    assert not fuse.exists()


def test_what_cannot_be_encoded_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"root\.events\.a: cannot encode a set"):
        save(Trace(np.zeros(1), (1,), {}, {}, events={"a": {1}}), tmp_path / "t.npz")  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interrupted", ["replace", "chmod", "fdopen"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str, error: type[BaseException]
) -> None:
    target = write_atomic(tmp_path / "f.txt", "old")

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as m:
        m.setattr(os, interrupted, fail)
        with pytest.raises(error):
            write_atomic(target, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]
    assert target.read_text() == "old"
    write_atomic(target, "größe")
    assert target.read_bytes() == "größe".encode()
    assert target.stat().st_mode & 0o777 == 0o644
