"""Commands about hardware: the audit of claims, and the mapping of a network onto a target."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from .content import write_atomic

Add = Callable[[Callable[..., int], str, str], ArgumentParser]


def register(add: Add) -> None:
    """Add the commands."""
    p = add(
        _audit,
        "audit",
        "Recompute what a report claims: exit 0 consistent, 1 inconsistent, 3 unverifiable, 2 a bad file.",
    )
    p.add_argument("claims", type=Path, help="TOML file of claims; see examples/claims")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the verdicts as JSON, too")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write them as a Markdown table, too")


def _audit(*, claims: Path, json: Path | None, markdown: Path | None, command: str) -> int:
    from .hardware.audit import audit, exit_code, record
    from .hardware.claims import read_claims
    from .report.hardware import markdown_audit, render_audit

    read = read_claims(claims)
    findings = audit(read)
    if json:
        write_atomic(json, _dumped(record(read, findings)))
    if markdown:
        write_atomic(markdown, markdown_audit(read, findings))
    print(render_audit(read, findings))
    return exit_code(findings)


def _dumped(tree: object) -> str:
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"
