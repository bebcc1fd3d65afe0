"""The table of the gate: keys, units, precedence, and errors that name key, file, value and way out."""

from __future__ import annotations

import shlex
from decimal import Decimal
from fractions import Fraction

import pytest

from snnverify.cli import _parser, main
from snnverify.cli_gate import assignments
from snnverify.config import Settings, merge, read_config
from snnverify.errors import ConfigError
from snnverify.gate import Limit, policy
from snnverify.gate.forms import CONFIDENCES, OPERATIONS
from snnverify.gate.policy import drop_of, overlaid
from snnverify.hardware import counts
from snnverify.pipeline import _command, provenance
from snnverify.pipeline.release import asked_of

WHOLE = """
[tool.snnverify.gate]
max_drop = "1.0 points"
max_class_drop = "10 % relative"
min_class_accuracy = "60 %"
min_agreement = "95.5 %"
firing_rate = [0.001, 0.5]
max_synops = 250_000
at = 32
confidence = 0.99
min_samples = 1000
require_checks = ["model.figures"]
require_oracles = ["reference"]
baseline = "last.json"
max_regression = "0.1 points"
max_synops_growth = "5 %"
energy_table = "own.toml"
[tool.snnverify.gate.max_drop_at]
8 = "5 points"
[tool.snnverify.gate.max_energy]
loihi = "2.5 uJ"
cmos45-fp32 = "3 nJ"
"""


def write(folder, text):
    (folder / "pyproject.toml").write_text(text)
    return read_config(folder)


def test_every_key_is_exact_and_paths_start_at_the_file(tmp_path):
    asked = policy(write(tmp_path, WHOLE).gate)
    assert asked.max_drop == Limit(Fraction(1, 100))
    assert asked.max_class_drop == Limit(Fraction(1, 10), relative=True)
    assert (asked.min_class_accuracy, asked.min_agreement) == (Fraction(3, 5), Fraction(191, 200))
    assert asked.firing_rate == (Fraction(1, 1000), Fraction(1, 2))
    assert (asked.max_synops, asked.at, asked.min_samples) == (250_000, 32, 1000)
    assert asked.max_drop_at == {8: Limit(Fraction(5, 100))}
    assert asked.max_energy == {"loihi": 2_500_000, "cmos45-fp32": 3000}  # pJ
    assert asked.max_regression == Limit(Fraction(1, 1000))  # 0.1 is no binary fraction
    assert asked.max_synops_growth == Fraction(1, 20)
    assert asked.alpha == 0.01
    assert (asked.baseline, asked.energy_table) == (str(tmp_path / "last.json"), str(tmp_path / "own.toml"))


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_alpha_is_the_nearest_float(confidence):
    assert policy({"confidence": float(confidence)}).alpha == float(1 - Decimal(confidence))


