"""The module family of spiking detectors: activations over time, convolutions of each step, batch norms, residual blocks.

Tensors are ``[T, B, C, H, W]``. Classes and their children are named as checkpoints of the family name them, because a
checkpoint that is read without running its code is rebuilt from those names (`rebuild`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import nn

from ..errors import ConfigError, DataError


@dataclass(frozen=True)
class Constants:
    """What a state dict does not say of a spiking activation.

    Parameters
    ----------
    steps : int
        T, at least 1.
    threshold : float
        Spike where the membrane potential is strictly above it.
    decay : float
        Part of the previous potential that stays, in [0, 1].

    Raises
    ------
    ConfigError
        A value out of its range.
    """

    steps: int = 5
    threshold: float = 0.5
    decay: float = 0.25

    def __post_init__(self) -> None:
        for name, held in (
            ("steps", isinstance(self.steps, int) and self.steps >= 1),
            ("threshold", 0 < self.threshold < float("inf")),
            ("decay", 0 <= self.decay <= 1),
        ):
            if not held:
                ranges = {"steps": "a whole number of at least 1", "threshold": "above 0", "decay": "in [0, 1]"}
                raise ConfigError(f"{name} = {getattr(self, name)!r}: it must be {ranges[name]}")


@runtime_checkable
class SpikingActivation(Protocol):
    """What a module declares to be converted and checked: its mode, and the constants that it runs on.

    ``act`` is true where it emits ``silu(mem)`` and false where it emits spikes; a conversion sets it.
    """

    act: bool
    constants: Constants


class Spike(torch.autograd.Function):
    """1 where ``mem > threshold``, else 0; derivative 1 within half of the threshold on either side of it, else 0.

    A rectangle, of area 1 where the threshold is 1/2 (Wu et al., Front. Neurosci. 12:331, 2018, eq. 23).
    """

    @staticmethod
    def forward(ctx: Any, mem: torch.Tensor, threshold: float) -> torch.Tensor:
        """Spike, strictly above the threshold."""
        ctx.save_for_backward(mem)
        ctx.threshold = threshold
        return (mem > threshold).to(mem.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Rectangle."""
        (mem,) = ctx.saved_tensors
        return gradients[0] * ((mem - ctx.threshold).abs() < ctx.threshold), None


_spike: Callable[[torch.Tensor, float], torch.Tensor] = Spike.apply


