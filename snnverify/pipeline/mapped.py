"""The job of `snnverify map`: convert the models that the settings name, run them on their data, place them on a target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..config import Settings
from ..hardware.dead import Removal, remove_dead
from ..hardware.mapping import Placement, place
from ..hardware.targets import Target
from ..network import Network
from ..trace import Case
from .conversion import conversion as _convert
from .models import subjects


@dataclass(frozen=True)
class Mapped:
    """A model on a target: as converted, and what of it is silent on `samples` samples over `steps` steps."""

    model: str
    data_digest: str
    network: Network
    placement: Placement
    removal: Removal
    smaller: Placement
    samples: int
    steps: int


def mapped(settings: Settings, target: Target, precision: str, samples: int) -> Iterator[Mapped]:
    """Map every model that the settings name; the largest T and the first `samples` samples find the silent neurons."""
    for subject in subjects(settings, samples):
        converted = _convert(subject, settings)
        network = converted.snn
        x = np.asarray(converted.entered(subject.x, settings.encoding), np.float32)  # type: ignore[arg-type]
        case = Case(network, x, max(settings.timesteps), settings.encoding, settings.seed, dtype="float32")  # type: ignore[arg-type]
        removal = remove_dead(case)
        yield Mapped(subject.name, subject.facts["data digest"], network, place(network, target, precision), removal,
                     place(removal.network, target, precision), len(x), case.steps)  # fmt: skip
