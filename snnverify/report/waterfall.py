"""The waterfall as tables, a picture's figures, and the sentences that follow; and where single samples part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from ..gate.bounds import share_lower
from ..pipeline.waterfall import Bisected, Explained
from ..stats import Paired, exact_upper
from ..waterfall import Cause, Remedy, Waterfall
from ..waterfall.diagnose import GROUPS, groups
from ..waterfall.parting import UnitParting
from ..waterfall.score import Answer
from .libraries import render_rows

WORDS = {
    "clipping": "clipping at the threshold", "steps": "too few time steps", "neuron": "the neuron's reset or leak",
    "encoding": "the encoded input", "weights": "the weights' grid", "fixed point": "the fixed point",
    "bias": "a bias that was lost or is wrong", "batch normalisation": "a batch normalisation that was folded wrongly",
    "unexplained": "something unexplained",
}  # fmt: skip
ADVICE = {
    "clipping": "raise the percentile or calibrate channel-wise", "steps": "run more steps",
    "neuron": "use a soft reset and no leak", "encoding": "give the input as a constant current, or run more steps",
    "weights": "give each channel a scale, or more bits", "fixed point": "keep more binary places",
    "bias": "mend the converter's folding", "batch normalisation": "mend the converter's folding",
    "unexplained": "see where samples part: snnverify explain",
}  # fmt: skip
DID = {
    "clipping": "clipping: activations over the threshold", "quantisation": "quantisation: a rate has T + 1 levels",
    "inherited": "quantisation errors of the layers before, added up",
    "unevenness": "unevenness: spikes that came early or late",
}  # fmt: skip


def points(count: int, n: int) -> float:
    """Right answers in percentage points."""
    return 100 * count / n


def station_rows(name: str, w: Waterfall) -> Iterator[dict[str, Any]]:
    """A row a station: right answers, what its change costs, paired with the station before and with the ANN."""
    n = len(w.labels)
    for i, key in enumerate(w.keys):
        step, whole = w.paired(max(i - 1, 0), i), w.paired(0, i)
        yield {
            "model": name, "station": w.chain.words.get(key, key), "key": key, "n": n, "right": w.right(i),
            "percent": points(w.right(i), n), "lost_points": points(w.lost(i), n), "b": step.b, "c": step.c,
            "upper_points": 100 * exact_upper(step) if i else 0.0,
            "agree_before_percent": points(w.agreement(max(i - 1, 0), i), n),
            "agree_ann_percent": points(w.agreement(0, i), n), "drop_points": 100 * float(whole.drop),
            "drop_upper_points": 100 * exact_upper(whole) if i else 0.0,
            "moved": {k: float(v) for k, v in zip(w.chain.scales, w.moved[i], strict=True)},
            "apart": {k: float(v) for k, v in zip(w.chain.scales, w.apart[i], strict=True)},
            "most": {k: float(v) for k, v in zip(w.chain.scales, w.most[i], strict=True)},
        }  # fmt: skip


def sentence(e: Explained, cause: Cause) -> str:
    """Say what a cause costs, where, and what helps; with the effect of what was tried."""
    w = e.waterfall
    n, total = len(w.labels), w.right(0) - w.right(len(w.keys) - 1)
    where = f" in layer {cause.layer}" if cause.layer else ""
    lost, whole = f"{points(cause.lost, n):.2f}", f"{points(total, n):.2f}"
    of = f"{lost} of {whole} points come from" if cause.lost <= total else f"{lost} points come from"
    back = f"; other changes give some of it back, so that the whole drop is {whole}" * (0 < total < cause.lost)
    tries = [effect(w, r) for r in e.remedies if r.cause == cause.key]
    advice = ADVICE[cause.key]
    if cause.layer and (share := _share(e, cause)):
        where += f" ({share})"
    return f"{of} {WORDS[cause.key]}{where}{back}: {advice}." + (f" Tried: {'; '.join(tries)}." if tries else "")


def _share(e: Explained, cause: Cause) -> str:
    """How much of the cause lies in the layer that is named, where it is spread over several."""
    w = e.waterfall
    i = w.keys.index(cause.stations[-1])
    lost = e.parts[i].lost().get(cause.layer) if i in e.parts else None
    if lost is None or lost == cause.lost:
        return ""
    return f"{points(lost, len(w.labels)):.2f} there"


def effect(w: Waterfall, r: Remedy) -> str:
    """Say what a remedy gives."""
    back = -100 * r.before.drop
    gives = (
        f"gives {float(back):+.2f} points"
        if back > 0
        else f"costs {-float(back):.2f} points"
        if back
        else "gives nothing"
    )
    return f"{r.words} {gives}: {_below(100 * float(r.after.drop), 100 * exact_upper(r.after))}"


def _below(drop: float, upper: float) -> str:
    """Say where an accuracy lies against the ANN's, and its upper bound, both without a sign."""
    place = f"{abs(drop):.2f} {'below' if drop > 0 else 'above'} the ANN" if drop else "level with the ANN"
    return f"{place}, at most {upper:.2f} below" if upper >= 0 else f"{place}, at least {-upper:.2f} above"


