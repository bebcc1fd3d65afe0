"""A page of plain tables under a verdict, which needs nothing from anywhere else; every name is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .looks import COLOURS

MARKS = {"PASS": "✓", "FAIL": "✕", "INCONCLUSIVE": "?", "NO EVIDENCE": "–"}


def template(name: str) -> Any:
    """Template of this room; names are escaped, and a name that is not given is an error."""
    return Environment(
        loader=PackageLoader("snnverify.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)  # fmt: skip


def page(
    kind: str, title: str, outcome: str, leads: Sequence[str], tables: Mapping[str, Sequence[Mapping[str, Any]]], *,
    said: Sequence[str] = (), how: Sequence[str] = (), facts: Mapping[str, Any] | None = None, picture: str = "",
    pictured: str = "",
) -> str:  # fmt: skip
    """Return the page of a command.

    Parameters
    ----------
    kind : str
        The command.
    title, outcome : str
        What was judged, and a key of `MARKS`.
    leads, said, how : sequence of str
        Sentences under the verdict, quieter ones, and what the columns mean.
    tables : mapping of title to rows
        Each row a mapping of heading to text or number.
    facts : mapping
        Provenance.
    picture, pictured : str
        An SVG element, which is put in as it is, and what it shows.
    """
    return str(template("page.html.j2").render(
        kind=kind, title=title, outcome=outcome, leads=leads, said=said, tables=tables, how=how, facts=facts or {},
        picture=Markup(picture), pictured=pictured, marks=MARKS, light={v: k for k, v in COLOURS.items()},
    ))  # fmt: skip