BAD = {
    'max_dropp = "1 points"': ("max_dropp is not a key of the gate", "did you mean 'max_drop'?"),
    "max_drop = 1.0": ("max_drop = 1.0", "with its unit", '"1.0 points"', "% relative"),
    'max_drop = "1.0"': ("max_drop = '1.0'", "with its unit"),
    'max_drop = "-1 points"': ("max_drop = '-1 points'", "from 0 to 100"),
    'max_drop = "101 points"': ("from 0 to 100",),
    'max_drop = "1 percent"': ("'1 percent'", "% relative"),
    'max_drop = "nan points"': ("max_drop = 'nan points'",),
    'max_drop = "1..0 points"': ("'1..0 points'",),
    'max_drop = "1e999999999 points"': ("points",),
    "max_drop = true": ("max_drop = True",),
    "max_class_drop = []": ("max_class_drop = []",),
    "min_agreement = 95": ("min_agreement = 95", '"95 %"'),
    'min_class_accuracy = "120 %"': ("from 0 to 100",),
    "firing_rate = 0.1": ("firing_rate = 0.1", "[lowest, highest]"),
    "firing_rate = [0.5, 0.1]": ("[lowest, highest]",),
    "firing_rate = [0.5, inf]": ("[lowest, highest]",),
    "max_synops = 0": ("max_synops = 0", "> 0"),
    "max_synops = nan": ("max_synops = nan", "> 0"),
    "max_macs = -1": ("max_macs = -1", ">= 0"),
    'allow_unpriced = ["macs"]': ("allow_unpriced", "synop, mac, update"),
    "max_energy = 3": ("max_energy = 3", "{loihi ="),
    'max_energy = {loihi = "3"}': ("of loihi", "uJ"),
    'max_energy = {loihi = "3 kWh"}': ("of loihi", "uJ"),
    'max_drop_at = {x = "1 points"}': ("of x",),
    'max_drop_at = {0 = "1 points"}': ("of 0",),
    "max_drop_at = {8 = 1}": ("of 8", "with its unit"),
    "confidence = 0.93": ("confidence = 0.93", "0.9, 0.95, 0.975, 0.99"),
    "confidence = 95": ("confidence = 95", "0.95"),
    "min_samples = 0": ("min_samples = 0", ">= 1"),
    "at = 1.5": ("at = 1.5", "an integer"),
    'require_checks = "model.figures"': ("require_checks", '["model.figures"]'),
    "require_oracles = [3]": ("require_oracles = [3]", "a list of names"),
    "baseline = 3": ("baseline = 3", "a file"),
    'error = "huber"': ("error = 'huber'", "absolute, squared"),
    "max_error_increase = 0.1": ("max_error_increase", "error_cap"),
    "error_cap = 0": ("error_cap = 0", "> 0"),
    'max_synops_growth = "5 %"': ("max_synops_growth", 'baseline = "FILE"'),
}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_table_is_one_line_that_names_file_key_and_way_out(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        write(tmp_path, f"[tool.snnverify.gate]\n{text}\n")
    said = str(caught.value)
    assert "\n" not in said
    for word in (f"{tmp_path / 'pyproject.toml'}: [tool.snnverify.gate]", *BAD[text]):
        assert word in said, said


def test_no_table_and_two_drops_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"tool.snnverify.gate = 3; write a table \[tool.snnverify.gate\]"):
        write(tmp_path, "[tool.snnverify]\ngate = 3\n")
    with pytest.raises(ConfigError, match="has one, too; keep this one"):
        write(tmp_path, '[tool.snnverify]\nmax_drop = 1\n[tool.snnverify.gate]\nmax_drop = "1 points"\n')


def test_the_command_line_takes_precedence(tmp_path):
    settings = write(tmp_path, '[tool.snnverify.gate]\nmax_drop = "1 points"\nmin_samples = 10\n')
    assert policy(merge({}, settings).gate).max_drop == Limit(Fraction(1, 100))
    assert policy(merge({"max_drop": "2"}, settings).gate).max_drop == Limit(Fraction(2, 100))
    assert policy(merge({"max_drop": "2 % relative"}, settings).gate).max_drop == Limit(Fraction(2, 100), relative=True)
    told = merge({"gate": ["max_drop=3 points", "max_drop_at.8='5 points'", "min_samples=20"]}, settings)
    asked = policy(told.gate)
    assert (asked.max_drop, asked.max_drop_at, asked.min_samples) == (
        Limit(Fraction(3, 100)), {8: Limit(Fraction(5, 100))}, 20,
    )  # fmt: skip
    assert policy(settings.gate).min_samples == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_drop", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("max_drop=", "write KEY=VALUE"),
        ("max_drop_at.=3 points", "write KEY=VALUE"),
        ("max_drp=3 points", "did you mean 'max_drop'?"),
        ("max_drop=3", "with its unit"),
        ("max_drop.8='3 points'", "with its unit"),
        ("firing_rate=[0.1", "[lowest, highest]"),
    ],
)
def test_wrong_assignments_name_what_they_are(text, said):
    with pytest.raises(ConfigError) as caught:
        overlaid({}, [text])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_operations_are_those_that_are_counted():
    assert OPERATIONS == counts.OPERATIONS


