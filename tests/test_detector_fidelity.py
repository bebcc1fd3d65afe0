"""Similarity, repairs and INT8 of spiking detectors, each held to something else."""

import copy
import hashlib
import json
import math
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from snnverify import content
from snnverify.cli import main
from snnverify.detector import save
from snnverify.detector.binarize import binarize
from snnverify.detector.blocks import Constants, Conv_1
from snnverify.detector.fidelity import answers, converted
from snnverify.detector.generated import write_rectangles
from snnverify.detector.int8 import Int8, folded, to_int8
from snnverify.detector.model import Detector, described
from snnverify.detector.repairs import changes, recalibrated, tuned
from snnverify.detector.samples import Classes, batches, first, open_samples
from snnverify.detector.study import Plan, best_of, images, study
from snnverify.errors import ConfigError, DataError, Unsupported
from snnverify.gate import EXIT
from snnverify.report.detector import html_study, json_study, markdown_study, render_study, verdict_of
from snnverify.stats import exact_upper, from_predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import detector_digits
import detector_rectangles


@pytest.fixture(scope="module")
def boxed(tmp_path_factory):
    """A detector whose output is confident, as initial weights have it, and generated images."""
    data = write_rectangles(tmp_path_factory.mktemp("data") / "shapes", 12, 6)
    torch.manual_seed(0)
    net = Detector(described("resnet10")).eval()
    with torch.no_grad():
        net.model[9].m[0].bias.normal_()
        net.model[9].m[1].bias.normal_()
    return net, open_samples(str(data), net, 64), open_samples(str(data), net, 64, "train")


@pytest.fixture(scope="module")
def digits():
    train, judge = detector_digits.samples()
    return detector_digits.trained("digits-silu", 0, first(train, 128), 2), first(judge, 200), first(train, 128)


def upper(before, after):
    """Exact 95 % bound on what `after` answers worse than `before`; of the exchanged nets it is minus the lower one."""
    return exact_upper(from_predictions(before.wanted, before.given, after.given))


U = 2**-53  # unit roundoff of float64


