"""What each station of the way to a chip costs: ANN, spiking, weights rounded, fine-tuned; and native training beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch

from .. import zoo
from ..config import Settings
from ..content import Array
from ..convert import ConvertedNetwork
from ..data import check_labels, load_data, shared_samples
from ..errors import ConfigError, DataError
from ..network import INPUT, Conv, Dense, Flatten, Network
from ..quantise import Grid, QuantisedNetwork, quantise
from ..simulate import fan_out, forward, simulate
from ..stats import Paired, from_predictions
from ..trace import Encoding
from ..zoo import native, qat
from ..zoo.activations import static_int8
from .conversion import conversion
from .models import Subject, outputs, subjects

Progress = Callable[[str, int, int], None]
TILE = 256
ACTIVATIONS = "int8 activations"


@dataclass(frozen=True)
class Task:
    """A trained model with labelled samples to train on, and others to judge by.

    Parameters
    ----------
    subject : Subject
    train_x, train_y : array
        Calibrate and fine-tune.
    moved : bool
        Whether training moves images, as that of the embedded models did.
    shared : int
        Evaluation samples that are training samples as well.
    """

    subject: Subject
    train_x: Array
    train_y: Array
    moved: bool
    shared: int = 0


@dataclass(frozen=True)
class Station:
    """Predictions at one station, once per seed.

    Parameters
    ----------
    name : str
    grid : Grid or None
    kind : {"ANN", "SNN"}
    paired : tuple of Paired
        Against the float ANN, for each seed.
    accuracy : tuple of float
    """

    name: str
    grid: Grid | None
    kind: str
    paired: tuple[Paired, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Side:
    """One of the two nets of the comparison with native training.

    Parameters
    ----------
    name : str
    paired : Paired
        Against the float ANN.
    accuracy, rate : float
        Shares; spikes per unit and step.
    spikes, operations : float
        Spikes, and non-zero connections that they pass, per sample.
    multiply_adds : int
        Non-zero connections from analog values (the input, averages) per sample and step: no spike passes these.
    seconds : float
    """

    name: str
    paired: Paired
    accuracy: float
    rate: float
    spikes: float
    operations: float
    multiply_adds: int
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """The conversion, the natively trained nets, and how many of their spikes differ between torch and us."""

    converted: Side
    natives: tuple[Side, ...]
    differ: int
    compared: int


def tasks(settings: Settings, train: str | None, needed: bool = True) -> Iterator[Task]:
    """Models that the settings name, each with its training samples, if those are `needed`.

    Raises
    ------
    ConfigError
        A model of the user's own without training data, or training data for an embedded one.
    """
    embedded = settings.model is None or ":" not in settings.model
    if embedded and train is not None:
        raise ConfigError(
            f"--train {train}: it goes with a model of your own; embedded models have their training images"
        )
    if not embedded and train is None and needed:
        raise ConfigError("--train: labelled samples to train on are needed; give .npz, an IDX pair or module:callable")
    for subject in subjects(settings):
        outs = outputs(subject.module, subject.x[:2], torch.float32, None).shape[1]
        check_labels(subject.y, outs)
        if embedded:
            m = zoo.load_default(subject.name)
            yield Task(subject, m.train_x, m.train_y, True, _shared(m.train_x, subject.x))
            continue
        if train is None:
            yield Task(subject, subject.x[:0], subject.y[:0], False)
            continue
        data = load_data(train, root=settings.root)
        shape = subject.x.shape[1:]
        if int(np.prod(data.x.shape[1:])) != int(np.prod(shape)):
            raise DataError(
                f"--train {train}: samples of shape {data.x.shape[1:]}, those of data: {shape}; give both alike"
            )
        check_labels(data.y, outs)
        x = np.asarray(data.x, np.float32).reshape(-1, *shape)
        yield Task(subject, x, np.asarray(data.y, np.int64), False, _shared(x, subject.x))


def visit(
    task: Task, grids: Sequence[Grid], steps: int, seeds: Sequence[int], settings: Settings, recipe: qat.Recipe,
    progress: Progress | None = None,
) -> list[Station]:  # fmt: skip
    """Accuracy at every station.

    Parameters
    ----------
    task : Task
    grids : sequence of Grid
    steps : int
        T.
    seeds : sequence of int
        Of fine-tuning; rounding after training knows none.
    settings : Settings
        Of the conversion.
    recipe : qat.Recipe
    progress : callable (stage, done, total), optional
    """
    subject, y = task.subject, task.subject.y
    ann = outputs(subject.module, subject.x, torch.float32, None).argmax(1)
    recipe = replace(recipe, moved=task.moved)
    whole, entered = converted(task, settings)

    def told(arm: str, i: int) -> Callable[[int, int], None] | None:
        """Tell each epoch of the i-th seed of an arm, a stage of its own."""
        if progress is None:
            return None
        return lambda done, epochs: progress(f"{subject.name}: {arm}", i * epochs + done, len(seeds) * epochs)

    def station(name: str, grid: Grid | None, kind: str, told: Sequence[Array]) -> Station:
        pairs = tuple(from_predictions(y, ann, c) for c in told)
        return Station(name, grid, kind, pairs, tuple(float(np.mean(c == y)) for c in told))

    def spiking(network: Network) -> Array:
        return classes(conversion(entered.subject, settings, network), entered, steps, settings)

    rows = [
        station("float", None, "ANN", [ann]),
        station("float", None, "SNN", [classes(whole, entered, steps, settings)]),
    ]
    if any(isinstance(m, torch.nn.ReLU) for m in subject.module.modules()):
        static, _ = static_int8(subject.module, subject.calibration, kinds=(torch.nn.ReLU,))
        rows.append(station(ACTIVATIONS, None, "ANN", [outputs(static, subject.x, torch.float32, None).argmax(1)]))
    control = []
    for i, seed in enumerate(seeds):
        more = qat.fine_tune_float(
            whole.ann, entered.train_x, task.train_y, recipe=recipe, seed=seed, progress=told("training on, no grid", i)
        )
        control.append(spiking(more))
    rows.append(station("trained on", None, "SNN", control))
    for grid in grids:
        rows.append(
            station("post-training", grid, "ANN", [_analog(quantise(whole.ann, grid).network, entered.subject.x)])
        )
        rounded = replace(whole, snn=quantise(whole.snn, grid).network)
        rows.append(station("post-training", grid, "SNN", [classes(rounded, entered, steps, settings)]))
        for train in ("scales", "weights"):
            tuned = []
            for i, seed in enumerate(seeds):
                found = qat.fine_tune_quantised(
                    whole.ann, entered.train_x, task.train_y, grid, train=train, recipe=recipe, seed=seed,
                    progress=told(f"fine-tuning {train}, {grid.precision}", i),
                )  # fmt: skip
                tuned.append(spiking(found.network))
            rows.append(station(f"fine-tuned {train}", grid, "SNN", tuned))
    return rows


def quantised(
    task: Task, grid: Grid, train: str | None, seed: int, settings: Settings, recipe: qat.Recipe,
    progress: Progress | None = None,
) -> tuple[Task, ConvertedNetwork, ConvertedNetwork, QuantisedNetwork]:  # fmt: skip
    """Task as `converted` gives it; the float spiking network; that on a grid, rounded or tuned; its integers."""
    whole, task = converted(task, settings)
    if train is None:
        found = quantise(whole.snn, grid)
        return task, whole, replace(whole, snn=found.network), found
    tick = None if progress is None else lambda done, todo: progress(f"{task.subject.name}: fine-tuning", done, todo)
    tuned = qat.fine_tune_quantised(whole.ann, task.train_x, task.train_y, grid, train=train, seed=seed, progress=tick,  # type: ignore[arg-type]
                                    recipe=replace(recipe, moved=task.moved))  # fmt: skip
    # Balanced thresholds leave the weights, hence their scales, as they were found.
    balanced = conversion(task.subject, settings, tuned.network, form="balance")
    carried = quantise(balanced.snn, grid, {name: w.scale for name, w in tuned.weights.items()})
    return task, whole, replace(balanced, snn=carried.network), carried


def against_native(
    task: Task, steps: int, seeds: Sequence[int], settings: Settings, recipe: native.Recipe,
    progress: Progress | None = None,
) -> Comparison:  # fmt: skip
    """Train natively, once for each seed, and compare with the conversion.

    All are simulated by our simulator on the evaluation samples; the equality is counted on up to `TILE` of them.

    Raises
    ------
    ConfigError
        Neurons or an encoding that native training has not: the comparison would be one of neurons.
    """
    for name, value, only in (("leak", float(settings.leak), 1.0), ("reset", settings.reset, "subtract"),
                              ("encoding", settings.encoding, "constant")):  # fmt: skip
        if value != only:
            raise ConfigError(f"{name} = {value!r}: native nets are trained with {name} = {only!r}; leave it out")
    ann = outputs(task.subject.module, task.subject.x, torch.float32, None).argmax(1)
    started = time.perf_counter()
    whole, task = converted(task, settings)
    converting, subject = time.perf_counter() - started, task.subject
    natives, differ, compared, few = [], 0, 0, subject.x[:TILE]
    for seed in seeds:
        name = "native" if len(seeds) == 1 else f"native, seed {seed}"
        stage = f"{subject.name}: {name}"
        tick = None if progress is None else lambda done, todo, stage=stage: progress(stage, done, todo)
        started = time.perf_counter()
        net = native.train_native(whole.ann, task.train_x, task.train_y, steps, seed=seed, progress=tick,
                                  recipe=replace(recipe, moved=task.moved))  # fmt: skip
        natives.append(_side(name, net, subject, ann, steps, time.perf_counter() - started))
        torchs, _ = native.spikes_of(net, few, steps)
        ours = simulate(net, few, steps, record="spikes", dtype="float64").spikes
        differ += sum(int(np.sum(s != ours[layer])) for layer, s in torchs.items())
        compared += sum(s.size for s in torchs.values())
    return Comparison(_side("converted", whole.snn, subject, ann, steps, converting), tuple(natives), differ, compared)


def _side(name: str, snn: Network, subject: Subject, ann: Array, steps: int, seconds: float) -> Side:
    trace = simulate(snn, subject.x, steps)
    n = len(subject.x)
    classes = trace.readout[-1].argmax(-1)
    units = sum(int(np.prod(snn.shapes[v.name])) for v in snn.spiking)
    spikes = sum(int(c.sum()) for c in trace.counts.values()) / n
    operations = sum(e.get("synaptic_operations", 0) for e in trace.events.values()) / n
    paired = from_predictions(subject.y, ann, classes)
    return Side(name, paired, float(np.mean(classes == subject.y)), spikes / units / steps, spikes, operations,
                multiply_adds(snn), seconds)  # fmt: skip


def multiply_adds(network: Network) -> int:
    """Non-zero connections of dense layers and convolutions that carry analog values: one multiply-add a step each."""
    analog, found = {INPUT}, 0
    for layer in network.layers:
        fed = [b for b in layer.branches if b.source in analog]
        found += sum(int(fan_out(b.op, network.shapes[b.source]).sum()) for b in fed if isinstance(b.op, (Dense, Conv)))
        if layer.act is None and (fed or not all(isinstance(b.op, Flatten) for b in layer.branches)):
            analog.add(layer.name)
    return found


def _shared(train: Array, evaluation: Array) -> int:
    return len(set(shared_samples(train, evaluation)[:, 1].tolist()))


def converted(task: Task, settings: Settings) -> tuple[ConvertedNetwork, Task]:
    """The conversion of the trained model, and the task with all of its samples as both networks take them."""
    whole, s = conversion(task.subject, settings), task.subject
    if whole.inputs is None:
        return whole, task
    x, calibration, train_x = (
        np.asarray(whole.entered(v, cast(Encoding, settings.encoding)), np.float32)
        for v in (s.x, s.calibration, task.train_x)
    )
    return replace(whole, inputs=None), replace(task, subject=replace(s, x=x, calibration=calibration), train_x=train_x)


def classes(snn: ConvertedNetwork, entered: Task, steps: int, settings: Settings) -> Array:
    """Class of every evaluation sample, under the encoding and the seed of the settings."""
    return snn.classify(entered.subject.x, steps, encoding=cast(Encoding, settings.encoding), seed=settings.seed,
                        first_sample=entered.subject.first_sample)  # fmt: skip


def _analog(network: Network, x: Array) -> Array:
    parts = [forward(network, np.asarray(x[i : i + TILE], np.float32))[network.output.name].argmax(-1)
             for i in range(0, len(x), TILE)]  # fmt: skip
    return np.concatenate(parts)
