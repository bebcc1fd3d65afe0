"""The score of the diagnosis on planted causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .diagnose import Cause, causes
from .measure import waterfall
from .planted import SIZES, Subject, subjects


@dataclass(frozen=True)
class Row:
    """Score of a family.

    Parameters
    ----------
    family : str
    subjects : int
    planted, named, missed : int
        Causes; of the planted ones, those that were named and those that were not.
    wrong : int
        Causes that were named but not planted.
    placed, places : int
        Named causes of one layer that were put into the right one, of all such.
    exact : int
        Subjects whose causes were named, all and no other.
    faults : tuple of str
    """

    family: str
    subjects: int
    planted: int
    named: int
    missed: int
    wrong: int
    placed: int
    places: int
    exact: int
    faults: tuple[str, ...] = ()


def judge(subject: Subject, found: tuple[Cause, ...]) -> Row:
    """Compare the answer with what was planted."""
    said = {c.key: c.layer for c in found}
    named = said.keys() & subject.planted.keys()
    missed, wrong = subject.planted.keys() - named, said.keys() - named
    places = [k for k in named if subject.planted[k]]
    placed = sum(said[k] == subject.planted[k] for k in places)
    fault = f"{subject.name}: {', '.join(f'{k} {v}'.strip() for k, v in said.items()) or 'nothing'}"
    whole = not missed and not wrong and placed == len(places)
    return Row(subject.family, 1, len(subject.planted), len(named), len(missed), len(wrong), placed, len(places), int(whole),
               () if whole else (fault,))  # fmt: skip


def score(
    seed: int, sizes: Mapping[str, int] = SIZES, progress: Callable[[str, int, int], None] | None = None
) -> list[Row]:
    """Diagnose every planted subject and add the answers up by family."""
    rows: dict[str, Row] = {}
    for i, s in enumerate(subjects(seed, sizes)):
        w = waterfall(s.base.ann, s.deployment, s.base.x, s.base.y)
        row = judge(s, causes(w, s.base.x)[0])
        old = rows.get(s.family)
        rows[s.family] = row if old is None else Row(s.family, *(getattr(old, k) + getattr(row, k) for k in _SUMS))
        if progress is not None:
            progress("planted", i + 1, sum(sizes.values()))
    return list(rows.values())


_SUMS = tuple(Row.__dataclass_fields__)[1:]
