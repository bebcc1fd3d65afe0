"""The audit: each claim recomputed from the others, and judged consistent, inconsistent or unverifiable.

A claim is inconsistent only when no numbers that round to the printed ones keep the relation, in no reading of a unit
and of the claim; so nothing that rounding or wording could explain is held against a report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .claims import Claim, Claims, Number, Rule
from .intervals import Interval, shown
from .relations import Relation, relations

Verdict = Literal["consistent", "inconsistent", "unverifiable"]
SIGNS = {"=": "", "<=": "at most ", ">=": "at least "}


@dataclass(frozen=True)
class Judged:
    """One rule applied: its verdict, the number that follows, and the derivation in a line."""

    verdict: Verdict
    follows: str
    derivation: str


@dataclass(frozen=True)
class Finding:
    """A claim with its verdict; `reason` is the derivation, or what is missing."""

    name: str
    quote: str
    said: str
    verdict: Verdict
    follows: str
    reason: str
    note: str


def audit(claims: Claims) -> tuple[Finding, ...]:
    """Judge every claim of a report, in the order of the file."""
    return tuple(_judge(c, claims) for c in claims.claims)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 all consistent, 1 any inconsistent, 3 only unverifiable ones left."""
    found = {f.verdict for f in findings}
    return 1 if "inconsistent" in found else 3 if "unverifiable" in found else 0


def tally(findings: Sequence[Finding]) -> str:
    """How many claims there are of each verdict."""
    counts = Counter(f.verdict for f in findings)
    return ", ".join(f"{counts[v]} {v}" for v in ("consistent", "inconsistent", "unverifiable"))


def record(claims: Claims, findings: Sequence[Finding]) -> dict[str, Any]:
    """Give the audit as what JSON can hold; its form is ``snnverify/hardware/audit.schema.json``."""
    rows = [{**vars(f)} for f in findings]
    return {"title": claims.title, "source": claims.source, "exit_code": exit_code(findings), "claims": rows}


def _judge(claim: Claim, claims: Claims) -> Finding:
    said = f"{claim.number.text} {claim.number.unit}".strip() if claim.number else ""
    if not claim.rules:
        return Finding(claim.name, claim.quote, said, "unverifiable", "", f"missing: {claim.missing}", claim.note)
    assert claim.number is not None
    plain = [_apply(rule, claim.number, claims) for rule in claim.rules if not rule.reading]
    readings = [(rule.reading, _apply(rule, claim.number, claims)) for rule in claim.rules if rule.reading]
    if readings:
        plain.append(_any(readings))
    order: Sequence[Verdict] = ("inconsistent", "unverifiable", "consistent")
    verdict = next(v for v in order if any(j.verdict == v for j in plain))
    telling = [j for j in plain if j.verdict == verdict]
    follows, reason = "; ".join(j.follows for j in telling if j.follows), "; ".join(j.derivation for j in telling)
    return Finding(claim.name, claim.quote, said, verdict, follows, reason, claim.note)


def _any(readings: Sequence[tuple[str, Judged]]) -> Judged:
    """Of readings the kindest counts; what each of them gives is told."""
    order: Sequence[Verdict] = ("consistent", "unverifiable", "inconsistent")
    verdict = next(v for v in order if any(j.verdict == v for _, j in readings))
    follows = " or ".join(j.follows for _, j in readings if j.follows)
    return Judged(verdict, follows, "; ".join(f"{name} ({j.verdict}): {j.derivation}" for name, j in readings))


def _apply(rule: Rule, number: Number, claims: Claims) -> Judged:
    """Judge one rule in all readings of the units."""
    relation = relations()[rule.relation]
    missing = [name for name in rule.of.values() if name not in claims.numbers]
    if missing:
        return Judged("unverifiable", "", f"missing: {', '.join(missing)}")
    arguments = {argument: claims.numbers[name] for argument, name in rule.of.items()}
    readings = range(max(len(n.readings) for n in (number, *arguments.values())))
    told: dict[str, None] = {}  # in order, each reading once: most units have one
    kept = False
    for r in readings:
        held, entries = [], []
        for i, wanted in enumerate(_reading(number, r)):
            try:
                value = relation(_arguments(relation, arguments, r, i))
            except (ValueError, ZeroDivisionError) as e:
                why = "a divisor can be 0" if isinstance(e, ZeroDivisionError) else "lists of different lengths"
                return Judged("unverifiable", "", f"missing: numbers that {rule.relation} can be computed of ({why})")
            held.append(wanted.may(rule.compare, value))
            entries.append(SIGNS[rule.compare] + shown(value, number.unit, r))
        told[" / ".join(entries if len(set(entries)) > 1 else entries[:1])] = None
        kept = kept or all(held)
    bare = relation.formula in relation.takes  # one number against another: told by its name in the file
    names = [f"{rule.of[a] if bare else a} = {f'{n.text} {n.unit}'.strip()}" for a, n in arguments.items()]
    derivation = ", ".join(names) if bare else " with ".join([relation.formula, *([", ".join(names)] if names else [])])
    verdict: Verdict = "consistent" if kept else "inconsistent"
    if not kept and rule.assumes:
        verdict, derivation = "unverifiable", f"missing: whether {rule.assumes}; if so, {derivation}"
    return Judged(verdict, " / ".join(told), derivation)


def _reading(number: Number, r: int) -> Sequence[Interval]:
    return number.readings[min(r, len(number.readings) - 1)]


def _arguments(relation: Relation, numbers: Mapping[str, Number], r: int, i: int) -> dict[str, Any]:
    """Arguments in reading `r`; of a list where the relation takes a single number, entry `i`."""
    found: dict[str, Any] = {}
    for name, number in numbers.items():
        values = _reading(number, r)
        if relation.takes[name].startswith("["):
            found[name] = values
        else:
            found[name] = values[i if number.many else 0]
    return found
