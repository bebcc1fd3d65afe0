"""Networks of IF and LIF neurons to Loihi's: what its neurons and blocks hold is converted, all else refused by name.

SpikingJelly's `lava_exchange` (0.0.0.0.14) does the same for its own modules, with fewer of them and fewer refusals.

**Ties.** Loihi fires at ``v > threshold``. A neuron that fires at ``>=`` does not fire there in the one step in which its
potential meets the threshold (``ties="strict"``, as the libraries have it). An IF neuron's potential is a whole number of
mantissas, so ``>= theta`` is ``> ceil(theta scale) - 1``: with ``ties="keep"`` it fires as it did. A leak leaves fractions
of a mantissa, so no threshold says ``>=`` for LIF.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..activation import Cuba, Neuron
from ..content import Array
from ..errors import ConfigError, DataError, Unsupported
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale
from .quantise import SCALE, decay_mantissa, threshold_mantissa, weight_mantissa

Ties = Literal["strict", "keep"]
GREATEST = (1 << 17) - 1  # a threshold mantissa has 17 bits (lava-nc 0.10.0, proc/lif/models.py)
# Axis of Neuron: the value that Loihi's neuron has, and the way out where a network has another.
HELD: dict[str, tuple[Any, str]] = {
    "amplitude": (1.0, "multiply the weights of the next layer by it, and set it to 1"),
    "v_init": (0.0, "train or convert with v_init = 0 (--v-init zero)"),
    "reset": ("value", "Loihi's reset goes to 0: train or convert with reset = 'value' (--reset value)"),
    "v_reset": (0.0, "shift threshold and weights so that the reset goes to 0"),
    "reset_delay": (0, "Loihi resets in the step of the spike"),
    "max_spikes": (1, "Loihi fires at most once a step"),
    "v_floor": (None, "Loihi's potential has no floor"),
    "v_rest": (0.0, "Loihi's potential leaks to 0"),
    "input_scaled": (False, "decay_input: multiply the weights by 1 - leak, and set it to False"),
    "delay": (0, "the delay belongs to the layer: Cuba.delay"),
    "order": ("leak-integrate", "Loihi leaks before it adds the input"),
    "syn_order": ("decay-add", "Loihi's current decays before it takes the input"),
}
LEAKY = ("v_rest", "input_scaled", "order")


def lava_cuba(
    neuron: Neuron, scale: int = SCALE, *, ties: Ties = "strict", delay: int = 0, where: str = "Neuron"
) -> Cuba:
    """IF and LIF to Loihi: threshold ``trunc(theta scale)``, voltage decay ``4096 (1 - leak)``, no current filter (4096).

    Parameters
    ----------
    neuron : Neuron
        With hard reset to 0; a synaptic current (``syn_decay``) becomes Loihi's.
    scale : int
        Mantissas to 1.0.
    ties : {"strict", "keep"}
        What becomes of ``fires=">="``; see above.
    delay : int
        `Cuba.delay`; 0 as between blocks without delay_shift, 1 for the chip.
    where : str
        Layer that errors name.

    Raises
    ------
    Unsupported
        What Loihi's neuron does not have, by the name of its field.
    """
    if ties not in get_args(Ties):
        raise ConfigError(f"ties = {ties!r}: one of {', '.join(get_args(Ties))}")
    for refused in _unheld(neuron, where):
        raise refused
    if ties == "keep" and neuron.fires == ">=":
        if neuron.leak != 1 or neuron.syn_decay is not None:
            raise Unsupported(f"{where}.fires", "'>=' of a leaky neuron is no threshold of Loihi, which fires at '>'",
                              "fires = '>', or ties = 'strict'")  # fmt: skip
        theta = np.ceil(np.asarray(neuron.theta) * scale) - 1
        mantissa = threshold_mantissa(theta if theta.ndim else float(theta), 1)
    else:
        mantissa = threshold_mantissa(neuron.theta, scale)
    if np.max(mantissa) > GREATEST:
        most = int(scale * GREATEST // np.max(mantissa))
        way = f"scale = {most} or less" if most else "divide weights and threshold by a common factor"
        raise Unsupported(f"{where}.theta", f"{np.max(mantissa)} mantissas do not fit into 17 bits ({GREATEST})", way)
    current = 4096 if neuron.syn_decay is None else decay_mantissa(1 - neuron.syn_decay)
    return Cuba(mantissa, current, decay_mantissa(1 - neuron.leak), delay=delay)


def _unheld(neuron: Neuron, where: str) -> Iterator[Unsupported]:
    """Refusals of every axis that has a value which Loihi's neuron does not."""
    for axis, (legal, remedy) in HELD.items():
        value = getattr(neuron, axis)
        if not (np.all(np.asarray(value == legal)) or _idle(neuron, axis)):
            yield Unsupported(f"{where}.{axis}", f"Loihi's neuron has no {axis} = {value!r}", remedy)


