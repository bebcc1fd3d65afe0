"""What a verdict means and what to do about it, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..convert.curves import Curve
from ..fidelity import LayerFidelity
from ..gate import Requirement, policy
from ..gate.verdict import WORST_FIRST, apart
from ..pipeline import Assessment, Run
from ..stats import Paired, verdict, wilson
from . import regression
from .tables import points, upper
from .waterfall import conclusion, mending

PARTS = {
    "inherited": "inherited from earlier layers",
    "own": "its own, potential left over after the last step",
    "clipped": "activations over the threshold, which are clipped",
}
COSTS = {
    "maxpool": ("A gate in the place of max pooling",
                "where the greatest unit of each window is known from the first step on"),
    "pool_neurons": ("A neuron after each average pooling", "without these neurons"),
}  # fmt: skip
FEWER = "take fewer steps, or thresholds of a lower rate (mode rate)"
WAYS = {  # by how the name of a requirement begins
    "accuracy drop at": "take more steps there, or allow more",
    "drop of class": "see where that class parts: snnverify explain MODEL --class K",
    "accuracy of class": "see where that class parts: snnverify explain MODEL --class K",
    "model.agreement": "make the loss smaller, or allow more by max_disagreement",
    "agreement": "see where a sample parts: snnverify explain MODEL --sample N",
    "synaptic operations": FEWER, "growth of": FEWER, "energy": FEWER,
    "firing rate": "calibrate to that range: mode rate with its target rate",
    "no worse than": "see what changed: snnverify diff LAST THIS",
}  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """What the verdict means, where the loss arises (empty where there is none), what to do, and what each change costs."""

    meaning: str
    cause: str
    remedy: str
    waterfall: tuple[str, ...] = ()


def overall(run: Run) -> str:
    """Return the worst verdict of a run; a run of no model has no evidence."""
    found = {a.verdict.outcome for a in run.assessments} or {"NO EVIDENCE"}
    return next(o for o in WORST_FIRST if o in found)


def explain(a: Assessment) -> Explanation:
    """Explain the verdict of one model at the T that is judged."""
    last = a.model.fidelity.steps[-1]  # at which layers were measured
    steps = policy(a.asked).at or last
    cause, mend = _cause(a, last)
    if a.model.fidelity.regression:
        meaning, remedy = regression.meaning(a)
        return Explanation(meaning, cause, remedy)
    p = a.model.fidelity.paired(steps)
    meaning = " ".join([_MEANINGS[a.verdict.outcome](a, p, steps), *_caveats(a, p)])
    if a.explained is not None and a.explained.causes:  # a change that costs answers says more than an error of rates
        mend = mending(a.explained, a.model.margin)
    left_out = [f"No waterfall: {a.unsplit}."] if a.unsplit else []
    fallen = left_out if a.explained is None else conclusion(a.explained)
    return Explanation(meaning, cause, _REMEDIES[a.verdict.outcome](a, p, steps, mend), tuple(fallen))


def _caveats(a: Assessment, p: Paired) -> list[str]:
    """Say what makes a kept accuracy worth little: an ANN near chance, layers that are silent, thresholds not measured."""
    fidelity, said = a.model.fidelity, []
    right, classes = int((fidelity.ann == fidelity.labels).sum()), len(set(fidelity.labels.tolist()))
    if classes > 1 and wilson(right, p.n)[0] <= 1 / classes:
        said.append(f"Beware: the ANN itself is right on {points(right / p.n):.1f} % only, no better than chance.")
    silent = [v.layer for v in fidelity.layers if v.dead == v.units]
    if silent:
        said.append(f"Beware: no unit of {', '.join(silent)} ever spikes, so there is little to keep.")
    notes = [n for n in a.model.converted.notes if n.startswith("no calibration")]
    return said + [f"Beware: {n}." for n in notes] + [_cost(a, c) for c in a.curves if c.compared in COSTS]


def _cost(a: Assessment, c: Curve) -> str:
    """Say how the accuracy differs from that of the same conversion but for one thing, at the largest T and at most."""
    f = a.model.fidelity
    own = {steps: points(np.mean(row == f.labels)) for steps, row in zip(f.steps, f.snn, strict=True)}
    lost = {steps: points(k / c.samples) - own[steps] for steps, k in zip(c.steps, c.right, strict=True)}
    last, most = c.steps[-1], max(lost, key=lambda steps: abs(lost[steps]))

    def change(steps: int) -> str:
        verb = "costs" if lost[steps] >= 0 else "gains"
        size = f"{abs(lost[steps]):.2f} points" if lost[steps] else "nothing"
        return f"{verb} {size} at T = {steps}"

    also = f", and {change(most)}" if most != last else ""
    what, than = COSTS[c.compared]
    return f"{what} {change(last)}{also}, against the same network {than}."


def _change(a: Assessment, p: Paired) -> str:
    """Return the observed drop, as a verb; with as many digits as tell it from the limit."""
    drop = _drop(a)
    limit = points(a.model.margin) if drop.limit is None or drop.unit != "points" else drop.limit
    size = f"{apart(abs(points(p.drop)), limit)[0]} points of accuracy"
    return f"loses {size}" if p.drop > 0 else f"gains {size}" if p.drop < 0 else "loses no accuracy"


def _drop(a: Assessment) -> Requirement:
    """The requirement on the accuracy at the T that is judged, whose figures are the gate's own."""
    none = Requirement("accuracy drop", "NO EVIDENCE", "", limit=points(a.model.margin), unit="points")
    return next((r for r in a.verdict.requirements if r.name == "accuracy drop"), none)


