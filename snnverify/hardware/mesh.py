"""Where the cores of a mapping lie on a chip's mesh, and what a spike sends between them: packets, hops E-W and hops N-S."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..content import Array
from ..errors import ConfigError
from ..network import INPUT, Network
from .mapping import Placement, Progress, sources_of, wires_of
from .targets import Mesh, Target

Routes = Mapping[str, Mapping[str, Array | int]]


@dataclass(frozen=True)
class Onto:
    """A target, and the precision of the weights that its cores hold; see `mapping.place`."""

    target: Target
    precision: str


@dataclass(frozen=True)
class Traffic:
    """What the spikes of a run sent over a mesh, all together."""

    spikes: int
    packets: int
    hops_ew: int
    hops_ns: int

    @property
    def per_spike(self) -> Fraction:
        """Mean hops that a spike makes, to all cores that it reaches; 0 where none was sent."""
        return Fraction(self.hops_ew + self.hops_ns, self.spikes or 1)


def known(target: Target) -> Mesh:
    """Mesh of a target; `ConfigError` where it has none."""
    if target.mesh is None:
        raise ConfigError(
            f"target {target.name!r}: its mesh is not known; [{target.name}.mesh] in --targets FILE tells it"
        )
    return target.mesh


def routes(
    network: Network, placed: Placement, target: Target, progress: Progress | None = None
) -> dict[str, dict[str, Array]]:
    """What one spike of each unit sends: a packet to every core that it reaches, and the hops of them all.

    Cores fill the routers in the order of the mapping, row by row. A packet goes along its row (E-W), then along its
    column (N-S) (Davies et al., IEEE Micro 38(1), 2018: dimension-order routing, unicast): its hops are the distances
    between the two routers. To its own core, or to another at the same router, a packet makes none. The way of the input
    onto the chip is not counted. `progress` is told of the cores that are done, and of all.

    Returns
    -------
    mapping of layer to mapping of ``"packets"``, ``"hops_ew"``, ``"hops_ns"`` to int64 array of the layer's shape
        Layers that have units of their own.

    Raises
    ------
    ConfigError
        The target has no mesh, or fewer cores than the mapping takes.
    """
    mesh = known(target)
    room = mesh.columns * mesh.rows * mesh.cores
    if len(placed.cores) > room:
        raise ConfigError(f"target {target.name!r}: the network takes {len(placed.cores)} cores, its mesh has {room}")
    row, column = np.divmod(np.arange(len(placed.cores)) // mesh.cores, mesh.columns)
    shapes = network.shapes
    units = {c.layer: math.prod(shapes[c.layer]) for c in placed.cores}
    found = {name: {k: np.zeros(n, np.int64) for k in ("packets", "hops_ew", "hops_ns")} for name, n in units.items()}
    wires = {name: wires_of(network, network[name]) for name in found}
    home = {name: np.concatenate([np.full(c.stop - c.start, k) for k, c in enumerate(placed.cores) if c.layer == name])
            for name in found}  # fmt: skip
    for k, c in enumerate(placed.cores):
        for source, reached in sources_of(wires[c.layer], shapes[c.layer], c.start, c.stop).items():
            if source != INPUT:
                at = home[source]
                found[source]["packets"] += reached
                found[source]["hops_ew"] += reached * abs(column[at] - column[k])
                found[source]["hops_ns"] += reached * abs(row[at] - row[k])
        if progress is not None:
            progress(k + 1, len(placed.cores))
    return {name: {k: total.reshape(shapes[name]) for k, total in kinds.items()} for name, kinds in found.items()}


def traffic(paths: Routes, handed: Mapping[str, Array]) -> Traffic:
    """What the spikes `handed` [N, *shape] on by each layer send over `paths`; layers without a path are left out."""
    sums = dict.fromkeys(("packets", "hops_ew", "hops_ns"), 0)
    for name in paths.keys() & handed.keys():
        for kind in sums:
            sums[kind] += int((handed[name] * paths[name][kind]).sum())
    return Traffic(sum(int(handed[name].sum()) for name in paths.keys() & handed.keys()), **sums)


def described(placed: Placement, target: Target) -> str:
    """The routers that a placement takes, of how many, and the source of that mesh."""
    m = target.mesh
    assert m is not None
    used = -(-len(placed.cores) // m.cores)
    cores = f"{m.cores} core{'s' * (m.cores != 1)} each"
    return f"{used} of {m.columns} x {m.rows} routers, {cores} ({m.grade}: {m.source})"
