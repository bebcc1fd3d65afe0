"""Planted causes: deployments of the embedded models with known faults, that the diagnosis is scored on.

Each planted cause alone costs a share of the right answers between `LEAST` and `MOST`, and mending it alone brings at least
`LEAST` back, both found by running the faulty networks themselves; where that is not so, parameters are drawn again. The
diagnosis is given what a user has: the trained model, the conversion, how it is deployed, and labelled samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from .. import zoo
from ..content import Array
from ..convert import ConvertedNetwork, convert, fold, from_torch
from ..network import Branch, Conv, Dense, Network, Scale
from ..quantise import Grid
from ..simulate import forward
from .measure import TILE
from .stations import Deployment, chain
from .walk import values_of

LEAST, MOST = 0.01, 0.30  # of the samples
TRIES = 12
STEPS = (32, 64)
SIZES = {"nothing": 3, "single causes": 12, "pairs": 8, "triples": 4, "unknown": 8, "known and unknown": 3}
Draw = np.random.Generator


@dataclass(frozen=True)
class Base:
    """An embedded model with its data."""

    name: str
    ann: Network
    calibration: Array
    x: Array
    y: Array


@cache
def base(name: str) -> Base:
    """Load an embedded model, nothing folded."""
    m = zoo.load_default(name)
    ann = from_torch(m.module, m.evaluation_x.shape[1:], fold_batchnorm=False)
    return Base(name, ann, m.train_x, m.evaluation_x, m.evaluation_y)


@dataclass(frozen=True)
class Plan:
    """A deployment in the making: the network that the converter took for the trained one, and its options."""

    ann: Network
    thresholds: Mapping[str, float]  # factors on calibrated ones
    steps: int
    encoding: str = "constant"
    grid: Grid | None = None
    broken: Callable[[Network], Network] | None = None
    seed: int = 0


Plant = Callable[[Draw, Base, Plan], tuple[Plan, str]]  # the plan with a fault, and the layer it is in


def _clipped(rng: Draw, b: Base, plan: Plan) -> tuple[Plan, str]:
    """One layer's threshold is far too low."""
    name = str(rng.choice([v.name for v in b.ann.layers if v.act is not None]))
    return replace(plan, thresholds={**plan.thresholds, name: float(rng.uniform(0.05, 0.6))}), name


def _lost_bias(rng: Draw, b: Base, plan: Plan) -> tuple[Plan, str]:
    """One layer of the folded network has no bias."""
    folded = fold(plan.ann)
    names = [v.name for v in folded.layers if isinstance(v.branches[0].op, (Dense, Conv))]
    name = str(rng.choice(names))
    return replace(plan, ann=_changed(folded, name, lambda op: replace(op, bias=None))), name


def _wrong_norm(rng: Draw, b: Base, plan: Plan) -> tuple[Plan, str]:
    """One batch normalisation is folded with a variance or scale that is not its own, and perhaps another mean."""
    names = [v.name for v in plan.ann.layers if isinstance(v.branches[0].op, Scale) and v.name.startswith("bn")]
    if not names:
        raise _NoPlaceError
    name = str(rng.choice(names))
    op = plan.ann[name].branches[0].op
    assert isinstance(op, Scale)
    factor = np.asarray(op.factor) * np.exp(rng.normal(0, rng.uniform(0.2, 1.2), np.shape(op.factor)))
    bias = np.asarray(op.bias) * (rng.choice([1.0, rng.uniform(0.3, 2.0)]))
    follower = next(v.name for v in plan.ann.layers if v.branches[0].source == name)
    return replace(plan, ann=_changed(plan.ann, name, lambda _: Scale(factor, bias))), follower


def _few_steps(rng: Draw, b: Base, plan: Plan) -> tuple[Plan, str]:
    return replace(plan, steps=int(rng.integers(1, 7))), ""


def _poisson(rng: Draw, b: Base, plan: Plan) -> tuple[Plan, str]:
    return replace(plan, encoding="poisson", seed=int(rng.integers(2**31))), ""


def _int4(rng: Draw, b: Base, plan: Plan) -> tuple[Plan, str]:
    return replace(plan, grid=Grid("int4", bool(rng.integers(2)), bool(rng.integers(2)))), ""


KNOWN: dict[str, Plant] = {
    "clipping": _clipped, "bias": _lost_bias, "batch normalisation": _wrong_norm, "steps": _few_steps,
    "encoding": _poisson, "weights": _int4,
}  # fmt: skip


def _swapped(rng: Draw, network: Network) -> Network:
    """Some output channels of a layer have changed places."""

    def swap(op: Any) -> Any:
        some = rng.choice(len(op.weight), max(2, int(len(op.weight) * rng.uniform(0.1, 0.6))), replace=False)
        order = np.arange(len(op.weight))
        order[some] = np.roll(some, 1)
        return replace(op, weight=op.weight[order])

    return _changed(network, _some_layer(rng, network), swap)


def _stuck(rng: Draw, network: Network) -> Network:
    """Some weights of a layer are stuck at 0."""
    share = rng.uniform(0.05, 0.6)
    return _changed(network, _some_layer(rng, network),
                    lambda op: replace(op, weight=op.weight * (rng.random(op.weight.shape) > share)))  # fmt: skip


def _noisy(rng: Draw, network: Network) -> Network:
    """The weights of a layer are those of noisy analog cells."""
    size = rng.uniform(0.1, 1.5)
    return _changed(network, _some_layer(rng, network), lambda op: replace(
        op, weight=op.weight + size * op.weight.std() * rng.normal(size=op.weight.shape)))  # fmt: skip


