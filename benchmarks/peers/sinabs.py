"""sinabs: ``IAFSqueeze`` between torch's layers, samples and steps folded into the batch, as its converter builds them.

It fires at ``>=``; ``SingleSpike`` keeps it to one spike a step, of which its default has any number.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from snnverify.network import Neuron, Shape
from snnverify.oracles import Oracle
from snnverify.trace import Case

from .common import Model, peer
from .graphs import Graph, scalar, watch


def oracle() -> Oracle:
    """The peer."""
    return peer("sinabs", version("sinabs"), build)


def build(case: Case, engine: str, threads: int) -> Model:
    """Model that takes all steps at once."""
    from sinabs import activation, layers

    torch.set_num_threads(threads)
    samples = len(case.x)
    nodes: list[tuple[Any, Any]] = []

    def fire(name: str, act: Neuron, shape: Shape) -> Any:
        theta, start = scalar(act)
        node = layers.IAFSqueeze(batch_size=samples, spike_threshold=torch.tensor(theta),
                                 spike_fn=activation.SingleSpike)  # fmt: skip
        nodes.append((node, torch.full((samples, *shape), start)))
        return node

    net = Graph(case.network, fire).eval()
    x = torch.from_numpy(case.x.copy())

    @torch.no_grad()
    def call() -> Any:
        for node, start in nodes:
            node.init_state_with_shape(start.shape)
            node.v_mem.data.copy_(start)
        return net(x.repeat_interleave(case.steps, 0)).unflatten(0, (samples, case.steps)).sum(1)

    def spikes() -> dict[str, Any]:
        trains = watch(net, call).items()
        return {k: s.unflatten(0, (samples, case.steps)).transpose(0, 1).numpy() for k, (s,) in trains}

    return Model(call, spikes)
