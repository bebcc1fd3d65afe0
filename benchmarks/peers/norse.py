"""norse: ``LIFBoxCell`` with ``reset_subtract`` in a loop over time, states handed on.

Its IAF cell resets to a value, so soft reset without a leak is the LIF cell in the limit of a long time constant:
``v <- v + a (i - v)`` with ``a = 2^-23``, the current divided by a through the weights. It fires at ``>``; as with snnTorch
the potential of exact cases starts half a grid higher. Whether that gives the very spikes, the table says.
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

SMALL, HALF_A_GRID = 2.0**-23, 2.0**-13


def oracle() -> Oracle:
    """The peer."""
    return peer("norse", version("norse"), build)


def build(case: Case, engine: str, threads: int) -> Model:
    """Model of the loop over time."""
    import norse.torch as norse
    from norse.torch.functional.reset import reset_subtract

    torch.set_num_threads(threads)
    offset = HALF_A_GRID if case.kind == "exact" else 0.0
    states: dict[str, Any] = {}

    def fire(name: str, act: Neuron, shape: Shape) -> Any:
        theta, start = scalar(act)
        p = norse.LIFBoxParameters(
            tau_mem_inv=torch.tensor(SMALL), v_th=torch.tensor(theta), reset_method=reset_subtract
        )
        cell = norse.LIFBoxCell(p, dt=1.0)

        def step(current: Any) -> Any:
            state = states.get(name) or norse.LIFBoxFeedForwardState(v=torch.full_like(current, start + offset))
            spikes, states[name] = cell(current, state)
            return spikes

        return step

    net = Graph(case.network, fire, gain=1 / SMALL).eval()
    x = torch.from_numpy(case.x.copy())

    @torch.no_grad()
    def call() -> Any:
        states.clear()
        out = 0.0
        for _ in range(case.steps):
            out = out + net(x)
        return out

    return Model(call, lambda: stacked(net, call))
