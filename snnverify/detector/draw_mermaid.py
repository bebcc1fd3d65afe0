"""A diagram as a Mermaid flowchart: containers as subgraphs, an edge for every way that values took between leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .diagram import Block, Diagram, Fork, output_names
from .draw_text import form, left_out, note

# Shapes of nodes by role; a join is a circle.
SHAPES = {"module": "[{}]", "activation": "[{}]", "identity": "([{}])", "operation": "{{{{{}}}}}", "untraced": "[{}]"}
STYLES = (
    "classDef activation fill:#fde3c8,stroke:#d55e00", "classDef identity fill:#ffffff,stroke:#57606a,stroke-dasharray:4 3",
    "classDef join fill:#f7e1ee,stroke:#b0578a", "classDef ends fill:#d9efe6,stroke:#009e73",
    "classDef out fill:#f6f8fa,stroke:#b4bbc4,color:#57606a",
)  # fmt: skip


def mermaid(d: Diagram) -> str:
    """Draw the flowchart."""
    ids = {name: f"n{k}_{plain(name)}" for k, name in enumerate(_leaves(d))}
    lines = ["flowchart TB", f"%% {d.model}: {d.input}"]
    if d.traced:
        lines.append(f'  {ids["image"]}(["image {form([d.shape])}"]):::ends')
    lines += [f"  {line}" for line in _nodes(d.elements, ids)]
    ends = zip(output_names(len(d.outputs)), d.outputs, strict=True)
    lines += [f'  {ids[n]}(["{n} {form([s])}"]):::ends' for n, s in ends]
    shapes = {b.name: b.shapes for b in d.blocks}
    for a, b in d.edges:
        shape = "x".join(map(str, shapes[a][0])) if len(shapes.get(a, ())) == 1 else ""
        lines.append(f'  {ids[a]} -->|"{shape}"| {ids[b]}' if shape else f"  {ids[a]} --> {ids[b]}")
    if left := left_out(d):
        lines.append(f'  out["{"<br>".join(map(quoted, left))}"]:::out')
    return "\n".join([*lines, *(f"  {s}" for s in STYLES)]) + "\n"


def plain(name: str) -> str:
    """Return a name as it may stand in an identifier."""
    return re.sub(r"\W", "_", name)


def quoted(text: str) -> str:
    """Text as it may stand between Mermaid's quotation marks."""
    return text.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;").replace(">", "&gt;")


def _leaves(d: Diagram) -> Iterator[str]:
    """Names that have a node."""
    yield "image"
    yield from (b.name for b in d.blocks if not b.elements)
    yield from output_names(len(d.outputs))


def _nodes(elements: tuple[Block | Fork, ...], ids: dict[str, str]) -> Iterator[str]:
    for e in elements:
        if isinstance(e, Fork):
            for b in e.branches:
                yield from _nodes(b.elements, ids)
        elif e.elements:
            yield f'subgraph {ids.setdefault(e.name, f"c{len(ids)}")}["{quoted(f"{e.name} {e.kind}".strip())}"]'
            yield from (f"  {line}" for line in _nodes(e.elements, ids))
            yield "end"
        else:
            label = "<br>".join(quoted(x) for x in (e.name, e.kind, note(e)) if x)
            drawn = f'(("{quoted(e.join)}"))' if e.only_joins else SHAPES[e.role].format(f'"{label}"')
            look = "join" if e.join else e.role if e.role in ("identity", "activation") else ""
            yield f"{ids[e.name]}{drawn}" + (f":::{look}" if look else "")
