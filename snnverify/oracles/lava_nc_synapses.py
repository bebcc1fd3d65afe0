"""Synapses of lava-nc: which process multiplies with exactly the weights of a layer.

A ``Dense`` process of 8 bits holds 0 ... 255, -255 ... 0 or, where the signs are mixed, even numbers from -256 to 254; what
does not fit may do so times a power of two that the weight exponent takes back. ``Conv`` neither clips nor shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..content import Array
from ..errors import Unsupported
from ..loihi.quantise import GRID
from ..network import INPUT, Branch, Conv, Dense, Flatten, Network, Op, Pool, Scale, Shape
from .lava_nc_run import Port, lava_shape

BITS = 8


@dataclass(frozen=True)
class Path:
    """What lies between a spiking layer (or the input) and the layer that receives: `op`, on flattened values if `flat`.

    `plain` tells that it is the identity.
    """

    source: str
    op: Dense | Conv
    flat: bool = False
    plain: bool = False

    @property
    def fan_in(self) -> int:
        """Greatest sum of weight magnitudes over one unit."""
        return int(np.ceil(np.abs(self.op.weight).sum(tuple(range(1, self.op.weight.ndim))).max()))


def path(network: Network, where: str, branch: Branch) -> Path:
    """Follow a branch through analog layers to its source, and write the operations on the way as one."""
    ops: list[Op] = [branch.op]
    source = branch.source
    while source != INPUT and network[source].act is None:
        if len(network[source].branches) > 1:
            raise Unsupported(source, "an analog sum has no process of its own", "sum in the layer that receives it")
        ops.insert(0, network[source].branches[0].op)
        source = network[source].branches[0].source
    shape = network.shapes[source]
    lava_shape(shape, 1)
    flat = isinstance(ops[0], Flatten) and len(shape) > 1
    while ops and isinstance(ops[0], Flatten):
        shape, ops = (int(np.prod(shape)),), ops[1:]
    plain = not flat and all(isinstance(op, Scale) and np.all(np.asarray(op.factor) == 1) for op in ops)
    return Path(source, _one(where, ops, shape), flat, plain)


def reach(act: Any, paths: Sequence[Path], x: Array) -> int:
    """Greatest magnitude of what a `Cuba` layer may get in one step, before its exponent; `x` is the network's input."""
    own = getattr(act, "recurrent", None)
    most = int(np.ceil(np.abs(x).max()))
    return sum(p.fan_in * (most if p.source == INPUT else 1) for p in paths) + \
        (0 if own is None else int(np.abs(own).sum(1).max()))  # fmt: skip


def _one(where: str, ops: Sequence[Op], shape: Shape) -> Dense | Conv:
    """One operation for a chain that lava has a process for."""
    if any(getattr(op, "bias", None) is not None for op in ops):
        raise Unsupported(where, "a synapse has no bias", "give it to the neuron: Cuba(bias=...)")
    pooled = len(ops) == 2 and isinstance(ops[0], Pool) and isinstance(ops[1], Scale)
    if len(ops) > 1 and not pooled:
        raise Unsupported(where, f"{' then '.join(type(op).__name__ for op in ops)} is no single synapse")
    op = ops[0] if ops else Scale(1.0)
    if isinstance(op, Dense):
        return op
    if isinstance(op, Conv) and not op.transposed and op.weight.ndim == 4:
        if any(a != b for a, b in op.padding):
            raise Unsupported(where, f"padding {op.padding}: a Conv process pads both ends alike")
        return op
    factor = np.broadcast_to(np.asarray(getattr(ops[-1] if ops else op, "factor", 1), float), shape[:1])
    if isinstance(op, Scale):
        if len(shape) == 1:
            return Dense(np.diag(factor))
        return Conv(factor.reshape(-1, 1, 1, 1), groups=shape[0])
    if isinstance(op, Pool) and op.kind == "sum" and len(op.kernel) == 2:
        weight = np.ones((shape[0], 1, *op.kernel)) * factor.reshape(-1, 1, 1, 1)
        return Conv(weight, None, op.stride, tuple((p, p) for p in op.padding), groups=shape[0])
    raise Unsupported(where, f"{type(op).__name__} has no synapse process")


