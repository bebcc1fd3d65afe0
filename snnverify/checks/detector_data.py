"""Boxes, letterboxes, label files and similarities by which conversions of detectors are judged, each derived anew."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from ..content import Array, Content
from ..findings import Measure
from ..oracles import Oracle
from . import check

EPS = 2.0**-53


@dataclass(frozen=True, eq=False)
class Raw(Content):
    """A seed for raw predictions: classes, and cells a side of the coarser of two maps in an image of `size` pixels."""

    seed: int
    classes: int
    cells: int
    size: int


RAW = st.builds(Raw, st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.sampled_from([96, 192]))


@check("operators", RAW)
def boxes_decoded(case: Raw, subject: Oracle) -> Iterator[Measure]:
    """Each anchor of each cell gives the box ``s (2 sigma - 1/2 + c)``, ``p (2 sigma)^2`` and the scores ``sigma_o sigma_k``, in the order of scales, anchors, rows, columns [Ultralytics YOLOv5, models/yolo.py, Detect.forward]."""
    from ..detector.boxes import decode

    rng = np.random.Generator(np.random.PCG64(case.seed))
    raw = [rng.normal(0, 2, (2, 3, k * case.cells, k * case.cells, 5 + case.classes)) for k in (2, 1)]
    anchors = rng.uniform(2, 200, (2, 3, 2))
    found = decode(raw, anchors, case.size).numpy()
    wanted = np.array([[_box(t, priors, case.size, b, a, y, x) for t, priors in zip(raw, anchors, strict=True)
                        for a in range(3) for y in range(t.shape[2]) for x in range(t.shape[3])] for b in range(2)])  # fmt: skip
    yield Measure("boxes missing", abs(found.shape[1] - wanted.shape[1]), limit=0.0)
    if found.shape == wanted.shape:
        # 16 roundings on values of up to 4 x 200 and size + 400 pixels
        yield Measure("error, pixels", float(np.abs(found - wanted).max()), limit=16 * EPS * (case.size + 1200))


def _box(t: Array, priors: Array, size: int, b: int, a: int, y: int, x: int) -> list[float]:
    tx, ty, tw, th, *scores = (1 / (1 + math.exp(-v)) for v in t[b, a, y, x])
    stride = size / t.shape[2]
    cx, cy = stride * (2 * tx - 0.5 + x), stride * (2 * ty - 0.5 + y)
    w, h = priors[a, 0] * 4 * tw * tw, priors[a, 1] * 4 * th * th
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, *(scores[0] * s for s in scores[1:])]


@dataclass(frozen=True, eq=False)
class Marked(Content):
    """Boxes with integer corners and scores in hundredths: rows of (image, class, x1, y1, x2, y2, score)."""

    truth: tuple[tuple[int, ...], ...]
    found: tuple[tuple[int, ...], ...]


@st.composite
def marked(draw: st.DrawFn) -> Marked:
    """Few places, so that boxes overlap; scores differ, because a tie has no order."""
    corner, side = st.integers(0, 6), st.integers(1, 6)

    def rows(least: int, most: int) -> list[tuple[int, ...]]:
        drawn = draw(
            st.lists(
                st.tuples(st.integers(0, 3), st.integers(0, 1), corner, corner, side, side),
                min_size=least,
                max_size=most,
            )
        )
        return [(i, k, x, y, x + w, y + h) for i, k, x, y, w, h in drawn]

    found = rows(0, 14)
    scores = draw(st.permutations(range(1, 1 + len(found))))
    return Marked(tuple(rows(1, 8)), tuple((*r, s) for r, s in zip(found, scores, strict=True)))


def _iou(a: Sequence[int], b: Sequence[int]) -> Fraction:
    """Exact, of integer corners."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inside = max(w, 0) * max(h, 0)
    area = [(v[2] - v[0]) * (v[3] - v[1]) for v in (a, b)]
    return Fraction(inside, sum(area) - inside)


