"""Conversion of a subject as the settings say."""

from __future__ import annotations

from typing import Any, cast

from ..config import Settings
from ..convert import ConvertedNetwork, convert
from ..trace import Encoding
from .models import Subject

OPTIONS = ("mode", "v_init", "reset", "maxpool", "pool_neurons", "per_channel", "unit_range")  # of `convert`


def conversion(subject: Subject, settings: Settings, **other: Any) -> ConvertedNetwork:
    """Convert a subject's model as the settings say, but for some options."""
    rate = None if settings.target_rate is None else tuple(map(float, settings.target_rate))
    options = {k: getattr(settings, k) for k in OPTIONS} | {"leak": float(settings.leak), "target_rate": rate} | other
    return convert(subject.module, subject.calibration, input_shape=subject.x.shape[1:], rate_steps=settings.timesteps[-1],
                   encoding=cast(Encoding, settings.encoding), seed=settings.seed, **options)  # fmt: skip
