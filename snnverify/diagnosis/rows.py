"""Many neurons on the same units at once: how far each is from explaining the spikes that were observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..content import Array
from .evidence import Evidence

# how a value of an axis is written as a number; what is not named is a number already
CODES: Mapping[str, Mapping[Any, float]] = {
    "reset": {"subtract": 0.0, "value": 1.0, "none": 2.0},
    "order": {"leak-integrate": 0.0, "integrate-leak": 1.0},
    "syn_order": {"decay-add": 0.0, "add-decay": 1.0},
    "v_floor": {None: -np.inf},
    "max_spikes": {None: np.inf},
    "syn_decay": {None: 0.0},
    "fires": {">=": 0.0, ">": 1.0},
}
FIELDS = ("theta", "v_init", "reset", "v_reset", "reset_delay", "max_spikes", "v_floor", "leak", "v_rest",
          "input_scaled", "syn_decay", "syn_order", "delay", "order", "filtered")  # fmt: skip


class Units:
    """Units chosen from all layers, with what their neurons are in the base network."""

    def __init__(self, shown: Sequence[Evidence], chosen: Sequence[Array]) -> None:
        self.x = np.concatenate([e.x[:, c] for e, c in zip(shown, chosen, strict=True)], 1)
        self.spikes = np.concatenate([e.spikes[:, c] for e, c in zip(shown, chosen, strict=True)], 1)
        self.base = {name: np.concatenate([_column(e, name, c) for e, c in zip(shown, chosen, strict=True)])
                     for name in FIELDS}  # fmt: skip

    def loss(self, rows: Sequence[Mapping[str, Any]]) -> Array:
        """Return for each row of changed axes the sum over time of the potentials' distances from where they must lie."""
        f = {name: self.base[name][None, :] for name in FIELDS}
        for name in {n for row in rows for n in row} & set(FIELDS):
            given = np.array([[number(name, row[name]) if name in row else np.nan] for row in rows])
            f[name] = np.where(np.isnan(given), f[name], given)
        if any("syn_decay" in row for row in rows):
            given = np.array([[float(row["syn_decay"] is not None) if "syn_decay" in row else np.nan] for row in rows])
            f["filtered"] = np.where(np.isnan(given), f["filtered"], given)
        return _loss(f, self.x, self.spikes, len(rows))


def number(name: str, value: Any) -> float:
    """Value of an axis as a number."""
    coded = CODES.get(name, {})
    return coded[value] if value in coded else float(value)


def _column(e: Evidence, name: str, chosen: Array) -> Array:
    if name == "filtered":
        return np.full(len(chosen), float(e.neuron.syn_decay is not None))
    value = getattr(e.neuron, name)
    return np.full(len(chosen), number(name, value)) if np.ndim(value) == 0 else np.asarray(value, float)[chosen]


def _loss(f: Mapping[str, Array], x: Array, spikes: Array, count: int) -> Array:
    """Follow the observed spikes by the recurrence in the docstring of `Neuron`; every field is [1 or K, U]."""
    shape = (count, x.shape[1])
    theta, leak, rest, b = f["theta"], f["leak"], f["v_rest"], f["syn_decay"]
    gain = np.where(f["input_scaled"] > 0, 1 - leak, 1.0) * np.where(f["order"] > 0, leak, 1.0)
    gain = gain * np.where((f["syn_order"] > 0) & (f["filtered"] > 0), b, 1.0)
    hard, soft, late = f["reset"] == 1, f["reset"] == 0, f["reset_delay"] > 0
    v = np.broadcast_to(f["v_init"], shape).astype(float)
    i, held = np.zeros(shape), np.zeros(shape)
    before = np.zeros(shape[1:])
    total = np.zeros(shape)
    for t in range(len(x)):
        i = b * i + x[t]  # an input that decays before it acts only has a smaller gain
        acts = np.where(f["delay"] > 0, held, i)
        held = i
        v = rest + leak * (v - rest) + gain * acts
        v = np.where(late, _reset(v, before, theta, hard, soft, f["v_reset"]), v)
        v = np.maximum(v, f["v_floor"])
        s = spikes[t]
        short = np.where(s > 0, s * theta - v, 0.0)
        over = np.where(s < f["max_spikes"], v - (s + 1) * theta, 0.0)
        surplus = np.maximum(s - f["max_spikes"], 0.0) * theta
        total += np.maximum(np.maximum(short, over), 0.0) + surplus
        v = np.where(late, v, _reset(v, s, theta, hard, soft, f["v_reset"]))
        before = s
    return np.asarray((total / theta).sum(1))


def _reset(v: Array, s: Array, theta: Array, hard: Array, soft: Array, v_reset: Array) -> Array:
    return np.where(hard & (s > 0), v_reset, np.where(soft, v - s * theta, v))
