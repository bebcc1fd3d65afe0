"""Comparisons by name: two neurons, two simulators on the grid of the goldens, two importers of one NIR file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..errors import ConfigError, DataError, Unsupported
from ..exchange import to_bytes
from ..fingerprint.probes import Box, from_operator
from ..golden import grid
from ..network import Network
from ..objects import nearest
from ..oracles import Oracle, get
from ..trace import Case
from . import Comparison, compare_boxes, compare_oracles, diagnose, trace_of

STEPS = 32


def box_named(name: str) -> tuple[Oracle, str]:
    """Oracle and raw neuron of ``oracle:neuron``.

    Raises
    ------
    ConfigError
        No such neuron; names the nearest.
    """
    wanted, _, neuron = name.partition(":")
    oracle = get(wanted)
    if neuron not in oracle.boxes:
        raise ConfigError(f"{name!r}: {wanted} has no neuron {neuron!r}{nearest(neuron, oracle.boxes)}")
    return oracle, neuron


def compare_named_boxes(a: str, b: str, seed: int) -> Comparison:
    """Compare two raw neurons, each ``oracle:neuron`` with the same nominal parameters.

    Raises
    ------
    ConfigError
        Their nominal parameters differ: every difference of spikes would be one of parameters.
    """
    (one, name_a), (two, name_b) = box_named(a), box_named(b)
    nominal, other = one.boxes[name_a], two.boxes[name_b]
    if _meant(nominal) != _meant(other):
        raise ConfigError(f"compare: {a} is built with {dict(nominal)}, {b} with {dict(other)}; take neurons with the same "
                          "parameters")  # fmt: skip
    sides = _built(one, name_a, nominal), _built(two, name_b, other)
    return compare_boxes(*sides, _meant(nominal), nominal, (a, b), seed)


def _built(oracle: Oracle, name: str, nominal: Mapping[str, float]) -> Box:
    """Box with its own parameters: another library's may go by other names."""
    box = from_operator(oracle.operator("box"), name)
    return lambda calls, _: box(calls, nominal)


def _meant(nominal: Mapping[str, float]) -> Neuron:
    """Return the plain neuron of these parameters."""
    known: dict[str, Any] = {k: float(v) for k, v in nominal.items() if k in ("theta", "leak", "syn_decay")}
    return Neuron(**known)


def compare_on_grid(a: str, b: str) -> tuple[Comparison | None, str]:
    """Run two simulators on every case of the golden grid that both express, up to the first difference.

    Returns
    -------
    Comparison or None
        None where they agree on all of them.
    str
        On which cases.
    """
    one, two = get(a), get(b)
    tried = 0
    for name, design in grid().items():
        try:
            found = compare_oracles(one, two, design.case)
        except Unsupported:
            continue
        tried += 1
        if found.first:
            return found, f"case {name!r} of the grid, after {tried - 1} on which they agree"
    if not tried:
        raise Unsupported(
            "compare", f"{a} and {b} have no case of the grid in common", "compare neurons, or a .nir file"
        )
    return None, f"{tried} cases of the grid that both express"


def compare_importers(graph: Any, base: Network, x: Array, a: Oracle, b: Oracle) -> Comparison:
    """Compare what two importers make of one NIR graph with input x [T, N, *shape]; `base` is its own reading."""
    data = np.frombuffer(to_bytes(graph), np.uint8)
    case = Case(base, x, len(x), "spikes")
    spiking = {layer.name for layer in base.spiking}
    runs = [{k: np.asarray(v) for k, v in o.operator("nir_run")(data, x).items() if k in spiking} for o in (a, b)]
    return diagnose(case, trace_of(case, runs[0]), trace_of(case, runs[1]), (a.name, b.name))


def input_for(network: Network, path: Path | None, seed: int) -> Array:
    """Input train [T, N, *shape] from an ``.npz`` with x, or drawn in eighths from [0, 1].

    Raises
    ------
    DataError
        No such file or array, or another shape.
    """
    if path is None:
        return np.random.default_rng(seed).integers(0, 9, (STEPS, 2, *network.input_shape)) / 8.0
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as npz:
            x = np.asarray(npz["x"], float)
    except (OSError, KeyError, ValueError, BadZipFile):
        raise DataError(f"input {str(path)!r}: no .npz with an array x; write it with np.savez(path, x=x), x of shape "
                        "[T, N, *shape]") from None  # fmt: skip
    if not np.all(np.isfinite(x)):
        raise DataError(f"input {str(path)!r}: x holds NaN or infinity; mend the input")
    if x.shape[2:] != network.input_shape:
        raise DataError(f"input {str(path)!r}: x of shape {x.shape}; [T, N, *shape] with shape {network.input_shape}")
    return x
