"""Nets and samples as the commands name them: what was opened is said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..errors import ConfigError
from .binarize import binarize, overwritten
from .checkpoint import load
from .fidelity import device_of
from .memory import check_memory
from .samples import BATCH, Samples, open_samples

Say = Callable[[str], None]


def on_device(name: str | None, say: Say) -> torch.device:
    """The device asked for: cuda where there is one, else cpu.

    Raises
    ------
    ConfigError
        cuda, and there is none.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError("--device cuda: torch sees no such device here; take cpu")
    device = torch.device(name or ("cuda" if there else "cpu"))
    say(f"device: {device}")
    return device


def net_of(path: Path, model: str | None, say: Say) -> nn.Module:
    """The net that a file of weights holds, in eval mode and float32; `model` builds it for files of tensors alone."""
    found = load(path, model=model)
    held = {str(p.dtype).removeprefix("torch.") for p in found.parameters()} - {"float32"}
    if held:
        say(f"{path}: weights of {', '.join(sorted(held))}, judged in float32")
    return found.float()


def pair(
    before: Path, after: Path | None, model: str | None, device: str | None, say: Say
) -> tuple[tuple[nn.Module, nn.Module], dict[str, str]]:
    """Both nets, on the device, and where they come from; without `after` the conversion of `before`."""
    place = on_device(device, say)
    first = net_of(before, model, say)
    if after is None:
        second, statistics = binarize(first)
        say(f"converted here: {statistics.total} activations")
        for line in overwritten(statistics):
            say(line)
    else:
        second = net_of(after, model, say)
    files = {"before": before, **({} if after is None else {"after": after})}
    about = {f"{name} sha256": hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    return (first.to(place), second.to(place).eval()), {**about, "device": str(place)}


def opened(
    net: nn.Module, data: str, split: str, train: str | None, size: int, say: Say
) -> tuple[Samples, Samples | None]:
    """Samples that judge, and those to repair with: of a YAML file its train split, unless others are given."""
    samples = open_samples(data, net, size, split)
    check_memory(net, samples.size, images=min(BATCH, len(samples)), device=device_of(net))
    say(f"judged on {samples}")
    source = train or (data if samples.kind == "boxes" else None)
    if source is None:
        return samples, None
    others = open_samples(source, net, size, "train")
    say(f"repaired with {others}")
    return samples, others
