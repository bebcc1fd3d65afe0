"""What a release must keep, one limit at a time: outcomes worked out by hand, and sentences with their figures."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from snnverify.errors import EvidenceError
from snnverify.findings import Finding
from snnverify.gate import Evidence, Outcomes, bounds, policy, release
from snnverify.gate.verdict import apart
from snnverify.stats import Paired, exact_upper


def evidence(n=1000, b=0, c=0, **more):
    """n samples of class 0: b only the ANN gets right, c only the SNN; all the same at T = 4."""
    labels = np.zeros(n, int)
    ann, snn = labels.copy(), labels.copy()
    snn[:b], ann[b : b + c] = 1, 1
    o = Outcomes((4, 8), labels, ann, np.stack([snn, snn]))
    return Evidence("net", {t: o.paired(t) for t in o.steps}, outcomes=o, data="d", **more)


def judged(e, **raw):
    return release(e, policy({"max_drop": "100 points", **raw}), required=()).requirements


def one(e, name, **raw):
    (found,) = (r for r in judged(e, **raw) if r.name == name)
    return found


def test_a_relative_drop_is_measured_against_the_ann():
    """1,000 samples, ANN right on 500; 5 of these lost: 0.5 points, 1 % of the ANN's accuracy."""
    e = evidence(1000, 5, 0)
    wrong = np.r_[np.zeros(500, int), np.ones(500, int)]
    ann, snn = wrong.copy(), wrong.copy()
    snn[:5] = 1
    e = replace(e, outcomes=Outcomes((8,), np.zeros(1000, int), ann, snn[None]), paired={8: Paired(1000, 5, 0)})
    found = one(e, "accuracy drop", max_drop="0.99 % relative")
    assert (found.outcome, found.value, found.unit) == ("FAIL", 1.0, "% relative")
    assert one(e, "accuracy drop", max_drop="1 % relative").outcome == "INCONCLUSIVE"  # not over it
    wide = one(e, "accuracy drop", max_drop="5 % relative")
    assert wide.outcome == "PASS"
    # at most what the exact bound of 1.05 points (5 of 1,000, Clopper and Pearson) gives over an accuracy of 45 %
    assert 1.0 < wide.bound < 100 * 0.0122 / 0.45


def test_a_relative_drop_needs_the_answers():
    found = one(replace(evidence(), outcomes=None), "accuracy drop", max_drop="1 % relative")
    assert (found.outcome, "write it anew" in found.detail) == ("NO EVIDENCE", True)


def test_limits_of_several_t_are_each_judged():
    e = evidence(1000, 30)
    found = {r.name: r.outcome for r in judged(e, max_drop_at={"4": "1 points", "8": "10 points"})}
    assert found == {"accuracy drop": "PASS", "accuracy drop at T = 4": "FAIL", "accuracy drop at T = 8": "PASS"}
    with pytest.raises(EvidenceError, match="max_drop_at = 16: measured at T = 4, 8"):
        judged(e, max_drop_at={"16": "1 points"})


def test_classes_are_judged_one_by_one():
    """Class 1 loses 20 of 100, class 0 nothing of 100: the whole loses 10 points."""
    labels = np.repeat([0, 1], 100)
    snn = labels.copy()
    snn[100:120] = 0
    o = Outcomes((8,), labels, labels, snn[None])
    e = Evidence("net", {8: o.paired(8)}, outcomes=o)
    found = {r.name: r for r in judged(e, max_class_drop="10 points", min_class_accuracy="70 %", min_agreement="85 %")}
    assert {k: r.outcome for k, r in found.items()} == {
        "accuracy drop": "PASS", "drop of class 0": "PASS", "drop of class 1": "FAIL", "accuracy of class 0": "PASS",
        "accuracy of class 1": "PASS", "agreement": "PASS",
    }  # fmt: skip
    assert found["accuracy of class 0"].bound == pytest.approx(100 * 0.05 ** (1 / 100))  # k = n: alpha^(1/n)
    assert found["accuracy of class 1"].value == 80
    assert found["agreement"].value == 90
    assert one(e, "accuracy of class 1", min_class_accuracy="80 %").outcome == "INCONCLUSIVE"
    assert one(e, "accuracy of class 1", min_class_accuracy="80.1 %").outcome == "FAIL"


