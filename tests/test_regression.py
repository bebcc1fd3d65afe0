"""Models with float targets: read, reported, and judged by their errors."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from snnverify.data import check_labels, load_data
from snnverify.errors import DataError, EvidenceError
from snnverify.report import load

NETS = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2)).eval()

def flat():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = build()
        def forward(self, x):
            return self.body(x)[:, 0]
    return Flat().eval()
"""
TABLE = "[tool.snnverify]\ntimesteps = [4, 32]\n[tool.snnverify.gate]\n"


@pytest.fixture
def project(tmp_path, monkeypatch, isolated, unpainted):
    """A net of two outputs; its targets are its own outputs and 0.125 more in the first: mean absolute error 1/16."""
    import torch

    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    names = {}
    exec(NETS, names)
    x = np.random.default_rng(0).random((600, 3)).astype(np.float32)
    with torch.no_grad():
        y = names["build"]()(torch.tensor(x)).double().numpy()
    y[:, 0] += 0.125
    np.savez("data.npz", x=x[:500], y=y[:500])
    np.savez("calibration.npz", x=x[500:], y=y[500:])
    return tmp_path


RUN = ("report", "nets.py:build", "--data", "data.npz", "--calibration", "calibration.npz", "--out", "r")


def test_a_report_of_errors_and_its_gate(project, cli):
    (project / "pyproject.toml").write_text(TABLE + "max_error_increase = 0.5\nerror_cap = 2\n")
    done = cli(*RUN, "--gate")
    assert (done.code, done.out.strip().splitlines()[-1]) == (0, "verdict: PASS nets.build")
    assert "Errors over T" in done.out
    assert "Accuracy over T" not in done.out
    with (project / "r" / "tables" / "errors.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert [r["T"] for r in rows] == ["4", "32"]
    # float32 outputs against float64 targets of the same net
    assert all(float(r["ann_error"]) == pytest.approx(1 / 16, abs=1e-6) for r in rows)
    assert float(rows[0]["distance"]) > float(rows[1]["distance"])  # quantisation: about 1 / T
    (stored,) = load(project / "r")
    assert (stored.paired, stored.evidence.outcomes.regression) == ({}, True)
    assert "Errors over T" in (project / "r" / "index.html").read_text()
    assert "### Errors over T" in (project / "r" / "report.md").read_text()
    for options, code in (
        ((), 0), (("--set", "max_error_increase=0.00001"), 1), (("--set", "max_error_increase=0.01"), 3),
        (("--set", "error_cap=0.01"), 2),
        (("--set", "error=squared"), 0), (("--gate-t", 4), 0), (("--set", "min_samples=501"), 3),
        (("--set", "min_agreement=1 %"), 2),
    ):  # fmt: skip
        assert cli("gate", "r", *options).code == code, options


def test_without_limits_there_is_no_evidence_but_a_report(project, cli):
    done = cli(*RUN, "-T", 8)
    assert done.code == 0
    assert "state max_error_increase and error_cap" in " ".join(done.out.split())
    assert cli("gate", "r").code == 2


def test_no_worse_than_the_last_release(project, cli):
    (project / "pyproject.toml").write_text(TABLE + "max_error_increase = 0.5\nerror_cap = 2\n")
    cli(*RUN)
    assert cli("baseline", "r", "--out", "last.json").code == 0
    cli(*RUN[:-1], "worse", "-T", "32", "--mode", "0.3")  # thresholds at 30 % of the maximum: what is above is clipped
    good = cli("gate", "r", "--baseline", "last.json", "--set", "max_regression=0.1")
    assert (good.code, "no worse than the last release: mean absolute error" in good.out) == (0, True)
    worse = cli("gate", "worse", "--baseline", "last.json", "--set", "max_regression=0.0001")
    assert (worse.code, "FAIL         nets.build: no worse than the last release" in worse.out) == (1, True)
    points = cli("gate", "r", "--baseline", "last.json", "--set", "max_regression=1 points")
    assert (points.code, "as an increase of the mean error" in points.out) == (2, True)


def test_laws_of_classifiers_are_not_asked_for_and_the_others_are(project, cli):
    (project / "pyproject.toml").write_text(TABLE + "max_error_increase = 0.5\nerror_cap = 2\n")
    cli(*RUN)
    path = project / "r" / "report.json"
    tree = json.loads(path.read_text())
    found = tree["assessments"][0]
    assert "model.agreement" not in found["required"]
    found["required"] = []
    found["findings"] = [f for f in found["findings"] if f["check"] != "model.layer_identity"]
    path.write_text(json.dumps(tree))
    done = cli("gate", "r")
    assert (done.code, "NO EVIDENCE  nets.build: model.layer_identity" in done.out) == (2, True)
    found["paired"] = [{"T": 32, "n": 9, "ann": 9, "snn": 9, "b": 0, "c": 0}]
    path.write_text(json.dumps(tree))
    with pytest.raises(EvidenceError, match="contradict each other"):
        load(project / "r")


def test_wrong_targets_are_one_line(project, cli):
    x = np.zeros((20, 3), np.float32)
    for y, said in (
        (np.full((20, 2), np.nan), "targets that are NaN or infinite: 40, the first is y[0, 0] = nan"),
        (np.full((20, 3), 0.5), "y holds 3 targets a sample, the model has 2 outputs"),
        (np.ones(20), "holds whole numbers"),
        (np.eye(20), "one-hot; give integer labels"),
    ):
        np.savez("bad.npz", x=x, y=y)
        done = cli("report", "nets.py:build", "--data", "bad.npz", "--out", "bad")
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert said in done.err
    done = cli("report", "nets.py:flat", "--data", "data.npz", "--out", "bad")
    assert (done.code, "a regression returns [N, outputs]: leave out the squeeze" in done.err) == (2, True)
    assert not (project / "bad").exists()


def test_floats_are_the_targets_of_a_regression(tmp_path):
    for y in (np.array([0.5, 1.0, 2.0]), np.array([[1.0], [2.0], [3.0]]), np.array([[0.5, 1], [2, 3], [4, 5]])):
        np.savez(tmp_path / "d.npz", x=np.ones((3, 2), np.float32), y=y)
        data = load_data(str(tmp_path / "d.npz"))
        assert (data.y.dtype, data.y.shape) == (np.float64, y.reshape(3, -1).shape)
        assert np.array_equal(data.y, y.reshape(3, -1))
    check_labels(data.y, 2)
    with pytest.raises(DataError, match="y holds 2 targets a sample, the model has 3 outputs"):
        check_labels(data.y, 3)
