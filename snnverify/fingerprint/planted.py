"""Planted subjects: boxes whose every axis is known, and boxes that no `Neuron` explains; and the score on them.

The boxes run on the package's kernels in float32 or on the exact reference, which share nothing with what decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..kernels.neuron import advance
from ..reference.neurons import neuron as exactly
from ..reference.operations import exact
from .axes import AXES, OF_NEURON, REAL, UNDECIDED, Fingerprint, value_of
from .decide import fingerprint
from .outside import OUTSIDE, Simulate
from .probes import Box

PAIRS, TRIPLES, VARIANTS = 80, 80, 3  # subjects of each size; draws of each single axis and of each outside behaviour


@dataclass(frozen=True)
class Subject:
    """A box and the truth about it; `neuron` is None where no `Neuron` does the same."""

    family: str
    name: str
    box: Box
    nominal: Mapping[str, float]
    neuron: Neuron | None
    between_calls: str = "kept"
    new_batch: str = "error"


@dataclass(frozen=True)
class Row:
    """Score of a family: decisions that are right, left open, or wrong, and what the wrong ones were."""

    family: str
    subjects: int
    correct: int
    undecided: int
    wrong: int
    faults: tuple[str, ...] = ()


def in_float32(neuron: Neuron) -> Simulate:
    """[T, N] inputs -> spikes, by the package's kernels in float32."""

    def simulate(x: Array, theta: float) -> Array:
        act = replace(neuron, theta=theta)
        return advance(act, x.astype(np.float32), len(x), {}, lambda p: np.asarray(p, np.float32))

    return simulate


def in_fractions(neuron: Neuron) -> Simulate:
    """[T, N] inputs -> spikes, by the exact reference."""

    def simulate(x: Array, theta: float) -> Array:
        act = replace(neuron, theta=theta)
        units = [exactly(act, (0,), [exact(float(v)) for v in column])[0] for column in x.T]
        return np.array(units).reshape(x.shape[::-1]).T

    return simulate


def box_of(simulate: Simulate, between_calls: str = "kept", new_batch: str = "error") -> Box:
    """Box of a function of a unit's whole history, which is what a state is."""

    def box(calls: tuple[Array, ...], params: Mapping[str, float]) -> list[Any]:
        past: list[list[float]] | None = None  # inputs of each unit since its last fresh start
        answers: list[Any] = []
        for x in calls:
            units = [list(column) for column in x[:, :, 0].T]
            if past is not None and len(past) != len(units) and new_batch == "error":
                answers.append(f"RuntimeError: a state of {len(past)} samples meets {len(units)}")
                continue
            lost = past is None or between_calls == "reset" or (len(past) != len(units) and new_batch == "reset")
            before = [[]] * len(units) if lost or past is None else [*past, *([[]] * len(units))][: len(units)]
            past = [b + u for b, u in zip(before, units, strict=True)]
            spikes = np.zeros(x.shape)
            for length in {len(p) for p in past}:
                alike = [n for n, p in enumerate(past) if len(p) == length]
                histories = np.array([past[n] for n in alike]).T
                spikes[:, alike, 0] = simulate(histories, params["theta"])[-len(x) :]
            answers.append(spikes)
        return answers

    return box


def _real(rng: np.random.Generator, low: float, high: float) -> float:
    """A random parameter: dyadic, or any float, half of the time each."""
    value = float(rng.uniform(low, high))
    return round(value * 64) / 64 if rng.random() < 0.5 else value


def draw(rng: np.random.Generator, axes: Sequence[str]) -> dict[str, Any]:
    """Fields of a `Neuron` off the default on each of these axes, and what else these axes need to show."""
    off: dict[str, Callable[[], Any]] = {
        "fires": lambda: ">", "reset": lambda: str(rng.choice(["value", "none"])), "reset_delay": lambda: 1,
        "v_reset": lambda: _real(rng, -1.0, 0.6), "max_spikes": lambda: [2, 3, 5, None][rng.integers(4)],
        "v_floor": lambda: _real(rng, -2.0, 0.0), "leak": lambda: _real(rng, 0.2, 0.95),
        "v_rest": lambda: _real(rng, -0.5, 0.7), "order": lambda: "integrate-leak", "input_scaled": lambda: True,
        "v_init": lambda: _real(rng, -0.8, 0.9), "syn_decay": lambda: _real(rng, 0.1, 0.9),
        "syn_order": lambda: "add-decay", "delay": lambda: 1,
    }  # fmt: skip
    fields = {axis: off[axis]() for axis in axes if axis in off}
    if "v_reset" in fields:
        fields["reset"] = "value"
    if fields.keys() & {"v_rest", "order", "input_scaled"} or fields.get("reset_delay"):
        fields.setdefault("leak", off["leak"]())
    if "syn_order" in fields:
        fields.setdefault("syn_decay", off["syn_decay"]())
    return fields


