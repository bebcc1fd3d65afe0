"""Static INT8 activations: ranges from calibration data, then every chosen module's output is put on 256 levels.

``q = clip(round(x / s) + z, 0, 255)``, ``x -> s (q - z)`` with ``s = (high - low) / 255`` and ``z = round(-low / s)``: the
range is made to hold 0, which is then exact, as padding needs (Jacob et al., CVPR 2018, eq. 1 and section 3). Low and high
are the extremes that the calibration data show, or percentiles of them, which clips outliers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..content import Content
from ..errors import ConfigError, DataError, Unsupported

LEVELS = 256
KINDS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.SiLU)


@dataclass(frozen=True, eq=False)
class Range(Content):
    """Affine grid of one module's output: scale s > 0, zero point z in 0 ... 255, and the range it came from."""

    scale: float
    zero_point: int
    low: float
    high: float


def grid_of(low: float, high: float) -> Range:
    """Grid for values from `low` to `high`; in float32, in which a model runs.

    Raises
    ------
    DataError
        A range that is not finite, or upside down.
    """
    if not (np.isfinite([low, high]).all() and low <= high):
        raise DataError(f"activations: a range from {low} to {high}; mend the model or its calibration data")
    low, high = min(low, 0.0), max(high, 0.0)  # 0 must be on the grid
    scale = float(np.float32((high - low) / (LEVELS - 1))) or 1.0
    zero = int(np.clip(np.rint(-low / scale), 0, LEVELS - 1))
    return Range(scale, zero, low, high)


def fake_quantise_activations(x: torch.Tensor, grid: Range) -> torch.Tensor:
    """``s (clip(round(x / s) + z, 0, 255) - z)``, ties to even."""
    q = torch.clamp(torch.round(x / grid.scale) + grid.zero_point, 0, LEVELS - 1)
    return (q - grid.zero_point) * grid.scale


def static_int8(
    module: nn.Module, calibration: npt.ArrayLike | Iterator[npt.ArrayLike], *, percentile: float = 100.0,
    kinds: Iterable[type[nn.Module]] = KINDS, batch: int = 64,
) -> tuple[nn.Module, dict[str, Range]]:  # fmt: skip
    """A copy of a model, in eval mode, whose activations lie on 256 levels each.

    Parameters
    ----------
    module : nn.Module
    calibration : array [N, *shape], or an iterator of such arrays
        Unlabelled inputs, float32. For the extremes (percentile 100) nothing is kept of what they give but its extremes.
    percentile : float
        In (50, 100]: `high` is this percentile of a module's outputs, `low` what lies as far from the other end; 100 is the
        extremes.
    kinds : iterable of module classes
        Whose outputs are put on a grid.
    batch : int
        Inputs that run at a time.

    Returns
    -------
    module : nn.Module
    ranges : dict of module path to Range

    Raises
    ------
    ConfigError
        A percentile out of range, or no sample at a time.
    DataError
        No calibration sample; NaN or infinity among activations.
    Unsupported
        No module of these classes.
    """
    if not 50 < percentile <= 100 or batch < 1:
        raise ConfigError(f"percentile = {percentile}, batch = {batch}: in (50, 100], and at least 1")
    copied = copy.deepcopy(module).eval()
    wanted = tuple(kinds)
    chosen = {name: m for name, m in copied.named_modules() if isinstance(m, wanted)}
    if not chosen:
        said = ", ".join(k.__name__ for k in wanted)
        raise Unsupported(type(module).__name__, f"it holds no module of {said}", "name the classes of its activations")
    seen: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in chosen}
    hooks = [m.register_forward_hook(_watch(seen[name], percentile == 100)) for name, m in chosen.items()]
    device = next((p.device for p in copied.parameters()), None)
    ran = False
    with torch.no_grad():
        for part in calibration if isinstance(calibration, Iterator) else [calibration]:
            x = np.asarray(part, np.float32)
            for start in range(0, len(x), batch):
                copied(torch.tensor(x[start : start + batch], device=device))
                ran = True
    if not ran:
        raise DataError("calibration: no sample; give some inputs of the kind that the model will see")
    for hook in hooks:
        hook.remove()
    ranges = {}
    for name, m in chosen.items():
        if not seen[name]:
            raise DataError(f"{name}: it did not run on the calibration data; leave its class out of kinds")
        values = np.concatenate(seen[name])
        low, high = np.percentile(values, [100 - percentile, percentile])
        ranges[name] = grid_of(float(low), float(high))
        m.register_forward_hook(_round(ranges[name]))
    return copied, ranges


def _watch(values: list[npt.NDArray[Any]], extremes: bool) -> Any:
    def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        all_of_it = output.detach()
        kept = torch.stack([all_of_it.min(), all_of_it.max()]) if extremes else all_of_it.ravel()
        values.append(kept.cpu().numpy().copy())

    return keep


def _round(grid: Range) -> Any:
    return lambda module, inputs, output: fake_quantise_activations(output, grid)