def test_the_number_that_would_decide_a_floor():
    """Without an error ``0.9^n <= 0.05`` decides a floor of 90 %: n = 29 (0.9^28 = 0.0523)."""
    found = one(evidence(20), "accuracy of class 0", min_class_accuracy="90 %")
    assert (found.outcome, found.needed) == ("INCONCLUSIVE", 29)
    assert "about 29 samples" in found.detail
    at = one(evidence(20, 2), "accuracy of class 0", min_class_accuracy="90 %")
    assert (at.outcome, at.needed) == ("INCONCLUSIVE", None)
    assert "no number of samples" in at.detail


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975, 0.99])
def test_confidence_is_obeyed(confidence):
    """No drop on n samples: the bound is `exact_upper`'s, at or above ``1 - alpha^(1/n)``."""
    found = one(evidence(200), "accuracy drop", max_drop="50 points", confidence=confidence)
    assert found.bound == 100 * exact_upper(Paired(200, 0, 0), float(1 - Decimal(str(confidence))))
    assert found.bound >= 100 * (1 - (1 - confidence) ** (1 / 200))
    assert f"upper {100 * confidence:g} % bound" in found.detail


def test_too_few_samples_never_pass():
    found = judged(evidence(50), min_samples=51)
    assert [(r.name, r.outcome, r.needed) for r in found[:1]] == [("samples", "INCONCLUSIVE", 51)]
    assert "samples" not in [r.name for r in judged(evidence(50), min_samples=50)]


@pytest.mark.parametrize(
    ("rates", "outcome", "said"),
    [
        ({"a": 0.1, "b": 0.15}, "PASS", "nearest to an end: a 0.1"),
        ({"a": 0.1, "b": 0.3}, "FAIL", "outside in 1 of 2 layers: b 0.3"),
        ({"a": 0.01, "b": 0.2}, "FAIL", "a 0.01"),
        ({}, "NO EVIDENCE", "no firing rate"),
        (None, "NO EVIDENCE", "no firing rate"),
    ],
)
def test_rates(rates, outcome, said):
    found = one(evidence(rates=rates), "firing rate", firing_rate=[0.05, 0.25])
    assert (found.outcome, said in found.detail) == (outcome, True)


@pytest.mark.parametrize(
    ("synops", "macs", "outcome"),
    [
        (100, 0, "PASS"),
        (Fraction(201, 2), 0, "FAIL"),
        (None, 0, "NO EVIDENCE"),
        (100, 5, "NO EVIDENCE"),  # what goes over analog connections is no synaptic operation, and not limited
        (100, None, "NO EVIDENCE"),
        (101, 5, "FAIL"),
    ],
)
def test_operations(synops, macs, outcome):
    e = evidence(synops=None if synops is None else Fraction(synops), macs=None if macs is None else Fraction(macs))
    assert one(e, "synaptic operations", max_synops=100).outcome == outcome


def test_macs_have_a_limit_of_their_own():
    e = evidence(synops=Fraction(100), macs=Fraction(5))
    assert "5.0 MACs per sample" in one(e, "synaptic operations", max_synops=100).detail
    found = {r.name: r.outcome for r in judged(e, max_synops=100, max_macs=5)}
    assert (found["synaptic operations"], found["MACs"]) == ("PASS", "PASS")
    found = {r.name: r.outcome for r in judged(e, max_synops=100, max_macs=4)}
    assert (found["synaptic operations"], found["MACs"]) == ("PASS", "FAIL")
    assert one(evidence(synops=Fraction(100)), "MACs", max_macs=4).outcome == "NO EVIDENCE"


