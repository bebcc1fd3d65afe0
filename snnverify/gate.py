"""The release gate: it fails closed, and names each requirement that it judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from .content import Content
from .errors import EvidenceError
from .findings import Finding
from .stats import Paired, exact_upper, needed, verdict

EXIT = {"PASS": 0, "FAIL": 1, "NO EVIDENCE": 2, "INCONCLUSIVE": 3}
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


@dataclass(frozen=True, eq=False)
class Requirement(Content):
    """One thing that the gate asked for: its name, what came of it (a key of `EXIT`), and the figures."""

    name: str
    outcome: str
    detail: str


@dataclass(frozen=True, eq=False)
class Verdict(Content):
    """Outcome of the gate (a key of `EXIT`) and the requirements behind it."""

    outcome: str
    requirements: tuple[Requirement, ...]

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 no evidence, 3 inconclusive."""
        return EXIT[self.outcome]


def judge(
    paired: Mapping[int, Paired],
    margin: Fraction,
    findings: Sequence[Finding],
    required: Sequence[str] = REQUIRED,
    at: int | None = None,
) -> Verdict:
    """Judge one model.

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
    if not paired:
        raise EvidenceError("evidence: there is no accuracy table; run `snnverify report` with labelled data")
    steps = max(paired) if at is None else at
    if steps not in paired:
        raise EvidenceError(
            f"gate-t = {steps}: measured at T = {', '.join(map(str, sorted(paired)))}; choose one of them"
        )
    judged = [_accuracy(paired[steps], margin, steps)]
    judged += [_check(name, [f for f in findings if f.check == name]) for name in required]
    judged += [
        Requirement(f.check, "FAIL", f"{f.outcome}: {f.worst or f.message}")
        for f in findings
        if f.outcome in ("fail", "error") and f.check not in required
    ]
    outcomes = {r.outcome for r in judged}
    worst = next(o for o in ("FAIL", "NO EVIDENCE", "INCONCLUSIVE", "PASS") if o in outcomes)
    return Verdict(worst, tuple(judged))


def _accuracy(p: Paired, margin: Fraction, steps: int) -> Requirement:
    outcome = verdict(p, margin)
    upper = exact_upper(p)
    detail = (
        f"drop {float(100 * p.drop):.2f} points at T = {steps} (n = {p.n}, only ANN right {p.b}, only SNN right {p.c}), "
        f"upper 95 % bound {100 * upper:.2f}, limit {float(100 * margin):g}"
    )
    if outcome == "INCONCLUSIVE":
        n = needed(p, margin)
        detail += (
            f"; about {n} samples at these rates would decide it" if n else "; no number of samples would decide it"
        )
    return Requirement("accuracy drop", outcome, detail)


def _check(name: str, found: Sequence[Finding]) -> Requirement:
    """A required check: one pass on at least one case, and nothing else."""
    for f in found:
        if f.outcome in ("fail", "error"):
            return Requirement(name, "FAIL", f"{f.outcome}: {f.worst or f.message}")
    passed = [f for f in found if f.outcome == "pass" and f.cases > 0]
    if not passed or len(passed) < len([f for f in found if f.outcome != "xfail"]):
        said = ", ".join(f"{f.outcome} on {f.cases} cases" for f in found) or "absent"
        return Requirement(name, "NO EVIDENCE", f"needs a pass; it is {said}")
    return Requirement(name, "PASS", f"{passed[0].worst or ''}")
