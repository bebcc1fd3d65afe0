"""Laws of the release gate: its error rates by enumeration and by simulation, and that no part hides another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from ..content import Content
from ..findings import Finding, Measure
from ..gate import Evidence, Outcomes
from ..gate.forms import CONFIDENCES
from ..oracles import Oracle
from ..stats import Paired
from . import check

FALSE_ALARM = 1e-9  # probability that a sound gate fails a law that is simulated


def alpha_of(confidence: str) -> float:
    """``1 - confidence``."""
    return float(1 - Fraction(confidence))


@dataclass(frozen=True, eq=False)
class Boundary(Content):
    """A state of affairs in which the limit is just not kept: samples, limit in percent, confidence, a nuisance share."""

    n: int
    limit: int
    confidence: str
    nuisance: float


BOUNDARIES = st.builds(
    Boundary, st.sampled_from([8, 14]), st.sampled_from([20, 40, 60]), st.sampled_from(CONFIDENCES),
    st.integers(0, 40).map(lambda k: k / 100),
)  # fmt: skip


def answers(n: int, b: int, c: int, label: int = 0) -> tuple[Any, Any, Any]:
    """Labels and answers of ANN and SNN to n samples of a class: the first b only the ANN gets right, the next c only the SNN."""
    labels = np.full(n, label)
    ann, snn = labels.copy(), labels.copy()
    snn[:b], ann[b : b + c] = label + 1, label + 1
    return labels, ann, snn


def known(n: int, b: int, c: int) -> Evidence:
    """Evidence of one class at T = 8."""
    labels, ann, snn = answers(n, b, c)
    outcomes = Outcomes((8,), labels, ann, snn[None])
    return Evidence("m", {8: outcomes.paired(8)}, outcomes=outcomes, data="d")


@lru_cache(maxsize=64)
def _most(release: Callable[..., Any], n: int, limit: int, confidence: str) -> tuple[int, ...]:
    """Greatest b that passes, for c = 0, 1, ..., or -1 (`statistics.bound_is_monotone`: no holes)."""
    raw, found, b = {"max_drop": f"{limit} points", "confidence": float(confidence)}, [], -1
    for c in range(n + 1):
        while b + 1 + c <= n and release(known(n, b + 1, c), raw).outcome == "PASS":
            b += 1
        found.append(min(b, n - c))
    return tuple(found)


@check("operators", BOUNDARIES)
def false_passes(d: Boundary, subject: Oracle) -> Iterator[Measure]:
    """At every confidence that is offered, a release whose true drop is the limit passes with a probability of 1 - confidence at most, by enumeration of every paired table [definition of a test's size]."""
    p01 = d.nuisance * (1 - d.limit / 100) / 2
    p10 = p01 + d.limit / 100
    passes = 0.0
    for c, b_max in enumerate(_most(subject.operator("release"), d.n, d.limit, d.confidence)):
        table = np.array([[b, c, d.n - b - c] for b in range(b_max + 1)]).reshape(-1, 3)
        passes += float(stats.multinomial.pmf(table, d.n, (p10, p01, 1 - p10 - p01)).sum()) if len(table) else 0.0
    yield Measure("false passes", passes, alpha_of(d.confidence), where=f"n = {d.n}, limit {d.limit} points")


@lru_cache(maxsize=64)
def _relative(judge: Callable[..., str], n: int, limit: int, confidence: str) -> tuple[tuple[int, int, int], ...]:
    """Tables (b, c, both right) that pass a relative limit."""
    tables = [(b, c, a) for b in range(n + 1) for c in range(n + 1 - b) for a in range(n + 1 - b - c)]
    share, alpha = Fraction(limit, 100), alpha_of(confidence)
    return tuple(t for t in tables if judge(Paired(n, t[0], t[1]), t[0] + t[2], share, alpha) == "PASS")


@check("operators", st.builds(replace, BOUNDARIES, n=st.just(12), limit=st.sampled_from([40, 60])))
def false_passes_of_a_relative_limit(d: Boundary, subject: Oracle) -> Iterator[Measure]:
    """A release whose true drop is the limit's share of the ANN's true accuracy passes with a probability of 1 - confidence at most, whatever that accuracy [Bonferroni; enumeration of every table]."""
    passed = _relative(subject.operator("relative_verdict"), d.n, d.limit, d.confidence)
    tables = np.array(passed).reshape(-1, 3)
    for accuracy in (0.3, 0.7, 1.0):
        p01 = d.nuisance * (1 - accuracy)
        p10 = d.limit / 100 * accuracy + p01
        if p10 > accuracy:
            continue
        p = (p10, p01, accuracy - p10, max(0.0, 1 - accuracy - p01))
        rest = np.column_stack([tables, d.n - tables.sum(1)])
        passes = float(stats.multinomial.pmf(rest, d.n, p).sum()) if len(tables) else 0.0
        yield Measure("false passes", passes, alpha_of(d.confidence), where=f"accuracy {accuracy}, limit {d.limit} %")


@check("operators", st.builds(replace, BOUNDARIES, n=st.integers(5, 300), limit=st.integers(1, 99)))
def false_passes_of_a_floor(d: Boundary, subject: Oracle) -> Iterator[Measure]:
    """A class whose true accuracy is the floor passes with a probability of 1 - confidence at most, and one that is observed below it fails [Clopper & Pearson 1934; enumeration of the binomial]."""
    judge, floor = subject.operator("share_verdict"), Fraction(d.limit, 100)
    said = [judge(k, d.n, floor, alpha_of(d.confidence)) for k in range(d.n + 1)]
    passes = sum(float(stats.binom.pmf(k, d.n, float(floor))) for k, s in enumerate(said) if s == "PASS")
    yield Measure("false passes", passes, alpha_of(d.confidence) + 1e-12, where=f"n = {d.n}, floor {d.limit} %")
    below = [k for k in range(d.n + 1) if Fraction(k, d.n) < floor]
    yield Measure("does not fail below the floor", float(any(said[k] != "FAIL" for k in below)))
    yield Measure("fails at the floor", float(any(s == "FAIL" for s in said[len(below) :])))
    yield Measure("a perfect class of many samples does not pass",
                  float(float(floor) ** d.n < alpha_of(d.confidence) / 2 and said[-1] != "PASS"))  # fmt: skip


@check("operators", st.builds(replace, BOUNDARIES, n=st.integers(5, 150), limit=st.integers(1, 30)))
def false_passes_of_a_mean(d: Boundary, subject: Oracle) -> Iterator[Measure]:
    """A mean error that grows by the limit passes with a probability of 1 - confidence at most, even where the growth is one rare and large error, by enumeration of the binomial [Maurer & Pontil, COLT 2009, theorem 4]."""
    upper, alpha = subject.operator("mean_upper"), alpha_of(d.confidence)
    limit = d.limit / 100  # the cap is 1
    d = replace(d, n=max(2, d.n * 10 // d.limit))  # so that 0.5 to 15 large errors are expected
    for low in (0.0, -d.nuisance):  # errors of size 1 with probability p, of size `low` else: the mean is the limit
        p = (limit - low) / (1 - low)
        k = np.arange(d.n + 1)
        said = np.array([upper(np.r_[np.ones(i), np.full(d.n - i, low)], 1.0, alpha) for i in k])
        passes = float(stats.binom.pmf(k, d.n, p)[said <= limit].sum())
        yield Measure("false passes", passes, alpha, where=f"n = {d.n}, limit {limit}, low {low}")
        yield Measure("bound below the mean", float((k / d.n + (1 - k / d.n) * low - said).max()), 1e-12)


@check("operators", st.builds(replace, BOUNDARIES, n=st.sampled_from([40, 80]), limit=st.sampled_from([5, 10])))
def simulated_releases(d: Boundary, subject: Oracle) -> Iterator[Measure]:
    """Of 10,000 simulated releases whose true drop is the limit, no more pass than 1 - confidence and binomial error allow, and as many as enumeration says [binomial quantiles]."""
    alpha, limit = alpha_of(d.confidence), d.limit / 100
    psi = limit + d.nuisance / 4
    draws = np.random.default_rng(int(1000 * d.nuisance) + d.n).multinomial(
        d.n, ((psi + limit) / 2, (psi - limit) / 2, 1 - psi), 10_000
    )
    tables, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    verdict = subject.operator("verdict")
    passed = int(sum(t for (b, c), t in zip(tables, times, strict=True)
                     if verdict(Paired(d.n, int(b), int(c)), Fraction(d.limit, 100), alpha) == "PASS"))  # fmt: skip
    yield Measure("releases that pass", passed, float(stats.binom.isf(FALSE_ALARM, 10_000, alpha)), where=f"n = {d.n}")
    told = float(subject.operator("pass_probability")(d.n, Fraction(d.limit, 100), limit, psi, alpha))
    low, high = (float(stats.binom.ppf(q, 10_000, told)) for q in (FALSE_ALARM, 1 - FALSE_ALARM))
    yield Measure("fewer than enumerated", low - passed, where=f"n = {d.n}")
    yield Measure("more than enumerated", passed - high, where=f"n = {d.n}")


@check("operators", st.builds(replace, BOUNDARIES, n=st.sampled_from([40, 80]), limit=st.sampled_from([5, 10])))
def power_falls_with_the_drop(d: Boundary, subject: Oracle) -> Iterator[Measure]:
    """At a given discordance, the greater the true drop, the less often a release passes [P(R) falls in p10 and grows in p01: R is closed under b - 1 and c + 1]."""
    psi = d.limit / 100 + 0.05
    drops = np.linspace(-psi, psi, 41)
    power = subject.operator("pass_probability")(d.n, Fraction(d.limit, 100), drops, psi, alpha_of(d.confidence))
    yield Measure("rises with the drop", float(np.diff(power).max()), 1e-9)
    yield Measure("false passes beyond the limit", float(power[drops >= d.limit / 100].max()), alpha_of(d.confidence))


@dataclass(frozen=True, eq=False)
class Classes(Content):
    """How many samples each of three classes has, and the confidence that is asked for."""

    n: int
    confidence: str


POLICY = {
    "max_drop": "15 points", "max_drop_at": {"4": "20 points"}, "max_class_drop": "20 points",
    "min_class_accuracy": "60 %", "min_agreement": "70 %", "firing_rate": [0.01, 0.5], "max_synops": 1000,
    "max_macs": 100, "max_energy": {"loihi": "1 uJ"}, "min_samples": 50, "max_regression": "20 points",
    "max_synops_growth": "10 %", "baseline": "last.json", "require_oracles": ["other"],
}  # fmt: skip
PARTS = (
    "drop",
    "early",
    "class 0",
    "class 2",
    "floor",
    "agreement",
    "rate",
    "synops",
    "macs",
    "energy",
    "regression",
    "growth",
    "moved",
    "oracle",
    "check",
)


UNKNOWN: dict[str, Any] = {
    "rates": None, "synops": None, "macs": None, "energy": {}, "findings": (), "outcomes": None, "data": "other",
    "model": "other",
}  # fmt: skip


def _whole(n: int, broken: str) -> tuple[Evidence, Evidence]:
    """A release of three classes of n at T = 4 and 8, good but for one part and for nothing else, and the last release."""
    labels = np.repeat([0, 1, 2], n)
    place = np.tile(np.arange(n), 3)  # of a sample in its class
    wrong = (labels + 1) % 3
    ann = labels.copy()
    if broken == "floor":  # the ANN has 75 % of class 1 and the SNN loses up to 20 points of that
        ann = np.where((labels == 1) & (place < n // 4), wrong, labels)
    if broken == "regression":  # ANN and SNN err alike where the last release did not
        ann = np.where(place < (n + 3) // 4, wrong, labels)
    if broken == "agreement":  # on a third of the samples ANN and SNN err, each in its way
        ann = np.where(place < (32 * n + 99) // 100, wrong, labels)
    late, early = ann.copy(), ann.copy()
    if broken == "agreement":
        late = np.where(ann != labels, (labels + 2) % 3, labels)
    if broken == "drop":  # over 15 points in the whole, up to 20 in each class
        late = np.where(place < 18 * n // 100, wrong, ann)
    if broken == "early":
        early = np.where(place < n // 3, wrong, ann)
    if broken.startswith("class"):  # 29 points of one class are 10 of all
        late = np.where((labels == int(broken[-1])) & (place < 29 * n // 100), wrong, ann)
    if broken == "floor":
        late = np.where((labels == 1) & (place < n // 4 + n // 5), wrong, ann)
    outcomes = Outcomes((4, 8), labels, ann, np.stack([early, late]))
    rates = {"first": 0.1, "last": 0.7 if broken == "rate" else 0.2}
    findings = [Finding("model.x", "m", "fail" if broken == "check" else "pass", "", "", 3),
                Finding("parity.x", "other", "fail" if broken == "oracle" else "pass", "", "", 3)]  # fmt: skip
    synops = Fraction({"synops": 2000, "growth": 900}.get(broken, 500))
    macs = Fraction({"macs": 200, "moved": 80}.get(broken, 50))
    high = 2e6 if broken == "energy" else 5e5
    new = Evidence("m", {t: outcomes.paired(t) for t in (4, 8)}, tuple(findings), outcomes, rates, synops, macs,
                   {"loihi": (high, high, "")}, "data", "ann", "snn")  # fmt: skip
    before = labels if broken == "regression" else ann
    last = Outcomes((4, 8), labels, ann, np.stack([before, before]))
    then = {"growth": (Fraction(500), macs), "moved": (synops, Fraction(50))}.get(broken, (synops, macs))
    return new, replace(new, outcomes=last, synops=then[0], macs=then[1])


@check("operators", st.builds(Classes, st.integers(45, 60), st.sampled_from(CONFIDENCES[:2])))
def every_part_counts(d: Classes, subject: Oracle) -> Iterator[Measure]:
    """A release passes where every part is kept, fails where any one is broken, and does not pass where what a part rests on is unknown [an intersection-union test: Berger, Technometrics 24:295, 1982]."""
    release, file = subject.operator("release"), subject.operator("baseline")
    raw = {**POLICY, "confidence": float(d.confidence)}

    def said(new: Evidence, old: Evidence | None) -> str:
        outcome: str = release(new, raw, ("model.x",), None if old is None else file([old])).outcome
        return outcome

    good, last = _whole(d.n, "")
    yield Measure("a good release does not pass", float(said(good, last) != "PASS"))
    for name in PARTS:
        yield Measure("a broken part is let through", float(said(*_whole(d.n, name)) != "FAIL"), where=name)
    for name, value in UNKNOWN.items():
        outcome = said(replace(good, **{name: value}), last)
        yield Measure("an unknown is let through", float(outcome != "NO EVIDENCE"), where=name)
    for i, f in enumerate(good.findings):  # each alone, or one that is missing would hide behind the other
        outcome = said(replace(good, findings=good.findings[:i] + good.findings[i + 1 :]), last)
        yield Measure(
            "a missing finding is let through", float(outcome != "NO EVIDENCE"), where=f"{f.check}, {f.subject}"
        )
    limit = {"max_drop": "15 points", "max_synops": 1000}
    yield Measure("MACs pass for no operations", float(release(good, limit, ()).outcome != "NO EVIDENCE"))
    unpriced = replace(good, energy={"loihi": (5e5, 5e5, "mac, update")})
    yield Measure("what has no price is let through", float(said(unpriced, last) != "NO EVIDENCE"))
    less = release(replace(good, synops=None), {**limit, "max_macs": 100}, ()).outcome
    yield Measure("unknown operations are let through", float(less != "NO EVIDENCE"))
    yield Measure("no last release is let through", float(said(good, None) != "NO EVIDENCE"))
    few, before = _whole(16, "")
    yield Measure("too few samples decide", float(said(few, before) != "INCONCLUSIVE"))


@dataclass(frozen=True, eq=False)
class Two(Content):
    """Answers of two releases to the same samples of two classes, by a seed."""

    n: int
    seed: int


@check("operators", st.builds(Two, st.integers(20, 80), st.integers(0, 10**6)))
def releases_are_paired(d: Two, subject: Oracle) -> Iterator[Measure]:
    """Two releases are compared sample by sample: b are those that only the last one gets right, c those that only this one does [recount, one sample at a time]."""
    rng = np.random.default_rng(d.seed)
    labels = rng.integers(0, 3, d.n)
    old, new = (np.where(rng.random(d.n) < 0.2, (labels + 1) % 3, labels) for _ in range(2))
    before, after = (Outcomes((8,), labels, labels, s[None]) for s in (old, new))
    evidence = [Evidence("m", {8: o.paired(8)}, outcomes=o, data="d") for o in (before, after)]
    raw = {"max_drop": "100 points", "max_regression": "30 points"}
    verdict = subject.operator("release")(evidence[1], raw, (), subject.operator("baseline")([evidence[0]]))
    b = sum(int(o == y and s != y) for y, o, s in zip(labels, old, new, strict=True))
    c = sum(int(o != y and s == y) for y, o, s in zip(labels, old, new, strict=True))
    found = [r for r in verdict.requirements if "last release" in r.name]
    yield Measure("it is not judged", float(len(found) != 1))
    yield Measure("drop off", abs(found[0].value - 100 * (b - c) / d.n), 1e-12)
    asked = subject.operator("verdict")(Paired(d.n, b, c), Fraction(30, 100))
    yield Measure("outcome off", float(found[0].outcome != asked), where=f"{found[0].outcome}, {asked}")


@check("operators", st.builds(Two, st.sampled_from([100, 200]), st.integers(0, 9)))
def limits_are_exact(d: Two, subject: Oracle) -> Iterator[Measure]:
    """A drop that equals its limit is not over it and one sample more is, in points and relative to the ANN's accuracy [fractions; in floats 0.1 + 0.2 > 0.3]."""
    release = subject.operator("release")
    for tenths in (3, 7, 11, 23):
        at = tenths * d.n // 1000
        if tenths * d.n % 1000 == 0:
            said = [release(known(d.n, at + k, 0), {"max_drop": f"{tenths / 10} points"}).outcome for k in (0, 1)]
            yield Measure("points", float(said[0] == "FAIL" or said[1] != "FAIL"), where=f"{tenths / 10} of {d.n}")
    wrong = d.n // 5  # of the ANN, so that its accuracy is 80 %
    for percent in (5, 10):
        b = percent * (d.n - wrong) // 100
        for k, fails in ((0, False), (1, True)):
            labels, ann, snn = answers(d.n, b + k, 0)
            ann[-wrong:] = snn[-wrong:] = 2
            o = Outcomes((8,), labels, ann, snn[None])
            said_of = release(
                Evidence("m", {8: o.paired(8)}, outcomes=o), {"max_drop": f"{percent} % relative"}
            ).outcome
            yield Measure(
                "relative", float((said_of == "FAIL") != fails), where=f"{percent} % of {d.n - wrong}, {k} more"
            )
