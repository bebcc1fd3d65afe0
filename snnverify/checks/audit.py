"""Laws of the claim audit, on reports that are made up from a truth that the check knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from ..content import Content
from ..findings import Measure
from ..oracles import Oracle
from . import check


@dataclass(frozen=True, eq=False)
class Truth(Content):
    """What a report would be about: widths, hidden rates in thousandths, steps, bits, pJ x 100 an operation, accuracies x 100."""

    widths: tuple[int, ...]
    rates: tuple[int, ...]
    steps: int
    bits: int
    each: int
    first: int
    second: int


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    """Dense networks of one to three hidden layers, with measured rates and accuracies."""
    widths = tuple(draw(st.lists(st.integers(2, 600), min_size=3, max_size=5)))
    rates = tuple(draw(st.integers(10, 500)) for _ in widths[1:-1])
    return Truth(widths, rates, draw(st.integers(1, 64)), draw(st.sampled_from([1, 4, 8, 32])), draw(st.integers(10, 999)),
                 draw(st.integers(6000, 9900)), draw(st.integers(4000, 5900)))  # fmt: skip


def _rounded(value: Fraction, places: int) -> str:
    """Print a number as a report does: half up, so many places."""
    scaled = int(abs(value) * 10**places + Fraction(1, 2))
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{scaled // 10**places}.{scaled % 10**places:0{places}d}" if places else f"{sign}{scaled}"


def _sizes(t: Truth) -> tuple[int, int, Fraction]:
    """Weights, neurons and operations, by loops over single layers and nothing of the audit."""
    weights = neurons = 0
    operations = Fraction(0)
    for i in range(1, len(t.widths)):
        weights += t.widths[i - 1] * t.widths[i]
        neurons += t.widths[i]
        if i > 1:
            operations += Fraction(t.rates[i - 2], 1000) * t.widths[i - 1] * t.widths[i] * t.steps
    return weights, neurons, operations


def _report(t: Truth, wrong: Mapping[str, Fraction] | None = None) -> dict[str, Any]:
    """Everything of a truth printed with few places; claims in `wrong` are off by that factor."""
    weights, neurons, operations = _sizes(t)
    energy = operations * Fraction(t.each, 100) / 10**6  # uJ
    a, b = Fraction(t.first, 100), Fraction(t.second, 100)
    values: dict[str, tuple[Fraction, int, str, str, dict[str, str]]] = {
        "weights": (Fraction(weights), 0, "", "weights", {"widths": "net"}),
        "neurons": (Fraction(neurons), 0, "", "neurons", {"widths": "net"}),
        "memory": (Fraction(weights * t.bits, 8192), 2, "KiB", "memory", {"weights": "weights", "bits": "bits"}),
        "drop": (a - b, 1, "points", "difference", {"a": "first", "b": "second"}),
        "energy": (energy, 4, "uJ", "energy", {"operations": "operations", "each": "each"}),
    }
    given = [
        {"name": "net", "value": [str(w) for w in t.widths]}, {"name": "T", "value": str(t.steps)},
        {"name": "bits", "value": str(t.bits), "unit": "bit", "exact": True},
        {"name": "rates", "value": [_rounded(Fraction(r, 10), 0) for r in t.rates], "unit": "%"},
        {"name": "first", "value": _rounded(a, 1), "unit": "%"}, {"name": "second", "value": _rounded(b, 1), "unit": "%"},
        {"name": "each", "value": _rounded(Fraction(t.each, 100), 1), "unit": "pJ"},
    ]  # fmt: skip
    claims = [
        {"name": "operations", "quote": "q", "value": _rounded(operations, 0), "rounded_to": "1",
         "check": [{"relation": "operations_by_layer", "of": {"rates": "rates", "widths": "net", "steps": "T"}}]},
    ]  # fmt: skip
    for name, (value, places, unit, relation, of) in values.items():
        said = _rounded(value * (wrong or {}).get(name, Fraction(1)), places)
        claims.append(
            {"name": name, "quote": "q", "value": said, "unit": unit, "check": [{"relation": relation, "of": of}]}
        )
    return {"title": "t", "source": "s", "given": given, "claim": claims}


@check("operators", truths())
def truth_is_consistent(t: Truth, subject: Oracle) -> Iterator[Measure]:
    """A report printed from one truth is consistent in every claim, however few digits it prints [definition of rounding]."""
    found = subject.operator("audit")(_report(t))
    yield Measure("claims not found consistent", float(sum(f.verdict != "consistent" for f in found)),
                  detail="; ".join(f"{f.name}: {f.said}, {f.follows}" for f in found if f.verdict != "consistent"))  # fmt: skip


@check("operators", st.tuples(truths(), st.sampled_from(["neurons", "memory", "drop", "energy"])))
def contradiction_is_found(drawn: tuple[Truth, str], subject: Oracle) -> Iterator[Measure]:
    """One claim that is twice what follows from the others is the one that is found inconsistent [arithmetic].

    Rounding cannot explain a factor of two here: rates of 1 % that are printed as whole percentages mean at most 1.5 %,
    0.1 pJ at most 0.15 pJ, and energies and memories are only made wrong where their last printed place is small beside them.
    """
    t, name = drawn
    weights, _, operations = _sizes(t)
    smallest = {"energy": operations * Fraction(t.each, 100) / 10**6 / Fraction(1, 500),
                "memory": Fraction(weights * t.bits, 8192) / Fraction(1, 20)}  # fmt: skip
    name = "neurons" if smallest.get(name, Fraction(1)) < 1 else name
    found = subject.operator("audit")(_report(t, {name: Fraction(2)}))
    yield Measure("another set of claims is inconsistent",
                  float({f.name for f in found if f.verdict == "inconsistent"} != {name}), where=name)  # fmt: skip


@check("operators", st.tuples(truths(), st.integers(-999, 999), st.sampled_from([10, 100, 1000])))
def rounded_counts(drawn: tuple[Truth, int, int], subject: Oracle) -> Iterator[Measure]:
    """A count rounded to some place contradicts one that is further off than half of it, and no other [definition of rounding]."""
    t, off, place = drawn
    off = off * place // 1000
    claim = {"name": "rough", "quote": "q", "value": str(_sizes(t)[1] + off), "rounded_to": str(place),
             "check": [{"relation": "neurons", "of": {"widths": "net"}}]}  # fmt: skip
    report = _report(t)
    found = subject.operator("audit")({**report, "claim": [*report["claim"], claim]})[-1]
    yield Measure(
        "another verdict", float((found.verdict == "inconsistent") != (2 * abs(off) > place)), detail=f"{found}"
    )


@check("operators", st.tuples(truths(), st.lists(st.integers(0, 1), min_size=1, max_size=4)))
def lists_hold_in_every_entry(drawn: tuple[Truth, list[int]], subject: Oracle) -> Iterator[Measure]:
    """A list of claims is consistent where every entry is, and one that is off by a point contradicts them [arithmetic]."""
    t, off = drawn
    pairs = [(Fraction(t.first + 10 * i, 10), Fraction(t.second, 10)) for i in range(len(off))]
    report = _report(t)
    given = [{"name": name, "value": [_rounded(p[k], 1) for p in pairs], "unit": "%"} for k, name in enumerate("ab")]
    claim = {"name": "drops", "quote": "q", "unit": "points",
             "value": [_rounded(a - b + o, 1) for (a, b), o in zip(pairs, off, strict=True)],
             "check": [{"relation": "difference", "of": {"a": "a", "b": "b"}}]}  # fmt: skip
    found = subject.operator("audit")(
        {**report, "given": [*report["given"], *given], "claim": [*report["claim"], claim]}
    )
    yield Measure("another verdict", float((found[-1].verdict == "inconsistent") != any(off)), detail=f"{found[-1]}")


RULES = st.lists(st.tuples(st.sampled_from(["plain", "reading", "assumed"]), st.booleans()), min_size=1, max_size=5)


@check("operators", st.tuples(truths(), RULES))
def every_rule_counts(drawn: tuple[Truth, list[tuple[str, bool]]], subject: Oracle) -> Iterator[Measure]:
    """A claim is consistent where every rule holds, of several readings one; a rule that fails makes it inconsistent, but one that rests on an assumption only unverifiable [definition of the audit's verdicts]."""
    t, rules = drawn
    kinds = {
        "plain": {},
        "reading": {"reading": "one way to read it"},
        "assumed": {"assumes": "the report counts what it does not say"},
    }
    checks = [{"relation": "neurons", "of": {"widths": "net" if holds else "wider"}, **kinds[kind]}
              for kind, holds in rules]  # fmt: skip
    wider = {"name": "wider", "value": [*map(str, t.widths[:-1]), str(t.widths[-1] + 1)]}
    claim = {"name": "ruled", "quote": "q", "value": str(_sizes(t)[1]), "exact": True, "check": checks}
    report = _report(t)
    found = subject.operator("audit")(
        {**report, "given": [*report["given"], wider], "claim": [*report["claim"], claim]}
    )[-1]
    held = {kind: [holds for k, holds in rules if k == kind] for kind in kinds}
    refuted = not all(held["plain"]) or (held["reading"] and not any(held["reading"]))
    due = "inconsistent" if refuted else "consistent" if all(held["assumed"]) else "unverifiable"
    yield Measure("another verdict", float(found.verdict != due), detail=f"{found.verdict}, due {due}: {rules}")
