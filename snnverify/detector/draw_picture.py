"""A diagram as a picture: sequences run down, parallel paths stand side by side, the outermost level is set in columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

from .diagram import Block, Branch, Diagram, Fork, output_names
from .draw_marks import GREY, INK, Box, Line, Mark, Words, moved, png, svg, width
from .draw_text import form, left_out, note, relative, single

GAP, PAD, HEAD, SPREAD, LANE, MARGIN = 16.0, 10.0, 20.0, 18.0, 9.0, 24.0
ASPECT = 1.5
LINKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#1b1f24")  # of ways over more than one block
Place = tuple[float, float, float, float]


@dataclass
class Part:
    """A piece of the picture: its size, the x of the line that enters above and leaves below, marks, places."""

    w: float
    h: float
    axis: float
    marks: list[Mark] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)

    def put(self, other: Part, x: float, y: float) -> None:
        """Take over another part's marks and places, at (x, y)."""
        self.marks += [moved(m, x, y) for m in other.marks]
        self.places |= {n: (px + x, py + y, w, h) for n, (px, py, w, h) in other.places.items()}


def picture_svg(d: Diagram) -> bytes:
    """Draw an SVG."""
    part = _page(d)
    return svg(part.marks, part.w, part.h, f"Architecture of {d.model}")


def picture_png(d: Diagram) -> bytes:
    """Draw a PNG."""
    part = _page(d)
    return png(part.marks, part.w, part.h)


def _page(d: Diagram) -> Part:
    """Set heading, columns and what stands below them."""
    body, above = _columns(d), list(_heading(d))
    below = list(_below(d, max(body.w, 600.0)))
    h = MARGIN + 18.0 * len(above) + GAP
    page = Part(max(body.w, *(width(t, s) for t, s, _ in [*above, *below])) + 2 * MARGIN, 0.0, 0.0)
    for k, (text, size, colour) in enumerate(above):
        page.marks.append(Words(MARGIN, MARGIN + 18.0 * k, text, size, colour))
    page.put(body, MARGIN, h)
    h += body.h + GAP
    page.marks += _legend(MARGIN, h)
    h += 2 * GAP
    for text, size, colour in below:
        page.marks.append(Words(MARGIN, h, text, size, colour))
        h += 16.0
    page.h = h + MARGIN / 2
    return page


def _heading(d: Diagram) -> Iterator[tuple[str, int, str]]:
    yield f"Architecture of {d.model}", 16, INK
    yield ("Traced: " if d.traced else "No trace: ") + d.input, 11, GREY
    if d.weights:
        yield f"Weights: {d.weights}", 11, GREY
    yield ",  ".join(f"{name} {value}" for name, value in d.parameters), 11, INK


def _below(d: Diagram, room: float) -> Iterator[tuple[str, int, str]]:
    """Lines below the tree; counts fill the room."""
    for title, rows in (("Hardware building blocks:", d.counts), ("Summary:", d.summary())):
        line = title if rows else ""
        for name, n in rows:
            said = f"  {name} {n:,}"
            if width(line + said) > room:
                yield line, 11, INK
                line = "   "
            line += said + ("," if (name, n) != rows[-1] else "")
        if line:
            yield line, 11, INK
    for line in left_out(d):
        yield line, 10, GREY


def _legend(x: float, y: float) -> Iterator[Mark]:
    for look, text in (("weighted", "convolution, linear"), ("activation", "activation"), ("module", "other module"),
                       ("join", "join"), ("operation", "operation between modules"), ("identity", "identity"),
                       ("container", "container")):  # fmt: skip
        yield Box(x, y - 6, 18, 12, look)
        yield Words(x + 24, y, text, 10, GREY)
        x += 44 + width(text, 10)


@dataclass
class _Unit:
    """What keeps together at the outermost level: its name, where its values come from, where it stands."""

    part: Part
    name: str
    sources: tuple[str, ...]
    column: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def axis(self) -> float:
        """X of the line that enters and leaves."""
        return self.x + self.part.axis


def _columns(d: Diagram) -> Part:
    """Set the outermost level in columns of like height, and draw the ways between them."""
    units = list(_units(d))
    between = [(a, b) for k, b in enumerate(units) for a in units[:k] if a.name in b.sources]
    aside = [(a, b) for a, b in between if units.index(b) != units.index(a) + 1]
    total, wide = sum(u.part.h + GAP for u in units), max(u.part.w for u in units)
    columns = max(1, min(len(units), round(sqrt(ASPECT * total / wide))))
    page = Part(0.0, 0.0, 0.0)
    gutter, top = LANE * (len(aside) + 1) + 2 * GAP, LANE * (len(aside) + 2) if columns > 1 else 0.0
    y, column, x, right = top, 0, 0.0, []
    for group in _grouped(units, columns):
        left, y = max(u.part.axis for u in group), top
        for u in group:
            u.column, u.x, u.y = column, x + left - u.part.axis, y
            page.put(u.part, u.x, u.y)
            y += u.part.h + GAP
        x += left + max(u.part.w - u.part.axis for u in group)
        right.append(x)
        x, column, page.h = x + gutter, column + 1, max(page.h, y)
    page.w = right[-1] + gutter
    for a, b in between:
        if (a, b) in aside:
            k = aside.index((a, b))
            page.marks.append(_aside(a, b, right, LANE * (k + 1), LINKS[k % len(LINKS)]))
        else:
            page.marks.append(_onward(a, b, right[a.column] + GAP / 2))
    return page


