"""Rates that are asked for: each likely cause of a miss is planted, and named for what it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from snnverify import convert
from snnverify.cli import main
from snnverify.cli_calibrate import EXIT
from snnverify.convert import ConversionWarning
from snnverify.convert.rates import LayerRates, Setting, Target, measure_rates, unlike
from snnverify.errors import ConfigError, Unsupported
from snnverify.pipeline.calibration import Calibrated

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (64, 4)).astype(np.float32)


def linear(weight, bias, then=None):
    layer = nn.Linear(len(weight[0]), len(weight))
    layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    return nn.Sequential(layer, then or nn.ReLU(), nn.Linear(len(weight), 2)).eval()


IDENTITY = np.eye(4, dtype=np.float32).tolist()


def causes(model, x=X, **options):
    with pytest.warns(ConversionWarning):
        converted = convert(model, x, **options)
    return converted.rates[0].causes


def test_rates_in_the_range_warn_of_nothing(recwarn):
    converted = convert(linear(IDENTITY, [0.0] * 4), X, mode="rate", target_rate=(0.2, 0.4))
    assert 0.2 <= converted.rates[0].average <= 0.4
    assert not [w for w in recwarn if issubclass(w.category, ConversionWarning)]
    again = convert(linear(IDENTITY, [0.0] * 4), X, mode="rate", target_rate=(0.2, 0.4))
    assert np.array_equal(again.scales["1"], converted.scales["1"])


def test_dead_units_are_the_cause_where_the_others_would_do():
    told = causes(linear(IDENTITY, [0.0, -5.0, -5.0, -5.0]), mode="rate", target_rate=(0.5, 0.9))
    assert ["dead ReLU: 3 of 4" in c for c in told] == [True]


def test_a_layer_that_cannot_give_so_many_spikes_is_asked_for_too_much():
    signed = X - 0.5  # each unit is positive for about half of the samples, and none is dead
    told = causes(linear(IDENTITY, [0.0] * 4), signed, mode="rate", target_rate=(0.8, 0.95))
    assert ["over-determined" in c and "at most" in c for c in told] == [True]


def test_a_range_between_two_steps_of_the_rate_cannot_be_met():
    same = np.ones((8, 4), np.float32)
    told = causes(linear(IDENTITY, [0.0] * 4), same, mode="rate", target_rate=(0.55, 0.6), rate_steps=2)
    assert ["over-determined" in c and "jumps" in c for c in told] == [True]


def test_one_sample_determines_no_average():
    told = causes(linear(IDENTITY, [0.0] * 4), X[:1], mode="rate", target_rate=(0.2, 0.4))
    assert "under-determined" in told[0]


@pytest.mark.parametrize("gain", [0.1, 10.0])
def test_a_forgotten_normalisation_is_the_cause(gain):
    norm = nn.BatchNorm1d(4)
    norm.running_var.data[:] = gain**-2
    model = linear(IDENTITY, [0.0] * 4, nn.Sequential(norm, nn.ReLU()))
    kept = convert(model, X, mode="max", target_rate=(0.3, 0.6))
    assert kept.rates[0].causes == ()
    apart = convert(model, X, mode="max", target_rate=(0.3, 0.6), fold_batchnorm=False)
    assert apart.rates[0].average == kept.rates[0].average
    told = causes(model, mode="max", target_rate=(0.3, 0.6), fold_batchnorm="ignore")
    assert ["batch normalisation not folded" in c for c in told] == [True]


def test_data_unlike_the_calibration_set_are_told():
    target = Target(0.3, 0.6)
    converted = convert(linear(IDENTITY, [0.0] * 4), X, mode="max", target_rate=(0.3, 0.6))
    for other, named in ((X, False), (0.1 * X, True)):
        rows = measure_rates(converted.snn, converted.scales, other, Setting())
        assert [any("unrepresentative" in c for c in r.causes) for r in unlike(converted.rates, rows, target)] == [
            named
        ]


def beside(known, here, target, samples=100):
    """Row of the evaluation data; averages, each with its standard error."""
    one, two = (
        (LayerRates("1", False, 1.0, mean, 0.2, 0.3, 0.0, 0, 4, error, samples),) for mean, error in (known, here)
    )
    return unlike(one, two, Target(*target))[0]


def test_a_miss_that_sampling_explains_is_no_fault_of_the_data():
    """Student's t of 99 degrees of freedom at 99.5 % is 2.6264 (any table): sqrt(2) of it times 0.001 is 0.0037."""
    asked = (0.05, 0.1)
    edge, blamed = beside((0.0999, 0.001), (0.1036, 0.001), asked), beside((0.0999, 0.001), (0.1037, 0.001), asked)
    assert (edge.causes, "differences up to 0.0037 (99%)" in edge.note) == ((), True)
    assert ("unrepresentative" in blamed.causes[0], blamed.note) == (True, "")
    assert beside((0.0501, 0.001), (0.0499, 0.001), asked).note.startswith("at the edge of its range, 0.05")
    few = beside((0.0999, 0.01), (0.13, 0.01), asked)
    assert ("too few samples" in few.causes[0], few.undecided) == (True, True)
    assert beside((0.09, 0.01), (0.5, float("inf")), asked, 1).undecided


