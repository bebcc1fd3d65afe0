"""SpikingJelly's converters to Lava: modules are built of our layers, converted by the library, and read back.

Runs inside lava's own interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..activation import Cuba, Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale
from . import ANY, Families, family_of
from .lava_slayer_build import synapses

Module = Any
# What the nodes that the converters take can be told; the converters refuse the rest, or do not.
NODES: Families = {
    "IFNode": {"theta": ANY, "reset": ("subtract", "value"), "v_reset": ANY, "v_rest": ANY, "order": ANY, "syn_order": ANY,
               "input_scaled": ANY},
    "LIFNode": {"theta": ANY, "reset": ("subtract", "value"), "v_reset": ANY, "leak": ANY,
                "input_scaled": ANY, "syn_order": ANY},
}  # fmt: skip


@contextmanager
def refusals(where: str) -> Iterator[None]:
    """Tell the library's own refusals, which it raises in words, by `Unsupported`."""
    try:
        yield
    except (ValueError, NotImplementedError, AssertionError) as e:
        raise Unsupported(where, f"the library refuses it: {' '.join(str(e).split()) or type(e).__name__}"[:300]) from e


def synapse_of(op: Op, scale: float = 1.0, where: str = "op") -> Module:
    """Torch's module for an operation, its weights divided by `scale`; SpikingJelly's own for a sum of windows."""
    import torch
    from spikingjelly.activation_based import lava_exchange

    nn: Any = torch.nn
    if isinstance(op, Flatten):
        return nn.Flatten()
    if isinstance(op, Pool) and len(op.kernel) == 2 and op.kind in ("average", "sum"):
        if op.kind == "sum":
            return lava_exchange.SumPool2d(op.kernel, op.stride, op.padding)
        return nn.AvgPool2d(op.kernel, op.stride, op.padding, count_include_pad=op.count_include_pad)
    if isinstance(op, Dense):
        module = nn.Linear(*reversed(op.weight.shape), bias=op.bias is not None)
    elif isinstance(op, Conv) and op.weight.ndim == 4 and not op.transposed and all(a == b for a, b in op.padding):
        padding = tuple(a for a, _ in op.padding)
        module = nn.Conv2d(*op.channels, op.weight.shape[2:], op.stride, padding, op.dilation, op.groups,
                           bias=op.bias is not None)  # fmt: skip
    else:
        what = f"{op.kind} pooling" if isinstance(op, Pool) else type(op).__name__
        raise Unsupported(where, f"{what} has no module that the library converts")
    module.weight.data = torch.tensor(np.asarray(op.weight) / scale, dtype=torch.float32)
    if op.bias is not None:
        module.bias.data = torch.tensor(np.asarray(op.bias), dtype=torch.float32)
    return module


def node_from(neuron: Neuron, scale: int, where: str = "Neuron") -> Module:
    """SpikingJelly's IF or LIF node for a `Neuron` with one threshold; what the node has no word for is refused by axis."""
    from .spikingjelly import node_of as plain_node

    kind = "IFNode" if neuron.leak == 1 else "LIFNode"
    home = (
        replace(neuron, v_rest=0.0) if neuron.v_rest == neuron.v_reset else neuron
    )  # a node leaks to where it is reset
    _ = family_of(home, {kind: NODES[kind]})
    if np.size(neuron.theta) != 1:
        raise Unsupported(f"{where}.theta", "it differs between channels", "a node has one threshold")
    node = plain_node(neuron, float(np.ravel(neuron.theta)[0]), multi=False)
    node.lava_s_cale = scale
    return node


def lava_cuba(neuron: Neuron, scale: int) -> Cuba:
    """Mantissas of the slayer neuron that the library makes of a node."""
    from spikingjelly.activation_based.lava_exchange import to_lava_neuron

    with refusals("to_lava_neuron"):
        return _read_neuron(to_lava_neuron(node_from(neuron, scale)))


def _read_neuron(neuron: Any) -> Cuba:
    """`Cuba` of a slayer neuron; between blocks without ``delay_shift`` nothing is delayed."""
    return Cuba(int(neuron.v_th_mant), int(neuron.cx_current_decay), int(neuron.cx_voltage_decay), delay=0)