def _grouped(units: list[_Unit], columns: int) -> list[list[_Unit]]:
    """Units in order, in at most so many columns, the highest as low as can be in steps of a hundredth."""
    heights = [u.part.h + GAP for u in units]
    limit = max(sum(heights) / columns, *heights)
    while True:
        groups, filled = [[units[0]]], heights[0]
        for u, h in zip(units[1:], heights[1:], strict=True):
            if filled + h > limit:
                groups.append([])
                filled = 0.0
            groups[-1].append(u)
            filled += h
        if len(groups) <= columns:
            return groups
        limit *= 1.01


def _onward(a: _Unit, b: _Unit, gutter: float) -> Line:
    """From a unit to the next one: straight down, or over the top of the next column."""
    bottom, top = a.y + a.part.h, b.y
    if a.column == b.column:
        points: tuple[tuple[float, float], ...] = ((a.axis, bottom), (b.axis, top))
    else:
        turn = bottom + GAP / 2
        points = ((a.axis, bottom), (a.axis, turn), (gutter, turn), (gutter, 4.0), (b.axis, 4.0), (b.axis, top))
    return Line(points, True, ends=(a.name, b.name))


def _aside(a: _Unit, b: _Unit, right: list[float], lane: float, colour: str) -> Line:
    """From a unit to a distant one: beside its column, and over the top where that is another."""
    start, end = (a.x + a.part.w, a.y + a.part.h - 8), (b.x + b.part.w, b.y + 8 + lane / 2)
    out, back = right[a.column] + GAP + lane, right[b.column] + GAP + lane
    over = () if a.column == b.column else ((out, 4.0 + lane), (back, 4.0 + lane))
    return Line((start, (out, start[1]), *over, (back, end[1]), end), True, colour=colour, ends=(a.name, b.name))


def _units(d: Diagram) -> Iterator[_Unit]:
    """The image, every block of the outermost level (with the fork above it), the output."""
    if d.traced:
        yield _Unit(_box("image", ["image", form([d.shape])], "ends"), "image", ())
    group: list[Block | Fork] = []
    before = "image"
    for e in d.elements:
        group.append(e)
        if isinstance(e, Fork) and e.join:
            continue
        first = group[0]
        sources = first.sources if isinstance(first, Block) else (first.fork, *(b.source for b in first.branches))
        name = e.name if isinstance(e, Block) else e.fork
        yield _Unit(_stack(tuple(group), "", before if isinstance(first, Block) else first.fork, False), name, sources)
        group, before = [], name
    if d.traced:
        ends = [a for a, b in d.edges if b.split(" ")[0] == "output"]
        holders = [e.name for e in d.elements if isinstance(e, Block) and _holds(e, ends)]
        shapes = [f"{n} {list(s)}" for n, s in zip(output_names(len(d.outputs)), d.outputs, strict=True)]
        yield _Unit(
            _box("output", ["output", *shapes] if len(shapes) != 1 else shapes, "ends"), "output", (before, *holders)
        )


def _holds(b: Block, names: Sequence[str]) -> bool:
    return b.name in names or any(i.name in names for i in _inner(b))


def _inner(b: Block) -> Iterator[Block]:
    for e in b.elements:
        for i in [e] if isinstance(e, Block) else [i for p in e.branches for i in p.elements if isinstance(i, Block)]:
            yield i
            yield from _inner(i)


def _stack(elements: tuple[Block | Fork, ...], around: str, before: str, entered: bool = True) -> Part:
    """A sequence, one below the other; a line enters above where the first element takes `before`."""
    parts = [_part(e, around) for e in elements]
    left = max((p.axis for p in parts), default=0.0)
    whole = Part(left + max((p.w - p.axis for p in parts), default=0.0), 0.0, left)
    aside: list[tuple[str, str]] = []
    for k, (e, p) in enumerate(zip(elements, parts, strict=True)):
        sources = e.sources if isinstance(e, Block) else (e.fork,)
        joined = bool(k) and isinstance(elements[k - 1], Fork)
        if (before in sources or joined) and (k or entered):
            whole.marks.append(
                Line(((left, whole.h), (left, whole.h + GAP)), not isinstance(e, Fork), ends=(before, _name(e)))
            )
            whole.h += GAP
        elif k:
            whole.h += GAP / 2
        whole.put(p, left - p.axis, whole.h)
        whole.h += p.h
        aside += [(s, _name(e)) for s in dict.fromkeys(sources) if s != before and s in whole.places and not joined]
        before = e.name if isinstance(e, Block) else e.join or e.fork
    for k, (a, b) in enumerate(aside):
        (ax, ay, aw, ah), (bx, by, bw, _) = whole.places[a], whole.places[b]
        lane = whole.w + LANE * (k + 1)
        points = ((ax + aw, ay + ah - 6), (lane, ay + ah - 6), (lane, by + 8), (bx + bw, by + 8))
        whole.marks.append(Line(points, True, colour=LINKS[k % len(LINKS)], ends=(a, b)))
    whole.w += LANE * (len(aside) + 1) if aside else 0.0
    return whole


