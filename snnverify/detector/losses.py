"""What training minimises: cross entropy of classes, or of a detector position, objectness and class of its boxes.

A box belongs to the anchors whose sides are within a factor of 4 of its own, in the cell of its centre: (2 sigma)^2 of
`boxes.decode` reaches no further. The loss is ``0.05 (1 - IoU) + objectness + 0.5 class`` (both binary cross entropies), the
target of objectness being the IoU itself, as in Ultralytics' YOLOv5 without its neighbouring cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..content import Array
from .boxes import anchors_of

REACH = 4.0
WEIGHTS = (0.05, 1.0, 0.5)  # of position, objectness, class


def loss_of(output: Any, wanted: Any, module: nn.Module, size: int) -> torch.Tensor:
    """Loss of a classifier (`wanted`: classes [B]) or of a detector (`wanted`: a list of boxes [n, 5] in pixels)."""
    if isinstance(output, torch.Tensor):
        return nn.functional.cross_entropy(output, torch.as_tensor(wanted, device=output.device))
    detect = next(m for m in module.modules() if type(m).__name__ == "Detect")
    return detection_loss(output, wanted, anchors_of(detect), size)


def detection_loss(
    raw: Sequence[torch.Tensor], boxes: Sequence[Array], anchors: torch.Tensor, size: int
) -> torch.Tensor:
    """Loss of raw predictions [B, na, H_i, W_i, 5 + nc] on the boxes of each image (class, x1, y1, x2, y2 in pixels)."""
    flat = [(i, *row) for i, rows in enumerate(boxes) for row in rows.tolist()]
    truth = torch.tensor(flat, dtype=torch.float32).reshape(-1, 6).to(raw[0])
    total = torch.zeros((), device=raw[0].device)
    for t, priors in zip(raw, anchors, strict=True):
        stride = size / t.shape[2]
        image, kind = truth[:, 0].long(), truth[:, 1].long()
        centre, sides = (truth[:, 2:4] + truth[:, 4:6]) / 2, truth[:, 4:6] - truth[:, 2:4]
        ratio = sides[:, None] / priors[None].to(t)  # [n, na, 2]
        row, anchor = torch.nonzero(torch.maximum(ratio, 1 / ratio).amax(-1) < REACH, as_tuple=True)
        cell = (centre / stride).long().clamp_min(0)
        cell = torch.minimum(cell, torch.tensor([t.shape[3] - 1, t.shape[2] - 1], device=t.device))[row]
        objectness = torch.zeros_like(t[..., 4])
        if len(row):
            p = t[image[row], anchor, cell[:, 1], cell[:, 0]]
            middle = (2 * p[:, :2].sigmoid() - 0.5 + cell) * stride
            half = (2 * p[:, 2:4].sigmoid()) ** 2 * priors[anchor].to(t) / 2
            iou = _generalised_iou(torch.cat([middle - half, middle + half], 1), truth[row, 2:6])
            hot = nn.functional.one_hot(kind[row], p.shape[1] - 5).to(p)
            total = total + WEIGHTS[0] * (1 - iou).mean()
            total = total + WEIGHTS[2] * nn.functional.binary_cross_entropy_with_logits(p[:, 5:], hot)
            objectness[image[row], anchor, cell[:, 1], cell[:, 0]] = iou.detach().clamp_min(0)
        total = total + WEIGHTS[1] * nn.functional.binary_cross_entropy_with_logits(t[..., 4], objectness)
    return total


def _generalised_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """IoU less the share of the enclosing box that neither covers (Rezatofighi et al., CVPR 2019), row by row [n]."""
    inside = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp_min(0).prod(1)
    around = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - inside
    return inside / union.clamp_min(1e-9) - (around - union) / around.clamp_min(1e-9)
