"""What a conversion of SiLU to binary spikes kept: as tables for a terminal, Markdown, JSON, and one page with a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..detector.fidelity import Alike
from ..detector.study import Arm, Study
from ..gate import Verdict
from .energy import draw
from .looks import ANN, FAINT, INK, SIZE, SNN, styled
from .markdown import escape
from .page import page
from .plots import svg

Record = dict[str, Any]
HOW = (
    "drop: of the first score against the net before, in points; bound: its upper 95 % bound (of classes exact and "
    "paired, of mAP by resampling images); b / c: samples that only the net before, only this one gets right; changed: "
    "tensors that differ from those before, and how far the furthest moved.",
    "cosine: of an activation's outputs over all steps, mean over samples; CKA: linear, of means over steps and places; "
    "gap: |after - before| / |before|; rate: mean output, of binary units spikes a step.",
)  # fmt: skip


def verdict_of(study: Study) -> Verdict:
    """The gate's verdict on the conversion itself."""
    against = study.arm("converted").against
    assert against is not None
    return against.verdict


def detector_tables(study: Study) -> dict[str, list[Record]]:
    """Arms, activations and sweep, as cells."""
    found = {"Arms": [_arm(a) for a in study.arms], "Activations before and after": [_alike(v) for v in study.layers]}
    if study.swept:
        score = next(iter(study.arms[0].answers.scores))
        rows = [{"threshold": f"{t:g}", f"{score}, %": _percent(s)} for t, s in study.swept.items()]
        found["Threshold of the converted units, on training samples"] = rows
    return found


def _arm(a: Arm) -> Record:
    d = a.against
    return {
        "net": a.name, **{f"{name}, %": _percent(value) for name, value in a.answers.scores.items()},
        "drop": "" if d is None else f"{100 * d.drop:.2f}", "bound": "" if d is None else f"{100 * d.upper:.2f}",
        "b / c": "" if d is None or d.b is None else f"{d.b} / {d.c}",
        "verdict": "" if d is None else d.verdict.outcome,
        "changed": ("" if d is None else "all onto the grid") if a.changed is None else str(a.changed), "what": a.what,
    }  # fmt: skip


