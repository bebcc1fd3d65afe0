"""A report written down as claims: the TOML file, validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from ..errors import ConfigError, DataError
from ..objects import nearest
from ..schema import breaches
from .intervals import UNITS, Interval, printed
from .relations import relations

_TEXT = {"type": "string", "pattern": r"(?s).*\S.*"}
_NUMBER = {
    "name": _TEXT, "quote": _TEXT, "value": {"type": ["string", "array"], "items": {"type": "string"}},
    "unit": {"type": "string"}, "exact": {}, "rounded_to": {"type": "string"}, "note": _TEXT,
}  # fmt: skip
_CHECK = {
    "relation": _TEXT, "of": {"type": "object", "additionalProperties": _TEXT}, "reading": _TEXT, "assumes": _TEXT,
    "compare": {"type": "string", "enum": ["=", "<=", ">="]},
}  # fmt: skip
FORM: Mapping[str, Any] = {
    "type": "object", "required": ["title", "source", "claim"],
    "properties": {
        "title": _TEXT, "source": _TEXT,
        "given": {"type": "array", "items": {"type": "object", "required": ["name", "value"], "properties": _NUMBER}},
        "claim": {"type": "array", "items": {
            "type": "object", "required": ["name", "quote"],
            "properties": {**_NUMBER, "missing": _TEXT, "check": {"type": "array", "items": {
                "type": "object", "required": ["relation"], "properties": _CHECK}}},
        }},
    },
}  # fmt: skip
CHECKED = ("relation", "of", "reading", "assumes", "compare")


@dataclass(frozen=True)
class Number:
    """A printed number, or a list of them, in all readings of its unit."""

    text: str
    unit: str
    readings: Sequence[Sequence[Interval]]
    many: bool

    @property
    def dimension(self) -> str:
        """What its unit measures; of a list in brackets."""
        name = UNITS[self.unit][0]
        return f"[{name}]" if self.many else name


@dataclass(frozen=True)
class Rule:
    """One relation that a claim must keep.

    Parameters
    ----------
    relation : str
    of : mapping of argument to the name of a number in the file
    compare : {"=", "<=", ">="}
        How the claimed number stands to the one that follows.
    reading : str
        Of rules that have one, any one suffices: ways in which the claim can be meant.
    assumes : str
        What the relation needs beyond the report: if it then fails, the claim is unverifiable rather than inconsistent.
    """

    relation: str
    of: Mapping[str, str]
    compare: str = "="
    reading: str = ""
    assumes: str = ""


@dataclass(frozen=True)
class Claim:
    """What a report says, and the rules by which it follows from what else it says."""

    name: str
    quote: str
    number: Number | None
    rules: Sequence[Rule]
    missing: str = ""
    note: str = ""


@dataclass(frozen=True)
class Claims:
    """A file of claims: `numbers` are those that are given and those that are claimed, by name."""

    title: str
    source: str
    numbers: Mapping[str, Number]
    claims: Sequence[Claim]


def read_claims(path: str | Path) -> Claims:
    """Read a file of claims.

    Raises
    ------
    DataError
        No such file, or no TOML.
    ConfigError
        A key, value, name, unit or relation that cannot be followed.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give a TOML file of claims") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: not TOML ({e}); mend that line") from None
    return parse_claims(table, str(path))


def parse_claims(table: Mapping[str, Any], where: str) -> Claims:
    """Validate what a TOML file holds; `where` names it in errors."""
    for breach in breaches(table, FORM, where):
        what = f"{breach} is what is asked for" if " = " in breach else breach
        raise ConfigError(f"{what}; a file of claims has title, source and [[claim]], see examples/claims")
    _known(table, FORM["properties"], where)
    numbers: dict[str, Number] = {}
    claims: list[Claim] = []
    for kind, items in (("given", table.get("given", ())), ("claim", table["claim"])):
        for item in items:
            place = f"{where}: {kind} {item['name']!r}"
            _known(item, {**_NUMBER, **({"missing": 0, "check": 0} if kind == "claim" else {})}, place)
            if item["name"] in numbers or any(c.name == item["name"] for c in claims):
                raise ConfigError(f"{place}: the name is taken; give each number its own")
            number = _number(item, place)
            if number is not None:
                numbers[item["name"]] = number
            if kind == "claim":
                claims.append(_claim(item, number, place))
    if not claims:
        raise ConfigError(f"{where}: claim = []: there is nothing to audit; add [[claim]]")
    found = Claims(table["title"], table["source"], numbers, claims)
    for claim in claims:
        for rule in claim.rules:
            _fits(claim, rule, found, f"{where}: claim {claim.name!r}")
    return found


def _known(item: Mapping[str, Any], keys: Mapping[str, Any], where: str) -> None:
    for key in item:
        if key not in keys:
            raise ConfigError(f"{where}: {key} = {item[key]!r}: no such key{nearest(key, keys)}")


def _number(item: Mapping[str, Any], where: str) -> Number | None:
    if "value" not in item:
        return None
    if not isinstance(item.get("exact", False), bool):
        raise ConfigError(f"{where}: exact = {item['exact']!r}: true or false")
    many = isinstance(item["value"], list)
    texts, unit = item["value"] if many else [item["value"]], item.get("unit", "")
    if not texts:
        raise ConfigError(f"{where}: value = []: at least one number")
    options = {"exact": item.get("exact", False), "rounded_to": item.get("rounded_to")}
    each = [printed(text, unit, f"{where}: value", **options) for text in texts]
    return Number(" / ".join(texts), unit, list(zip(*each, strict=True)), many)


def _claim(item: Mapping[str, Any], number: Number | None, where: str) -> Claim:
    rules = item.get("check", ())
    if bool(rules) == ("missing" in item):
        raise ConfigError(f'{where}: either [[claim.check]], or missing = "what a check would need"')
    if rules and number is None:
        raise ConfigError(f"{where}: value is missing; a check compares a number")
    for rule in rules:
        _known(rule, _CHECK, f"{where}: check")
    built = [Rule(**{"of": {}, **{k: rule[k] for k in CHECKED if k in rule}}) for rule in rules]
    return Claim(item["name"], item["quote"], number, built, item.get("missing", ""), item.get("note", ""))


def _fits(claim: Claim, rule: Rule, claims: Claims, where: str) -> None:
    """Refuse a rule whose relation is unknown, or whose arguments are of other names or dimensions than it takes."""
    known = relations()
    if rule.relation not in known:
        raise ConfigError(f"{where}: relation = {rule.relation!r}: no such relation{nearest(rule.relation, known)}")
    relation = known[rule.relation]
    if set(rule.of) != set(relation.takes):
        raise ConfigError(f"{where}: of = {dict(rule.of)}: {rule.relation} takes {', '.join(relation.takes)}")
    wanted = [(claim.number, relation.gives, "the claim")] + [
        (claims.numbers.get(name), relation.takes[argument], f"{argument} = {name!r}")
        for argument, name in rule.of.items()
    ]
    for number, dimension, what in wanted:
        each = claim.number is not None and claim.number.many  # a list is compared entry by entry
        if number is not None and number.dimension not in (dimension, *([f"[{dimension}]"] if each else [])):
            raise ConfigError(f"{where}: {what} is of {number.dimension}; {rule.relation} takes {dimension} there; "
                              "mend unit or relation")  # fmt: skip
