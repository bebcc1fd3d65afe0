"""The smallest set of axes which, changed, explains a trace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array, Content
from ..fingerprint.axes import OF_NEURON, REAL, moot
from .evidence import Evidence
from .rows import Units

LARGEST = 3  # axes in a set
_UNITS, _STEPS = 12, 24  # units and steps that sort the sets
_KEPT = {1: 400, 2: 60, 3: 12}  # sets that are tried on more units, by the number of real axes
_ZOOMED = {1: 60, 2: 30, 3: 12}  # and those of them that are looked into
_START = {1: 33, 2: 9, 3: 5}  # points on each real axis to start with, by the number of real axes
_ZOOM = {1: 9, 2: 5, 3: 5}
_HALVINGS, _PRUNED = 14, 5  # rounds of closing in; after the second number of them a third of the sets stay
_VAGUE = 0.02  # share of steps that a change may leave open beyond what the base network leaves open
_SMALL = 2.0**-16  # loss in thresholds that rounding may explain
SPAN: Mapping[str, tuple[float, float]] = {  # of the real axes; potentials in thresholds
    "v_init": (-1.0, 1.0), "v_reset": (-1.0, 1.0), "v_floor": (-2.0, 0.75), "v_rest": (-1.0, 1.0), "leak": (0.0, 1.0),
    "syn_decay": (0.0, 0.97),
}  # fmt: skip
KINDS: Mapping[str, tuple[Any, ...]] = {
    "fires": (">=", ">"), "reset": ("subtract", "value", "none"), "reset_delay": (0, 1), "max_spikes": (1, 2, 3, 4, 5, None),
    "order": ("leak-integrate", "integrate-leak"), "input_scaled": (False, True), "delay": (0, 1),
    "syn_order": ("decay-add", "add-decay"), "v_floor": (None,), "syn_decay": (None,),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Change(Content):
    """One axis that is not as the base network has it: ``was`` there, ``becomes`` in what was observed."""

    axis: str
    was: Any
    becomes: Any


def explain(shown: Sequence[Evidence]) -> list[tuple[Change, ...]]:
    """Return all smallest sets of changed axes (up to `LARGEST`) that explain every spike; [()] where none is needed.

    A change applies to every layer. Real values are sought where the observed spikes leave room for them, and given as
    the roundest number there. An empty list: no set does.
    """
    if not any(e.refutes().any() for e in shown):
        return [()]
    wrong = [np.argsort(-e.refutes().sum(0), kind="stable") for e in shown]
    each = max(2, _UNITS // len(shown))
    few = Units([_first(e, _STEPS) for e in shown], [w[:each] for w in wrong])
    more = Units(shown, [w[: 3 * each] for w in wrong])
    for size in range(1, LARGEST + 1):
        found = _of_size(shown, few, more, size)
        if found:
            return found
    return []


def _first(e: Evidence, steps: int) -> Evidence:
    return Evidence(e.layer, e.neuron, e.x[:steps], e.noise[:steps], e.spikes[:steps])


def _of_size(shown: Sequence[Evidence], few: Units, more: Units, size: int) -> list[tuple[Change, ...]]:
    base = shown[0].neuron
    unit = float(np.max(base.theta))
    sets = list(_sets(base, size))
    rows, owner = _grid(sets, range(len(sets)), unit)
    best = _best(rows, owner, few.loss(rows))
    plain = [r for k, (r, loss) in best.items() if not sets[k][1] and loss <= _SMALL * few.x.size]
    real = [k for k in best if sets[k][1]]
    kept = [k for n, most in _KEPT.items() for k in [k for k in real if len(sets[k][1]) == n][:most]]
    # few units may leave a wide range open: where to start is decided by more of them
    rows, owner = _grid(sets, kept, unit)
    starts = _best(rows, owner, more.loss(rows)) if rows else {}
    free = [
        (starts[k][0], sets[k][1])
        for n, most in _ZOOMED.items()
        for k in [k for k in starts if len(sets[k][1]) == n][:most]
    ]
    found: dict[frozenset[str], dict[str, Any]] = {}
    for row in [*plain, *_zoomed(more, free, unit)]:
        rounded = _roundest(shown, row, [a for a in row if a in REAL and row[a] is not None])
        if rounded is not None:
            found.setdefault(frozenset(row), rounded)
    return [tuple(Change(a, _was(base, a), row[a]) for a in OF_NEURON if a in row) for row in found.values()]


def _grid(
    sets: Sequence[tuple[dict[str, Any], tuple[str, ...]]], chosen: Iterable[int], unit: float
) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows of the chosen sets, their real axes on a grid, and the number of the set of each row."""
    rows, owner = [], []
    for k in chosen:
        kinds, reals = sets[k]
        grids = [np.linspace(*SPAN[a], _START[len(reals)]) * (unit if a.startswith("v_") else 1.0) for a in reals]
        for point in product(*grids):
            rows.append(kinds | dict(zip(reals, map(float, point), strict=True)))
            owner.append(k)
    return rows, owner