def connect(
    where: str, p: Path, port: Port, shape: Shape, samples: int, target: Port, exponent: int, places: int, delay: Array,
    alone: bool, graded: bool,
) -> None:  # fmt: skip
    """Put the synapse of a path between an output port and the input port of a neuron.

    Parameters
    ----------
    where : str
        Name of the receiving layer.
    p : Path
    port, target : lava ports
    shape : tuple of int
        Of the source.
    samples : int
    exponent : int
        Weight exponent of the receiving layer.
    places : int
        Binary places by which the neuron wants its input shifted; it then rounds nothing, and weights must be whole.
    delay : int array, () or (C,)
        Steps by which each channel of the source arrives late, beside the one step of every synapse.
    alone : bool
        Whether the neuron has no other synapse: what is rounded together, and not one by one, must be whole else.
    graded : bool
        Whether messages have a value.
    """
    from lava.proc.conv.process import Conv as ConvProcess
    from lava.proc.dense.process import DelayDense
    from lava.proc.dense.process import Dense as DenseProcess

    bits = 16 if graded else 0
    joint = not alone or (delay.size > 1 and delay.min() != delay.max())
    if (joint or places or isinstance(p.op, Conv)) and np.any(p.op.weight * 2.0**exponent % 1):
        raise Unsupported(where, f"weights that are fractions times 2^{exponent}: lava rounds each synapse (and delay) by "
                          "itself, and its Conv has no exponent", "use multiples of it")  # fmt: skip
    synapse: Any
    exponent += places
    if isinstance(p.op, Conv):
        if delay.any():
            raise Unsupported(where, "a Conv process has no delays", "delay the input of a dense layer")
        op = tiled(replace(p.op, weight=p.op.weight * 2.0**exponent), samples)
        padding = tuple(a for a, _ in op.padding)
        synapse = ConvProcess(
            weight=op.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1).astype(int), input_shape=lava_shape(shape, samples),
            stride=op.stride[::-1], padding=padding[::-1], dilation=op.dilation[::-1], groups=op.groups,
            num_message_bits=bits)  # fmt: skip
    else:
        port = port.transpose([2, 1, 0]).flatten() if p.flat else port
        weight, exponent, sign = mantissas(where, p.op.weight, exponent)
        given = {"weights": np.kron(np.eye(samples, dtype=int), weight), "weight_exp": exponent, "sign_mode": sign,
                 "num_weight_bits": BITS, "num_message_bits": bits}  # fmt: skip
        if delay.any():
            units = np.repeat(np.broadcast_to(delay, shape[:1]), int(np.prod(shape[1:])))
            late = np.tile(np.broadcast_to(units, weight.shape), (samples, samples))
            synapse = DelayDense(delays=late.astype(int), **given)
        else:
            synapse = DenseProcess(**given)
    port.connect(synapse.s_in)
    synapse.a_out.connect(target)


def tiled(op: Conv, samples: int) -> Conv:
    """Write the convolution of `samples` samples that are channels of one: as many groups more."""
    return replace(op, weight=np.tile(op.weight, (samples, 1, 1, 1)), groups=op.groups * samples)


def mantissas(where: str, weight: Array, exponent: int) -> tuple[Array, int, Any]:
    """Mantissas that an 8-bit Dense process keeps, exponent and sign mode: together ``weight 2^exponent``."""
    from lava.utils.weightutils import SignMode

    for shift in range(BITS):
        scaled = weight * 2.0**shift
        for name, (low, high, step) in GRID.items():
            if low <= scaled.min() and scaled.max() <= high and not np.any(scaled % step):
                return scaled.astype(np.int64), exponent - shift, SignMode[name.upper()]
    raise Unsupported(where, f"weights from {weight.min():g} to {weight.max():g} are not on the grid of 8 bits",
                      "quantise them: 0 ... 255, -255 ... 0, or even numbers from -256 to 254")  # fmt: skip