def mending(e: Explained, allowed: Fraction | None = None) -> str:
    """Advice against the costliest cause, and what helps most of all that was tried; it needs a cause.

    `allowed` is the greatest drop, as a share: what was tried and loses more is said to.
    """
    cause = e.causes[0]
    where = f" in layer {cause.layer}" if cause.layer else ""
    said = f"{ADVICE[cause.key]}, against {WORDS[cause.key]}{where}"
    best = min((r for r in e.remedies if r.before.drop < 0), key=lambda r: r.before.drop, default=None)
    if best is None:
        return said
    over = allowed is not None and best.after.drop > allowed
    return f"{said} ({effect(e.waterfall, best)}{'; that alone still loses more than is allowed' * over})"


def conclusion(e: Explained) -> list[str]:
    """Sentences that follow from a waterfall, the costliest cause first."""
    w = e.waterfall
    last, n = len(w.keys) - 1, len(w.labels)
    total = w.right(0) - w.right(last)
    upper = 100 * exact_upper(w.paired(0, last))
    verb = "cost" if total >= 0 else "gain"
    bound = f"cost at most {upper:.2f}" if upper >= 0 else f"gain at least {-upper:.2f}"
    found = [f"All changes together {verb} {points(abs(total), n):.2f} points on {n} samples; with 95 % confidence they "
             f"{bound}."]  # fmt: skip
    found += [sentence(e, c) for c in e.causes]
    spans = [groups(w)[k] for c in e.causes for k, keys in GROUPS.items() if c.stations[0] in keys]
    rest = total - sum(w.right(a - 1) - w.right(b) for a, b in dict.fromkeys(spans))
    if not e.causes:
        most = max(range(len(w.keys)), key=w.lost)
        size = f"; the most, {points(w.lost(most), n):.2f} points, goes with '{w.chain.words[w.keys[most]]}'"
        found.append("No change costs right answers significantly" + size * (w.lost(most) > 0) + ".")
    elif rest:
        verb = "cost" if rest > 0 else "gain"
        found.append(f"The other changes {verb} {points(abs(rest), n):.2f} points, none of them significantly.")
    if e.width is not None:
        found.append(f"Potentials of the fixed point need {e.width} bits.")
    return found


def render_waterfall(e: Explained) -> str:
    """Page for a terminal."""
    w = e.waterfall
    rows = list(station_rows(e.name, w))
    layers = list(w.chain.scales)
    shown = layers if len(layers) <= 4 else layers[:2] + layers[-2:]
    head = ["station", "right", "%", "lost", "b / c", "bound", "as before", "as ANN", *(k[:12] for k in shown)]
    body = [[r["station"], str(r["right"]), f"{r['percent']:.2f}", *_change(r, i),
             *(f"{r['moved'][k]:.4f}" if i else "" for k in shown)] for i, r in enumerate(rows)]  # fmt: skip
    said = [
        f"{e.name}: {len(w.labels)} samples, T = {w.chain.steps}, seed {w.chain.seed}", render_rows(body, head),
        "lost: points of this change alone; b / c: samples that only the station before, only this one gets right;",
        "bound: upper 95 % of the loss (exact, paired); as before, as ANN: % classified alike; layers: mean |difference|",
        "to the station before, in thresholds" + ("; those of more layers are in the JSON." if shown != layers else "."),
    ]  # fmt: skip
    for i, part in e.parts.items():
        cost = ", ".join(f"{k} {points(v, len(w.labels)):+.2f}" for k, v in part.lost().items())
        said.append(f"'{w.chain.words[w.keys[i]]}' by layers, points: {cost}")
    return "\n".join([*said, *conclusion(e), ""])


