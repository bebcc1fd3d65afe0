"""A `Network` as a torch module that can be trained: fine-tuning and native training share it with the simulator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..activation import Neuron, Relu
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, per_channel

Activation = Callable[[Layer, torch.Tensor], torch.Tensor]


class TorchNetwork(nn.Module):
    """Layers, branches and arithmetic of a network, its weights and biases as parameters.

    Parameters
    ----------
    network : Network
        Its operations are dense, convolution (transposed, too), average or sum pooling, flattening and scaling.
    dtype : torch.dtype

    Raises
    ------
    Unsupported
        Another operation; names the layer.
    """

    def __init__(self, network: Network, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network = network
        self.parts = nn.ModuleDict()
        for layer in network.layers:
            for i, b in enumerate(layer.branches):
                _supported(layer.name, b.op)
                if isinstance(b.op, (Dense, Conv)):
                    self.parts[key(layer, i)] = part = nn.Module()
                    part.weight = nn.Parameter(torch.tensor(b.op.weight, dtype=dtype))
                    bias = None if b.op.bias is None else torch.tensor(b.op.bias, dtype=dtype)
                    part.register_parameter("bias", None if bias is None else nn.Parameter(bias))

    def forward(self, x: torch.Tensor, act: Activation | None = None) -> torch.Tensor:
        """Output on a batch [N, *input_shape]; `act` stands for the activations of the layers that have one."""
        values = {INPUT: x}
        for layer in self.network.layers:
            terms = [self._apply_op(key(layer, i), b.op, values[b.source]) for i, b in enumerate(layer.branches)]
            z = torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]
            values[layer.name] = z if layer.act is None else (act or _analog)(layer, z)
        return values[self.network.output.name]

    def _apply_op(self, name: str, op: Op, x: torch.Tensor) -> torch.Tensor:
        if isinstance(op, Flatten):
            return x.flatten(1)
        if isinstance(op, Scale):
            factor, offset = (None if p is None else torch.tensor(per_channel(p, tuple(x.shape[1:])), dtype=x.dtype)
                              for p in (op.factor, op.bias))  # fmt: skip
            assert factor is not None
            return x * factor if offset is None else x * factor + offset
        if isinstance(op, Pool):
            return _pooled(op, x)
        part: Any = self.parts[name]  # of parametrised modules torch knows no types
        weight: torch.Tensor = part.weight
        bias: torch.Tensor | None = part.bias
        if isinstance(op, Dense):
            return F.linear(x, weight, bias)
        assert isinstance(op, Conv)
        return _convolved(op, x, weight, bias)

    def arrays(self) -> dict[str, dict[str, Array]]:
        """Weight and bias of every part, float64, as they are used: through the grid, where there is one."""
        return {
            name: {k: v.detach().double().numpy() for k in ("weight", "bias") if (v := getattr(part, k)) is not None}
            for name, part in self.parts.items()
        }

    def exported(self, fit: Callable[[Array], Array] = lambda a: a) -> Network:
        """The network with the weights and biases of now, each put through `fit`."""
        now = self.arrays()
        layers = []
        for layer in self.network.layers:
            branches = []
            for i, b in enumerate(layer.branches):
                found: dict[str, Any] = {k: fit(v) for k, v in now.get(key(layer, i), {}).items()}
                branches.append(replace(b, op=replace(b.op, **found)))
            layers.append(replace(layer, branches=tuple(branches)))
        return replace(self.network, layers=tuple(layers))


def initialise(model: TorchNetwork, seed: int) -> None:
    """Uniform weights of variance 2 / fan_in (He et al., ICCV 2015, eq. 10), biases 0; drawn by PCG64."""
    rng = np.random.Generator(np.random.PCG64(seed))
    with torch.no_grad():
        for part in model.parts.values():
            assert isinstance(part.weight, torch.Tensor)
            draws = rng.random(tuple(part.weight.shape))
            part.weight.copy_(torch.from_numpy((2 * draws - 1) * math.sqrt(6 / part.weight[0].numel())))
            if isinstance(part.bias, torch.Tensor):
                part.bias.zero_()


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """One thread, deterministic algorithms and a generator of its own; the caller's settings come back afterwards."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield torch.Generator().manual_seed(seed)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)


def key(layer: Layer, branch: int) -> str:
    """Name of a part: as in `quantise.QuantisedNetwork`, with no dot, which torch takes for a path."""
    return f"{layer.name}.{branch}".replace(".", "/")


def _analog(layer: Layer, z: torch.Tensor) -> torch.Tensor:
    if isinstance(layer.act, Relu):
        return torch.relu(z)
    what = type(layer.act).__name__
    raise Unsupported(layer.name, f"{what} is not trained here", "give a network with ReLU" if isinstance(layer.act, Neuron)
                      else "train QCFS with convert.fine_tune")  # fmt: skip


def _supported(name: str, op: Op) -> None:
    if isinstance(op, Pool) and op.kind not in ("average", "sum"):
        raise Unsupported(name, f"{op.kind} pooling has no spiking form that is trained here", "use average pooling")


def _pooled(op: Pool, x: torch.Tensor) -> torch.Tensor:
    pool: Any = F.avg_pool1d if len(op.kernel) == 1 else F.avg_pool2d
    inside = op.kind == "average" and not op.count_include_pad
    y: torch.Tensor = pool(x, op.kernel, op.stride, op.padding, count_include_pad=not inside)
    return y * float(torch.tensor(op.kernel).prod()) if op.kind == "sum" else y


def _convolved(op: Conv, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    sides = [p for before, after in reversed(op.padding) for p in (before, after)]
    if op.transposed:
        turned: Any = F.conv_transpose1d if len(op.stride) == 1 else F.conv_transpose2d
        y = turned(x, weight, bias, op.stride, 0, op.output_padding, op.groups, op.dilation)
        return F.pad(y, [-p for p in sides])
    conv: Any = F.conv1d if len(op.stride) == 1 else F.conv2d
    y = conv(F.pad(x, sides), weight, bias, op.stride, 0, op.dilation, op.groups)
    assert isinstance(y, torch.Tensor)
    return y
