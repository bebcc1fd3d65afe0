"""Where the cores of a mapping lie on a chip's mesh, and how many hops a spike makes between them."""

from __future__ import annotations

import math

import numpy as np

from ..content import Array
from ..errors import ConfigError
from ..network import INPUT, Network
from .mapping import Placement, sources_of, wires_of
from .targets import Target


def hops(network: Network, placed: Placement, target: Target) -> dict[str, Array]:
    """Hops that one spike of each unit makes: the distances to all cores that it reaches, added up.

    Cores fill the routers in the order of the mapping, row by row. A spike goes to every core that it reaches as a packet
    of its own, along its row and then along its column (Davies et al., IEEE Micro 38(1), 2018: dimension-order routing,
    unicast). The way of the input onto the chip is not counted.

    Returns
    -------
    mapping of layer to int64 array of its shape
        Layers that have units of their own.

    Raises
    ------
    ConfigError
        The target has no mesh, or fewer cores than the mapping takes.
    """
    mesh = target.mesh
    if mesh is None:
        raise ConfigError(
            f"target {target.name!r}: its mesh is not known; [{target.name}.mesh] in --targets FILE tells it"
        )
    room = mesh.columns * mesh.rows * mesh.cores
    if len(placed.cores) > room:
        raise ConfigError(f"target {target.name!r}: the network takes {len(placed.cores)} cores, its mesh has {room}")
    row, column = np.divmod(np.arange(len(placed.cores)) // mesh.cores, mesh.columns)
    shapes = network.shapes
    found = {c.layer: np.zeros(math.prod(shapes[c.layer]), np.int64) for c in placed.cores}
    wires = {name: wires_of(network, network[name]) for name in found}
    home = {name: np.concatenate([np.full(c.stop - c.start, k) for k, c in enumerate(placed.cores) if c.layer == name])
            for name in found}  # fmt: skip
    for k, c in enumerate(placed.cores):
        for source, reached in sources_of(wires[c.layer], shapes[c.layer], c.start, c.stop).items():
            if source != INPUT:
                at = home[source]
                found[source] += reached * (abs(row[at] - row[k]) + abs(column[at] - column[k]))
    return {name: total.reshape(shapes[name]) for name, total in found.items()}