def _change(r: dict[str, Any], i: int) -> list[str]:
    if not i:
        return [""] * 5
    return [f"{r['lost_points']:+.2f}", f"{r['b']} / {r['c']}", f"{r['upper_points']:.2f}",
            f"{r['agree_before_percent']:.1f}", f"{r['agree_ann_percent']:.1f}"]  # fmt: skip


def markdown_waterfall(e: Explained) -> str:
    """The same for a pull request."""
    from tabulate import tabulate

    rows = list(station_rows(e.name, e.waterfall))
    head = ["station", "right", "accuracy %", "lost", "b / c", "bound", "as before %", "as ANN %"]
    body = [[r["station"], r["right"], f"{r['percent']:.2f}", *_change(r, i)] for i, r in enumerate(rows)]
    table = tabulate(body, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * 7)
    return "\n\n".join([f"## Waterfall of {e.name}, T = {e.waterfall.chain.steps}", str(table), *conclusion(e)]) + "\n"


def waterfall_record(e: Explained) -> dict[str, Any]:
    """Every number, for a JSON file; rows are those of the plot as well."""
    w = e.waterfall
    return {
        "model": e.name, "facts": e.facts, "T": w.chain.steps, "seed": w.chain.seed, "samples": len(w.labels),
        "stations": [{k: v for k, v in r.items() if k != "model"} | {"network": s.network.digest, "run": s.run}
                     for r, s in zip(station_rows(e.name, w), w.chain.stations, strict=True)],
        "by layer": {w.keys[i]: p.lost() for i, p in e.parts.items()},
        "causes": [{"cause": c.key, "layer": c.layer, "lost": c.lost, "stations": list(c.stations)} for c in e.causes],
        "remedies": [{"cause": r.cause, "tried": r.words, "right": r.right, "gain": _numbers(r.before),
                      "to the ANN": _numbers(r.after)} for r in e.remedies],
        "bits of a potential": e.width, "said": conclusion(e),
    }  # fmt: skip


def _numbers(p: Paired) -> dict[str, Any]:
    return {"n": p.n, "b": p.b, "c": p.c, "drop": float(p.drop), "upper": exact_upper(p)}


def render_bisected(b: Bisected) -> str:
    """Where samples part, for a terminal."""
    f = b.parted
    n = len(b.numbers)
    head = ["layer", "bound", "parted", "share, %", "first in", "class turns", *f.layers[0].parts, "cause"]
    first, turned = ([v.layer if v else "" for v in map(f.first_in, range(n))], [f.turns(i) for i in range(n)])
    body = [[v.layer, f"{v.bound:.4f}", str(v.parted), f"{100 * v.parted / v.units:.3f}", str(first.count(v.layer)),
             str(turned.count(v.layer)), *(f"{v.parts[k] / max(v.parted, 1):.4f}" for k in v.parts), v.cause]
            for v in f.layers]  # fmt: skip
    said = [f"{b.name}: {b.why}, T = {f.steps}, {f.encoding} input", render_rows(body, head),
            "bound: what T levels of the ANN's own activation may be off by, in thresholds; parted: units over it;",
            "first in, class turns: samples; the parts are means over parted units and add up to the error, but for signs.",
    ]  # fmt: skip
    said += conclusion_bisected(b)
    for v in f.layers:
        if v.parted and (v is f.first or turned.count(v.layer)):
            said.append(f"units of {v.layer}, the greatest errors first:")
            said.append(render_rows([_unit(b, u) for u in v.worst], _UNITS))
    return "\n".join([*said, ""])


_UNITS = ["sample", "unit", "ANN value", "in thresholds", "rate", "left over", "error", "mostly"]


def _unit(b: Bisected, u: UnitParting) -> list[str]:
    unit = " ".join(map(str, u.unit))
    return [str(b.numbers[u.sample]), unit, f"{u.activation:.4g}", f"{u.target:.4f}", f"{u.rate:.4f}", f"{u.left:+.3f}",
            f"{u.error:+.4f}", mostly(u)]  # fmt: skip


