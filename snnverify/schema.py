"""What breaks a JSON schema: of JSON Schema the words that our own schemas use, without a dependency."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "null": (type(None),), "boolean": (bool,),
}  # fmt: skip


def breaches(value: Any, form: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield what breaks a schema, each with its path; ``boolean`` alone takes a bool."""
    kinds = form.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    fitting = ("boolean",) if isinstance(value, bool) else tuple(_TYPES)
    if kinds and not any(k in fitting and isinstance(value, _TYPES[k]) for k in kinds):
        yield f"{path} = {_brief(value)}: of type {' or '.join(kinds)}"
        return
    if "const" in form and value != form["const"]:
        yield f"{path} = {_brief(value)}: {form['const']!r}"
    if "enum" in form and value not in form["enum"]:
        yield f"{path} = {_brief(value)}: one of {', '.join(form['enum'])}"
    if "pattern" in form and not re.fullmatch(form["pattern"], value):
        yield f"{path} = {_brief(value)}: of the form {form['pattern']}"
    if "minimum" in form and value is not None and value < form["minimum"]:
        yield f"{path} = {_brief(value)}: at least {form['minimum']}"
    if isinstance(value, dict):
        yield from (f"{path}.{name} is missing" for name in form.get("required", ()) if name not in value)
        for name, inner in form.get("properties", {}).items():
            if name in value:
                yield from breaches(value[name], inner, f"{path}.{name}")
        known, rest = form.get("properties", {}), form.get("additionalProperties", {})
        for name in (n for n in value if n not in known):
            if rest is False:
                yield f"{path}.{name}: no such entry; one of {', '.join(known)}"
            else:
                yield from breaches(value[name], rest, f"{path}.{name}")
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from breaches(item, form.get("items", {}), f"{path}[{i}]")


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
