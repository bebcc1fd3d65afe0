"""Descriptions of the detector family, drawn: blocks in any order, joins of earlier maps, one or two scales."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

from ..detector.model import Detector

SIDE = 16  # of images


@st.composite
def descriptions(draw: st.DrawFn, silu: bool | None = None) -> dict[str, Any]:
    """A description of up to six blocks; `silu` in every activation, in none, or as it is drawn."""
    channels, strides = [4], [2]
    blocks: list[list[Any]] = [[-1, 1, "Conv_1", [4, 3, 2]]]
    for _ in range(draw(st.integers(1, 4))):
        kinds = ["BasicBlock_2", "BasicBlock_2", "Conv", "Conv_A" if silu is not False else "Conv", "Concat", "Upsample"]
        kind = draw(st.sampled_from(kinds))
        act = silu if silu is not None else draw(st.booleans())
        like = [k for k in range(len(blocks) - 1) if strides[k] == strides[-1]]
        if kind == "Concat" and like:
            other = draw(st.sampled_from(like))
            blocks.append([[-1, other], 1, "Concat", []])
            channels.append(channels[-1] + channels[other])
            strides.append(strides[-1])
        elif kind == "Upsample" and strides[-1] > 1:
            blocks.append([-1, 1, "Upsample", [2]])
            channels.append(channels[-1])
            strides.append(strides[-1] // 2)
        else:
            kind = kind if kind not in ("Concat", "Upsample") else "Conv_1"
            stride = draw(st.sampled_from([1, 1, 2])) if kind == "BasicBlock_2" and strides[-1] < 8 else 1
            width = draw(st.sampled_from([4, channels[-1]]))
            blocks.append([-1, 1, kind, [width, 3 if kind == "BasicBlock_2" else 1, stride,
                                         *([act] if kind in ("BasicBlock_2", "Conv") else [])]])  # fmt: skip
            channels.append(width)
            strides.append(strides[-1] * stride)
    last = [[-1, 1, "Classify", [3]]]
    if draw(st.booleans()):
        last = [[[-1, draw(st.integers(0, len(blocks) - 1))], 1, "Detect", ["nc"]]]
    anchors = [[10, 13], [30, 61]]
    return {"nc": 3, "channels": 2, "T": draw(st.integers(1, 3)), "anchors": anchors, "backbone": blocks, "head": last}


def built(description: dict[str, Any], seed: int, dtype: torch.dtype = torch.float32) -> Detector:
    """The detector with weights of a seed, in evaluation mode; batch norms keep its activity up."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Detector(description)
        for m in model.modules():
            if isinstance(m, nn.BatchNorm3d):
                nn.init.uniform_(m.weight, 0.8, 1.6)
                nn.init.uniform_(m.bias, -0.2, 0.6)
    return model.to(dtype).eval()


def images(n: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Uniform images [n, 2, 16, 16]."""
    return torch.rand((n, 2, SIDE, SIDE), generator=torch.Generator().manual_seed(seed)).to(dtype)