@check("operators", marked())
def boxes_suppressed(case: Marked, subject: Oracle) -> Iterator[Measure]:
    """Of two boxes that stay none overlaps the other by more than the limit, and each that goes overlaps a better one that stays by more; best first [greedy non-maximum suppression: Girshick et al., CVPR 2014, section 2.2]."""
    from ..detector.boxes import suppress

    boxes = [r[2:6] for r in case.found]
    scores = np.array([r[6] for r in case.found], float)
    limit = Fraction(1, 2)
    kept = suppress(np.array(boxes, float).reshape(-1, 4), scores, 0.5).tolist()
    yield Measure("out of order", sum(scores[a] < scores[b] for a, b in pairwise(kept)))
    yield Measure(
        "overlap among those that stay", sum(_iou(boxes[a], boxes[b]) > limit for a in kept for b in kept if a < b)
    )
    gone = set(range(len(boxes))) - set(kept)
    alone = [g for g in gone if not any(scores[k] > scores[g] and _iou(boxes[k], boxes[g]) > limit for k in kept)]
    yield Measure("gone without a better one", len(alone))


@check("operators", marked())
def boxes_precision(case: Marked, subject: Oracle) -> Iterator[Measure]:
    """MAP at IoU 0.5 and at 0.5:0.95 is COCO's: greedy matches by score, the greatest precision at or beyond each of 101 recalls, mean over classes that have a box; all in fractions [Lin et al., ECCV 2014; cocodataset.org, detection evaluation]."""
    from ..detector.boxes import precision_of

    truth = [np.array([r[1:] for r in case.truth if r[0] == i], float).reshape(-1, 5) for i in range(4)]
    found = [np.array([(*r[1:6], r[6] / 100) for r in case.found if r[0] == i], float).reshape(-1, 6) for i in range(4)]
    classes = sorted({r[1] for r in case.truth})
    # a hundredth off: 1/2 is told from what is next to it, as no IoU here lies between
    limits = [Fraction(50 + 5 * k, 100) for k in range(10)]
    each = [sum((_ap(case, k, limit) for k in classes), Fraction(0)) / len(classes) for limit in limits]
    half, whole = precision_of(truth, found, 2).ap()
    # sums of up to 1,010 x 2 float64 values of at most 1
    yield Measure("mAP@0.5 off", abs(half - float(each[0])), limit=2048 * EPS)
    yield Measure("mAP@0.5:0.95 off", abs(whole - float(sum(each) / 10)), limit=2048 * EPS)


def _ap(case: Marked, kind: int, limit: Fraction) -> Fraction:
    """Average precision of one class, by the definition."""
    boxes = [r for r in case.truth if r[1] == kind]
    taken: set[int] = set()
    right: list[bool] = []
    for d in sorted((r for r in case.found if r[1] == kind), key=lambda r: -r[6]):
        free = [(_iou(d[2:6], b[2:6]), j) for j, b in enumerate(boxes) if b[0] == d[0] and j not in taken]
        # of equal overlaps COCO takes the last
        best = max(free, default=(Fraction(0), -1))
        right.append(best[0] >= limit)
        if right[-1]:
            taken.add(best[1])
    curve = [
        (Fraction(sum(right[: i + 1]), len(boxes)), Fraction(sum(right[: i + 1]), i + 1)) for i in range(len(right))
    ]
    at = (max((p for r, p in curve if r >= Fraction(k, 100)), default=Fraction(0)) for k in range(101))
    return sum(at, Fraction(0)) / 101


