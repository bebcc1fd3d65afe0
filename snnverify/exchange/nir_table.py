"""One graph through many importers: the operators of our own, and the table of spike trains."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from ..content import Array, Content
from ..errors import OracleError, SnnverifyError
from ..network import Network
from ..oracles import Oracle
from ..simulate import simulate
from .nir import from_nir
from .nir_export import to_nir
from .nir_read import read_nir, to_bytes
from .nir_semantics import PRESETS, Semantics

OWN = "snnverify"


def nir_run(graph: Array, x: Array, semantics: Mapping[str, Semantics] = PRESETS[OWN]) -> dict[str, Array]:
    """Spikes of every spiking node, [T, N, *shape], of a ``.nir`` file's bytes on an input train [T, N, *shape]."""
    network = from_nir(graph, semantics=semantics)
    trace = simulate(network, x, len(x), encoding="spikes", dtype="float64", record="spikes")
    return dict(trace.spikes)


def nir_export(network: Network) -> Array:
    """Bytes of the ``.nir`` file of a network, uint8, under the time step of our own preset."""
    step = PRESETS[OWN]["IF"]
    graph, _ = to_nir(network, dt=step.dt, method=step.method, drive=step.drive)
    return np.frombuffer(to_bytes(graph), np.uint8)


@dataclass(frozen=True, eq=False)
class ImporterRow(Content):
    """What one importer makes of one spiking node of a graph.

    Parameters
    ----------
    importer, version, node : str
    spikes : int
        All spikes of the node; -1 where the importer refuses the graph or does not tell this node.
    train : tuple of int
        Spikes of the first sample in each step, summed over the node's units.
    group : int
        Importers with the same group gave this node the same spikes in every step; -1 without spikes.
    documented_differ : int
        Spike entries that differ from the semantics which the importer's source states (`PRESETS`); -1 where it states none.
    refusal : str
        Why there are no spikes.
    """

    importer: str
    version: str
    node: str
    spikes: int = -1
    train: tuple[int, ...] = ()
    group: int = -1
    documented_differ: int = -1
    refusal: str = ""


def importer_table(
    graph: nir.NIRGraph | str | os.PathLike[str] | Array, x: Array, oracles: Iterable[Oracle]
) -> tuple[ImporterRow, ...]:
    """Run one graph through each importer with its own simulator.

    Parameters
    ----------
    graph : NIRGraph, path, or bytes of a ``.nir`` file
    x : array [T, N, *input shape]
    oracles : iterable of Oracle
        Those without the operator ``nir_run`` are listed with that as the refusal.

    Returns
    -------
    tuple of ImporterRow
        A row per importer and spiking node, nodes in the order of the graph.
    """
    read = graph if isinstance(graph, nir.NIRGraph) else read_nir(graph)
    data = np.frombuffer(to_bytes(read), np.uint8)
    nodes = [k for k, v in read.nodes.items() if isinstance(v, (nir.IF, nir.LIF, nir.CubaLIF, nir.Threshold))]
    rows: list[ImporterRow] = []
    known: dict[str, list[Array]] = {node: [] for node in nodes}
    for oracle in oracles:
        try:
            spikes = {k: np.asarray(v) for k, v in oracle.operator("nir_run")(data, x).items()}
            refusal = "its importer does not tell this node"
        except (SnnverifyError, OracleError) as e:
            spikes, refusal = {}, str(e).strip().splitlines()[-1]
        expected = _documented(oracle.name, data, x) if spikes else {}
        for node in nodes:
            if node not in spikes:
                rows.append(ImporterRow(oracle.name, oracle.version, node, refusal=refusal))
                continue
            s = spikes[node]
            rows.append(ImporterRow(
                oracle.name, oracle.version, node, int(s.sum()),
                tuple(int(k) for k in s[:, 0].reshape(len(s), -1).sum(1)), _group(known[node], s),
                _differ(s, expected.get(node)),
            ))  # fmt: skip
    return tuple(rows)


def _documented(name: str, data: Array, x: Array) -> Mapping[str, Array]:
    """Spikes under the semantics that an importer's source states; none where it has no preset for these nodes."""
    try:
        return nir_run(data, x, PRESETS.get(name, {}))
    except SnnverifyError:
        return {}


def _group(known: list[Array], spikes: Array) -> int:
    for k, other in enumerate(known):
        if np.array_equal(other, spikes):
            return k
    known.append(spikes)
    return len(known) - 1


def _differ(spikes: Array, expected: Any) -> int:
    if expected is None:
        return -1
    return int(np.sum(spikes != expected)) if spikes.shape == expected.shape else int(max(spikes.size, 1))
