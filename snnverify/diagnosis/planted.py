"""Planted divergences: two traces whose difference is known, and the score of the diagnosis on them.

Traces come from the package's simulator in float64, which shares nothing with what diagnoses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from .. import reference
from ..activation import Neuron
from ..content import Array
from ..errors import SnnverifyError
from ..fingerprint.axes import OF_NEURON
from ..fingerprint.outside import OUTSIDE
from ..fingerprint.planted import draw
from ..fingerprint.present import markdown
from ..network import Branch, Dense, Layer, Network
from ..simulate import run
from ..trace import Case, Trace
from . import Explained, explained, trace_of

SIZES = {"single axes": 28, "pairs": 24, "triples": 12, "rounding": 8, "outside the model": 18}
STEPS, SAMPLES = 24, 6


@dataclass(frozen=True)
class Subject:
    """A case, another implementation's trace of it, and what it does otherwise (None: no change of axes does it)."""

    family: str
    name: str
    case: Case
    trace: Trace
    changes: dict[str, Any] | None


@dataclass(frozen=True)
class Row:
    """Score of a family.

    Parameters
    ----------
    family : str
    subjects : int
    named : int
        Those whose planted set (or rounding, or "unexplained") is among the answers.
    equivalent : int
        Another set of the same size or smaller was found, and it reproduces every spike in the simulator.
    missed : int
        "unexplained" although a set was planted.
    wrong : int
        An answer that the simulator does not reproduce; of rounding or what is outside the model, any set of axes.
    faults : tuple of str
    """

    family: str
    subjects: int
    named: int
    equivalent: int
    missed: int
    wrong: int
    faults: tuple[str, ...] = ()


def network(neuron: Neuron, weights: Sequence[Array]) -> Network:
    """A chain of dense layers with one kind of neuron."""
    names = [f"layer{i}" for i in range(len(weights))]
    return Network(
        (weights[0].shape[1],),
        tuple(Layer(name, (Branch(Dense(w), source),), neuron)
              for name, w, source in zip(names, weights, ("input", *names), strict=False)),
    )  # fmt: skip


def _case(rng: np.random.Generator, neuron: Neuron) -> Case:
    """Two layers on a dyadic grid, with inputs strong and weak enough to show floors, ties and several spikes."""
    weights = [rng.integers(-6, 12, (6, 5)) / 8, rng.integers(-6, 12, (5, 6)) / 4]
    x = rng.integers(-2, 10, (STEPS, SAMPLES, 5)) / 8 * np.linspace(0.25, 2.0, SAMPLES)[:, None]
    return Case(network(neuron, weights), np.rint(x * 16) / 16, STEPS, "spikes", kind="exact")


