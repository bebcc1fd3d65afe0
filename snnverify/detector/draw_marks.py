"""What a picture is made of (boxes, lines, words), and how it becomes SVG or PNG."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
INK, GREY, PAPER = "#1b1f24", "#57606a", "#ffffff"
# Look -> fill, outline, whether the outline is dashed; hues of Okabe and Ito's palette.
LOOKS = {
    "module": ("#ffffff", "#57606a", False), "activation": ("#fde3c8", "#d55e00", False),
    "weighted": ("#e4eefb", "#0072b2", False), "identity": ("#ffffff", "#57606a", True),
    "operation": ("#f0f1f3", "#57606a", False), "join": ("#f7e1ee", "#b0578a", False), "ends": ("#d9efe6", "#009e73", False),
    "container": ("#fafbfc", "#b4bbc4", False), "untraced": ("#ffffff", "#b4bbc4", True),
}  # fmt: skip
SCALE = 2  # pixels of a PNG for each unit of length
ROUND = 4.0


@dataclass(frozen=True)
class Box:
    """A rectangle with round corners; `name` of the block that it stands for."""

    x: float
    y: float
    w: float
    h: float
    look: str
    name: str = ""


@dataclass(frozen=True)
class Words:
    """A line of text whose middle height is y; x is its start."""

    x: float
    y: float
    text: str
    size: int = 11
    colour: str = INK


@dataclass(frozen=True)
class Line:
    """A polyline, with a head at its end where it arrives; `ends` the blocks that it joins, where it does."""

    points: tuple[Point, ...]
    arrow: bool = False
    dashed: bool = False
    colour: str = GREY
    ends: tuple[str, str] = ("", "")


Mark = Box | Words | Line


def moved(mark: Mark, dx: float, dy: float) -> Mark:
    """Return a mark elsewhere."""
    if isinstance(mark, Line):
        return replace(mark, points=tuple((x + dx, y + dy) for x, y in mark.points))
    return replace(mark, x=mark.x + dx, y=mark.y + dy)


def width(text: str, size: int = 11) -> float:
    """Length of a line of text, with some room: viewers of SVG have other fonts."""
    return float(_font(size).getlength(text)) * 1.06


def svg(marks: list[Mark], w: float, h: float, title: str) -> bytes:
    """Write an SVG document."""
    root = ElementTree.Element("svg", {
        "xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {w:.0f} {h:.0f}", "width": f"{w:.0f}", "height": f"{h:.0f}",
        "font-family": "Helvetica, Arial, sans-serif",
    })  # fmt: skip
    ElementTree.SubElement(root, "title").text = title
    ElementTree.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": PAPER})
    for m in marks:
        _svg(root, m)
    ElementTree.indent(root, " ")
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def png(marks: list[Mark], w: float, h: float) -> bytes:
    """Paint a PNG."""
    picture = Image.new("RGB", (round(w * SCALE), round(h * SCALE)), PAPER)
    draw = ImageDraw.Draw(picture)
    for m in marks:
        _paint(draw, m)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _svg(root: ElementTree.Element, m: Mark) -> None:
    if isinstance(m, Box):
        fill, outline, dashed = LOOKS[m.look]
        given = {"x": m.x, "y": m.y, "width": m.w, "height": m.h, "rx": ROUND, "fill": fill, "stroke": outline}
        e = ElementTree.SubElement(root, "rect", _strings(given, dashed))
        if m.name:
            e.set("data-name", m.name)
            e.set("data-look", m.look)
    elif isinstance(m, Words):
        given = {"x": m.x, "y": m.y, "font-size": m.size, "fill": m.colour, "dominant-baseline": "central"}
        ElementTree.SubElement(root, "text", _strings(given)).text = m.text
    else:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in m.points)
        e = ElementTree.SubElement(
            root, "polyline", _strings({"points": points, "fill": "none", "stroke": m.colour}, m.dashed)
        )
        if m.ends != ("", ""):
            e.set("data-from", m.ends[0])
            e.set("data-to", m.ends[1])
        if m.arrow:
            head = " ".join(f"{x:.1f},{y:.1f}" for x, y in _head(m))
            ElementTree.SubElement(root, "polygon", {"points": head, "fill": m.colour})


def _strings(given: dict[str, Any], dashed: bool = False) -> dict[str, str]:
    text = {k: f"{v:.1f}" if isinstance(v, float) else str(v) for k, v in given.items()}
    return {**text, "stroke-dasharray": "4 3"} if dashed else text


def _paint(draw: ImageDraw.ImageDraw, m: Mark) -> None:
    s = SCALE
    if isinstance(m, Box):
        fill, outline, dashed = LOOKS[m.look]
        corners = (m.x * s, m.y * s, (m.x + m.w) * s, (m.y + m.h) * s)
        draw.rounded_rectangle(corners, ROUND * s, fill, None if dashed else outline, s)
        if dashed:
            x, y, right, bottom = m.x, m.y, m.x + m.w, m.y + m.h
            _dashes(draw, ((x, y), (right, y), (right, bottom), (x, bottom), (x, y)), outline)
    elif isinstance(m, Words):
        draw.text((m.x * s, m.y * s), m.text, m.colour, _font(m.size * s), "lm")
    else:
        if m.dashed:
            _dashes(draw, m.points, m.colour)
        else:
            draw.line([(x * s, y * s) for x, y in m.points], m.colour, round(1.2 * s), joint="curve")
        if m.arrow:
            draw.polygon([(x * s, y * s) for x, y in _head(m)], m.colour)


def _dashes(draw: ImageDraw.ImageDraw, points: tuple[Point, ...], colour: str) -> None:
    on, off, s = 4.0, 3.0, SCALE
    for (ax, ay), (bx, by) in pairwise(points):
        length = max(abs(bx - ax), abs(by - ay)) or 1.0  # lines run along an axis
        ux, uy, at = (bx - ax) / length, (by - ay) / length, 0.0
        while at < length:
            end = min(at + on, length)
            draw.line([(s * (ax + at * ux), s * (ay + at * uy)), (s * (ax + end * ux), s * (ay + end * uy))], colour, s)
            at += on + off


def _head(m: Line) -> list[Point]:
    """Arrow head of a line whose last piece runs along an axis."""
    (ax, ay), (bx, by) = m.points[-2:]
    length = max(abs(bx - ax), abs(by - ay)) or 1.0
    ux, uy = (bx - ax) / length, (by - ay) / length
    return [(bx, by), (bx - 6 * ux + 3 * uy, by - 6 * uy + 3 * ux), (bx - 6 * ux - 3 * uy, by - 6 * uy - 3 * ux)]


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
