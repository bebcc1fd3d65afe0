"""A `Network` as the torch module that a user of sinabs or of sc-neurocore would hand to its converter.

A chain becomes ``nn.Sequential``, everything else a module with a ``forward`` of its own. Branch i of layer k is the
child ``layer<k>_<i>``, the layer's activation the child ``layer<k>_act``, so that a converted model can be read back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Act, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape
from .torch_cells import along

Module = Any
Tensor = Any
Activation = Callable[[Layer], Module]


def relu(layer: Layer) -> Module:
    """The activation of an ANN as torch knows it."""
    from torch import nn

    from ..activation import Relu

    if not isinstance(layer.act, Relu):
        raise Unsupported(layer.name, f"{type(layer.act).__name__} is not converted", "use ReLU")
    return nn.ReLU()


def build(network: Network, activation: Activation = relu, dtype: str = "float32") -> Module:
    """Torch module that computes `network` on [N, *input_shape].

    Parameters
    ----------
    network : Network
    activation : callable (layer) -> module
        Called for every layer that has an activation; may hand out one module twice.
    dtype : {"float32", "float64"}

    Raises
    ------
    Unsupported
        An operation that torch has no module for, named by its layer.
    """
    import torch
    from torch import nn

    kind = getattr(torch, dtype)
    children: OrderedDict[str, Module] = OrderedDict()
    for k, layer in enumerate(network.layers):
        for i, branch in enumerate(layer.branches):
            children[f"layer{k}_{i}"] = _module(layer.name, branch.op, network.shapes[branch.source], kind)
        if layer.act is not None:
            children[f"layer{k}_act"] = activation(layer)
    return nn.Sequential(children) if is_chain(network) else _graph(network, children)


def is_chain(network: Network) -> bool:
    """Whether every layer has one branch, on the layer before."""
    sources = (INPUT, *(layer.name for layer in network.layers))
    return all(len(v.branches) == 1 and v.branches[0].source == s for v, s in zip(network.layers, sources))  # noqa: B905


def read_back(network: Network, model: Module, act: Callable[[Layer, Module], Act]) -> Network:
    """`network` with the weights that a converted model holds, and `act(layer, module)` in place of its activations."""
    children = dict(model.named_children())
    layers = []
    for k, layer in enumerate(network.layers):
        branches = tuple(
            replace(b, op=_stored(b.op, children.get(f"layer{k}_{i}"))) for i, b in enumerate(layer.branches)
        )
        module = children.get(f"layer{k}_act")
        layers.append(replace(layer, branches=branches, act=None if module is None else act(layer, module)))
    return replace(network, layers=tuple(layers))


def percentile_of(mode: str) -> float:
    """Percentile that a mode of calibration stands for."""
    if mode == "max":
        return 100.0
    if not mode.endswith("%"):
        raise Unsupported("mode", f"{mode!r} is not a percentile", "use 'max' or '99.9%'")
    return float(mode[:-1])


def _graph(network: Network, children: OrderedDict[str, Module]) -> Module:
    from torch import nn

    class Graph(nn.Module):
        """Layers as sums of branches."""

        def __init__(self) -> None:
            super().__init__()
            for name, child in children.items():
                self.add_module(name, child)

        def forward(self, x: Tensor) -> Tensor:
            values = {INPUT: x}
            for k, layer in enumerate(network.layers):
                y = sum(getattr(self, f"layer{k}_{i}")(values[b.source]) for i, b in enumerate(layer.branches))
                values[layer.name] = y if layer.act is None else getattr(self, f"layer{k}_act")(y)
            return values[network.output.name]

    return Graph()


def _module(where: str, op: Op, shape: Shape, dtype: Any) -> Module:
    from torch import nn

    axes = len(shape) - 1
    if isinstance(op, Dense):
        out, inputs = op.weight.shape
        return _loaded(nn.Linear(inputs, out, op.bias is not None), op.weight, op.bias, dtype)
    if isinstance(op, Conv):
        return _convolution(op, axes, dtype)
    if isinstance(op, Flatten):
        return nn.Flatten()
    if isinstance(op, Pool):
        return _pool(where, op, axes)
    return _scale(op, shape, dtype)


def _pool(where: str, op: Pool, axes: int) -> Module:
    from torch import nn

    kinds: dict[str, tuple[Module, Module]] = {
        "average": (nn.AvgPool1d, nn.AvgPool2d),
        "sum": (None, nn.AvgPool2d),  # a sum is an average with divisor 1, which torch has over two axes
        "max": (nn.MaxPool1d, nn.MaxPool2d),
    }
    given: dict[str, dict[str, Any]] = {
        "average": {"count_include_pad": op.count_include_pad},
        "sum": {"divisor_override": 1},
        "max": {},
    }
    kind = kinds[op.kind][axes - 1]
    if kind is None:
        raise Unsupported(where, "torch has no module that sums over windows of one axis", "use an average")
    return kind(op.kernel, op.stride, op.padding, **given[op.kind])


def _convolution(op: Conv, axes: int, dtype: Any) -> Module:
    from torch import nn

    into, out = op.channels
    even = all(a == b for a, b in op.padding)
    given: dict[str, Any] = {"stride": op.stride, "padding": tuple(a for a, _ in op.padding) if even else 0,
                             "dilation": op.dilation, "groups": op.groups, "bias": op.bias is not None}  # fmt: skip
    if op.transposed:
        given["output_padding"] = op.output_padding
    kinds: tuple[Module, Module] = (nn.ConvTranspose1d, nn.ConvTranspose2d) if op.transposed else (nn.Conv1d, nn.Conv2d)
    conv = _loaded(kinds[axes - 1](into, out, op.weight.shape[2:], **given), op.weight, op.bias, dtype)
    if even:
        return conv
    sign = -1 if op.transposed else 1
    pads: tuple[Module, Module] = nn.ConstantPad1d, nn.ConstantPad2d
    pad = pads[axes - 1]([sign * p for pair in reversed(op.padding) for p in pair], 0.0)
    return nn.Sequential(conv, pad) if op.transposed else nn.Sequential(pad, conv)


def _scale(op: Scale, shape: Shape, dtype: Any) -> Module:
    from torch import nn

    class Affine(nn.Module):
        """``factor x + bias``."""

        def forward(self, x: Tensor) -> Tensor:
            y = x * along(op.factor, shape, dtype)
            return y if op.bias is None else y + along(op.bias, shape, dtype)

    return nn.Identity() if op.bias is None and np.all(np.asarray(op.factor) == 1) else Affine()


def _loaded(module: Module, weight: Array, bias: Array | None, dtype: Any) -> Module:
    import torch

    with torch.no_grad():
        module = module.to(dtype)
        module.weight.copy_(torch.tensor(np.asarray(weight, float)))
        if bias is not None:
            module.bias.copy_(torch.tensor(np.asarray(bias, float)))
    return module


def _stored(op: Op, module: Module) -> Op:
    if not isinstance(op, (Dense, Conv)):
        return op  # it holds nothing that a converter changes
    module = next((m for m in module.modules() if hasattr(m, "weight")), module)  # beside its padding
    bias = None if module.bias is None else module.bias.detach().double().numpy()
    return replace(op, weight=module.weight.detach().double().numpy(), bias=bias)
