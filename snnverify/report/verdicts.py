"""A verdict for machines: JSON (`verdict.schema.json`), JUnit XML, CSV, Parquet, and Markdown for a job's summary."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
from tabulate import tabulate

from .. import __version__
from ..content import write_atomic
from ..errors import ConfigError
from ..gate import EXIT, Requirement, Verdict
from ..gate.verdict import WORST_FIRST
from .markdown import escape
from .store import RECORD

SCHEMA = "snnverify.verdict/1"
Judged = Sequence[tuple[str, Verdict]]
# JUnit knows a test that failed and one that could not be run; both stop a pipeline. What is undecided did not pass.
ELEMENTS = {"FAIL": "failure", "INCONCLUSIVE": "failure", "NO EVIDENCE": "error"}
SIGNS = {"PASS": "✅", "FAIL": "❌", "NO EVIDENCE": "⛔", "INCONCLUSIVE": "❔"}


def provenance_of(report: Path) -> dict[str, Any]:
    """What a report says of its making, with its name, its sha256, and the version that judged it."""
    file = report / RECORD if report.is_dir() else report
    text = file.read_bytes()
    said: dict[str, Any] = json.loads(text)["provenance"]
    return {**said, "report": str(report), "report sha256": hashlib.sha256(text).hexdigest(), "judged by": __version__}


def overall(judged: Judged) -> str:
    """The worst outcome of all models; of none, no evidence."""
    found = {v.outcome for _, v in judged} or {"NO EVIDENCE"}
    return next(o for o in WORST_FIRST if o in found)


def rows(judged: Judged) -> list[dict[str, Any]]:
    """One row for each requirement of each model."""
    return [{"model": name, "requirement": r.name, **{k: v for k, v in asdict(r).items() if k != "name"}}
            for name, verdict in judged for r in verdict.requirements]  # fmt: skip


def as_json(judged: Judged, provenance: Mapping[str, Any]) -> str:
    """The verdict as JSON; its form is `schema`."""
    models = [
        {
            "model": name,
            "outcome": v.outcome,
            "requirements": [{k: _finite(x) for k, x in asdict(r).items()} for r in v.requirements],
        }
        for name, v in judged
    ]
    outcome = overall(judged)
    tree = {
        "schema": SCHEMA,
        "outcome": outcome,
        "exit_code": EXIT[outcome],
        "models": models,
        "provenance": dict(provenance),
    }
    return json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of `as_json`, as it is shipped."""
    tree: dict[str, Any] = json.loads(files(__package__).joinpath("verdict.schema.json").read_text("utf-8"))
    return tree


def as_junit(judged: Judged, provenance: Mapping[str, Any]) -> bytes:
    """The verdict as JUnit XML: a suite for each model, a case for each requirement."""
    every = [r for _, v in judged for r in v.requirements]
    root = ElementTree.Element("testsuites", {"name": "snnverify gate", **_tally(every)})
    for name, verdict in judged:
        suite = ElementTree.SubElement(root, "testsuite", {"name": _legal(name), **_tally(verdict.requirements)})
        properties = ElementTree.SubElement(suite, "properties")
        for key, value in {"outcome": verdict.outcome, **provenance}.items():
            ElementTree.SubElement(properties, "property", name=_legal(str(key)), value=_legal(str(value)))
        for r in verdict.requirements:
            case = ElementTree.SubElement(
                suite, "testcase", classname=_legal(f"snnverify.gate.{name}"), name=_legal(r.name), time="0"
            )
            if r.outcome in ELEMENTS:
                said = {"type": r.outcome, "message": _legal(f"{r.outcome}: {r.detail}")}
                ElementTree.SubElement(case, ELEMENTS[r.outcome], said).text = _legal(r.detail)
            else:
                ElementTree.SubElement(case, "system-out").text = _legal(r.detail)
    ElementTree.indent(root)
    made: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return made


def _tally(requirements: Sequence[Requirement]) -> dict[str, str]:
    kinds = [ELEMENTS.get(r.outcome) for r in requirements]
    return {"tests": str(len(kinds)), "failures": str(kinds.count("failure")), "errors": str(kinds.count("error")),
            "skipped": "0", "time": "0"}  # fmt: skip


def _legal(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold: names come from users."""
    return "".join(
        ch
        for ch in text
        if ch in "\t\n\r" or (ch >= " " and not "\ud800" <= ch <= "\udfff" and ch not in "\ufffe\uffff")
    )


def as_csv(judged: Judged, provenance: Mapping[str, Any]) -> str:
    """The verdict as CSV: a row for each requirement."""
    text: str = _frame(judged).to_csv(index=False, lineterminator="\n")
    return text


def as_parquet(judged: Judged, provenance: Mapping[str, Any]) -> bytes:
    """The rows of `as_csv` as Parquet, with their types; `ConfigError` where the library for it is missing."""
    try:
        from pyarrow import BufferOutputStream, Table, parquet
    except ImportError as e:
        raise ConfigError(
            "--parquet: pyarrow is not installed; pip install 'snnverify[parquet]', or write --csv"
        ) from e
    out = BufferOutputStream()
    parquet.write_table(Table.from_pandas(_frame(judged), preserve_index=False), out)
    made: bytes = out.getvalue().to_pybytes()
    return made


def _frame(judged: Judged) -> pd.DataFrame:
    kinds = {"value": "float64", "bound": "float64", "limit": "float64", "samples": "Int64", "needed": "Int64"}
    columns = ["model", "requirement", *(k for k in Requirement.__dataclass_fields__ if k != "name")]
    return pd.DataFrame(rows(judged), columns=columns).astype(kinds)


def markdown(judged: Judged, provenance: Mapping[str, Any]) -> str:
    """The verdict as Markdown, for a job's summary: first what stops the release."""
    parts = [f"## {SIGNS[overall(judged)]} snnverify gate: {overall(judged)}"]
    for name, verdict in judged:
        ordered = sorted(verdict.requirements, key=lambda r: WORST_FIRST.index(r.outcome))
        cells = [[f"{SIGNS[r.outcome]} {r.outcome}", escape(r.name), escape(r.detail)] for r in ordered]
        drawn = tabulate(cells, ["outcome", "requirement", "figures"], tablefmt="pipe", disable_numparse=True)
        parts += [f"### {SIGNS[verdict.outcome]} {escape(name)}: {verdict.outcome}", drawn]
    keys = ("report", "report sha256", "judged by", "limits unlike the report's", "command", "seed")
    parts.append(" · ".join(f"{key}: {escape(str(provenance[key]))}" for key in keys if key in provenance))
    return "\n\n".join(parts) + "\n"


WRITERS: Mapping[str, Callable[[Judged, Mapping[str, Any]], str | bytes]] = {
    "json": as_json, "junit": as_junit, "csv": as_csv, "parquet": as_parquet, "markdown": markdown,
}  # fmt: skip


def write_verdicts(judged: Judged, provenance: Mapping[str, Any], wanted: Mapping[str, Path | None]) -> None:
    """Write every form that is wanted: all are made before the first is written."""
    made = {path: WRITERS[form](judged, provenance) for form, path in wanted.items() if path is not None}
    for path, content in made.items():
        write_atomic(path, content)