def _idle(neuron: Neuron, axis: str) -> bool:
    """Tell whether an axis acts beside another one alone, and that one does not."""
    return neuron.syn_decay is None if axis == "syn_order" else axis in LEAKY and neuron.leak == 1


def lava_op(op: Op, where: str = "op") -> Op:
    """Operation of a block: the same Dense, Conv over 2 axes, or Flatten; average pooling becomes sum pooling.

    Raises
    ------
    Unsupported
        A bias, a geometry or an operation that a block does not have.
    """
    bias = getattr(op, "bias", None)
    if bias is not None and np.any(np.asarray(bias) != 0):
        raise Unsupported(f"{where}.bias", "a block adds no bias", "train without it (bias=False)")
    if isinstance(op, (Dense, Flatten)):
        return op if isinstance(op, Flatten) else replace(op, bias=None)
    if isinstance(op, Conv):
        if op.transposed:
            raise Unsupported(f"{where}.transposed", "there is no block for it", "use Conv")
        _two_axes(where, op.weight.ndim - 2)
        uneven = [p for p in op.padding if p[0] != p[1]]
        if uneven:
            raise Unsupported(f"{where}.padding", f"{uneven[0]} differs between the sides", "pad both sides alike")
        return replace(op, bias=None)
    if isinstance(op, Pool) and op.kind in ("average", "sum"):
        _two_axes(where, len(op.kernel))
        if op.kind == "average" and any(op.padding) and not op.count_include_pad:
            raise Unsupported(f"{where}.count_include_pad", "windows at the edge would have weights of their own",
                              "count_include_pad = True, or no padding")  # fmt: skip
        return replace(op, kind="sum")
    what = f"{op.kind} pooling" if isinstance(op, Pool) else type(op).__name__
    raise Unsupported(where, f"there is no block for {what}", "use Dense, Conv, average pooling or Flatten")


def _two_axes(where: str, axes: int) -> None:
    if axes != 2:
        raise Unsupported(where, f"blocks work on 2 axes, this on {axes}", "give the input an axis of 1")


def lava_blocks(
    network: Network, scale: int = SCALE, *, ties: Ties = "strict", delay: int = 0, note: str = ""
) -> Network:  # fmt: skip
    """A chain of Dense, Conv, average pooling and Flatten with IF or LIF neurons, as a network of Loihi's blocks.

    Weights go to the 8-bit grid (`weight_mantissa`). Average pooling over k entries becomes a sum, a weight of w mantissas
    and a threshold of ``w k theta``, which is exact for any w: with v the source's potential, ``v <- leak v + sum(s) / k``
    fires at ``v > theta``, and so does ``w k v <- leak (w k v) + w sum(s)`` at ``w k v > w k theta``. Where ``scale / k`` is
    an even integer, so on the grid, it is w and the threshold stays ``theta scale``; else w is the even number nearest
    below the scale, at most 254. Pooling whose neurons stand in a `Scale` of their own (`convert` with pool_neurons) is one
    block too, its threshold divided by the factor, which rounds once, to float64.

    Parameters
    ----------
    network : Network
        One branch a layer, each on the layer before. The last layer may be a read-out without neurons, whose values are
        then sums of mantissas.
    scale, ties, delay
        As of `lava_cuba`.
    note : str
        Of the network; the source's by default.

    Returns
    -------
    Network
        Names of the layers are kept; a pooling layer NAME is preceded by its sums, ``NAME.sum``.

    Raises
    ------
    Unsupported
        What a block does not hold, by layer and field; also weights outside the grid, and windows that leave a rest
        (lava-dl pads it, SpikingJelly drops it).
    """
    layers: list[Layer] = []
    source = INPUT
    for v in _joined(network.layers):
        if len(v.branches) != 1 or v.branches[0].source != source:
            raise Unsupported(v.name, f"it is no link of a chain: it sees {', '.join(b.source for b in v.branches)}",
                              "blocks stand one behind the other; merge its branches, or drop the skip")  # fmt: skip
        layers += _block(v, network, scale, ties, delay)
        source = v.name
    return Network(network.input_shape, tuple(layers), note or network.note)


