"""The release gate: it fails closed, and names each requirement that it judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from ..findings import Finding
from ..stats import Paired
from .baseline import Baseline, against
from .forms import Limit
from .limits import accuracy, measured, refuse_errors
from .outcomes import Outcomes
from .policy import Policy, policy
from .regression import errors
from .verdict import EXIT, Evidence, Requirement, Verdict, concluded

__all__ = [
    "EXIT", "OF_CLASSES", "REQUIRED", "Baseline", "Evidence", "Limit", "Outcomes", "Policy", "Requirement", "Verdict",
    "judge", "policy", "release",
]  # fmt: skip

REQUIRED = (
    "model.accuracy_counts",
    "model.activations_replaced",
    "model.agreement",
    "model.first_layer_rate",
    "model.import_equals_torch",
    "model.layer_identity",
    "model.rate_error_explained",
    "model.sampled_units",
)
OF_CLASSES = {"model.accuracy_counts", "model.agreement"}  # laws of classifiers alone


def judge(
    paired: Mapping[int, Paired],
    margin: Fraction,
    findings: Sequence[Finding],
    required: Sequence[str] = REQUIRED,
    at: int | None = None,
) -> Verdict:
    """Judge one model by its accuracy drop and its checks alone; see `release` for all that a gate may ask.

    Parameters
    ----------
    paired : mapping of T to Paired
        The paired table of ANN and SNN at each T.
    margin : Fraction
        Greatest accuracy drop that is let through, as a fraction (0.01 is one percentage point).
    findings : sequence of Finding
        Every finding on this model: a failure or an error blocks, required or not.
    required : sequence of str
        Checks that need a pass on at least one case.
    at : int, optional
        T that is judged; the largest by default.

    Returns
    -------
    Verdict
        FAIL before NO EVIDENCE before INCONCLUSIVE before PASS: the first of these that any requirement has.

    Raises
    ------
    EvidenceError
        There is no paired table, or none at `at`.
    """
    return release(Evidence("", paired, tuple(findings)), Policy(max_drop=Limit(margin), at=at), required)


def release(
    evidence: Evidence, asked: Policy, required: Sequence[str] = REQUIRED, baseline: Baseline | None = None
) -> Verdict:
    """Judge one model by everything that a policy asks for.

    Parameters
    ----------
    evidence : Evidence
    asked : Policy
        With `max_drop`, unless the targets are numbers.
    required : sequence of str
        Checks of the model, and of the oracle under test, that need a pass on at least one case; no patterns.
    baseline : Baseline, optional
        The last release.

    Raises
    ------
    EvidenceError
        There is no accuracy at all, or none at a T that the policy names; limits of errors where labels are classes.
    """
    steps = evidence.at(asked.at)
    regression = evidence.outcomes is not None and evidence.outcomes.regression
    if not regression:
        refuse_errors(asked)
    judged = list((errors if regression else accuracy)(evidence, asked, steps))
    judged += measured(evidence, asked)
    if baseline is not None:
        judged += against(evidence, asked, baseline, steps)
    elif asked.max_regression is not None or asked.max_synops_growth is not None:
        judged.append(
            Requirement("baseline", "NO EVIDENCE", "max_regression: against which release? give --baseline FILE")
        )
    foreign = set(asked.require_oracles)
    own = [f for f in evidence.findings if f.subject not in foreign]
    judged += [_check(name, [f for f in own if f.check == name]) for name in required]
    judged += [_oracle(name, [f for f in evidence.findings if f.subject == name]) for name in asked.require_oracles]
    judged += [
        _of(f, "FAIL", f"{f.outcome}: {f.worst or f.message}")
        for f in own
        if f.outcome in ("fail", "error") and f.check not in required
    ]
    return concluded(judged)


def _check(name: str, found: Sequence[Finding]) -> Requirement:
    """A required check: one pass on at least one case, and nothing else."""
    for f in found:
        if f.outcome in ("fail", "error"):
            return _of(f, "FAIL", f"{f.outcome}: {f.worst or f.message}")
    passed = [f for f in found if f.outcome == "pass" and f.cases > 0]
    if not passed or len(passed) < len([f for f in found if f.outcome != "xfail"]):
        said = ", ".join(f"{f.outcome} on {f.cases} cases" for f in found) or "absent"
        return Requirement(name, "NO EVIDENCE", f"needs a pass; it is {said}")
    return _of(passed[0], "PASS", f"{passed[0].worst or ''}")


def _of(f: Finding, outcome: str, detail: str) -> Requirement:
    """A check as a requirement, with the measure that is nearest to its limit or broke it; that is exact: no bound."""
    if f.worst is None:
        return Requirement(f.check, outcome, detail)
    return Requirement(f.check, outcome, detail, float(f.worst.value), None, float(f.worst.limit))


def _oracle(name: str, found: Sequence[Finding]) -> Requirement:
    """A required implementation: it passes something, breaks nothing but its known defects, and is there."""
    said = ", ".join(
        f"{len([f for f in found if f.outcome == o])} {o}" for o in dict.fromkeys(f.outcome for f in found)
    )
    broken = [f for f in found if f.outcome in ("fail", "error")]
    if broken:
        why = f"{broken[0].check}: {broken[0].outcome}: {broken[0].worst or broken[0].message}"
        return Requirement(f"oracle {name}", "FAIL", f"{said}; {why}")
    absent = [f for f in found if f.outcome == "unavailable"]
    if absent or not any(f.outcome == "pass" and f.cases > 0 for f in found):
        why = absent[0].message if absent else "run `snnverify report` where the gate's table names it"
        return Requirement(f"oracle {name}", "NO EVIDENCE", f"needs a pass; {said or 'it was not asked'}: {why}")
    return Requirement(f"oracle {name}", "PASS", said)
