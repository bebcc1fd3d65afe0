"""Counts and energies as tables: plain records first, which every face draws."""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tabulate import tabulate

from ..hardware.counts import CONVENTIONS, OPERATIONS, Convention, static_synops
from ..hardware.energy import Range, Table, equal_bits, estimate
from ..hardware.measured import Comparison
from ..hardware.summary import encoded, rate, row
from ..network import INPUT
from ..pipeline.energy import Energy
from .markdown import escape
from .present import ratio
from .text import _ASCII, _plain, _wrapped

Record = dict[str, Any]
Tables = Mapping[str, Sequence[Record]]
PICO = 1e-3  # nJ


def energy_tables(e: Energy, tables: Sequence[Table], convention: Convention) -> dict[str, list[Record]]:
    """Every table of one model; energies in nJ per inference."""
    network, has = e.converted.snn, encoded(e.snn)
    found: dict[str, list[Record]] = {
        f"Operations of {e.snn.samples} samples, T = {e.snn.steps}": _operations(e),
        "Totals by convention": _conventions(e, tables),
    }
    rows, names = [], _names(e)
    static = e.snn.total(convention) | {"synop": sum(static_synops(network, e.snn, convention.connections).values())}
    stated = {k: Fraction(n) / e.snn.samples for k, n in static.items()}
    for table in tables:
        r = row(network, has, e.snn, e.ann, table, convention)
        rows.append({
            "model": table.name, "grade": table.grade, "SNN nJ": _range(r.snn), "static nJ": _range(estimate(stated, table)),
            "ANN nJ": _range(r.ann),
            f"ANN of {equal_bits(e.snn.steps)} bits nJ": _range(r.quantised),
            "SNN/ANN": _ratio(r.snn, r.ann), "break-even": _even(r.even),
            "not priced": _without(r.unpriced, names),
        })  # fmt: skip
    found[
        f"Energy per inference ({convention}); spikes per connection and step: {rate(e.snn, network, has, convention):.3f}"
    ] = rows
    if e.placed is not None:
        found["Mapping that packets and hops are of"] = [e.placed]
    return found


def model_records(tables: Sequence[Table]) -> list[Record]:
    """What each energy model is, covers and rests on."""
    keys = ("name", "version", "grade", "platform", "scope", "source")
    return [{key: getattr(t, key) for key in keys} for t in tables]


def scope(tables: Sequence[Table]) -> str:
    """The same, a paragraph for each model."""
    said = (f"{t.name} (version {t.version}, {t.grade}): {t.platform}; {t.scope} [{t.source}]" for t in tables)
    return "\n".join(["Energy models", "-------------", *map(_wrapped, map(_plain, said))]).translate(_ASCII)


def _operations(e: Energy) -> list[Record]:
    rows = []
    for name, c in e.snn.layers.items():
        n = {kind: int(v.sum()) for kind, v in c.items()}
        if name == INPUT and not n["handed"]:
            continue
        rows.append({
            "layer": name, "spikes": n["spikes"], "packets": 0 if e.placed is None else n["packets"],
            "updates": n["updates"], "SynOps": n["synops_every"], "non-zero": n["synops_nonzero"],
            "static": round(e.static.get(name, 0.0), 1), "MACs": n["macs_every"] + e.snn.steps * n["constant_every"],
            "MACs non-zero": n["macs_nonzero"] + e.snn.steps * n["constant_nonzero"],
            "MACs input once": n["macs_every"] + n["constant_every"],
            "hops": n["hops"], "hops E-W": n["hops_ew"], "hops N-S": n["hops_ns"],
            # a pooling with neurons of its own is two layers of the SNN, and one of the ANN
            "ANN MACs": int(e.ann.layers[name]["constant_every"].sum()) if name in e.ann.layers else 0,
        })  # fmt: skip
    keys = [k for k in rows[0] if k != "layer"]
    return [*rows, {"layer": "all", **{k: sum(r[k] for r in rows) for k in keys}}]


def _names(e: Energy) -> dict[str, str]:
    """Operations whose names in tables are others."""
    return {"hop_ew": "hop E-W", "hop_ns": "hop N-S", **({} if e.placed is None else {"spike": "packet"})}


