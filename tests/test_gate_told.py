"""What the gate's files tell: the limits that were judged by, and the measures of checks."""

import csv
import io
import json
import math
from xml.etree import ElementTree

import pytest
from report_runs import assessment, passes, run_of

from snnverify.cli_gate import FORMS, _gate
from snnverify.findings import Finding, Measure
from snnverify.report import verdicts, write
from snnverify.schema import breaches


@pytest.fixture
def folder(tmp_path, monkeypatch, unpainted):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write(run_of(assessment()), tmp_path / "r")
    return tmp_path


def test_limits_unlike_the_reports_are_told_and_stand_in_the_files(folder, cli):
    assert "limits unlike" not in cli("gate", "r", "--max-drop", "1.0").out  # 1 point, otherwise written
    done = cli("gate", "r", "--max-drop", "2", "--set", "max_drop_at.4=5 points", "--junit", "v.xml")
    first = done.out.splitlines()[0]
    assert first == "limits unlike the report's: max_drop 2 points (there 1 points), max_drop_at.4 5 points (there –)"
    said = {p.get("name"): p.get("value") for p in ElementTree.parse(folder / "v.xml").iter("property")}
    assert (said["max drop"], said["limits unlike the report's"]) == ("2 points", first.partition(": ")[2])


def test_a_check_has_its_measure_and_limit_in_the_files(folder, cli):
    cli("gate", "r", "--csv", "v.csv", "--json", "v.json")
    rows = {r["requirement"]: r for r in csv.DictReader((folder / "v.csv").open())}
    assert (float(rows["model.layer_identity"]["value"]), float(rows["model.layer_identity"]["limit"])) == (1e-7, 1e-6)
    tree = json.loads((folder / "v.json").read_text())
    assert list(breaches(tree, verdicts.schema(), "verdict")) == []
    made = {r["name"]: r for r in tree["models"][0]["requirements"]}["model.layer_identity"]
    assert (made["value"], made["bound"], made["limit"]) == (1e-7, None, 1e-6)


def test_a_measure_without_a_number_is_no_hole_in_report_and_verdict(tmp_path, monkeypatch, unpainted, cli):
    monkeypatch.chdir(tmp_path)
    bad = Finding("model.agreement", "net", "fail", "a law", "its source", 7, Measure("x", math.nan, 1.0))
    write(run_of(assessment(findings=[*passes("net", ("model.agreement",)), bad])), tmp_path / "r")
    assert cli("gate", "r", "--json", "v.json").code == 1
    made = {r["name"]: r for r in json.loads((tmp_path / "v.json").read_text())["models"][0]["requirements"]}
    assert (made["model.agreement"]["value"], made["model.agreement"]["limit"]) == ("nan", 1.0)


def test_the_files_of_the_gate_are_written_though_nobody_reads_what_is_printed(folder, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    given = dict.fromkeys(FORMS) | {"json": folder / "v.json"}
    with pytest.raises(BrokenPipeError):
        _gate(report=folder / "r", gate_t=None, max_drop=None, gate_set=[], baseline=None, summary=None, error_rates=False,
              plot=None, command="gate", **given)  # fmt: skip
    assert json.loads((folder / "v.json").read_text())["outcome"] == "PASS"
