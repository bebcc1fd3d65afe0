import gzip
import hashlib
import os
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from snnverify.data import Dataset, check_labels, check_shape, load_data, resolve_spec, shared_samples
from snnverify.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _search_path(monkeypatch):
    """Loading a user's file puts its folder on the search path; each test ends with the path it began with."""
    monkeypatch.setattr(sys, "path", list(sys.path))


IMAGES = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4) * 10
LABELS = np.array([7, 0, 2], dtype=np.uint8)


def idx_bytes(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_pair(folder, stem="t10k-", packed=False, images=IMAGES, labels=LABELS):
    folder.mkdir(exist_ok=True)
    paths = []
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{stem}{kind}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
        paths.append(path)
    return paths


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def refused(spec, *words, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        load_data(str(spec), **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


# --- npz


def test_npz_floats_come_as_they_are(tmp_path):
    x, y = np.linspace(-1, 1, 12).reshape(3, 4), np.array([1, 0, 2], dtype=np.uint8)
    data = load_data(write_npz(tmp_path / "a.npz", x=x, y=y, other=np.zeros(9)))
    assert data.x.dtype == np.float32
    assert data.y.dtype == np.int64
    assert np.array_equal(data.x, x.astype(np.float32))
    assert data.y.tolist() == [1, 0, 2]
    assert (data.scaling, data.first_sample, len(data)) == ("none", 0, 3)
    assert not data.x.flags.writeable
    expected = hashlib.sha256(
        b"<f4 (3, 4)\n" + x.astype("<f4").tobytes() + b"<i8 (3,)\n" + y.astype("<i8").tobytes()
    ).hexdigest()
    assert data.digest == expected


def test_npz_bytes_are_scaled_and_it_says_so(tmp_path):
    data = load_data(write_npz(tmp_path / "a.npz", x=np.array([[0, 51, 255]], dtype=np.uint8), y=np.array([0])))
    assert data.x.tolist() == [[0, np.float32(0.2), 1]]
    assert data.scaling == "uint8 / 255"


@pytest.mark.parametrize(
    ("suffix", "limit", "rows"),
    [("[2:5]", None, [2, 3, 4]), ("[7:]", None, [7, 8, 9]), ("[:2]", None, [0, 1]), ("", 3, [0, 1, 2]),
     ("[4:9]", 2, [4, 5]), ("[8:]", 99, [8, 9])],
)  # fmt: skip
def test_slice_and_limit(tmp_path, suffix, limit, rows):
    spec = write_npz(tmp_path / "a.npz", x=np.arange(10.0)[:, None], y=np.arange(10)) + suffix
    data = load_data(spec, limit=limit)
    assert data.x[:, 0].tolist() == rows
    assert data.y.tolist() == rows
    assert data.first_sample == rows[0]
    assert data.source == spec


@pytest.mark.parametrize("suffix", ["[5:11]", "[4:4]", "[6:2]", "[10:]"])
def test_slice_outside_the_samples_is_refused(tmp_path, suffix):
    spec = write_npz(tmp_path / "a.npz", x=np.arange(10.0)[:, None], y=np.arange(10)) + suffix
    refused(spec, suffix, "there are 10 samples")


@pytest.mark.parametrize("suffix", ["[-2:]", "[0:8:2]", "[3]"])
def test_slice_of_another_form_is_refused(tmp_path, suffix):
    refused(write_npz(tmp_path / "a.npz", x=np.ones((4, 1)), y=np.zeros(4, int)) + suffix, suffix, "[start:stop]")


def test_limit_takes_at_least_one(tmp_path):
    refused(write_npz(tmp_path / "a.npz", x=np.ones((4, 1)), y=np.zeros(4, int)), "limit = 0", limit=0)


GOOD_X, GOOD_Y = np.ones((4, 3)), np.array([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": GOOD_X}, ["no array 'y'", "there is x"]),
        ({"y": GOOD_Y, "X_test": GOOD_X}, ["no array 'x'", "X_test"]),
        ({"x": GOOD_X, "y": GOOD_Y[:3]}, ["x holds 4 samples and y 3 labels"]),
        ({"x": GOOD_X, "y": np.eye(4)}, ["y is float64 of shape (4, 4)", "argmax(1)"]),
        ({"x": GOOD_X, "y": np.eye(4, dtype=int)}, ["of shape (4, 4)", "argmax(1)"]),
        ({"x": GOOD_X, "y": GOOD_Y / 1}, ["y is float64", "astype(int)"]),
        ({"x": GOOD_X, "y": GOOD_Y > 0}, ["y is bool"]),
        ({"x": GOOD_X, "y": np.array([0, 1, -3, -1])}, ["y[2] = -3"]),
        ({"x": np.ones((0, 3)), "y": np.ones(0, int)}, ["shape (0, 3)", "at least one sample"]),
        ({"x": np.ones(4), "y": GOOD_Y}, ["shape (4,)", "[N, *shape]"]),
        ({"x": GOOD_X.astype(complex), "y": GOOD_Y}, ["complex128"]),
        ({"x": GOOD_X.astype(str), "y": GOOD_Y}, ["x is of type <U"]),
    ],
)
def test_npz_arrays_that_cannot_be_used(tmp_path, arrays, words):
    refused(write_npz(tmp_path / "a.npz", **arrays), "a.npz", *words)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_in_float32_are_counted_and_located(tmp_path, value):
    x = np.ones((4, 3))
    x[1, 2] = x[3, 0] = value
    refused(write_npz(tmp_path / "a.npz", x=x, y=GOOD_Y), "2 values of x", "x[1, 2]", str(value))


def test_pickled_arrays_are_refused_and_not_run(tmp_path):
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    spec = write_npz(tmp_path / "a.npz", x=np.array([Evil()], dtype=object), y=np.array([0]))
    refused(spec, "a.npz", "pickle", "not read")
    assert not mark.exists()


def test_files_that_are_not_npz(tmp_path):
    refused(tmp_path / "none.npz", "no file", "none.npz")
    text = tmp_path / "text.npz"
    text.write_text("hello")
    refused(text, "neither .npz nor IDX", "np.savez")
    np.save(tmp_path / "single.npy", GOOD_X)
    refused(tmp_path / "single.npy", "neither .npz nor IDX")
    whole = Path(write_npz(tmp_path / "whole.npz", x=np.random.default_rng(0).random((50, 9)), y=np.zeros(50, int)))
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:1000])
    refused(tmp_path / "cut.npz", "cut.npz", "damaged")
    content = bytearray(whole.read_bytes())
    content[500] ^= 1
    (tmp_path / "flipped.npz").write_bytes(content)
    refused(tmp_path / "flipped.npz", "flipped.npz", "damaged")


# --- IDX


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["images", "labels", "folder", "both"])
def test_idx_pair_is_found_from_any_form(tmp_path, packed, form):
    images, labels = write_pair(tmp_path / "d", packed=packed)
    spec = {"images": images, "labels": labels, "folder": tmp_path / "d", "both": f"{images},{labels}"}[form]
    data = load_data(str(spec))
    assert data.x.shape == (3, 1, 2, 4)
    assert np.array_equal(data.x[:, 0], IMAGES.astype(np.float32) / 255)
    assert data.y.tolist() == [7, 0, 2]
    assert data.scaling == "uint8 / 255"


