"""The waterfall and the parting of samples on embedded models, planted causes, and the commands."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from snnverify import pipeline, zoo
from snnverify.activation import Neuron, Relu
from snnverify.cli import main
from snnverify.config import Settings
from snnverify.convert import convert
from snnverify.errors import ConfigError, Unsupported
from snnverify.network import INPUT, Branch, Dense, Layer, Network, Pool
from snnverify.pipeline.waterfall import Explained
from snnverify.quantise import Grid
from snnverify.report.html import render_html
from snnverify.report.markdown import render_markdown
from snnverify.report.plots import PLOTS
from snnverify.report.record import from_json, schema, to_json
from snnverify.report.tables import tables
from snnverify.report.text import render_text
from snnverify.report.waterfall import effect, mending, sentence
from snnverify.schema import breaches
from snnverify.stats import Paired, exact_upper
from snnverify.waterfall import Cause, Deployment, Remedy, causes, chain, faulty, tried, waterfall
from snnverify.waterfall import planted as plants
from snnverify.waterfall.diagnose import faults, significant
from snnverify.waterfall.fixed import fixed_point
from snnverify.waterfall.parting import part
from snnverify.waterfall.score import Answer, judge, passed_over


@pytest.fixture(scope="module")
def cnn():
    return faulty.base("digits_cnn")


@pytest.fixture(scope="module")
def fallen(cnn):
    d = plants.deployment(cnn, replace(faulty.Plan(cnn.ann, {"relu2": 0.15}, 32), grid=Grid("int4")))
    return d, waterfall(cnn.ann, d, cnn.x, cnn.y)


@pytest.mark.parametrize("name", list(zoo.MODELS))
def test_the_first_station_is_the_trained_model(name):
    b, m = faulty.base(name), zoo.load_default(name)
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


def test_what_to_do_is_the_advice_against_the_costliest_cause_with_the_best_that_was_tried(cnn, fallen):
    d, w = fallen
    found, parts = causes(w, cnn.x)
    first = next(c for c in found if c.key == "clipping")
    remedies = tried(w, first, cnn.ann, d, lambda **o: convert(cnn.ann, cnn.calibration, **o), cnn.x)
    said = mending(Explained("cnn", w, (first,), parts, remedies, None, {}))
    assert said.startswith(
        "raise the percentile or calibrate channel-wise, against clipping at the threshold in layer relu2"
    )
    best = max(remedies, key=lambda r: r.right)
    gain = 100 * (best.right - w.right(len(w.keys) - 1)) / len(cnn.y)
    assert f"({best.words} gives {gain:+.2f} points" in said
    left = Fraction(w.right(0) - best.right, len(cnn.y))  # what the best remedy still loses against the ANN
    assert left > 0
    e = Explained("cnn", w, (first,), parts, remedies, None, {})
    assert mending(e, left) == mending(e) == said
    assert mending(e, left - Fraction(1, 10**6)).endswith("; that alone still loses more than is allowed)")


def test_nothing_is_named_where_nothing_is_planted_and_the_unknown_is_unexplained(cnn):
    clean = faulty.Plan(cnn.ann, {}, 32)
    w = waterfall(cnn.ann, plants.deployment(cnn, clean), cnn.x, cnn.y)
    assert causes(w, cnn.x) == ((), {})
    assert faults(w, cnn.x) == {}
    broken = replace(clean, broken=lambda n: faulty._stuck(np.random.default_rng(3), n))
    w = waterfall(cnn.ann, plants.deployment(cnn, broken), cnn.x, cnn.y)
    assert w.keys[-1] == "deployed"
    assert {c.key for c in causes(w, cnn.x)[0]} == {"unexplained"}


def test_sentences_have_no_share_over_the_whole_and_no_sign(cnn, fallen):
    """A cause that costs more than the whole drop is no part of it; what is above the ANN is not -0.34 below."""
    _, w = fallen
    n, total = len(w.labels), w.right(0) - w.right(len(w.keys) - 1)
    within, over = (Cause("clipping", "relu2", total + k, ("clipped",)) for k in (-1, 5))
    e = Explained("cnn", w, (within,), {}, (), None, {})
    assert sentence(e, within).startswith(
        f"{100 * (total - 1) / n:.2f} of {100 * total / n:.2f} points come from clipping"
    )
    said = sentence(e, over)
    assert said.startswith(
        f"{100 * (total + 5) / n:.2f} points come from clipping at the threshold in layer relu2; other "
    )
    assert f"so that the whole drop is {100 * total / n:.2f}: " in said

    def tried(before, after):
        return effect(w, Remedy("clipping", "mode max", 0, Paired(1000, *before), Paired(1000, *after)))

    upper = {k: 100 * exact_upper(Paired(1000, *k)) for k in ((2, 0), (0, 40), (0, 0))}
    assert tried((0, 30), (2, 0)) == f"mode max gives +3.00 points: 0.20 below the ANN, at most {upper[2, 0]:.2f} below"
    assert (
        tried((5, 0), (0, 40)) == f"mode max costs 0.50 points: 4.00 above the ANN, at least {-upper[0, 40]:.2f} above"
    )
    assert tried((0, 0), (0, 0)) == f"mode max gives nothing: level with the ANN, at most {upper[0, 0]:.2f} below"


def test_what_cannot_be_planted_is_passed_over_and_told(monkeypatch):
    monkeypatch.setattr(plants, "DRAWS", 0)
    with pytest.raises(plants.NotPlantedError, match="in 0 draws none cost what a planted cause should"):
        plants.subject(11, "triples", 1)
    assert list(plants.subjects(11, {"triples": 2, "pairs": 1})) == []
    said = passed_over(11, [], {"triples": 2})
    assert said.endswith(
        f"triples 0 ({', '.join(plants.turn(11, 'triples', 0))}); triples 1 (clipping, bias, batch normalisation)."
    )
    a = Answer("triples", 0, "", "", 0, 0, 0, 0, 0, 0)
    assert passed_over(11, [a], {"triples": 1}) == ""


def test_an_answer_is_judged_by_what_is_missed_what_is_wrong_and_where():
    found = (Cause("clipping", "relu1", 9, ("clipped",)), Cause("steps", "", 5, ("quantised", "spiking")))
    planted = {"clipping": "relu2", "bias": "relu1"}
    b = faulty.base("digits_mlp")
    d = plants.deployment(b, faulty.Plan(b.ann, {}, 4))
    a = judge(plants.Subject("pairs", 0, b, d, planted, planted), found)
    assert (a.planted, a.named, a.missed, a.wrong, a.placed, a.places, a.exact) == (2, 1, 1, 1, 0, 1, False)
    assert a.said == "clipping in relu1, steps"


def test_what_cannot_be_split_is_a_note_in_the_report_and_no_end(monkeypatch):
    def refuse(*_, **__):
        raise Unsupported("relu1", "no layer of this name and shape", "give networks whose layers correspond")

    monkeypatch.setattr(pipeline, "explained", refuse)
    run = pipeline.assess(Settings(model="digits_mlp", timesteps=(4,), max_drop="50"), quick=True)
    assert run.assessments[0].verdict.outcome == "PASS"
    frames, said = tables(run), "No waterfall: relu1: no layer of this name and shape"
    for page in (
        render_text(run),
        render_markdown(run, frames, {}),
        render_html(run, frames, [dict.fromkeys(PLOTS, "")]),
    ):
        assert said in page
    (stored,) = json.loads(to_json(run))["assessments"]
    assert stored["waterfall"]["left out"].startswith("relu1: no layer")
    assert from_json(to_json(run), "report.json")[0].verdict.outcome == "PASS"


def test_the_record_of_a_report_holds_the_waterfall():
    run = pipeline.assess(Settings(model="digits_mlp", timesteps=(4,)), quick=True)
    record = json.loads(to_json(run))
    assert not [*breaches(record, schema(), "report")]
    (stored,) = record["assessments"]
    w = run.assessments[0].explained.waterfall
    assert [(s["key"], s["right"]) for s in stored["waterfall"]["stations"]] == [
        (k, w.right(i)) for i, k in enumerate(w.keys)
    ]
    # the last station is what the report measures at the largest T
    assert stored["waterfall"]["stations"][-1]["right"] == stored["paired"][-1]["snn"]
    stored["waterfall"]["stations"][2]["right"] = -1
    assert [*breaches(record, schema(), "report")] == [
        "report.assessments[0].waterfall.stations[2].right = -1: at least 0"
    ]


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
    made = plants.deployment(cnn, faulty.Plan(cnn.ann, {"relu1": 0.2}, 256)).converted
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
        chain(faulty.base("digits_mlp").ann, Deployment(made, 4))
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
        (["waterfall", "digits_mlp", "--score"], "leave out MODEL 'digits_mlp'"),
        (["waterfall", "--score", "-T", "4", "--data", "x.npz"], "leave out --data, -T"),
        (["waterfall", "--score", "--no-remedies", "--json", "x.json"], "leave out --no-remedies, --json"),
    ],
)
def test_bad_input_gets_one_line(arguments, said, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