def test_an_energy_without_a_price_for_what_occurs_is_no_ceiling():
    asked = {"max_energy": {"loihi": "2 uJ"}}
    unpriced = evidence(energy={"loihi": (1e6, 1e6, "mac, update")})
    found = one(unpriced, "energy by loihi", **asked)
    assert (found.outcome, 'allow_unpriced = ["mac", "update"]' in found.detail) == ("NO EVIDENCE", True), found.detail
    assert one(unpriced, "energy by loihi", allow_unpriced=["mac"], **asked).outcome == "NO EVIDENCE"
    assert one(unpriced, "energy by loihi", allow_unpriced=["mac", "update"], **asked).outcome == "PASS"
    over = evidence(energy={"loihi": (3e6, 3e6, "mac")})  # a price can only add to it
    assert one(over, "energy by loihi", **asked).outcome == "FAIL"


@pytest.mark.parametrize(
    ("value", "limit", "form", "said"),
    [
        (1.0003, 1, ".2f", ("1.0003", "1")),
        (0.99996, 1, ".2f", ("0.99996", "1")),
        (1.0, 1, ".2f", ("1.00", "1")),
        (Fraction(1, 3), Fraction(333, 1000), ".2f", ("0.3333", "0.333")),
        (250_000.04, 250_000, ",.1f", ("250,000.04", "250,000")),
        (0.25000001, 0.25, ".4g", ("0.25000001", "0.25")),
        (-0.0, 0, "+.2f", ("-0.00", "0")),
        (2.5, 0.1234567, ".2f", ("2.50", "0.1234567")),
        (math.inf, 1, ".2f", ("inf", "1")),
    ],
)
def test_a_figure_is_told_apart_from_its_limit(value, limit, form, said):
    assert apart(value, limit, form) == said


def test_a_verdict_is_readable_from_its_figures():
    """100,003 of 10,000,000 samples are 1.00003 points: more than 1, and not 1.00."""
    p = Paired(10_000_000, 100_003, 0)
    found = one(Evidence("net", {8: p}), "accuracy drop", max_drop="1 points")
    assert (found.outcome, "drop 1.00003 points" in found.detail) == ("FAIL", True), found.detail
    rates = evidence(rates={"a": 0.250000004})
    assert "a 0.250000004" in one(rates, "firing rate", firing_rate=[0.05, 0.25]).detail


@pytest.mark.parametrize(
    ("energy", "outcome"),
    [((1e6, 2e6, ""), "PASS"), ((1e6, 2.1e6, ""), "INCONCLUSIVE"), ((2.1e6, 3e6, ""), "FAIL"), (None, "NO EVIDENCE")],
)
def test_energy_is_a_range(energy, outcome):
    e = evidence(energy={} if energy is None else {"loihi": energy})
    found = one(e, "energy by loihi", max_energy={"loihi": "2 uJ"})
    assert found.outcome == outcome
    if outcome == "INCONCLUSIVE":
        assert "which no number of samples changes" in found.detail


def found(outcome, subject="other", cases=3, check="parity.x"):
    return Finding(check, subject, outcome, "claim", "source", cases, message=f"it is {outcome}")


@pytest.mark.parametrize(
    ("findings", "outcome"),
    [
        ((found("pass"),), "PASS"),
        ((found("pass"), found("xfail"), found("unsupported")), "PASS"),  # its known defects do not block
        ((found("pass"), found("fail")), "FAIL"),
        ((found("pass"), found("error")), "FAIL"),
        ((found("pass"), found("unavailable")), "NO EVIDENCE"),
        ((found("pass", cases=0),), "NO EVIDENCE"),
        ((found("xfail"),), "NO EVIDENCE"),
        ((found("pass", subject="another"),), "NO EVIDENCE"),
        ((), "NO EVIDENCE"),
    ],
)
def test_a_required_oracle(findings, outcome):
    e = evidence(findings=findings)
    assert one(e, "oracle other", require_oracles=["other"]).outcome == outcome