def test_idx_counterpart_may_be_packed_otherwise_and_a_folder_counts_such_a_file_once(tmp_path):
    images, labels = write_pair(tmp_path / "d")
    labels.with_name(labels.name + ".gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    images.with_name(images.name + ".gz").write_bytes(gzip.compress(images.read_bytes()))
    assert load_data(str(images)).y.tolist() == [7, 0, 2]
    assert load_data(f"{tmp_path / 'd'}[1:3]").y.tolist() == [0, 2]


def test_idx_pairs_that_cannot_be_found(tmp_path):
    images, labels = write_pair(tmp_path / "d")
    write_pair(tmp_path / "d", "train-")
    refused(tmp_path / "d", "holds 2 files", "t10k-images", "train-images")
    labels.unlink()
    refused(images, "its labels", labels.name, "'images,labels'")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds 0 files", "none")
    other = tmp_path / "pictures.bin"
    other.write_bytes(idx_bytes(IMAGES))
    refused(other, "images or labels?", "'images,labels'")
    refused(f"{images},{labels}", "no such file", labels.name)
    refused(f"{images},{labels},{labels}", "3 files")


def test_idx_files_that_are_damaged(tmp_path):
    images, labels = write_pair(tmp_path / "d")
    refused(f"{labels},{labels}", "magic 0x00000801", "0x00000803")
    good = images.read_bytes()
    for content, word in ((good[:-1], "holds 23"), (good + b"0", "over 24"), (good[:9], "cut short")):
        images.write_bytes(content)
        refused(images, images.name, word)
    images.write_bytes(idx_bytes(IMAGES[:2]))
    refused(images, "2 images", "3 labels")
    images, labels = write_pair(tmp_path / "packed", packed=True)
    images.write_bytes(images.read_bytes()[:-12])
    refused(images, images.name, "cut short")


def mnist_folder():
    folder = Path(os.environ.get("SNNVERIFY_MNIST") or Path(__file__).parents[2] / "shared/data/mnist")
    if not folder.is_dir():
        message = f"no MNIST in {folder}: set SNNVERIFY_MNIST to a folder with the t10k pair"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    return folder


def test_mnist():
    folder = mnist_folder()
    calibration, evaluation = load_data(f"{folder}[0:8000]"), load_data(f"{folder}[8000:]")
    assert (len(calibration), len(evaluation), evaluation.first_sample) == (8000, 2000, 8000)
    assert calibration.x.shape[1:] == (1, 28, 28)
    assert calibration.x.max() == 1
    # The published test set: its first labels, and its number of images per class.
    assert calibration.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    counts = np.bincount(calibration.y) + np.bincount(evaluation.y)
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    raw = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert np.array_equal(
        np.round(evaluation.x[-1].ravel() * 255).astype(np.uint8), np.frombuffer(raw[-784:], np.uint8)
    )
    rows = np.concatenate([calibration.x, evaluation.x]).reshape(10000, -1)
    assert len(shared_samples(calibration.x, evaluation.x)) == 0
    assert len(np.unique(rows, axis=0)) == 10000


# --- callables


def write_module(folder, body):
    path = folder / "mine.py"
    path.write_text("import numpy as np\n" + body)
    return path


def test_callable_returns_arrays_or_a_dataset(tmp_path):
    path = write_module(
        tmp_path,
        "from snnverify.data import Dataset\n"
        "def pair():\n    return [[1, 2], [3, 4]], [0, 1]\n"
        "def own():\n    return Dataset(np.ones((2, 1), 'f4'), np.array([0, 1]), 'x - mean', 'me', 5, 'hello')\n",
    )
    data = load_data(f"{path}:pair[1:]")
    assert data.x.tolist() == [[3, 4]]
    assert data.y.tolist() == [1]
    own = load_data("mine.py:own", root=tmp_path)
    assert (own.scaling, own.first_sample, own.note, own.source) == ("x - mean", 5, "hello", "mine.py:own")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def f(): return 3", ["returned a int", "(x, y)"]),
        ("def f(): return 1 / 0", ["calling it failed", "ZeroDivisionError: division by zero"]),
        ("def f(path): return path", ["TypeError", "without arguments"]),
        ("def f(): return [[1], [2, 3]], [0, 1]", ["cannot be made arrays"]),
        ("def f(): return np.ones((2, 2)), np.array([0.0, 1])", ["y is float64", "astype(int)", "y[:, None]"]),
        ("def f(): return np.ones((2, 2)), np.array([0.5, np.nan])", ["NaN or infinite: 1", "y[1] = nan", "drop"]),
        ("def f(): return np.ones((2, 2)), np.ones((2, 1, 1))", ["[N, outputs]"]),
        ("from snnverify.errors import DataError\ndef f(): raise DataError('fetch it first')", ["fetch it first"]),
    ],
)
def test_callable_that_cannot_be_used(tmp_path, body, words):
    refused(f"{write_module(tmp_path, body)}:f", *words)