@dataclass(frozen=True, eq=False)
class Picture(Content):
    """Height, width, letterbox, and a box as sixty-fourths of the image: x1 < x2, y1 < y2."""

    height: int
    width: int
    size: int
    box: tuple[int, int, int, int]


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Landscapes, portraits, slivers."""
    x, y = (sorted(draw(st.lists(st.integers(0, 64), min_size=2, max_size=2, unique=True))) for _ in range(2))
    side = st.integers(1, 160)
    return Picture(draw(side), draw(side), draw(st.sampled_from([32, 64, 96])), (x[0], y[0], x[1], y[1]))


@check("operators", pictures())
def dataset_letterbox(case: Picture, subject: Oracle) -> Iterator[Measure]:
    """The longer side fills the square, the other keeps its proportion to half a pixel, the margins are grey and differ by at most one, and a box stays at the same place of the image [Ultralytics YOLOv5, utils/augmentations.py, letterbox]."""
    from ..detector.letterbox import GREY, boxes_in_square, letterbox

    white = letterbox(np.full((1, case.height, case.width), 255, np.uint8), case.size)[0]
    inside = np.argwhere(white == 1)
    yield Measure("not white nor grey", int(((white != 1) & (white != np.float32(GREY) / np.float32(255))).sum()))
    low, high = inside.min(0).tolist(), (inside.max(0) + 1).tolist()
    longer = max(case.height, case.width)
    for axis, n in enumerate((case.height, case.width)):
        side, before, after = high[axis] - low[axis], low[axis], case.size - high[axis]
        exact = Fraction(n * case.size, longer)
        yield Measure("side off, pixels", float(abs(side - exact)), limit=0.5 if exact >= Fraction(1, 2) else 1.0)
        yield Measure("margins", float(after - before not in (0, 1)))
    x1, y1, x2, y2 = (Fraction(v, 64) for v in case.box)
    row = np.array([[3, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]], float)
    kind, *corners = boxes_in_square(row, case.height, case.width, case.size)[0].tolist()
    (top, left), (bottom, right) = low, high
    wanted = [
        left + x1 * (right - left),
        top + y1 * (bottom - top),
        left + x2 * (right - left),
        top + y2 * (bottom - top),
    ]
    off = max(abs(Fraction(c) - w) for c, w in zip(corners, wanted, strict=True))
    yield Measure("box off, pixels", float(off), limit=8 * EPS * case.size)
    yield Measure("class lost", float(kind != 3))


@dataclass(frozen=True, eq=False)
class Labels(Content):
    """Label rows: class, and points in 128ths; two corners, or an outline."""

    rows: tuple[tuple[int, ...], ...]
    folders: tuple[str, ...]


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    """Boxes and outlines under folders of which some are called as those that matter."""
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        n = draw(st.sampled_from([2, 3, 5]))
        points = draw(st.lists(st.tuples(st.integers(0, 128), st.integers(0, 128)), min_size=n, max_size=n))
        if len({x for x, _ in points}) > 1 and len({y for _, y in points}) > 1:
            rows.append((draw(st.integers(0, 2)), *(v for p in points for v in p)))
    folders = draw(st.lists(st.sampled_from(["images", "labels", "a", "images.b"]), max_size=3))
    return Labels(tuple(rows), tuple(folders))


@check("operators", labels())
def dataset_labels(case: Labels, subject: Oracle) -> Iterator[Measure]:
    """An image's boxes are those of the text in the sibling ``labels`` of its last folder ``images``: centre and size as written, of an outline those of its enclosing box [Ultralytics docs, Object Detection Datasets, YOLO format; Instance Segmentation Datasets]."""
    from ..detector.dataset import label_path, read_labels, read_split

    with tempfile.TemporaryDirectory() as root:
        split = ("images", *case.folders)
        image = Path(root, *split, "one.picture.png")
        at = max(i for i, name in enumerate(split) if name == "images")
        text = Path(root, *split[:at], "labels", *split[at + 1 :], "one.picture.txt")
        for folder in (image.parent, text.parent):
            folder.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"")
        text.write_text("\n".join(_line(row) for row in case.rows))
        Path(root, "data.yaml").write_text("{val: images, names: [a, b, c]}")
        found = read_split(Path(root, "data.yaml"))
        rows = read_labels(label_path(found.images[0]), found.names)
    yield Measure("images", abs(len(found) - 1))
    yield Measure("rows", abs(len(rows) - len(case.rows)))
    for row, (kind, *points) in zip(rows.tolist(), case.rows, strict=False):
        xs, ys = points[::2], points[1::2]
        wanted = [kind, *(Fraction(v, 256) for v in (min(xs) + max(xs), min(ys) + max(ys))),
                  *(Fraction(v, 128) for v in (max(xs) - min(xs), max(ys) - min(ys)))]  # fmt: skip
        # 256ths are exact in decimals and in floats
        yield Measure("off", float(sum(Fraction(v) != w for v, w in zip(row, wanted, strict=True))))


def _line(row: Sequence[int]) -> str:
    kind, *points = row
    if len(points) > 4:
        return " ".join([str(kind), *(str(v / 128) for v in points)])
    x1, y1, x2, y2 = points
    return f"{kind} {(x1 + x2) / 256} {(y1 + y2) / 256} {abs(x2 - x1) / 128} {abs(y2 - y1) / 128}"