def _best(rows: Sequence[dict[str, Any]], owner: Sequence[int], loss: Array) -> dict[int, tuple[dict[str, Any], float]]:
    """Return the best row of each set and its loss, the best set first."""
    best: dict[int, tuple[dict[str, Any], float]] = {}
    for r in np.argsort(loss, kind="stable").tolist():
        best.setdefault(owner[r], (rows[r], float(loss[r])))
    return best


def _was(base: Neuron, axis: str) -> Any:
    value = getattr(base, axis)
    return float(np.asarray(value).flat[0]) if np.ndim(value) else value


def _sets(base: Neuron, size: int) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """Sets of axes: the values of those that take kinds, and the names of those that take numbers."""
    for axes in combinations(OF_NEURON, size):
        options = [[v for v in KINDS.get(a, ()) if v != _was(base, a)] + (["real"] if a in REAL else []) for a in axes]
        for values in product(*options):
            chosen = dict(zip(axes, values, strict=True))
            reals = tuple(a for a in axes if chosen[a] == "real")
            kinds = {a: v for a, v in chosen.items() if a not in reals}
            if _shows(base, kinds, reals):
                yield kinds, reals


def _shows(base: Neuron, kinds: Mapping[str, Any], reals: Sequence[str]) -> bool:
    """Whether every axis of the set can show, so that no smaller set does the same."""
    trial = {k: _was(base, k) for k in OF_NEURON} | dict(kinds) | dict.fromkeys(reals, 0.5)
    neuron = Neuron(**trial)
    return not any(moot(neuron, a) and a not in ("leak", "reset", "syn_decay") for a in (*kinds, *reals))


def _zoomed(units: Units, free: Sequence[tuple[dict[str, Any], tuple[str, ...]]], unit: float) -> list[dict[str, Any]]:
    """Close in on the best values of the real axes of each set; those that end without a loss."""
    places = {k: np.array([row[a] for a in reals]) for k, (row, reals) in enumerate(free)}
    width = {k: np.array([np.diff(SPAN[a])[0] * (unit if a.startswith("v_") else 1.0) for a in reals])
             / (_START[len(reals)] - 1) for k, (_, reals) in enumerate(free)}  # fmt: skip
    losses = dict.fromkeys(places, np.inf)
    for halving in range(_HALVINGS if free else 0):
        if halving == _PRUNED:
            places = {k: places[k] for k in sorted(places, key=losses.__getitem__)[: max(16, len(places) // 3)]}
        tried = {k: _around(places[k], width[k], free[k][1]) for k in places}
        rows = [
            free[k][0] | dict(zip(free[k][1], p, strict=True)) for k, points in tried.items() for p in points.tolist()
        ]
        loss = units.loss(rows)
        at = 0
        for k, points in tried.items():
            mine = loss[at : at + len(points)]
            at += len(points)
            losses[k] = float(mine.min())
            best = points[mine == losses[k]]
            places[k] = np.median(best, axis=0) if losses[k] == 0 else best[0]
            width[k] = width[k] * (0.5 if losses[k] > 0 else 0.25)
    return [free[k][0] | dict(zip(free[k][1], places[k].tolist(), strict=True)) for k in places
            if losses[k] <= _SMALL * units.x.size]  # fmt: skip


def _around(point: Array, width: Array, reals: Sequence[str]) -> Array:
    """Points [n, len(reals)] on a grid around one; decays stay in their range."""
    steps = np.linspace(-1, 1, _ZOOM[len(reals)])
    grid = np.stack(np.meshgrid(*[steps] * len(reals), indexing="ij"), -1).reshape(-1, len(reals))
    bounds = np.array([SPAN[a] if a in ("leak", "syn_decay") else (-np.inf, np.inf) for a in reals])
    return np.asarray(np.clip(point + grid * width, bounds[:, 0], bounds[:, 1]))


def _roundest(shown: Sequence[Evidence], row: dict[str, Any], reals: Sequence[str]) -> dict[str, Any] | None:
    """Return the row with its real values as round as the spikes allow; None where they do not allow it at all."""
    for places in [*range(0, 11, 2 if len(reals) > 1 else 1), 52] if reals else [52]:
        trial = row | {a: round(row[a] * 2.0**places) / 2.0**places for a in reals}
        if "syn_decay" in trial and trial["syn_decay"] is not None and not 0 <= trial["syn_decay"] < 1:
            continue
        if any(trial[a] == _was(shown[0].neuron, a) for a in reals):
            continue
        if any(e.refutes(**trial).any() for e in shown):
            continue
        # a potential that rests on its threshold can be read either way, and explains nothing
        if all(e.unsure(**trial) <= e.unsure() + _VAGUE for e in shown):
            return trial
    return None
