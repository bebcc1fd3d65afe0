"""What a run costs: seconds as a sum of counts, fitted to measurements; and what a cluster of n workers makes of them.

All coefficients are seconds of one processor core per unit, so that none depends on who else was at work while they were
measured. Phases that overlap are not added: see `parts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from snnverify.content import Array
from snnverify.network import INPUT, Conv, Dense, Flatten, Layer, Network, Pool

from .machine import products

UNITS = ("calls", "constant products", "neuron updates", "pixel steps", "skips added", "synaptic operations")
BANDWIDTH = 1.25e9  # bytes/s: an assumption, 10 Gbit/s Ethernet at every machine


def work(network: Network, samples: int, steps: int, spikes: Mapping[str, float], calls: int = 1) -> Array:
    """Count what a run does, as `UNITS`.

    Parameters
    ----------
    network : Network
        On constant input, of which the first layer's products are computed once.
    samples, steps : int
    spikes : mapping of str to float
        Spikes of every spiking layer over all samples and steps.
    calls : int
        Of the simulator.

    Returns
    -------
    float array [6]
        Pixel steps are positions of every spiking layer times steps; skips, currents that are added to another branch's.
        Synaptic operations are spikes times the mean fan-out of their layer, padding included, also through pooling.
    """
    constant = pixels = skips = updates = operations = 0.0
    for layer in network.layers:
        for b in layer.branches:
            if not isinstance(b.op, Dense | Conv):
                continue
            shape, source = network.shapes[b.source], _spiking(network, b.source)
            if source == INPUT:
                constant += samples * products(b.op, shape)
            else:
                operations += spikes[source] * products(b.op, shape) / math.prod(shape)
        if layer.act is not None:
            shape = network.shapes[layer.name]
            pixels += samples * steps * math.prod(shape[1:])
            updates += samples * steps * math.prod(shape)
            skips += samples * steps * math.prod(shape) * (len(layer.branches) - 1)
    return np.array([calls, constant, updates, pixels, skips, operations], float)


def _spiking(network: Network, source: str) -> str:
    """The layer whose spikes a view of them shows; of a sum of several the first."""
    while source != INPUT and network[source].act is None and _view(network[source]):
        source = network[source].branches[0].source
    return source


def _view(layer: Layer) -> bool:
    return isinstance(layer.branches[0].op, Pool | Flatten)


@dataclass(frozen=True)
class Fit:
    """Seconds per unit, and how far each measurement is from them, relatively.

    Parameters
    ----------
    seconds : float array [units]
    off : float array [measurements]
        Measured / fitted - 1.
    """

    seconds: Array
    off: Array

    def __call__(self, units: Array) -> float:
        """Seconds of some work."""
        return float(units @ self.seconds)

    def __str__(self) -> str:
        typical, greatest = 100 * np.median(np.abs(self.off)), 100 * np.abs(self.off).max()
        return f"{len(self.off)} measurements; off by {typical:.0f} % in the median, {greatest:.0f} % at most"


def fitted(units: Array, seconds: Array) -> Fit:
    """Fit ``seconds = units @ coefficients``, no coefficient below 0, by least squares of relative errors.

    Parameters
    ----------
    units : float array [measurements, units]
    seconds : float array [measurements]
        Above 0.
    """
    relative = units / seconds[:, None]
    size = np.abs(relative).max(0)  # columns differ by ten orders of magnitude
    size[size == 0] = 1
    scaled, _ = nnls(relative / size, np.ones(len(seconds)))
    found = scaled / size
    return Fit(found, seconds / (units @ found) - 1)


@dataclass(frozen=True)
class Costs:
    """Seconds that belong to machine and code, not to a job.

    Parameters
    ----------
    task : float
        Of the reporting process and the scheduler for each task.
    byte : float
        Of the reporting process for each byte of data: digest, serialisation, loopback.
    bandwidth : float
        Bytes/s that a machine's link carries.
    """

    task: float
    byte: float
    bandwidth: float = BANDWIDTH


@dataclass(frozen=True)
class Job:
    """A data set through several conversions of one network, all T read out of one run.

    Parameters
    ----------
    samples, tile, variants : int
        A task is one tile of samples on one variant.
    second : float
        Mean seconds of one sample on one variant.
    layout : float
        Seconds until a worker can use a variant that it has not seen.
    sample_bytes, network_bytes : float
        What is sent of a sample, once for all variants, and of a variant.
    serial : mapping of str to float
        Seconds of the phases that the reporting process alone does, one after the other.
    """

    samples: int
    tile: int
    variants: int
    second: float
    layout: float
    sample_bytes: float
    network_bytes: float
    serial: Mapping[str, float]

    @property
    def tasks(self) -> int:
        """All tiles on all variants."""
        return -(-self.samples // self.tile) * self.variants


def parts(job: Job, costs: Costs, workers: int) -> dict[str, float]:
    """Seconds of each phase on some workers of one core each.

    ``compute`` is the busiest worker: whole tiles, ceil(tasks / workers) of them. ``scheduling`` and ``transfer`` are the
    reporting process's: every tile and every variant leaves it once, by its processor or its link, whichever takes longer.
    ``receiving`` is a worker's link: its tiles, and each variant that it meets.
    """
    most = -(-job.tasks // workers)
    met = min(job.variants, most)
    sent = job.samples * job.sample_bytes + job.variants * job.network_bytes
    received = most * job.tile * job.sample_bytes + met * job.network_bytes
    return {
        "compute": most * min(job.tile, job.samples) * job.second + met * job.layout,
        "scheduling": job.tasks * costs.task,
        "transfer": sent * max(costs.byte, 1 / costs.bandwidth),
        "receiving": received / costs.bandwidth,
        **job.serial,
    }


def total(job: Job, found: Mapping[str, float]) -> float:
    """Seconds of a run: the serial phases, then the longest of those that overlap.

    Scheduling and transfer are both the reporting process's, and add; a worker computes while its next tile comes.
    """
    reporting = found["scheduling"] + found["transfer"]
    return sum(found[k] for k in job.serial) + max(found["compute"], reporting, found["receiving"])


def bottleneck(found: Mapping[str, float]) -> str:
    """The phase that takes longest."""
    return max(found, key=lambda k: found[k])


def switches(job: Job, costs: Costs, most: int) -> Iterator[tuple[int, str]]:
    """Numbers of workers from which on another phase takes longest, and which."""
    before = None
    for n in range(1, most + 1):
        if (now := bottleneck(parts(job, costs, n))) != before:
            yield n, now
        before = now


def line(at: Sequence[float], seconds: Sequence[float]) -> tuple[Fit, float, float]:
    """Fit ``start + slope * at``: the fit, start and slope."""
    x = np.stack([np.ones(len(at)), np.array(at, float)], axis=1)
    fit = fitted(x, np.array(seconds, float))
    return fit, float(fit.seconds[0]), float(fit.seconds[1])
