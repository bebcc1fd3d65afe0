import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from report_runs import STEPS, assessment, passes, run_of

from snnverify.errors import ConfigError, EvidenceError
from snnverify.findings import Finding, Measure
from snnverify.report import judge_again, load, render_text, store, write

PASSING = run_of(assessment())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write(PASSING, tmp_path_factory.mktemp("out") / "deep" / "report")


@pytest.fixture
def unpainted(monkeypatch):
    """Figures are made but not drawn, for the tests that do not look at them."""
    monkeypatch.setattr(store, "png", lambda figure: b"")
    monkeypatch.setattr(store, "svg", lambda figure, salt: "<svg></svg>")


def test_folder_and_csv(report):
    assert sorted(p.name for p in report.iterdir()) == ["index.html", "plots", "report.json", "report.md", "tables"]
    assert {p.stem for p in (report / "tables").iterdir()} == {
        "accuracy", "errors", "layers", "classes", "checks", "requirements", "operations", "waterfall", "energy", "curves",
        "provenance",
    }  # fmt: skip
    with (report / "tables" / "accuracy.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert [(r["T"], r["b"], r["c"], float(r["drop_points"])) for r in rows] == [
        ("1", "40", "4", 9),
        ("4", "0", "0", 0),
    ]
    pictures = sorted((report / "plots").iterdir())
    drawn = ("accuracy", "curve", "gate", "layers", "raster", "scatter", "trains")
    assert [p.name for p in pictures] == [f"1-net-{n}.png" for n in drawn]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    assert "PASS" in (report / "report.md").read_text()
    assert [p.name for p in report.parent.iterdir()] == ["report"]  # nothing of the making is left


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({}, "PASS"),
        ({"at_last": (40, 4)}, "FAIL"),
        ({"n": 100}, "INCONCLUSIVE"),  # (1 - d)^100 = 5 % gives 2.95 points
        ({"findings": passes("net", without=["model.agreement"])}, "NO EVIDENCE"),
        ({"findings": [*passes("net"), Finding("model.other", "net", "error", "law", "source")]}, "FAIL"),
    ],
)
def test_round_trip(tmp_path, options, outcome, unpainted):
    run = run_of(assessment(**options), assessment(name="second"))
    write(run, tmp_path / "r")
    (name, verdict), (_, second) = judge_again(tmp_path / "r")
    assert (name, verdict.outcome, second.outcome) == ("net", outcome, "PASS")
    assert verdict == run.assessments[0].verdict
    stored = load(tmp_path / "r" / "report.json")[0]
    assert stored.paired == {t: run.assessments[0].model.fidelity.paired(t) for t in STEPS}
    assert stored.margin == Fraction(1, 100)
    assert stored.findings == run.assessments[0].findings
    html = (tmp_path / "r" / "index.html").read_text()
    assert html.count(f'class="outcome">{outcome}<') >= 1
    assert render_text(run).splitlines()[-1] == f"{outcome}: {'' if outcome == 'PASS' else '1 of '}2 models"


def test_judged_at_another_t_and_margin(report):
    assert judge_again(report, at=1)[0][1].outcome == "FAIL"  # 9 points
    assert judge_again(report, at=1, max_drop="15")[0][1].outcome == "PASS"
    assert judge_again(report, max_drop=0.5)[0][1].outcome == "INCONCLUSIVE"  # bound 0.75
    with pytest.raises(EvidenceError, match="gate-t = 3"):
        judge_again(report, at=3)


def test_the_stored_verdict_and_list_of_checks_are_not_trusted(tmp_path, unpainted):
    write(run_of(assessment(at_last=(40, 4), findings=passes("net")[1:])), tmp_path / "r")
    path = tmp_path / "r" / "report.json"
    record = json.loads(path.read_text())
    record["verdict"] = record["assessments"][0]["verdict"]["outcome"] = "PASS"
    record["assessments"][0]["required"] = []
    path.write_text(json.dumps(record))
    assert judge_again(path)[0][1].outcome == "FAIL"
    row = record["assessments"][0]["paired"][1]
    row["b"], row["c"], row["snn"] = 0, 0, row["ann"]
    path.write_text(json.dumps(record))
    with pytest.raises(EvidenceError, match="outcomes and paired contradict"):
        judge_again(path)
    del record["assessments"][0]["outcomes"]
    path.write_text(json.dumps(record))
    assert judge_again(path)[0][1].outcome == "NO EVIDENCE"


def test_a_hard_reset_is_not_asked_for_laws_of_the_soft_one(report, tmp_path):
    record = json.loads((report / "report.json").read_text())
    a = record["assessments"][0]
    soft = {"model.first_layer_rate", "model.layer_identity", "model.rate_error_explained"}
    a["findings"] = [f for f in a["findings"] if f["check"] not in soft]
    a["required"] = [name for name in a["required"] if name not in soft]
    (tmp_path / "report.json").write_text(json.dumps(record))
    assert judge_again(tmp_path)[0][1].outcome == "NO EVIDENCE"
    a["conversion"]["reset"] = "value"
    (tmp_path / "report.json").write_text(json.dumps(record))
    assert judge_again(tmp_path)[0][1].outcome == "PASS"