def test_a_defect_of_another_oracle_is_not_the_models():
    e = evidence(findings=(found("fail"),))
    assert release(e, policy({"max_drop": "50 points"}), ()).outcome == "FAIL"  # nobody has said that it is foreign
    names = [r.name for r in judged(e, require_oracles=["other"])]
    assert names == ["accuracy drop", "oracle other"]


def regression(n=400, off=0.0, at=0.1):
    """One output; the ANN errs by `at` everywhere, the SNN by `at` + `off`."""
    targets = np.zeros((n, 1))
    o = Outcomes((8,), targets, targets + at, (targets + at + off)[None])
    return Evidence("net", {}, outcomes=o, data="d")


def test_the_bernstein_bound_by_hand():
    """No variance, mean 0, range [-1, 1], n = 400: 7 * 2 * ln(40) / (3 * 399)."""
    assert bounds.mean_upper(np.zeros(400), 1.0, 0.05) == pytest.approx(14 * math.log(40) / 1197)
    half = np.tile([0.0, 0.2], 200)  # variance 0.01 * 400 / 399
    expected = 0.1 + math.sqrt(2 * 0.01 * 400 / 399 * math.log(40) / 400) + 14 * math.log(40) / 1197
    assert bounds.mean_upper(half, 1.0, 0.05) == pytest.approx(expected)
    assert bounds.mean_upper(half[:1], 1.0, 0.05) == 1.0


@pytest.mark.parametrize(
    ("e", "raw", "outcome", "said"),
    [
        (regression(), {"max_error_increase": 0.05}, "PASS", "upper 95 % bound 0.04314"),
        (
            regression(),
            {"max_error_increase": 0.04},
            "INCONCLUSIVE",
            "about 432 samples",
        ),  # 14 ln 40 / 0.12 + 1 = 431.4
        (regression(off=0.05), {"max_error_increase": 0.04}, "FAIL", "+0.05"),
        (regression(off=-0.05), {"max_error_increase": 0.0}, "PASS", "-0.05"),
        (regression(at=1.5), {"max_error_increase": 0.05}, "NO EVIDENCE", "over error_cap = 1"),
        (regression(at=0.5, off=0.6), {"max_error_increase": 0.7}, "NO EVIDENCE", "400 samples of the SNN"),
        (regression(), {}, "NO EVIDENCE", "state max_error_increase and error_cap"),
    ],
)
def test_errors(e, raw, outcome, said):
    found = one(e, "error increase", error_cap=1.0, **raw)
    assert (found.outcome, said in found.detail) == (outcome, True), found.detail


@pytest.mark.parametrize("asked", [{"error_cap": 2.0}, {"error_cap": 1, "max_error_increase": 0}])
def test_limits_of_errors_are_refused_where_labels_are_classes(asked):
    with pytest.raises(
        EvidenceError, match=r"(error_cap = 2|max_error_increase = 0): the labels are classes"
    ) as caught:
        judged(evidence(), **asked)
    assert "\n" not in str(caught.value)


def test_squared_errors_and_outputs_are_means():
    targets = np.zeros((2, 2))
    o = Outcomes((8,), targets, np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[[3.0, 0.0], [0.0, 0.0]]]))
    assert o.losses(None, "squared").tolist() == [0.5, 2.0]
    assert o.losses(8, "absolute").tolist() == [1.5, 0.0]


def test_limits_of_classes_do_not_pass_where_targets_are_numbers():
    raw = {"max_error_increase": 0.05, "error_cap": 1, "max_class_drop": "1 points", "min_agreement": "90 %"}
    found = {r.name: r.outcome for r in judged(regression(), **raw)}
    assert found["max_class_drop"] == found["min_agreement"] == "NO EVIDENCE"


def test_nothing_at_all_is_no_evidence():
    with pytest.raises(EvidenceError, match="no accuracy table"):
        release(Evidence("net", {}), policy({"max_drop": "1 points"}), ())
    assert release(evidence(), policy({}), ()).outcome == "NO EVIDENCE"  # a gate that asks for nothing
