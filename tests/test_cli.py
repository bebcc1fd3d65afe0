"""The command line end to end on small models of a user's own, and what a report then holds."""

import csv
import gzip
import json
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import NETS, clear_samples

import snnverify
from snnverify import cli as face
from snnverify import pipeline
from snnverify.checks import select
from snnverify.gate import REQUIRED

FAST = ("-T", 4, 32, "--max-drop", 5)  # 240 samples without a loss: (1 - d)^240 = 5 % gives a bound of 1.24 points


def record(folder):
    found = json.loads((folder / "report.json").read_text())
    return found, found["assessments"][0]


def last_line(text):
    return text.strip().splitlines()[-1]


# --- a report on a user's model


def test_report_from_a_file(project, cli):
    done = cli("report", "nets.py:build", "--data", "data.npz", "--calibration", "calibration.npz", *FAST, "--out", "r")
    assert (done.code, last_line(done.out)) == (0, "verdict: PASS nets.build")
    folder = project / "r"
    assert sorted(p.name for p in folder.iterdir()) == ["index.html", "plots", "report.json", "report.md", "tables"]
    assert "report: r/index.html" in done.out
    for name in ("index.html", "report.md"):
        assert "PASS" in (folder / name).read_text()
    whole, found = record(folder)
    assert [(row["T"], row["n"], row["ann"]) for row in found["paired"]] == [(4, 240, 240), (32, 240, 240)]
    assert found["facts"]["shared by calibration and evaluation"] == "none"
    assert found["facts"]["input scaling"] == "none"
    assert found["facts"]["calibration samples"] == "100"
    assert whole["provenance"]["seed"] == "0"
    with (folder / "tables" / "accuracy.csv").open() as f:
        assert [row["T"] for row in csv.DictReader(f)] == ["4", "32"]
    for line in ("Accuracy over T", "Layers", "Classes", "Checks", "Operations"):
        assert line in done.out
    assert "build: SNN (240)" in done.err
    assert max(map(len, done.out.splitlines())) <= 120


def test_report_from_a_module_path(project, cli):
    (project / "own_package").mkdir()
    (project / "own_package" / "__init__.py").write_text("")
    (project / "own_package" / "nets.py").write_text(NETS)
    done = cli("report", "own_package.nets:build", "--data", "data.npz", "-T", 4, "--out", "r")
    assert (done.code, record(project / "r")[1]["facts"]["model"]) == (0, "own_package.nets:build")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_are_those_that_run(project, cli, name):
    """The weights swap two classes: the ANN is then wrong on all samples of these, and right on the third class."""
    names = {}
    exec(NETS, names)
    state = {k: v.clone() for k, v in names["build"]().state_dict().items()}
    for key in ("2.weight", "2.bias"):
        state[key] = state[key][[1, 0, 2]].contiguous()
    (safetensors.torch.save_file if name.endswith("s") else torch.save)(state, project / name)
    done = cli("report", "nets.py:build", "--weights", name, "--data", "data.npz", "--calibration", "calibration.npz",
               "-T", 4, "--out", "r")  # fmt: skip
    assert done.code == 0
    found = record(project / "r")[1]
    labels = np.load("data.npz")["y"]
    assert found["paired"][0]["ann"] == (labels == 2).sum()
    assert len(found["facts"]["weights sha256"]) == 64


def test_idx_pair(project, cli):
    (project / "image.py").write_text(
        "import torch\nfrom torch import nn\ndef build():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)).eval()\n"
    )
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 3, 4), np.uint8), rng.integers(0, 3, 60).astype(np.uint8)
    (project / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 60) + labels.tobytes())
    with gzip.open(project / "t10k-images-idx3-ubyte.gz", "wb") as f:
        f.write(struct.pack(">BBBBIII", 0, 0, 8, 3, 60, 3, 4) + images.tobytes())
    done = cli("report", "image.py:build", "--data", "t10k-images-idx3-ubyte.gz", "-T", 4, "--out", "r")
    assert done.code == 0
    facts = record(project / "r")[1]["facts"]
    assert (facts["input scaling"], facts["samples"]) == ("uint8 / 255", "54")


def test_a_model_that_was_not_set_to_eval(project, cli):
    """It is converted in eval mode, with a note; the caller's own module stays as it is."""
    names = {}
    exec(NETS, names)
    x, y = clear_samples(names["module"](), 60)
    np.savez("clear.npz", x=x, y=y)
    (project / "user.py").write_text(NETS)
    done = cli("report", "user.py:untrained", "--data", "clear.npz", "-T", 32, "--out", "r")
    assert done.code == 0
    found = record(project / "r")[1]
    assert found["paired"][0]["ann"] == 54  # every one: no dropout, running statistics
    note = "the model was in training mode; it was converted in eval mode"
    assert found["notes"] == [note]
    assert note in (project / "r" / "index.html").read_text()
    assert note in (project / "r" / "report.md").read_text()
    user = next(m for n, m in sys.modules.items() if n.startswith("_snnverify_user_"))
    assert user.shared.training
    assert torch.equal(user.shared[1].running_mean, names["shared"][1].running_mean)
    assert "training mode" in cli("analyze", "user.py:untrained", "--input-shape", 4).out


