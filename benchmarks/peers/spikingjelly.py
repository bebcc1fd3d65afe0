"""SpikingJelly: ``activation_based`` layers and ``IFNode(v_reset=None)``, which fires at ``>=``.

``single-step`` calls the network in a loop over time, ``multi-step`` gives it all steps at once; ``multi-step, first once``
computes the first layer's constant current once and repeats it, as the library's own SEW-ResNet does.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from snnverify.network import Neuron, Shape
from snnverify.oracles import Oracle
from snnverify.trace import Case

from .common import Model, peer
from .graphs import Graph, scalar, stacked, watch


def oracle() -> Oracle:
    """The peer."""
    return peer("spikingjelly", version("spikingjelly"), build)


def build(case: Case, engine: str, threads: int) -> Model:
    """Model of one engine."""
    from spikingjelly.activation_based import functional, layer, neuron

    torch.set_num_threads(threads)
    multi, once = engine.startswith("multi-step"), engine.endswith("first once")
    starts: list[tuple[Any, float]] = []

    def fire(name: str, act: Neuron, shape: Shape) -> Any:
        theta, start = scalar(act)
        node = neuron.IFNode(v_threshold=theta, v_reset=None)
        starts.append((node, start))
        return node

    net = Graph(case.network, fire, layer, repeat=case.steps if once else 0).eval()
    functional.set_step_mode(net, "m" if multi else "s")
    x = torch.from_numpy(case.x.copy())

    @torch.no_grad()
    def call() -> Any:
        functional.reset_net(net)
        for node, v in starts:
            node.v = v
        if multi:
            return net(x[None] if once else x.repeat(case.steps, *[1] * x.ndim)).sum(0)
        out = 0.0
        for _ in range(case.steps):
            out = out + net(x)
        return out

    if not multi:
        return Model(call, lambda: stacked(net, call))
    return Model(call, lambda: {k: s.numpy() for k, (s,) in watch(net, call).items()})
