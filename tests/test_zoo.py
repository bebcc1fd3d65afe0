import hashlib
import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from sklearn.datasets import load_digits

from snnverify import zoo
from snnverify.errors import ConfigError, DataError
from snnverify.zoo import models, train

GOALS = {"digits_cnn": 0.97, "digits_mlp": 0.95}


def quick(monkeypatch, name="digits_mlp"):
    """Two epochs and one model are enough for what does not depend on how well it learns."""
    monkeypatch.setitem(train.RECIPES, name, train.Recipe(2, 59, 0.05, 0.9, 1e-3))
    monkeypatch.setattr(train, "MODELS", {name: models.MODELS[name]})


@pytest.mark.parametrize("name", GOALS)
def test_shipped_model_reaches_its_goal_on_images_it_never_saw(name):
    model = zoo.load_default(name)
    images, labels = load_digits(return_X_y=True)
    with torch.no_grad():
        logits = model.module(torch.tensor(images[model.evaluation_index].reshape(-1, 1, 8, 8) / 16).float())
    right = logits.argmax(1).numpy() == labels[model.evaluation_index]
    assert right.mean() >= GOALS[name]
    assert right.mean() == model.provenance["accuracy_evaluation"]
    assert not model.module.training


def test_split_is_disjoint_and_its_arrays_are_the_images_it_names():
    model = zoo.load_default()
    images, labels = load_digits(return_X_y=True)
    order = np.concatenate([model.train_index, model.evaluation_index])
    assert sorted(order) == list(range(1797))
    assert (len(model.train_index), len(model.evaluation_index)) == (590, 1207)
    assert model.provenance["split_sha256"] == hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()
    for x, y, index in (
        (model.train_x, model.train_y, model.train_index),
        (model.evaluation_x, model.evaluation_y, model.evaluation_index),
    ):
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert np.array_equal(x.reshape(-1, 64) * 16, images[index])
        assert np.array_equal(y, labels[index])
        assert not x.flags.writeable


@pytest.mark.parametrize("name", GOALS)
def test_shipped_weights_lie_on_the_grid_and_have_the_digest_of_the_provenance(name):
    tensors = safetensors.numpy.load_file(models.WEIGHTS / f"{name}.safetensors")
    h = hashlib.sha256()
    for key in sorted(tensors):
        a = tensors[key]
        if a.dtype == np.float32:
            assert np.array_equal(a * 4096, np.round(a * 4096)), key
        if key.endswith("running_var"):
            assert a.min() > 0
        h.update(f"{key} {a.dtype.str} {a.shape}\n".encode() + a.tobytes())
    assert h.hexdigest() == zoo.load_default(name).provenance["digest"]


def test_digest_tells_name_dtype_shape_and_value():
    base = {"w": torch.zeros(2, 3)}
    others = [
        {"v": torch.zeros(2, 3)}, {"w": torch.zeros(2, 3, dtype=torch.int32)}, {"w": torch.zeros(3, 2)},
        {"w": torch.tensor([[0, 0, 0], [0, 0, 1e-9]])},
    ]  # fmt: skip
    assert zoo.tensor_digest(base) == zoo.tensor_digest({"w": torch.zeros(2, 3)})
    assert len({zoo.tensor_digest(s) for s in [base, *others]}) == 5


def test_training_again_gives_the_shipped_weights(tmp_path):
    rows = zoo.train_default(tmp_path)
    assert [row[0] for row in rows] == ["digits_cnn", "digits_mlp"]
    for name, digest, shipped, same, why in rows:
        assert (digest, same, why) == (shipped, True, "")
        content = [(folder / f"{name}.safetensors").read_bytes() for folder in (tmp_path, models.WEIGHTS)]
        assert content[0] == content[1]
    assert json.loads((tmp_path / "provenance.json").read_text()).keys() == GOALS.keys()


