"""Requirements of one release on its own figures: accuracy, classes, agreement, rates, operations, energy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np

from ..errors import EvidenceError
from ..stats import Paired
from ..stats import exact_upper as _exact_upper
from ..stats import needed as _needed
from ..stats import verdict as _verdict
from . import bounds
from .forms import Limit
from .policy import Policy
from .verdict import Evidence, Requirement, apart

# pure functions that cost milliseconds, asked again for the same table by classes, T and releases that are alike
exact_upper = lru_cache(maxsize=4096)(_exact_upper)
needed = lru_cache(maxsize=4096)(_needed)
verdict = lru_cache(maxsize=4096)(_verdict)
OLD = "the report holds no {}; write it anew with `snnverify report`"


def accuracy(e: Evidence, asked: Policy, steps: int) -> Iterator[Requirement]:
    """Judge the drop at every T that is asked for, in every class, and the agreement; the samples first."""
    n = e.paired[steps].n
    if n < asked.min_samples:
        detail = f"{n}, at least {asked.min_samples} are asked for"
        yield Requirement(
            "samples", "INCONCLUSIVE", detail, n, None, asked.min_samples, "samples", n, asked.min_samples
        )
    if asked.max_drop is not None:
        yield _drop_at(e, asked.max_drop, steps, asked, "accuracy drop")
    for at, limit in sorted(asked.max_drop_at.items()):
        yield _drop_at(e, limit, e.at(at, "max_drop_at"), asked, f"accuracy drop at T = {at}")
    if asked.max_class_drop is not None or asked.min_class_accuracy is not None or asked.min_agreement is not None:
        yield from _by_sample(e, asked, steps)


def refuse_errors(asked: Policy) -> None:
    """Refuse what only a regression can keep: on classes it would be read and never judged.

    Raises
    ------
    EvidenceError
        A limit of the mean error, or the cap that its bound rests on.
    """
    for key in ("max_error_increase", "error_cap"):
        if getattr(asked, key) is not None:
            raise EvidenceError(f"{key} = {float(getattr(asked, key)):g}: the labels are classes, which have no error to "
                                f"bound; take it out of the gate's table, or give targets that are floats")  # fmt: skip


def _drop_at(e: Evidence, limit: Limit, steps: int, asked: Policy, name: str) -> Requirement:
    right = None if e.outcomes is None else int((e.outcomes.ann == e.outcomes.labels).sum())
    return drop(name, e.paired[steps], right, limit, asked, f"at T = {steps}", ("ANN", "SNN"))


def drop(
    name: str, p: Paired, before: int | None, limit: Limit, asked: Policy, where: str, who: tuple[str, str]
) -> Requirement:
    """Judge a paired drop; `before` is how many samples the first of the two gets right, which a relative limit needs."""
    alpha, said = asked.alpha, f"(n = {p.n}, only {who[0]} right {p.b}, only {who[1]} right {p.c})"
    level = f"upper {float(100 * asked.confidence):g} % bound"
    outcome: str
    if not limit.relative:
        outcome, upper, share = verdict(p, limit.share, alpha), exact_upper(p, alpha), p.drop
        n = needed(p, limit.share, alpha) if outcome == "INCONCLUSIVE" else None
        unit = "points"
    elif before is None:
        return Requirement(name, "NO EVIDENCE", OLD.format("outcome of each sample, which a relative limit needs"))
    else:
        outcome, upper = bounds.relative_verdict(p, before, limit.share, alpha), bounds.relative_upper(p, before, alpha)
        share = Fraction(p.b - p.c, before) if before else Fraction(0)
        n = bounds.relative_needed(p, before, limit.share, alpha) if outcome == "INCONCLUSIVE" else None
        unit = "% relative"
    (lost, most), (bound, _) = (apart(v, 100 * limit.share) for v in (100 * share, 100 * upper))
    detail = f"drop {lost} {unit} {where} {said}, {level} {bound}, limit {most}"
    return Requirement(name, outcome, detail + _decides(outcome, n), float(100 * share), 100 * upper,
                       float(100 * limit.share), unit, p.n, n)  # fmt: skip


def _decides(outcome: str, n: int | None) -> str:
    if outcome != "INCONCLUSIVE":
        return ""
    return f"; about {n} samples at these rates would decide it" if n else "; no number of samples would decide it"


def share(name: str, k: int, n: int, least: Fraction, asked: Policy, where: str) -> Requirement:
    """Judge a share that must not be below `least`."""
    outcome, lower = bounds.share_verdict(k, n, least, asked.alpha), bounds.share_lower(k, n, asked.alpha)
    more = bounds.share_needed(k, n, least, asked.alpha) if outcome == "INCONCLUSIVE" else None
    (kept, floor), (bound, _) = (apart(v, 100 * least) for v in (Fraction(100 * k, n), 100 * lower))
    level = f"lower {float(100 * asked.confidence):g} % bound"
    detail = f"{kept} % {where} ({k} of {n}), {level} {bound}, at least {floor}{_decides(outcome, more)}"
    return Requirement(name, outcome, detail, 100 * k / n, 100 * lower, float(100 * least), "%", n, more)


def _by_sample(e: Evidence, asked: Policy, steps: int) -> Iterator[Requirement]:
    """Judge what only the outcome of each sample tells."""
    o = e.outcomes
    if o is None:
        wanted = {"class drop": asked.max_class_drop, "class accuracy": asked.min_class_accuracy,
                  "agreement": asked.min_agreement}  # fmt: skip
        for name in (k for k, v in wanted.items() if v is not None):
            yield Requirement(name, "NO EVIDENCE", OLD.format("outcome of each sample"))
        return
    where = f"at T = {steps}"
    if asked.min_agreement is not None:
        yield share("agreement", int((o.of(steps) == o.ann).sum()), len(o.ann), asked.min_agreement, asked, where)
    for label in np.unique(o.labels).tolist():
        mine = o.labels == label
        if asked.max_class_drop is not None:
            p, right = o.paired(steps, label), int((o.ann[mine] == label).sum())
            yield drop(f"drop of class {label}", p, right, asked.max_class_drop, asked, where, ("ANN", "SNN"))
        if asked.min_class_accuracy is not None:
            right = int((o.of(steps)[mine] == label).sum())
            yield share(f"accuracy of class {label}", right, int(mine.sum()), asked.min_class_accuracy, asked, where)


def measured(e: Evidence, asked: Policy) -> Iterator[Requirement]:
    """Judge rates, operations and energy: means over the samples of the report at the largest T, exact counts, no bounds."""
    if asked.firing_rate is not None:
        yield _rates(e, *asked.firing_rate)
    if asked.max_synops is not None:
        yield _operations("synaptic operations", e.synops, asked.max_synops, _unlimited(e, asked))
    if asked.max_macs is not None:
        yield _operations("MACs", e.macs, asked.max_macs, "")
    for table, limit in asked.max_energy.items():
        yield _energy(e, table, limit, asked.allow_unpriced)


def _unlimited(e: Evidence, asked: Policy) -> str:
    """What a limit of synaptic operations lets through: analog values go over connections, too, and are none."""
    if e.macs is None:
        return OLD.format("count of MACs, which are no synaptic operations")
    if not e.macs or asked.max_macs is not None:
        return ""
    return (
        f"besides, {float(e.macs):,.1f} MACs per sample on analog values, which it does not limit: state max_macs, too"
    )


def _operations(name: str, count: Fraction | None, limit: Fraction, unlimited: str) -> Requirement:
    if count is None:
        return Requirement(name, "NO EVIDENCE", OLD.format(f"count of {name}"))
    outcome = "FAIL" if count > limit else "NO EVIDENCE" if unlimited else "PASS"
    value, most = apart(count, limit, ",.1f")
    detail = f"{value} per sample at the largest T, limit {most}{'; ' * bool(unlimited)}{unlimited}"
    return Requirement(name, outcome, detail, float(count), None, float(limit), "operations per sample")


def _rates(e: Evidence, low: Fraction, high: Fraction) -> Requirement:
    if not e.rates:
        return Requirement("firing rate", "NO EVIDENCE", OLD.format("firing rate"))
    off = {name: r for name, r in e.rates.items() if not float(low) <= r <= float(high)}
    worst = max(e.rates.items(), key=lambda item: max(float(low) - item[1], item[1] - float(high)))
    listed = ", ".join(f"{name} {_rate(r, low, high)}" for name, r in (off or dict([worst])).items())
    said = f"outside in {len(off)} of {len(e.rates)} layers: {listed}" if off else f"nearest to an end: {listed}"
    detail = f"mean spikes per neuron and step within {float(low):g} ... {float(high):g}; {said}"
    return Requirement("firing rate", "FAIL" if off else "PASS", detail, worst[1], None,
                       float(low if worst[1] < low else high), "spikes per step")  # fmt: skip


def _rate(r: float, low: Fraction, high: Fraction) -> str:
    """A rate, told apart from the end of the range that it is nearer to."""
    return apart(r, low if r - low < high - r else high, ".4g")[0]


def _energy(e: Evidence, table: str, limit: Fraction, allow: tuple[str, ...]) -> Requirement:
    """A range decides where the limit is not inside it; what occurs without a price can only be over the limit."""
    name = f"energy by {table}"
    if table not in e.energy:
        lacking = OLD.format(f"energy by {table}")
        return Requirement(name, "NO EVIDENCE", f"{lacking} and this limit, for which it is measured")
    low, high, without = e.energy[table]
    missing = [k for k in without.split(", ") if k and k not in allow]
    outcome = "FAIL" if low > limit else "NO EVIDENCE" if missing else "PASS" if high <= limit else "INCONCLUSIVE"
    (least, most), at_most = zip(*(apart(end / 1e6, limit / 10**6, ".4g") for end in (low, high)), strict=True)
    said = least if low == high else f"{least} to {most}"
    detail = f"{said} uJ per sample at the largest T, limit {max(at_most, key=len)}"
    detail += f"; it has no price for {without}" if without else ""
    more = {
        "INCONCLUSIVE": "; the range of the energy model holds the limit, which no number of samples changes",
        "NO EVIDENCE": f", and so is no ceiling: price {' and '.join(missing)} in an energy_table of your own, or say that "
                       f"it may be left out: allow_unpriced = {json.dumps(missing)}",
    }.get(outcome, "")  # fmt: skip
    return Requirement(name, outcome, detail + more, low / 1e6, high / 1e6, float(limit) / 1e6, "uJ per sample")
