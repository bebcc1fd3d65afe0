"""A regression's requirement: the mean error must not grow by more than a limit."""

from __future__ import annotations

from collections.abc import Iterator

from ..content import Array
from . import bounds
from .policy import Policy
from .verdict import Evidence, Requirement, apart

NAME = "error increase"


def errors(e: Evidence, asked: Policy, steps: int) -> Iterator[Requirement]:
    """Judge how much the mean error of the SNN exceeds that of the ANN on the same samples."""
    assert e.outcomes is not None
    n = len(e.outcomes.labels)
    if n < asked.min_samples:
        detail = f"{n}, at least {asked.min_samples} are asked for"
        yield Requirement(
            "samples", "INCONCLUSIVE", detail, n, None, asked.min_samples, "samples", n, asked.min_samples
        )
    for what in ("max_drop_at", "max_class_drop", "min_class_accuracy", "min_agreement"):
        if getattr(asked, what):
            yield Requirement(
                what, "NO EVIDENCE", "the targets are numbers, which have no accuracy; take it out of the table"
            )
    if asked.max_error_increase is None or asked.error_cap is None:
        yield Requirement(NAME, "NO EVIDENCE", "the targets are numbers: state max_error_increase and error_cap, the "
                          "greatest error of a sample that can occur, in the gate's table")  # fmt: skip
        return
    before, after = (e.outcomes.losses(t, asked.error) for t in (None, steps))
    limit = float(asked.max_error_increase)
    yield increase(NAME, before, after, limit, asked, f"at T = {steps}", ("ANN", "SNN"))


def increase(
    name: str, before: Array, after: Array, limit: float, asked: Policy, where: str, who: tuple[str, str]
) -> Requirement:
    """Judge the mean increase of a loss, paired by sample.

    Losses lie within [0, cap], so their difference within [-cap, cap], where `bounds.mean_upper` holds. The cap is the
    user's statement about the world; a loss over it refutes the statement, and then nothing is proven.
    """
    assert asked.error_cap is not None
    n, cap, d = len(before), float(asked.error_cap), after - before
    over = {w: int((v > cap).sum()) for w, v in zip(who, (before, after), strict=True)}
    mean, upper = float(d.mean()), bounds.mean_upper(d, cap, asked.alpha)
    (grown, most), (bound, _) = apart(mean, limit, "+.4g"), apart(upper, limit, ".4g")
    said = (
        f"mean {asked.error} error {before.mean():.4g} of the {who[0]}, {after.mean():.4g} of the {who[1]}, {grown} "
        f"{where} (n = {n}), upper {float(100 * asked.confidence):g} % bound {bound}, limit {most}"
    )
    figures = (mean, upper, limit, f"{asked.error} error", n)
    if mean > limit:
        return Requirement(name, "FAIL", said, *figures)
    if any(over.values()):
        listed = " and ".join(f"{k} samples of the {w}" for w, k in over.items() if k)
        return Requirement(
            name, "NO EVIDENCE", f"{said}; {listed} are over error_cap = {cap:g}: state a cap that holds", *figures
        )
    if upper <= limit:
        return Requirement(name, "PASS", said, *figures)
    more = bounds.mean_needed(d, cap, limit, asked.alpha)
    tail = f"about {more} samples like these would decide it" if more else "no number of samples would decide it"
    return Requirement(name, "INCONCLUSIVE", f"{said}; {tail}", *figures, more)
