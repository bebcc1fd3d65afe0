"""The networks that are run, each with its stimulus: weights k / 64 where spikes must be bit-identical.

Weights are ``0.5 N(0, 2 / fan-in)``, inputs uniform in [0, 1), both rounded to multiples of 1/64 (inputs down), from seed 0;
neurons are IF with threshold 1, soft reset, ``>=``, ``v_init = 0``, no bias. Every sum then fits float32's 24 bits, which
`Subject` asserts, so that every correct simulator gives the same spikes in whatever order it adds.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snnverify.content import Array
from snnverify.errors import DataError
from snnverify.network import INPUT, Branch, Conv, Cuba, Dense, Flatten, Layer, Network, Neuron, Pool, Scale
from snnverify.strategies import exact_bits
from snnverify.trace import Case

GRID = 64
ROOT = Path(__file__).parents[1]
MNIST = Path(os.environ.get("SNNVERIFY_MNIST") or ROOT.parent / "shared" / "data" / "mnist")  # as the tests have it
DIGITS_STEPS, DIGITS_SAMPLES = 64, 64
PILOTNET_STEPS = 16


@dataclass(frozen=True)
class Subject:
    """A network with its stimulus; `title` is what a reader is told of it.

    Raises
    ------
    DataError
        An exact case whose sums do not fit float32.
    """

    title: str
    case: Case

    def __post_init__(self) -> None:
        if self.case.kind == "exact" and (bits := exact_bits(self.case)) > 24:
            raise DataError(f"{self.title}: its sums need {bits} bits, float32 has 24; take fewer steps")


def mlp(short: bool = False) -> Subject:
    """784-512-256-10."""
    rng, sizes = np.random.default_rng(0), (784, 512, 256, 10)
    shapes = zip(sizes[1:], sizes, strict=False)
    layers = [_layer(f"fc{i}", Dense(_weights(rng, s)), f"fc{i - 1}" if i else INPUT) for i, s in enumerate(shapes)]
    return _subject("MLP 784-512-256-10", rng, (784,), layers, *((4, 8) if short else (64, 32)))


def cnn(short: bool = False) -> Subject:
    """Three convolutions of 32 channels, average pooling between them."""
    rng, layers, source = np.random.default_rng(0), [], INPUT
    for i, inputs in enumerate((1, 32, 32)):
        layers.append(_layer(f"conv{i}", _conv(rng, inputs, 32), source))
        source = f"pool{i}"
        if i < 2:
            layers.append(Layer(source, (Branch(_halved(), f"conv{i}"),)))
    return _subject("CNN 1-32-32-32, 28x28", rng, (1, 28, 28), layers, *((2, 6) if short else (16, 32)))


def residual(short: bool = False) -> Subject:
    """Eight convolutions of 64 channels, pooling after the fourth, skips over every two: spikes added to the current."""
    rng, source = np.random.default_rng(0), INPUT
    layers: list[Layer] = []
    for i in range(8):
        branches = [Branch(_conv(rng, 3 if i == 0 else 64, 64), source)]
        if i in (2, 4, 6):  # the skip into conv4 goes across the pooling
            branches.append(Branch(_halved() if i == 4 else Scale(1.0), f"conv{i - 2}"))
        layers.append(Layer(f"conv{i}", tuple(branches), Neuron()))
        source = f"conv{i}"
        if i == 3:
            layers.append(Layer("pool", (Branch(_halved(), source),)))
            source = "pool"
    return _subject("residual, 8 x 64 channels, 32x32", rng, (3, 32, 32), layers, *((1, 4) if short else (8, 16)))


def digits(short: bool = False) -> Subject:
    """The embedded model on scikit-learn's digits, converted as `snnverify report` does: ordinary floats."""
    from snnverify import zoo
    from snnverify.convert import convert

    m = zoo.load_default()
    converted = convert(m.module, m.train_x)
    samples, steps = (4, 8) if short else (DIGITS_SAMPLES, DIGITS_STEPS)
    case = Case(converted.snn, m.evaluation_x[:samples].astype(np.float32), steps, dtype="float32", kind="rough")
    return Subject("digits, trained", case)


def digits_dyadic(short: bool = False) -> Subject:
    """The same with weights and biases rounded to multiples of 1/256: exact."""
    case = digits(short).case
    layers = [
        replace(v, branches=tuple(replace(b, op=_rounded(b.op)) for b in v.branches)) for v in case.network.layers
    ]
    network = replace(case.network, layers=tuple(layers))
    return Subject("digits, dyadic", replace(case, network=network, kind="exact"))


