"""Audits of claims and mappings as tables: for a terminal, and as Markdown."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..hardware import mesh
from ..hardware.audit import Finding, tally
from ..hardware.claims import Claims
from ..hardware.targets import LIMITS, Target
from ..pipeline.mapped import Mapped
from .libraries import render_rows
from .markdown import escape

_WIDTHS = (12, 20, 14, 20, 46)  # of the columns, 120 characters with what is between them
_HEADINGS = ("verdict", "claim", "said", "follows", "why")


def render_audit(claims: Claims, findings: Sequence[Finding]) -> str:
    """Table of every claim, inconsistent ones first, then the tally."""
    rows = [[textwrap.fill(_plain(cell), w) for cell, w in zip(_cells(f), _WIDTHS, strict=True)]
            for f in sorted(findings, key=_weight)]  # fmt: skip
    return f"{_plain(claims.title)}\n{render_rows(rows, _HEADINGS)}\n\n{tally(findings)}"


def markdown_audit(claims: Claims, findings: Sequence[Finding]) -> str:
    """Give the same as Markdown, in the order of the file, with what the report says in its own words."""
    lines = [f"## {escape(claims.title)}", "", f"Source: {escape(claims.source)}. {tally(findings).capitalize()}.", ""]
    return "\n".join([*lines, *table([(f.verdict, f.quote, *_cells(f)[3:]) for f in findings],
                                     ("verdict", "the report says", "follows", "why"))]) + "\n"  # fmt: skip


def table(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [headings, ["---"] * len(headings), *([escape(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cells(f: Finding) -> tuple[str, str, str, str, str]:
    return f.verdict, f.name, f.said, f.follows, f.reason + (f" ({f.note})" if f.note else "")


def _weight(f: Finding) -> int:
    return ("inconsistent", "unverifiable", "consistent").index(f.verdict)


def _plain(text: str) -> str:
    return "".join(ch for ch in " ".join(text.split()) if ch.isprintable())


def render_map(m: Mapped, target: Target, precision: str) -> str:
    """Tables of a network on a target: layers, limits with their sources, silent neurons, and whether it fits."""
    parts = [f"{_plain(m.model)} on {target.title}, weights {precision}", render_rows(*_layers(m)),
             render_rows(*_limits(m, target))]  # fmt: skip
    said = [*_silence(m), _hops(m, target), *_neurons(m), *_broken(m)]
    parts += [textwrap.fill(line, 120, subsequent_indent="  ") for line in said]
    return "\n\n".join(parts)


def markdown_map(m: Mapped, target: Target, precision: str) -> str:
    """Give the same as Markdown."""
    layers, limits = (
        table([[str(c) for c in row] for row in rows], heads) for rows, heads in (_layers(m), _limits(m, target))
    )
    said = [f"- {escape(line)}" for line in (*_silence(m), _hops(m, target), *_neurons(m), *_broken(m))]
    return "\n".join([f"## {escape(m.model)} on {escape(target.title)}, weights {precision}", "", *layers, "", *limits, "",
                      *said]) + "\n"  # fmt: skip


def map_record(
    found: Sequence[Mapped], target: Target, precision: str, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the same of all models as what JSON can hold: numbers as numbers, and what is needed to get them again."""
    models = [
        {
            "model": m.model, "data digest": m.data_digest, "network digest": m.network.digest, "samples": m.samples,
            "T": m.steps, "fits": not m.placement.violations, "cores": len(m.placement.cores),
            "least cores": m.placement.least_cores, "weight bits": m.placement.bits,
            "layers": [asdict(n) | {"cores": sum(c.layer == n.layer for c in m.placement.cores)}
                       for n in m.placement.needs],
            "violations": [asdict(v) for v in m.placement.violations],
            "silent": dict(m.removal.silent), "removed": dict(m.removal.removed),
            "kept because": dict(m.removal.kept_because), "spikes that changed": m.removal.changed,
            "read-out changed by": float(m.removal.readout_error), "cores without silent": len(m.smaller.cores),
            "neuron model lacks": m.unheld,
            "traffic": m.no_traffic if m.traffic is None else asdict(m.traffic),
        }
        for m in found
    ]  # fmt: skip
    limits = {name: asdict(limit) for name, limit in target.limits.items()}
    chip = {"name": target.name, "title": target.title, "limits": limits,
            "mesh": None if target.mesh is None else asdict(target.mesh)}  # fmt: skip
    return {"provenance": dict(provenance), "target": chip, "precision": precision, "models": models}


