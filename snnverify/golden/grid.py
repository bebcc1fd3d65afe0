"""The designed grid: semantics of neurons x shapes of networks, on inputs that meet their thresholds on purpose.

Everything is a table; weights and inputs are ``k / 8`` from an integer sequence, so that no version of a random
generator has a say and every intermediate is representable in the dtype of the case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from ..activation import Neuron, Relu
from ..content import Array
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape
from ..trace import Case, Encoding, Float


@dataclass(frozen=True)
class Design:
    """A case of the grid, and the class of bugs that it guards against."""

    case: Case
    guards: str


@dataclass(frozen=True)
class Form:
    """Layers, ``Relu`` where a neuron of the semantics goes, and a stimulus."""

    layers: tuple[Layer, ...]
    x: Array
    guards: str
    encoding: Encoding = "constant"
    dtype: Float = "float32"


@dataclass(frozen=True)
class Semantics:
    """Axes of a `Neuron` that are not at their default, and the forms that it is tried on."""

    axes: Mapping[str, Any]
    forms: str
    guards: str
    dtype: Float = "float32"


STEPS = 8


def eighths(salt: int, shape: Shape, low: int = -3, high: int = 6) -> Array:
    """Multiples of 1/8 in [low, high] / 8: the high bits of a multiplicative sequence (Knuth 1998, 6.4)."""
    i = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(97 * salt + 1)
    k = (i * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(8)
    return (low + (k % np.uint64(high - low + 1)).astype(np.int64)).reshape(shape) / 8.0


def _spiking(name: str, op: Op, source: str = INPUT, *skip: Branch) -> Layer:
    return Layer(name, (Branch(op, source), *skip), Relu())


def _analog(name: str, op: Op, source: str) -> Layer:
    return Layer(name, (Branch(op, source),))


IMAGE = eighths(5, (3, 2, 5, 5), 0, 8)
TRAIN = (eighths(7, (STEPS, 3, 4), 0, 8) > 0.5).astype(float)  # 0 or 1
SWEEP = np.arange(-3, 17).reshape(20, 1) / 8.0  # constant inputs around every threshold of the table

FORMS: Mapping[str, Form] = {
    "unit": Form((_spiking("unit", Scale(1.0)),), SWEEP, "a potential that only just meets the threshold"),
    "train": Form(
        (_spiking("hidden", Dense(eighths(1, (4, 4), -2, 7), eighths(2, (4,), 0, 2))),
         _spiking("out", Dense(eighths(3, (3, 4), -2, 8)), "hidden")),
        TRAIN, "steps of an input train that are taken in another order or one step late", "spikes"),
    "graded": Form(
        (_spiking("hidden", Scale(1.0)),),
        eighths(9, (STEPS, 6, 3), -2, 7) * 2, "graded and negative inputs that are taken for spikes", "spikes", "float64"),
    "deep": Form(
        (_spiking("first", Dense(eighths(10, (5, 4)), eighths(11, (5,), -2, 2))),
         _spiking("second", Dense(eighths(12, (4, 5))), "first"),
         _spiking("third", Dense(eighths(13, (3, 4), -2, 6)), "second")),
        eighths(14, (3, 4), 0, 8), "a layer that sees the spikes of another step than its source's", dtype="float64"),
    "conv": Form(
        (_spiking("conv", Conv(eighths(15, (2, 2, 3, 3), -3, 4), eighths(16, (2,), -1, 2), padding=((1, 1), (1, 1)))),),
        IMAGE, "a kernel that is flipped or transposed"),
    "strided": Form(
        (_spiking("conv", Conv(eighths(17, (4, 2, 2, 2)), stride=(2, 1), padding=((1, 0), (0, 1)), dilation=(1, 2))),
         _spiking("grouped", Conv(eighths(18, (4, 2, 2, 2), -4, 6), groups=2), "conv")),
        IMAGE, "axes swapped in stride, one-sided padding, dilation or groups", dtype="float64"),
    "conv1d": Form(
        (_spiking("conv", Conv(eighths(19, (3, 2, 2), -2, 6), stride=(2,))),
         _spiking("turned", Conv(eighths(20, (3, 2, 2), -2, 6), stride=(2,), transposed=True,
                                   output_padding=(1,)), "conv")),
        eighths(21, (3, 2, 6), 0, 8), "a transposed convolution with channels swapped, or padded at the wrong end"),
    "pooled": Form(
        (_spiking("conv", Conv(eighths(22, (2, 2, 2, 2)))),
         _analog("pool", Pool("average", (2, 2), padding=(1, 1), count_include_pad=False), "conv"),
         _analog("flat", Flatten(), "pool"),
         _spiking("out", Dense(eighths(23, (3, 18), -4, 5)), "flat")),
        IMAGE, "average pooling that spikes or counts its padding, and flattening in another order"),
    "summed": Form(
        (_spiking("conv", Conv(eighths(24, (2, 2, 2, 2)))),
         _spiking("pool", Pool("sum", (2, 2), (1, 1)), "conv")),
        IMAGE, "overlapping windows whose sum is divided by their size"),
    "residual": Form(
        (_spiking("first", Dense(eighths(25, (4, 4)))),
         _spiking("second", Dense(eighths(26, (4, 4))), "first", Branch(Scale(0.5), "first"), Branch(Scale(0.25)))),
        eighths(27, (3, 4), 0, 8), "a skip that is dropped, added after the activation, or added with factor 1"),
    "readout": Form(
        (_spiking("hidden", Dense(eighths(28, (5, 4)))),
         _analog("out", Dense(eighths(29, (3, 5)), eighths(30, (3,), -2, 2)), "hidden")),
        eighths(31, (3, 4), 0, 8), "a read-out whose bias is added once and not in each step"),
}  # fmt: skip

HARD = {"reset": "value"}
GT = {"fires": ">"}
LATE = {**GT, "reset_delay": 1}
SCALED = {"leak": 0.5, "input_scaled": True}
CURRENT = {"leak": 0.75, "syn_decay": 0.5}

SEMANTICS: Mapping[str, Semantics] = {
    # IF and LIF that fire at the threshold
    "if-soft": Semantics({}, "unit train deep strided conv1d pooled summed residual readout",
                         "a soft reset that loses the surplus"),
    "if-hard": Semantics(HARD, "unit train strided residual", "a hard reset that keeps the surplus"),
    "if-soft-half": Semantics({"v_init": 0.5}, "unit", "an initial potential that is dropped"),
    "if-hard-below": Semantics({**HARD, "v_reset": -0.5}, "unit", "a hard reset to 0 whatever v_reset says"),
    "if-soft-low": Semantics({"theta": 0.625}, "unit", "a threshold of 1 whatever theta says"),
    "if-many": Semantics({"max_spikes": None}, "unit graded pooled", "several spikes in a step cut to one"),
    "if-floor": Semantics({"v_floor": 0.0}, "unit graded", "a lower bound of 0 that is taken for none"),
    "if-many-floor": Semantics({"max_spikes": None, "v_floor": -1.0}, "graded strided",
                               "a lower bound that acts after the spikes"),
    "lif-soft": Semantics({"leak": 0.5}, "unit conv", "a leak that acts on the input as well"),
    "lif-soft-floor": Semantics({"leak": 0.5, "v_floor": 0.0}, "graded", "a lower bound of 0 that is taken for none"),
    "lif-hard": Semantics({**HARD, "leak": 0.5}, "unit pooled", "a soft reset where a hard one was asked for"),
    "lif-soft-scaled": Semantics({**SCALED, "theta": 0.5}, "unit residual", "an input not multiplied by 1 - leak"),
    "lif-hard-scaled": Semantics({**HARD, **SCALED, "theta": 0.5}, "unit deep", "an input not multiplied by 1 - leak"),
    "lif-hard-rest": Semantics({**HARD, **SCALED, "theta": 0.75, "v_rest": 0.25, "v_reset": 0.25}, "unit graded",
                               "a leak to 0 where the potential rests elsewhere"),
    "lif-many-scaled": Semantics({**SCALED, "theta": 0.5, "max_spikes": None}, "unit graded",
                                 "several spikes in a step cut to one"),
    "cuba-soft": Semantics(CURRENT, "unit graded deep", "a synaptic current that decays after the input is added",
                           "float64"),
    "cuba-hard": Semantics({**HARD, **CURRENT}, "train", "a hard reset that clears the synaptic current", "float64"),
    "cuba-many-add-decay": Semantics({**CURRENT, "syn_order": "add-decay", "max_spikes": None}, "unit graded",
                                     "a synaptic current that decays before the input is added", "float64"),
    # those that fire above it
    "gt-if-soft": Semantics(GT, "unit train conv pooled", "firing at the threshold itself"),
    "gt-if-hard": Semantics({**GT, **HARD}, "unit train strided pooled", "firing at the threshold itself"),
    "gt-if-soft-late": Semantics(LATE, "unit train conv readout", "a reset in the step of its spike"),
    "gt-if-hard-late": Semantics({**LATE, **HARD}, "unit residual", "a late hard reset that keeps the step's input"),
    "gt-lif-soft": Semantics({**GT, "leak": 0.5}, "unit graded", "a reset that is late by a step"),
    "gt-lif-hard": Semantics({**GT, **HARD, "leak": 0.5}, "unit graded", "a soft reset where a hard one was asked for"),
    "gt-lif-soft-late": Semantics({**LATE, "leak": 0.5}, "unit graded strided", "a late reset that leaks"),
    "gt-lif-hard-late": Semantics({**LATE, **HARD, "leak": 0.5}, "unit graded pooled",
                                  "a late hard reset that keeps the step's input"),
    "gt-lif-none": Semantics({**GT, "reset": "none", "leak": 0.5}, "unit graded", "a reset where none was asked for"),
    "gt-cuba-soft-late": Semantics({**LATE, **CURRENT}, "unit graded", "a late reset that clears the synaptic current",
                                   "float64"),
    "gt-cuba-hard-late": Semantics({**LATE, **HARD, **CURRENT}, "unit train", "a late reset of the synaptic current too",
                                   "float64"),
    "gt-lif-hard-scaled": Semantics({**GT, **HARD, **SCALED, "theta": 0.5}, "unit train deep pooled",
                                    "an input not multiplied by 1 - leak"),
    "gt-lif-soft-scaled": Semantics({**GT, **SCALED, "theta": 0.5}, "unit graded residual",
                                    "firing at the threshold itself"),
    "gt-if-hard-below": Semantics({**GT, **HARD, "v_reset": -0.5}, "unit train",
                                  "a hard reset to 0 whatever v_reset says"),
    "gt-lif-hard-rest": Semantics({**GT, **HARD, **SCALED, "theta": 0.5, "v_rest": 0.25, "v_reset": -0.5},
                                  "unit residual", "a leak to 0 where the potential rests elsewhere"),
    "gt-cuba-hard-scaled": Semantics({**GT, **HARD, **CURRENT, "input_scaled": True, "theta": 0.25},
                                     "unit train deep conv residual", "a current that acts in the step after its input",
                                     "float64"),
}  # fmt: skip


@cache
def grid() -> dict[str, Design]:
    """Return every case of the grid by name, ``<semantics>_<form>``; Loihi's integer ones are a module of their own."""
    from .grid_loihi import loihi_grid

    found = dict(loihi_grid())
    for name, semantics in SEMANTICS.items():
        act = Neuron(**semantics.axes)
        for key in semantics.forms.split():
            form = FORMS[key]
            lead = 2 if form.encoding == "spikes" else 1
            layers = tuple(replace(v, act=act if v.act is not None else None) for v in form.layers)
            dtype: Float = "float64" if "float64" in (semantics.dtype, form.dtype) else "float32"
            case = Case(Network(form.x.shape[lead:], layers), form.x, STEPS, form.encoding, dtype=dtype, kind="exact")
            found[f"{name}_{key}"] = Design(case, f"{semantics.guards}; {form.guards}")
    return found