def _conventions(e: Energy, tables: Sequence[Table]) -> list[Record]:
    whole_models = [t for t in tables if "mac" in t.pJ or not e.snn.total(CONVENTIONS[0])["mac"]] or list(tables)
    rows, names = [], _names(e)
    for convention in CONVENTIONS:
        total = e.snn.total(convention)
        priced = [estimate(total, t) for t in whole_models]
        whole = Range(min(r.low for r in priced) / e.snn.samples, max(r.high for r in priced) / e.snn.samples)
        rows.append({
            "connections": convention.connections, "constant input paid": convention.constant,
            **{names.get(kind, kind): total[kind] for kind in OPERATIONS if total[kind]},
            f"nJ per inference, {len(whole_models)} models with MACs": _range(whole),
        })  # fmt: skip
    return rows


def _without(unpriced: Mapping[str, int], names: Mapping[str, str]) -> str:
    return ", ".join(f"{names.get(k, k)} {n:,}" for k, n in unpriced.items())


def bound(e: Energy, c: Comparison) -> str:
    """Say of a verdict that its estimate is a lower bound, and what it lacks; nothing where all is priced."""
    return f": the estimate is a lower bound, not priced: {_without(c.unpriced, _names(e))}" if c.unpriced else ""


def measured_tables(e: Energy, comparisons: Mapping[str, Comparison], agree: float | None) -> dict[str, list[Record]]:
    """Figures of a measurement beside the estimate of each energy model; energies in nJ, latencies in us."""
    rows = [
        {
            "model": name, "n": c.n, "measured nJ": _nano(c.measured), "95 %": f"{_nano(c.low)} - {_nano(c.high)}",
            "estimate nJ": _nano(c.estimated), "bias": f"{c.bias:+.1%}", "spread": f"{c.spread:.1%}",
            "correlation": "none" if math.isnan(c.correlation) else f"{c.correlation:.3f}",
            "P50 us": f"{c.p50 * 1e6:.4g}", "P99 us": f"{c.p99 * 1e6:.4g}",
            "not priced": _without(c.unpriced, _names(e)), "holds": c.holds or "not judged",
        }
        for name, c in comparisons.items()
    ]  # fmt: skip
    said = "" if agree is None else f"; {agree:.1%} of the predictions are the simulator's"
    return {f"Measured beside the estimate{said}": rows}


def _nano(joules: float) -> str:
    return f"{joules * 1e9:.4g}"


def _range(r: Range | None) -> str:
    if r is None:
        return "-"
    low, high = (f"{float(end) * PICO:.4g}" for end in (r.low, r.high))
    return low if low == high else f"{low} - {high}"


def _ratio(a: Range, b: Range | None) -> str:
    ends = [(None, None) if r is None else (float(r.low), float(r.high)) for r in (a, b)]
    return ratio(*ends).translate(_ASCII)  # type: ignore[arg-type]


def _even(even: Sequence[float | None]) -> str:
    known = sorted(r for r in even if r is not None)
    told = [f"{r:.3g}" for r in known] + ["never"] * (len(known) < len(even))
    return " - ".join(dict.fromkeys(told)) or "-"


def draw(tables: Tables, style: str = "simple") -> str:
    """Tables one below the other: ``simple`` for a terminal, ``github`` for Markdown."""
    parts = []
    for title, rows in tables.items():
        clean = escape if style == "github" else _folded
        cells = [
            [clean(f"{v:,}" if isinstance(v, int) else "" if v is None else str(v)) for v in r.values()] for r in rows
        ]
        keys = list(rows[0]) if rows else []
        numeric = ["right" if isinstance(v, (int, float)) else "left" for v in rows[0].values()] if rows else []
        shown = [i for i in range(len(keys)) if any(row[i] not in ("", "0", "0.0") for row in cells)]
        drawn = tabulate([[row[i] for i in shown] for row in cells], [keys[i] for i in shown], tablefmt=style,
                         colalign=[numeric[i] for i in shown], disable_numparse=True) if cells else "none"  # fmt: skip
        parts.append(f"{'### ' * (style == 'github')}{title}\n{chr(10) * (style == 'github')}{drawn}")
    return "\n\n".join(parts).translate(_ASCII) + "\n"


def _folded(text: str) -> str:
    return "\n".join(textwrap.wrap(_plain(text), 44, break_on_hyphens=False))


def as_json(models: Mapping[str, Tables], about: Mapping[str, Any]) -> str:
    """All tables of all models with what is needed to run them again."""
    return json.dumps({"provenance": about, "models": models}, indent=1) + "\n"


def as_csv(models: Mapping[str, Tables]) -> str:
    """All tables in long form: model, table, row, column, value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "table", "row", "column", "value"])
    for model, tables in models.items():
        for title, rows in tables.items():
            writer.writerows([model, title, i, k, v] for i, r in enumerate(rows) for k, v in r.items())
    return out.getvalue()
