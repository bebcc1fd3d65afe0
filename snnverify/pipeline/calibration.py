"""Calibration of one model: thresholds, rates, what a leak costs, and remedies side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch

from ..config import Settings
from ..convert import lif
from ..convert.rates import LayerRates, Setting, Target, sampled, unlike
from ..convert.remedies import LeakCost, Remedy, compare, leak_costs, measure_remedy
from ..data import check_labels
from ..errors import ConfigError
from ..trace import Encoding
from . import provenance
from .conversion import OPTIONS, conversion
from .models import outputs, subjects

Progress = Callable[[str, int, int], None]
LONGER = 50  # steps that fewer are compared with


@dataclass(frozen=True)
class Calibrated:
    """What `snnverify calibrate` tells.

    Parameters
    ----------
    rates, elsewhere : tuple of LayerRates
        On the calibration set, and on the evaluation data.
    leak : tuple of LeakCost
        Empty without a leak; as is `curve`, rows (input, rate of IF, rate of LIF).
    remedies : tuple of Remedy
    ann_right : int
        Samples that the trained model classifies rightly.
    target : Target or None
        The range that was asked for: by mode "rate", or by name. Rates outside it are then a failure, else a warning.
    facts : mapping of str to str
        Model, conversion, data, versions, seed and command.
    """

    rates: tuple[LayerRates, ...]
    elsewhere: tuple[LayerRates, ...]
    leak: tuple[LeakCost, ...]
    curve: tuple[tuple[float, float, float], ...]
    remedies: tuple[Remedy, ...]
    ann_right: int
    facts: Mapping[str, str]
    target: Target | None = None

    @property
    def outcome(self) -> Literal["kept", "missed", "undecided"]:
        """Whether every layer keeps the range that was asked for; undecided where too little evidence tells it.

        On the evaluation data a layer at the edge of its range keeps it, within what sampling explains (`unlike`).
        """
        warned = [r for r in (*self.rates, *self.elsewhere) if r.causes]
        if self.target is None or not warned:
            return "kept"
        return "undecided" if all(r.undecided or self.target.holds(r.average) for r in warned) else "missed"


def calibration(settings: Settings, longer: int | None = None, progress: Progress | None = None) -> Calibrated:
    """Calibrate the one model that the settings name, at the last of their T.

    Parameters
    ----------
    settings : Settings
    longer : int, optional
        T that the settings' one is compared with, greater than it; 50 where that is, else twice as many.
    progress : callable (stage, done, total), optional

    Raises
    ------
    SnnverifyError
        Anything that cannot be read, run or converted.
    """
    started = time.perf_counter()
    steps = settings.timesteps[-1]
    longer = (LONGER if steps < LONGER else 2 * steps) if longer is None else longer
    if longer <= steps:
        raise ConfigError(f"--longer = {longer}: it is compared with T = {steps}; give more steps than that")
    (subject,) = subjects(settings)
    target = Target.of(settings.target_rate or ("0.05", "0.20"))
    encoding = cast(Encoding, settings.encoding)
    setting = Setting(settings.timesteps[-1], encoding, settings.seed)
    check_labels(subject.y, outputs(subject.module, subject.x[:2], torch.float32, None).shape[1])
    asked: dict[str, Any] = {k: getattr(settings, k) for k in OPTIONS}
    asked |= {"leak": float(settings.leak), "target_rate": (target.low, target.high)}

    def make(**options: Any) -> Any:
        return conversion(subject, settings, **options)

    converted = make(**asked)
    few = converted.entered(sampled(subject.calibration, settings.seed), encoding)
    costs: tuple[LeakCost, ...] = ()
    if asked["leak"] != 1:
        costs = leak_costs(converted, few, setting)
    how = {"encoding": encoding, "seed": settings.seed, "first_sample": subject.first_sample}
    elsewhere = measure_remedy("", converted, subject.x, subject.y, setting.steps, target, **how)[1]
    normalised = any(isinstance(m, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)) for m in subject.module.modules())
    remedies = compare(
        make, asked, subject.x, subject.y, setting.steps, longer, normalised=normalised, target=target,
        tick=None if progress is None else lambda done, total: progress("remedies", done, total), **how,
    )  # fmt: skip
    right = int((outputs(subject.module, subject.x, torch.float32, None).argmax(1) == subject.y).sum())
    chosen = ", ".join(f"{k} {v}" for k, v in converted.options.items())
    about = {**subject.facts, **provenance(settings, time.perf_counter() - started, False)}
    facts = {**about, "model": subject.name, "conversion": chosen, "network digest": converted.snn.digest}
    if converted.inputs is not None:
        low, high = (np.asarray(v) for v in (converted.inputs.low, converted.inputs.high))
        facts["input range"] = f"{low.min():g} to {high.max():g}, digest {converted.inputs.digest}"
    curve = tuple(lif.table(float(settings.leak), cast(lif.Reset, settings.reset))) if costs else ()
    return Calibrated(
        converted.rates,
        unlike(converted.rates, elsewhere, target),
        costs,
        curve,
        tuple(remedies),
        right,
        facts,
        target if settings.mode == "rate" or settings.target_rate is not None else None,
    )
