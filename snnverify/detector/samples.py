"""What a net is judged, calibrated and tuned on: batches of images with classes, or with boxes, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from ..content import Array
from ..data import Dataset, check_labels, load_data
from ..errors import ConfigError, DataError
from .blocks import Classify, Detect
from .dataset import Split, label_path, read_image, read_labels, read_split
from .letterbox import boxes_in_square, check_size, letterbox, stride_of

BATCH = 16


@dataclass(frozen=True)
class Classes:
    """Images of one size in memory, each with its class.

    Parameters
    ----------
    data : Dataset
        x [N, C, H, W].
    """

    data: Dataset
    kind: Literal["classes"] = "classes"

    def __len__(self) -> int:
        return len(self.data)

    def __str__(self) -> str:
        """Where the samples come from, and how many there are."""
        scaling = "as they are" if self.data.scaling == "none" else self.data.scaling
        return f"{self.data.source}: {len(self)} samples, values {scaling}"

    @property
    def digest(self) -> str:
        """That of the data (hex)."""
        return self.data.digest

    @property
    def size(self) -> int:
        """Height of the images."""
        return int(self.data.x.shape[2])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to them."""
        return (self.data.note,) if self.data.note else ()

    def read(self, rows: Sequence[int]) -> tuple[Array, Any]:
        """X float32 [B, C, H, W] and classes int64 [B] of some samples."""
        at = list(rows)
        return self.data.x[at], self.data.y[at]

    def shared(self, other: Any) -> int:
        """How many of these samples are in `other`, too."""
        known = {row.tobytes() for row in other.data.x} if isinstance(other, Classes) else set()
        return sum(row.tobytes() in known for row in self.data.x)


@dataclass(frozen=True)
class Boxes:
    """Images of a YOLO split in letterboxes, each with its boxes.

    Parameters
    ----------
    split : Split
    size : int
        Side of the letterbox.
    channels : int
    """

    split: Split
    size: int
    channels: int = 3
    kind: Literal["boxes"] = "boxes"

    def __len__(self) -> int:
        return len(self.split)

    def __str__(self) -> str:
        """Root, split and letterbox."""
        return f"{self.split}, letterbox {self.size}x{self.size}"

    @property
    def digest(self) -> str:
        """That of the split (hex)."""
        return self.split.digest

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the split."""
        return self.split.notes

    def read(self, rows: Sequence[int]) -> tuple[Array, Any]:
        """X float32 [B, C, S, S] and, for each image, boxes [n, 5] (class, x1, y1, x2, y2 in pixels of the letterbox)."""
        images, boxes = [], []
        for path in (self.split.images[i] for i in rows):
            pixels = read_image(path, self.channels)
            images.append(letterbox(pixels, self.size))
            labels = read_labels(label_path(path), self.split.names)
            boxes.append(boxes_in_square(labels, pixels.shape[1], pixels.shape[2], self.size))
        return np.stack(images), boxes

    def shared(self, other: Any) -> int:
        """How many of these images are in `other`, too, by path."""
        known = set(other.split.images) if isinstance(other, Boxes) else set()
        return sum(path in known for path in self.split.images)


Samples = Classes | Boxes


def batches(samples: Samples, order: Sequence[int] | None = None, batch: int = BATCH) -> Iterator[tuple[Array, Any]]:
    """Batches in order; no more than one is held."""
    rows = range(len(samples)) if order is None else order
    for start in range(0, len(rows), batch):
        yield samples.read(rows[start : start + batch])


def open_samples(spec: str, module: nn.Module, size: int = 640, split: str = "val") -> Samples:
    """What `spec` names, in the form that a net takes.

    Parameters
    ----------
    spec : str
        A YAML file in the YOLO form for a detector; ``.npz``, an IDX pair or ``module:callable`` for a classifier.
    module : nn.Module
        Its head, channels, stride and classes decide.
    size : int
        Of the letterbox.
    split : str
        Of the YAML file.

    Raises
    ------
    ConfigError, DataError
        Data of another kind, number of channels or of classes than the net is made for; sizes off the stride.
    """
    heads = [m for m in module.modules() if isinstance(m, (Detect, Classify))]
    described = getattr(module, "yaml", {})
    channels, stride = int(described.get("channels", 3)), stride_of(module)
    detects, boxed = any(isinstance(m, Detect) for m in heads), Path(spec).suffix.lower() in (".yaml", ".yml")
    if boxed and not detects:
        raise ConfigError(f"data = {spec!r}: boxes, but the net ends in no Detect; give classes (.npz, IDX pair)")
    if detects and not boxed:
        raise ConfigError(f"data = {spec!r}: the net is a detector; give a YAML file with path, train, val and names")
    if boxed:
        found = read_split(spec, split)
        check_names(found, module)
        return Boxes(found, check_size(size, stride), channels)
    data = load_data(spec)
    if data.x.ndim == 3 and channels == 1:
        data = Dataset(data.x[:, None], data.y, data.scaling, data.source, data.first_sample, "channel axis added")
    if data.x.ndim != 4 or data.x.shape[1] != channels:
        raise DataError(f"{spec}: samples {list(data.x.shape[1:])}; the net takes [{channels}, H, W]")
    h, w = data.x.shape[2:]
    if h % stride or w % stride:
        near = " x ".join(str(max(1, n // stride) * stride) for n in (h, w))
        raise DataError(
            f"{spec}: images of {h} x {w}, no multiple of the net's stride {stride}; crop them, say to {near}"
        )
    for head in heads:
        if isinstance(head, Classify):
            check_labels(data.y, head.linear.out_features)
    return Classes(data)


def check_names(split: Split, module: nn.Module) -> None:
    """Refuse a split of another number of classes than the net's `Detect` tells apart.

    Raises
    ------
    DataError
    """
    wanted = next((m.nc for m in module.modules() if isinstance(m, Detect)), len(split.names))
    if len(split.names) != wanted:
        raise DataError(f"{split.source}: {len(split.names)} names, but the net tells {wanted} classes apart; give the data "
                        "it was trained for")  # fmt: skip


def first(samples: Samples, number: int) -> Samples:
    """Take evenly spread samples, at most so many."""
    if len(samples) <= number:
        return samples
    rows = np.linspace(0, len(samples) - 1, number).round().astype(int)
    if isinstance(samples, Classes):
        d = samples.data
        return Classes(
            Dataset(
                d.x[rows],
                d.y[rows],
                d.scaling,
                d.source,
                d.first_sample,
                f"{number} of {len(d)} samples, evenly spread",
            )
        )
    s = samples.split
    few = Split(s.source, s.root, s.name, s.names, tuple(s.images[i] for i in rows), s.notes)
    return Boxes(few, samples.size, samples.channels)