def _limit(a: Assessment) -> str:
    drop = _drop(a)
    limit = points(a.model.margin) if drop.limit is None else drop.limit
    return f"{apart(limit, limit)[1]}{f' {drop.unit}' * (drop.unit == '% relative')} allowed"


def _bound(a: Assessment, p: Paired) -> tuple[float, str]:
    """Upper bound of the drop in points, and its confidence: the gate's, or the usual one of a relative limit."""
    drop = _drop(a)
    if drop.bound is None or drop.unit != "points":
        return points(upper(p)), "95 %"
    return drop.bound, f"{float(100 * policy(a.asked).confidence):g} %"


def _blocking(a: Assessment, outcome: str) -> list[str]:
    return [r.name for r in a.verdict.requirements if r.outcome == outcome and r.name != "accuracy drop"]


def _passed(a: Assessment, p: Paired, steps: int) -> str:
    checks, (most, level) = len(a.required), _bound(a, p)
    told = apart(abs(most), _drop(a).limit or 0)[0]
    bound = f"loses at most {told}" if most >= 0 else f"gains at least {told}"
    return (
        f"The conversion keeps the accuracy: at T = {steps} the SNN {_change(a, p)} on {p.n} samples and, with {level} "
        f"confidence, {bound} points ({_limit(a)}); all {checks} required checks hold."
    )


def _failed(a: Assessment, p: Paired, steps: int) -> str:
    broken = _blocking(a, "FAIL")
    kind = "check" if all(name in {f.check for f in a.findings} for name in broken) else "requirement"
    checks = f"{len(broken)} {kind}{'s' * (len(broken) > 1)} fail{'s' * (len(broken) == 1)}: {', '.join(broken)}."
    if _drop(a).outcome == "FAIL":
        lost = f"At T = {steps} the SNN {_change(a, p)} on {p.n} samples ({_limit(a)})."
        return f"{lost} Besides, {checks}" if broken else lost
    return f"It is not the accuracy at T = {steps} that fails (the SNN {_change(a, p)}, {_limit(a)}), but {checks}"


def _undecided(a: Assessment, p: Paired, steps: int) -> str:
    others = [r for r in a.verdict.requirements if r.outcome == "INCONCLUSIVE" and r.name != "accuracy drop"]
    if others and not _accuracy_undecided(a):
        return f"The data cannot decide {', '.join(r.name for r in others)}; the accuracy drop at T = {steps} is kept."
    most, level = _bound(a, p)
    return (
        f"The data cannot decide: at T = {steps} the SNN {_change(a, p)} on {p.n} samples, but the loss may be as large as "
        f"{apart(most, _drop(a).limit or 0)[0]} points (upper {level} bound; {_limit(a)})."
    )


def _accuracy_undecided(a: Assessment) -> bool:
    return any(r.outcome == "INCONCLUSIVE" and r.name == "accuracy drop" for r in a.verdict.requirements)


def _unproven(a: Assessment, p: Paired, steps: int) -> str:
    missing = ", ".join(_blocking(a, "NO EVIDENCE")) or "the gate's requirements"
    return (
        f"Nothing is proven: there is no pass of {missing}. At T = {steps} the SNN {_change(a, p)}, but a figure without "
        "the checks behind it does not count."
    )


_MEANINGS: Mapping[str, Callable[[Assessment, Paired, int], str]] = {
    "PASS": _passed, "FAIL": _failed, "INCONCLUSIVE": _undecided, "NO EVIDENCE": _unproven,
}  # fmt: skip