def mnist(short: bool = False) -> Subject:
    """SpikingJelly's tutorial CNN, trained on 4,000 images of MNIST (examples/mnist_tutorial.py) and converted.

    Raises
    ------
    DataError
        The data are not there.
    """
    from snnverify.convert import convert

    if not any(MNIST.glob("t10k-images*")):
        raise DataError(f"no MNIST in {MNIST}: set SNNVERIFY_MNIST to a folder with its t10k pair")
    module, calibration, x, _ = example("mnist_tutorial").subject("cnn", str(MNIST), 4000, 64, 4)
    converted = convert(module, calibration[:500])
    samples, steps = (4, 8) if short else (64, 64)
    case = Case(converted.snn, x[:samples].astype(np.float32), steps, dtype="float32", kind="rough")
    return Subject("MNIST tutorial CNN, trained", case)


def pilotnet(short: bool = False) -> Subject:
    """Intel's PilotNet in integers, without its resets, behind its input layer, on that layer's spikes for one image.

    Raises
    ------
    DataError
        Intel's vectors have not been fetched.
    """
    from snnverify.exchange.recordings import recordings
    from snnverify.simulate import run

    recording = recordings("pilotnet_lif")[0]
    first, *rest = (_without_resets(v) for v in recording.network.layers)
    steps = 4 if short else PILOTNET_STEPS
    image = Case(Network(recording.network.input_shape, (first,)), recording.x[:steps], steps, "spikes", kind="integer")
    spikes = run(image, "spikes", engine="numpy").spikes[first.name]
    rest[0] = replace(rest[0], branches=(Branch(rest[0].branches[0].op, INPUT),))
    network = Network(spikes.shape[2:], tuple(rest))
    return Subject("Cuba PilotNet", Case(network, spikes, steps, "spikes", kind="integer"))


NETS: Mapping[str, Callable[..., Subject]] = {
    "mlp": mlp, "cnn": cnn, "residual": residual, "digits": digits, "digits-dyadic": digits_dyadic, "mnist": mnist,
    "pilotnet": pilotnet,
}  # fmt: skip


def scaled(subject: Subject, *, samples: int | None = None, steps: int | None = None, gain: float = 1.0) -> Subject:
    """The same network on more or fewer samples (repeated), over other steps, or with its input times `gain`."""
    case = subject.case
    x = case.x if samples is None else np.resize(case.x, (samples, *case.x.shape[1:]))
    x = np.floor(x * gain * GRID) / GRID
    return Subject(subject.title, replace(case, x=x.astype(np.float32), steps=steps or case.steps, kind="rough"))


def ordinary(subject: Subject) -> Subject:
    """The same network with weights that are no multiples of 1/64, as trained ones are none: its sums are floats."""

    def changed(op: Any) -> Any:
        return replace(op, weight=op.weight * np.float32(1.1)) if isinstance(op, Conv | Dense) else op

    network = subject.case.network
    layers = [replace(v, branches=tuple(replace(b, op=changed(b.op)) for b in v.branches)) for v in network.layers]
    case = replace(subject.case, network=replace(network, layers=tuple(layers)), kind="rough")
    return Subject(subject.title, case)


def _subject(title: str, rng: np.random.Generator, shape: tuple[int, ...], layers: list[Layer], samples: int,
             steps: int) -> Subject:  # fmt: skip
    x = (np.floor(rng.random((samples, *shape)) * GRID) / GRID).astype(np.float32)
    return Subject(title, Case(Network(shape, tuple(layers)), x, steps, dtype="float32", kind="exact"))


def _layer(name: str, op: Any, source: str) -> Layer:
    return Layer(name, (Branch(op, source),), Neuron())


def _conv(rng: np.random.Generator, inputs: int, outputs: int) -> Conv:
    return Conv(_weights(rng, (outputs, inputs, 3, 3)), padding=((1, 1), (1, 1)))


def _halved() -> Pool:
    return Pool("average", (2, 2))


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return [out, in, ...] as float32."""
    deviation = 0.5 * np.sqrt(2 / np.prod(shape[1:]))
    return (np.rint(rng.normal(0, deviation, shape) * GRID) / GRID).astype(np.float32)


def _without_resets(layer: Layer) -> Layer:
    act = layer.act
    return replace(layer, act=replace(act, reset_interval=None, reset_offset=0)) if isinstance(act, Cuba) else layer


def _rounded(op: Any) -> Any:
    if isinstance(op, Pool | Flatten | Scale):
        return op
    parts = {k: np.rint(np.asarray(v) * 256) / 256 for k in ("weight", "bias") if (v := getattr(op, k)) is not None}
    return replace(op, **parts)


def example(name: str) -> Any:
    """A program of `examples/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
