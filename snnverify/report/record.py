"""The JSON record of a run: all that the gate needs to judge it again. Its form is `schema.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

from ..errors import ConfigError, EvidenceError
from ..findings import Finding, Measure
from ..gate import OF_CLASSES, REQUIRED, Evidence, Requirement, Verdict
from ..gate.outcomes import Outcomes, from_tree, to_tree
from ..pipeline import OF_CONSTANT_INPUT, OF_SOFT_RESET, Assessment, Run
from ..pipeline.release import evidence
from ..schema import breaches
from ..stats import Paired
from .waterfall import waterfall_record
from .words import overall

SCHEMA = "snnverify.report/1"


@dataclass(frozen=True)
class Stored:
    """One model as a report holds it.

    Parameters
    ----------
    model : str
    paired : mapping of T to Paired
    margin : Fraction
        Greatest accuracy drop that is let through, as a share.
    findings : tuple of Finding
    required : tuple of str
        Checks that need a pass: those that the report names, and always the laws of its conversion and encoding.
    verdict : Verdict
        As it was judged then; not to be trusted.
    facts : mapping of str to str
    asked : mapping
        What the gate asked for, as it was written.
    evidence : Evidence
    conversion : mapping of str to str
        Options of the conversion, and how the read-out is taken.
    encoding : str
    """

    model: str
    paired: Mapping[int, Paired]
    margin: Fraction
    findings: tuple[Finding, ...]
    required: tuple[str, ...]
    verdict: Verdict
    facts: Mapping[str, str]
    asked: Mapping[str, Any]
    evidence: Evidence
    conversion: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "constant"


def to_json(run: Run) -> str:
    """Return the record of a run as JSON text."""
    record = {
        "schema": SCHEMA,
        "provenance": dict(run.provenance),
        "verdict": overall(run),
        "assessments": [_assessment(a) for a in run.assessments],
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _assessment(a: Assessment) -> dict[str, Any]:
    f, c = a.model.fidelity, a.model.converted
    known = evidence(a.model, a.findings, a.energy, a.facts.get("data digest", ""))
    assert known.outcomes is not None
    ann = int((f.ann == f.labels).sum())
    rows = [{"T": steps, "ann": ann, "snn": int((known.outcomes.of(steps) == f.labels).sum()), **asdict(p)}
            for steps, p in known.paired.items()]  # fmt: skip
    return {
        "model": a.model.name,
        "margin": str(a.model.margin),
        "paired": rows,
        "required": list(a.required),
        "policy": dict(a.asked),
        "outcomes": to_tree(known.outcomes),
        "rates": dict(known.rates or {}),
        "synops_per_sample": str(known.synops),
        "macs_per_sample": str(known.macs),
        "energy": {name: list(v) for name, v in a.energy.items()},
        **_fallen(a),
        "findings": [_finding(x) for x in a.findings],
        "verdict": {"outcome": a.verdict.outcome, "requirements": [_requirement(r) for r in a.verdict.requirements]},
        "facts": dict(a.facts),
        "conversion": {**c.options, "readout": c.readout},
        "notes": list(c.notes),
        "digests": {
            "data": known.data,
            "ann": c.ann.digest,
            "snn": c.snn.digest,
            "fidelity": f.digest,
            "curves": [v.digest for v in a.curves],
        },
    }


def _fallen(a: Assessment) -> dict[str, Any]:
    """Return the waterfall, or why there is none; nothing where it was not asked for."""
    if a.explained is not None:
        return {"waterfall": waterfall_record(a.explained)}
    return {"waterfall": {"left out": a.unsplit}} if a.unsplit else {}


def _finding(f: Finding) -> dict[str, Any]:
    worst = None
    if f.worst is not None:
        worst = asdict(f.worst) | {k: _finite(getattr(f.worst, k)) for k in ("value", "limit")}
    return {**{k: getattr(f, k) for k in Finding.__dataclass_fields__}, "worst": worst}


def _requirement(r: Requirement) -> dict[str, Any]:
    return {k: _finite(v) if isinstance(v, float) else v for k, v in asdict(r).items()}


def _finite(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    number = float(value)
    return number if math.isfinite(number) else str(number)


def from_json(text: str, where: str) -> list[Stored]:
    """Read a record.

    Parameters
    ----------
    text : str
    where : str
        File that it comes from, for the errors.

    Raises
    ------
    EvidenceError
        No JSON, another schema, a missing or impossible field, figures that contradict each other.
    """
    try:
        record = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as e:
        raise EvidenceError(f"{where}: no valid JSON ({e}); write the report anew") from None
    found = record.get("schema") if isinstance(record, dict) else None
    if found != SCHEMA:
        raise EvidenceError(
            f"{where}: schema = {found!r}, this version reads {SCHEMA!r}; write the report anew with `snnverify report`"
        )
    for wrong in breaches(record, schema(), "report"):
        raise EvidenceError(f"{where}: {wrong}; write the report anew")
    if not record["assessments"]:
        raise EvidenceError(f"{where}: assessments is empty; there is no model to judge")
    encoding = str(record["provenance"].get("encoding", "constant"))
    return [_stored(a, encoding, f"{where}: assessments[{i}]") for i, a in enumerate(record["assessments"])]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that is given twice could say one thing to a reader and another to the gate."""
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError(f"a key is given twice in the object with {', '.join(sorted(tree))[:60]}")
    return tree