def _set(*path):
    *way, last, value = path

    def change(record):
        for key in way:
            record = record[key]
        record[last] = value

    return change


def _drop(*path):
    *way, last = path

    def change(record):
        for key in way:
            record = record[key]
        del record[last]

    return change


A, ROW = ("assessments", 0), ("assessments", 0, "paired", 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("schema", "snnverify.report/2"), "schema = 'snnverify.report/2'"),
        (_drop("schema"), "schema = None"),
        (_set("assessments", []), "no model"),
        (_drop(*A, "findings"), "findings is missing"),
        (_drop(*A, "findings", 0, "outcome"), "outcome is missing"),
        (_set(*A, "findings", 0, "outcome", "fine"), "one of pass"),
        (_set(*A, "findings", 0, "worst", "value", 0.5), "figures were edited"),
        (_set(*A, "findings", 0, "worst", "value", "much"), "worst"),
        (_set(*A, "margin", "0.01"), "margin"),
        (_set(*A, "margin", "1/0"), "margin"),
        (_set(*A, "margin", "-1/100"), "margin"),
        (_set(*ROW, "b", 399), r"b = 399, c = 4.*<= n"),
        (_set(*ROW, "b", 39), "contradict"),  # 390 - 39 + 4 is not 354
        (_set(*ROW, "c", 5), "contradict"),
        (_set(*ROW, "snn", 355), "contradict"),
        (_set(*ROW, "b", 40.0), "of type integer"),
        (_set(*ROW, "b", True), "of type integer"),
        (_set(*ROW, "b", -1), "at least 0"),
        (_set(*ROW, "n", 0), "at least 1"),
        (_set(*ROW, "n", 401), "differ between rows"),
        (_set(*ROW, "T", 4), "contradict"),
    ],
)
def test_edited_records_are_refused(report, tmp_path, change, said):
    record = json.loads((report / "report.json").read_text())
    change(record)
    (tmp_path / "report.json").write_text(json.dumps(record))
    with pytest.raises(EvidenceError, match=said) as caught:
        judge_again(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"schema": "snnverify.report/1"', "[]", "NaN", '{"schema": NaN}', "[" * 100000,
     '{"schema": "snnverify.report/1", "schema": "snnverify.report/1"}'],
)  # fmt: skip
def test_broken_json_is_refused(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(EvidenceError):
        load(tmp_path)


def test_missing_reports_are_refused(tmp_path):
    with pytest.raises(EvidenceError, match="no such report"):
        load(tmp_path / "nowhere")
    with pytest.raises(EvidenceError, match=r"no report\.json"):
        load(tmp_path)
    (tmp_path / "report.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(EvidenceError, match="cannot be read"):
        load(tmp_path)


def test_a_truncated_record_is_refused_at_any_length(report, tmp_path):
    text = (report / "report.json").read_text().rstrip()
    for cut in range(0, len(text), 397):
        (tmp_path / "report.json").write_text(text[:cut])
        with pytest.raises(EvidenceError):
            load(tmp_path)


def test_numbers_that_json_lacks_survive(tmp_path, unpainted):
    odd = [Finding("model.odd", "net", "fail", "law", "source", 1, Measure("gap", v, 1.0))
           for v in (float("nan"), float("inf"))]  # fmt: skip
    write(run_of(assessment(findings=[*passes("net"), *odd])), tmp_path / "r")
    values = [f.worst.value for f in load(tmp_path / "r")[0].findings if f.check == "model.odd"]
    assert np.isnan(values[0])
    assert values[1] == float("inf")


def test_a_report_is_replaced_and_nothing_else_is(tmp_path, unpainted):
    out = tmp_path / "r"
    out.mkdir()
    write(PASSING, out)  # an empty folder holds nothing to lose
    (out / "index.html").write_text("old")
    write(PASSING, out)
    assert "PASS" in (out / "index.html").read_text()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        write(PASSING, out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "report.json").write_text('{"schema": "somebody.else/1"}')
    with pytest.raises(ConfigError, match="something else"):
        write(PASSING, other)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="it is a file"):
        write(PASSING, tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "other", "r"]
    assert (out / "thesis.tex").read_text() == "mine"


def test_an_interrupt_leaves_the_old_report_and_no_litter(tmp_path, monkeypatch, unpainted):
    out = write(PASSING, tmp_path / "r")
    (out / "report.md").write_text("old")

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setitem(store.PLOTS, "layers", interrupted)
    for target in (out, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            write(PASSING, target)
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
    assert (out / "report.md").read_text() == "old"


def test_the_old_report_comes_back_when_the_last_step_fails(tmp_path, monkeypatch, unpainted):
    out = write(PASSING, tmp_path / "r")
    (out / "report.md").write_text("old")
    rename = Path.rename

    def failing(self, target):
        if self.name == "new":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ConfigError, match="Permission denied"):
        write(PASSING, out)
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
    assert (out / "report.md").read_text() == "old"