def test_two_averages_that_differ_are_printed_as_two_numbers():
    told = beside((0.0999999, 0.001), (0.1000001, 0.001), (0.05, 0.1)).note
    assert "0.0999999 on the calibration set, 0.1000001 on the evaluation data" in told


def test_a_range_met_at_its_edge_is_kept_on_other_data(capsys):
    assert main(["calibrate", "digits_mlp", "--target-rate", "0.05", "0.10"]) == 0
    out = capsys.readouterr().out
    assert "note: layer relu2: at the edge of its range, 0.1:" in out
    assert "unrepresentative" not in out


@pytest.mark.parametrize(("options", "said"), [({}, "over-determined"), ({"leak": 0.9}, "none found by bisection"),
                                               ({"reset": "value"}, "none found by bisection")])  # fmt: skip
def test_only_counts_that_fall_with_the_threshold_show_that_there_is_none(options, said):
    (told,) = causes(linear(IDENTITY, [0.0] * 4), X - 0.5, mode="rate", target_rate=(0.8, 0.95), **options)
    assert told.startswith(said)


@pytest.mark.parametrize(("options", "said"), [
    (["--longer", "10", "-T", "20"], "--longer = 10: it is compared with T = 20"),
    (["--longer", "20", "-T", "20"], "--longer = 20: it is compared with T = 20"),
    (["--longer", "0"], "--longer = 0"),
])  # fmt: skip
def test_the_longer_run_is_longer(options, said, capsys):
    assert main(["calibrate", "digits_mlp", *options]) == 2
    assert said in capsys.readouterr().err


def test_a_fixed_threshold_that_misses_points_to_the_search():
    assert "mode='rate'" in causes(linear(IDENTITY, [0.0] * 4), mode="1/4", target_rate=(0.1, 0.2))[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"target_rate": (0.2, 0.1)}, "target_rate"), ({"target_rate": 0.1}, "two numbers"), ({"leak": 0}, "leak"),
     ({"leak": float("nan")}, "leak"), ({"fold_batchnorm": "no"}, "fold_batchnorm")],
)  # fmt: skip
def test_what_cannot_be_asked_for(options, said):
    with pytest.raises(ConfigError, match=said):
        convert(linear(IDENTITY, [0.0] * 4), X, **options)


def test_an_offset_before_a_padded_convolution_is_refused():
    model = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.ReLU()).eval()
    with pytest.raises(Unsupported, match="constant currents"):
        convert(model, RNG.normal(size=(4, 1, 6)), unit_range=True)


