"""The last release, kept in a file: "no worse than that" is judged on the same samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import EvidenceError
from ..objects import nearest
from ..schema import breaches
from ..stats import from_predictions
from .forms import Limit
from .limits import drop
from .outcomes import Outcomes, from_tree, to_tree
from .policy import Policy
from .regression import increase
from .verdict import Evidence, Requirement, apart

SCHEMA = "snnverify.baseline/1"
NAME = "no worse than the last release"


@dataclass(frozen=True)
class Release:
    """One model of the last release: what it answered, its operations per sample at its largest T, and digests of it."""

    outcomes: Outcomes
    synops: Fraction | None
    macs: Fraction | None
    data: str
    ann: str
    snn: str


@dataclass(frozen=True)
class Baseline:
    """The last release: its models by name, and the file it comes from."""

    models: Mapping[str, Release]
    file: str


def to_text(found: list[Evidence], provenance: Mapping[str, Any]) -> str:
    """Return the text of a baseline file, with a digest over all of it.

    Raises
    ------
    EvidenceError
        A model without the outcome of each sample, or two models of one name.
    """
    if len({e.model for e in found}) < len(found):
        raise EvidenceError("baseline: two models of the report have one name; give each a name of its own")
    record = {"schema": SCHEMA, "provenance": dict(provenance), "models": [_model(e) for e in found]}
    return json.dumps({**record, "digest": _digest(record)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _model(e: Evidence) -> dict[str, Any]:
    if e.outcomes is None or not e.data:
        what = "digest of its data" if e.outcomes is not None else "outcome of each sample"
        raise EvidenceError(f"{e.model}: the report holds no {what}; write it anew with `snnverify report`")
    o = e.outcomes
    right = {} if o.regression else {str(t): int((o.of(t) == o.labels).sum()) for t in o.steps}  # for the reader
    return {
        "model": e.model, "samples": len(o.labels), "right": right,
        **{f"{k}_per_sample": None if v is None else str(v) for k, v in (("synops", e.synops), ("macs", e.macs))},
        "digests": {"data": e.data, "ann": e.ann, "snn": e.snn}, "outcomes": to_tree(e.outcomes),
    }  # fmt: skip


def _digest(record: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in record.items() if k != "digest"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


AGAIN = "write it anew with `snnverify baseline RUN --out FILE`"


def read(path: str | Path) -> Baseline:
    """Read a baseline file.

    Raises
    ------
    EvidenceError
        No such file, or one that cannot be trusted: see `parse`.
    """
    try:
        return parse(Path(path).read_text("utf-8"), str(path))
    except FileNotFoundError:
        raise EvidenceError(f"baseline {path}: no such file; write one of the last release with `snnverify baseline RUN "
                            f"--out {path}`") from None  # fmt: skip
    except (OSError, UnicodeDecodeError) as e:
        raise EvidenceError(f"baseline {path}: cannot be read ({e}); {AGAIN}") from None


def parse(text: str, path: str) -> Baseline:
    """Read the text of a baseline file; `path` is for the errors.

    Raises
    ------
    EvidenceError
        No baseline, another schema, a digest that does not fit, a field that is missing or impossible.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise EvidenceError(f"baseline {path}: no valid JSON ({e}); {AGAIN}") from None
    found = record.get("schema") if isinstance(record, dict) else None
    if found != SCHEMA:
        raise EvidenceError(f"baseline {path}: schema = {found!r}, this version reads {SCHEMA!r}; {AGAIN}")
    for wrong in breaches(record, schema(), "baseline"):
        raise EvidenceError(f"baseline {path}: {wrong}; {AGAIN}")
    if record["digest"] != _digest(record):
        raise EvidenceError(f"baseline {path}: its digest does not fit: it was edited or damaged; {AGAIN}")
    models = {}
    for m in record["models"]:
        synops, macs = (_count(m, f"{kind}_per_sample", path) for kind in ("synops", "macs"))
        outcomes = from_tree(m["outcomes"], f"baseline {path}: {m['model']}.outcomes")
        models[m["model"]] = Release(outcomes, synops, macs, *(m["digests"][k] for k in ("data", "ann", "snn")))
    return Baseline(models, path)


