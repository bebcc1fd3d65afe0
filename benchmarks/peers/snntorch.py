"""snnTorch: ``Leaky(beta=1.0)`` in a loop over time, states handed on by hand, as in the library's tutorials.

It fires at ``>`` and resets in the next step. On exact cases a potential that starts 2^-13 higher, half the finest grid of a
potential here, passes every threshold that it would only meet; on ordinary floats no potential meets one.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from snnverify.network import Neuron, Shape
from snnverify.oracles import Oracle
from snnverify.trace import Case

from .common import Model, peer
from .graphs import Graph, scalar, stacked

HALF_A_GRID = 2.0**-13


def oracle() -> Oracle:
    """The peer."""
    return peer("snntorch", version("snntorch"), build)


def build(case: Case, engine: str, threads: int) -> Model:
    """Model of the loop over time."""
    import snntorch

    torch.set_num_threads(threads)
    offset = HALF_A_GRID if case.kind == "exact" else 0.0
    potentials: dict[str, Any] = {}

    def fire(name: str, act: Neuron, shape: Shape) -> Any:
        theta, start = scalar(act)
        node = snntorch.Leaky(beta=1.0, threshold=theta, reset_mechanism="subtract")

        def step(current: Any) -> Any:
            v = potentials.get(name)
            spikes, potentials[name] = node(current, torch.full_like(current, start + offset) if v is None else v)
            return spikes

        return step

    net = Graph(case.network, fire).eval()
    x = torch.from_numpy(case.x.copy())

    @torch.no_grad()
    def call() -> Any:
        potentials.clear()
        out = 0.0
        for _ in range(case.steps):
            out = out + net(x)
        return out

    return Model(call, lambda: stacked(net, call))
