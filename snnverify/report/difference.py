"""Two runs side by side: what the second one does otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import EvidenceError
from ..gate import Evidence
from ..gate.outcomes import Outcomes
from ..gate.policy import written
from ..stats import Paired, exact_upper
from .looks import styled
from .plots import accuracies, svg
from .record import Stored

Record = dict[str, Any]
OUTCOMES = ("PASS", "INCONCLUSIVE", "NO EVIDENCE", "FAIL")  # from best to worst


def differences(first: Sequence[Stored], second: Sequence[Stored]) -> dict[str, list[Record]]:
    """Tables of what two runs have in common and what parts them; a table without rows is left out.

    Parameters
    ----------
    first, second : sequence of Stored
        Models are matched by name, or as the only one of their run.

    Returns
    -------
    dict of title to list of dict
        ``Verdicts``, ``Accuracy`` (percent, and where the samples are the same: how many only one run gets right, and the
        exact upper 95 % bound of what the second loses, in points), ``Requirements`` and ``Checks`` of another outcome,
        ``Layers`` (spikes per neuron and step) and operations, ``Facts`` that differ.

    Raises
    ------
    EvidenceError
        No model in common.
    """
    pairs = _pairs(first, second)
    found: dict[str, list[Record]] = {
        "Verdicts": [{"model": a.model, "first": a.verdict.outcome, "second": b.verdict.outcome} for a, b in pairs],
        "Accuracy": [row for a, b in pairs for row in _accuracy(a, b)],
        "Requirements of another outcome": [
            row for a, b in pairs for row in _changed(a, b, "requirement", _requirements, "detail")
        ],
        "Checks of another outcome": [row for a, b in pairs for row in _changed(a, b, "check", _checks, "message")],
        "Spikes per neuron and step, operations per sample (largest T)": [
            row for a, b in pairs for row in _activity(a, b)
        ],
        "Facts that differ": [
            {"model": a.model, "fact": key, "first": a.facts.get(key, "–"), "second": b.facts.get(key, "–")}
            for a, b in pairs
            for key in dict.fromkeys([*a.facts, *b.facts])
            if a.facts.get(key) != b.facts.get(key)
        ],
    }
    alone = {s.model for s in (*first, *second)} - {s.model for pair in pairs for s in pair}
    found["Models in one run alone"] = [{"model": name} for name in sorted(alone)]
    return {title: rows for title, rows in found.items() if rows}


def unlike(first: Sequence[Stored], second: Sequence[Stored]) -> list[str]:
    """Say in what two runs were not made alike, so that their figures are not of one thing: data, T, conversion, encoding.

    A sentence for each model and kind; empty where they are comparable. What was trained anew is no such thing.
    """
    found = []
    for a, b in _pairs(first, second):
        one, two = a.evidence, b.evidence
        if not _same_samples(one, two):
            n = [next(iter(e.paired.values())).n if e.paired else 0 for e in (one, two)]
            size = f" ({n[0]:,} and {n[1]:,} samples)" if n[0] != n[1] else ""
            found.append(f"{a.model}: other data{size}: accuracies are of other samples, so they are not paired.")
        if one.steps != two.steps:
            steps = [", ".join(map(str, e.steps)) for e in (one, two)]
            found.append(f"{a.model}: T = {steps[0]} and {steps[1]}: accuracy is compared where both have it, rates and "
                         f"operations at T = {one.steps[-1]} and {two.steps[-1]}.")  # fmt: skip
        converted = _apart(*({**s.conversion, "encoding": s.encoding} for s in (a, b)))
        found += [f"{a.model}: converted otherwise: {converted}."] * bool(converted)
        limits = _apart(a.asked, b.asked)
        found += [f"{a.model}: judged by other limits, so verdicts are not of one gate: {limits}."] * bool(limits)
    return found


def _apart(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """Entries in which two mappings differ, in words; those of their tables as KEY.NAME."""
    one, two = written(one), written(two)
    keys = [k for k in dict.fromkeys([*one, *two]) if one.get(k) != two.get(k)]
    return ", ".join(f"{k} {one.get(k, '–')} and {two.get(k, '–')}" for k in keys)


def worse(first: Sequence[Stored], second: Sequence[Stored]) -> bool:
    """Whether any model's verdict is a worse one in the second run."""
    return any(OUTCOMES.index(b.verdict.outcome) > OUTCOMES.index(a.verdict.outcome) for a, b in _pairs(first, second))