def test_training_does_not_depend_on_evaluation_images_but_on_every_training_image(monkeypatch):
    quick(monkeypatch)
    _, digest = zoo.retrain("digits_mlp")
    x, y = (a.copy() for a in models.digits())
    training, evaluation = models.split()
    x[evaluation], y[evaluation] = np.nan, -1
    monkeypatch.setattr(train, "digits", lambda: (x, y))
    assert zoo.retrain("digits_mlp")[1] == digest
    y[training[0]] = (y[training[0]] + 1) % 10
    assert zoo.retrain("digits_mlp")[1] != digest


def test_training_leaves_the_callers_torch_settings_and_generators_alone(monkeypatch):
    quick(monkeypatch)
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ticks = []
    zoo.retrain("digits_mlp", lambda done, todo: ticks.append((done, todo)))
    zoo.load_default()
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert ticks == [(1, 2), (2, 2)]


def test_a_different_training_says_why(monkeypatch, tmp_path):
    quick(monkeypatch)
    ((name, digest, shipped, same, why),) = zoo.train_default(tmp_path)
    assert (name, same) == ("digits_mlp", False)
    assert digest != shipped == zoo.load_default("digits_mlp").provenance["digest"]
    new = safetensors.numpy.load_file(tmp_path / "digits_mlp.safetensors")
    old = safetensors.numpy.load_file(models.WEIGHTS / "digits_mlp.safetensors")
    gap = max(np.abs(new[k] - old[k]).max() for k in new)
    assert f"greatest difference {gap:.3g}" in why
    assert "recipe" in why
    assert "0.9619 shipped" in why
    assert "\n" not in why


def test_shift_moves_the_image_and_fills_with_zeros():
    image = np.arange(1.0, 65).reshape(1, 1, 8, 8)

    class Draws:
        @staticmethod
        def integers(low, high, size):
            return np.array([[0], [2]])  # rows read from -1: the image moves down; columns from +1: it moves left

    expected = np.zeros((8, 8))
    expected[1:, :7] = image[0, 0, :7, 1:]
    assert np.array_equal(train.shifted(image, Draws)[0, 0], expected)


def test_rounding_to_the_grid_keeps_variances_positive_and_counters_whole():
    value = torch.tensor([1e-9, 0.4 / 4096, 1.6 / 4096], dtype=torch.float64)
    assert (train._on_grid("bn.running_var", value) * 4096).tolist() == [1, 1, 2]
    assert (train._on_grid("fc.weight", value) * 4096).tolist() == [0, 0, 2]
    assert train._on_grid("fc.weight", value).dtype == torch.float32
    assert train._on_grid("bn.num_batches_tracked", torch.tensor(7)).dtype == torch.int64


def test_unknown_model_names_those_that_are_known():
    with pytest.raises(ConfigError, match=r"'digits_rnn'.*digits_cnn, digits_mlp"):
        zoo.load_default("digits_rnn")
    with pytest.raises(ConfigError, match="digits_cnn"):
        zoo.retrain("digits_rnn")


def test_tampered_shipment_is_refused(tmp_path):
    folder = shutil.copytree(models.WEIGHTS, tmp_path / "weights")
    assert models.shipped("digits_cnn", folder)[1]["train_images"] == 590
    state = safetensors.torch.load_file(folder / "digits_cnn.safetensors")
    state["fc.bias"][0] += 1 / 4096
    safetensors.torch.save_file(state, folder / "digits_cnn.safetensors")
    with pytest.raises(DataError, match=r"digest is .*provenance\.json says"):
        models.shipped("digits_cnn", folder)
    (folder / "digits_mlp.safetensors").unlink()
    with pytest.raises(DataError, match=r"'digits_mlp'.*cannot be read"):
        models.shipped("digits_mlp", folder)


def test_another_split_is_refused(monkeypatch):
    train_index, evaluation_index = models.split()
    monkeypatch.setattr(models, "split", lambda: (evaluation_index, train_index))
    with pytest.raises(DataError, match="split_sha256"):
        zoo.load_default()
