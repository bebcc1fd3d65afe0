"""The score of the diagnosis on planted causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .diagnose import Cause, causes
from .measure import waterfall
from .planted import DRAWS, SIZES, Subject, subjects, turn


@dataclass(frozen=True)
class Answer:
    """What the diagnosis said of one subject.

    Parameters
    ----------
    family : str
    number : int
        Of the subject in its family.
    subject, said : str
        Deployment and what was planted; what was named.
    planted, named, missed : int
        Causes; of the planted ones, those that were named and those that were not.
    wrong : int
        Causes that were named but not planted.
    placed, places : int
        Named causes of one layer that were put into the right one, of all such.
    """

    family: str
    number: int
    subject: str
    said: str
    planted: int
    named: int
    missed: int
    wrong: int
    placed: int
    places: int

    @property
    def exact(self) -> bool:
        """Whether all causes were named, and no other."""
        return not self.missed and not self.wrong and self.placed == self.places


def judge(subject: Subject, found: tuple[Cause, ...]) -> Answer:
    """Compare the answer with what was planted."""
    said = {c.key: c.layer for c in found}
    named = said.keys() & subject.planted.keys()
    missed, wrong = subject.planted.keys() - named, said.keys() - named
    places = [k for k in named if subject.planted[k]]
    placed = sum(said[k] == subject.planted[k] for k in places)
    words = ", ".join(f"{k}{f' in {v}' if v else ''}" for k, v in said.items()) or "nothing"
    return Answer(subject.family, subject.number, subject.name, words, len(subject.planted), len(named), len(missed),
                  len(wrong), placed, len(places))  # fmt: skip


def answer(subject: Subject) -> Answer:
    """Diagnose one subject."""
    b = subject.base
    return judge(subject, causes(waterfall(b.ann, subject.deployment, b.x, b.y), b.x)[0])


def score(
    seed: int, sizes: Mapping[str, int] = SIZES, progress: Callable[[str, int, int], None] | None = None
) -> list[Answer]:
    """Diagnose every subject that could be planted."""
    found = []
    for s in subjects(seed, sizes):
        found.append(answer(s))
        if progress is not None:
            progress(f"planted: {s.family}", s.number + 1, sizes[s.family])
    return found


def passed_over(seed: int, answers: list[Answer], sizes: Mapping[str, int] = SIZES) -> str:
    """Say which numbers of a family could not be planted; empty where all could."""
    there = {(a.family, a.number) for a in answers}
    lacking = [f"{family} {i} ({', '.join(turn(seed, family, i))})"
               for family, size in sizes.items() for i in range(size) if (family, i) not in there]  # fmt: skip
    if not lacking:
        return ""
    return (f"Not planted, because in {DRAWS} draws there was none in which each fault alone costs what it should and "
            f"costs it beside the others, too: {'; '.join(lacking)}.")  # fmt: skip
