"""NIR graphs of the minimal cases that import one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ...content import Array


def graph(
    nodes: Mapping[str, Any], shape: tuple[int, ...], out: tuple[int, ...], edges: Iterable[tuple[str, str]] = ()
) -> Any:
    """NIR graph from samples of `shape` to samples of `out`: a chain in the order of `nodes`, or along `edges`."""
    import nir

    names = ("input", *nodes, "output")
    ends = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(out)})}
    return nir.NIRGraph({**ends, **nodes}, list(edges) or list(pairwise(names)), type_check=False)


def node(kind: str, shape: tuple[int, ...] = (1,), **given: Any) -> Any:
    """NIR neuron whose parameters, one number for all units or one for each, have the shape of a sample.

    The threshold is 1, the resistance of IF and LIF 1, v_leak 0 unless given.
    """
    import nir

    rest = {"v_leak": 0.0} if kind != "IF" else {}
    values = {"r": 1.0, "v_threshold": 1.0, **rest, **given}
    return getattr(nir, kind)(**{k: np.broadcast_to(np.float32(v), shape).copy() for k, v in values.items()})


def steps(*values: float, units: int = 1) -> Array:
    """Input [T, 1, units], float32, the same for all units."""
    return np.repeat(np.array(values, np.float32)[:, None, None], units, 2)