def as_json(tables: Mapping[str, Sequence[Record]], worse: bool, unlike: Sequence[str]) -> str:
    """Return the tables, and in what the runs were not made alike, as JSON text."""
    tree = {"schema": "snnverify.diff/1", "worse": worse, "unlike": list(unlike), "tables": tables}
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def overlay(first: Sequence[Stored], second: Sequence[Stored]) -> str:
    """Accuracy over T of both runs in one picture for each model, SVG elements; empty where there is none."""
    drawn = []
    with styled():
        for i, (a, b) in enumerate(_pairs(first, second)):
            curves = {f"{who}, {run}": _curve(s.evidence.outcomes, who)
                      for run, s in (("first", a), ("second", b)) for who in ("ANN", "SNN")}  # fmt: skip
            if all(curves.values()):
                drawn.append(svg(accuracies(f"{a.model}: accuracy over time steps", curves), f"diff-{i}"))
    return "\n".join(drawn)


def _curve(o: Outcomes | None, who: str) -> list[tuple[int, float]]:
    """T and accuracy in percent; nothing of a regression."""
    if o is None or o.regression:
        return []
    return [(T, _percent(o, T if who == "SNN" else None)) for T in o.steps]


def _same_samples(one: Evidence, two: Evidence) -> bool:
    if one.outcomes is None or two.outcomes is None:
        return one.data == two.data
    return one.data == two.data and np.array_equal(one.outcomes.labels, two.outcomes.labels)


def _pairs(first: Sequence[Stored], second: Sequence[Stored]) -> list[tuple[Stored, Stored]]:
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    named = {s.model: s for s in second}
    pairs = [(s, named[s.model]) for s in first if s.model in named]
    if not pairs:
        names = [", ".join(s.model for s in run) for run in (first, second)]
        raise EvidenceError(f"diff: no model in common: {names[0]} and {names[1]}; give two reports of one model")
    return pairs


def _accuracy(a: Stored, b: Stored) -> list[Record]:
    one, two = a.evidence.outcomes, b.evidence.outcomes
    if one is None or two is None or one.regression or two.regression:
        return []
    same = _same_samples(a.evidence, b.evidence)
    rows = []
    for T in sorted({*one.steps} & {*two.steps}):
        row = {"model": a.model, "T": T, "ANN %, first": _percent(one, None), "ANN %, second": _percent(two, None),
               "SNN %, first": _percent(one, T), "SNN %, second": _percent(two, T)}  # fmt: skip
        if same:
            right = [o.of(T) == o.labels for o in (one, two)]
            p = Paired(len(one.labels), int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum()))
            row |= {"only first": p.b, "only second": p.c, "second loses at most": round(100 * exact_upper(p), 2)}
        rows.append(row)
    return rows


def _percent(o: Outcomes, T: int | None) -> float:
    said = o.ann if T is None else o.of(T)
    return round(100 * float((said == o.labels).mean()), 2)


def _changed(a: Stored, b: Stored, what: str, of: Callable[[Stored], Mapping[str, Any]], why: str) -> list[Record]:
    """Rows of what came out otherwise: requirements or checks, by name."""
    one, two = of(a), of(b)
    return [
        {"model": a.model, what: name, "first": _outcome(one, name), "second": _outcome(two, name),
         why: getattr(two[name], why) if name in two else ""}
        for name in dict.fromkeys([*one, *two])
        if _outcome(one, name) != _outcome(two, name)
    ]  # fmt: skip


def _requirements(s: Stored) -> Mapping[str, Any]:
    return {r.name: r for r in s.verdict.requirements}


def _checks(s: Stored) -> Mapping[str, Any]:
    return {f.check: f for f in s.findings}


def _outcome(found: Mapping[str, Any], name: str) -> str:
    return str(found[name].outcome) if name in found else "–"


def _activity(a: Stored, b: Stored) -> list[Record]:
    one, two = a.evidence.rates or {}, b.evidence.rates or {}
    rows: list[Record] = [
        {"model": a.model, "layer": name, "first": _digits(one.get(name)), "second": _digits(two.get(name))}
        for name in dict.fromkeys([*one, *two])
    ]
    ops = [None if s.evidence.synops is None else float(s.evidence.synops) for s in (a, b)]
    return [
        *rows,
        {"model": a.model, "layer": "operations per sample", "first": _digits(ops[0]), "second": _digits(ops[1])},
    ]


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
