"""The designed grid of Loihi's integer networks: what recordings of the chip do not discriminate, one guard a case.

Weights come from the integer sequence of `grid.eighths`, on the grid of 8 bits: even where the signs are mixed. Inputs are
binary trains that make potentials meet thresholds; every case is one that the chip's own processes can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ..activation import Cuba, SigmaDelta
from ..content import Array
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape
from ..trace import Case
from .grid import Design, eighths

STEPS = 16


def _even(salt: int, shape: Shape, size: int = 12) -> Array:
    """Even numbers from ``-2 size`` to ``2 size``."""
    return (16 * eighths(salt, shape, -size, size)).astype(np.int64)


def _train(salt: int, *shape: int) -> Array:
    """Binary trains of two samples."""
    return (eighths(salt, (STEPS, 2, *shape), 0, 3) > 0.125).astype(float)


def _layer(name: str, op: Op, act: Any = None, source: str = INPUT) -> Layer:
    return Layer(name, (Branch(op, source),), act)


def _chain(*parts: tuple[str, Op, Any]) -> tuple[Layer, ...]:
    sources = (INPUT, *(name for name, _, _ in parts))
    return tuple(_layer(name, op, act, source) for (name, op, act), source in zip(parts, sources, strict=False))


def _abreast(op: Op, acts: Mapping[str, Any]) -> tuple[Layer, ...]:
    """One layer for each activation, all on the input."""
    return tuple(_layer(name, op, act) for name, act in acts.items())


def _by_bias(threshold: int) -> Cuba:
    return Cuba(threshold, 4096, 128, drive="bias", delay=0)


def _two(first: Cuba, second: Cuba, size: int = 12) -> tuple[Layer, ...]:
    return _chain(("hidden", Dense(_even(1, (6, 5), size)), first), ("out", Dense(_even(2, (4, 6), size)), second))


FIVE, IMAGE = _train(3, 5), _train(4, 2, 6, 5)
SPREAD = np.array([[1, 2, -3, 5, -7], [127, -127, 63, -1, 64], [3, 0, 0, -5, 1]])  # odd: doubled they fit 8 bits
EDGES = ((0, 0), (0, 4096), (1, 1), (1, 4095), (4095, 1), (4095, 4095), (4096, 0), (4096, 4096))  # of u and v
_DECAYS = {f"u{u}v{v}": Cuba(3, u, v) for u, v in EDGES}
_EXPONENTS = {f"e{e}": Cuba(2 if e < 0 else 150, 2048, 4096, weight_exponent=e) for e in range(-8, 8)}
_MESSAGES: Mapping[str, Any] = {"spike_exponent": 2, "state_exponent": 3}
ENCODED = np.cumsum(8 * eighths(21, (STEPS, 2, 4), -2, 3), 0).round()

# name -> layers, input, what a bug would be
CASES: Mapping[str, tuple[tuple[Layer, ...], Array, str]] = {
    "cuba-if_dense": (_two(Cuba(8), Cuba(4)), FIVE, "firing at the threshold itself"),
    "cuba-lif_dense": (_two(Cuba(11, 1024, 128), Cuba(5, 3000, 400)), FIVE, "rounding down and not toward zero"),
    "cuba-decays_units": (_abreast(Dense(_even(5, (3, 5))), _DECAYS), FIVE,
                          "a decay of 0, 1, 4095 or 4096 that is off by one"),
    "cuba-exponents_units": (_abreast(Dense(SPREAD), _EXPONENTS), FIVE,
                             "a weight exponent that acts on each weight, or rounds toward zero"),
    "cuba-thresholds_units": (
        _abreast(Dense(_even(6, (3, 5))), {"zero": Cuba(0), "full": Cuba(131071, 0, 0, weight_exponent=7, overflow="wrap")}),
        FIVE, "a threshold of 0 or of 17 bits that is taken for another"),
    "cuba-odd_units": (
        (_layer("mixed", Dense(SPREAD), Cuba(60, 2048)), _layer("up", Dense(np.array([[255, 1, 3, 0, 77]])), Cuba(200)),
         _layer("down", Dense(np.array([[-255, -1, -3, 0, -77]])), Cuba(9, bias=120))),
        FIVE, "odd weights that are cut to even ones"),
    "cuba-bias_dense": (_two(Cuba(30, 1024, 128, bias=np.array([5, -3, 0, 9, 20, -31])), Cuba(20, bias=7)), FIVE,
                        "a bias that passes through the current"),
    "cuba-bias-exponents_units": (
        _abreast(Dense(_even(7, (3, 5))), {f"b{e}": Cuba(90, 2048, 300, 25, bias_exponent=e) for e in (0, 1, 3, 5, 7)}),
        FIVE, "a bias exponent that is taken for 6"),
    "cuba-kept-current_dense": (_two(Cuba(3, 1), Cuba(8, 40)), FIVE, "a spike that clears the current as well"),
    "cuba-wrap_units": (
        _abreast(Dense(np.array([[254, 254, 254, 254, 254], [-256, -256, -256, -256, -256], [254, -256, 254, 254, -256]])),
                 {"held": Cuba(131071, 0, 0, weight_exponent=7, overflow="wrap"),
                  "led": Cuba(100000, 1, 1, weight_exponent=7, overflow="wrap")}),
        FIVE, "24 bits of the current that saturate, or of the potential that wrap"),
    "cuba-clip_units": (
        _abreast(Dense(_even(8, (2, 5))), {"up": Cuba(131071, bias=30000, overflow="wrap"),
                                           "down": Cuba(5, bias=-30000, overflow="wrap")}),
        FIVE, "a potential that leaves 24 bits"),
    "cuba-refractory_units": (
        _abreast(Dense(_even(9, (3, 5), 30)), {f"r{r}": Cuba(10, bias=4, refractory=r) for r in (2, 3, 5)}), FIVE,
        "a refractory delay that is off by one or holds the current"),
    "cuba-reset_dense": (
        _two(Cuba(9, 500, 30, reset_interval=5, reset_offset=1), Cuba(7, 500, 30, reset_interval=5, reset_offset=2)), FIVE,
        "a periodic reset that is a step early or late"),
    "cuba-recurrent_dense": (
        _two(Cuba(9, 1024, 128, recurrent=_even(10, (6, 6), 8)), Cuba(6)), FIVE, "recurrent spikes of the same step"),
    "cuba-axons_dense": (_two(Cuba(6, 2048, axon_delay=np.array([0, 1, 2, 3, 5, 9])), Cuba(5, 2048)), FIVE,
                         "axonal delays of the receiving and not of the sending neuron"),
    "cuba_conv": (
        _chain(("conv", Conv(_even(11, (4, 2, 3, 2)), None, (2, 1), ((1, 1), (0, 0))), Cuba(14, 2048, 200)),
               ("grouped", Conv(_even(12, (4, 2, 2, 2)), None, (1, 1), ((0, 0), (1, 1)), (1, 2), groups=2), Cuba(8, 3000))),
        IMAGE, "a kernel that is flipped or transposed, axes that are swapped"),
    "cuba_flat": (
        _chain(("conv", Conv(_even(13, (3, 2, 2, 2))), Cuba(10, 2048)), ("flat", Flatten(), None),
               ("out", Dense(_even(14, (3, 60), 6)), Cuba(12, 3000, 100))),
        IMAGE, "flattening in another order"),
    "cuba_pooled": (
        _chain(("conv", Conv(_even(15, (2, 2, 2, 2))), Cuba(4)), ("pool.sum", Pool("sum", (2, 2)), None),
               ("pool", Scale(20.0), Cuba(30, 2048)), ("flat", Flatten(), None), ("out", Dense(_even(16, (3, 8))), Cuba(9))),
        IMAGE, "sum pooling that averages"),
    "cuba-affine_input": (
        _chain(("input0", Scale(36.0, 34.0), _by_bias(700)), ("out", Dense(_even(17, (4, 3))), Cuba(6, 2048))),
        eighths(18, (STEPS, 2, 3), -4, 16).round(), "an input that enters the current"),
    "cuba-fraction_input": (
        _chain(("input0", Scale(1.0), _by_bias(20)), ("out", Dense(_even(17, (4, 3))), Cuba(6, 2048))),
        eighths(19, (STEPS, 2, 3), -90, 200), "a bias mantissa with binary places that is cut to an integer"),
    "sdnn_dense": (
        _chain(("encoder", Scale(1.0), SigmaDelta(2, role="delta", delay=0)),
               ("hidden", Dense(_even(22, (5, 4))), SigmaDelta(3, np.array([3, -2, 0, 7, -9]))),
               ("decoder", Dense(_even(23, (3, 5), 6)), SigmaDelta(role="sigma"))),
        ENCODED, "a change below the threshold that is lost, or one at it that is kept"),
    "sdnn-cumulative_dense": (
        _chain(("encoder", Scale(1.0), SigmaDelta(3, role="delta", delay=0, cum_error=True, **_MESSAGES)),
               ("hidden", Dense(_even(24, (5, 4))), SigmaDelta(40, 5, cum_error=True, **_MESSAGES))),
        ENCODED, "an accumulated error that is not cleared when something is sent"),
    "sdnn-unit_dense": (
        _chain(("encoder", Scale(1.0), SigmaDelta(1, role="delta", delay=0, **_MESSAGES)),
               ("hidden", Dense(_even(25, (5, 4))), SigmaDelta(10, -6, activation="unit", **_MESSAGES))),
        ENCODED, "negative changes that are rounded toward zero, or an activation that is rectified"),
}  # fmt: skip


@cache
def loihi_grid() -> dict[str, Design]:
    """Every case by name."""
    found = {}
    for name, (layers, x, guards) in CASES.items():
        network = Network(x.shape[2:], layers)
        found[name] = Design(Case(network, x, STEPS, "spikes", kind="integer"), guards)
    return found