def subjects(seed: int) -> Iterator[Subject]:
    """Every single axis, random pairs and triples, and the behaviours outside the model."""
    rng = np.random.default_rng(seed)
    axes = tuple(AXES)
    singles = [(axis,) for axis in axes] * VARIANTS
    for family, chosen in (
        ("no axis", [()]), ("single axes", singles), ("pairs", _sample(rng, axes, 2, PAIRS)),
        ("triples", _sample(rng, axes, 3, TRIPLES)),
    ):  # fmt: skip
        for k, off in enumerate(chosen):
            neuron = Neuron(**draw(rng, off))
            state = (str(rng.choice(["kept", "reset"])) if "between_calls" in off else "kept",
                     str(rng.choice(["kept", "reset"])) if "new_batch" in off else "error")  # fmt: skip
            nominal = {"theta": 1.0} | ({"leak": neuron.leak} if neuron.leak < 1 else {})
            nominal |= {} if neuron.syn_decay is None else {"syn_decay": neuron.syn_decay}
            how = in_fractions if k % 16 == 8 else in_float32
            yield Subject(family, _named(neuron, state), box_of(how(neuron), *state), nominal, neuron, *state)
    for name, make in OUTSIDE.items():
        for _ in range(VARIANTS):
            yield Subject("outside the model", name, box_of(make(rng)), {"theta": 1.0}, None)


def _sample(rng: np.random.Generator, axes: Sequence[str], size: int, count: int) -> list[tuple[str, ...]]:
    every = list(combinations(axes, size))
    return [every[i] for i in rng.choice(len(every), min(count, len(every)), replace=False)]


def _named(neuron: Neuron, state: tuple[str, str]) -> str:
    plain = Neuron()
    parts = [f"{a} {value}" for a in OF_NEURON if (value := getattr(neuron, a)) != getattr(plain, a)]
    return ", ".join(parts + [s for s, usual in zip(state, ("kept", "error"), strict=True) if s != usual]) or "plain"


def judge(subject: Subject, found: Fingerprint) -> list[tuple[str, str, str]]:
    """Return axis, "correct" / "undecided" / "wrong", and the value found, for every axis.

    A real value is right when the truth lies within the stated error. Outside the model "undecided" is the right
    answer on the axes of the neuron.
    """
    verdicts = []
    for d in found.axes:
        if d.axis in OF_NEURON and subject.neuron is None:
            verdict = "correct" if d.value == UNDECIDED else "wrong"
        elif d.value == UNDECIDED:
            verdict = "undecided"
        elif d.axis not in OF_NEURON:
            verdict = "correct" if d.value in _states(subject, d.axis) else "wrong"
        else:
            assert subject.neuron is not None
            true = value_of(subject.neuron, d.axis)
            right = true == d.value or (d.axis in REAL and _close(subject.neuron, d.axis, true, d.value, d.within))
            verdict = "correct" if right else "wrong"
        verdicts.append((d.axis, verdict, d.value))
    return verdicts


def _states(subject: Subject, axis: str) -> tuple[str, ...]:
    """A box that forgets between calls has nothing left for a new batch size."""
    if axis == "new_batch" and subject.between_calls == "reset" and subject.new_batch == "kept":
        return ("reset",)
    return (getattr(subject, axis),)


def _close(neuron: Neuron, axis: str, true: str, found: str, within: float) -> bool:
    try:
        float(true)
        return bool(abs(float(found) - getattr(neuron, axis)) <= within + 1e-5)
    except ValueError:
        return False


def score(seed: int) -> list[Row]:
    """Fingerprint every planted subject and count the decisions by family."""
    tally: dict[str, list[tuple[str, str]]] = {}
    count: dict[str, int] = {}
    for subject in subjects(seed):
        found = fingerprint(subject.box, subject.nominal, subject.name)
        count[subject.family] = count.get(subject.family, 0) + 1
        tally.setdefault(subject.family, []).extend(
            (verdict, f"{subject.name}: {axis} found {value}") for axis, verdict, value in judge(subject, found)
        )
    rows = []
    for family, seen in tally.items():
        correct, undecided, wrong = (sum(v == name for v, _ in seen) for name in ("correct", "undecided", "wrong"))
        faults = tuple(text for v, text in seen if v == "wrong")
        rows.append(Row(family, count[family], correct, undecided, wrong, faults))
    return rows
