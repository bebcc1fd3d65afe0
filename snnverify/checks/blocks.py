"""Loihi's blocks and the conversions to them: 8-bit grid, mantissas, dynamics bit for bit, refusals by name.

Asked of whoever offers the operator: our own `snnverify.loihi`, lava-dl's blocks, SpikingJelly's `lava_exchange`, lava-nc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .. import reference
from ..activation import Cuba, Neuron
from ..content import Array
from ..errors import OracleDied, Unavailable, Unsupported
from ..findings import Measure
from ..network import Branch, Layer, Pool
from ..oracles import Oracle
from ..strategies import dyadic
from ..trace import Case
from . import check
from .common import differences
from .lava import (
    FOREIGN,
    HELD_NOT,
    MATRICES,
    NEURONS,
    SYNAPSES,
    Block,
    Chained,
    Weights,
    blocks,
    by_hand,
    cut_threshold,
    expected,
    kept_by_hand,
    mapped,
    nearest_decay,
    nearest_even,
    pools,
    sequential,
    strict,
    synapses,
    trains,
    weights,
)  # fmt: skip


@check("operators", weights())
def grid(d: Weights, subject: Oracle) -> Iterator[Measure]:
    """Quantised weights are the nearest of {2 k / scale, k = -128 ... 127}, ties to even k, and stay as they are when quantised again [lava-dl 0.6.0, slayer/neuron/base.py]."""
    quantize = subject.operator("weights_8bit")
    y = np.asarray(quantize(d.w, d.scale))
    exact = mapped(nearest_even, d.w, d.scale) / d.scale
    over, under = d.w * d.scale > 254, d.w * d.scale < -256
    for where, part in (("inside", ~over & ~under), ("above", over), ("below", under)):
        yield Measure("values differ", differences(exact[part], y[part]), where=where)
    yield Measure(
        "second pass differs", differences(y, quantize(y, d.scale)), where="inside" if not over.any() else "above"
    )


@check("operators", weights(st.integers(1, 300)))
def grid_of_any_scale(d: Weights, subject: Oracle) -> Iterator[Measure]:
    """Whatever the scale, a weight within the grid moves by half a step at most, onto an even mantissa: to the nearest, ties to even, or in a library within float32 of it [definition of the grid; rounding of float32 as limit]."""
    y = np.asarray(subject.operator("weights_8bit")(d.w, d.scale), float)
    inside = np.abs(d.w) * d.scale <= 254
    slack = 2.0**-22 * (np.abs(d.w) + 1 / d.scale)  # of a quotient and a product in float32, each half an ulp
    moved = np.where(inside, np.abs(y - d.w) - slack, 0) * d.scale
    yield Measure("moved, in mantissas", float(moved.max()), 1.0, where="inside")
    k = np.where(inside, y, 0) * d.scale / 2
    yield Measure("off the grid", float(np.abs(k - np.rint(k)).max()), 128 * 2.0**-22, where="levels")
    if not subject.families:  # a library's float32 may take a weight beside a half for the half
        yield Measure(
            "not the nearest", differences(mapped(nearest_even, d.w, d.scale), np.rint(y * d.scale)), where="nearest"
        )


@check("operators", blocks(("dense",)))
def mantissas(d: Block, subject: Oracle) -> Iterator[Measure]:
    """A block holds trunc(threshold scale), and decays as the integer nearest to 4096 times them, ties to even [lava-dl 0.6.0, slayer/neuron/base.py and cuba.py]."""
    made, p = _block(subject, d), d.params
    yield Measure("off", abs(made["threshold"] - cut_threshold(p["threshold"], p["scale"])), where="threshold")
    for name in ("current_decay", "voltage_decay"):
        yield Measure("off", abs(made[name] - nearest_decay(p[name])), where=name)
    assert d.weight is not None
    exact = mapped(nearest_even, d.weight, p["scale"])
    over = d.weight * p["scale"] > 254
    got = np.asarray(made["weight"]).reshape(exact.shape)
    yield Measure("values differ", differences(exact[~over], got[~over]), where="weight")
    yield Measure("values differ", differences(exact[over], got[over]), where="weight above")


def _block(subject: Oracle, d: Block) -> dict[str, Any]:
    made: dict[str, Any] = subject.operator("block")(d.kind, d.params, d.weight, d.x)
    return made


def _shifted(s: Array, steps: int) -> Array:
    return np.concatenate([np.zeros_like(s[:steps]), s[: max(len(s) - steps, 0)]])


def _agrees(d: Block, subject: Oracle, where: str) -> Iterator[Measure]:
    """Measures of one block against its integers by hand and the reference; weights above the grid are a law of their own."""
    assert d.weight is None or d.weight.size
    inside = d if d.weight is None else replace(d, weight=np.minimum(d.weight, 254 / d.params["scale"]))
    made = _block(subject, inside)
    spikes, current, voltage = expected(inside)
    shift = int(d.params["delay_shift"])
    for name, exact in (("spikes", _shifted(spikes, shift)), ("current", current), ("voltage", voltage)):
        yield Measure(f"{name} differ", differences(exact, made[name]), where=where)


@check("operators", blocks(("dense", "conv")))
def dynamics(d: Block, subject: Oracle) -> Iterator[Measure]:
    """A block is its quantised weights, threshold and decays, then Loihi's recurrence: spikes, current and potential bit for bit [lava-dl 0.6.0, slayer/block/cuba.py; Cuba's docstring]."""
    yield from _agrees(d, subject, d.kind)


@check("operators", blocks(("pool",)))
def sum_pooling(d: Block, subject: Oracle) -> Iterator[Measure]:
    """A pooling block sums its windows, channel by channel, and gives each entry the weight 1 [lava-dl 0.6.0, slayer/synapse/layer.py]."""
    yield from _agrees(d, subject, f"pool{_off_grid(d)}")


def _off_grid(d: Block) -> str:
    """Words for a scale whose 8-bit grid has no 1, the weight of a pooling."""
    scale = d.params["scale"]
    return "" if nearest_even(1.0, scale) == scale else ", 1 off the grid"


GEOMETRIES = [
    (3, 3, 0),
    ((1, 3), (1, 3), 0),
    (2, 1, 0),
    (3, 3, 1),
    (2, 1, 1),
    ((1, 2), (2, 1), 0),
    ((2, 1), (1, 2), (1, 0)),
    ((1, 3), (2, 1), (0, 1)),
]


@check(
    "operators",
    st.tuples(blocks(("pool",)), trains((3, 2, 2, 3, 3)), st.sampled_from(GEOMETRIES)),
)
def pooling_geometry(d: tuple[Block, Array, tuple[Any, Any, Any]], subject: Oracle) -> Iterator[Measure]:
    """Windows of a pooling block that tile its input, overlap or reach over the edge sum what lies in them, of one channel alone [lava-dl 0.6.0, slayer/synapse/layer.py Pool: stride, padding]."""
    block, x, (kernel, stride, padding) = d
    geometry = {"kernel": kernel, "stride": stride, "padding": padding}
    place = "padded" if np.any(padding) else "tiling" if kernel == stride else "overlapping"
    drawn = replace(block, params=block.params | geometry, x=x)
    yield from _agrees(drawn, subject, f"{place}{_off_grid(drawn)}")


@check("operators", blocks(("dense", "conv", "pool")))
def delay_shift(d: Block, subject: Oracle) -> Iterator[Measure]:
    """With delay_shift a block hands on the same spikes, one step later, from the same currents and potentials [lava-dl 0.6.0, slayer/block/base.py step_delay]."""
    at_once, later = (_block(subject, replace(d, params=d.params | {"delay_shift": on})) for on in (False, True))
    yield Measure(
        "spikes differ", differences(_shifted(np.asarray(at_once["spikes"]), 1), later["spikes"]), where=d.kind
    )
    for name in ("current", "voltage"):
        yield Measure(f"{name} differ", differences(np.asarray(at_once[name]), later[name]), where=d.kind)


@check("operators", st.integers(1, (1 << 17) - 1))
def threshold_is_strict(m: int, subject: Oracle) -> Iterator[Measure]:
    """A potential that meets the threshold does not fire, one mantissa more does: for every threshold of 17 bits [lava-nc 0.10.0, proc/lif/models.py: v > vth]."""
    odd = m % 2  # weights are even: an odd threshold is met one mantissa below, and passed one above
    params = {"threshold": m / 64, "current_decay": 1.0, "voltage_decay": 0.0, "scale": 64, "delay_shift": False}
    x = np.array([m // 2, 1.0]).reshape(2, 1, 1)
    made = _block(subject, Block("dense", params, np.array([[2 / 64]]), x))
    got = np.asarray(made["spikes"]).ravel()
    where = "threshold of 64 and more" if m >= 4096 else "threshold below 64"
    yield Measure("fires at the threshold or below", float(got[0]), where=where)
    yield Measure("silent above it", 1.0 - float(got[1]), where=where, detail=f"mantissa {m}, passed by {2 - odd}")


@check(
    "operators",
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)).flatmap(lambda s: trains((3, 2, *s))),
)
def flatten_order(x: Array, subject: Oracle) -> Iterator[Measure]:
    """Flatten numbers entry (c, y, w) of [C, H, W] as (c H + y) W + w [C order; the recorded pilotnet_lif of the lava-dl 0.6.0 wheel]."""
    y = np.asarray(subject.operator("block")("flatten", {}, None, x)["spikes"])
    T, N, C, H, W = x.shape
    exact = np.zeros((T, N, C * H * W))
    for c, h, w in np.ndindex(C, H, W):
        exact[:, :, (c * H + h) * W + w] = x[:, :, c, h, w]
    yield Measure("values differ", differences(exact, y), where="flatten")


@check("operators", st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 4])).flatmap(lambda s: st.tuples(st.just(s[0]), trains((3, 2, s[0] * s[1])))))  # fmt: skip
def group_average(d: tuple[int, Array], subject: Oracle) -> Iterator[Measure]:
    """An average block hands on the mean of groups of neighbouring inputs [lava-dl 0.6.0, slayer/block/base.py AbstractAverage]."""
    groups, x = d
    y = np.asarray(subject.operator("block")("average", {"num_outputs": groups}, None, x)["spikes"])
    size = x.shape[2] // groups
    exact = np.stack([x[:, :, g * size : (g + 1) * size].sum(2) / size for g in range(groups)], axis=2)
    yield Measure("values differ", differences(exact, y), where="average")


@check("operators", blocks(("affine",), delay_shift=False))
def affine_readout(d: Block, subject: Oracle) -> Iterator[Measure]:
    """An affine block tells its potential and never resets it, however far it goes within 24 bits [lava-dl 0.6.0, slayer/block/base.py AbstractAffine]."""
    made = _block(subject, d)
    network, act = by_hand(replace(d, kind="dense"))
    silent = replace(network, layers=(replace(network.output, act=replace(act, threshold=(1 << 18) - 1)),))
    trace = reference.run(Case(silent, d.x, len(d.x), "spikes", kind="integer"))
    for name in ("voltage", "spikes"):
        yield Measure(f"{name} differ", differences(trace.v["y"], made[name]), where="affine")


@check("operators", st.tuples(NEURONS, st.sampled_from([64, 64, 16, 128])))
def neuron(d: tuple[Neuron, int], subject: Oracle) -> Iterator[Measure]:
    """IF and LIF become CUBA without a filter of the current: threshold trunc(theta scale), voltage decay 4096 / tau [SpikingJelly 0.0.0.0.14, lava_exchange.to_lava_neuron_param_dict]."""
    act, scale = d
    made = subject.operator("lava_cuba")(act, scale)
    assert isinstance(made, Cuba)
    yield Measure("off", float(made.threshold != cut_threshold(float(act.theta), scale)), where="threshold")
    yield Measure("off", float(made.current_decay != 4096), where="current_decay")
    yield Measure("off", float(made.voltage_decay != nearest_decay(1 - act.leak)), where="voltage_decay")


def _fires_alike(d: Chained, subject: Oracle) -> Iterator[Measure]:
    """The converted network by the reference against the source, with > for >=, by the reference in fractions.

    With a delay every layer of neurons fires as without, that many steps after the one before it.
    """
    T, late = len(d.x), 0 if subject.families else d.delay  # a library's converter makes blocks without delay alone
    made = subject.operator("lava_blocks")(d.network, d.scale, **({"delay": late} if late else {}))
    source = reference.run(Case(strict(d.network), d.x, T, "spikes"))
    target = reference.run(Case(made, d.x, T, "spikes", kind="integer"))
    pairs = [(v.name, w.name) for v, w in zip(d.network.spiking, made.spiking, strict=False)]
    yield Measure("layers lost", float(len(d.network.spiking) != len(made.spiking)), where="layers")
    for depth, (name, other) in enumerate(pairs, 1):
        fired = _shifted(source.spikes[name], late * depth)
        yield Measure("spikes differ", differences(fired, target.spikes[other]), where=name)


@check("operators", sequential(pooling=False))
def conversion(d: Chained, subject: Oracle) -> Iterator[Measure]:
    """A chain of conv, flatten and dense with IF or LIF neurons fires in Loihi's integers as in exact arithmetic; where the potential meets the threshold Loihi stays silent [definition of >; exact where the leak keeps to the grid]."""
    yield from _fires_alike(d, subject)


