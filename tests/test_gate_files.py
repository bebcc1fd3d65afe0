"""The verdict's files as others read them, the baseline's, and the gate as a user calls it."""

from __future__ import annotations

import builtins
import csv
import io
import json
import math
from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import junitparser
import numpy as np
import pandas as pd
import pytest
from report_runs import assessment, passes, run_of

from snnverify.errors import ConfigError, EvidenceError
from snnverify.gate import Evidence, Outcomes, Requirement, Verdict, policy, release
from snnverify.gate import baseline as base
from snnverify.gate.outcomes import from_tree, to_tree
from snnverify.report import verdicts, write
from snnverify.schema import breaches

ODD = 'net <1> & "co" \x00|é'
JUDGED = [
    (ODD, Verdict("FAIL", (Requirement("accuracy drop", "PASS", "fine", 0.5, 0.75, 1.0, "points", 400),
                           Requirement("model.x", "FAIL", "it is <b>broken</b> | so"),
                           Requirement("floor", "INCONCLUSIVE", "few", 90.0, 80.0, 85.0, "%", 20, 29)))),
    ("second", Verdict("NO EVIDENCE", (Requirement("model.y", "NO EVIDENCE", "absent", bound=math.inf),))),
]  # fmt: skip
SAID = {"report": "r", "command": "snnverify report", "seed": 0}


def test_junit_as_a_parser_of_others_reads_it():
    root = junitparser.JUnitXml.fromstring(verdicts.as_junit(JUDGED, SAID).decode())
    assert (root.tests, root.failures, root.errors, root.skipped) == (4, 2, 1, 0)
    suites = list(root)
    assert [(s.name, s.tests, s.failures, s.errors) for s in suites] == [
        ('net <1> & "co" |é', 3, 2, 0), ("second", 1, 0, 1),
    ]  # fmt: skip
    cases = {c.name: c for s in suites for c in s}
    assert cases["accuracy drop"].is_passed
    (failed,), (few,), (absent,) = (cases[k].result for k in ("model.x", "floor", "model.y"))
    assert (type(failed), failed.type, failed.message) == (
        junitparser.Failure, "FAIL", "FAIL: it is <b>broken</b> | so",
    )  # fmt: skip
    assert (type(few), few.type) == (junitparser.Failure, "INCONCLUSIVE")
    assert (type(absent), absent.type) == (junitparser.Error, "NO EVIDENCE")
    assert {p.name: p.value for p in suites[0].properties()}["command"] == "snnverify report"
    totals = junitparser.JUnitXml.fromstring(verdicts.as_junit(JUDGED, SAID).decode())
    totals.update_statistics()  # counted anew from the cases
    assert (totals.tests, totals.failures, totals.errors) == (4, 2, 1)


def test_junit_has_the_shape_of_pytests_own(pytester):
    """Every element and attribute that ours has, pytest's has too, so that what reads one reads the other."""
    pytester.makepyfile("def test_a(): pass\ndef test_b(record_property):\n    record_property('a', 1)\n    assert False\n"
                        "import pytest\n@pytest.fixture\ndef broken(): raise ValueError\ndef test_c(broken): pass\n"
                        "def test_d(): print('x')")  # fmt: skip
    pytester.runpytest_inprocess("--junit-xml=theirs.xml", "-o", "junit_logging=system-out", "-p", "no:snnverify")
    theirs = {(e.tag, k) for e in ElementTree.parse(pytester.path / "theirs.xml").iter() for k in e.attrib}
    ours = {(e.tag, k) for e in ElementTree.fromstring(verdicts.as_junit(JUDGED, SAID)).iter() for k in e.attrib}
    # a summary of all suites and the kind of a failure are in the format, but pytest does not write them
    assert ours - theirs <= {("testsuites", k) for k in ("tests", "failures", "errors", "skipped", "time")} | {
        ("failure", "type"), ("error", "type"),
    }  # fmt: skip


def test_json_keeps_its_published_schema():
    tree = json.loads(verdicts.as_json(JUDGED, SAID))
    assert list(breaches(tree, verdicts.schema(), "verdict")) == []
    assert (tree["outcome"], tree["exit_code"]) == ("FAIL", 1)
    assert tree["models"][0]["requirements"][2]["needed"] == 29
    assert tree["models"][1]["requirements"][0]["bound"] == "inf"
    assert json.loads(verdicts.as_json([], SAID))["outcome"] == "NO EVIDENCE"
    del tree["models"][0]["requirements"][0]["limit"]
    assert len(list(breaches(tree, verdicts.schema(), "verdict"))) == 1