def mostly(u: UnitParting) -> str:
    """Name of the greatest part of a unit's error."""
    return max(u.parts, key=lambda k: abs(u.parts[k]))


def conclusion_bisected(b: Bisected) -> list[str]:
    """Sentences on where samples part."""
    f, n = b.parted, len(b.numbers)
    kept = int((f.ann == f.snn).sum())
    found = []
    if n == 1:
        found.append(f"sample {b.numbers[0]}, class {b.labels[0]}: the ANN says {f.ann[0]}, the SNN {f.snn[0]}.")
    else:
        found.append(f"ANN and SNN agree on {kept} of {n}; right: {int((f.ann == b.labels).sum())} and "
                     f"{int((f.snn == b.labels).sum())}.")  # fmt: skip
    v = f.first
    if v is None:
        return [*found, "No unit parts beyond the bound: what differs, differs by T levels."]
    did = "the noise of the encoded input" if v.cause == "inherited" and f.encoding == "poisson" else DID[v.cause]
    found.append(f"They first part in layer {v.layer}, in {v.parted} of {v.units} units: {did}.")
    turned = [t for t in map(f.turns, range(n)) if t]
    if turned:
        most = max(dict.fromkeys(turned), key=turned.count)
        of = "The class turns" if n == 1 else f"{turned.count(most)} of {len(turned)} classes turn"
        cause = next((w.cause for w in f.layers if w.layer == most), "")
        found.append(f"{of} with the rates of layer {most}" + (f" ({cause})." if cause else "."))
    return found


def bisected_record(b: Bisected) -> dict[str, Any]:
    """Every number, for a JSON file."""
    f = b.parted
    return {
        "model": b.name, "chosen": b.why, "T": f.steps, "encoding": f.encoding, "said": conclusion_bisected(b),
        "samples": [{"sample": int(k), "label": int(y), "ann": int(f.ann[i]), "snn": int(f.snn[i]), "turns": f.turns(i),
                     "first": v.layer if (v := f.first_in(i)) else ""}
                    for i, (k, y) in enumerate(zip(b.numbers, b.labels, strict=True))],
        "layers": [{"layer": v.layer, "bound": v.bound, "parted": v.parted, "units": v.units, "parts": dict(v.parts),
                    "cause": v.cause, "worst": [{**_unit_record(u), "sample": int(b.numbers[u.sample])} for u in v.worst]}
                   for v in f.layers],
    }  # fmt: skip


def _unit_record(u: UnitParting) -> dict[str, Any]:
    return {"unit": list(u.unit), "activation": u.activation, "target": u.target, "rate": u.rate, "left over": u.left,
            "error": u.error, "parts": dict(u.parts), "mostly": mostly(u)}  # fmt: skip


def score_tables(answers: Sequence[Answer]) -> tuple[str, str]:
    """Markdown tables of the score on planted causes: by family, and every deployment with what was said of it."""
    from tabulate import tabulate

    head = ["planted", "deployments", "causes", "named", "95 %", "missed", "wrong", "right layer", "wholly right"]
    body = []
    for family in dict.fromkeys(a.family for a in answers):
        of = [a for a in answers if a.family == family]
        planted, named, missed, wrong, placed, places, exact = (
            sum(getattr(a, k) for a in of) for k in ("planted", "named", "missed", "wrong", "placed", "places", "exact")
        )
        body.append([family, len(of), planted, named, _limits(named, planted), missed, wrong, f"{placed} / {places}",
                     f"{exact} / {len(of)}"])  # fmt: skip
    rows = [[a.family, a.number, a.subject, a.said, "yes" if a.exact else "no"] for a in answers]
    every = tabulate(rows, ["family", "number", "planted", "named", "wholly right"], tablefmt="github")
    return str(tabulate(body, head, tablefmt="github")), str(every)


def _limits(k: int, n: int) -> str:
    """Limits of a share in percent, two-sided at 95 %: each end is a one-sided limit at 97.5 %; none of nothing."""
    low, high = share_lower(k, n, 0.025), 1 - share_lower(n - k, n, 0.025)
    return f"{100 * low:.1f} ... {100 * high:.1f}" if n else "–"
