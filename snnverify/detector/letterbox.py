"""Letterbox: an image scaled into a square without changing its form, the rest grey; and its boxes along with it.

``r = min(S / H, S / W)``, the new size is ``round(r H) x round(r W)``, and what is left of S is split between both sides,
the odd pixel to the right and below, as detectors of the YOLO family are trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ..content import Array
from ..errors import ConfigError

GREY = 114


def stride_of(net: Any) -> int:
    """Greatest of the strides that a net says: a number, or one for each scale; 1 where it says none."""
    told: Any = getattr(net, "stride", None)
    told = told.tolist() if hasattr(told, "tolist") else told
    numbers = told if isinstance(told, (list, tuple)) else [told]
    return max([1, *(int(n) for n in numbers if isinstance(n, (int, float)) and 1 <= n < float("inf"))])


def check_size(size: int, stride: int) -> int:
    """`size`, if the stride divides it.

    Raises
    ------
    ConfigError
        It does not: names the next sizes.
    """
    if size < stride or size % stride:
        below, above = size // stride * stride, (max(size, 0) // stride + 1) * stride
        near = f"{below} or {above}" if below >= stride else f"{above}"
        raise ConfigError(f"--img-size = {size}: no multiple of the model's stride {stride}; take {near}")
    return size


def placed(height: int, width: int, size: int) -> tuple[int, int, int, int]:
    """Where an image lies in the square: top, left, height, width, in pixels."""
    # as fractions: r = size / longer side; half up, and never nothing of a thin image
    longer = max(height, width)
    h, w = (max(1, (2 * n * size + longer) // (2 * longer)) for n in (height, width))
    return (size - h) // 2, (size - w) // 2, h, w


def letterbox(pixels: Array, size: int) -> Array:
    """Scale an image (bilinear) into a grey square.

    Parameters
    ----------
    pixels : array, uint8 [C, H, W]
    size : int

    Returns
    -------
    array, float32 [C, size, size]
        ``pixels / 255``.
    """
    top, left, h, w = placed(pixels.shape[1], pixels.shape[2], size)
    square = np.full((len(pixels), size, size), GREY, np.uint8)
    for plane, target in zip(pixels, square, strict=True):
        scaled = (
            plane
            if plane.shape == (h, w)
            else np.asarray(Image.fromarray(plane).resize((w, h), Image.Resampling.BILINEAR))
        )
        target[top : top + h, left : left + w] = scaled
    return square.astype(np.float32) / np.float32(255)


def boxes_in_square(labels: Array, height: int, width: int, size: int) -> Array:
    """Boxes as shares of an image, [n, 5] (class, x, y, w, h) -> [n, 5] (class, x1, y1, x2, y2) in pixels of the square."""
    top, left, h, w = placed(height, width, size)
    kind, x, y, bw, bh = labels.T
    return np.stack([kind, left + (x - bw / 2) * w, top + (y - bh / 2) * h,
                     left + (x + bw / 2) * w, top + (y + bh / 2) * h], 1)  # fmt: skip