def test_recalibration_is_the_mean_of_what_comes_in(digits):
    """Images of sixteenths and weights of 64ths make every value exact, so that only means have roundings."""
    net, _, train = digits
    double = copy.deepcopy(net).double()
    conv = double.model[0].conv
    conv.weight.data = (conv.weight.data * 64).round() / 64
    with torch.no_grad():
        x = conv(torch.tensor(train.data.x).double().expand(5, *train.data.x.shape))
    means = torch.stack([x[:, i : i + 16].mean((0, 1, 3, 4)) for i in range(0, 128, 16)]).mean(0)
    exact = recalibrated(double, train).model[0].bn.bn.running_mean
    # a mean of n values is off by n u of their mean size at most, here and there, and so is that of 8 batches
    room = 2 * (x[:, :16].numel() // x.shape[2] + 8) * U * x.abs().mean((0, 1, 3, 4))
    assert ((exact - means).abs() <= room).all()
    found = recalibrated(net, train)
    bn = found.model[0].bn.bn
    moved = changes(net, found)
    assert moved.weights == 0
    assert 0 < moved.statistics <= moved.of_statistics
    assert bn.momentum == net.model[0].bn.bn.momentum
    assert not found.training
    assert changes(net, recalibrated(net, train)) == moved
    with pytest.raises(Unsupported, match="no batch norm"):
        recalibrated(torch.nn.Linear(1, 1), train)


def test_tuning_learns_is_seeded_and_leaves_the_net_alone(digits):
    net, _, train = digits
    before = {k: v.clone() for k, v in net.state_dict().items()}
    after, _ = binarize(net)
    a, b, c = (tuned(after, train, 2, 2e-3, seed) for seed in (0, 0, 1))
    assert changes(a, b).where == ""
    assert changes(a, c).weights > 0
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert changes(after, a).weights == changes(after, a).of_weights
    assert upper(answers(after, train), answers(tuned(after, train, 6, 5e-3), train)) < 0  # it learned, at 95 %
    for wrong in ({"epochs": 0}, {"lr": 0.0}, {"lr": math.inf}):
        with pytest.raises(ConfigError, match="at least 1, and a finite rate"):
            tuned(net, train, **wrong)


def test_changes_count_tensors_and_tell_how_far():
    torch.manual_seed(0)
    a = Conv_1(2, 3)
    b = Conv_1(2, 3)
    b.load_state_dict(a.state_dict())
    assert str(changes(a, b)) == "none"
    b.conv.weight.data *= 1.5
    b.bn.bn.running_var *= 2
    b.bn.bn.num_batches_tracked += 1  # a counter is no statistic
    found = changes(a, b)
    assert (found.weights, found.of_weights, found.statistics, found.of_statistics) == (1, 3, 1, 2)
    assert (found.furthest, found.where) == (1.0, "bn.bn.running_var")
    assert str(found) == "1 of 3 weights, 1 of 2 BN statistics; furthest 100 % (bn.bn.running_var)"
    with pytest.raises(ConfigError, match="other names, shapes or types"):
        changes(a, Conv_1(2, 4))
    minus = Conv_1(2, 3)
    minus.load_state_dict(a.state_dict())
    minus.bn.bn.bias.data *= -1  # -0 is another byte, and no distance
    found = changes(a, minus)
    assert (found.weights, found.furthest, found.where) == (1, 0.0, "bn.bn.bias")
    minus.bn.bn.bias.data += 1
    assert str(changes(a, minus)) == "1 of 3 weights; furthest from 0 (bn.bn.bias)"


def test_folding_is_exact_where_the_root_is():
    """With var + eps a power of four, gamma and weights k / 2^m, folded and plain nets agree in every bit."""
    block = Conv_1(2, 3, 3, constants=Constants(steps=2)).double().eval()
    rng = np.random.default_rng(0)
    dyadic = lambda *shape: torch.tensor(rng.integers(-64, 65, shape) / 64)  # noqa: E731
    block.conv.weight.data = dyadic(3, 2, 3, 3)
    bn = block.bn.bn
    bn.eps = 0.25
    bn.running_var, bn.running_mean = torch.tensor([3.75, 15.75, 0.75], dtype=torch.float64), dyadic(3)
    bn.weight.data, bn.bias.data = dyadic(3), dyadic(3)
    x = dyadic(2, 4, 2, 6, 6)
    flat = folded(block)
    with torch.no_grad():
        assert torch.equal(flat(x), block(x))
    assert isinstance(flat.bn, torch.nn.Identity)
    assert block.conv.bias is None


def test_int8_holds_its_grids(boxed):
    net, samples, train = boxed
    after, _ = binarize(net)
    before = {k: v.clone() for k, v in after.state_dict().items()}
    found, grids = to_int8(after, images(train))
    assert all(torch.equal(v, before[k]) for k, v in after.state_dict().items())
    plain = folded(after)
    assert len(grids.weights) == sum(isinstance(m, torch.nn.Conv2d) for m in net.modules())
    for name, w in grids.weights.items():
        wanted = plain.get_submodule(name).weight.detach().double().numpy()
        scale = w.scale[:, None, None, None]
        assert np.abs(w.integers).max() == 127
        assert np.abs(wanted - w.values).max() <= (scale * (0.5 + 2**-23)).max()  # half a step, from float32 weights
        assert np.array_equal(w.values, w.integers * scale)
        on_grid = found.get_submodule(name).weight.detach().numpy()
        assert np.array_equal(on_grid, w.values.astype(np.float32))
    kept = []
    found.get_submodule("model.0.conv").register_forward_hook(lambda m, i, o: kept.append(o))
    answers(found, samples)
    r = grids.ranges["model.0.conv"]
    steps = kept[0].double() / r.scale
    assert (steps - steps.round()).abs().max() <= 255 * 2**-23  # integers of at most 255, times a scale: two roundings
    assert len(torch.unique(kept[0])) <= 256
    with pytest.raises(DataError, match="no sample"):
        to_int8(after, iter(()))


def test_int8_ranges_are_the_same_in_pieces(digits):
    net, _, train = digits
    after, _ = binarize(net)
    whole, pieces = (to_int8(after, parts)[1] for parts in (iter([train.data.x]), (x for x, _ in batches(train))))
    assert whole.ranges == pieces.ranges


def test_of_thresholds_with_one_score_the_nearest_to_the_nets_own_is_taken():
    assert best_of({0.1: 0.9, 0.4: 0.9, 0.75: 0.9, 0.5: 0.8}, 0.5) == 0.4
    assert best_of({0.1: 0.9, 0.5: 0.9, 0.9: 0.95}, 0.5) == 0.9


def test_study_of_digits_tells_a_benign_from_a_ruinous_conversion():
    benign, ruinous = (detector_digits.studies(m, 1, 12, 1, 300)[0] for m in detector_digits.MODELS.values())
    nets = [(s.arm("before").answers, s.arm("converted").answers) for s in (benign, ruinous)]
    assert upper(*nets[0]) < -upper(*nets[1][::-1])  # the most that the one can cost, the least that the other does
    assert verdict_of(ruinous).outcome == "FAIL"
    for s in (benign, ruinous):
        assert [a.name for a in s.arms] == [
            "before", "converted", "threshold", "BN recalibrated", "fine-tuned", "before, trained on", "static INT8",
        ]  # fmt: skip
        assert str(s.arm("converted").changed) == str(s.arm("threshold").changed) == "none"
        assert s.arm("BN recalibrated").changed.weights == 0
        assert s.arm("fine-tuned").changed.weights > 0
        chosen = float(re.search("above (.*), the best", s.arm("threshold").what)[1])
        equals = [t for t, score in s.swept.items() if score == max(s.swept.values())]
        assert min(equals, key=lambda t: abs(t - 0.5)) == chosen  # the net's own threshold is 0.5
        assert not [n for n in s.notes if "training samples, too" in n]
    assert len(benign.converted) == 2
    assert len(ruinous.converted) == len(ruinous.layers)


def test_report_of_a_study(boxed):
    net, samples, train = boxed
    net.names[0] = "<b>"
    s = study(net, binarize(net)[0], samples, train, Plan(Fraction(1, 100), ["threshold", "int8"], resamples=5))
    page = html_study(s, "<i>a & b</i>")
    assert "<i>" not in page
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org", "")
    record = json.loads(json_study(s))
    assert [a["net"] for a in record["arms"]] == ["before", "converted", "threshold", "static INT8"]
    assert record["arms"][1]["changed"]["weights"] == 0
    assert record["provenance"]["pycocotools"]
    assert "mAP@0.5:0.95" in markdown_study(s, "x")
    assert render_study(s).splitlines()[0].startswith("judged on")
    same = study(net, net, samples, train, Plan(Fraction(1, 100), [], resamples=5))
    assert any("these nets show no conversion" in n for n in same.notes)
    shared = study(net, net, train, train, Plan(Fraction(1, 100), [], resamples=5))
    assert any("12 of the 12 samples are training samples, too" in n for n in shared.notes)
    with pytest.raises(ConfigError, match="--repairs magic"):
        study(net, net, samples, train, Plan(Fraction(1, 100), ["magic"]))


def test_commands_on_files(digits, boxed, tmp_path, capsys, monkeypatch):
    """As a user: a checkpoint, its conversion here or from a file, a report; static INT8 of the converted net."""
    monkeypatch.chdir(tmp_path)
    net, judge, train = digits
    save(net, "net.pt")
    save(binarize(net)[0], "net_binary.pt")
    for name, s in (("judge", judge), ("train", train)):
        np.savez(f"{name}.npz", x=s.data.x, y=s.data.y)
    files = ["--json", "f.json", "--markdown", "f.md", "--html", "f.html"]
    common = ["fidelity", "--before", "net.pt", "--data", "judge.npz", "--repairs", "bn"]
    assert main([*common, "--train", "train.npz", *files]) == 0
    shown = capsys.readouterr()
    assert "converted here: 7 activations" in shown.err
    record = json.loads(Path("f.json").read_text())
    outcome = record["arms"][1]["verdict"]
    assert shown.out.splitlines()[-1] == f"verdict: {outcome} conversion"
    assert [a["net"] for a in record["arms"]] == ["before", "converted", "BN recalibrated"]
    assert record["provenance"]["before sha256"] == hashlib.sha256(Path("net.pt").read_bytes()).hexdigest()
    assert all(Path(name).stat().st_size > 1000 for name in files[1::2])
    assert main([*common, "--after", "net_binary.pt", "--gate"]) == EXIT[outcome]
    assert "no training samples: nothing was repaired" in capsys.readouterr().out
    int8 = ["quantize", "--quant-type", "static_int8", "--data", "judge.npz", "--train", "train.npz"]
    assert main([*int8, "--weights", "net_binary.pt", "--out", "grids.npz"]) == 0
    assert content.load("grids.npz", Int8).ranges
    before = set(tmp_path.iterdir())
    capsys.readouterr()
    boxes = ["--data", str(boxed[1].split.source)]
    for arguments, said in (
        ([*int8, "--weights", "net.pt"], "it still emits SiLU"),
        ([*int8[:-2], "--weights", "net_binary.pt"], "--train: static INT8 measures"),
        (["quantize", "--quant-type", "static_int8", "--weights", "net.pt"], "--data is missing"),
        (["fidelity", "--before", "none.pt", "--data", "judge.npz"], "none.pt"),
        (["fidelity", "--before", "judge.npz", "--data", "judge.npz"], "judge.npz"),
        (["fidelity", "--before", "net.pt", *boxes], "the net ends in no Detect"),
        (["fidelity", "--before", "net.pt", "--data", "none.npz"], "none.npz"),
        ([*common, "--html", "nowhere/f.html"], "there is no folder"),
        ([*common, "none"], "none stands alone"),
        ([*common, "--max-drop", "x"], "'x' percentage points"),
        ([*common, "--lr", "nan"], "--lr = nan"),
        ([*common, "--epochs", "0"], "--epochs = 0"),
        ([*common, "--train", "judge.npz[0:0]"], "judge.npz"),
    ):
        assert main(arguments) == 2, arguments
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("snnverify: ")]
        assert len(told) == 1, arguments
        assert said in told[0]
    assert set(tmp_path.iterdir()) == before


