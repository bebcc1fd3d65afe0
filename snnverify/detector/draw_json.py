"""A diagram as JSON, and the schema that it keeps."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files
from typing import Any

from .diagram import Diagram

FORMAT = "snnverify architecture diagram 1"


def record(d: Diagram) -> dict[str, Any]:
    """Return a diagram as a tree of mappings, lists, strings and numbers; blocks and forks name their type."""
    return {"format": FORMAT, **_plain(d)}


def dumped(d: Diagram) -> str:
    """Return `record` as text."""
    return json.dumps(record(d), indent=1, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `record`; what it refers to stands in its place, so elements hold themselves."""
    form: dict[str, Any] = json.loads((files(__package__) / "diagram.schema.json").read_text("utf-8"))
    return _resolved(form, form["$defs"], {})  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        kind = type(value).__name__.lower()
        return {"type": kind, **fields} if kind in ("block", "fork") else fields
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _resolved(form: Any, defined: dict[str, Any], known: dict[str, Any]) -> Any:
    if isinstance(form, list):
        return [_resolved(v, defined, known) for v in form]
    if not isinstance(form, dict):
        return form
    if "$ref" in form:
        name = form["$ref"].removeprefix("#/$defs/")
        if name not in known:
            known[name] = {}  # known before it is read: it may refer to itself
            known[name].update(_resolved(defined[name], defined, known))
        return known[name]
    return {k: _resolved(v, defined, known) for k, v in form.items()}