def _count(m: Mapping[str, Any], key: str, path: str) -> Fraction | None:
    try:
        return None if m.get(key) is None else Fraction(m[key])
    except (ValueError, ZeroDivisionError) as e:
        raise EvidenceError(f"baseline {path}: {m['model']}.{key}: {e}; {AGAIN}") from None


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, as it is shipped."""
    tree: dict[str, Any] = json.loads(files(__package__).joinpath("baseline.schema.json").read_text("utf-8"))
    return tree


def against(e: Evidence, asked: Policy, baseline: Baseline, steps: int) -> Iterator[Requirement]:
    """Judge a release against the last one on the same samples; whatever does not match is no evidence."""
    old = baseline.models.get(e.model)
    wrong = _mismatch(e, old, baseline, steps)
    if wrong or old is None or e.outcomes is None:
        yield Requirement(NAME, "NO EVIDENCE", f"baseline {baseline.file}: {wrong}")
    elif e.outcomes.regression:
        yield _regression(e.outcomes, old.outcomes, asked, steps)
    else:
        labels, before, after = e.outcomes.labels, old.outcomes.of(steps), e.outcomes.of(steps)
        limit = asked.max_regression if isinstance(asked.max_regression, Limit) else asked.max_drop
        if limit is None or isinstance(asked.max_regression, Fraction):
            yield Requirement(NAME, "NO EVIDENCE", 'max_regression: give a drop with its unit, such as "0.5 points"')
        else:
            yield drop(NAME, from_predictions(labels, before, after), int((before == labels).sum()), limit, asked,
                       f"at T = {steps}", ("the last release", "this one"))  # fmt: skip
    if asked.max_synops_growth is not None:
        yield _growth(e, None if wrong else old, asked.max_synops_growth)


def _mismatch(e: Evidence, old: Release | None, baseline: Baseline, steps: int) -> str:
    """What keeps two releases from being compared, with the way out; empty where nothing does."""
    if old is None:
        return f"it holds no model {e.model!r}{nearest(e.model, baseline.models)}"
    if e.outcomes is None:
        return "the report holds no outcome of each sample; write it anew with `snnverify report`"
    if e.data != old.data:
        return (f"its samples are others (data digest {old.data[:12]}, here {e.data[:12]}); judge both releases on the same "
                "data, in the same order")  # fmt: skip
    if e.outcomes.labels.shape != old.outcomes.labels.shape or (e.outcomes.labels != old.outcomes.labels).any():
        return "its labels are others, although the digest of the data is the same; one of the two files was edited"
    if steps not in old.outcomes.steps:
        return (
            f"it was measured at T = {', '.join(map(str, old.outcomes.steps))}, not at {steps}; judge at one of these"
        )
    return ""


def _regression(new: Outcomes, old: Outcomes, asked: Policy, steps: int) -> Requirement:
    limit = asked.max_regression if isinstance(asked.max_regression, Fraction) else asked.max_error_increase
    if limit is None or asked.error_cap is None or isinstance(asked.max_regression, Limit):
        return Requirement(NAME, "NO EVIDENCE", "the targets are numbers: give max_regression as an increase of the mean "
                           "error, and error_cap")  # fmt: skip
    before, after = (o.losses(steps, asked.error) for o in (old, new))
    return increase(NAME, before, after, float(limit), asked, f"at T = {steps}", ("last release", "this one"))


def _growth(e: Evidence, old: Release | None, most: Fraction) -> Requirement:
    """Synaptic operations must not grow by more than a share, and MACs neither: what is moved to these is not saved."""
    name = "growth of the synaptic operations"
    if old is None or e.synops is None or old.synops is None or e.macs is None or old.macs is None:
        why = "the number of these or of MACs is unknown here or in the last release, or these do not match"
        return Requirement(name, "NO EVIDENCE", why)
    if e.steps[-1] != old.outcomes.steps[-1]:
        ends = f"T = {e.steps[-1]} here, {old.outcomes.steps[-1]} in the last release"
        return Requirement(name, "NO EVIDENCE", f"they were counted at the largest T: {ends}; measure both at one T")
    grown, more = e.synops - old.synops, e.macs - old.macs
    share = float(100 * grown / old.synops) if old.synops else (0.0 if not grown else float("inf"))
    percent, limit = apart(share, 100 * most, "+.2f")
    said = f"{float(old.synops):,.1f} to {float(e.synops):,.1f} per sample, {percent} %, limit {limit}"
    said += f"; MACs {float(old.macs):,.1f} to {float(e.macs):,.1f}" * bool(more)
    outcome = "PASS" if grown <= most * old.synops and more <= most * old.macs else "FAIL"
    finite = share if old.synops or not grown else None
    return Requirement(name, outcome, said, finite, None, float(100 * most), "%")