def _layers(m: Mapped) -> tuple[list[list[str]], Sequence[str]]:
    cores = Counter(c.layer for c in m.placement.cores)
    rows = [[n.layer, n.units, n.stored, n.connections, _kib(n.stored * m.placement.bits),
             _kib(n.connections * m.placement.bits), n.fan_in, n.fan_out, cores[n.layer], m.removal.silent.get(n.layer, "")]
            for n in m.placement.needs]  # fmt: skip
    sums = [sum(row[i] for row in rows) for i in (1, 2, 3)]  # type: ignore[misc]
    memory = [_kib(v * m.placement.bits) for v in sums[1:]]
    rows.append(["all", *sums, *memory, "", "", len(m.placement.cores), sum(m.removal.silent.values())])
    heads = (
        "layer",
        "units",
        "weights",
        "connections",
        "KiB, shared",
        "KiB, each",
        "fan-in",
        "fan-out",
        "cores",
        "silent",
    )
    return [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows], heads


def _kib(bits: int) -> str:
    return f"{bits / 8192:,.2f}"


def _limits(m: Mapped, target: Target) -> tuple[list[list[str]], Sequence[str]]:
    rows = [[name.replace("_", " "), f"{limit.value:,}", limit.grade, textwrap.fill(_plain(limit.source), 70)]
            for name, limit in target.limits.items()]  # fmt: skip
    rows += [[name.replace("_", " "), "unknown", "", "no figure with a source; not checked"]
             for name in LIMITS if name not in target.limits]  # fmt: skip
    return rows, ("limit", "at most", "grade", "source")


def _silence(m: Mapped) -> Iterable[str]:
    r = m.removal
    yield (f"silent: {sum(r.silent.values())} neurons on {m.samples} samples, T = {m.steps} (data {m.data_digest[:16]}); "
           f"{sum(r.removed.values())} removed; spikes of the others that changed: {r.changed}, read-out by at most "
           f"{r.readout_error:.3g}; cores then: {len(m.smaller.cores)}")  # fmt: skip
    yield from (
        f"{name}: {r.silent[name]} silent, {r.removed.get(name, 0)} removed: {why}"
        for name, why in r.kept_because.items()
    )


def _hops(m: Mapped, target: Target) -> str:
    """What the spikes of the run send over the mesh, or why that is not known."""
    t = m.traffic
    if t is None:
        return f"hops: not known: {m.no_traffic}"
    each = t.spikes or 1
    return (f"hops: {float(t.per_spike):.2f} a spike (E-W {t.hops_ew / each:.2f}, N-S {t.hops_ns / each:.2f}), in "
            f"{t.packets / each:.2f} packets, one to each core that it reaches, over {t.spikes:,} spikes; "
            f"{mesh.described(m.placement, target)}. Cores lie row by row, layer after layer; within a router a packet "
            "makes no hop; not counted: the input's way onto the chip, analog values of pooling")  # fmt: skip


def _neurons(m: Mapped) -> Iterable[str]:
    """Whether the target's neurons, as NetX's blocks have them, are the network's; nothing where they are not known."""
    if m.unheld:
        yield f"neuron model: not that of the target: {_plain(m.unheld)}; what is judged below is its size alone"
    elif m.unheld is not None:
        yield "neuron model: that of the target's blocks; --netx writes it"


def _broken(m: Mapped) -> Iterable[str]:
    for v in m.placement.violations:
        yield f"over the limit: {v.layer}: {v.limit.replace('_', ' ')} {v.value:,}, at most {v.most:,}"
    verdict, cores = "does not fit" if m.placement.violations else "fits", len(m.placement.cores)
    yield f"{verdict}: {cores} cores by cutting layers one by one; no partition has fewer than {m.placement.least_cores}"
