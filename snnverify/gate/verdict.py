"""What a verdict is made of: one requirement, the evidence it is judged by, and the outcome of them all."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ..content import Content
from ..errors import EvidenceError
from ..findings import Finding
from ..stats import Paired
from .outcomes import Outcomes

EXIT = {"PASS": 0, "FAIL": 1, "NO EVIDENCE": 2, "INCONCLUSIVE": 3}
WORST_FIRST = ("FAIL", "NO EVIDENCE", "INCONCLUSIVE", "PASS")


@dataclass(frozen=True, eq=False)
class Requirement(Content):
    """One thing that the gate asked for.

    Parameters
    ----------
    name : str
    outcome : str
        A key of `EXIT`.
    detail : str
        The figures, in words.
    value, bound, limit : float or None
        What was observed, its bound at the gate's confidence, and what is allowed, in `unit`.
    unit : str
    samples : int or None
    needed : int or None
        Samples that would decide it, about.
    """

    name: str
    outcome: str
    detail: str
    value: float | None = None
    bound: float | None = None
    limit: float | None = None
    unit: str = ""
    samples: int | None = None
    needed: int | None = None


@dataclass(frozen=True, eq=False)
class Verdict(Content):
    """Outcome of the gate (a key of `EXIT`) and the requirements behind it."""

    outcome: str
    requirements: tuple[Requirement, ...]

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 no evidence, 3 inconclusive."""
        return EXIT[self.outcome]


@dataclass(frozen=True)
class Evidence:
    """What is known of one model; None is unknown, and an unknown never passes.

    Parameters
    ----------
    model : str
    paired : mapping of int to Paired
        Of ANN and SNN at each T; empty for a regression.
    findings : tuple of Finding
    outcomes : Outcomes or None
        Of every sample.
    rates : mapping of str to float or None
        Mean spikes per neuron and step of each layer, at the largest T.
    synops : Fraction or None
        Synaptic operations per sample, at the largest T, those of an encoded input's spikes with them.
    macs : Fraction or None
        Connections per sample that analog values go over, in all steps of the largest T: no synaptic operations.
    energy : mapping of str to (float, float, str)
        Lowest and highest energy per sample at the largest T by each energy model that was asked for, pJ; and which
        operations that occur it has no price for.
    data, ann, snn : str
        Digests of samples with labels, of the network before and after conversion.
    """

    model: str
    paired: Mapping[int, Paired]
    findings: tuple[Finding, ...] = ()
    outcomes: Outcomes | None = None
    rates: Mapping[str, float] | None = None
    synops: Fraction | None = None
    macs: Fraction | None = None
    energy: Mapping[str, tuple[float, float, str]] = field(default_factory=dict)
    data: str = ""
    ann: str = ""
    snn: str = ""

    @property
    def steps(self) -> tuple[int, ...]:
        """T that were measured, ascending."""
        return self.outcomes.steps if self.outcomes is not None else tuple(sorted(self.paired))

    def at(self, steps: int | None, key: str = "gate-t") -> int:
        """T that is judged: the largest, or the one that is asked for; `EvidenceError` where it was not measured."""
        if not self.steps:
            raise EvidenceError("evidence: there is no accuracy table; run `snnverify report` with labelled data")
        chosen = max(self.steps) if steps is None else steps
        if chosen not in self.steps:
            raise EvidenceError(
                f"{key} = {chosen}: measured at T = {', '.join(map(str, self.steps))}; choose one of them"
            )
        return chosen


def apart(value: float | Fraction, limit: float | Fraction, form: str = ".2f") -> tuple[str, str]:
    """Texts of a value and of its limit that stand to one another as the two do: a bound of 1.0003 beside 1 is not 1.00.

    `form` is how the value is written where that is enough: a format of so many digits.
    """
    said = f"{float(limit):{',' * (',' in form)}.15g}"
    parts = re.fullmatch(r"(.*\.)(\d+)(\w)", form)
    assert parts is not None
    text = f"{float(value):{form}}"
    for digits in range(int(parts[2]) + 1, 18 if math.isfinite(value) else 0):
        if _order(text, said) == (value > limit) - (value < limit):
            break
        text = f"{float(value):{parts[1]}{digits}{parts[3]}}"
    return text, said


def _order(a: str, b: str) -> int:
    one, two = (Fraction(text.replace(",", "")) for text in (a, b))
    return (one > two) - (one < two)


def concluded(requirements: Sequence[Requirement]) -> Verdict:
    """FAIL before NO EVIDENCE before INCONCLUSIVE before PASS: the first that any requirement has; nothing is no evidence.

    A PASS says that *every* requirement was met, each by a test of level alpha. Whichever of them is truly broken, the
    whole passes only if its own test errs: an intersection-union test has the level of its parts, and no correction for
    their number is due (Berger, Technometrics 24:295, 1982, theorem 1).
    """
    outcomes = {r.outcome for r in requirements} or {"NO EVIDENCE"}
    return Verdict(next(o for o in WORST_FIRST if o in outcomes), tuple(requirements))