def subjects(seed: int, sizes: Mapping[str, int] = SIZES) -> Iterator[Subject]:
    """Changes of one, two and three axes, roundings, and behaviours that no change of axes explains."""
    rng = np.random.default_rng(seed)
    for number, family in enumerate(("single axes", "pairs", "triples"), 1):
        every = list(combinations(OF_NEURON, number))
        order = [i for _ in range(sizes[family] // len(every) + 1) for i in rng.permutation(len(every))]
        for i in order[: sizes[family]]:
            yield _changed(rng, family, every[i])
    for _ in range(sizes["rounding"]):
        yield _rounded(rng)
    names = list(OUTSIDE)
    for k in range(sizes["outside the model"]):
        case, act = _case(rng, Neuron()), OUTSIDE[names[k % len(names)]](rng)
        yield Subject("outside the model", names[k % len(names)], case, _outside(case, act), None)


def _changed(rng: np.random.Generator, family: str, axes: Sequence[str]) -> Subject:
    """A base on which each of the axes shows, and the simulator's trace with the axes changed."""
    while True:
        off = draw(rng, axes)
        changes = {a: v for a, v in off.items() if a in axes}
        neuron = Neuron(**{a: v for a, v in off.items() if a not in axes})
        if "v_reset" in axes and "reset" not in axes:
            neuron, changes = replace(neuron, reset="value"), {a: v for a, v in changes.items() if a != "reset"}
        case = _case(rng, neuron)
        try:
            trace = _altered(case, changes)
        except SnnverifyError:
            continue
        plain = run(case, "spikes")
        if any(not np.array_equal(trace.spikes[k], plain.spikes[k]) for k in plain.spikes):
            return Subject(family, ", ".join(f"{a} {v}" for a, v in changes.items()), case, trace, changes)


def _altered(case: Case, changes: dict[str, Any]) -> Trace:
    layers = tuple(replace(layer, act=replace(layer.act, **changes)) for layer in case.network.layers)  # type: ignore[type-var]
    return run(replace(case, network=replace(case.network, layers=layers)), "spikes")


def _rounded(rng: np.random.Generator) -> Subject:
    """Weights of tenths, whose sums meet the threshold but for rounding: float32 against the exact numbers."""
    while True:
        weights = [rng.integers(-3, 8, (6, 5)) / 10, rng.integers(-3, 8, (5, 6)) / 10]
        case = Case(network(Neuron(), weights), rng.integers(0, 2, (STEPS, SAMPLES, 5)).astype(float), STEPS, "spikes",
                    dtype="float32")  # fmt: skip
        trace, exactly = run(case, "spikes"), reference.run(case)
        if any(not np.array_equal(trace.spikes[k], exactly.spikes[k]) for k in exactly.spikes):
            return Subject("rounding", "float32 against exact", case, trace, {})


def _outside(case: Case, act: Any) -> Trace:
    """Trace of a network of foreign neurons."""
    values, spikes = case.x, {}
    for layer in case.network.layers:
        weight = layer.branches[0].op.weight  # type: ignore[union-attr]
        drive = values @ weight.T
        found = act(drive.reshape(case.steps, -1), 1.0).reshape(drive.shape)
        spikes[layer.name], values = found, found.astype(float)
    return trace_of(case, spikes)


def judge(subject: Subject, found: Explained) -> str:
    """Say whether an explanation is "named", "equivalent", "missed" or "wrong"."""
    if subject.changes is None:
        return "wrong" if found.sets else "named"
    if not subject.changes:
        return "named" if found.declared else ("wrong" if found.sets else "missed")
    if not found.sets:
        return "missed"
    for one in found.sets:
        again = _altered(subject.case, {c.axis: c.becomes for c in one}).spikes
        if any(not np.array_equal(again[k], subject.trace.spikes[k]) for k in again):
            return "wrong"
    return "named" if any({c.axis for c in one} == set(subject.changes) for one in found.sets) else "equivalent"


def score(seed: int, sizes: Mapping[str, int] = SIZES) -> list[Row]:
    """Diagnose every planted subject and count the answers by family."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for subject in subjects(seed, sizes):
        found = explained(subject.case, subject.trace)
        answer = "; ".join(", ".join(f"{c.axis} {c.becomes}" for c in one) or "rounding" for one in found.sets)
        seen.setdefault(subject.family, []).append(
            (judge(subject, found), f"{subject.name}: {answer or 'unexplained'}")
        )
    rows = []
    for family, answers in seen.items():
        named, equivalent, missed, wrong = (sum(v == kind for v, _ in answers)
                                            for kind in ("named", "equivalent", "missed", "wrong"))  # fmt: skip
        faults = tuple(t for v, t in answers if v in ("missed", "wrong"))
        rows.append(Row(family, len(answers), named, equivalent, missed, wrong, faults))
    return rows


def score_table(rows: Sequence[Row]) -> str:
    """Markdown table of the score."""
    heading = ("planted divergences", "cases", "named", "equivalent", "missed", "wrong")
    body = [(r.family, *map(str, (r.subjects, r.named, r.equivalent, r.missed, r.wrong))) for r in rows]
    return markdown(heading, body) + "\n"