@dataclass(frozen=True, eq=False)
class Outputs(Content):
    """A seed for outputs [T, N, C, H, W] before and after, and the sizes of the batches that they come in."""

    seed: int
    parts: tuple[int, ...]
    binary: bool


@check("operators", st.builds(Outputs, st.integers(0, 2**32 - 1), st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple),
                              st.booleans()))  # fmt: skip
def fidelity_similarity(case: Outputs, subject: Oracle) -> Iterator[Measure]:
    """Cosine, linear CKA, distance and mean outputs do not depend on the batches, and are those of the whole: CKA as the cosine of centred Gram matrices over samples [Kornblith et al., ICML 2019, section 3 and eq. 3]."""
    from ..detector.similarity import Sums

    rng = np.random.Generator(np.random.PCG64(case.seed))
    n = sum(case.parts)
    # eighths, and means over 16 of them: every sum is exact in float64
    a = rng.integers(-24, 32, (4, n, 4, 2, 2)) / 8
    b = (a + rng.integers(-8, 9, a.shape) / 8 > 0.5).astype(float) if case.binary else a @ rng.integers(-2, 3, (2, 2))
    b[:, 0] *= rng.integers(0, 2)  # a sample may be silent
    sums, start = Sums(), 0
    for part in case.parts:
        sums.add(a[:, start : start + part], b[:, start : start + part])
        start += part
    x, y = (_fractions(v.swapaxes(0, 1).reshape(n, -1)) for v in (a, b))
    cosines = [_dot(p, q) / math.sqrt(_dot(p, p) * _dot(q, q)) if any(p) and any(q) else float(not any(p) and not any(q))
               for p, q in zip(x, y, strict=True)]  # fmt: skip
    size, apart = sum(_dot(p, p) for p in x), sum(_dot(d, d) for d in ([i - j for i, j in zip(p, q, strict=True)]
                                                                       for p, q in zip(x, y, strict=True)))  # fmt: skip
    means = [float(sum(sum(row) for row in v) / (n * len(v[0]))) for v in (x, y)]
    features = [_fractions(v.mean((0, 3, 4))) for v in (a, b)]
    k, m = (_gram(f) for f in features)
    alike, own, others = (sum(_dot(p, q) for p, q in zip(g, h, strict=True)) for g, h in ((k, m), (k, k), (m, m)))
    wanted = {
        "cosine": sum(cosines) / n, "cka": float(alike) / math.sqrt(own * others) if own and others else math.nan,
        "gap": math.sqrt(apart / size), "rate before": means[0], "rate after": means[1],
    }  # fmt: skip
    # Centred products are off by 2 u |F|^2: a division, a difference. Relative to their norms that enters CKA twice for
    # each net, and norms of 16 squares with what follows by 40 u.
    spread = sum(
        float(sum(_dot(f, f) for f in v)) / math.sqrt(g) for v, g in zip(features, (own, others), strict=True) if g
    )
    limits = {
        "cosine": (n + 4) * EPS, "cka": (4 * spread + 40) * EPS, "gap": 2 * EPS * wanted["gap"],
        "rate before": 2 * EPS * abs(means[0]), "rate after": 2 * EPS * abs(means[1]),
    }  # fmt: skip
    for (name, right), value in zip(wanted.items(), sums.measures(), strict=True):
        off = 0.0 if math.isnan(right) and math.isnan(value) else abs(value - right)
        yield Measure(f"{name} off", math.inf if math.isnan(off) else off, limits[name])


def _fractions(rows: Array) -> list[list[Fraction]]:
    return [[Fraction(v) for v in row] for row in rows.tolist()]


def _dot(p: Sequence[Fraction], q: Sequence[Fraction]) -> Fraction:
    return sum((i * j for i, j in zip(p, q, strict=True)), Fraction(0))


def _gram(features: Sequence[Sequence[Fraction]]) -> list[list[Fraction]]:
    """Products of rows of centred features [n, C] -> [n, n]."""
    means = [sum(column, Fraction(0)) / len(features) for column in zip(*features, strict=True)]
    rows = [[v - m for v, m in zip(row, means, strict=True)] for row in features]
    return [[_dot(p, q) for q in rows] for p in rows]