class mem_update(nn.Module):  # noqa: N801
    """``mem[t] = decay mem[t-1] (1 - s[t-1]) + x[t]``, ``s = mem > threshold`` (binary) or ``s = silu(mem)``.

    The gate resets to zero what fired; under SiLU it is ``1 - silu(mem)``. ``mem[0] = x[0]``.

    Parameters
    ----------
    act : bool
        Emit ``silu(mem)`` in place of spikes.
    inplace : bool
        The SiLU overwrites the potential, as ``nn.SiLU(inplace=True)`` does: ``mem[t-1]`` in the recurrence is then
        ``silu(mem[t-1])``. Nets in the wild have either. The first potential *is* step 0 of the caller's input, so that
        whatever reads the input afterwards, a shortcut for one, finds ``silu(x[0])`` there: such nets were trained that way.
        Without it, and where spikes are emitted, the caller's input is left alone.
    constants : Constants

    Raises
    ------
    DataError
        Another number of steps than `constants` has, or NaN: both would come out as silence.
    """

    def __init__(self, act: bool = False, inplace: bool = False, constants: Constants = Constants()) -> None:
        super().__init__()
        self.act, self.constants = act, constants
        self.actFun = nn.SiLU(inplace=inplace)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, ...] -> [T, ...]."""
        c = self.constants
        if x.shape[0] != c.steps:
            raise DataError(f"mem_update: an input of {x.shape[0]} steps to an activation of T = {c.steps}")
        if torch.isnan(x).any():
            raise DataError(
                "mem_update: the input holds NaN, which would come out as silence; mend the weights or the data"
            )
        mem = x[0]
        out: list[torch.Tensor] = []
        for t in range(c.steps):
            if t:
                mem = mem * c.decay * (1 - out[-1].detach()) + x[t]
            s = nn.functional.silu(mem, self.actFun.inplace) if self.act else _spike(mem, c.threshold)
            out.append(s)
        return torch.stack(out)


class Snn_Conv2d(nn.Conv2d):  # noqa: N801
    """Convolution of every time step by itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, B, C, H, W] -> [T, B, C', H', W']."""
        y = super().forward(x.flatten(0, 1))
        return y.view(*x.shape[:2], *y.shape[1:])


class BatchNorm3d1(nn.BatchNorm3d):
    """Batch norm over (T, H, W) of each channel whose gamma starts at `share` times the threshold."""

    share = 1.0

    def __init__(self, features: int, constants: Constants = Constants()) -> None:
        super().__init__(features)
        nn.init.constant_(self.weight, self.share * constants.threshold)


class BatchNorm3d2(BatchNorm3d1):
    """That of the last norm in a residual path: a fifth of it, so that a block starts near its shortcut."""

    share = 0.2


class batch_norm_2d(nn.Module):  # noqa: N801
    """Batch norm over (T, B, H, W)."""

    norm: type[BatchNorm3d1] = BatchNorm3d1

    def __init__(self, features: int, constants: Constants = Constants()) -> None:
        super().__init__()
        self.bn = self.norm(features, constants)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, B, C, H, W] -> the same."""
        return cast(torch.Tensor, self.bn(x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4))


class batch_norm_2d1(batch_norm_2d):  # noqa: N801
    """`batch_norm_2d` whose gamma starts at a fifth of the threshold."""

    norm = BatchNorm3d2


def _conv(c1: int, c2: int, k: int, s: int = 1) -> Snn_Conv2d:
    return Snn_Conv2d(c1, c2, k, s, padding=k // 2, bias=False)


class Conv_1(nn.Module):  # noqa: N801
    """Convolution and batch norm, nothing after it: analog values."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, constants: Constants = Constants()) -> None:
        super().__init__()
        self.conv = _conv(c1, c2, k, s)
        self.bn = batch_norm_2d(c2, constants)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, B, C, H, W] -> [T, B, C', H', W']."""
        return cast(torch.Tensor, self.bn(self.conv(x)))


class Conv_A(Conv_1):  # noqa: N801
    """Convolution, batch norm, SiLU without memory."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, constants: Constants = Constants()) -> None:
        super().__init__(c1, c2, k, s, constants)
        self.act: nn.Module = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, B, C, H, W] -> [T, B, C', H', W']."""
        return cast(torch.Tensor, self.act(super().forward(x)))


class Conv(Conv_A):
    """Convolution, batch norm, `mem_update`."""

    def __init__(
        self, c1: int, c2: int, k: int = 1, s: int = 1, act: bool = False, constants: Constants = Constants(),
    ) -> None:  # fmt: skip
        super().__init__(c1, c2, k, s, constants)
        self.act = mem_update(act, constants=constants)


class BasicBlock_2(nn.Module):  # noqa: N801
    """Residual block, activation first: the plain sum of (spike, conv, bn, spike, conv, bn1) and a shortcut.

    The shortcut is the identity unless stride or channels change; then it is pooling in space by the stride, spike,
    convolution 1x1, bn.
    """

    def __init__(
        self, c1: int, c2: int, k: int = 3, s: int = 1, act: bool = False, constants: Constants = Constants(),
    ) -> None:  # fmt: skip
        super().__init__()
        self.residual_function = nn.Sequential(
            mem_update(act, constants=constants), _conv(c1, c2, k, s), batch_norm_2d(c2, constants),
            mem_update(act, constants=constants), _conv(c2, c2, k), batch_norm_2d1(c2, constants),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if s != 1 or c1 != c2:
            self.shortcut = nn.Sequential(
                nn.MaxPool3d((1, s, s)), mem_update(act, constants=constants),
                _conv(c1, c2, 1), batch_norm_2d(c2, constants),
            )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, B, C, H, W] -> [T, B, C', H / s, W / s]."""
        # pooling takes the steps for the depth of a volume
        return cast(torch.Tensor, self.residual_function(x) + self.shortcut_of(x))

    def shortcut_of(self, x: torch.Tensor) -> torch.Tensor:
        """What the other path hands to the sum."""
        if not len(self.shortcut):
            return x
        pooled = self.shortcut[0](x.transpose(0, 1).transpose(1, 2)).transpose(1, 2).transpose(0, 1)
        return cast(torch.Tensor, self.shortcut[1:](pooled))


class Concat(nn.Module):
    """Concatenation over channels."""

    def forward(self, xs: list[torch.Tensor]) -> torch.Tensor:
        """Tensors [T, B, C_i, H, W] -> [T, B, sum C_i, H, W]."""
        sizes = {(x.shape[-2], x.shape[-1]) for x in xs}
        if len(sizes) > 1:
            maps = " and ".join(f"{h}x{w}" for h, w in sorted(sizes))
            raise DataError(f"Concat: maps of {maps}; take an image size that the stride divides")
        return torch.cat(xs, 2)


class Upsample(nn.Module):
    """Each value `scale` x `scale` times (nearest neighbour): spikes stay spikes."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, B, C, H, W] -> [T, B, C, scale H, scale W]."""
        return x.repeat_interleave(self.scale, -2).repeat_interleave(self.scale, -1)


class Sample(nn.Module):
    """Resampling of the map of every time step by `up`, as checkpoints of the family name it; nearest keeps spikes."""

    def __init__(self, scale: int = 2, mode: str = "nearest") -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=scale, mode=mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, B, C, H, W] -> [T, B, C, scale H, scale W]."""
        y = self.up(x.flatten(0, 1))
        return cast(torch.Tensor, y.view(*x.shape[:2], *y.shape[1:]))


class Detect(nn.Module):
    """A convolution 1x1 for each scale and the mean over T: raw predictions ``[B, anchors, H, W, 5 + classes]``.

    Parameters
    ----------
    nc : int
        Classes.
    anchors : tuple of tuples of float
        For each scale its boxes, w and h in turn, in pixels.
    ch : tuple of int
        Channels of each scale.
    """

    anchors: torch.Tensor
    stride: torch.Tensor

    def __init__(self, nc: int, anchors: tuple[tuple[float, ...], ...], ch: tuple[int, ...]) -> None:
        super().__init__()
        self.nc, self.no, self.nl, self.na = nc, nc + 5, len(anchors), len(anchors[0]) // 2
        self.register_buffer("anchors", torch.tensor(anchors).float().view(self.nl, -1, 2))
        self.m = nn.ModuleList(Snn_Conv2d(c, self.no * self.na, 1) for c in ch)

    def forward(self, xs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Tensors [T, B, C_i, H_i, W_i] -> [B, na, H_i, W_i, 5 + nc]."""
        ys = [m(x).mean(0) for m, x in zip(self.m, xs, strict=True)]
        return [y.view(len(y), self.na, self.no, *y.shape[2:]).permute(0, 1, 3, 4, 2).contiguous() for y in ys]


class Classify(nn.Module):
    """Mean over space, linear, mean over T: logits ``[B, classes]``."""

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.linear = nn.Linear(c1, c2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, B, C, H, W] -> [B, classes]."""
        return cast(torch.Tensor, self.linear(x.mean((-2, -1))).mean(0))