@check("operators", sequential(pooling=True) | pools())
def conversion_pooling(d: Chained, subject: Oracle) -> Iterator[Measure]:
    """Pooling becomes a sum and a weight that lose nothing, as does a factor before its neurons: w k v > w k theta is v > theta, and f v > theta is v > theta / f [arithmetic]."""
    yield from _fires_alike(d, subject)


def _refused(call: Callable[[], Any], where: str, words: tuple[str, ...]) -> Iterator[Measure]:
    try:
        call()
    except (OracleDied, Unavailable):
        raise
    except Exception as e:
        yield Measure("does not name it", float(not any(w in str(e) for w in words)), where=where, detail=str(e)[:200])
        return
    yield Measure("taken without a word", 1.0, where=where)


@check("operators", st.sampled_from(sorted(FOREIGN)))
def refused_neurons(axis: str, subject: Oracle) -> Iterator[Measure]:
    """A neuron that Loihi does not have is refused by the name of its field [Neuron's and Cuba's docstrings]."""
    act, words = FOREIGN[axis]
    convert = subject.operator("lava_cuba")
    yield from _refused(lambda: convert(act, 64), axis, words)


@check("operators", st.sampled_from(sorted(HELD_NOT)))
def refused_layers(what: str, subject: Oracle) -> Iterator[Measure]:
    """A layer that no block holds is refused by name: a bias, pooling of another kind, a layer without neurons [lava-dl 0.6.0, slayer/block/base.py]."""
    network, words = HELD_NOT[what]
    convert = subject.operator("lava_blocks")
    yield from _refused(lambda: convert(network, 64), what, words)


