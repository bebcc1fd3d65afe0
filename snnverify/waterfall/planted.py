"""Planted causes: deployments of the embedded models with known faults, that the diagnosis is scored on.

Each planted cause alone costs a share of the right answers between `LEAST` and `MOST`, and mending it alone brings at least
`LEAST` back, both found by running the faulty networks themselves; where that is not so, parameters are drawn again. The
diagnosis is given what a user has: the trained model, the conversion, how it is deployed, and labelled samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from .. import zoo
from ..activation import Neuron
from ..content import Array
from ..convert import ConvertedNetwork, convert, spiking
from ..network import Network
from ..simulate import forward
from .faulty import IMPORTED, KNOWN, UNKNOWN, Base, Draw, NoPlaceError, NotPlantedError, Plan, base
from .measure import TILE
from .stations import Deployment, chain
from .walk import values_of

LEAST, MOST = 0.01, 0.30  # of the samples
TRIES, DRAWS = 12, 200  # parameters of a fault; models and faults
STEPS = (32, 64)
SIZES = {"nothing": 4, "single causes": 12, "pairs": 13, "triples": 17, "unknown": 15, "known and unknown": 6}


def deployment(b: Base, plan: Plan) -> Deployment:
    """Carry a plan out."""
    made = _converted(b.name, plan.ann)
    if plan.thresholds:
        made = _with_thresholds(made, plan.thresholds)
    d = Deployment(made, plan.steps, plan.encoding, plan.grid, seed=plan.seed)  # type: ignore[arg-type]
    return d if plan.broken is None else replace(d, deployed=plan.broken(chain(b.ann, d).stations[-1].network))


@lru_cache(maxsize=4)
def _converted(name: str, ann: Network) -> ConvertedNetwork:
    """Conversion of what is taken for a base's network: most draws take the same, and it costs as much as a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert(ann, base(name).calibration)


def _with_thresholds(made: ConvertedNetwork, factors: Mapping[str, float]) -> ConvertedNetwork:
    statistics = tuple(replace(s, threshold=s.threshold * factors.get(s.layer, 1.0)) for s in made.statistics)
    thresholds = {s.layer: s.threshold for s in statistics}
    snn, units = spiking(made.ann, thresholds, v_init=0.5, neuron=Neuron())
    return replace(made, snn=snn, statistics=statistics, units=units)


def right(b: Base, d: Deployment) -> int:
    """Right answers of a deployment."""
    of = chain(b.ann, d)
    found = [values_of(of, of.stations[-1], b.x[i : i + TILE], i)[0] for i in range(0, len(b.x), TILE)]
    return int((np.concatenate(found) == b.y).sum())


@dataclass(frozen=True)
class Subject:
    """A deployment with planted causes, by name with the layer each is in ("" for none).

    ``kinds`` are the faults as they were planted; each that the diagnosis has no name for is "unexplained" in ``planted``.
    """

    family: str
    number: int
    base: Base
    deployment: Deployment
    planted: Mapping[str, str]
    kinds: Mapping[str, str]

    @property
    def name(self) -> str:
        """Say what was planted where."""
        found = ", ".join(f"{k}{f' in {v}' if v else ''}" for k, v in self.kinds.items()) or "nothing"
        return f"{self.base.name}, T = {self.deployment.steps}: {found}"


def subjects(seed: int, sizes: Mapping[str, int] = SIZES) -> Iterator[Subject]:
    """Draw the subjects of every family; a number whose faults no draw makes cost what they should is passed over."""
    for family, size in sizes.items():
        for i in range(size):
            with suppress(NotPlantedError):
                yield subject(seed, family, i)


def subject(seed: int, family: str, number: int) -> Subject:
    """Draw one subject, which depends on no other: any row of a committed score can be had alone.

    Raises
    ------
    NotPlantedError
        Its faults were drawn `DRAWS` times, and never cost what each of them should.
    """
    rng = np.random.default_rng([seed, list(SIZES).index(family), number])
    return _drawn(rng, family, number, turn(seed, family, number))


def turn(seed: int, family: str, number: int) -> tuple[str, ...]:
    """Faults that a number of a family has: causes and their combinations take turns."""
    order, every = np.random.default_rng([seed, list(SIZES).index(family)]), _sets(family)
    turns = [int(i) for _ in range(number // len(every) + 1) for i in order.permutation(len(every))]
    return every[turns[number]]


def _sets(family: str) -> list[tuple[str, ...]]:
    """Faults that are planted together."""
    if family == "known and unknown":  # a converter's other network may hide what else is wrong in the same layer
        return [(k, u) for k in KNOWN for u in UNKNOWN if not (k in AFTER_FOLDING and u.endswith(IMPORTED))]
    of = {"nothing": 0, "single causes": 1, "pairs": 2, "triples": 3}
    return [(k,) for k in UNKNOWN] if family == "unknown" else list(combinations(KNOWN, of[family]))


AFTER_FOLDING = ("batch normalisation", "bias")
NOISY = ("encoding", "delay")  # of no consequence at a large T


def _drawn(rng: Draw, family: str, number: int, names: tuple[str, ...]) -> Subject:
    """A model and faults, each of which costs what it should, alone and beside the others."""
    for _ in range(DRAWS):
        b = base(str(rng.choice(list(zoo.MODELS))))
        steps = int(rng.integers(12, 21)) if set(NOISY) & set(names) else int(rng.choice(STEPS))
        clean = Plan(b.ann, {}, steps)
        healthy = right(b, deployment(b, clean))
        if int((_trained(b) == b.y).sum()) - healthy >= LEAST * len(b.x) / 2:
            continue  # not clean: T alone costs something
        chosen = [_alone(rng, b, clean, healthy, name) for name in sorted(names, key=_order)]
        if any(seed is None for seed in chosen):
            continue
        seeds = dict(zip(sorted(names, key=_order), chosen, strict=True))
        plan, where = _together(b, clean, seeds)
        d = deployment(b, plan)
        worst = right(b, d)
        others = [
            deployment(b, _together(b, clean, {k: v for k, v in seeds.items() if k != name})[0]) for name in names
        ]
        if len(names) < 2 or all(right(b, other) - worst >= LEAST * len(b.x) for other in others):
            planted = {"unexplained" if k in UNKNOWN else k: where[k] for k in names}
            return Subject(family, number, b, d, planted, {k: where[k] for k in names})
    raise NotPlantedError(
        f"{' and '.join(names)}: in {DRAWS} draws none cost what a planted cause should; see `LEAST` and `MOST`"
    )


def _order(name: str) -> int:
    """Place of a fault: what is taken for the trained network is folded before a bias is lost."""
    first = (*AFTER_FOLDING, "clipping")
    return first.index(name) if name in first else len(first)


def _trained(b: Base) -> Array:
    return np.asarray(forward(b.ann, b.x)[b.ann.output.name].argmax(-1))


def _together(b: Base, clean: Plan, seeds: Mapping[str, Any]) -> tuple[Plan, dict[str, str]]:
    plan, where = clean, {}
    for name, state in seeds.items():
        plan, where[name] = (KNOWN | UNKNOWN)[name](np.random.default_rng(state), b, plan)
    return plan, where


def _alone(rng: Draw, b: Base, clean: Plan, healthy: int, name: str) -> int | None:
    """Return the seed of a fault that alone costs what it should; None where a few draws found none."""
    for _ in range(TRIES):
        state = int(rng.integers(2**31))
        try:
            cost = healthy - right(b, deployment(b, _together(b, clean, {name: state})[0]))
        except NoPlaceError:
            return None
        if LEAST * len(b.x) <= cost <= MOST * len(b.x):
            return state
    return None
