"""What hardware for spikes would see: the values that arrive at each synapse, and activations that say nothing.

A core that adds a weight per spike takes inputs of 0 and 1; small whole numbers are several spikes; anything else needs a
multiplier. What a net's wiring makes of its inputs is worked out from its description, and what arrived is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..content import Array, Content
from .walk import LEAVES, Node, Operations, follow

CLASSES = ("binary", "integer", "analog")  # each holds those before it
SYNAPSES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True, eq=False)
class Activity(Content):
    """Spikes of one activation on some images.

    Parameters
    ----------
    spikes, places : int
        Ones, and values in all (steps x images x units).
    dead, saturated, units : int
        Units [C, H, W] that fire in no step of no image, and in every step of every image; all units.
    dead_channels, saturated_channels, channels : int
        Channels of which all units are dead, all are saturated; all channels.
    """

    spikes: int
    places: int
    dead: int
    saturated: int
    units: int
    dead_channels: int
    saturated_channels: int
    channels: int

    @property
    def rate(self) -> float:
        """Spikes per unit and step."""
        return self.spikes / self.places


def class_of(x: Array) -> str:
    """``binary`` where all values are 0 or 1, else ``integer`` where all are whole, else ``analog``."""
    if bool(((x == 0) | (x == 1)).all()):
        return "binary"
    return "integer" if bool((x == np.rint(x)).all()) else "analog"


def activity(spikes: Array) -> Activity:
    """Count the spikes [T, B, C, ...] of an activation."""
    ones = spikes.reshape(spikes.shape[0] * spikes.shape[1], *spikes.shape[2:3], -1) != 0
    ones = ones if ones.ndim == 3 else ones[:, None]
    silent, full = ~ones.any(0), ones.all(0)  # [C, units of a channel]
    return Activity(int(ones.sum()), ones.size, int(silent.sum()), int(full.sum()), silent.size,
                    int(silent.all(1).sum()), int(full.all(1).sum()), len(silent))  # fmt: skip


def expected(tree: Node) -> tuple[dict[str, str], set[str]]:
    """Greatest class that may arrive at each convolution and linear map, and those that the image itself reaches.

    Spikes are binary, and stay so in max pooling, nearest upsampling and concatenation; sums of whole numbers are whole;
    what a convolution, a norm, a mean or an image gives is analog.
    """
    found: dict[str, str] = {}
    image: set[str] = set()

    def synapse(path: str, node: Node, x: str) -> str:
        found[path] = "analog" if x == "image" else x
        image.update({path} if x == "image" else ())
        return "analog"

    def same(path: str, node: Node, x: str) -> str:
        return x

    def widest(path: str, node: Node, xs: list[str]) -> str:
        return max(("analog" if x == "image" else x for x in xs), key=CLASSES.index)

    def added(path: str, node: Node, xs: list[str]) -> str:
        return max(widest(path, node, xs), "integer", key=CLASSES.index)

    def analog(path: str, node: Node, x: str) -> str:
        return "analog"

    operations: Operations = {
        **dict.fromkeys(LEAVES, same), "Snn_Conv2d": synapse, "nn.Linear": synapse, "Concat": widest, "add": added,
        "mem_update": lambda path, node, x: "analog" if node["attributes"]["act"] else "binary",
        **dict.fromkeys(("BatchNorm3d1", "BatchNorm3d2", "nn.SiLU", "mean over T", "mean over space"), analog),
        "image": lambda path, node, x: "image",
    }  # fmt: skip
    follow(tree, operations, None)
    return found, image


@dataclass
class Recorded:
    """What went into and came out of modules in one run.

    Parameters
    ----------
    taken : mapping of str to str
        Class of what arrived at each convolution and linear map, by path; the widest where it was called again.
    given : mapping of str to array
        Output of the modules that were asked for, by path; the last where one was called again.
    calls : mapping of str to int
        How often each of those ran.
    output : Any
        Of the net.
    """

    taken: dict[str, str]
    given: dict[str, Array]
    calls: dict[str, int]
    output: Any


def recorded(net: nn.Module, x: Array, wanted: Mapping[str, nn.Module]) -> Recorded:
    """Run a net on images and see its synapses' inputs and what the `wanted` modules give."""
    found = Recorded({}, {}, {}, None)

    def taken(path: str) -> Any:
        def see(m: nn.Module, args: tuple[Any, ...]) -> None:
            now = class_of(np.asarray(args[0].detach().cpu()))
            found.taken[path] = max(now, found.taken.get(path, now), key=CLASSES.index)

        return see

    def given(path: str) -> Any:
        def see(m: nn.Module, args: Any, y: Any) -> None:
            found.calls[path] = found.calls.get(path, 0) + 1
            if isinstance(y, torch.Tensor):
                found.given[path] = np.array(y.detach().cpu().numpy())

        return see

    synapses = {p: m for p, m in net.named_modules() if isinstance(m, SYNAPSES)}
    handles = [m.register_forward_pre_hook(taken(p)) for p, m in synapses.items()]
    handles += [m.register_forward_hook(given(p)) for p, m in wanted.items()]
    own = next((p for p in net.parameters()), None)
    try:
        with torch.no_grad():
            found.output = net(torch.tensor(x, device=None if own is None else own.device))
    finally:
        for handle in handles:
            handle.remove()
    return found
