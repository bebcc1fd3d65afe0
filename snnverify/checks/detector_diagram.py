"""What an architecture diagram draws is what ran: held to wirings that are known, to perturbations, and to hooks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
from hypothesis import strategies as st

from ..content import Array
from ..detector.draw_json import schema
from ..detector.probes import Seen, perturbed, watched
from ..detector.specimens import CHANNELS, Joined, Program, TwoPaths, Wired, built
from ..findings import Measure
from ..oracles import Oracle
from ..schema import breaches
from . import check
from .wired import FORKS, Drawn, Known, detectors, images, programs

_IMAGE: Array = np.random.default_rng(0).uniform(size=(1, CHANNELS, 3, 3)).astype(np.float32)
_STEPS = st.lists(st.sampled_from(["conv", "silu", "identity", "halves"]), max_size=3).map(tuple)
_NAMES = st.sampled_from(
    [("residual", "shortcut"), ("shortcut", "residual"), ("f", "downsample"), ("identity", "conv")]
)
two_paths = st.builds(TwoPaths, st.tuples(_STEPS, _STEPS), _NAMES, st.sampled_from(["add", "cat", "mul"]))


@check("operators", programs())
def diagram_is_the_wiring(program: Program, subject: Oracle) -> Iterator[Measure]:
    """The edges of a diagram are those of the wiring that was drawn, and each module is what it did: executed, container, identity, unexecuted; what leads to no output is called unused, and nothing else is [by construction]."""
    known = Known(program)
    d = subject.operator("diagram")(Wired(program).eval(), _IMAGE)
    edges = known.named()
    yield Measure("edges that differ", float(len(edges ^ set(d.edges))), detail=f"{sorted(edges ^ set(d.edges))}")
    leaves = [b for b in d.blocks if not b.elements]
    used, told = _leading(edges), {b.name for b in leaves if not b.unused}
    wrong = told ^ (used & {b.name for b in leaves})
    yield Measure("blocks told unused that are not, or the reverse", float(len(wrong)), detail=f"{sorted(wrong)}")
    found = {m.path: (m.status, m.calls) for m in d.modules if m.path}
    expected = {path: (status, known.calls.get(path, 0)) for path, status in known.statuses.items()}
    differ = {p: (found.get(p), expected.get(p)) for p in found.keys() | expected if found.get(p) != expected.get(p)}
    yield Measure("modules of another status or number of calls", float(len(differ)), detail=f"{differ}")


@check("operators", st.one_of(programs(), programs(7, FORKS)))
def diagram_tree_holds(program: Program, subject: Oracle) -> Iterator[Measure]:
    """Every call and operation is drawn once, and what lies on a path of a fork takes values from the path and its source alone and hands them to the path and the join alone; a join's fork is the nearest thing that every way to it goes through [definition of a dominator]."""
    d = subject.operator("diagram")(Wired(program).eval(), _IMAGE)
    edges = Known(program).named()
    drawn = Counter(b.name for b in d.blocks if not b.elements)
    asked = Counter({n for e in edges for n in e if n != "image" and not n.startswith("output")})
    yield Measure("drawn twice, or not at all", float(drawn != asked), detail=f"{drawn} {asked}")
    # a path of a fork is a set of leaves; a container stands for those in it
    for f in _forks(d.elements):
        for b in f.branches:
            mine = {i.name for i in _all(b.elements)}
            taken = {a for a, t in edges if t in mine} - mine
            given = {t for a, t in edges if a in mine} - mine
            foreign = {a for a in taken if not _is(a, b.source)} | {t for t in given if f.join and not _is(t, f.join)}
            yield Measure("ways in and out of a path beside its source and its join", float(len(foreign)), where=b.label,
                          detail=f"{sorted(foreign)}")  # fmt: skip
    several = {t for t in asked if len({a for a, b in edges if b == t}) > 1}
    yield Measure("joins that are not named", float(len(several - {j.name for j in d.joins})), detail=f"{several}")
    for j in d.joins:
        without = [n for n in asked if _is(n, j.fork)] if j.fork != "image" else ["image"]
        past = any(_is(t, j.name) for t in _reached(edges, set(without)))
        nearer = [
            n
            for r in j.routes
            for n in r.blocks
            if not any(_is(t, j.name) for t in _reached(edges, {m for m in asked if _is(m, n)}))
        ]
        yield Measure(
            "ways past the fork, or nearer forks", float(past) + len(nearer), where=j.name, detail=f"{j} {nearer}"
        )


@check("operators", detectors(True))
def diagram_reaches_what_changes(drawn: Drawn, subject: Oracle) -> Iterator[Measure]:
    """Where the output of one module is perturbed, exactly the modules drawn below it change theirs [causality].

    In float64 and with SiLU everywhere, so that nothing but a missing connection keeps a change from arriving.
    """
    model = built(json.loads(drawn.description), drawn.seed, double=True)
    x = images(1, drawn.seed, np.float64)
    d = subject.operator("diagram")(model, x)
    leaves = [b.name for b in d.blocks if b.role in ("module", "activation", "identity")]
    below = _below(d.edges)
    plain = perturbed(model, x)
    generator = np.random.default_rng(drawn.seed)
    for name in generator.permutation(leaves)[:4]:
        changed = {
            n for n, y in perturbed(model, x, str(name)).items() if n in leaves and not np.array_equal(y, plain[n])
        }
        drawn_below = (below[str(name)] & set(leaves)) | {str(name)}
        yield Measure("modules that changed and are not below, or the reverse", float(len(changed ^ drawn_below)),
                      where=str(name), detail=f"{sorted(changed ^ drawn_below)}")  # fmt: skip


