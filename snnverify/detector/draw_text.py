"""A diagram as text: a tree of blocks, the flow of shapes, and what was counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .diagram import Block, Diagram, Fork, Module, Shape, output_names

TEE, LAST, BAR, GAP = "├─ ", "└─ ", "│  ", "   "


def text(d: Diagram) -> str:
    """Draw everything, one thing a line."""
    parts = [_heading(d), _titled("Global parameters", _table(d.parameters)), _titled("Layers", _tree(d))]
    if d.traced:
        parts += [_titled("Data flow", _flow(d)), _titled("Joins", _joins(d))]
        parts += [
            _titled("Hardware building blocks", _table(d.counts)),
            _titled("Execution statistics", _activities(d)),
        ]
    parts += [
        _titled("Summary", _table(d.summary())),
        _titled("Modules that did not run, or changed nothing", left_out(d)),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def form(shapes: Sequence[Shape]) -> str:
    """Shapes, in words: ``[5, 1, 64, 32, 32]``."""
    return ", ".join(str(list(s)) for s in shapes)


def relative(name: str, around: str) -> str:
    """Return a block's name as it is seen from the block around it."""
    stem = around.split(":")[0]
    short = name.removeprefix(f"{stem}.") if stem and name.startswith(f"{stem}.") else name
    return short.removeprefix(f"{stem}/") if short.startswith(f"{stem}/") else short.removeprefix("/")


def single(b: Block) -> Block | None:
    """Return the one block of a container that holds nothing else: they are drawn as one."""
    inner = b.elements[0] if len(b.elements) == 1 else None
    return inner if isinstance(inner, Block) and not inner.elements and b.role == "container" else None


def left_out(d: Diagram) -> list[str]:
    """Unexecuted and identity modules, and those without use, alike ones in one line."""
    lines = []
    for status in ("unexecuted", "identity"):
        alike: dict[tuple[str, str], list[Module]] = {}
        for m in d.modules:
            if m.status == status:
                alike.setdefault((m.path.rpartition(".")[2], m.kind), []).append(m)
        lines += [f"{status}: {kind} {_few([m.path or 'model' for m in found])}" for (_, kind), found in alike.items()]
    lines += [f"ran, but the output does not depend on it: {b.kind} {b.name}" for b in d.blocks if b.unused]
    reached = {b for _, b in d.edges}
    lines += [f"{n}: no value that was traced reaches it" for n in output_names(len(d.outputs)) if n not in reached]
    return lines


def note(b: Block) -> str:
    """Parameters of a block, and what its values were."""
    inner = single(b)
    if inner is not None:
        kept = note(inner)
        return f"{inner.kind}" + (f"; {kept}" if kept else "")
    taken = f"{b.taken} input" if b.taken and "->" in b.detail else ""
    rate = f"rate {100 * b.rate:.2f} %" if b.rate is not None else ""
    role = b.role if b.role == "identity" else ""
    unused = "the output does not depend on it" if b.unused else ""
    return "; ".join(x for x in (role, b.detail, taken, rate, unused) if x)


def _heading(d: Diagram) -> str:
    lines = [f"Architecture of {d.model}", f"{'Traced: ' if d.traced else 'No trace: '}{d.input}"]
    if d.weights:
        lines.append(f"Weights: {d.weights}")
    if d.traced:
        lines.append(f"Input {list(d.shape)}; output {form(d.outputs)}")
    return "\n".join([*lines, "Made by " + ", ".join(f"{name} {version}" for name, version in d.versions)])