def blockers(network: Network, **how: Any) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """All that keeps a network from `lava_blocks`, which stops at the first: (what, way out) to the layers that have it.

    Empty where it has blocks. Weights and thresholds are looked at where all else is held; `how` is of `lava_blocks`.
    """
    found: dict[tuple[str, str], list[str]] = {}

    def note(refused: Unsupported, name: str) -> None:
        what = refused.where[len(name) + 1 :] or refused.what
        found.setdefault((what, refused.remedy), []).append(name)

    for v in _joined(network.layers):
        for b in v.branches:
            try:  # a bias first, and then the operation without it
                lava_op(b.op, v.name)
            except Unsupported as e:
                note(e, v.name)
                if e.where == f"{v.name}.bias" and isinstance(b.op, (Dense, Conv)):
                    try:
                        lava_op(replace(b.op, bias=None), v.name)
                    except Unsupported as more:
                        note(more, v.name)
        if isinstance(v.act, Neuron):
            for refused in _unheld(v.act, v.name):
                note(refused, v.name)
    if not found:
        try:
            lava_blocks(network, **how)
        except Unsupported as e:
            return {(f"{e.where}: {e.what}", e.remedy): ()}
    return {key: tuple(names) for key, names in found.items()}


def _joined(layers: tuple[Layer, ...]) -> list[Layer]:
    """Put an analog pooling and the positive scale with neurons behind it into one layer, of the latter's name."""
    joined: list[Layer] = []
    for v in layers:
        op, last = v.branches[0].op, joined[-1] if joined else None
        if (
            last is not None and last.act is None and isinstance(last.branches[0].op, Pool) and isinstance(v.act, Neuron)
            and [b.source for b in v.branches] == [last.name] and isinstance(op, Scale) and op.bias is None
            and np.all(np.asarray(op.factor) > 0)
        ):  # fmt: skip
            theta = np.asarray(v.act.theta / np.asarray(op.factor))
            joined[-1] = Layer(v.name, last.branches, replace(v.act, theta=theta if theta.ndim else float(theta)))
        else:
            joined.append(v)
    return joined


def _block(layer: Layer, network: Network, scale: int, ties: Ties, delay: int) -> list[Layer]:
    """Layers of one block."""
    (branch,) = layer.branches
    op, act, name = lava_op(branch.op, layer.name), layer.act, layer.name
    if isinstance(op, (Dense, Conv)):
        op = replace(op, weight=_on_grid(name, op.weight, scale))
    if act is None and (isinstance(op, Flatten) or (isinstance(op, Dense) and layer == network.output)):
        return [Layer(name, (Branch(op, branch.source),))]
    if isinstance(op, Flatten) or not isinstance(act, Neuron):
        what = "Flatten has no neurons" if isinstance(op, Flatten) else f"a block ends in neurons, not in {_word(act)}"
        raise Unsupported(name, what, "put IF or LIF neurons after Dense, Conv and pooling alone")
    if not isinstance(op, Pool):
        return [Layer(name, (Branch(op, branch.source),), lava_cuba(act, scale, ties=ties, delay=delay, where=name))]
    shape = network.shapes[branch.source][1:]
    rests = [(n + 2 * p - k) % s for n, p, k, s in zip(shape, op.padding, op.kernel, op.stride, strict=True)]
    if any(rests):
        raise Unsupported(name, f"pooling {op.kernel} over {shape} leaves a rest of {max(rests)}",
                          "lava-dl pads it and SpikingJelly drops it: crop or pad the input")  # fmt: skip
    k = math.prod(op.kernel) if isinstance(branch.op, Pool) and branch.op.kind == "average" else 1
    weight = scale // k if scale % (2 * k) == 0 and scale <= 254 * k else max(min(scale, 254) // 2 * 2, 2)
    neuron = lava_cuba(act, weight * k, ties=ties, delay=delay, where=name)
    return [Layer(f"{name}.sum", (Branch(op, branch.source),)),
            Layer(name, (Branch(Scale(float(weight)), f"{name}.sum"),), neuron)]  # fmt: skip


def _on_grid(name: str, weight: Array, scale: int) -> Array:
    low, high = float(np.min(weight, initial=0)), float(np.max(weight, initial=0))
    if low * scale < -257 or high * scale > 255:  # half a step beyond the ends still rounds to them
        most = int(min(254 / max(high, 1e-9), 256 / max(-low, 1e-9)))
        way = f"scale = {most} or less" if most >= 1 else "divide weights and threshold by a common factor"
        raise Unsupported(f"{name}.weight", f"{low:g} ... {high:g} leaves the 8-bit grid of scale {scale}, "
                          f"{-256 / scale:g} ... {254 / scale:g}", way)  # fmt: skip
    return weight_mantissa(weight, scale)


def _word(act: Any) -> str:
    return "nothing" if act is None else type(act).__name__


def to_nxt(x: npt.ArrayLike) -> Array:
    """[T, N, *] to lava-dl's [N, *, T]."""
    return np.moveaxis(_timed(x), 0, -1)


def to_tnx(x: npt.ArrayLike) -> Array:
    """[N, *, T] of lava-dl to [T, N, *]."""
    return np.moveaxis(_timed(x), -1, 0)


def _timed(x: npt.ArrayLike) -> Array:
    a = np.asarray(x)
    if a.ndim < 2:
        raise DataError(f"x of shape {a.shape}: it needs an axis of samples and one of time")
    return a