@check("operators", detectors(False))
def diagram_counts_what_ran(drawn: Drawn, subject: Oracle) -> Iterator[Measure]:
    """Calls, shapes, spike rates, units, use and hardware building blocks are those that hooks of torch's own count [definition]."""
    model = built(json.loads(drawn.description), drawn.seed)
    x = images(2, drawn.seed)
    seen = watched(model, x)
    d = subject.operator("diagram")(model, x)
    calls = Counter(s.path for s in seen)
    wrong = [m.path for m in d.modules if m.calls != calls[m.path]]
    yield Measure("modules with another number of calls", float(len(wrong)), detail=f"{wrong}")
    shapes = {s.path: (s.given.shape,) for s in seen if s.given is not None}
    unlike = {b.name: b.shapes for b in d.blocks if b.name in shapes and b.shapes != shapes[b.name]}
    yield Measure("blocks of another shape", float(len(unlike)), detail=f"{unlike}")
    unused = [b.name for b in d.blocks if b.unused]  # each block of a description feeds the next one, or the output
    yield Measure("blocks told unused", float(len(unused)), detail=f"{unused}")
    said = {a.name: (a.units, a.rate) for a in d.activities}
    spikes = {s.path: s.given for s in seen if "mem_update" in s.kinds and s.given is not None}
    counted = {n: (y[0, 0].size, float(np.count_nonzero(y)) / y.size) for n, y in spikes.items()}
    yield Measure("activations with other units or another rate", float(said != counted), detail=f"{said} {counted}")
    expected = _hardware(seen)
    yield Measure("counts that differ", float(dict(d.counts) != expected), detail=f"{d.counts} {expected}")


@check("operators", two_paths)
def diagram_names_paths(drawn: TwoPaths, subject: Oracle) -> Iterator[Measure]:
    """A path is called identity where nothing on it changes a value, and of two paths that are added the lighter is the shortcut, whatever modules are called [definition]."""
    d = subject.operator("diagram")(Joined(drawn).eval(), _IMAGE)
    (join,) = [j for j in d.joins if j.kind in ("add", "concatenate", "multiply")]
    kind = {"add": "add", "cat": "concatenate", "mul": "multiply"}[drawn.join]
    identity = [set(path) <= {"identity"} for path in drawn.paths]
    weights = [(path.count("conv"), len(path)) for path in drawn.paths]
    labels = ["path 1", "path 2"]
    if drawn.join == "add" and weights[0] != weights[1]:
        labels = ["shortcut path" if w == min(weights) else "residual path" for w in weights]
    yield Measure(
        "another kind of join or another fork", float((join.kind, join.fork) != (kind, "image")), detail=f"{join}"
    )
    found = [(r.label, r.identity, len(r.blocks)) for r in join.routes]
    asked = list(zip(labels, identity, map(len, drawn.paths), strict=True))
    yield Measure("paths that differ", float(found != asked), detail=f"{found} {asked}")
    statuses = {m.path: m.status for m in d.modules}
    lists = {
        n: "container" if set(p) - {"halves"} else "unexecuted" for n, p in zip(drawn.names, drawn.paths, strict=True)
    }
    yield Measure("lists of modules of another status", float(any(statuses[n] != s for n, s in lists.items())))


