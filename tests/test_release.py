"""The evidence that is committed for this version: it is this version's, it passes, and a fresh run finds the same."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import junitparser
import pytest
import yaml

import snnverify
from snnverify.config import Settings
from snnverify.gate import baseline
from snnverify.gate.outcomes import to_tree
from snnverify.pipeline import prepare, provenance, subjects
from snnverify.pipeline.release import evidence
from snnverify.report import judge_again, load
from snnverify.report.verdicts import provenance_of
from snnverify.stats import from_predictions, verdict

ROOT = Path(__file__).parents[1]
RELEASE = ROOT / "reports" / "release" / snnverify.__version__
REMEDY = "make it anew: bash reports/release/make.sh"


def test_the_version_is_in_one_place_and_everything_else_follows_it():
    mine = snnverify.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", mine)
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == mine
    assert re.search(rf"^## {re.escape(mine)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert not re.search(r"^version\s*=", (ROOT / "pyproject.toml").read_text(), re.M)


def test_the_evidence_is_whole_small_and_of_this_version():
    names = {str(p.relative_to(RELEASE)) for p in RELEASE.rglob("*") if p.is_file()}
    assert names >= {"report/report.json", "report/report.md", "report/index.html", "gate.xml", "gate.json", "gate.md"}
    assert sum(p.stat().st_size for p in RELEASE.rglob("*")) < 1_500_000
    said = provenance_of(RELEASE / "report")
    assert said["snnverify"] == snnverify.__version__, REMEDY
    assert said["command"] == f"snnverify report --gate --out reports/release/{snnverify.__version__}/report"


def test_the_evidence_passes_and_the_verdicts_beside_it_are_its_own():
    verdicts = judge_again(RELEASE / "report")
    assert [v.outcome for _, v in verdicts] == ["PASS", "PASS"]
    suites = junitparser.JUnitXml.fromfile(str(RELEASE / "gate.xml"))
    assert [len(list(s)) for s in suites] == [len(v.requirements) for _, v in verdicts]
    assert (suites.failures, suites.errors) == (0, 0)
    assert set(baseline.read(RELEASE / "baseline.json").models) == {name for name, _ in verdicts}


@pytest.mark.parametrize("i", [0, 1])
def test_a_fresh_run_finds_the_same(i):
    """Digests of data, ANN and SNN, what both answered to every sample at every T, mean rates and operations: bit for bit on
    processors of one kind. On another one sums are rounded in another order: the data and the ANN are the same, and the SNN
    is no worse than the one that was released, by the bound that the gate has."""
    kept = load(RELEASE / "report")[i].evidence
    subject = list(subjects(Settings()))[i]
    model, facts = prepare(subject, Settings())
    fresh = evidence(model, (), {}, facts["data digest"])
    assert fresh.outcomes.steps == (4, 8, 16, 32, 64)
    if provenance_of(RELEASE / "report")["processor"] == provenance(Settings(), 0.0, False)["processor"]:
        assert replace(fresh, outcomes=None) == replace(kept, findings=(), energy={}, outcomes=None), REMEDY
        assert to_tree(fresh.outcomes) == to_tree(kept.outcomes), REMEDY
    else:
        assert (fresh.data, fresh.ann) == (kept.data, kept.ann), REMEDY
        for released, now in zip(kept.outcomes.snn, fresh.outcomes.snn, strict=True):
            assert verdict(from_predictions(kept.outcomes.labels, released, now), Fraction(1, 100)) == "PASS"
