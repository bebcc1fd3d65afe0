"""The waterfall and the parting of samples on embedded models, planted causes, and the commands."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from snnverify import zoo
from snnverify.activation import Neuron, Relu
from snnverify.cli import main
from snnverify.convert import convert
from snnverify.errors import ConfigError, Unsupported
from snnverify.network import INPUT, Branch, Dense, Layer, Network, Pool
from snnverify.quantise import Grid
from snnverify.stats import Paired
from snnverify.waterfall import Deployment, causes, chain, tried, waterfall
from snnverify.waterfall import planted as plants
from snnverify.waterfall.diagnose import faults, significant
from snnverify.waterfall.fixed import fixed_point
from snnverify.waterfall.parting import part
from snnverify.waterfall.score import score


@pytest.fixture(scope="module")
def cnn():
    return plants.base("digits_cnn")


@pytest.fixture(scope="module")
def fallen(cnn):
    d = plants.deployment(cnn, replace(plants.Plan(cnn.ann, {"relu2": 0.15}, 32), grid=Grid("int4")))
    return d, waterfall(cnn.ann, d, cnn.x, cnn.y)


@pytest.mark.parametrize("name", list(zoo.MODELS))
def test_the_first_station_is_the_trained_model(name):
    b, m = plants.base(name), zoo.load_default(name)
    w = waterfall(b.ann, Deployment(convert(m.module, m.train_x), 8), b.x, b.y)
    with torch.no_grad():
        logits = m.module.double()(torch.tensor(b.x).double()).numpy()
    assert np.array_equal(w.classes[0], logits.argmax(1))
    # folding changes no class: scores in float64 that lie this close would have to tie
    assert np.array_equal(w.classes[1], w.classes[0])


def test_the_last_station_is_what_the_report_measures(cnn):
    made = convert(zoo.load_default("digits_cnn").module, cnn.calibration)
    w = waterfall(cnn.ann, Deployment(made, 16), cnn.x, cnn.y)
    assert w.keys[-1] == "spiking"
    assert np.array_equal(w.classes[-1], made.classify(cnn.x, 16))


def test_causes_are_named_with_their_layer_and_their_remedies_tried(cnn, fallen):
    d, w = fallen
    found, parts = causes(w, cnn.x)
    assert {c.key for c in found} == {"clipping", "weights"}
    clipping = next(c for c in found if c.key == "clipping")
    assert clipping.layer == "relu2"
    assert clipping.lost == w.lost(w.keys.index("clipped")) == sum(parts[2].lost().values())
    remade = []

    def remake(**options):
        remade.append(options)
        return convert(cnn.ann, cnn.calibration, **options)

    remedies = tried(w, clipping, cnn.ann, d, remake, cnn.x)
    assert remade == [{"mode": "max"}, {"per_channel": True}]
    by_hand = replace(d, converted=convert(cnn.ann, cnn.calibration, mode="max"))
    assert remedies[0].right == plants.right(cnn, by_hand) > w.right(len(w.keys) - 1)
    assert remedies[0].before.drop * len(cnn.y) == w.right(len(w.keys) - 1) - remedies[0].right


def test_nothing_is_named_where_nothing_is_planted_and_the_unknown_is_unexplained(cnn):
    clean = plants.Plan(cnn.ann, {}, 32)
    w = waterfall(cnn.ann, plants.deployment(cnn, clean), cnn.x, cnn.y)
    assert causes(w, cnn.x) == ((), {})
    assert faults(w, cnn.x) == {}
    broken = replace(clean, broken=lambda n: plants._stuck(np.random.default_rng(3), n))
    w = waterfall(cnn.ann, plants.deployment(cnn, broken), cnn.x, cnn.y)
    assert w.keys[-1] == "deployed"
    assert {c.key for c in causes(w, cnn.x)[0]} == {"unexplained"}


def test_the_score_on_a_few_planted_causes():
    """Of each kind a few: the page docs/scores-waterfall.md is of many more, by the same function."""
    sizes = {"nothing": 1, "single causes": 4, "pairs": 0, "triples": 0, "unknown": 2, "known and unknown": 0}
    rows = {r.family: r for r in score(5, sizes)}
    assert rows["nothing"].wrong == 0
    assert rows["single causes"].named >= 3
    assert rows["single causes"].wrong == 0
    assert rows["unknown"].named == 2


def test_a_loss_is_no_luck_only_where_the_exact_test_says_so():
    assert not significant(Paired(1000, 5, 5), 0.05)
    assert not significant(Paired(1000, 2, 1), 0.05)
    assert significant(Paired(1000, 12, 0), 0.05)
    assert not significant(Paired(1000, 0, 12), 0.05)


def uneven():
    """Excitation in every other step, and an inhibition that undoes it late: once in 32 steps, of 16 at once."""
    first = Layer("a", (Branch(Dense(np.array([[0.5], [1 / 32], [1.0]]))),), Relu())
    second = Layer("b", (Branch(Dense(np.array([[1.0, -16.0, 0.0]])), "a"),), Relu())
    return Network((1,), (first, second, Layer("c", (Branch(Dense(np.array([[1.0], [0.5]])), "b"),))))


def test_unevenness_is_told_from_quantisation():
    """The mean input of b is 1/2 - 16/32 = 0, but 15 spikes of it are out before step 32 takes all 16 back."""
    x = np.ones((1, 1))
    found = part(convert(uneven(), x, mode="max", v_init="zero", form="balance"), x, 64)
    layer = found.first
    assert (layer.layer, layer.parted, layer.cause) == ("b", 1, "unevenness")
    (unit,) = layer.worst
    # +1 in steps 2, 4 ... 30 fires each time; step 32 leaves -15, which steps 34 ... 62 make up; step 64 leaves -15 again
    assert (unit.rate, unit.left) == (15 / 64, -15.0)
    assert unit.parts["quantisation"] == 1 / 64
    assert unit.parts["unevenness"] == 14 / 64
    assert found.layers[0].parted == 0


def test_clipping_parts_in_the_layer_where_it_is_planted(cnn):
    made = plants.deployment(cnn, plants.Plan(cnn.ann, {"relu1": 0.2}, 256)).converted
    found = part(made, cnn.x[:20], 256)
    assert found.first.layer == "relu1"
    assert found.first.cause == "clipping"
    assert all(max(u.parts, key=lambda k: abs(u.parts[k])) == "clipping" for u in found.first.worst)


def test_fixed_point_refuses_what_has_no_binary_fraction():
    with pytest.raises(Unsupported, match="power of two"):
        fixed_point(Network((1, 3), (Layer("p", (Branch(Pool("average", (3,))),)),)), 4)
    leaky = Network((1,), (Layer("n", (Branch(Dense(np.ones((1, 1))), INPUT),), Neuron(leak=0.5)),))
    with pytest.raises(Unsupported, match="leak"):
        fixed_point(leaky, 4)


def test_stations_whose_layers_do_not_correspond_are_refused(cnn):
    made = convert(cnn.ann, cnn.calibration)
    with pytest.raises(Unsupported, match="no layer of this name"):
        chain(plants.base("digits_mlp").ann, Deployment(made, 4))
    with pytest.raises(ConfigError, match="places"):
        Deployment(made, 4, fraction=40)


def test_the_commands_write_what_they_say(tmp_path, capsys):
    page, record = tmp_path / "w.md", tmp_path / "w.json"
    args = ["digits_mlp", "-T", "2", "--precision", "int4", "--json", str(record), "--markdown", str(page)]
    assert main(["waterfall", *args]) == 0
    (model,) = json.loads(record.read_text())["models"]
    lost = sum(s["lost_points"] for s in model["stations"])
    assert lost == pytest.approx(100 * (model["stations"][0]["right"] - model["stations"][-1]["right"]) / 1207)
    assert {c["cause"] for c in model["causes"]} >= {"steps"}
    assert "points come from too few time steps" in capsys.readouterr().out
    assert page.read_text().count("|") > 60
    assert main(["explain", "digits_mlp", "-T", "2", "--json", str(record)]) == 0
    (model,) = json.loads(record.read_text())["models"]
    assert all(s["ann"] == s["label"] != s["snn"] for s in model["samples"])
    assert "They first part in layer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["waterfall", "digits_mlp", "-T", "0"], "-T 0"),
        (["waterfall", "digits_mlp", "--power-of-two"], "--precision"),
        (["waterfall", "digits_mlp", "--fixed-point", "99"], "fixed point = 99"),
        (["explain", "digits_mlp", "--sample", "5000"], "--sample 5000"),
        (["explain", "digits_mlp", "--class", "11"], "--class 11"),
        (["explain", "digits_mpl"], "digits_mlp"),
    ],
)
def test_bad_input_gets_one_line(arguments, said, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
