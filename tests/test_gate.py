"""The gate: precedence, exit codes, names of requirements, and that it fails closed."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from report_runs import assessment, run_of

from snnverify.checks import select
from snnverify.errors import EvidenceError
from snnverify.findings import OUTCOMES, Finding, Measure
from snnverify.gate import EXIT, REQUIRED, judge
from snnverify.report import write
from snnverify.stats import Paired

ONE_POINT = Fraction(1, 100)
# No drop on 10 000 samples; a drop of 50 points; no drop on 20 samples, too few to show less than one point
# (even one-sided, 300 samples without a discordance are needed: 0.99^300 < 0.05).
ACCURACY = {"PASS": Paired(10_000, 0, 0), "FAIL": Paired(100, 50, 0), "INCONCLUSIVE": Paired(20, 0, 0)}
CODES = {"PASS": 0, "FAIL": 1, "NO EVIDENCE": 2, "INCONCLUSIVE": 3}


def found(outcome: str, name: str = "model.x", cases: int = 1, **fields: object) -> Finding:
    return Finding(name, "m", outcome, "claim", "source", cases, **fields)  # type: ignore[arg-type]


def outcome(findings: list[Finding], accuracy: str = "PASS", required: tuple[str, ...] = ("model.x",)) -> str:
    return judge({8: ACCURACY[accuracy]}, ONE_POINT, findings, required).outcome


CHECK = {"PASS": [found("pass")], "FAIL": [found("fail")], "NO EVIDENCE": []}


@pytest.mark.parametrize(("accuracy", "check"), list(product(ACCURACY, CHECK)))
def test_precedence_and_exit_codes(accuracy: str, check: str) -> None:
    verdict = judge({8: ACCURACY[accuracy]}, ONE_POINT, CHECK[check], ("model.x",))
    order = ["FAIL", "NO EVIDENCE", "INCONCLUSIVE", "PASS"]
    expected = min(accuracy, check, key=order.index)
    assert (verdict.outcome, verdict.exit_code) == (expected, CODES[expected])
    assert [(r.name, r.outcome) for r in verdict.requirements] == [("accuracy drop", accuracy), ("model.x", check)]


def test_exit_codes_are_four_and_zero_is_pass_alone() -> None:
    assert EXIT == CODES


REQUIRED_CASES = {
    "pass": ([found("pass")], "PASS"),
    "absent": ([], "NO EVIDENCE"),
    "of another check": ([found("pass", "model.xy")], "NO EVIDENCE"),
    "pass on nothing": ([found("pass", cases=0)], "NO EVIDENCE"),
    "unsupported": ([found("unsupported")], "NO EVIDENCE"),
    "unavailable": ([found("unavailable")], "NO EVIDENCE"),
    "xfail alone": ([found("xfail")], "NO EVIDENCE"),
    "unknown": ([found("passed")], "NO EVIDENCE"),
    "fail": ([found("fail")], "FAIL"),
    "error": ([found("error", cases=0)], "FAIL"),
    "pass and fail": ([found("pass"), found("fail")], "FAIL"),
    "pass and error": ([found("error"), found("pass")], "FAIL"),
    "pass and unsupported": ([found("pass"), found("unsupported")], "NO EVIDENCE"),
    "pass and pass on nothing": ([found("pass"), found("pass", cases=0)], "NO EVIDENCE"),
    "pass and known defect": ([found("pass"), found("xfail")], "PASS"),
    "two passes": ([found("pass"), found("pass")], "PASS"),
}


@pytest.mark.parametrize(("findings", "expected"), REQUIRED_CASES.values(), ids=REQUIRED_CASES)
def test_a_required_check_needs_a_pass_and_nothing_else(findings: list[Finding], expected: str) -> None:
    assert outcome(findings) == expected


@pytest.mark.parametrize("said", OUTCOMES)
def test_a_check_that_is_not_required_blocks_when_it_fails(said: str) -> None:
    extra = found(said, "dynamics.y")
    assert outcome([found("pass"), extra]) == ("FAIL" if said in ("fail", "error") else "PASS")
    verdict = judge({8: ACCURACY["PASS"]}, ONE_POINT, [found("pass"), extra], ("model.x",))
    assert ("dynamics.y" in {r.name for r in verdict.requirements}) == (said in ("fail", "error"))


def test_what_each_requirement_says() -> None:
    broken = found("fail", worst=Measure("residual", 2.0, 1.0, "conv1"))
    crashed = found("error", "model.y", message="ValueError: broken")
    table = {4: Paired(100, 50, 0), 16: Paired(200, 3, 1)}
    verdict = judge(table, ONE_POINT, [broken, crashed, found("unsupported", "model.z", 0)], ("model.z", "model.x"))
    details = {r.name: r.detail for r in verdict.requirements}
    assert list(details) == ["accuracy drop", "model.z", "model.x", "model.y"]
    assert details["model.x"] == "fail: residual at conv1: 2, limit 1"
    assert details["model.y"] == "error: ValueError: broken"
    assert details["model.z"] == "needs a pass; it is unsupported on 0 cases"
    for part in ("drop 1.00 points at T = 16", "n = 200", "only ANN right 3", "only SNN right 1", "limit 1"):
        assert part in details["accuracy drop"]
    absent = judge(table, ONE_POINT, [], ("model.x",)).requirements[1]
    assert (absent.name, absent.detail) == ("model.x", "needs a pass; it is absent")
    undecided = judge({8: ACCURACY["INCONCLUSIVE"]}, ONE_POINT, [], ())
    assert "samples at these rates would decide it" in undecided.requirements[0].detail
    assert undecided.exit_code == 3


def test_the_largest_number_of_steps_is_judged_unless_another_is_named() -> None:
    table = {64: ACCURACY["PASS"], 4: ACCURACY["FAIL"], 16: ACCURACY["INCONCLUSIVE"]}
    expected = {None: "PASS", 64: "PASS", 16: "INCONCLUSIVE", 4: "FAIL"}
    assert {at: judge(table, ONE_POINT, [], (), at).outcome for at in expected} == expected


@pytest.mark.parametrize("at", [0, 8, 128])
def test_a_number_of_steps_that_was_not_measured_is_no_evidence(at: int) -> None:
    table = {64: ACCURACY["PASS"], 4: ACCURACY["PASS"]}
    with pytest.raises(EvidenceError, match=rf"gate-t = {at}: measured at T = 4, 64; choose one of them"):
        judge(table, ONE_POINT, [], (), at)


def test_no_table_is_no_evidence() -> None:
    for at in (None, 8):
        with pytest.raises(EvidenceError, match="there is no accuracy table"):
            judge({}, ONE_POINT, [found("pass")], (), at)


def test_the_margin_is_met_exactly_as_a_fraction() -> None:
    """A drop of 803 - 783 = 20 points in 1000 is not above 2 %, though 0.803 - 0.783 > 0.02 in floats."""
    table = {8: Paired(1000, 20, 0)}
    assert 0.803 - 0.783 > 0.02
    assert judge(table, Fraction(2, 100), [], ()).outcome == "INCONCLUSIVE"
    assert judge(table, Fraction(199, 10_000), [], ()).outcome == "FAIL"


def test_by_default_every_required_check_exists_and_needs_its_pass() -> None:
    assert {c.kind for c in select(*REQUIRED)} == {"model"}
    assert len(select(*REQUIRED)) == len(REQUIRED) == len(set(REQUIRED))
    passed = [found("pass", name) for name in REQUIRED]
    table = {8: ACCURACY["PASS"]}
    assert judge(table, ONE_POINT, passed).outcome == "PASS"
    for i, name in enumerate(REQUIRED):
        verdict = judge(table, ONE_POINT, passed[:i] + passed[i + 1 :])
        assert [r.name for r in verdict.requirements if r.outcome == "NO EVIDENCE"] == [name]
        assert verdict.exit_code == 2


@pytest.mark.parametrize("option", ["--json", "--junit", "--csv", "--summary"])
def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path, cli, option):
    write(run_of(assessment()), tmp_path / "r")
    done = cli("gate", tmp_path / "r", option, tmp_path / "nosuch" / "x")
    assert (done.code, done.err.count("\n"), f"there is no folder {tmp_path / 'nosuch'}" in done.err) == (2, 1, True)
    assert done.out == ""
    again = cli("baseline", tmp_path / "r", "--out", tmp_path / "nosuch" / "last.json")
    assert (again.code, again.err.count("\n"), "there is no folder" in again.err) == (2, 1, True)
    assert not (tmp_path / "nosuch").exists()
