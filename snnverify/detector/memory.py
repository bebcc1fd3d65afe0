"""Whether a run fits into the memory that is there, asked before anything large is made or written."""

from __future__ import annotations

import copy
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError
from .blocks import SpikingActivation
from .letterbox import stride_of

SMALL = 32  # least side of the image that is measured
# Where Linux says what a group of processes may take and takes: version 2, version 1.
LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def check_memory(
    net: nn.Module, size: int, *, images: int = 1, kept: bool = False, device: str | torch.device = "cpu",
    option: str = "--img-size",
) -> None:  # fmt: skip
    """Refuse images that cannot fit: what is needed grows with their area, and is measured on a small one.

    Parameters
    ----------
    net : torch.nn.Module
        Left alone. One that does not run on a small image is not asked.
    size : int
        Side of the images.
    images : int
        In a batch.
    kept : bool
        The outputs of all activations and layers are held at once, not only what one of them takes and gives.
    device : str or torch.device
        Where the net will run.
    option : str
        For the message.

    Raises
    ------
    ConfigError
        They need more than is free: names both, and the greatest size that fits.
    """
    free = free_memory(torch.device(device))
    stride = stride_of(net)
    small = -(-SMALL // stride) * stride
    if free is None or size <= small:
        return
    most, every = measured(net, small)
    needed = images * (every if kept else most) * (size / small) ** 2
    if needed > free:
        fits = max(small, int(math.sqrt(free / needed) * size) // stride * stride)
        of = f"{images} images" if images > 1 else "an image"
        raise ConfigError(
            f"{option} {size}: {of} of {size} x {size} would take {needed / 1e9:,.1f} GB at the least, and "
            f"{free / 1e9:,.1f} GB are free; take a smaller one: above {fits} none fits"
        )


def measured(net: nn.Module, side: int) -> tuple[int, int]:
    """Bytes of one image in a net: of what a module takes and gives at most, and of what all leaves give.

    A run takes more than the first: sums wait for their other operand, and convolutions have buffers. Both are 0 of a net
    that cannot be copied, or does not run on a square of this side.
    """
    found = [0, 0]
    item = next((p.element_size() for p in net.parameters() if p.is_floating_point()), 4)

    def see(m: nn.Module, taken: Any, given: Any) -> None:
        sizes = [sum(t.numel() * item for t in _tensors(part)) for part in (taken, given)]
        spikes = isinstance(m, SpikingActivation)
        found[0] = max(
            found[0], sum(sizes) + spikes * sizes[1]
        )  # its steps, and the train that they are put together to
        if spikes or not any(True for _ in m.children()):
            found[1] += sizes[1]

    with suppress(Exception), torch.no_grad():  # whatever a user's module says to it, it will say again when it is run
        twin = copy.deepcopy(net).cpu().float().eval()
        for m in twin.modules():
            m.register_forward_hook(see)
        first = next(m for m in twin.modules() if isinstance(m, nn.Conv2d))
        twin(torch.zeros(1, first.in_channels, side, side))
        return found[0], found[1]
    return 0, 0


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for part in value for t in _tensors(part)] if isinstance(value, (tuple, list)) else []


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process may still take; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    told = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        told.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for limit, used in LIMITS:
        with suppress(OSError, ValueError):  # "max": no limit
            told.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    with suppress(OSError, ValueError, AttributeError):
        told.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(told)) if told else None