def test_csv_and_parquet_hold_the_same_rows():
    rows = list(csv.DictReader(io.StringIO(verdicts.as_csv(JUDGED, SAID))))
    assert [(r["model"], r["requirement"], r["outcome"], r["needed"]) for r in rows] == [
        (ODD, "accuracy drop", "PASS", ""), (ODD, "model.x", "FAIL", ""), (ODD, "floor", "INCONCLUSIVE", "29"),
        ("second", "model.y", "NO EVIDENCE", ""),
    ]  # fmt: skip
    frame = pd.read_parquet(io.BytesIO(verdicts.as_parquet(JUDGED, SAID)))
    assert frame.columns.tolist() == list(rows[0])
    assert frame["requirement"].tolist() == [r["requirement"] for r in rows]
    assert frame["model"].tolist() == [r["model"] for r in rows]
    assert frame["bound"].tolist()[0] == 0.75
    assert np.isinf(frame["bound"].tolist()[3])
    assert frame["samples"].dropna().tolist() == [400, 20]


def test_parquet_without_its_library_names_the_remedy(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'snnverify\[parquet\]', or write --csv"):
        verdicts.as_parquet(JUDGED, SAID)


def test_markdown_tells_first_what_stops_the_release():
    lines = verdicts.markdown(JUDGED, SAID).splitlines()
    assert lines[0].endswith("snnverify gate: FAIL")
    rows = [line for line in lines if line.startswith("| ") and "outcome" not in line]
    assert ["FAIL" in rows[0], "INCONCLUSIVE" in rows[1], "PASS" in rows[2], "NO EVIDENCE" in rows[3]] == [True] * 4
    assert r"it is \<b\>broken\</b\> \| so" in rows[0]


# --- the last release


def release_of(b=0, n=400, name="net", data="d", steps=(4, 8), synops=None, macs=0):
    labels = np.arange(n) % 3
    snn = labels.copy()
    snn[:b] = (labels[:b] + 1) % 3
    o = Outcomes(steps, labels, labels, np.stack([snn] * len(steps)))
    counts = {k: None if v is None else Fraction(v) for k, v in (("synops", synops), ("macs", macs))}
    return Evidence(name, {t: o.paired(t) for t in steps}, outcomes=o, data=data, **counts, ann="a", snn="s")


def against(new, old, **raw):
    kept = base.parse(base.to_text([old], {"seed": 0}), "last.json")
    asked = policy({"max_drop": "100 points", "max_regression": "5 points", **raw})
    return release(new, asked, (), kept).requirements[1:]


def test_no_worse_than_the_last_release():
    (same,) = against(release_of(40), release_of(40))
    assert (same.outcome, same.value, same.samples) == ("PASS", 0.0, 400)  # it is as bad as that one was
    (worse,) = against(release_of(65), release_of(40))  # 25 of 400: 6.25 points
    assert (worse.outcome, worse.value) == ("FAIL", 6.25)
    assert "only the last release right 25, only this one right 0" in worse.detail
    (near,) = against(release_of(58), release_of(40))
    assert (near.outcome, near.needed is not None) == ("INCONCLUSIVE", True)
    (default,) = against(release_of(40), release_of(40), max_regression="1 % relative")
    assert default.unit == "% relative"


@pytest.mark.parametrize(
    ("old", "said"),
    [
        (release_of(data="e"), "its samples are others (data digest e, here d)"),
        (release_of(name="mlp"), "it holds no model 'net'"),
        (release_of(steps=(2, 4)), "it was measured at T = 2, 4, not at 8"),
        (release_of(n=399), "its labels are others, although the digest of the data is the same"),
    ],
)
def test_what_does_not_match_is_no_evidence(old, said):
    (found,) = against(release_of(), old)
    assert (found.outcome, said in found.detail) == ("NO EVIDENCE", True), found.detail
    assert "\n" not in found.detail


def test_growth_of_operations():
    for new, outcome in ((1050, "PASS"), (1051, "FAIL"), (500, "PASS"), (None, "NO EVIDENCE")):
        assert grown(synops=new) == outcome


def grown(old=(), **new):
    """Outcome of a release against one of 1,000 synaptic operations and 100 MACs, both at T = 8."""
    last = {"synops": 1000, "macs": 100, **dict(old)}
    return against(release_of(**{**last, **new}), release_of(**last), max_synops_growth="5 %", baseline="b")[1].outcome


def test_operations_that_became_macs_have_grown():
    """A first layer that is fed constant values in the place of spikes saves synaptic operations and pays MACs."""
    assert grown(synops=10, macs=105) == "PASS"
    assert grown(synops=10, macs=106) == "FAIL"
    assert grown(synops=10, macs=None) == grown(old={"macs": None}, macs=1) == "NO EVIDENCE"
    assert grown(steps=(4, 8, 16)) == "NO EVIDENCE"  # counted at T = 16, and in the last release at 8


def test_a_missing_last_release_is_no_evidence():
    asked = policy({"max_drop": "100 points", "max_regression": "5 points"})
    verdict = release(release_of(), asked, ())
    assert (verdict.outcome, "--baseline FILE" in verdict.requirements[1].detail) == ("NO EVIDENCE", True)


def test_the_file_survives_and_keeps_its_schema(tmp_path):
    text = base.to_text([release_of(3), release_of(name="other")], {"seed": 0})
    assert list(breaches(json.loads(text), base.schema(), "baseline")) == []
    (tmp_path / "b.json").write_text(text)
    kept = base.read(tmp_path / "b.json")
    assert to_tree(kept.models["net"].outcomes) == to_tree(release_of(3).outcomes)
    with pytest.raises(EvidenceError, match="two models of the report have one name"):
        base.to_text([release_of(), release_of()], {})
    with pytest.raises(EvidenceError, match="write it anew"):
        base.to_text([replace(release_of(), outcomes=None)], {})


def test_a_baseline_that_was_edited_or_damaged_is_refused(tmp_path):
    text = base.to_text([release_of(3)], {"seed": 0})
    tree = json.loads(text)
    tree["models"][0]["outcomes"] = to_tree(release_of(0).outcomes)
    cases = {json.dumps(tree): "its digest does not fit", "{": "no valid JSON", "[]": "schema = None",
             text.replace("baseline/1", "baseline/2"): "schema = 'snnverify.baseline/2'", "[" * 10**5: "no valid JSON",
             json.dumps({k: v for k, v in tree.items() if k != "models"}): "models is missing"}  # fmt: skip
    for broken, said in cases.items():
        with pytest.raises(EvidenceError, match=said) as caught:
            base.parse(broken, "b.json")
        assert str(caught.value).startswith("baseline b.json: ")
    for cut in range(0, len(text) - 2, 97):
        with pytest.raises(EvidenceError):
            base.parse(text[:cut], "b.json")
    with pytest.raises(EvidenceError, match="no such file; write one"):
        base.read(tmp_path / "nowhere.json")
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    with pytest.raises(EvidenceError, match="cannot be read"):
        base.read(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": "!!"}, "labels: damaged"),
        ({"labels": "AAAA"}, "labels: damaged"),
        ({"shape": [401]}, "bytes for shape"),
        ({"shape": [10**9]}, "bytes for shape"),
        ({"shape": []}, "holds no outcome"),
        ({"T": []}, "holds no outcome"),
    ],
)
def test_outcomes_are_read_with_suspicion(change, said):
    with pytest.raises(EvidenceError, match=said):
        from_tree({**to_tree(release_of().outcomes), **change}, "r")


