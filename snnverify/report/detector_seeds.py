"""The same conversion from several seeds: what each arm keeps on average, and at worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..detector.study import Arm, Study
from .detector import HOW, kinds_of
from .energy import draw
from .markdown import escape

HEAD = (
    "mean, sd, least and greatest over the seeds, in percent; drop: against the net before, in points, mean and worst, "
    "with the worst's bound and verdict; weights, BN statistics: tensors that "
    "differ from those before, and how far the furthest moved, in the seed where that is most.",
    HOW[1],
)  # fmt: skip


def seeds_tables(found: Mapping[str, Sequence[Study]]) -> dict[str, list[dict[str, Any]]]:
    """For each net a table of its arms over the seeds, and one of its activations, mean over the seeds."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, studies in found.items():
        arms = zip(*(s.arms for s in studies), strict=True)
        score = next(iter(studies[0].arms[0].answers.scores))
        title = f"{name}: {kinds_of(studies[0])}, {len(studies)} seeds, {score}"
        tables[title] = [_row(each) for each in arms]
        layers = zip(*(s.layers for s in studies), strict=True)
        tables[f"{name}: activations, mean over seeds"] = [_unit(each) for each in layers]
    return tables


def _row(arms: Sequence[Arm]) -> dict[str, Any]:
    scores = 100 * np.array([next(iter(a.answers.scores.values())) for a in arms])
    row = {"net": arms[0].name, "mean": f"{scores.mean():.2f}", "sd": f"{scores.std(ddof=1):.2f}" if len(arms) > 1 else "-",
           "least": f"{scores.min():.2f}", "greatest": f"{scores.max():.2f}"}  # fmt: skip
    drops = [a.against for a in arms if a.against is not None]
    if not drops:
        return row | dict.fromkeys(("drop", "worst", "bound", "verdict", "weights", "BN statistics", "furthest"), "")
    worst = max(drops, key=lambda d: d.drop)
    changed = [a.changed for a in arms if a.changed is not None]
    most = max(changed, key=lambda c: (c.weights, c.statistics, c.furthest), default=None)
    return row | {
        "drop": f"{100 * np.mean([d.drop for d in drops]):.2f}", "worst": f"{100 * worst.drop:.2f}",
        "bound": f"{100 * worst.upper:.2f}", "verdict": worst.verdict.outcome,
        "weights": "all, on a grid" if most is None else f"{most.weights} of {most.of_weights}",
        "BN statistics": "folded" if most is None else f"{most.statistics} of {most.of_statistics}",
        "furthest": "" if most is None or not most.where else most.distance,
    }  # fmt: skip


def _unit(units: Sequence[Any]) -> dict[str, Any]:
    first = units[0]
    numbers = {"cosine": "cosine", "CKA": "cka", "gap": "gap", "rate before": "rate_before", "rate after": "rate_after"}
    means = {k: f"{np.mean([getattr(u, field) for u in units]):.3f}" for k, field in numbers.items()}
    return {"activation": first.name, "before": first.before, "after": first.after, **means}


def seeds_text(found: Mapping[str, Sequence[Study]]) -> str:
    """Tables for a terminal."""
    return draw(seeds_tables(found))


def seeds_markdown(found: Mapping[str, Sequence[Study]], command: str) -> str:
    """Give the same as Markdown, with the command, versions and data digests."""
    facts: dict[str, str] = {}
    for studies in found.values():
        facts |= {k: v for k, v in studies[0].facts.items() if k != "seed"}
    study = next(iter(found.values()))[0]
    said = [f"`{command}`", "", f"Judged on {escape(study.samples)}; repaired with {escape(study.train)}. "
            f"{escape(study.constants)}. {escape(' '.join(HEAD))}", "",
            "Versions and data: " + escape(", ".join(f"{k} {v}" for k, v in facts.items())) + ".", ""]  # fmt: skip
    return "\n".join([*said, draw(seeds_tables(found), "github")])
