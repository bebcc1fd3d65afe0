"""Conversion of a subject as the settings say: the one home of their options."""

from __future__ import annotations

from typing import Any, cast

from ..config import Settings
from ..convert import ConvertedNetwork, convert
from ..network import Network
from ..trace import Encoding
from .models import Subject

OPTIONS = ("mode", "v_init", "reset", "maxpool", "pool_neurons", "per_channel", "unit_range")  # of `convert`


def conversion(subject: Subject, settings: Settings, network: Network | None = None, **other: Any) -> ConvertedNetwork:
    """Convert a subject's model as the settings say, but for some options.

    With a `network`, an ANN that such a conversion left and that was changed since, that one: it already has its neurons
    after pooling and takes the samples as `ConvertedNetwork.entered` gives them.
    """
    rate = None if settings.target_rate is None else tuple(map(float, settings.target_rate))
    options = {k: getattr(settings, k) for k in OPTIONS} | {"leak": float(settings.leak), "target_rate": rate}
    options |= other if network is None else {"pool_neurons": False, "unit_range": False, **other}
    return convert(subject.module if network is None else network, subject.calibration, input_shape=subject.x.shape[1:],
                   rate_steps=settings.timesteps[-1], encoding=cast(Encoding, settings.encoding), seed=settings.seed,
                   **options)  # fmt: skip
