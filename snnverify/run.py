"""The only judge: a check, a subject and cases become a Finding."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import FlakyFailure, Unsatisfiable

from . import reference
from .checks import Check, select
from .content import Content, load, save
from .errors import OracleDied, OracleError, Unavailable, Unsupported
from .fidelity import ModelUnderTest
from .findings import Finding, Measure
from .oracles import Oracle
from .oracles.known import REPRODUCED, Defect, defects_of
from .strategies import within
from .trace import Case, compare

UNDRAWN = "none of its neuron classes can be drawn for this law"
STORE = Path(".snnverify")  # below the working directory: example databases and failing cases


@dataclass(frozen=True, eq=False)
class Failure(Content):
    """The smallest case that broke a check: what `snnverify replay` reads."""

    check: str
    oracle: str
    drawn: Content


class _Broken(Exception):
    """A measure over its limit."""


def run(
    check: Check,
    oracle: Oracle,
    *,
    examples: int = 50,
    seed_value: int = 0,
    store: Path | None = None,
    shrink: bool = True,
    asked_as: str = "",
) -> Finding:
    """Try a check on drawn cases.

    Parameters
    ----------
    check : Check
        Of any kind but ``model``.
    oracle : Oracle
    examples : int
        Number of cases.
    seed_value : int
        Of the draw.
    store : Path, optional
        Folder for the example database (one per check and oracle) and for the smallest failing case.
    shrink : bool
        Whether to look for the smallest failing case (never one that crashes the subject, nor of a known defect).
    asked_as : str
        How the oracle was asked for where that is not its name: the replay command says it again.

    Returns
    -------
    Finding
        A pass on no measure at all is a failure.
    """
    known = defects_of(oracle.name, check.name)
    started, tally = time.perf_counter(), _Tally(check.name, known)
    last: list[Any] = [None, None]
    crash: list[OracleError] = []

    def body(drawn: Any) -> None:
        if crash:  # a subject that crashes is not asked again: shrinking would crash it hundreds of times
            raise crash[0]
        last[0], last[1] = drawn, None
        try:
            broken = tally.take(lambda: check.function(drawn, oracle))
        except OracleError as e:
            crash.append(e)
            raise
        if broken is not None:
            last[1] = broken
            raise _Broken

    database = DirectoryBasedExampleDatabase(store / "examples" / f"{check.name}-{oracle.name}") if store else None
    shrink = shrink and not known  # the list holds its minimal case
    phases = [Phase.generate] + [Phase.shrink] * shrink + [Phase.reuse] * (store is not None)
    options = settings(max_examples=examples, deadline=None, database=database, phases=phases,
                       suppress_health_check=list(HealthCheck), report_multiple_bugs=False)  # fmt: skip
    message, outcome = "", None
    try:
        # `seed` goes inside: outermost it would switch the example database off
        with within(oracle.families):
            options(seed(seed_value)(given(check.cases)(body)))()  # type: ignore[no-untyped-call]
    except Unsatisfiable as e:
        outcome, message = ("unsupported", UNDRAWN) if oracle.families else ("error", _one_line(e))
    except Unsupported as e:  # while drawing: that of the subject itself is counted case by case
        outcome, message = "unsupported", f"{UNDRAWN}: {e}"
    except _Broken:
        outcome = "fail"
    except FlakyFailure:
        outcome, message = "fail", "the same case fails once and passes then: something is kept between calls"
    except Unavailable as e:
        outcome, message = "unavailable", str(e)
    except Exception as e:
        outcome, message = "error", _one_line(e)
    finding = tally.finding(check, oracle.name, outcome, message, last[1], time.perf_counter() - started)
    finding = _with_divergence(finding, last[0], oracle)
    if outcome in (None, "unsupported", "unavailable") or not isinstance(last[0], Content) or store is None:
        return finding
    path = store / "failures" / f"{check.name}-{oracle.name}.npz"
    try:
        save(Failure(check.name, oracle.name, last[0]), path)
    except OSError as e:  # a folder that cannot be written must not hide the finding
        return replace(finding, replay=f"none: the case could not be saved ({e})")
    again = ["--oracle", asked_as] if asked_as not in ("", oracle.name) else []
    return replace(finding, replay=shlex.join(["snnverify", "replay", str(path), *again]))


def run_model(check: Check, model: ModelUnderTest) -> Finding:
    """Try a check of kind ``model``."""
    finding = _once(check, model.name, lambda: check.function(model))
    return finding if finding.outcome in ("pass", "unsupported") else replace(finding, replay=model.command)


def replay(failure: Failure, oracle: Oracle) -> Finding:
    """Run the case of a failure again."""
    (check,) = select(failure.check)
    known = defects_of(oracle.name, check.name)
    finding = _once(check, oracle.name, lambda: check.function(failure.drawn, oracle), known)
    return _with_divergence(finding, failure.drawn, oracle)


def load_failure(path: Path) -> Failure:
    """Read a failing case; the rooms are imported first, because a case may be of a type of theirs."""
    select()
    return load(path, Failure)


def _with_divergence(finding: Finding, drawn: Any, oracle: Oracle) -> Finding:
    """Add, to a broken law of dynamics, where the run first parts from the exact reference."""
    worst = finding.worst
    if finding.outcome != "fail" or worst is None or worst.detail:
        return finding
    if not isinstance(drawn, Case) or oracle.simulator is None:
        return finding
    try:
        parted = compare(drawn.network, oracle.run(drawn), reference.run(drawn))
    except Exception as e:  # what cannot be compared must not hide the finding
        return replace(finding, worst=replace(worst, detail=f"not found ({_one_line(e)})"))
    return replace(finding, worst=replace(worst, detail=str(parted)))


def _once(
    check: Check, subject: str, measures: Callable[[], Iterable[Measure]], known: tuple[Defect, ...] = ()
) -> Finding:
    started, tally = time.perf_counter(), _Tally(check.name, known)
    outcome, message, broken = None, "", None
    try:
        broken = tally.take(measures)
        outcome = "fail" if broken is not None else None
    except Exception as e:
        outcome, message = "error", _one_line(e)
    return tally.finding(check, subject, outcome, message, broken, time.perf_counter() - started)


class _Tally:
    """Measures of one check over its cases; those that a known defect of the subject covers are expected to break it."""

    def __init__(self, check: str, known: tuple[Defect, ...]) -> None:
        self.cases = self.unsupported = 0
        self.worst: Measure | None = None
        self.why = ""
        self.check, self.known, self.seen = check, known, dict.fromkeys(known, False)

    def take(self, measures: Callable[[], Iterable[Measure]]) -> Measure | None:
        """Measure one case; return the first measure that is over its limit and not expected to be.

        What was measured before an exception counts: a broken law is not excused by what cannot be expressed after it.
        """
        found: list[Measure] = []
        try:
            for measure in measures():
                found.append(measure)
                if not measure.kept and not self._expected(measure):
                    break
        except Unsupported as e:
            self.unsupported, self.why, found = self.unsupported + 1, str(e), [m for m in found if not m.kept]
        except (Unavailable, OracleDied):  # nobody has answered
            raise
        except Exception as e:
            if not self._raised(e):
                raise
        self.cases += bool(found)
        for m in found:
            if self.worst is None or not m.value - m.limit <= self.worst.value - self.worst.limit:
                self.worst = m
        return found[-1] if found and not found[-1].kept and not self._expected(found[-1]) else None

    def _expected(self, measure: Measure) -> bool:
        return self._seen([d for d in self.known if d.covers(self.check, measure.where)])

    def _raised(self, e: Exception) -> bool:
        return self._seen([d for d in self.known if d.raises and d.raises in str(e)])

    def _seen(self, covering: list[Defect]) -> bool:
        self.seen.update(dict.fromkeys(covering, True))
        return bool(covering)

    def finding(
        self, check: Check, subject: str, outcome: str | None, message: str, broken: Measure | None, seconds: float
    ) -> Finding:
        missing = [d.id for d, seen in self.seen.items() if not seen]
        # strict where the minimal case of every defect is run; draws of another law may miss it
        if outcome is None and missing and self.cases and self.check == REPRODUCED:
            outcome, message = "fail", f"{', '.join(missing)}: on the list of defects, and the law holds; strike it"
        elif outcome is None and any(self.seen.values()):
            shown = [d for d, seen in self.seen.items() if seen]
            said = [f"{d.id}: {d.title}" if len(shown) <= 3 else d.id for d in shown]
            outcome, message = "xfail", ("; " if len(shown) <= 3 else ", ").join(said)
        if outcome is None:
            outcome = "pass" if self.cases else "unsupported" if self.unsupported else "fail"
            message = {"pass": "", "unsupported": self.why}.get(outcome, "it measured nothing: no case had evidence")
        return Finding(check.name, subject, outcome, check.claim, check.source, self.cases, broken or self.worst,
                       message, "", seconds)  # fmt: skip


def _one_line(e: Exception) -> str:
    return f"{type(e).__name__}: {' '.join(str(e).split())}"[:400]