# --- calibration


def test_shared_samples_are_named_by_their_place_in_the_file(project, cli):
    data = np.load("data.npz")
    rows = [100, 101, 102, 150, 239]
    np.savez("some.npz", x=np.concatenate([data["x"][rows], np.load("calibration.npz")["x"]]), y=np.zeros(105, int))
    done = cli(
        "report", "nets.py:build", "--data", "data.npz[90:240]", "--calibration", "some.npz", "-T", 4, "--out", "r"
    )
    assert done.code == 0
    said = "5: 100-102, 150, 239"
    assert record(project / "r")[1]["facts"]["shared by calibration and evaluation"] == said
    assert said in (project / "r" / "index.html").read_text()


def test_without_calibration_a_tenth_is_held_back_from_every_class(project, cli):
    """Of sorted data the first tenth would be of one class alone."""
    data = np.load("data.npz")
    order = np.argsort(data["y"], kind="stable")
    np.savez("sorted.npz", x=data["x"][order], y=data["y"][order])
    settings = pipeline.Settings(model="nets.py:build", data="sorted.npz")
    (subject,) = pipeline.subjects(settings)
    assert (len(subject.calibration), len(subject.x)) == (24, 216)
    rows = {row.tobytes(): y for row, y in zip(data["x"], data["y"], strict=True)}
    assert {rows[row.tobytes()] for row in subject.calibration} == set(data["y"])
    assert not {row.tobytes() for row in subject.calibration} & {row.tobytes() for row in subject.x}
    assert subject.facts["shared by calibration and evaluation"] == "none"
    assert subject.facts["calibration"] == "24 samples of data, drawn by seed 0, not evaluated"


# --- settings


def test_pyproject_instead_of_options_and_options_over_it(project, cli, monkeypatch):
    (project / "pyproject.toml").write_text(
        '[tool.snnverify]\nmodel = "nets.py:build"\ndata = "data.npz"\ncalibration = "calibration.npz"\n'
        'timesteps = [2, 8]\nmode = "max"\nv_init = "zero"\nmax_drop = 2.5\nout = "runs"\n'
    )
    (project / "deeper").mkdir()
    monkeypatch.chdir(project / "deeper")
    assert cli("report", "--mode", "1/2", "-T", 3).code == 0
    (folder,) = (project / "runs").iterdir()
    found = record(folder)[1]
    assert [row["T"] for row in found["paired"]] == [3]
    assert (found["margin"], found["conversion"]["mode"], found["conversion"]["v_init"]) == ("1/40", "1/2", "zero")


def test_reset_and_encoding_reach_the_run(project, cli):
    common = ("report", "nets.py:build", "--data", "data.npz", "-T", 8)
    assert cli(*common, "--reset", "value", "--out", "hard").code == 0
    hard = record(project / "hard")[1]
    assert hard["conversion"]["reset"] == "value"
    of_soft = {"model.first_layer_rate", "model.layer_identity", "model.rate_error_explained"}
    assert set(REQUIRED) - set(hard["required"]) == of_soft
    for seed in (0, 0, 1):
        assert cli(*common, "--encoding", "poisson", "--seed", seed, "--out", f"p{seed}").code == 0
        whole, found = record(project / f"p{seed}")
        assert set(REQUIRED) - set(found["required"]) == {"model.first_layer_rate"}
        assert whole["provenance"]["encoding"] == "poisson"
    assert cli(*common, "--out", "constant").code == 0
    spikes = {n: (project / n / "tables" / "operations.csv").read_text() for n in ("p0", "p1", "constant")}
    assert len(set(spikes.values())) == 3


def test_quick(project, cli):
    x = np.random.default_rng(0).uniform(size=(400, 4))
    np.savez("many.npz", x=x, y=np.zeros(400, int))
    assert cli("report", "nets.py:build", "--data", "many.npz", "--quick", "--out", "r").code == 0
    whole, found = record(project / "r")
    assert [(row["T"], row["n"]) for row in found["paired"]] == [(4, 256), (8, 256), (16, 256)]
    assert whole["provenance"]["quick"] == "True"


# --- verdicts as exit codes


