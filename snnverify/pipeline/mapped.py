"""The job of `snnverify map`: convert the models that the settings name, run them on their data, place them on a target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from ..config import Settings
from ..errors import ConfigError
from ..hardware import mesh
from ..hardware.dead import Removal, remove_dead
from ..hardware.mapping import Placement, place
from ..hardware.sent import handed, spiking
from ..hardware.targets import Target
from ..network import Network
from ..trace import Encoding
from . import Progress, of_stage
from .conversion import conversion as _convert
from .models import case_of, subjects


@dataclass(frozen=True)
class Mapped:
    """A model on a target: as converted, and what of it is silent on `samples` samples over `steps` steps.

    `traffic` is what the spikes of that run send over the target's mesh; None where they cannot be told, for the reason
    `no_traffic`.
    """

    model: str
    data_digest: str
    network: Network
    placement: Placement
    removal: Removal
    smaller: Placement
    samples: int
    steps: int
    traffic: mesh.Traffic | None = None
    no_traffic: str = ""


def mapped(
    settings: Settings, target: Target, precision: str, samples: int, progress: Progress | None = None
) -> Iterator[Mapped]:
    """Map every model that the settings name; the largest T and `samples` samples find the silent neurons."""
    for subject in subjects(settings, samples):
        converted = _convert(subject, settings)
        network, steps, name = converted.snn, max(settings.timesteps), subject.name
        x = converted.entered(subject.x, cast(Encoding, settings.encoding))
        removal = remove_dead(case_of(subject, network, x, settings, steps), of_stage(progress, f"{name}: silent neurons"))
        placement = place(network, target, precision, of_stage(progress, f"{name}: cores"))
        smaller = place(removal.network, target, precision, of_stage(progress, f"{name}: cores without silent"))
        try:
            paths, why = mesh.routes(network, placement, target, of_stage(progress, f"{name}: hops")), ""
        except ConfigError as e:
            paths, why = None, str(e)
        sent = (
            None
            if paths is None
            else mesh.traffic(paths, handed(network, spiking(network, False), removal.counts, None))
        )
        yield Mapped(subject.name, subject.facts["data digest"], network, placement, removal, smaller, len(x), steps,
                     sent, why)  # fmt: skip
