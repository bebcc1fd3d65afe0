"""Thresholds come from the whole calibration set, exactly, whatever its order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from .. import reference
from ..activation import Relu
from ..content import Array, Content
from ..findings import Measure
from ..network import Network
from ..oracles import Oracle
from ..strategies import SHAPES, Conversion, conversions, dyadic, layered
from . import check


@dataclass(frozen=True, eq=False)
class Calibration(Content):
    """An ANN, a calibration set longer than a tile, and a mode."""

    network: Network
    x: Array
    mode: str
    per_channel: bool
    population: str


@st.composite
def calibrations(draw: st.DrawFn, /) -> Calibration:
    """Small ANNs on 1 to 150 samples (more than two tiles of 64), with repeated rows so that ties of ranks occur."""
    network = draw(layered(2, st.just(Relu()), SHAPES))
    few = draw(dyadic((draw(st.integers(1, 4)), *network.input_shape), -8, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = few[rng.integers(0, len(few), draw(st.integers(1, 150)))] + rng.integers(0, 3, (1, *network.input_shape)) / 8
    x[0] *= 4  # the extreme sample is early, so that a statistic of the last tile misses it
    mode = draw(st.sampled_from(["50%", "75%", "99.9%", "max", "90%", "100%", "1/2", "1/3"]))
    return Calibration(network, x, mode, draw(st.booleans()), draw(st.sampled_from(["all", "all", "positive"])))


def _population(d: Calibration, name: str, channel: int | None) -> Array:
    a = np.maximum(reference.forward(d.network, d.x)[name], 0)
    a = a if channel is None else a[:, channel]
    return a[a > 0] if d.population == "positive" else a.ravel()


@check("converter", calibrations())
def thresholds(d: Calibration, subject: Oracle) -> Iterator[Measure]:
    """Thresholds are the maximum, its fraction, or numpy's percentile of the rectified activations (of each channel) [Rueckauer et al. 2017, section 2.2.2]."""
    options = {"mode": d.mode, "per_channel": d.per_channel, "population": d.population, "readout": "count"}
    scales = subject.convert(d.network, d.x, **options).scales
    for layer in d.network.layers:
        if layer.act is None and layer is not d.network.output:
            continue
        channels = range(d.network.shapes[layer.name][0]) if d.per_channel and layer is not d.network.output else [None]
        for i, channel in enumerate(channels):
            a = _population(d, layer.name, channel)
            found = float(np.ravel(scales[layer.name])[i])
            expected = _expected(a, d.mode)
            # activations are rounded to float32 once (2^-24); the interpolation rounds in float64
            yield Measure(
                "relative error", abs(found - expected) / expected, 2.0**-23, where=f"{layer.name}[{channel}]"
            )


def _expected(a: Array, mode: str) -> float:
    if not a.size or a.max() == 0:
        return 1.0  # silent: any threshold will do, 1 by convention
    if mode.endswith("%"):
        rank = Fraction(mode[:-1]) / 100 * (a.size - 1)  # exact: numpy's own rank may be off by 1e-13
        low, high = np.sort(a)[[int(rank), min(int(rank) + 1, a.size - 1)]]
        value = float(low + float(rank - int(rank)) * (high - low))
        return value if value > 0 else float(a.max())
    factor = 1.0 if mode == "max" else 1 / float(mode.split("/")[1])
    return factor * float(a.max())


@check("converter", calibrations())
def order_invariance(d: Calibration, subject: Oracle) -> Iterator[Measure]:
    """Shuffling the calibration set changes no threshold [a statistic of a set; exact on dyadic weights]."""
    options = {"mode": d.mode, "per_channel": d.per_channel, "population": d.population}
    order = np.random.default_rng(len(d.x)).permutation(len(d.x))
    one, two = (subject.convert(d.network, x, **options).scales for x in (d.x, d.x[order]))
    for name, value in one.items():
        yield Measure("threshold differs", float(np.abs(np.asarray(value) - two[name]).max()), where=name)


@check("converter", calibrations())
def repetition_invariance(d: Calibration, subject: Oracle) -> Iterator[Measure]:
    """Giving every sample twice changes no maximum and moves no percentile past its neighbours [order statistics]."""
    if d.mode.endswith("%"):
        d = replace(d, mode="max")
    options = {"mode": d.mode, "per_channel": d.per_channel, "population": d.population}
    one, two = (subject.convert(d.network, x, **options).scales for x in (d.x, np.concatenate([d.x, d.x])))
    for name, value in one.items():
        yield Measure("threshold differs", float(np.abs(np.asarray(value) - two[name]).max()), where=name)


@check("converter", conversions())
def report(drawn: Conversion, subject: Oracle) -> Iterator[Measure]:
    """The calibration report counts dead units, the saturated share and mean and greatest rates as the reference does [definition]."""
    converted = subject.convert(drawn.network, drawn.x, mode="1/2")
    activations = reference.forward(drawn.network, drawn.x)
    for row in converted.calibration_report():
        a = np.maximum(activations[row["layer"]], 0)
        theta = row["threshold"]
        expected = {"mean_rate": a.mean() / theta, "max_rate": a.max() / theta, "saturated": (a > theta).mean(),
                    "dead_units": (a.max(0) == 0).sum(), "units": a[0].size}  # fmt: skip
        for name, value in expected.items():
            # sums of at most 2^6 float32 values in float64
            yield Measure(
                f"{name} off", abs(row[name] - float(value)), 1e-12 * max(1.0, float(value)), where=row["layer"]
            )