def _laws(conversion: Mapping[str, Any], encoding: str, regression: bool) -> list[str]:
    """Checks that the gate asks for whatever the record says: shortening its list must not help."""
    without = OF_SOFT_RESET if conversion.get("reset") == "value" or conversion.get("leak", "1") != "1" else set()
    without = without | (OF_CONSTANT_INPUT if encoding != "constant" else set()) | (OF_CLASSES if regression else set())
    return [name for name in REQUIRED if name not in without]


def _stored(a: Mapping[str, Any], encoding: str, where: str) -> Stored:
    paired: dict[int, Paired] = {}
    for i, row in enumerate(a["paired"]):
        here = f"{where}.paired[{i}]"
        try:
            p = Paired(row["n"], row["b"], row["c"])
        except ConfigError as e:
            raise EvidenceError(f"{here}: {e}; the figures were edited, write the report anew") from None
        # only one of them right: b of the ANN's hits, c of the SNN's; what is left of the hits is common to both
        both = row["ann"] - p.b
        if both < 0 or both != row["snn"] - p.c or both + p.b + p.c > p.n or row["T"] in paired:
            raise EvidenceError(
                f"{here}: T = {row['T']}, n = {p.n}, ann = {row['ann']}, snn = {row['snn']}, b = {p.b}, c = {p.c} "
                "contradict each other or another row; the figures were edited, write the report anew"
            )
        paired[row["T"]] = p
    if len({(row["n"], row["ann"]) for row in a["paired"]}) > 1:
        raise EvidenceError(f"{where}.paired: n and ann differ between rows; the figures were edited")
    findings = tuple(_read_finding(f, f"{where}.findings[{i}]") for i, f in enumerate(a["findings"]))
    requirements = tuple(Requirement(**{k: v for k, v in r.items() if k in Requirement.__dataclass_fields__})
                         for r in a["verdict"]["requirements"])  # fmt: skip
    outcomes = _outcomes(a, paired, where)
    regression = outcomes is not None and outcomes.regression
    digests, energy = a["digests"], {k: tuple(v) for k, v in a.get("energy", {}).items()}
    known = Evidence(a["model"], paired, findings, outcomes, a.get("rates"), _count(a, "synops", where),
                     _count(a, "macs", where), energy,
                     digests.get("data", ""), digests["ann"], digests["snn"])  # fmt: skip
    return Stored(
        a["model"], paired, Fraction(a["margin"]), findings,
        tuple(dict.fromkeys((*_laws(a["conversion"], encoding, regression), *a["required"]))),
        Verdict(a["verdict"]["outcome"], requirements), a["facts"], a.get("policy", {}), known,
        a["conversion"], encoding,
    )  # fmt: skip


def _outcomes(a: Mapping[str, Any], paired: Mapping[int, Paired], where: str) -> Outcomes | None:
    """Outcomes of the samples, which must give the very table beside them; a report of an earlier version has none."""
    if "outcomes" not in a:
        return None
    o = from_tree(a["outcomes"], f"{where}.outcomes")
    right = {row["ann"] for row in a["paired"]}
    same = paired == {} if o.regression else (
        paired == {t: o.paired(t) for t in o.steps} and right == {int((o.ann == o.labels).sum())}
    )  # fmt: skip
    if not same or len(set(o.steps)) < len(o.steps):
        raise EvidenceError(
            f"{where}: outcomes and paired contradict each other; the figures were edited, write the report anew"
        )
    return o


def _count(a: Mapping[str, Any], kind: str, where: str) -> Fraction | None:
    key = f"{kind}_per_sample"
    try:
        return Fraction(a[key]) if key in a else None
    except (ValueError, ZeroDivisionError) as e:
        raise EvidenceError(f"{where}.{key}: {e}; write the report anew") from None


def _read_finding(f: Mapping[str, Any], where: str) -> Finding:
    worst = None
    if f["worst"] is not None:
        try:
            worst = Measure(**{**f["worst"], **{k: float(f["worst"][k]) for k in ("value", "limit")}})
        except ValueError as e:
            raise EvidenceError(f"{where}.worst: {e}; write the report anew") from None
        if f["outcome"] == "pass" and not worst.kept:
            raise EvidenceError(f"{where}: {f['check']} is a pass with {worst}; the figures were edited")
    return Finding(**{**f, "worst": worst})


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of the record, as it is shipped."""
    tree: dict[str, Any] = json.loads(files(__package__).joinpath("schema.json").read_text("utf-8"))
    return tree
