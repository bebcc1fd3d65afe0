"""The part of the shell face that sets up a project: thin, too."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import __version__

Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]
NEXT = """
next, in {folder}:
  1. {first}
  2. snnverify report --gate          # convert, measure, judge: exit 0 pass, 1 fail, 3 inconclusive
  3. python -m pytest {suite}
  4. commit the files above; put reports/ and .snnverify/ into .gitignore"""

UNREACHABLE = """  5. {making}
     and commit {wheel}, which the workflow installs: this snnverify came from a folder that no runner
     reaches. Or name a tag: --requirement 'snnverify @ git+https://HOST/OWNER/snnverify@v{version}'"""


def register(add: Add) -> None:
    """Add the command to the command line."""
    p = add(_init, "init", "Set up a project: settings in pyproject.toml, a pytest suite, a GitHub Actions workflow.")
    p.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="the project (this folder)")
    p.add_argument(
        "--model", help="module:callable or path.py:callable returning an nn.Module; an embedded one without it"
    )
    p.add_argument("--weights", help="safetensors, or a state dict")
    p.add_argument("--data", help=".npz with x and y, an IDX pair, or module:callable; all paths start at DIR")
    p.add_argument("--calibration", help="as --data")
    p.add_argument("-T", "--timesteps", nargs="+", type=int, metavar="T", help="numbers of time steps (4 8 16 32 64)")
    p.add_argument("--max-drop", help="greatest accuracy drop: percentage points, or with a unit (1.0 points)")
    p.add_argument("--suite", default="tests/test_fidelity.py", metavar="FILE", help="(tests/test_fidelity.py)")
    p.add_argument(
        "--requirement",
        metavar="SPEC",
        help="what the workflow has pip install (this copy of snnverify: its "
        "index, its repository, or a wheel that you commit)",
    )
    p.add_argument("--force", action="store_true", help="replace files and settings that are there")


def _init(
    *, folder: Path, suite: str, requirement: str | None, force: bool, command: str, **given: Any
) -> int:  # fmt: skip
    from .scaffold import installable, scaffold

    for path in scaffold(folder, given, suite=suite, requirement=requirement, force=force):
        print(f"written: {path}")
    own = given["model"] is not None and ":" in given["model"]
    lacking = [key for key in ("model", "data") if given[key] is None] if own or given["model"] is None else []
    first = f"say in pyproject.toml what is yours: {', '.join(lacking)}" if lacking else "look through [tool.snnverify]"
    print(NEXT.format(folder=folder.resolve(), first=first, suite=suite))
    wheel, making = installable()
    if making and requirement is None:
        print(UNREACHABLE.format(wheel=wheel, making=making, version=__version__))
    return 0