def test_a_few_bytes_that_stand_for_gigabytes_are_not_inflated():
    import base64
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(10**8), 9)).decode()
    with pytest.raises(EvidenceError, match="1601 bytes for shape"):
        from_tree({**to_tree(release_of().outcomes), "labels": bomb}, "r")


# --- as a user calls it


@pytest.fixture
def folder(tmp_path, monkeypatch, unpainted):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write(run_of(of_data()), tmp_path / "r")
    return tmp_path


def of_data(**how):
    return replace(assessment(**how), facts={"data digest": "d" * 64})


def test_all_files_and_the_job_summary(folder, cli, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "step.md"))
    (folder / "step.md").write_text("before\n")
    (folder / "out").mkdir()
    files = [part for form in ("json", "junit", "csv", "parquet") for part in (f"--{form}", f"out/v.{form}")]
    done = cli("gate", "r", *files)
    assert done.code == 0
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["v.csv", "v.json", "v.junit", "v.parquet"]
    assert json.loads((folder / "out" / "v.json").read_text())["outcome"] == "PASS"
    assert (folder / "step.md").read_text().startswith("before\n## ")
    cli("gate", "r", "--summary", "mine.md")
    assert (folder / "mine.md").read_text().startswith("## ")
    assert (folder / "step.md").read_text().count("## ✅ snnverify gate") == 1  # a file of one's own in its place


