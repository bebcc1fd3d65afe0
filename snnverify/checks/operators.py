"""Operators that any library may offer: QCFS, quantisers, encoders, surrogate gradients. One law for all of a kind.

An operator is asked by its name's beginning (``quantize_``, ``encode_``, ``gradient_``); the measure names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import ClipFloor
from ..content import Array, Content
from ..errors import OracleDied, Unsupported
from ..findings import Measure
from ..network import INPUT, Branch, Dense, Layer, Network, Scale
from ..oracles import Oracle
from ..strategies import dyadic
from . import check
from .common import differences


def _of(subject: Oracle, kind: str) -> list[tuple[str, Callable[..., Any]]]:
    """Operators of a kind, by name; `Unsupported` where the subject has none."""
    found = [(name, subject.operator(name)) for name in sorted(subject.operators) if name.startswith(kind)]
    if not found:
        raise Unsupported(subject.name, f"it has no operator {kind}*")
    return found


@dataclass(frozen=True, eq=False)
class Values(Content):
    """Inputs of one operator, [N, C], with its levels and threshold."""

    x: Array
    levels: int
    theta: float


VALUES = st.builds(Values, dyadic((3, 4), -16, 24), st.sampled_from([1, 2, 4, 8]), st.sampled_from([0.5, 1.0, 2.0]))


@check("operators", VALUES)
def qcfs(d: Values, subject: Oracle) -> Iterator[Measure]:
    """QCFS is theta / L clip(floor(x L / theta + 1/2), 0, L): ties at half a level go up [Bu et al., ICLR 2022]."""
    y = subject.operator("qcfs")(d.x, d.levels, d.theta)
    network = Network((4,), (Layer("y", (Branch(Scale()),), ClipFloor(d.levels, d.theta)),))
    yield Measure("values differ", differences(np.asarray(y), reference.forward(network, d.x)["y"]), where="qcfs")


@dataclass(frozen=True, eq=False)
class Chain(Content):
    """Weights [out, in] of a chain, its inputs [N, in], levels, and a threshold for each of its activations."""

    weights: tuple[Array, ...]
    x: Array
    levels: int
    thetas: tuple[float, ...]


CHAINS: Any = st.integers(2, 3).flatmap(
    lambda depth: st.builds(
        Chain,
        st.tuples(*[dyadic((3, 3))] * depth),
        dyadic((4, 3), -16, 24),
        st.sampled_from([1, 2, 4, 8]),
        st.permutations([0.5, 1.0, 2.0]).map(lambda thetas: tuple(thetas[:depth])),
    )
)


@check("operators", CHAINS)
def relus_replaced(d: Chain, subject: Oracle) -> Iterator[Measure]:
    """Each ReLU of a model gives way to a QCFS with a threshold of its own, also where one ReLU module stands in many places [Bu et al., ICLR 2022: the threshold of layer l is lambda^l]."""
    y = subject.operator("replaced_relus")(d.weights, d.x, d.levels, d.thetas)
    names = [INPUT, *(f"layer{i}" for i in range(len(d.weights)))]
    layers = [Layer(name, (Branch(Dense(w), source),), ClipFloor(d.levels, theta))
              for source, name, w, theta in zip(names, names[1:], d.weights, d.thetas, strict=False)]  # fmt: skip
    exact = reference.forward(Network((3,), tuple(layers)), d.x)
    yield Measure("values differ", differences(np.asarray(y), exact[names[-1]]), where="replaced_relus")


@check("operators", VALUES)
def quantisers(d: Values, subject: Oracle) -> Iterator[Measure]:
    """A quantiser is idempotent, never falls where its input rises, maps zero to zero and finite to finite [definition of a quantiser]."""
    x = np.sort(np.abs(d.x).ravel()) / 4  # within [0, 1], which every quantiser takes
    for name, quantize in _of(subject, "quantize_"):
        y = np.asarray(quantize(x))
        yield Measure("values that are not finite", float((~np.isfinite(y)).sum()), where=name)
        yield Measure("second pass differs", differences(np.asarray(quantize(y)), y), where=name)
        yield Measure("falls", float(np.maximum(-np.diff(y), 0).max()), where=name)
        yield Measure("one vanishes", float(not np.any(quantize(np.ones(3)))), where=name)
        yield Measure("zero moves", float(np.abs(quantize(np.zeros(3))).max()), where=name)


@dataclass(frozen=True, eq=False)
class Rates(Content):
    """Rates [N, C] to encode over T steps from a seed."""

    x: Array
    steps: int
    seed: int


RATES = st.builds(Rates, dyadic((2, 3), 0, 8), st.sampled_from([8, 64, 4096]), st.integers(0, 2**31 - 1))
FALSE_ALARM = 1e-9  # of one Hoeffding bound; some 10^4 are tried in a run of all suites


@check("operators", RATES)
def encoders(d: Rates, subject: Oracle) -> Iterator[Measure]:
    """An encoder gives a binary train, the same from the same seed; over T steps rates have their mean, and latencies one spike, the earlier the stronger [Hoeffding 1963; definitions]."""
    for name, encode in _of(subject, "encode_"):
        try:
            s = np.asarray(encode(d.x, d.steps, d.seed))
        except OracleDied:
            raise
        except Exception as e:  # one that fails must not hide the others
            yield Measure("raised", 1.0, where=name, detail=str(e))
            continue
        yield Measure("entries that are not 0 or 1", float((~np.isin(s, (0, 1))).sum()), where=name)
        yield Measure("another train from the same seed", differences(encode(d.x, d.steps, d.seed), s), where=name)
        if not any(kind in name for kind in ("latency", "poisson", "rate")):
            continue  # phases and populations have axes of their own
        shaped = s.shape == (d.steps, *d.x.shape)
        yield Measure("shape is not [T, N, C]", float(not shaped), where=name, detail=str(s.shape))
        if shaped and "latency" in name:
            yield Measure("spikes beside the one", float(np.abs(s.sum(0) - 1).max()), where=name)
            order = np.argsort(d.x.ravel(), kind="stable")
            yield Measure("stronger fires later", float(max(np.diff(s.argmax(0).ravel()[order]).max(), 0)), where=name)
        elif shaped:
            apart = float(np.abs(s.mean(0) - d.x).max())
            yield Measure("rate off", apart, math.sqrt(math.log(2 / FALSE_ALARM) / (2 * d.steps)), where=name)


@check("operators", dyadic((16,), -32, 32))
def gradients(x: Array, subject: Oracle) -> Iterator[Measure]:
    """A surrogate gradient is finite everywhere and positive at the threshold, or nothing is learned [Neftci et al. 2019]."""
    for name, gradient in _of(subject, "gradient_"):
        try:
            g = np.asarray(gradient(np.concatenate([x, [0.0, -0.0]])), float)
        except Unsupported:
            continue
        except OracleDied:
            raise
        except Exception as e:  # one that cannot be differentiated must not hide the others
            yield Measure("raised", 1.0, where=name, detail=str(e))
            continue
        yield Measure("values that are not finite", float((~np.isfinite(g)).sum()), where=name)
        yield Measure("not positive at the threshold", float(np.maximum(-g[-2:], 0).max() + (g[-2] == 0)), where=name)


@check("operators", dyadic((16,), -31, 31))
def gradient_of_primitive(x: Array, subject: Oracle) -> Iterator[Measure]:
    """Where a surrogate names its primitive, the gradient is its derivative [central difference, error h^2 f'''/6 as the second difference of g shows it]."""
    x, h = x + 1 / 32, 2.0**-9  # off the grid, where the kinks of piecewise functions lie
    for name, primitive in _of(subject, "primitive_"):
        gradient = subject.operator(name.replace("primitive_", "gradient_"))
        try:
            slope = (np.asarray(primitive(x + h)) - np.asarray(primitive(x - h))) / (2 * h)
            low, middle, high = (np.asarray(gradient(p), float) for p in (x - h, x, x + h))
        except Unsupported:
            continue
        except OracleDied:
            raise
        except Exception as e:
            yield Measure("raised", 1.0, where=name, detail=str(e))
            continue
        # twice the estimate of the remainder, and float32 or float64 values whose rounding the quotient divides by h
        limit = np.abs(high - 2 * middle + low) / 3 + 2.0**-24 * (1 + np.abs(slope)) / h
        off = np.abs(slope - middle) - limit
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        yield Measure("derivative off", float(off[worst] + limit[worst]), float(limit[worst]), where=name)
