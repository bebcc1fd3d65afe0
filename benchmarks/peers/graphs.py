"""A network as a torch module of a library's own layers: what its user would write as a module with a ``forward``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from snnverify.content import Array
from snnverify.errors import Unsupported
from snnverify.network import INPUT, Conv, Dense, Flatten, Network, Neuron, Op, Pool, Scale, Shape

Tensor = Any
Fire = Callable[[Tensor], Tensor]


class Graph(nn.Module):
    """Layers in order, each the sum of its branches, then its neurons; a value lives until its last use.

    Parameters
    ----------
    network : Network
    fire : callable (name, act, shape) -> module or callable
        A layer's neurons.
    kinds : module or namespace
        Where ``Linear``, ``Conv2d``, ``AvgPool2d`` and ``Flatten`` come from.
    gain : float
        Factor on every summed input, put into the weights.
    repeat : int, optional
        The first layer's input has one step, and what it makes of that is repeated so often.
    """

    def __init__(self, network: Network, fire: Callable[[str, Neuron, Shape], Fire], kinds: Any = nn, gain: float = 1.0,
                 repeat: int = 0) -> None:  # fmt: skip
        super().__init__()
        self.watched: dict[str, list[Tensor]] | None = None
        self.repeat = repeat
        self.plan = []
        last = {b.source: layer.name for layer in network.layers for b in layer.branches}
        for layer in network.layers:
            if not isinstance(layer.act, (Neuron, type(None))):
                raise Unsupported(layer.name, f"{type(layer.act).__name__} is no neuron of this library")
            mine = gain if layer.act is not None else 1.0
            parts = [(synapse(b.op, kinds, mine), b.source) for b in layer.branches]
            node = None if layer.act is None else fire(layer.name, layer.act, network.shapes[layer.name])
            for k, part in enumerate((*(p for p, _ in parts), node)):
                if isinstance(part, nn.Module):
                    self.add_module(f"{layer.name}_{k}", part)
            first = any(b.source == INPUT for b in layer.branches)
            self.plan.append((layer.name, parts, node, first, [s for s, user in last.items() if user == layer.name]))

    def forward(self, x: Tensor) -> Tensor:
        """Values of the last layer."""
        values = {INPUT: x}
        for name, parts, node, first, done in self.plan:
            y: Tensor = None
            for op, source in parts:
                z = op(values[source])
                y = z if y is None else y + z
            if first and self.repeat:
                y = y.repeat(self.repeat, *[1] * (y.ndim - 1))
            for source in done:
                del values[source]
            if node is not None:
                y = node(y)
                if self.watched is not None:
                    self.watched.setdefault(name, []).append(y)
            values[name] = y
        return y


def watch(net: Graph, call: Callable[[], Any]) -> dict[str, list[Tensor]]:
    """Spikes that every layer emits during a call, one tensor for each time its neurons are asked."""
    found: dict[str, list[Tensor]] = {}
    net.watched = found
    call()
    net.watched = None
    return found


def stacked(net: Graph, call: Callable[[], Any]) -> dict[str, Array]:
    """Spikes [T, N, *shape] of a call that goes step by step."""
    return {k: np.stack([s.numpy() for s in steps]) for k, steps in watch(net, call).items()}


def synapse(op: Op, kinds: Any, gain: float) -> Any:
    """Module of an operation; `Unsupported` where there is none."""
    if isinstance(op, Flatten):
        return kinds.Flatten()
    if isinstance(op, Scale) and np.ndim(op.factor) == 0 and op.bias is None:
        factor = float(op.factor) * gain
        return nn.Identity() if factor == 1 else lambda x: x * factor
    if isinstance(op, Pool) and op.kind == "average" and len(op.kernel) == 2:
        pool = kinds.AvgPool2d(op.kernel, op.stride, op.padding, count_include_pad=op.count_include_pad)
        return pool if gain == 1 else lambda x: pool(x) * gain
    bias = getattr(op, "bias", None)
    if isinstance(op, Dense):
        module = kinds.Linear(*reversed(op.weight.shape), bias=bias is not None)
    elif isinstance(op, Conv) and op.weight.ndim == 4 and not op.transposed and all(a == b for a, b in op.padding):
        module = kinds.Conv2d(*op.channels, op.weight.shape[2:], op.stride, tuple(a for a, _ in op.padding),
                              op.dilation, op.groups, bias=bias is not None)  # fmt: skip
    else:
        raise Unsupported(type(op).__name__, "the benchmark has no module for it")
    module.weight.data = torch.tensor(op.weight * gain, dtype=torch.float32)
    if bias is not None:
        module.bias.data = torch.tensor(bias * gain, dtype=torch.float32)
    return module


def scalar(act: Neuron) -> tuple[float, float]:
    """Threshold and initial potential of IF neurons that are all alike; `Unsupported` of others."""
    plain = act == Neuron(act.theta, act.amplitude, act.v_init) and np.all(np.asarray(act.amplitude) == 1)
    if not plain or np.size(act.theta) != 1 or np.size(act.v_init) != 1:
        raise Unsupported("Neuron", "the benchmark's peers run IF neurons with one threshold and amplitude 1")
    return float(np.ravel(act.theta)[0]), float(np.ravel(act.v_init)[0])
