"""The job of `snnverify map`: convert the models that the settings name, run them on their data, place them on a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from ..config import Settings
from ..errors import ConfigError
from ..hardware import mesh
from ..hardware.dead import Removal, remove_dead
from ..hardware.mapping import Placement, place
from ..hardware.sent import handed, spiking
from ..hardware.targets import Target
from ..loihi import blockers
from ..network import Conv, Dense, Network
from ..trace import Encoding
from . import Progress, of_stage
from .conversion import conversion as _convert
from .models import case_of, subjects


@dataclass(frozen=True)
class Mapped:
    """A model on a target: as converted, and what of it is silent on `samples` samples over `steps` steps.

    `traffic` is what the spikes of that run send over the target's mesh; None where they cannot be told, for the reason
    `no_traffic`. `unheld` is what the target's neuron model does not have, in words; None where that model is not known.
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
    unheld: str | None = None


def mapped(
    settings: Settings, target: Target, precision: str, samples: int, progress: Progress | None = None,
    converted_to: Callable[[Network], None] | None = None,
) -> Iterator[Mapped]:  # fmt: skip
    """Map every model that the settings name; the largest T and `samples` samples find the silent neurons.

    `converted_to` is handed each network before anything is run: what cannot be written is told before the work.
    """
    for subject in subjects(settings, samples):
        converted = _convert(subject, settings)
        network, steps, name = converted.snn, max(settings.timesteps), subject.name
        if converted_to is not None:
            converted_to(network)
        x = converted.entered(subject.x, cast(Encoding, settings.encoding))
        removal = remove_dead(
            case_of(subject, network, x, settings, steps), of_stage(progress, f"{name}: silent neurons")
        )
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
                     sent, why, unheld(network) if target.neurons == "loihi" else None)  # fmt: skip


def unheld(network: Network) -> str:
    """Say what of a network Loihi's blocks do not hold, each with its layers and the way out; nothing where they hold it."""
    told = []
    for (what, way), names in blockers(network, ties="keep", delay=1).items():
        told.append(what + (f" of {', '.join(names)}" if names else "") + (f": {way}" if way else ""))
    return "; ".join(told)


def lost(network: Network, blocks: Network, scale: int) -> float:
    """Greatest difference between a weight of a network and that of its block, mantissas divided by the scale."""
    known = {v.name: v.branches[0].op for v in network.layers}
    pairs = [(known.get(v.name), v.branches[0].op) for v in blocks.layers]
    return max((float(np.abs(a.weight - b.weight / scale).max()) for a, b in pairs
                if isinstance(a, (Dense, Conv)) and isinstance(b, (Dense, Conv))), default=0.0)  # fmt: skip
