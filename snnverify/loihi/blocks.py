"""Layers as lava-dl's blocks make them: weights on the 8-bit grid, thresholds and decays as mantissas.

A block is a tuple of layers, the first of which sees the block's input; `chain` names them after their place and puts
them one behind the other. Parameters are floats, as slayer's are, and are quantised here; `params` of every spiking
block are

- threshold : float, >= 0; it fires at ``v > 64 trunc(threshold scale)``, strictly
- current_decay, voltage_decay : float in 0 ... 1; 1 and 0 by default, which is IF
- scale : int, mantissas to 1.0; 64 by default
- delay_shift : bool, whether its spikes come a step later; True by default, as on the chip
- overflow : as of `Cuba`; "refuse" by default
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..activation import Cuba
from ..errors import ConfigError, NetworkError
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape
from .quantise import SCALE, decay_mantissa, threshold_mantissa, weight_mantissa

Block = tuple[Layer, ...]
NEVER = (1 << 18) - 1  # threshold that no 24-bit potential reaches: what lava-dl writes for an affine block
Pair = int | tuple[int, int]


def cuba(
    threshold: npt.ArrayLike, current_decay: float = 1.0, voltage_decay: float = 0.0, scale: int = SCALE,
    delay_shift: bool = True, **more: Any,
) -> Cuba:  # fmt: skip
    """Neuron of a block, its parameters quantised; `more` are further fields of `Cuba`, as they are."""
    decays = decay_mantissa(current_decay), decay_mantissa(voltage_decay)
    return Cuba(threshold_mantissa(threshold, scale), *decays, delay=int(delay_shift), **more)


def dense(weight: npt.ArrayLike, scale: int = SCALE, **params: Any) -> Block:
    """``z = W x`` with W [out, in] on the 8-bit grid, then the neuron."""
    return (_layer("dense", Dense(weight_mantissa(weight, scale)), cuba(scale=scale, **params)),)


def conv(
    weight: npt.ArrayLike, scale: int = SCALE, *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1,
    groups: int = 1, **params: Any,
) -> Block:  # fmt: skip
    """Convolution with W [out, in / groups, kh, kw] on the 8-bit grid, then the neuron; zeros on both sides as padding."""
    sides = [(p, p) for p in _pair("padding", padding)]
    op = Conv(
        weight_mantissa(weight, scale), None, _pair("stride", stride), tuple(sides), _pair("dilation", dilation), groups
    )
    return (_layer("conv", op, cuba(scale=scale, **params)),)


def pool(
    kernel: Pair,
    scale: int = SCALE,
    *,
    stride: Pair | None = None,
    padding: Pair = 0,
    weight: float = 1.0,
    **params: Any,
) -> Block:
    """Sum, not mean, over windows, times one weight on the 8-bit grid, then the neuron."""
    window = Pool(
        "sum", _pair("kernel", kernel), _pair("stride", kernel if stride is None else stride), _pair("padding", padding)
    )
    summed = _layer("sum", window, None)
    factor = Scale(float(weight_mantissa(weight, scale)))
    return summed, Layer("pool", (Branch(factor, "sum"),), cuba(scale=scale, **params))


def flatten() -> Block:
    """(C, H, W) to one axis, in C order."""
    return (_layer("flatten", Flatten(), None),)


def affine(
    weight: npt.ArrayLike, scale: int = SCALE, *, dynamics: bool = True, threshold: float = 0, **params: Any
) -> Block:
    """Read-out that does not fire: its value is the potential, or without `dynamics` the summed input in mantissas.

    Its threshold is out of reach, as lava-dl writes it, whatever `threshold` says.
    """
    op = Dense(weight_mantissa(weight, scale))
    if not dynamics:
        return (_layer("affine", op, None),)
    return (_layer("affine", op, replace(cuba(threshold, scale=scale, **params), threshold=NEVER)),)


def average(inputs: int, num_outputs: int) -> Block:
    """Mean of `num_outputs` groups of neighbours: a read-out without neurons."""
    if num_outputs < 1 or inputs < num_outputs or inputs % num_outputs:
        raise NetworkError(f"average: num_outputs = {num_outputs} does not divide {inputs} inputs; choose a divisor")
    size = inputs // num_outputs
    return (_layer("average", Dense(np.kron(np.eye(num_outputs), np.full((1, size), 1 / size))), None),)


KINDS: Mapping[str, Callable[..., Block]] = {
    "dense": dense, "conv": conv, "pool": pool, "flatten": flatten, "affine": affine, "average": average,
}  # fmt: skip


def named(kind: str, params: Mapping[str, Any], weight: Any = None) -> Block:
    """Block of a kind by name, with `params` as keywords; `weight` is passed on where there is one."""
    if kind not in KINDS:
        raise ConfigError(f"block = {kind!r}: one of {', '.join(KINDS)}")
    given = dict(params) if weight is None else {"weight": weight, **params}
    try:
        return KINDS[kind](**given)
    except TypeError as e:
        raise ConfigError(f"block {kind!r} with {', '.join(sorted(given)) or 'nothing'}: {e}") from None


def chain(input_shape: Shape, blocks: Sequence[Block], note: str = "") -> Network:
    """Put blocks one behind the other: block i is layer ``"i"``, what comes before its neuron ``"i.sum"``.

    Parameters
    ----------
    input_shape : tuple of int
        Channel first.
    blocks : sequence of blocks
    note : str

    Returns
    -------
    Network
        Of one branch a layer; its input are spikes, or whole numbers.
    """
    layers: list[Layer] = []
    source = INPUT
    for i, block in enumerate(blocks):
        names = {layer.name: f"{i}.{layer.name}" for layer in block[:-1]} | {block[-1].name: str(i), INPUT: source}
        for layer in block:
            branches = tuple(replace(b, source=names[b.source]) for b in layer.branches)
            layers.append(Layer(names[layer.name], branches, layer.act))
        source = layers[-1].name
    return Network(input_shape, tuple(layers), note)


def _layer(name: str, op: Op, act: Cuba | None) -> Layer:
    return Layer(name, (Branch(op),), act)


def _pair(name: str, value: Pair) -> tuple[int, int]:
    found = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value, value)
    if len(found) != 2:
        raise ConfigError(f"{name} = {value!r}: an integer, or one for each of two axes")
    return int(found[0]), int(found[1])
