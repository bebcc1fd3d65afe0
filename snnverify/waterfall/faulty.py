"""Faults that are planted in deployments of the embedded models: those that the diagnosis has a name for, and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from .. import zoo
from ..content import Array
from ..convert import fold, from_torch
from ..errors import DataError
from ..network import Branch, Conv, Dense, Network, Scale
from ..quantise import Grid

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
        raise NoPlaceError
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
    """The inputs of some units of a layer come in the reverse order; of all units it costs too much to be hard to see."""
    share = rng.uniform(0.02, 0.5)

    def turn(op: Any) -> Any:
        turned = (rng.random(len(op.weight)) < share).reshape(-1, *[1] * (op.weight.ndim - 1))
        return replace(op, weight=np.where(turned, op.weight[..., ::-1], op.weight))

    return _changed(network, _some_layer(rng, network), turn)


def _crossed(rng: Draw, network: Network) -> Network:
    """Two classes have changed places in the read-out."""

    def cross(op: Any) -> Any:
        order = np.arange(len(op.weight))
        pair = rng.choice(len(order), 2, replace=False)
        order[pair] = pair[::-1]
        return replace(op, weight=op.weight[order], bias=None if op.bias is None else np.asarray(op.bias)[order])

    return _changed(network, network.output.name, cross)


def _drifted(rng: Draw, network: Network) -> Network:
    """The neurons of a layer differ from each other: another threshold in each channel, unknown to the converter."""
    name = str(rng.choice([v.name for v in network.spiking]))
    size = rng.uniform(0.2, 1.5)

    def drifted(v: Any) -> Any:
        theta = np.asarray(v.act.theta) * np.exp(rng.normal(0, size, network.shapes[name][0]))
        return replace(v, act=replace(v.act, theta=theta, v_init=theta / 2))

    return replace(network, layers=tuple(drifted(v) if v.name == name else v for v in network.layers))


def _neurons(network: Network, **semantics: Any) -> Network:
    """Every neuron obeys other semantics than the conversion reckons with."""
    names = {v.name for v in network.spiking}
    return replace(network, layers=tuple(
        replace(v, act=replace(v.act, **semantics)) if v.name in names else v for v in network.layers))  # type: ignore[type-var]  # fmt: skip


def _reset(rng: Draw, network: Network) -> Network:
    return _neurons(network, reset="value")


def _leak(rng: Draw, network: Network) -> Network:
    """Potentials fade from step to step."""
    return _neurons(network, leak=float(rng.uniform(0.75, 0.97)))


def _filter(rng: Draw, network: Network) -> Network:
    """Currents linger, so that a spike acts in later steps too."""
    return _neurons(network, syn_decay=float(rng.uniform(0.1, 0.5)))


def _delay(rng: Draw, network: Network) -> Network:
    """Every layer answers a step later than its input, and the run is not longer for it."""
    return _neurons(network, delay=1)


def _start(rng: Draw, network: Network) -> Network:
    """Neurons start elsewhere than the conversion has it."""
    return _neurons(network, v_init=float(rng.uniform(-2.0, 0.0)))


IN_THE_END: dict[str, Callable[[Draw, Network], Network]] = {
    "channels exchanged": _swapped, "classes exchanged": _crossed, "weights stuck at 0": _stuck,
    "noise on weights": _noisy, "inputs reversed": _turned, "thresholds drifted": _drifted, "hard reset": _reset,
    "leak": _leak, "currents linger": _filter, "delay": _delay, "another start": _start,
}  # fmt: skip
IN_THE_IMPORT = ("channels exchanged", "weights stuck at 0", "noise on weights", "inputs reversed")
IMPORTED = " on import"


def _ends(kind: str) -> Plant:
    """What is deployed is not what the conversion gives."""

    def plant(rng: Draw, b: Base, plan: Plan) -> tuple[Plan, str]:
        state = int(rng.integers(2**31))
        return replace(plan, broken=lambda network: IN_THE_END[kind](np.random.default_rng(state), network)), ""

    return plant


def _imports(kind: str) -> Plant:
    """The converter took another network for the trained one."""
    return lambda rng, b, plan: (replace(plan, ann=IN_THE_END[kind](rng, fold(plan.ann))), "")


# What the diagnosis has no name for, in what is deployed or in the converter's ANN.
UNKNOWN: dict[str, Plant] = {k: _ends(k) for k in IN_THE_END} | {k + IMPORTED: _imports(k) for k in IN_THE_IMPORT}


class NoPlaceError(Exception):
    """The model has nothing that this fault could sit in."""


class NotPlantedError(DataError):
    """No draw of these faults made each of them cost what a planted cause should."""


def _some_layer(rng: Draw, network: Network) -> str:
    return str(rng.choice([v.name for v in network.layers if isinstance(v.branches[0].op, (Dense, Conv))]))


def _changed(network: Network, name: str, change: Callable[[Any], Any]) -> Network:
    layers = tuple(
        replace(v, branches=(Branch(change(v.branches[0].op), v.branches[0].source),)) if v.name == name else v
        for v in network.layers
    )
    return replace(network, layers=layers)