def _alike(v: Alike) -> Record:
    return {"activation": v.name, "before": v.before, "after": v.after, "cosine": f"{v.cosine:.3f}", "CKA": _three(v.cka),
            "gap": _three(v.gap), "rate before": f"{v.rate_before:.3f}", "rate after": f"{v.rate_after:.3f}"}  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _three(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def said(study: Study) -> list[str]:
    """What was judged, on what, and what to know about it."""
    return [f"judged on {study.samples}", *([f"repaired with {study.train}"] if study.train else []),
            f"constants: {study.constants}; {kinds_of(study)}", *study.notes]  # fmt: skip


def kinds_of(study: Study) -> str:
    """Modules, and units converted of each kind."""
    each = ", ".join(f"{k} {n}" for k, n in study.kinds.items() if k != "modules")
    counts = f"{len(study.converted)} of {len(study.layers)} activations converted"
    return f"{study.kinds['modules']} modules, {counts}{f' ({each})' if each else ''}"


def render_study(study: Study) -> str:
    """Tables for a terminal."""
    verdict = [f"[{r.outcome}] converted: {r.detail}" for r in verdict_of(study).requirements]
    return "\n".join([*said(study), "", draw(detector_tables(study)), *verdict])


def markdown_study(study: Study, title: str) -> str:
    """Give the same as Markdown, with what the columns mean."""
    lines = [f"## {escape(title)}: {verdict_of(study).outcome}", "", *(f"- {escape(line)}" for line in said(study)), ""]
    about = [f"- {escape(k)}: {escape(v)}" for k, v in study.facts.items()]
    return "\n".join([*lines, draw(detector_tables(study), "github"), *(f"{escape(h)}\n" for h in HOW), *about]) + "\n"


def study_record(study: Study) -> Record:
    """Every number, for JSON; what is not a number there is null."""
    arms = []
    for a in study.arms:
        d, c = a.against, a.changed
        arms.append({
            "net": a.name, "what": a.what, "scores": dict(a.answers.scores),
            "drop": None if d is None else d.drop, "upper": None if d is None else d.upper,
            "b": None if d is None else d.b, "c": None if d is None else d.c,
            "verdict": None if d is None else d.verdict.outcome,
            "changed": None if c is None else {k: _finite(v) for k, v in vars(c).items()},
        })  # fmt: skip
    layers = [{k: _finite(v) for k, v in vars(v).items()} for v in study.layers]
    return {
        "samples": study.samples, "kinds": dict(study.kinds), "train": study.train, "constants": study.constants,
        "converted": list(study.converted),
        "arms": arms, "layers": layers, "swept": [{"threshold": t, "score": s} for t, s in study.swept.items()],
        "unswept": _finite(study.unswept),
        "notes": list(study.notes), "provenance": dict(study.facts),
    }  # fmt: skip


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_study(study: Study) -> str:
    """The record as text."""
    return json.dumps(study_record(study), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def html_study(study: Study, title: str) -> str:
    """One page that needs nothing from anywhere else; names are escaped."""
    with styled():
        picture = svg(figure(study), title)
    verdict = verdict_of(study)
    return page(
        "fidelity", title, verdict.outcome, [r.detail for r in verdict.requirements], detector_tables(study),
        said=said(study), how=HOW, facts=study.facts, picture=picture,
        pictured="Cosine of every activation before and after the conversion; score over the threshold",
    )  # fmt: skip


def figure(study: Study) -> Figure:
    """Cosine of each activation before and after, converted ones marked; beside it the score over the threshold."""
    drawn = Figure(figsize=(2 * SIZE[0], min(max(SIZE[1], 1.4 + 0.24 * len(study.layers)), 40)))
    axes = drawn.subplots(1, 1 + bool(study.swept), squeeze=False)[0]
    _cosines(axes[0], study.layers, study.converted)
    if study.swept:
        score = next(iter(study.arms[0].answers.scores))
        percent = [100 * v for v in study.swept.values()]
        axes[1].plot(list(study.swept), percent, "o-", color=SNN, label="after, by threshold")
        axes[1].axhline(100 * study.unswept, color=ANN, linestyle="--", linewidth=1.4, label="before")
        axes[1].set_title("Threshold of the converted units")
        axes[1].set_xlabel("threshold")
        axes[1].set_ylabel(f"{score} on training samples, %")
        axes[1].set_ylim(bottom=0)
    drawn.legend(loc="outside lower center", ncols=5, columnspacing=1.2, handletextpad=0.5)
    return drawn


def _cosines(axes: Any, layers: Sequence[Alike], names: Sequence[str]) -> None:
    at = range(len(layers))
    for label, colour, chosen in (("converted", SNN, True), ("as it was", FAINT, False)):
        rows = [i for i in at if (layers[i].name in names) == chosen]
        if rows:
            axes.barh(rows, [layers[i].cosine for i in rows], height=0.62, color=colour, label=label)
    axes.set_yticks(at, [v.name if len(v.name) <= 26 else f"…{v.name[-25:]}" for v in layers])
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlim(min(0.0, *(v.cosine for v in layers)) if layers else 0.0, 1.02)
    axes.grid(False, axis="y")
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_title("Outputs before and after")
    axes.set_xlabel("cosine, mean over samples")


def render_int8(name: str, scores: Mapping[str, tuple[float, float]], grids: Any, drop: Any) -> str:
    """A line a weight and a line a calibrated output of a net on INT8, and what that costs."""
    weights = [{
        "weight": path, "values": w.integers.size, "bytes": -(-w.memory_bits // 8), "scales": int(np.size(w.scale)),
        "least": f"{np.min(w.scale):.4g}", "greatest": f"{np.max(w.scale):.4g}",
        "integers": f"{int(w.integers.min())} ... {int(w.integers.max())}",
        "zeros, %": f"{100 * np.mean(w.integers == 0):.1f}",
    } for path, w in grids.weights.items()]  # fmt: skip
    outputs = [{"output": path, "low": f"{r.low:.4g}", "high": f"{r.high:.4g}", "scale": f"{r.scale:.4g}",
                "zero point": r.zero_point} for path, r in grids.ranges.items()]  # fmt: skip
    rows = [{"score": k, "float, %": _percent(a), "INT8, %": _percent(b)} for k, (a, b) in scores.items()]
    tables = {f"{name}: weights, {-(-grids.memory_bits // 8):,} bytes": weights, "Calibrated outputs": outputs,
              "What INT8 costs": rows}  # fmt: skip
    said = [f"[{r.outcome}] static INT8: {r.detail}" for r in drop.verdict.requirements]
    return "\n".join([draw(tables), *said])
