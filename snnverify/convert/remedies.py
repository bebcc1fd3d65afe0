"""What a leak costs on a model, and what the usual remedies for a lossy conversion give, measured side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import numpy as np

from ..activation import Neuron
from ..content import Array, Content
from ..simulate import forward
from . import lif
from .converted import ConvertedNetwork
from .curves import predictions
from .rates import LayerRates, Setting, Target, measure_rates

POINTS = 200  # of the f-I curve, between which it is interpolated
Make = Callable[..., ConvertedNetwork]


@dataclass(frozen=True)
class LeakCost(Content):
    """What a leak takes from one layer, on the calibration set.

    Parameters
    ----------
    layer : str
    lost : float
        Share of the positive activations of the ANN up to ``(1 - leak) theta``, at which no neuron fires.
    stated_if, stated_lif : float
        Average rate by the f-I curves of IF and LIF at the activations of the ANN, each held constant.
    measured_if, measured_lif : float
        Average rate of the converted networks.
    """

    layer: str
    lost: float
    stated_if: float
    stated_lif: float
    measured_if: float
    measured_lif: float


@dataclass(frozen=True)
class Remedy(Content):
    """One conversion on labelled data.

    Parameters
    ----------
    name : str
    steps : int
    right, samples : int
    rate : float
        Average over all spiking units, in spikes per step.
    inside, layers : int
        Layers whose average is in the range that was asked for, of all; `inside` is -1 without a range.
    spikes : float
        Per sample.
    """

    name: str
    steps: int
    right: int
    samples: int
    rate: float
    inside: int
    layers: int
    spikes: float


def leak_costs(converted: ConvertedNetwork, x: Array, setting: Setting) -> tuple[LeakCost, ...]:
    """State what the leak costs, layer by layer, and measure it against the same network without.

    Parameters
    ----------
    converted : ConvertedNetwork
    x : array [N, *input_shape]
        Calibration samples as the networks take them.
    setting : Setting
    """
    leak, reset = Fraction(converted.options["leak"]), cast(lif.Reset, converted.options["reset"])
    grid = np.arange(POINTS + 1) / POINTS
    curves = [np.array([float(lif.rate(Fraction(n, POINTS), a, reset)) for n in range(POINTS + 1)])
              for a in (Fraction(1), leak)]  # fmt: skip
    activations, rows = forward(converted.ann, x), []
    plain = replace(converted.snn, layers=tuple(
        replace(v, act=replace(v.act, leak=1.0)) if isinstance(v.act, Neuron) else v for v in converted.snn.layers
    ))  # fmt: skip
    with_leak, without = (
        {r.layer: r.average for r in measure_rates(snn, converted.scales, x, setting)} for snn in (converted.snn, plain)
    )
    for name, theta in converted.scales.items():
        a = activations[name]
        size = theta.reshape(-1, *(1,) * (a.ndim - 2)) if theta.ndim else theta
        i = np.clip(a / size, 0, 1)
        positive = i > 0
        lost = float((positive & (i <= float(1 - leak))).sum() / max(positive.sum(), 1))
        stated = [float(np.interp(i, grid, curve).mean()) for curve in curves]
        rows.append(LeakCost(name, lost, stated[0], stated[1], without[name], with_leak[name]))
    return tuple(rows)


def variants(
    asked: dict[str, Any], steps: int, longer: int, *, normalised: bool
) -> list[tuple[str, dict[str, Any], int]]:
    """List name, changed options and T of what is compared: as asked, and one change at a time."""
    found: list[tuple[str, dict[str, Any], int]] = [("as asked", {}, steps)]
    if longer != steps:
        found.append((f"T = {longer} instead of {steps}", {}, longer))
    if normalised:
        found += [("batch normalisation kept apart", {"fold_batchnorm": False}, steps),
                  ("batch normalisation ignored", {"fold_batchnorm": "ignore"}, steps)]  # fmt: skip
    channels = not asked.get("per_channel", False)
    found.append(("thresholds per channel" if channels else "one threshold a layer", {"per_channel": channels}, steps))
    if asked.get("leak", 1.0) != 1:
        found.append(("IF, no leak", {"leak": 1.0}, steps))
    return found


def measure_remedy(
    name: str, converted: ConvertedNetwork, x: Array, labels: Array, steps: int, target: Target | None,
    **how: Any,
) -> tuple[Remedy, tuple[LayerRates, ...]]:  # fmt: skip
    """Accuracy, rates, spikes of one conversion on samples [N, *shape] in the user's units; `how` is of `Setting`."""
    entered = converted.entered(x, how.get("encoding", "constant"))
    right = sum(
        int((found[0] == labels[rows]).sum()) for rows, found in predictions(converted, entered, [steps], **how)
    )
    rates = measure_rates(converted.snn, converted.scales, entered, Setting(steps, **how))
    units = sum(r.units for r in rates)
    fired = sum(r.average * r.units for r in rates)
    inside = -1 if target is None else sum(target.holds(r.average) for r in rates)
    return Remedy(name, steps, right, len(x), fired / units, inside, len(rates), fired * steps), rates


def compare(
    make: Make, asked: dict[str, Any], x: Array, labels: Array, steps: int, longer: int, *, normalised: bool,
    target: Target | None, tick: Callable[[int, int], None] | None = None, **how: Any,
) -> Sequence[Remedy]:  # fmt: skip
    """Measure every variant with ``make(**options)``; `tick` is told of those that are done and of all."""
    rows = []
    wanted = variants(asked, steps, longer, normalised=normalised)
    for i, (name, other, at) in enumerate(wanted):
        rows.append(measure_remedy(name, make(**asked | other), x, labels, at, target, **how)[0])
        if tick is not None:
            tick(i + 1, len(wanted))
    return rows