def _titled(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _table(rows: Sequence[tuple[str, object]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [
        f"{name:{width}}  {value:,}" if isinstance(value, int) else f"{name:{width}}  {value}" for name, value in rows
    ]


def _tree(d: Diagram) -> list[str]:
    start = [f"image {list(d.shape)}"] if d.traced else []
    end = [f"output {form(d.outputs) or 'that holds no tensor'}"] if d.traced else []
    return start + list(_lines(d.elements, "", "image")) + end


def _lines(elements: tuple[Block | Fork, ...], around: str, before: str) -> Iterator[str]:
    """Lines of a sequence; `before` is where its first block would take its values from, were it not said."""
    for k, e in enumerate(elements):
        last = k == len(elements) - 1
        lines = _block(e, around, before) if isinstance(e, Block) else _fork(e, around)
        before = e.name if isinstance(e, Block) else e.join
        for i, line in enumerate(lines):
            lead = (LAST if last else TEE) if i == 0 else (GAP if last else BAR)
            yield lead + line


def _block(b: Block, around: str, before: str) -> Iterator[str]:
    joined = b.join and b.name == before  # the fork above it says the sources
    sources = (
        "" if joined or list(b.sources) in ([before], []) else "<- " + ", ".join(relative(s, around) for s in b.sources)
    )
    if b.only_joins:
        words = [f"JOIN {b.join}", b.detail]
    else:
        words = [relative(b.name, around), b.kind + (f" (JOIN {b.join})" if b.join else ""), note(b)]
    yield "  ".join(x for x in (*words, sources, form(b.shapes)) if x)
    if single(b) is None and b.elements:
        yield from _lines(b.elements, b.name, b.sources[0] if len(b.sources) == 1 else "")


def _fork(f: Fork, around: str) -> Iterator[str]:
    yield f"FORK at {relative(f.fork, around)}" if f.join else "PATHS to the results"
    for k, b in enumerate(f.branches):
        source = "" if b.source == f.fork else f" from {relative(b.source, around)}"
        last = k == len(f.branches) - 1
        through = f" (identity): {relative(b.source, around)} itself reaches the join" if b.identity else source
        yield (LAST if last else TEE) + b.label + through
        for line in _lines(b.elements, around, b.source):
            yield (GAP if last else BAR) + line


def _flow(d: Diagram) -> list[str]:
    """Shapes from the image to the output, a line for each block of the outermost level."""
    steps = dict(d.parameters)["time steps T"]
    symbols = {4: "[B, C, H, W] = "} if len(d.shape) == 4 else {}
    rows = [("image", "", f"{symbols.get(len(d.shape), '')}{list(d.shape)}")]
    for b in _outermost(d.elements):
        sources = "" if list(b.sources) == [rows[-1][0]] else "<- " + ", ".join(b.sources)
        timed = any(len(s) == 5 and str(s[0]) == steps for s in b.shapes) and not any("T, B" in r[2] for r in rows)
        rows.append((b.name, b.kind, f"{'[T, B, C, H, W] = ' if timed else ''}{form(b.shapes)}  {sources}"))
    rows += [(n, "", str(list(s))) for n, s in zip(output_names(len(d.outputs)), d.outputs, strict=True)]
    name, kind = (max(len(r[i]) for r in rows) for i in (0, 1))
    return [f"{r[0]:{name}}  {r[1]:{kind}}  {r[2]}".rstrip() for r in rows]


def _outermost(elements: tuple[Block | Fork, ...]) -> Iterator[Block]:
    for e in elements:
        if isinstance(e, Block):
            yield e
        else:
            for b in e.branches:
                yield from _outermost(b.elements)


def _joins(d: Diagram) -> list[str]:
    lines = []
    for j in d.joins:
        routes = "; ".join(f"{r.label}{' (identity)' if r.identity else ''}: {_route(r.blocks)}" for r in j.routes)
        lines.append(f"{j.name}  {j.kind}, fork at {j.fork}; {routes}")
    return lines


def _route(blocks: tuple[str, ...]) -> str:
    if len(blocks) <= 2:
        return ", ".join(blocks) or "the forked value itself"
    return f"{blocks[0]} ... {blocks[-1]} ({len(blocks)} blocks)"


def _activities(d: Diagram) -> list[str]:
    rows = [("activation", "kind", "units", "values", "spike rate")]
    rows += [
        (a.name, a.kind, f"{a.units:,}", a.given, "" if a.rate is None else f"{100 * a.rate:.2f} %")
        for a in d.activities
    ]
    widths = [max(len(r[i]) for r in rows) for i in range(5)]
    return (
        ["  ".join(f"{cell:{w}}" for cell, w in zip(r, widths, strict=True)).rstrip() for r in rows]
        if d.activities
        else []
    )


def _few(paths: list[str], most: int = 3) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")
