"""NIR files and graphs as one flat table of nodes and edges; what is malformed ends here, with one line."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np

from ..content import Array, write_atomic
from ..errors import CodecError, Unsupported
from ..network import Shape
from .hdf5 import named, opened

WIRES = (nir.Input, nir.Output, nir.ir.graph.Identity)  # nodes that hand on what they get


@dataclass(frozen=True)
class Flat:
    """A graph without subgraphs: nodes and, for each, what it gets its inputs from, in order of the edges."""

    nodes: Mapping[str, Any]
    sources: Mapping[str, tuple[str, ...]]

    def targets(self, name: str) -> tuple[str, ...]:
        """Return the nodes that a node feeds."""
        return tuple(n for n, sources in self.sources.items() for s in sources if s == name)


def read_nir(source: str | os.PathLike[str] | bytes | Array) -> nir.NIRGraph:
    """Read a ``.nir`` file, or its bytes.

    Raises
    ------
    CodecError
        Missing, truncated, no HDF5, no NIR graph, links out of the file or in a circle, or more than `hdf5.BUDGET` bytes.
    """
    name, data = named(source, "NIR")
    with opened(source, "NIR"):
        pass
    try:
        # without its type check: that refuses sound graphs (grouped convolutions, kernels that are not square)
        graph = nir.read(io.BytesIO(data), type_check=False)
    except Exception as e:  # damage shows in many ways: OSError, KeyError, AssertionError, TypeError, RecursionError
        said = " ".join(str(e).split())[:200]
        raise CodecError(f"{name}: not a NIR graph in HDF5 ({type(e).__name__}: {said})") from None
    if not isinstance(graph, nir.NIRGraph):
        raise CodecError(f"{name}: holds a {type(graph).__name__}, not a NIRGraph")
    return graph


def write_nir(graph: nir.NIRGraph, path: str | os.PathLike[str]) -> Path:
    """Write a graph whole or not at all."""
    return write_atomic(path, to_bytes(graph))


def to_bytes(graph: nir.NIRGraph) -> bytes:
    """Return the content of a ``.nir`` file; `CodecError` for what nir cannot write (0-d arrays, undefined shapes)."""
    buffer = io.BytesIO()
    try:
        nir.write(buffer, graph)
    except (TypeError, ValueError, AttributeError) as e:
        said = " ".join(str(e).split())[:200]
        raise CodecError(f"graph: nir cannot write it ({said}); give every array an axis and every shape") from None
    return buffer.getvalue()


def flatten(graph: nir.NIRGraph) -> Flat:
    """Write the nodes of subgraphs into their parent, as ``subgraph/node``; an edge meets their Input or Output.

    Raises
    ------
    CodecError
        Edges that name no node, twice the same edge.
    Unsupported
        Several inputs or outputs of one graph.
    """
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []

    def add(part: nir.NIRGraph, prefix: str) -> tuple[str, str]:
        ends: dict[str, tuple[str, str]] = {}
        for key, node in part.nodes.items():
            name = f"{prefix}{key}"
            if isinstance(node, nir.NIRGraph):
                ends[key] = add(node, f"{name}/")
            else:
                nodes[name], ends[key] = node, (name, name)
        seen = set()
        for a, b in part.edges:
            for end in (a, b):
                if end not in ends:
                    raise CodecError(f"edge {prefix}{a} -> {prefix}{b}: there is no node {end!r}")
            if (a, b) in seen:
                raise CodecError(f"edge {prefix}{a} -> {prefix}{b}: it is there twice; scale the node's output instead")
            seen.add((a, b))
            edges.append((ends[a][1], ends[b][0]))
        return _single(part, prefix, nir.Input), _single(part, prefix, nir.Output)

    add(graph, "")
    return Flat(nodes, {n: tuple(a for a, b in edges if b == n) for n in nodes})


def _single(part: nir.NIRGraph, prefix: str, kind: type) -> str:
    found = [f"{prefix}{k}" for k, node in part.nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        where = prefix.rstrip("/") or "graph"
        names = f": {', '.join(found)}" if found else ""
        raise Unsupported(where, f"it has {len(found)} {kind.__name__} nodes{names}", "a network has one")
    return found[0]


def ordered(flat: Flat) -> list[str]:
    """Nodes in an order of computation; `Unsupported` with the names where they turn in a circle."""
    waiting, order = dict(flat.sources), []
    done: set[str] = set()
    while waiting:
        ready = [n for n, sources in waiting.items() if done.issuperset(sources)]
        if not ready:
            name = next(iter(waiting))
            walk: list[str] = []
            while name not in walk:  # each waiting node waits for another one: going back must come round
                walk.append(name)
                name = next(s for s in waiting[name] if s in waiting)
            circle = [*walk[walk.index(name) :], name][::-1]
            raise Unsupported(circle[0], f"recurrent connections {' -> '.join(circle)}",
                              "a network is computed layer by layer; unroll or remove the cycle")  # fmt: skip
        for n in ready:
            del waiting[n]
        done.update(ready)
        order += ready
    return order


def numbers(where: str, field: str, value: Any) -> Array:
    """Return a field as float64; `CodecError` where it holds anything but finite numbers."""
    try:
        a = np.asarray(value)
        a = a.astype(np.float64) if a.dtype.kind in "biuf" else np.full(1, np.nan)
    except (TypeError, ValueError):
        a = np.full(1, np.nan)
    if not np.all(np.isfinite(a)):
        raise CodecError(f"{where}: {field} = {str(value)[:60]!r}; finite numbers")
    return a


def whole(where: str, field: str, value: Any, axes: int) -> tuple[int, ...]:
    """Return a field as `axes` whole numbers; one number stands for all."""
    a = numbers(where, field, value).reshape(-1)
    if a.size not in (1, axes) or np.any(a != np.floor(a)) or np.any(np.abs(a) > 2**31):
        raise CodecError(f"{where}: {field} = {a.tolist()}; {axes} whole numbers")
    return tuple(int(k) for k in np.broadcast_to(a, (axes,)))


def reduced(where: str, field: str, value: Any, shape: Shape) -> Array:
    """Return a parameter per unit as () or (C,), which is what our layers hold.

    Raises
    ------
    Unsupported
        Values that differ within a channel, or an array whose axes are not those of the layer.
    """
    a = numbers(where, field, value)
    if a.size == 1:
        return a.reshape(())
    if a.ndim != len(shape) or any(n not in (1, m) for n, m in zip(a.shape, shape, strict=True)):
        raise Unsupported(
            where, f"{field} has shape {a.shape} where the layer has {shape}", "give it the layer's shape"
        )
    full = np.broadcast_to(a, shape)
    rows = full.reshape(shape[0], -1)
    if np.any(rows != rows[:, :1]):
        low, high = float(rows.min()), float(rows.max())
        raise Unsupported(where, f"{field} differs from unit to unit within a channel ({low:g} to {high:g})",
                          "give one value per channel")  # fmt: skip
    return np.array(rows[0, 0] if np.all(rows == rows[0, 0]) else rows[:, 0])


def uniform(where: str, field: str, value: Any, shape: Shape) -> float:
    """Return a parameter that must be one number for the whole layer."""
    a = reduced(where, field, value, shape)
    if a.ndim:
        raise Unsupported(where, f"{field} differs from channel to channel ({a.min():g} to {a.max():g})",
                          "one value a layer: split the layer")  # fmt: skip
    return float(a)