def test_callable_that_is_not_there(tmp_path):
    path = write_module(tmp_path, "def evaluation(): pass")
    refused(f"{path}:evaluaton", "no 'evaluaton'", "did you mean 'evaluation'?", kind=ConfigError)


# --- checks


def test_labels_beyond_the_classes():
    check_labels(np.array([0, 9]), 10)
    with pytest.raises(DataError, match=re.escape("y[1] = 10 and 1 more: the model has 10 outputs")):
        check_labels(np.array([0, 10, 3, 12]), 10)


@pytest.mark.parametrize(
    ("shape", "wanted", "note"),
    [((5, 1, 2, 3), (1, 2, 3), ""), ((5, 2, 3), (1, 2, 3), "channel axis added"), ((5, 6), (1, 2, 3), "reshaped"),
     ((5, 1, 2, 3), (6,), "reshaped"), ((5, 2, 3), (6,), "reshaped")],
)  # fmt: skip
def test_shapes_that_fit(shape, wanted, note):
    x = np.arange(30.0).reshape(shape)
    fitted, said = check_shape(x, wanted)
    assert fitted.shape == (5, *wanted)
    assert fitted.ravel().tolist() == list(range(30))
    assert said.startswith(note)
    assert bool(said) == bool(note)


def test_shapes_that_do_not_fit():
    for shape, wanted, word in (
        ((5, 2, 3), (1, 3, 2), "bring x"), ((5, 7), (6,), "bring x"), ((5, 2, 2, 3), (3, 2, 2), "move its last axis"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"{re.escape(str(shape[1:]))}.*{re.escape(str(wanted))}.*{word}"):
            check_shape(np.zeros(shape), wanted)


def test_shared_samples():
    a = np.array([[0.0, 1], [2, 3], [0, 1], [4, 5]])
    b = np.array([[4, 5], [9, 9], [-0.0, 1], [0, 1]])
    assert shared_samples(a, b).tolist() == [[3, 0], [0, 2], [0, 3]]
    assert shared_samples(a, b[1:2]).shape == (0, 2)


def test_relative_specs_become_absolute(tmp_path):
    for spec, expected in {
        "a.npz[0:8]": f"{tmp_path}/a.npz[0:8]", "i,l[2:]": f"{tmp_path}/i,{tmp_path}/l[2:]", "pkg.mod:f": "pkg.mod:f",
        "d/m.py:f[1:2]": f"{tmp_path}/d/m.py:f[1:2]",
    }.items():  # fmt: skip
        assert resolve_spec(spec, tmp_path) == expected


def test_a_dataset_is_what_its_arrays_are():
    a, b = (Dataset(np.full((1, 2), v, "f4"), np.array([0]), "none", "s") for v in (1, 2))
    assert a.digest != b.digest
    assert a.digest == Dataset(a.x, a.y, "other", "t").digest