@pytest.mark.parametrize(
    ("data", "options", "code", "verdict"),
    [
        ("data.npz", FAST, 0, "PASS"),
        ("data.npz", ("-T", 1), 1, "FAIL"),  # a spike or none for each unit: half of the samples are lost
        ("few.npz", ("-T", 64), 3, "INCONCLUSIVE"),  # 30 samples without a loss: the bound is 9.5 points
    ],
)
def test_gate_of_a_report(project, cli, data, options, code, verdict):
    common = ("report", "nets.py:build", "--data", data, "--calibration", "calibration.npz", *options)
    done = cli(*common, "--out", "r", "--gate")
    assert (done.code, last_line(done.out)) == (code, f"verdict: {verdict} nets.build")
    again = cli("gate", "r")
    assert (again.code, last_line(again.out)) == (code, f"verdict: {verdict} nets.build")
    for name in ("accuracy drop", *REQUIRED):
        assert f"build: {name}" in again.out
    assert cli(*common, "--out", "r").code == 0  # written is done; the verdict is the exit code only by --gate


def test_gate_of_a_written_report_by_other_rules(project, cli):
    cli("report", "nets.py:build", "--data", "data.npz", "--calibration", "calibration.npz", "-T", 1, 32, "--out", "r")
    assert cli("gate", "r", "--max-drop", 5).code == 0
    assert cli("gate", "r", "--max-drop", 1).code == 3
    assert cli("gate", "r", "--gate-t", 1).code == 1
    not_measured = cli("gate", "r", "--gate-t", 2)
    assert (not_measured.code, not_measured.out) == (2, "")
    assert "measured at T = 1, 32" in not_measured.err
    whole, found = record(project / "r")
    found["findings"] = [f for f in found["findings"] if f["check"] != "model.agreement"]
    (project / "r" / "report.json").write_text(json.dumps(whole))
    shortened = cli("gate", "r", "--max-drop", 5)
    assert shortened.code == 2
    assert "NO EVIDENCE  nets.build: model.agreement" in shortened.out


# --- the other commands


def test_list_names_every_check_with_claim_and_source(cli):
    out = cli("list").out
    assert [c.name for c in select() if f"{c.name}\n" not in out] == []
    one = cli("list", "dynamics.charge_balance").out
    assert one.splitlines()[0] == "dynamics.charge_balance"
    assert "[Rueckauer" in one


MODELS = """
from torch import nn
def gelu(): return nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)).eval()
def pool(): return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)).eval()
def padded():
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
    net[0].running_mean.fill_(1.0)
    return net.eval()
def ends_well(): return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3)).eval()
"""


@pytest.mark.parametrize(
    ("name", "shape", "row"),
    [("gelu", [4], "1 GELU unsupported"), ("pool", [1, 8, 8], "2 MaxPool2d unsupported"),
     ("padded", [1, 8, 8], "0 BatchNorm2d unsupported"), ("ends_well", [4], "2 Dropout exact")],
)  # fmt: skip
def test_analyze_tells_before_any_conversion(project, cli, name, shape, row):
    (project / "models.py").write_text(MODELS)
    done = cli("analyze", f"models.py:{name}", "--input-shape", *shape)
    assert done.code == (1 if "unsupported" in row else 0)
    rows = [" ".join(line.split()) for line in done.out.splitlines()]
    assert any(line.startswith(row) for line in rows), done.out
    table = rows[: next(i for i, line in enumerate(rows) if re.match(r"\d+ (exact|unsupported|approximate)\b", line))]
    assert sum(" unsupported " in f"{line} " for line in table) == done.code  # the others are not blamed


def test_analyze_of_an_embedded_model(cli):
    done = cli("analyze", "digits_cnn")
    assert done.code == 0
    assert "8 exact, 2 approximate" in done.out.splitlines()


def test_train_default_makes_the_shipped_weights_again(project, cli):
    done = cli("train-default", "--out", "a new/folder")
    assert sorted(p.name for p in (project / "a new" / "folder").iterdir()) == [
        "digits_cnn.safetensors", "digits_mlp.safetensors", "provenance.json",
    ]  # fmt: skip
    lines = done.out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["digits_cnn", "digits_mlp"]
    same = all(" equals the shipped " in line for line in lines)
    assert done.code == (0 if same else 1)
    assert same or all(": " in line.split("shipped")[1] for line in lines if "differs" in line)  # it says why not


def test_mutants(tmp_path):
    """One bug: the package itself passes, and the check that is made for it notices."""
    command = [sys.executable, "-m", "snnverify.cli", "mutants", "gate-takes-smallest-t", "--examples", "1", "--all"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (0, "killed 1/1"), done.stdout
    (said,) = (line for line in lines if line.startswith("gate-takes-smallest-t: "))
    assert "statistics.judged_at_largest" in said


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        face.main(["--version"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, f"snnverify {snnverify.__version__}\n")