@check("operators", synapses())
def synapse(d: Chained, subject: Oracle) -> Iterator[Measure]:
    """A synapse alone is the linear map that it comes from, average pooling its sum [lava-dl 0.6.0, slayer/synapse/layer.py]."""
    op = d.network.output.branches[0].op
    y = np.asarray(subject.operator("lava_synapse")(op, d.x))
    linear = replace(op, kind="sum") if isinstance(op, Pool) else op
    network = replace(d.network, layers=(Layer("y", (Branch(linear),)),))
    exact = reference.forward(network, d.x.reshape(-1, *d.x.shape[2:]))["y"]
    yield Measure(
        "values differ", differences(exact.reshape(*d.x.shape[:2], *exact.shape[1:]), y), where=type(op).__name__
    )


@check("operators", hnp.array_shapes(min_dims=3, max_dims=5, max_side=3).flatmap(lambda s: dyadic(s)))
def axes(x: Array, subject: Oracle) -> Iterator[Measure]:
    """[T, N, *] and [N, *, T] hold the same values: y[n, ..., t] = x[t, n, ...], and back [SpikingJelly 0.0.0.0.14, lava_exchange.TNX_to_NXT]."""
    nxt = np.asarray(subject.operator("to_nxt")(x))
    yield Measure("values differ", _moved(x, nxt), where="to_nxt")
    yield Measure("values differ", _moved(np.asarray(subject.operator("to_tnx")(x)), x), where="to_tnx")