def test_a_bare_number_on_the_command_line_is_in_points():
    assert drop_of("1.5") == drop_of("1.5 points") == drop_of(1.5) == Limit(Fraction(3, 200))
    assert drop_of("1 % relative") == Limit(Fraction(1, 100), relative=True)
    with pytest.raises(ConfigError, match="with its unit"):
        drop_of("1 %")


def test_the_sentence_of_a_verdict_is_of_what_was_judged(tmp_path, capsys):
    """Of the T, the confidence and the requirements that the gate was given, not of the largest T at 95 %."""
    options = ["-T", "4", "8", "--no-waterfall", "--set", "at=4", "--set", "confidence=0.99", "--set", "max_synops=100"]
    assert main(["report", "digits_mlp", "--gate", "--out", str(tmp_path / "r"), "--max-drop", "9", *options]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "It is not the accuracy at T = 4 that fails (the SNN loses 2.73 points of accuracy, 9 allowed)" in said
    assert "1 requirement fails: synaptic operations. " in said
    assert "For synaptic operations, take fewer steps" in said
    assert "A failing check" not in said
    options[-1:] = ["max_synops=10000000", "--set", "max_macs=65536"]  # 64 pixels, 128 units, 8 steps
    assert main(["report", "digits_mlp", "--gate", "--out", str(tmp_path / "s"), "--max-drop", "9", *options]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "at T = 4 the SNN loses 2.73 points of accuracy on 1207 samples and, with 99 % confidence, loses at most 4.39"
        in said
    )


TABLE = """
[tool.snnverify]
model = "digits_mlp"
max_disagreement = 7.5
timesteps = [4]
[tool.snnverify.gate]
max_drop = "2 points"
firing_rate = [0.001, 0.5]
min_samples = 10
allow_unpriced = ["update"]
baseline = "last one.json"
[tool.snnverify.gate.max_energy]
cmos45-fp32-cache = "20 uJ"
[tool.snnverify.gate.max_drop_at]
4 = "5 points"
"""


def test_provenance_states_the_limit_that_is_used(tmp_path):
    (tmp_path / "pyproject.toml").write_text(TABLE)
    assert provenance(read_config(tmp_path), 0.0, False)["max drop"] == "2 points"
    assert provenance(Settings(max_drop="0.5"), 0.0, False)["max drop"] == "0.5 points"


def test_the_command_of_a_report_asks_for_what_the_project_asks(tmp_path, monkeypatch):
    """It is read back by the command line itself, where there is no project."""
    (tmp_path / "pyproject.toml").write_text(TABLE)
    made = read_config(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "pyproject.toml").unlink()
    given = vars(_parser().parse_args(shlex.split(_command(made))[1:]))
    told = {k: v for k, v in given.items() if k in Settings.__dataclass_fields__ and k not in ("gate", "scheduler")}
    read = merge({**told, "gate": assignments(given["gate_set"], given["baseline"])}, read_config())
    assert dict(read.gate) == dict(made.gate)
    assert (read.max_disagreement, read.timesteps) == (made.max_disagreement, made.timesteps)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"max_energy": {"lohi": "1 uJ"}}, "gate: max_energy.lohi: no such table; did you mean 'loihi'?"),
        ({"max_energy": {"akida": "1 uJ"}}, 'energy_table = "FILE"'),
        ({"require_checks": ["nosuch.*"]}, "gate: require_checks = 'nosuch.*': no such check"),
        ({"require_oracles": ["refrence"]}, "gate: require_oracles = 'refrence': no such oracle"),
    ],
)
def test_an_unknown_name_is_told_by_its_field(asked, said):
    with pytest.raises(ConfigError) as caught:
        asked_of(Settings(gate=asked))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"gate: {next(iter(asked))}")