@check("operators", programs(7))
def diagram_views_agree(program: Program, subject: Oracle) -> Iterator[Measure]:
    """JSON keeps its schema; JSON, Mermaid, SVG and text show the blocks and edges of the diagram, and no two boxes of a picture overlap [definition]."""
    d = subject.operator("diagram")(Wired(program).eval(), _IMAGE)
    views = subject.operator("diagram_views")(d)
    read = json.loads(views[".json"])
    broken = list(breaches(read, schema(), "diagram"))
    yield Measure("breaches of the schema", float(len(broken)), detail="; ".join(broken[:3]))
    yield Measure("edges that JSON lacks", float(read["edges"] != [list(e) for e in d.edges]))
    arrows = re.findall(r"^ +(n\d+\w*) -->(?:\|[^|]*\|)? (n\d+\w*)$", views[".mmd"], re.M)
    plain = [tuple(re.sub(r"\W", "_", n) for n in e) for e in d.edges]
    unnumbered = [tuple(re.sub(r"^n\d+_", "", n) for n in e) for e in arrows]
    yield Measure(
        "edges that Mermaid lacks", float(Counter(unnumbered) != Counter(plain)), detail=f"{unnumbered} {plain}"
    )
    boxes = {e.get("data-name"): [float(str(e.get(k))) for k in ("x", "y", "width", "height")]
             for e in ElementTree.fromstring(views[".svg"]).iter() if e.get("data-name")}  # fmt: skip
    names = {b.name for b in d.blocks} | {"image", "output"}
    yield Measure(
        "blocks without a box, or the reverse", float(len(names ^ set(boxes))), detail=f"{names ^ set(boxes)}"
    )
    inside = {(b.name, i.name) for b in d.blocks for i in _all(b.elements)}
    leaves = [n for n in boxes if not any(a == n for a, _ in inside)]
    over = [(a, b) for a in leaves for b in leaves if str(a) < str(b) and _overlap(boxes[a], boxes[b])]
    yield Measure("boxes that overlap", float(len(over)), detail=f"{over}")
    out = [(a, b) for a, b in inside if not _within(boxes[b], boxes[a])]
    yield Measure("boxes outside the box of their container", float(len(out)), detail=f"{out}")
    crossed = [(t, n) for t in _texts(views[".svg"]) for n in leaves if _crosses(t, boxes[n])]
    yield Measure("words across the edge of a box", float(len(crossed)), detail=f"{crossed}")
    lines = sum(line.lstrip(" │").startswith(("├─ ", "└─ ")) for line in views[".txt"].splitlines())
    forks = list(_forks(d.elements))
    expected = len(list(d.blocks)) + len(forks) + sum(len(f.branches) for f in forks)
    yield Measure("lines of the text's tree", abs(float(lines - expected)), detail=views[".txt"])


def _below(edges: tuple[tuple[str, str], ...]) -> dict[str, set[str]]:
    """What each name reaches."""
    found: dict[str, set[str]] = {a: set() for e in edges for a in e}
    more = True
    while more:
        more = False
        for a, b in edges:
            reached = found[b] | {b}
            if not reached <= found[a]:
                found[a] |= reached
                more = True
    return found


def _hardware(seen: list[Seen]) -> dict[str, int]:
    """Building blocks, by the classes of the family."""
    found: Counter[str] = Counter()
    for s in seen:
        if "mem_update" in s.kinds and s.given is not None:
            found["spiking activations"] += 1
            found["spiking neurons"] += s.given[0, 0].size
        elif s.kinds & {"Snn_Conv2d", "Linear"} and s.taken is not None:
            values = set(np.unique(s.taken).tolist())
            kinds = ("silent", {0.0}), ("binary", {0.0, 1.0}), ("integer", {float(round(v)) for v in values})
            taken = next((kind for kind, allowed in kinds if values <= allowed), "analog")
            found[f"{'linear layers' if 'Linear' in s.kinds else 'convolutions'} of {taken} input"] += 1
        for kind, name in (("adds", "BasicBlock_2"), ("concatenations", "Concat"), ("pools", "MaxPool3d"),
                           ("norms", "BatchNorm3d"), ("upsampling", "Upsample")):  # fmt: skip
            found[kind] += name in s.kinds
    return {k: n for k, n in found.items() if n}


def _is(leaf: str, block: str) -> bool:
    """Whether a leaf is a block, or in it."""
    return leaf == block or leaf.startswith((f"{block}.", f"{block}/"))


def _reached(edges: set[tuple[str, str]], without: set[str]) -> set[str]:
    """What the image reaches where some leaves are taken out."""
    found = {"image"} - without
    while more := {b for a, b in edges if a in found and b not in without} - found:
        found |= more
    return found


def _leading(edges: set[tuple[str, str]]) -> set[str]:
    """What leads to an output."""
    found = {b for _, b in edges if b.startswith("output")}
    while more := {a for a, b in edges if b in found} - found:
        found |= more
    return found


def _all(elements: Any) -> Iterator[Any]:
    for e in elements:
        if hasattr(e, "branches"):
            for b in e.branches:
                yield from _all(b.elements)
        else:
            yield e
            yield from _all(e.elements)


def _forks(elements: Any) -> Iterator[Any]:
    for e in elements:
        if hasattr(e, "branches"):
            yield e
            for b in e.branches:
                yield from _forks(b.elements)
        else:
            yield from _forks(e.elements)


def _texts(svg: bytes) -> list[tuple[float, float, float]]:
    """X of the start, y of the middle, and size of every text."""
    texts = (e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text"))
    return [(float(str(e.get("x"))), float(str(e.get("y"))), float(str(e.get("font-size")))) for e in texts]


def _crosses(text: tuple[float, float, float], box: list[float]) -> bool:
    """Whether a text that starts between the sides of a box is neither in it nor clear of it."""
    (x, y, size), (left, top, w, h) = text, box
    low, high = y - size / 2, y + size / 2
    clear = high <= top or low >= top + h or not left <= x <= left + w
    return not clear and not (top <= low and high <= top + h)


def _overlap(a: list[float], b: list[float]) -> bool:
    return all(a[k] < b[k] + b[k + 2] and b[k] < a[k] + a[k + 2] for k in (0, 1))


def _within(a: list[float], b: list[float]) -> bool:
    return all(a[k] >= b[k] - 0.1 and a[k] + a[k + 2] <= b[k] + b[k + 2] + 0.1 for k in (0, 1))