def test_a_table_of_the_project_is_followed(folder, cli):
    (folder / "pyproject.toml").write_text('[tool.snnverify.gate]\nmax_drop = "0.5 points"\nmin_agreement = "90 %"\n')
    done = cli("gate", "r")  # no drop on 400 samples: the bound is 0.75 points
    assert (done.code, "INCONCLUSIVE net: accuracy drop" in done.out) == (3, True)
    assert "PASS         net: agreement" in done.out
    assert cli("gate", "r", "--max-drop", "1").code == 0
    assert cli("gate", "r", "--max-drop", "1 points", "--set", "min_samples=401").code == 3
    assert cli("gate", "r", "--set", "max_drop=1 points", "--set", "firing_rate=[0.3, 0.5]").code == 1  # all are 0.25


def test_a_report_is_judged_again_by_its_own_table(tmp_path, monkeypatch, unpainted, cli):
    monkeypatch.chdir(tmp_path)
    write(run_of(replace(assessment(), asked={"max_drop": "1 points", "max_class_drop": "1 points"})), tmp_path / "r")
    done = cli("gate", "r")
    assert (done.code, "INCONCLUSIVE net: drop of class 0" in done.out) == (3, True)  # 200 samples: 1.5 points


def test_the_last_release_as_a_user_keeps_it(folder, cli):
    (folder / "kept").mkdir()
    assert cli("baseline", "r", "--out", "kept/last.json").code == 0
    done = cli("gate", "r", "--baseline", "kept/last.json")
    assert (done.code, "PASS         net: no worse than the last release" in done.out) == (0, True)
    (folder / "pyproject.toml").write_text('[tool.snnverify.gate]\nbaseline = "kept/last.json"\n')
    assert "no worse than the last release" in cli("gate", "r").out
    missing = cli("gate", "r", "--baseline", "nowhere.json")
    assert (missing.code, missing.out, "no such file; write one" in missing.err) == (2, "", True)
    write(run_of(of_data(name="another")), folder / "other")
    done = cli("gate", "other")
    assert (done.code, "it holds no model 'another'" in done.out) == (2, True)


def test_a_report_of_an_earlier_version_has_no_outcomes(folder, cli):
    tree = json.loads((folder / "r" / "report.json").read_text())
    for a in tree["assessments"]:
        for key in ("outcomes", "rates", "synops_per_sample", "energy", "policy"):
            del a[key]
    (folder / "r" / "report.json").write_text(json.dumps(tree))
    assert cli("gate", "r").code == 0
    for setting in ("max_class_drop='1 points'", "min_agreement='1 %'", "firing_rate=[0, 1]", "max_synops=9"):
        done = cli("gate", "r", "--set", setting)
        assert (done.code, "write it anew" in done.out) == (2, True)
    assert cli("baseline", "r", "--out", "b.json").code == 2
    assert not (folder / "b.json").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("gate",), "which report?"),
        (("gate", "r", "--error-rates"), "of no report"),
        (("gate", "r", "--plot", "p.png"), "goes with --error-rates"),
        (("gate", "r", "--set", "max_drp=1"), "did you mean 'max_drop'?"),
        (("gate", "r", "--set", "max_energy.lohi='1 uJ'"), "did you mean 'loihi'?"),
        (("gate", "nowhere"), "no such report"),
        (("gate", "r", "--set", "require_checks=['model.figure']"), "did you mean 'model.figures'?"),
        (("baseline", "nowhere", "--out", "b.json"), "no such report"),
        (("baseline", "r"), "--out"),
    ],
)
def test_one_line_and_nothing_written(folder, cli, command, said):
    done = cli(*command, *(("--json", "v.json") if command[0] == "gate" else ()))
    assert (done.code, len(done.err.splitlines()), done.out) == (2, 1, "")
    assert said in done.err
    assert not (folder / "v.json").exists()


def test_a_requirement_that_the_report_does_not_know(tmp_path, unpainted, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    write(run_of(assessment(findings=passes("net"))), tmp_path / "r")
    done = cli("gate", "r", "--set", "require_checks=['model.figures']", "--set", "require_oracles=['reference']")
    assert done.code == 2
    assert "NO EVIDENCE  net: model.figures" in done.out
    assert "NO EVIDENCE  net: oracle reference" in done.out