def test_a_mapped_input_is_recorded_and_clipped_where_it_is_drawn():
    model = linear(RNG.normal(size=(4, 4)).astype(np.float32).tolist(), [0.1] * 4)
    x = RNG.normal(size=(32, 4)).astype(np.float32)
    mapped = convert(model, x, unit_range=True)
    assert (mapped.options["unit_range"], mapped.inputs.low.tolist()) == ("True", x.min(0).tolist())
    assert any("[0, 1]" in note for note in mapped.notes)
    assert mapped.run(3 * x, 8, encoding="poisson").shape == (32, 2)  # not refused
    assert mapped.entered(3 * x).max() > 1  # constant currents are not clipped


def test_the_command_tells_rates_leak_and_remedies(tmp_path, capsys):
    out = tmp_path / "c.json"
    assert main(["calibrate", "digits_mlp", "--leak", "0.9", "-T", "8", "--longer", "12", "--json", str(out)]) in (0, 1)
    told = json.loads(out.read_text())
    assert [r["name"] for r in told["remedies"]] == [
        "as asked", "T = 12 instead of 8", *(["batch normalisation kept apart", "batch normalisation ignored"]
        if len(told["remedies"]) == 6 else []), "thresholds per channel", "IF, no leak",
    ]  # fmt: skip
    assert told["facts"]["seed"] == "0"
    assert "what the leak costs" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "code"), [
    (["--target-rate", "0.001", "0.9"], 0),  # every rate that is not 0 or 1
    (["--target-rate", "0.95", "0.99"], 1),  # ReLU units of which some are silent on each image
    (["--mode", "max"], 0),  # no range was asked for
])  # fmt: skip
def test_the_exit_code_is_about_the_range_alone(arguments, code, capsys):
    assert main(["calibrate", "digits_mlp", "-T", "4", "--longer", "5", *arguments]) == code
    assert ("warning:" in capsys.readouterr().out) == (code == 1)


def test_a_range_kept_by_one_sample_alone_is_undecided():
    row = LayerRates("1", False, 1.0, 0.1, 0.2, 0.3, 0.0, 0, 4, float("inf"), 1)
    doubted, missed = replace(row, causes=("under-determined",)), replace(row, average=0.3, causes=("dead ReLU",))

    asked = Target(0.05, 0.2)

    def outcome(*rates, target=asked, elsewhere=()):
        return Calibrated(rates, elsewhere, (), (), (), 0, {}, target).outcome

    assert [outcome(row), outcome(doubted), outcome(doubted, missed)] == ["kept", "undecided", "missed"]
    assert outcome(row, elsewhere=(missed,)) == "missed"
    few = replace(missed, causes=("too few samples",), undecided=True)
    assert [outcome(row, elsewhere=(few,)), outcome(row, elsewhere=(few, missed))] == ["undecided", "missed"]
    assert outcome(row, elsewhere=(replace(row, average=0.21, note="at the edge"),)) == "kept"
    assert outcome(missed, target=None) == "kept"
    assert EXIT == {"kept": 0, "missed": 1, "undecided": 3}


@pytest.mark.parametrize(
    "arguments", [["-T", "0"], ["--leak", "2"], ["--target-rate", "0.3", "0.1"], ["--mode", "fast"]]
)
def test_bad_options_are_one_line(arguments, capsys):
    assert main(["calibrate", "digits_mlp", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_every_fact_of_a_calibration_says_something(tmp_path, capsys):
    """Weights as built have no file, hence no digest, and no empty row."""
    rng = np.random.default_rng(0)
    net = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))\n"
    (tmp_path / "net.py").write_text(net)
    np.savez(tmp_path / "d.npz", x=rng.random((30, 4)).astype(np.float32), y=rng.integers(0, 2, 30))
    command = ["calibrate", f"{tmp_path}/net.py:build", "--data", f"{tmp_path}/d.npz", "-T", "4", "--longer", "5"]
    assert main([*command, "--json", str(tmp_path / "a.json")]) in (0, 1, 3)
    out = capsys.readouterr().out
    assert "weights: as built" in out
    assert not [line for line in out.splitlines() if line.endswith((":", ": "))]
    assert all(json.loads((tmp_path / "a.json").read_text())["facts"].values())
