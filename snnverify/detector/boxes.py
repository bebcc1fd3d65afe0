"""Boxes out of a detector's raw output, what remains of them, and how good they are.

With t the raw output of an anchor (p_w, p_h) in the cell (c_x, c_y) of a map of stride s, and sigma the logistic function::

    x = s (2 sigma(t_x) - 1/2 + c_x)      w = p_w (2 sigma(t_w))^2
    y = s (2 sigma(t_y) - 1/2 + c_y)      h = p_h (2 sigma(t_h))^2
    score of class k = sigma(t_o) sigma(t_k)

(the decoding of Ultralytics' YOLOv3 and YOLOv5, from whose code the family comes). Then greedy non-maximum suppression by
class, and COCO's average precision by pycocotools: precision at 101 recalls, interpolated from the right, mean over classes
that have a box, at IoU 0.5 and over 0.5, 0.55 ... 0.95, with at most 100 boxes an image and all sizes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..content import Array
from ..errors import DataError

CONFIDENCE, OVERLAP, MOST = 0.001, 0.6, 100  # least score, IoU that suppresses, boxes kept of an image


def decode(raw: Sequence[torch.Tensor | Array], anchors: torch.Tensor | Array, size: int) -> torch.Tensor:
    """Boxes and scores of every anchor in every cell.

    Parameters
    ----------
    raw : tensors or arrays [B, na, H_i, W_i, 5 + nc]
    anchors : tensor or array [scales, na, 2]
        Widths and heights in pixels.
    size : int
        Side of the square image; strides are ``size / H_i``.

    Returns
    -------
    tensor [B, boxes, 4 + nc]
        x1, y1, x2, y2 in pixels, then the score of every class.
    """
    parts = []
    for given, priors in zip(raw, torch.as_tensor(anchors), strict=True):
        t = torch.as_tensor(given)
        rows, columns = t.shape[2:4]
        p = t.sigmoid()
        cell = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), -1).to(t)
        centre = (2 * p[..., :2] - 0.5 + cell) * (size / rows)
        half = (2 * p[..., 2:4]) ** 2 * priors[:, None, None].to(t) / 2
        scores = p[..., 4:5] * p[..., 5:]
        parts.append(torch.cat([centre - half, centre + half, scores], -1).flatten(1, 3))
    return torch.cat(parts, 1)


def anchors_of(detect: nn.Module) -> torch.Tensor:
    """Anchors in pixels, [scales, na, 2]: checkpoints that hold `Detect`'s strides hold its anchors in units of them."""
    held: Any = detect
    stride = getattr(held, "stride", None)
    anchors: torch.Tensor = held.anchors.float()
    return anchors if stride is None else anchors * stride.to(anchors).view(-1, 1, 1)


def overlaps(a: Array, b: Array) -> Array:
    """IoU of every box in a [n, 4] with every box in b [m, 4], corners x1, y1, x2, y2: [n, m]."""
    corner = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.prod(np.clip(corner[1] - corner[0], 0, None), -1)
    area = [np.prod(v[:, 2:] - v[:, :2], -1) for v in (a, b)]
    union = area[0][:, None] + area[1][None] - inside
    shares: Array = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    return shares


def suppress(boxes: Array, scores: Array, overlap: float = OVERLAP) -> Array:
    """Greedy non-maximum suppression: indices that stay, best first; of equal scores the earlier goes first.

    A box goes where its IoU with one that stays is above `overlap`.
    """
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[overlaps(boxes[best : best + 1], boxes[left])[0] <= overlap]
    return np.array(kept, int)


def detections(predicted: Array, confidence: float = CONFIDENCE, overlap: float = OVERLAP, most: int = MOST) -> Array:
    """Detections of one image: [boxes, 4 + nc] of `decode` -> [n, 6], class, x1, y1, x2, y2, score, best first."""
    scores = predicted[:, 4:]
    found = []
    for kind in range(scores.shape[1]):
        at = np.flatnonzero(scores[:, kind] > confidence)
        at = at[np.argsort(-scores[at, kind], kind="stable")][: 10 * most]  # suppression is quadratic
        kept = at[suppress(predicted[at, :4], scores[at, kind], overlap)]
        found.append(np.column_stack([np.full(len(kept), kind), predicted[kept, :4], scores[kept, kind]]))
    together = np.concatenate(found)
    return together[np.argsort(-together[:, 5], kind="stable")][:most]


@dataclass(frozen=True)
class Precision:
    """COCO's matches of detections and boxes, image by image; `ap` averages them over any choice of images.

    Parameters
    ----------
    evaluation : pycocotools.cocoeval.COCOeval
        After its ``evaluate``.
    images : int
    """

    evaluation: Any
    images: int

    def ap(self, chosen: Array | None = None) -> tuple[float, float]:
        """(mAP at IoU 0.5, mAP at 0.5:0.95); `chosen` are numbers of images, with repetitions, for a bootstrap."""
        held = self.evaluation.evalImgs
        per_class = np.array(held, object).reshape(-1, self.images)  # one area range
        try:
            if chosen is not None:
                self.evaluation.evalImgs = per_class[:, chosen].ravel().tolist()
            with contextlib.redirect_stdout(io.StringIO()):  # it prints how long it took
                self.evaluation.accumulate()
            precision = self.evaluation.eval["precision"][
                ..., 0, 0
            ]  # [IoU, recall, class]; -1 where a class has no box
        finally:
            self.evaluation.evalImgs = held
        there = precision[0, 0] > -1
        if not there.any():
            return 0.0, 0.0
        return float(precision[0][:, there].mean()), float(precision[:, :, there].mean())


def precision_of(truth: Sequence[Array], found: Sequence[Array], classes: int) -> Precision:
    """Match detections to boxes as COCO does.

    Parameters
    ----------
    truth : sequence of array [n, 5]
        Of each image: class, x1, y1, x2, y2.
    found : sequence of array [n, 6]
        The same, and the score.
    classes : int

    Raises
    ------
    DataError
        No box in any image: there is nothing to find.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not sum(map(len, truth)):
        raise DataError("labels: no image holds a box; mAP needs some")
    with contextlib.redirect_stdout(io.StringIO()):
        gold, given = COCO(), COCO()
        for coco, sets in ((gold, truth), (given, found)):
            coco.dataset = {
                "images": [{"id": i + 1} for i in range(len(truth))],
                "categories": [{"id": k, "name": str(k)} for k in range(classes)],
                "annotations": list(_annotations(sets)),
            }
            coco.createIndex()
        evaluation = COCOeval(gold, given, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
    return Precision(evaluation, len(truth))


def _annotations(sets: Sequence[Array]) -> Any:
    """Rows in COCO's form, numbered from 1: to its matcher 0 is no match."""
    number = 0
    for image, rows in enumerate(sets, 1):
        for kind, x1, y1, x2, y2, *score in rows.tolist():
            number += 1
            yield {"id": number, "image_id": image, "category_id": int(kind), "bbox": [x1, y1, x2 - x1, y2 - y1],
                   "area": (x2 - x1) * (y2 - y1), "iscrowd": 0, **({"score": score[0]} if score else {})}  # fmt: skip