def _moved(tnx: Array, nxt: Array) -> float:
    if nxt.shape != (*tnx.shape[1:], tnx.shape[0]):
        return float(max(tnx.size, 1))
    return float(sum(nxt[(*i[1:], i[0])] != tnx[i] for i in np.ndindex(tnx.shape)))


@check("operators", SYNAPSES)
def synaptic_weights(d: tuple[Array, int, str], subject: Oracle) -> Iterator[Measure]:
    """A synapse multiplies with the weight cut to 8 bits by its sign mode, its least significant bits cleared [lava-nc 0.10.0, utils/weightutils.py clip_weights, truncate_weights]."""
    w, bits, mode = d
    kept = subject.operator("loihi_weights")
    exact = np.array([kept_by_hand(v, bits, mode) for v in w.tolist()])
    yield Measure("weights differ", differences(exact, kept(w.astype(np.int64), bits, mode)), where=mode)
    shown = "excitatory" if w.min() >= 0 else "inhibitory" if w.max() <= 0 else "mixed"
    exact = np.array([kept_by_hand(v, bits, shown) for v in w.tolist()])
    yield Measure(
        "weights differ", differences(exact, kept(w.astype(np.int64), bits, None)), where="sign mode by itself"
    )


@check("operators", MATRICES)
def optimised_weights(d: tuple[str, Array], subject: Oracle) -> Iterator[Measure]:
    """Optimised weights are the given ones: what the synapse keeps of them, times 2^exponent, in 8 bits at most [lava-dl 0.6.0, netx/utils.py optimize_weight_bits: its purpose]."""
    kind, w = d
    w = {"mixed": w, "positive": np.abs(w), "negative": -np.abs(w), "zero": 0 * w}[kind]
    optimize = subject.operator("optimize_weights")
    try:
        shifted, bits, exponent, mode = optimize(w.reshape(2, 3))
    except Unsupported as e:  # 8 bits hold every one of these
        yield Measure("refused", 1.0, where=kind, detail=str(e))
        return
    kept = [
        Fraction(kept_by_hand(v, bits, mode)) * Fraction(2) ** exponent for v in np.asarray(shifted).ravel().tolist()
    ]
    yield Measure("weights differ", float(sum(a != b for a, b in zip(kept, w.tolist(), strict=True))), where=kind)
    yield Measure("bits", float(bits), 8.0, where=kind)
    yield Measure("exponent", float(abs(exponent)), 7.0, where=kind)