def lava_synapse(op: Op, x: Array) -> Array:
    """What the slayer synapse makes of x [T, N, *shape]."""
    import torch
    from spikingjelly.activation_based import lava_exchange

    kinds: Any = {"Linear": lava_exchange.linear_to_lava_synapse_dense, "Conv2d": lava_exchange.conv2d_to_lava_synapse_conv,
                  "AvgPool2d": lava_exchange.avgpool2d_to_lava_synapse_pool}  # fmt: skip
    module = synapse_of(op)
    if type(module).__name__ not in kinds:
        raise Unsupported(
            type(op).__name__, "the library converts linear, convolutional and average pooling layers alone"
        )
    with torch.no_grad(), refusals(type(module).__name__):
        synapse = kinds[type(module).__name__](module)
        y = synapse(lava_exchange.TNX_to_NXT(torch.tensor(np.asarray(x), dtype=torch.float32)))
        return np.ascontiguousarray(lava_exchange.NXT_to_TNX(y).numpy())


def lava_blocks(network: Network, scale: int) -> Network:
    """Network of the blocks that ``to_lava_blocks`` makes of a chain of layers, weights in mantissas."""
    import torch
    from spikingjelly.activation_based.lava_exchange import to_lava_blocks

    modules = []
    for layer in _chain(network):
        modules.append(synapse_of(layer.branches[0].op, where=layer.name))
        if isinstance(layer.act, Neuron):
            modules.append(node_from(layer.act, scale, layer.name))
    with refusals("to_lava_blocks"):
        made = to_lava_blocks(torch.nn.Sequential(*modules))
    return read_blocks(network.input_shape, [layer.name for layer in network.layers], made)


def lava_containers(network: Network, scale: int) -> Network:
    """Network of the blocks that the containers of a chain of layers make of themselves, one by one."""
    made = []
    for layer in _chain(network):
        node = node_from(layer.act, scale, layer.name) if isinstance(layer.act, Neuron) else None
        with refusals(f"BlockContainer of {layer.name!r}"):
            made.append(container(synapse_of(layer.branches[0].op, where=layer.name), node).to_lava_block())
    return read_blocks(network.input_shape, [layer.name for layer in network.layers], made)


def _chain(network: Network) -> Iterator[Layer]:
    source = "input"
    for layer in network.layers:
        if len(layer.branches) != 1 or layer.branches[0].source != source:
            raise Unsupported(layer.name, "only a chain of layers is converted")
        source = layer.name
        yield layer


def read_blocks(input_shape: tuple[int, ...], names: list[str], blocks: Any) -> Network:
    """Network of slayer blocks, one behind the other; a pooling block NAME is preceded by its sums, ``NAME.sum``."""
    layers: list[Layer] = []
    for name, part in zip(names, blocks, strict=True):
        source = layers[-1].name if layers else "input"
        if type(part).__name__ == "Flatten":
            layers.append(Layer(name, (Branch(Flatten(), source),)))
            continue
        (synapse,) = synapses(part)
        hook = synapse.pre_hook_fx
        weight = np.rint((synapse.weight * 64 if hook is None else hook(synapse.weight, descale=True)).detach().numpy())
        pair = {k: tuple(getattr(synapse, k)[:2]) for k in ("stride", "padding", "dilation")}
        if type(part).__name__ == "Conv":
            op: Op = Conv(weight[..., 0].astype(np.int64), None, pair["stride"], tuple((p, p) for p in pair["padding"]),
                      pair["dilation"], synapse.groups)  # fmt: skip
        elif type(part).__name__ == "Pool":
            window = Pool("sum", tuple(synapse.kernel_size[:2]), pair["stride"], pair["padding"])
            layers.append(Layer(f"{name}.sum", (Branch(window, source),)))
            op, source = Scale(float(weight.ravel()[0])), f"{name}.sum"
        else:
            op = Dense(weight.reshape(weight.shape[:2]).astype(np.int64))
        layers.append(Layer(name, (Branch(op, source),), _read_neuron(part.neuron)))
    return Network(input_shape, tuple(layers))


def turned(name: str, x: Array) -> Array:
    """What ``TNX_to_NXT`` or ``NXT_to_TNX`` makes of an array."""
    import torch
    from spikingjelly.activation_based import lava_exchange

    turned = getattr(lava_exchange, name)(torch.from_numpy(np.ascontiguousarray(x)))
    return np.ascontiguousarray(turned.numpy())


def container(synapse: Module, node: Module) -> Module:
    """The library's block in SpikingJelly, over all steps."""
    from spikingjelly.activation_based.lava_exchange import BlockContainer

    return BlockContainer(synapse, node, step_mode="m")
