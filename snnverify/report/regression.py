"""What a report says of a regression: errors in place of accuracies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..gate import Outcomes, Policy, policy
from ..gate.bounds import mean_upper
from ..pipeline import Assessment

Row = dict[str, Any]


def asked(a: Assessment) -> Policy:
    """What the gate asked of the model."""
    return policy(a.asked)


def errors(a: Assessment) -> Iterator[Row]:
    """Mean errors of ANN and SNN at each T, their difference, and its bound where a cap is stated."""
    f, wanted = a.model.fidelity, asked(a)
    if not f.regression:
        return
    o = Outcomes(f.steps, f.labels, f.ann, f.snn)
    before = o.losses(None, wanted.error)
    for steps in f.steps:
        after = o.losses(steps, wanted.error)
        cap = wanted.error_cap
        holds = cap is not None and max(before.max(), after.max()) <= cap
        yield {
            "model": a.model.name, "T": steps, "n": len(after), "error": wanted.error, "ann_error": float(before.mean()),
            "snn_error": float(after.mean()), "increase": float((after - before).mean()),
            "upper": mean_upper(after - before, float(cap), wanted.alpha) if holds and cap is not None else None,
            "greatest_ann": float(before.max()), "greatest_snn": float(after.max()),
            "distance": float(np.abs(o.of(steps) - o.ann).mean()),
        }  # fmt: skip


def figures(a: Assessment) -> tuple[tuple[str, str], ...]:
    """Headline figures of the page."""
    last = list(errors(a))[-1]
    limit = asked(a).max_error_increase
    return (
        (f"ANN, {last['error']} error", f"{last['ann_error']:.4g}"),
        ("SNN", f"{last['snn_error']:.4g}"),
        ("increase", f"{last['increase']:+.4g}"),
        ("95 % bound", "–" if last["upper"] is None else f"{last['upper']:.4g}"),
        ("limit", "–" if limit is None else f"{float(limit):g}"),
        ("samples", f"{last['n']}"),
    )


def meaning(a: Assessment) -> tuple[str, str]:
    """What the verdict means, and what to do about it."""
    last = list(errors(a))[-1]
    said = (
        f"At T = {last['T']} the SNN's mean {last['error']} error is {last['snn_error']:.4g}, the ANN's "
        f"{last['ann_error']:.4g}, on {last['n']} samples."
    )
    blocking = [r for r in a.verdict.requirements if r.outcome == a.verdict.outcome]
    if a.verdict.outcome == "PASS":
        return f"The conversion keeps the errors within what is asked. {said}", ""
    stops = ", ".join(r.name for r in blocking)
    ways = {
        "FAIL": f"More samples will not change this: {stops}.",
        "INCONCLUSIVE": f"The data cannot decide: {stops}. "
        + "; ".join(f"about {r.needed} samples would" for r in blocking if r.needed),
        "NO EVIDENCE": f"Nothing is proven: {blocking[0].name}: {blocking[0].detail}.",
    }
    return said, ways[a.verdict.outcome]
