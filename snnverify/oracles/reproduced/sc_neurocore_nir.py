"""Minimal cases of the findings on sc-neurocore 3.16.0: its importer of NIR graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .graphs import graph, node
from .refusal import Pair, unless_refused


def _shape(nodes: Mapping[str, Any], into: tuple[int, ...], out: tuple[int, ...], x: Any) -> tuple[int, ...]:
    """Shape of the output after a step."""
    from sc_neurocore.nir_bridge import from_nir

    return tuple(from_nir(graph(nodes, into, out)).step({"input": np.asarray(x, float)})["output"].shape)


def _spiking_image() -> dict[str, Any]:
    """A convolution of [1, 4, 4] to [2, 4, 4] and IF neurons."""
    import nir

    conv = nir.Conv2d((4, 4), np.ones((2, 1, 1, 1)), 1, 0, 1, 1, np.zeros(2))
    return {"c": conv, "n": node("IF", (2, 4, 4), v_threshold=0.5)}


@unless_refused
def pooling_skipped() -> Pair:
    """Pooling by 2 after a spiking layer of [2, 4, 4] makes [2, 2, 2]."""
    import nir

    pool = nir.SumPool2d(*(np.full(2, k) for k in (2, 2, 0)))
    return _shape({**_spiking_image(), "p": pool}, (1, 4, 4), (2, 2, 2), np.ones((1, 4, 4))), (2, 2, 2)


def two_convolutions() -> Pair:
    """A 1 x 1 convolution after a spiking layer of [2, 4, 4] makes [1, 4, 4]."""
    import nir

    second = nir.Conv2d((4, 4), np.ones((1, 2, 1, 1)), 1, 0, 1, 1, np.zeros(1))
    return _shape({**_spiking_image(), "d": second}, (1, 4, 4), (1, 4, 4), np.ones((1, 4, 4))), (1, 4, 4)


@unless_refused
def inputs_cut() -> Pair:
    """An input of 3 values into 2 neurons is refused."""
    return _shape({"n": node("IF", (2,))}, (2,), (2,), np.full(3, 2.0)), "refused"


@unless_refused
def short_time_constant() -> Pair:
    """A time constant of a quarter of the step is refused, or v stays below R I = 1 (Euler is stable for dt <= 2 tau)."""
    from sc_neurocore.nir_bridge import from_nir

    network = from_nir(graph({"n": node("LIF", tau=0.25, v_threshold=100.0)}, (1,), (1,)))
    for _ in range(4):
        network.step({"input": np.ones(1)})
    return bool(abs(network.nodes["n"].v.item()) <= 1), True


CASES: Mapping[str, Callable[[], Pair]] = {
    "SC-33": pooling_skipped,
    "SC-34": two_convolutions,
    "SC-35": inputs_cut,
    "SC-38": short_time_constant,
}
