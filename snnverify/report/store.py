"""A report on disk: written whole or not at all, read back with suspicion, judged again."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import ConfigError, EvidenceError
from ..gate import Limit, Verdict, policy, release
from ..gate.policy import drop_of, in_points, written
from ..pipeline import Run
from ..pipeline.release import last_release, named, refuse_unknown
from .html import render_html
from .looks import styled
from .markdown import render_markdown
from .plots import PLOTS, png, svg
from .record import SCHEMA, Stored, from_json, to_json
from .tables import tables

RECORD = "report.json"
PARTS = frozenset({"index.html", "report.md", RECORD, "tables", "plots"})


def write(run: Run, out: Path) -> Path:
    """Write a report; nothing is left half-written, whatever happens.

    Parameters
    ----------
    run : Run
    out : Path
        Folder: ``index.html``, ``report.md``, ``report.json``, ``tables/*.csv``, ``plots/*.png``. A previous report there
        is replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        Something else than a report is there, or it cannot be written.
    """
    target = Path(out).resolve()
    check_target(out)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    except OSError as e:
        raise ConfigError(f"out = {str(out)!r}: {e.strerror or e}; choose a folder that can be written") from None
    try:
        new, old = room / "new", room / "old"
        _fill(run, new)
        check_target(out)  # it may have changed meanwhile
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
    except OSError as e:
        raise ConfigError(f"out = {str(out)!r}: {e.strerror or e}; choose a folder that can be written") from None
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return Path(out)


def _fill(run: Run, folder: Path) -> None:
    """Write every file of a report into a new folder."""
    frames = tables(run)
    for name in ("tables", "plots"):
        (folder / name).mkdir(parents=True)
    pictures: dict[str, dict[str, str]] = {}
    inline: list[dict[str, str]] = []
    with styled():
        for i, a in enumerate(run.assessments):
            slug = f"{i + 1}-{re.sub('[^A-Za-z0-9_.-]+', '_', a.model.name)[:60]}"
            drawn = {}
            for name, draw in PLOTS.items():
                figure = draw(a, frames)
                if figure is None:
                    continue
                path = f"plots/{slug}-{name}.png"
                (folder / path).write_bytes(png(figure))
                pictures.setdefault(a.model.name, {})[name] = path
                drawn[name] = svg(figure, f"{i}-{name}")
            inline.append(drawn)
    for name, frame in frames.items():
        frame.to_csv(folder / "tables" / f"{name}.csv", index=False, lineterminator="\n")
    (folder / "report.md").write_text(render_markdown(run, frames, pictures), "utf-8")
    (folder / "index.html").write_text(render_html(run, frames, inline), "utf-8")
    (folder / RECORD).write_text(to_json(run), "utf-8")


def check_target(out: Path) -> None:
    """Refuse, before any work, a folder that a report must not replace.

    Raises
    ------
    ConfigError
        It is a file, or holds anything but a report of ours: a previous report is replaced as a whole.
    """
    target = Path(out).resolve()
    if not target.exists():
        parent = next(p for p in target.parents if p.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise ConfigError(f"out = {str(out)!r}: nothing can be written in {parent}; choose another folder")
        return
    if not target.is_dir():
        raise ConfigError(f"out = {str(out)!r}: it is a file; choose a folder")
    names = {p.name for p in target.iterdir()}
    if not names:
        return
    if not _is_report(target / RECORD):
        raise ConfigError(f"out = {str(out)!r}: it holds something else than a report; choose another folder")
    if names - PARTS:
        extra = ", ".join(sorted(names - PARTS)[:3])
        raise ConfigError(f"out = {str(out)!r}: it holds {extra} besides a report; move that, or choose another folder")


def _is_report(path: Path) -> bool:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    name = found.get("schema") if isinstance(found, dict) else None
    return isinstance(name, str) and name.partition("/")[0] == SCHEMA.partition("/")[0]


def load(path: Path) -> list[Stored]:
    """Read the models of a report.

    Parameters
    ----------
    path : Path
        The folder, or its ``report.json``.

    Raises
    ------
    EvidenceError
        No report there, or one that cannot be trusted: see `record.from_json`.
    """
    given = Path(path)
    if not given.exists():
        raise EvidenceError(f"{path}: no such report; write one with `snnverify report --out {path}`")
    file = given / RECORD if given.is_dir() else given
    if not file.is_file():
        raise EvidenceError(f"{path}: there is no {RECORD} in it; write a report with `snnverify report --out {path}`")
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise EvidenceError(f"{file}: it cannot be read ({e}); write the report anew") from None
    return from_json(text, str(file))


def judge_again(
    path: Path,
    at: int | None = None,
    max_drop: str | float | Fraction | None = None,
    asked: Mapping[str, Any] | None = None,
) -> list[tuple[str, Verdict]]:
    """Judge every model of a report anew from its figures and findings; the stored verdict is not read.

    Parameters
    ----------
    path : Path
    at : int, optional
        T that is judged; the largest by default.
    max_drop : str, float or Fraction, optional
        Greatest drop, in percentage points or with its unit; the report's own by default.
    asked : mapping, optional
        What else is asked for, in the words of ``[tool.snnverify.gate]``; it goes over what the report says.

    Raises
    ------
    EvidenceError
        As `load`; `at` was not measured; the baseline cannot be read.
    ConfigError
        `max_drop` is no drop; what is asked for, now or in the report, cannot be followed.
    """
    limit = None if max_drop is None else drop_of(max_drop)
    over = {**(asked or {}), **({} if at is None else {"at": at})}
    found = []
    for s in load(path):
        wanted = policy({**s.asked, **over}, f"{path}: policy:")
        wanted = replace(wanted, max_drop=limit or wanted.max_drop or Limit(s.margin))
        refuse_unknown(wanted, s.evidence.energy)
        required = tuple(dict.fromkeys((*s.required, *(c.name for c in named(wanted)))))
        found.append((s.model, release(s.evidence, wanted, required, last_release(wanted.baseline))))
    return found


def other_limits(path: Path, at: int | None, max_drop: str | None, asked: Mapping[str, Any]) -> tuple[str, str]:
    """The limit of the drop that `judge_again` judges by, and in what limits differ from the report's; empty if in none."""
    drop, found = "", []
    for s in load(path):
        was = {"max_drop": str(Limit(s.margin)), **s.asked}
        over = {**({} if at is None else {"at": at}), **({} if max_drop is None else {"max_drop": in_points(max_drop)})}
        now = {**was, **asked, **over}
        drop, one, two = now["max_drop"], policy(was), policy(now)
        same = {key for key in now if getattr(one, key) == getattr(two, key)}  # 1.0 points are 1 points
        a, b = ({k: v for k, v in written(raw).items() if k.partition(".")[0] not in same} for raw in (was, now))
        found += [
            f"{k} {b.get(k, '–')} (there {a.get(k, '–')})" for k in dict.fromkeys([*b, *a]) if a.get(k) != b.get(k)
        ]
    return drop, ", ".join(dict.fromkeys(found))
