"""A detector or classifier from its description: a list of blocks, each with where its input comes from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from ..errors import ConfigError, DataError
from ..objects import nearest
from . import blocks
from .blocks import Constants

# Modules that a description may name.
PLAIN = ("Conv", "Conv_A", "Conv_1", "BasicBlock_2")
MOST = 1000  # repetitions of a block
OTHERS = ("Concat", "Upsample", "Detect", "Classify")


class Detector(nn.Module):
    """Images ``[B, C, H, W]`` -> what the last block gives, over T repetitions of each image.

    Parameters
    ----------
    description : mapping
        ``nc`` classes, ``channels`` of an image (3), ``T``, ``threshold``, ``decay``, ``anchors`` where there is a `Detect`,
        and ``backbone`` and ``head``: lists of ``[from, number, module, arguments]``, ``from`` being the index of an
        earlier block, -1 for the one before, or a list of them. Of convolutions and residual blocks the arguments are
        those after the input channels.

    Raises
    ------
    ConfigError
        A description that cannot be followed.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        super().__init__()
        self.yaml = dict(description)
        try:
            self.constants = Constants(
                self.yaml.get("T", 5), float(self.yaml.get("threshold", 0.5)), float(self.yaml.get("decay", 0.25))
            )
            self.model, self.save, self.stride = _layers(self.yaml, self.constants)
        except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError) as e:  # torch's of a wrong size, too
            if isinstance(e, ConfigError):
                raise
            what = str(e).partition("\n")[0]
            raise ConfigError(
                f"description of the model: {type(e).__name__} {what}; see snnverify/detector/models"
            ) from e
        self.nc = int(self.yaml["nc"])
        self.names = list(self.yaml.get("names", [str(i) for i in range(self.nc)]))

    def forward(self, x: torch.Tensor) -> Any:
        """Run the blocks on an image held for T steps.

        Raises
        ------
        DataError
            An image of another form, of a size that the stride does not divide, or with NaN.
        """
        channels = self.yaml.get("channels", 3)
        if x.dim() != 4 or x.shape[1] != channels:
            raise DataError(f"image: an array {list(x.shape)}; the model takes [B, {channels}, H, W]")
        if any(n % self.stride for n in x.shape[-2:]):
            up = [-(-n // self.stride) * self.stride for n in x.shape[-2:]]
            raise DataError(
                f"image: {x.shape[-2]}x{x.shape[-1]} is no multiple of the stride {self.stride}; the next is {up[0]}x{up[1]}"
            )
        if not torch.isfinite(x).all():
            raise DataError("image: it holds NaN or infinity")
        outputs: list[Any] = []
        # memory of its own: a unit may write into its input, and each step of the image is another's
        y: Any = x.expand(self.constants.steps, *x.shape).clone()
        for i, layer in enumerate(self.model):
            sources: Any = layer.f
            if isinstance(sources, list):
                y = layer([y if j == -1 else outputs[j] for j in sources])
            else:
                y = layer(y if sources == -1 else outputs[sources])
            outputs.append(y if i in self.save else None)
        return y


def _layers(d: Mapping[str, Any], constants: Constants) -> tuple[nn.Sequential, list[int], int]:
    """Blocks, the indices of those whose output is needed later, and the stride of the coarsest map."""
    channels: list[int] = []
    strides: list[float] = []
    layers: list[nn.Module] = []
    save: set[int] = set()
    for i, (source, number, name, given) in enumerate([*d["backbone"], *d["head"]]):
        sources = source if isinstance(source, list) else [source]
        at = [i + j if j < 0 else j for j in sources]
        if any(not 0 <= j < i for j in at) and not (i == 0 and at == [-1]):
            raise ConfigError(f"block {i} ({name}): from = {source}, which is no earlier block")
        incoming = [channels[j] if j >= 0 else d.get("channels", 3) for j in at]
        arguments = [d.get(a, a) if isinstance(a, str) else a for a in given]
        module, out, stride = _block(name, number, incoming, arguments, d, constants)
        save |= {j for j, s in zip(at, sources, strict=True) if s != -1}
        indices = [s if s == -1 else j for j, s in zip(at, sources, strict=True)]
        vars(module).update(i=i, f=indices if isinstance(source, list) else indices[0])
        layers.append(module)
        channels.append(out)
        strides.append(stride * max((strides[j] for j in at if j >= 0), default=1.0))
    return nn.Sequential(*layers), sorted(save), int(max(strides))


def _block(
    name: str, number: int, incoming: list[int], arguments: list[Any], d: Mapping[str, Any], constants: Constants
) -> tuple[nn.Module, int, float]:
    """One entry of a description: module, channels that it hands on, factor by which it shrinks its map."""
    if name in PLAIN:
        if not 1 <= number <= MOST:
            raise ConfigError(f"{name}: {number} times; from 1 to {MOST}")
        kind = getattr(blocks, name)
        out, stride = arguments[0], arguments[2] if len(arguments) > 2 else 1
        again = [*arguments[:2], 1, *arguments[3:]]  # repetitions of a block keep the size
        each = [kind(incoming[0], *arguments, constants=constants)]
        each += [kind(out, *again[: len(arguments)], constants=constants) for _ in range(number - 1)]
        return each[0] if number == 1 else nn.Sequential(*each), out, stride
    if name == "Concat":
        return blocks.Concat(), sum(incoming), 1
    if name == "Upsample":
        return blocks.Upsample(*arguments), incoming[0], 1 / arguments[0]
    if name == "Detect":
        anchors = tuple(tuple(float(n) for n in scale) for scale in d["anchors"])
        return blocks.Detect(arguments[0], anchors, tuple(incoming)), 0, 1
    if name == "Classify":
        return blocks.Classify(incoming[0], *arguments), arguments[0], 1
    raise ConfigError(f"no module {name!r}{nearest(str(name), (*PLAIN, *OTHERS))}")


def described(name: str) -> dict[str, Any]:
    """Read the description `name`: one that is shipped, or a YAML file.

    Raises
    ------
    ConfigError
        Nothing of that name, or a file that is not YAML.
    """
    shipped = files(__package__) / "models"
    path: Any = shipped / f"{name}.yaml" if name in available() else Path(name)
    if path == Path(name) and not path.suffix and not path.exists():
        raise ConfigError(f"model = {name!r}: no description of that name, and no file{nearest(name, available())}")
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        reason = getattr(e, "strerror", None) or str(e).splitlines()[0]
        raise ConfigError(f"model = {name!r}: {reason}; take one of {', '.join(available())}, or a YAML file") from e
    if not isinstance(found, dict):
        raise ConfigError(f"model = {name!r}: the file holds no mapping")
    return found


def available() -> list[str]:
    """Names of the descriptions that are shipped."""
    return sorted(
        p.name.removesuffix(".yaml") for p in (files(__package__) / "models").iterdir() if p.name.endswith(".yaml")
    )
