"""A small data set of coloured rectangles in the YOLO form, the same for the same seed; for tests and examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from ..content import Array, write_atomic

# class: colour, greatest and least width and height as shares of the image
KINDS = {
    "red square": ((220, 40, 40), (0.22, 0.34), (0.22, 0.34)),
    "green bar": ((40, 190, 60), (0.40, 0.60), (0.12, 0.20)),
    "blue pillar": ((50, 70, 220), (0.12, 0.20), (0.40, 0.60)),
    "yellow tile": ((225, 205, 50), (0.30, 0.45), (0.18, 0.28)),
}
NOISE = 24  # of the ground, grey levels either way


def write_rectangles(
    folder: str | Path, train: int = 64, val: int = 32, size: tuple[int, int] = (96, 128), seed: int = 0, most: int = 3
) -> Path:
    """Write images, labels and ``data.yaml``; one to `most` rectangles an image that do not touch each other.

    Parameters
    ----------
    folder : path
        It is made.
    train, val : int
        Images of each split.
    size : (int, int)
        Height and width in pixels.
    seed : int
    most : int

    Returns
    -------
    Path of ``data.yaml``.
    """
    root = Path(folder)
    rng = np.random.Generator(np.random.PCG64(seed))
    for split, number in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            pixels, rows = _image(rng, size, int(rng.integers(1, most + 1)))
            Image.fromarray(pixels).save(root / "images" / split / f"{i:04d}.png")
            lines = [" ".join([str(kind), *(f"{v:.6f}" for v in box)]) for kind, *box in rows]
            write_atomic(root / "labels" / split / f"{i:04d}.txt", "\n".join(lines) + "\n")
    table = {"path": ".", "train": "images/train", "val": "images/val", "nc": len(KINDS), "names": list(KINDS)}
    return write_atomic(root / "data.yaml", yaml.safe_dump(table, sort_keys=False))


def _image(rng: np.random.Generator, size: tuple[int, int], wanted: int) -> tuple[Array, list[tuple[float, ...]]]:
    """Pixels uint8 [H, W, 3] and rows of class, x, y, w, h; rectangles that would touch are drawn anew, ten times."""
    height, width = size
    pixels = rng.integers(110 - NOISE, 110 + NOISE, (height, width, 1)).repeat(3, 2).astype(np.uint8)
    taken = np.zeros(size, bool)
    rows: list[tuple[float, ...]] = []
    for _ in range(10 * wanted):
        kind = int(rng.integers(len(KINDS)))
        colour, widths, heights = list(KINDS.values())[kind]
        w, h = int(rng.uniform(*widths) * width), int(rng.uniform(*heights) * height)
        left, top = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        inside = np.s_[top : top + h, left : left + w]
        if len(rows) == wanted or taken[max(top - 1, 0) : top + h + 1, max(left - 1, 0) : left + w + 1].any():
            continue
        taken[inside] = True
        pixels[inside] = np.clip(np.array(colour) + rng.integers(-NOISE // 2, NOISE // 2, (h, w, 3)), 0, 255)
        rows.append((kind, (left + w / 2) / width, (top + h / 2) / height, w / width, h / height))
    return pixels, rows
