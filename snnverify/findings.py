"""What a check says: measures with their limits, and the finding that they are judged into."""

from __future__ import annotations

from dataclasses import dataclass

from .content import Content

OUTCOMES = ("pass", "fail", "xfail", "unsupported", "unavailable", "error")


@dataclass(frozen=True, eq=False)
class Measure(Content):
    """A number and the limit that it must keep.

    Parameters
    ----------
    name : str
    value, limit : float
        Kept when ``value <= limit``; NaN never is.
    where : str
        Layer, step or parameter that it belongs to.
    detail : str
        What to show when it fails, for example the first divergence.
    """

    name: str
    value: float
    limit: float = 0.0
    where: str = ""
    detail: str = ""

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        return self.value <= self.limit

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.name}{place}: {self.value:g}, limit {self.limit:g}"


@dataclass(frozen=True, eq=False)
class Finding(Content):
    """Outcome of one check on one subject.

    Parameters
    ----------
    check, subject : str
        Name of the check; of the oracle, or of the model.
    outcome : one of `OUTCOMES`
    claim, source : str
        The law and where it comes from.
    cases : int
        On how many cases it was tried.
    worst : Measure or None
        The measure nearest to its limit, or the one that broke it.
    message : str
        Why it is no pass; empty for one.
    replay : str
        Command that runs the smallest case again.
    seconds : float
    """

    check: str
    subject: str
    outcome: str
    claim: str
    source: str
    cases: int = 0
    worst: Measure | None = None
    message: str = ""
    replay: str = ""
    seconds: float = 0.0

    def explain(self) -> str:
        """Return what a failing check prints: law, source, measure, first divergence, replay command."""
        lines = [f"{self.check} on {self.subject}: {self.outcome}", f"  law: {self.claim}", f"  source: {self.source}"]
        if self.worst is not None:
            lines.append(f"  measured: {self.worst}")
            if self.worst.detail and self.outcome != "pass":
                lines.append(f"  first divergence: {self.worst.detail}")
        if self.message:
            lines.append(f"  why: {self.message}")
        lines.append(f"  cases: {self.cases}")
        if self.replay:
            lines.append(f"  replay: {self.replay}")
        return "\n".join(lines)