def _cause(a: Assessment, steps: int) -> tuple[str, str]:
    """Return the layer with the greatest mean error and its dominant part, and what mends that part."""
    layers = a.model.fidelity.layers
    if not layers:
        return "", ""
    at = max(range(len(layers)), key=lambda i: layers[i].error_mean)
    worst = layers[at]
    part, size = dominant(worst)
    if not worst.error_mean > 0:
        return "", ""
    said = (
        f"Layer {worst.layer} has the greatest mean error at T = {steps}: {worst.error_mean:.3g} of the threshold, "
        f"mostly {PARTS[part]} (up to {size:.3g})"
    )
    if part == "inherited" and at:
        origin = max(layers[:at], key=lambda v: max(v.own, v.clipped))
        part, size = dominant(origin, origins=True)
        said += f"; most of that arises in layer {origin.layer}: {PARTS[part]} (up to {size:.3g})"
    return f"{said}.", _mend(part, a.model.converted.options, steps)


def dominant(layer: LayerFidelity, origins: bool = False) -> tuple[str, float]:
    """Return the greatest part of a layer's error and its size; with `origins`, of those that arise in it."""
    parts = {"own": layer.own, "clipped": layer.clipped} | ({} if origins else {"inherited": layer.inherited})
    part = max(parts, key=lambda k: parts[k])
    return part, parts[part]


def _mend(part: str, options: Mapping[str, str], steps: int) -> str:
    """Return the remedy for one part of the error, given how the network was converted."""
    mode = options.get("mode", "")
    if part == "clipped":
        if mode == "max":
            return "calibrate on data that reach the activations of the evaluation set (mode max is set already)"
        return f"raise the thresholds: mode max, or a percentile higher than {mode or 'now'}"
    ways = [f"a larger T (try {2 * steps})"]
    if part == "inherited":
        return f"use {ways[0]} or the constant encoding"
    ways += [f"v_init half (now {options['v_init']})"] if options.get("v_init", "half") not in ("half", "0.5") else []
    ways += [f"reset subtract (now {options['reset']})"] if options.get("reset", "subtract") != "subtract" else []
    return f"use {' or '.join(ways)}"


def _keep(a: Assessment, p: Paired, steps: int, mend: str) -> str:
    marks = a.model.fidelity.steps
    failing = [t for t in marks if verdict(a.model.fidelity.paired(t), a.model.margin) != "PASS"]
    first = next(t for t in marks if t > max(failing, default=0)) if marks[-1] not in failing else steps
    return f"Fewer steps would do: the accuracy passes from T = {first} on." if first < steps else ""


def _repair(a: Assessment, p: Paired, steps: int, mend: str) -> str:
    said = []
    if _drop(a).outcome == "FAIL":
        said.append(f"More samples will not change this: {mend or 'change the conversion'}.")
    broken = _blocking(a, "FAIL")
    said += [f"For {name}, {way}." for name in broken for begins, way in WAYS.items() if name.startswith(begins)]
    if any(name in {f.check for f in a.findings} - {"model.agreement"} for name in broken):  # that one is a policy
        said.append(
            "A failing check points at the conversion or the simulator; see its row under Checks, then replay it."
        )
    return " ".join(said)


def _decide(a: Assessment, p: Paired, steps: int, mend: str) -> str:
    asked = [r for r in a.verdict.requirements if r.outcome == "INCONCLUSIVE"]
    if not _accuracy_undecided(a):
        ways = {r.name: f"about {r.needed} samples would" if r.needed else "no number of samples would" for r in asked}
        return f"What would decide it: {'; '.join(f'{name}: {way}' for name, way in ways.items())}."
    n = next((r.needed for r in asked if r.name == "accuracy drop"), None)
    if n is None:
        return f"No number of samples would decide it at these rates: {mend or 'change the conversion'}, or allow more."
    return f"Evaluate about {n} samples (now {p.n})" + (f", or make the loss smaller: {mend}." if mend else ".")


def _prove(a: Assessment, p: Paired, steps: int, mend: str) -> str:
    missing = [r for r in a.verdict.requirements if r.outcome == "NO EVIDENCE"]
    said = [f"For {r.name}: {r.detail.rpartition('; ')[2]}." for r in missing if r.name not in a.required]
    if len(said) < len(missing) or not missing:
        said.append("Run snnverify report with all required checks; each needs a pass on at least one case.")
    return " ".join(said)


_REMEDIES: Mapping[str, Callable[[Assessment, Paired, int, str], str]] = {
    "PASS": _keep, "FAIL": _repair, "INCONCLUSIVE": _decide, "NO EVIDENCE": _prove,
}  # fmt: skip
