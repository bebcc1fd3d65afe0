"""A stand-in for a network on ImageNet: ResNet-18's layers and shapes with average pooling, He's random weights.

It has the operations of the real one (1.8 G multiply-adds an image of 3 x 224 x 224) and is converted as any other, but it
is not trained: its firing rates are its own, and every prediction that rests on it says so.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from snnverify.content import Array

SHAPE = (3, 224, 224)
CLASSES = 1000


class Block(nn.Module):
    """Two 3x3 convolutions around which the input goes, through a strided 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.two = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(2))
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [N, outputs, H / stride, W / stride]."""
        y = self.relus[0](self.norms[0](self.one(x)))
        found: torch.Tensor = self.relus[1](self.norms[1](self.two(y)) + self.skip(x))
        return found


def network(seed: int = 0, width: int = 64) -> nn.Sequential:
    """ResNet-18 [He et al., arXiv:1512.03385, Table 1] with average for max pooling; input [N, 3, 224, 224]."""
    torch.manual_seed(seed)
    stem = [nn.Conv2d(3, width, 7, 2, padding=3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.AvgPool2d(2)]
    blocks, inputs = [], width
    for stage in range(4):
        outputs = width << stage
        blocks += [Block(inputs, outputs, 2 if stage else 1), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*stem, *blocks, nn.AvgPool2d(7), nn.Flatten(), nn.Linear(inputs, CLASSES)).eval()


def images(n: int, seed: int = 0) -> Array:
    """Smooth random images in [0, 1], [n, 3, 224, 224] float32: noise of 14 x 14 points, interpolated."""
    coarse = torch.from_numpy(np.random.default_rng(seed).random((n, 3, 14, 14)).astype(np.float32))
    found: Array = nn.functional.interpolate(coarse, size=SHAPE[1:], mode="bilinear").numpy()
    return found
