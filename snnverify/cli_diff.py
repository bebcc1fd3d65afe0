"""The part of the shell face about two runs side by side: thin, too."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]


def register(add: Add) -> None:
    """Add the command to the command line."""
    p = add(_diff, "diff", "Compare two reports side by side: exit 0 no verdict is worse, 1 one is, 2 bad usage.")
    p.add_argument("first", type=Path, help="folder of the earlier report")
    p.add_argument("second", type=Path, help="folder of the later one")
    p.add_argument("--json", type=Path, metavar="FILE", dest="as_json", help="write the tables there")
    p.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page there")


def _diff(*, first: Path, second: Path, as_json: Path | None, html: Path | None, command: str) -> int:
    from .content import check_folder, write_atomic
    from .report import difference
    from .report.energy import draw
    from .report.page import page
    from .report.store import load

    for option, file in {"--json": as_json, "--html": html}.items():
        check_folder(file, option)
    runs = load(first), load(second)
    tables, worse, unlike = difference.differences(*runs), difference.worse(*runs), difference.unlike(*runs)
    outcome, said = ("FAIL", "a verdict is worse than before") if worse else ("PASS", "no verdict is worse than before")
    if as_json is not None:  # before anything is printed: a closed pipe must not cost the files
        write_atomic(as_json, difference.as_json(tables, worse, unlike))
    if html is not None:
        facts = {
            "first": str(first),
            "second": str(second),
            "command": shlex.join(["snnverify", command, str(first), str(second)]),
        }
        leads = [f"{said.capitalize()}.", *(f"Not alike: {line}" for line in unlike)]
        picture = difference.overlay(*runs)
        write_atomic(html, page("diff", f"{first} and {second}", outcome, leads, tables, facts=facts, picture=picture,
                                pictured="Accuracy over T of both runs"))  # fmt: skip
    for line in unlike:
        print(f"not alike: {line}")
    print(f"{chr(10) * bool(unlike)}{draw(tables)}")
    print(f"{outcome}: {said}")
    return int(worse)