def _turned(rng: Draw, network: Network) -> Network:
    """The inputs of a layer come in the reverse order."""
    return _changed(network, _some_layer(rng, network), lambda op: replace(op, weight=op.weight[..., ::-1].copy()))


def _late(rng: Draw, network: Network) -> Network:
    """The neurons of a layer differ from each other: another threshold in each channel, unknown to the converter."""
    name = str(rng.choice([v.name for v in network.spiking]))
    size = rng.uniform(0.2, 1.5)

    def drifted(v: Any) -> Any:
        theta = np.asarray(v.act.theta) * np.exp(rng.normal(0, size, network.shapes[name][0]))
        return replace(v, act=replace(v.act, theta=theta, v_init=theta / 2))

    return replace(network, layers=tuple(drifted(v) if v.name == name else v for v in network.layers))


IN_THE_END = (_swapped, _stuck, _noisy, _turned, _late)
IN_THE_IMPORT = (_swapped, _stuck, _noisy, _turned)


def _unknown(rng: Draw, b: Base, plan: Plan) -> tuple[Plan, str]:
    """Something the diagnosis has no name for, in what is deployed or in the converter's ANN."""
    if plan.ann is b.ann and rng.random() < 0.4:
        kind = IN_THE_IMPORT[int(rng.integers(len(IN_THE_IMPORT)))]
        return replace(plan, ann=kind(rng, fold(plan.ann))), ""
    end, state = IN_THE_END[int(rng.integers(len(IN_THE_END)))], int(rng.integers(2**31))
    return replace(plan, broken=lambda network: end(np.random.default_rng(state), network)), ""


class _NoPlaceError(Exception):
    """The model has nothing that this fault could sit in."""


def _some_layer(rng: Draw, network: Network) -> str:
    return str(rng.choice([v.name for v in network.layers if isinstance(v.branches[0].op, (Dense, Conv))]))


def _changed(network: Network, name: str, change: Callable[[Any], Any]) -> Network:
    layers = tuple(
        replace(v, branches=(Branch(change(v.branches[0].op), v.branches[0].source),)) if v.name == name else v
        for v in network.layers
    )
    return replace(network, layers=layers)


def deployment(b: Base, plan: Plan) -> Deployment:
    """Carry a plan out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = convert(plan.ann, b.calibration)
    if plan.thresholds:
        made = _with_thresholds(made, plan.thresholds)
    d = Deployment(made, plan.steps, plan.encoding, plan.grid, seed=plan.seed)  # type: ignore[arg-type]
    return d if plan.broken is None else replace(d, deployed=plan.broken(chain(b.ann, d).stations[-1].network))


def _with_thresholds(made: ConvertedNetwork, factors: Mapping[str, float]) -> ConvertedNetwork:
    from ..activation import Neuron
    from ..convert import spiking

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
    """A deployment with planted causes, by name with the layer each is in ("" for none)."""

    family: str
    base: Base
    deployment: Deployment
    planted: Mapping[str, str]

    @property
    def name(self) -> str:
        """Say what was planted where."""
        found = ", ".join(f"{k}{f' in {v}' if v else ''}" for k, v in self.planted.items()) or "nothing"
        return f"{self.base.name}, T = {self.deployment.steps}: {found}"


def subjects(seed: int, sizes: Mapping[str, int] = SIZES) -> Iterator[Subject]:
    """Draw the subjects of every family; causes and their combinations take turns."""
    rng = np.random.default_rng(seed)
    sets: dict[str, list[tuple[str, ...]]] = {
        "nothing": [()], "single causes": [(k,) for k in KNOWN], "pairs": list(combinations(KNOWN, 2)),
        "triples": list(combinations(KNOWN, 3)), "unknown": [("unexplained",)],
        "known and unknown": [(k, "unexplained") for k in KNOWN],
    }  # fmt: skip
    for family, every in sets.items():
        order = [i for _ in range(sizes[family] // len(every) + 1) for i in rng.permutation(len(every))]
        for i in order[: sizes[family]]:
            yield _drawn(rng, family, every[i])


def _drawn(rng: Draw, family: str, names: tuple[str, ...]) -> Subject:
    """A model and faults, each of which costs what it should, alone and beside the others."""
    while True:
        b = base(str(rng.choice(list(zoo.MODELS))))
        # Poisson input costs too little at a large T
        clean = Plan(b.ann, {}, int(rng.integers(12, 21)) if "encoding" in names else int(rng.choice(STEPS)))
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
            return Subject(family, b, d, {k: where[k] for k in names})


def _order(name: str) -> int:
    """Place of a fault: what is taken for the trained network is folded before a bias is lost."""
    first = ("batch normalisation", "bias", "clipping")
    return first.index(name) if name in first else len(first)


def _trained(b: Base) -> Array:
    return np.asarray(forward(b.ann, b.x)[b.ann.output.name].argmax(-1))


def _together(b: Base, clean: Plan, seeds: Mapping[str, Any]) -> tuple[Plan, dict[str, str]]:
    plan, where = clean, {}
    for name, state in seeds.items():
        plan, where[name] = KNOWN.get(name, _unknown)(np.random.default_rng(state), b, plan)
    return plan, where


def _alone(rng: Draw, b: Base, clean: Plan, healthy: int, name: str) -> int | None:
    """Return the seed of a fault that alone costs what it should; None where a few draws found none."""
    for _ in range(TRIES):
        state = int(rng.integers(2**31))
        try:
            cost = healthy - right(b, deployment(b, _together(b, clean, {name: state})[0]))
        except _NoPlaceError:
            return None
        if LEAST * len(b.x) <= cost <= MOST * len(b.x):
            return state
    return None