def _name(e: Block | Fork) -> str:
    return e.name if isinstance(e, Block) else e.join


def _part(e: Block | Fork, around: str) -> Part:
    return _fork(e, around) if isinstance(e, Fork) else _block(e, around)


def _block(b: Block, around: str) -> Part:
    if not b.elements or single(b) is not None:
        if b.only_joins:
            return _box(b.name, [f"{b.join} {b.detail}".strip()], "join")
        said = _short(b)
        shape = form(b.shapes[:1]) + (" ..." if len(b.shapes) > 1 else "")
        lines = [
            "  ".join(x for x in (relative(b.name, around), b.kind) if x),
            *([said] if said else []),
            *([shape] if shape else []),
        ]
        return _box(b.name, lines, _look(b))
    start = b.sources[0] if len(b.sources) == 1 else ""
    inner = _stack(b.elements, b.name, start)
    title = "  ".join(x for x in (relative(b.name, around), b.kind, form(b.shapes)) if x)
    w = max(inner.w + 2 * PAD, width(title) + 2 * PAD)
    dx = (w - inner.w) / 2
    part = Part(w, inner.h + HEAD + PAD, inner.axis + dx, [Box(0.0, 0.0, w, inner.h + HEAD + PAD, _look(b), b.name),
                Words(PAD, HEAD / 2 + 1, title)], {b.name: (0.0, 0.0, w, inner.h + HEAD + PAD)})  # fmt: skip
    part.put(inner, dx, HEAD)
    return part


def _short(b: Block) -> str:
    """Note of a block without the constants that the heading says."""
    if b.role == "activation":
        rate = "" if b.rate is None else f"rate {100 * b.rate:.2f} %"
        return ", ".join(x for x in (b.detail.split(",")[0], rate) if x)
    return ", ".join(x for x in (b.join, note(b)) if x)


def _look(b: Block) -> str:
    inner = single(b)
    if inner is not None:
        return _look(inner)
    if b.role == "module":
        return "join" if b.join else "weighted" if "->" in b.detail else "module"
    return b.role


def _box(name: str, lines: list[str], look: str) -> Part:
    w = max(width(t, 11 if not k else 10) for k, t in enumerate(lines)) + 2 * PAD
    h = 14.0 * len(lines) + 6
    words = [Words(PAD, 10.0 + 14 * k, t, 11 if not k else 10, INK if not k else GREY) for k, t in enumerate(lines)]
    return Part(w, h, w / 2, [Box(0.0, 0.0, w, h, look, name), *words], {name: (0.0, 0.0, w, h)})


def _fork(f: Fork, around: str) -> Part:
    """Paths side by side, between a line that forks and one that joins."""
    parts = [_path(b, f, around) for b in f.branches]
    h = max(p.h for p in parts)
    whole = Part(sum(p.w for p in parts) + SPREAD * (len(parts) - 1), h + 2 * GAP, 0.0)
    axes, x = [], 0.0
    for p in parts:
        whole.put(p, x, GAP)
        axes.append(x + p.axis)
        x += p.w + SPREAD
    whole.axis = (axes[0] + axes[-1]) / 2
    for a, p, b in zip(axes, parts, f.branches, strict=True):
        if b.source == f.fork:
            whole.marks.append(
                Line(((whole.axis, 0.0), (whole.axis, GAP / 2), (a, GAP / 2), (a, GAP)), dashed=b.identity)
            )
        below = ((a, GAP + p.h), (a, h + 1.5 * GAP), (whole.axis, h + 1.5 * GAP), (whole.axis, h + 2 * GAP))
        whole.marks.append(Line(below if f.join else ((a, GAP + p.h), (a, h + 2 * GAP)), dashed=b.identity))
    return whole


def _path(b: Branch, f: Fork, around: str) -> Part:
    """One path: its label, then what lies on it."""
    label = (
        b.label
        + (", identity" if b.identity else "")
        + (f" from {relative(b.source, around)}" if b.source != f.fork else "")
    )
    inner = _stack(b.elements, around, b.source)
    axis = max(inner.axis, width(label, 10) / 2)
    part = Part(axis + max(inner.w - inner.axis, width(label, 10) / 2), inner.h + GAP + 4, axis)
    part.marks = [Line(((axis, 0.0), (axis, 4.0))), Words(axis - width(label, 10) / 2.12, GAP - 4, label, 10, INK)]
    part.put(inner, axis - inner.axis, GAP + 4)
    if not b.elements:
        part.marks.append(Line(((axis, GAP + 4), (axis, part.h)), dashed=True))
    return part