def test_nets_that_do_not_belong_together_are_refused(digits):
    net, judge, train = digits
    other = Detector({**described("digits"), "head": described("digits")["head"][1:]})
    with pytest.raises(ConfigError, match="--after"):
        study(net, other, judge, train, Plan(Fraction(1, 100), []))
    broken = Detector(described("digits-silu"))
    broken.model[5].linear.weight.data[0, 0] = math.nan
    with pytest.raises(DataError, match="NaN or infinity in the batch of sample 0"):
        answers(broken, judge)


def test_classes_shared_between_splits_are_counted(digits):
    _, judge, train = digits
    assert judge.shared(train) == 0
    both = Classes(judge.data)
    assert both.shared(judge) == len(judge)


def test_the_examples_on_boxes_and_on_mnist_convert_what_they_say(tmp_path):
    data = write_rectangles(tmp_path / "r", 4, 2, (detector_rectangles.SIZE,) * 2)
    found = detector_rectangles.studies("all SiLU", 1, data, 1, 1, 2)[0]
    assert len(found.converted) == len(found.layers) == 8  # two blocks of three, Conv and Conv_A
    assert [a.name for a in found.arms][:2] == ["before", "converted"]
    kinds = {m: len(converted(n, binarize(n)[0])) for m, n in
             ((m, Detector(d)) for m, d in detector_rectangles.MODELS.items())}  # fmt: skip
    assert kinds == {"head-only SiLU": 2, "all SiLU": 8}
    for model, number in (("digits", 2), ("digits-silu", 8)):
        net = Detector(detector_digits.description(model, mnist=True)).eval()
        assert (net.stride, len(converted(net, binarize(net)[0]))) == (4, number)
        assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_help_says_what_static_int8_is_judged_by(capsys):
    with pytest.raises(SystemExit):
        main(["quantize", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "static_int8: those for a classifier, for a detector data.yaml in the YOLO form" in told
    assert main(["quantize", "--quant-type", "static_int8", "--weights", "w.pt"]) == 2
    assert (
        "--data is missing: static_int8 takes --weights W and --data, data.yaml for a detector"
        in capsys.readouterr().err
    )
