"""Thresholds come from the whole calibration set, exactly, whatever its order."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from .. import reference
from ..activation import Neuron, Relu
from ..content import Array, Content
from ..findings import Measure
from ..network import Branch, Dense, Layer, Network, Scale
from ..oracles import Oracle
from ..strategies import SHAPES, Conversion, conversions, dyadic, layered
from ..trace import Case
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


@st.composite
def trains(draw: st.DrawFn, /) -> Case:
    """A neuron with soft reset and no leak on a signed dyadic current that changes from step to step."""
    part = draw(st.sampled_from([0.0, 0.25, 0.5]))
    theta = draw(st.integers(4, 24)) / 8
    one = Layer("neuron", (Branch(Scale(1.0)),), Neuron(theta=np.asarray(theta), v_init=np.asarray(part * theta)))
    current = draw(dyadic((draw(st.integers(4, 24)), 1, 6), -16, 16))
    return Case(Network((6,), (one,)), current, len(current), "spikes", kind="exact")


@check("simulator", trains())
def count_falls(case: Case, subject: Oracle) -> Iterator[Measure]:
    """A higher threshold never makes more spikes in any unit, for any input: N_t = max(N_{t-1}, min(N_{t-1} + 1, floor(S_t / theta + v_0 / theta))), S_t the summed current [by induction over the recurrence of IF with soft reset, v_0 a fixed share of theta]."""
    act = case.network.layers[0].act
    assert isinstance(act, Neuron)
    share = float(np.asarray(act.v_init)) / float(np.asarray(act.theta))
    before = None
    for factor in (1, 1.25, 1.5, 2, 3):
        theta = float(np.asarray(act.theta)) * factor
        other = replace(act, theta=np.asarray(theta), v_init=np.asarray(share * theta))
        layer = replace(case.network.layers[0], act=other)
        counts = subject.run(replace(case, network=replace(case.network, layers=(layer,)))).counts["neuron"][0]
        expected = _induction(case.x[:, 0], Fraction(theta), Fraction(share * theta))
        yield Measure("count off", float(np.abs(counts - expected).max()), where=f"theta x {factor}")
        if before is not None:
            yield Measure("more spikes", float(np.maximum(counts - before, 0).max()), where=f"theta x {factor}")
        before = counts


def _induction(current: Array, theta: Fraction, start: Fraction) -> Array:
    counts = []
    for unit in range(current.shape[1]):
        n, total = 0, start
        for value in current[:, unit]:
            total += Fraction(float(value))
            n = max(n, min(n + 1, int(total // theta)))
        counts.append(n)
    return np.array(counts)


@dataclass(frozen=True, eq=False)
class Request(Content):
    """A conversion to a range of rates."""

    given: Conversion
    low: float
    high: float


@st.composite
def requests(draw: st.DrawFn, /) -> Request:
    """Ranges that some layers can give, the narrowest often between two thresholds; half of the sets repeat one sample, whose average nothing leaves in doubt."""
    d = draw(conversions(2))
    if draw(st.booleans()):
        d = replace(d, x=np.repeat(d.x[:1], 3, 0))
    low = draw(st.sampled_from([0.03125, 0.125, 0.25]))
    return Request(d, low, low + draw(st.sampled_from([0.0078125, 0.0625, 0.125, 0.25])))


@check("converter", requests())
def target_rate(r: Request, subject: Oracle) -> Iterator[Measure]:
    """The rates that are reported are those of the exact reference; a layer outside its range has a cause, and one inside has the threshold nearest to the 99.9 percentile: a 64th of an octave nearer is outside; where a range falls between two thresholds, the higher one is taken, so no rate is over it [definition; monotone by calibration.count_falls]."""
    d, T = r.given, 8
    options: dict[str, Any] = {"form": "balance", "readout": "count", "rate_steps": T}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = subject.convert(d.network, d.x, mode="rate", target_rate=(r.low, r.high), **options)
        plain = subject.convert(d.network, d.x, mode="99.9%", **options)
    for row in converted.rates:
        counts = reference.run(Case(converted.snn, d.x, T)).counts[row.layer]
        average = counts.mean() / T
        yield Measure(
            "average off", abs(row.average - average), 2.0**-40, where=row.layer
        )  # one mean of a few integers
        yield Measure(
            "silent off", float(row.silent != (counts.reshape(len(d.x), -1).max(0) == 0).sum()), where=row.layer
        )
        yield Measure("saturated off", abs(row.saturated - (counts >= T).mean()), 2.0**-40, where=row.layer)
        inside = r.low <= average <= r.high
        yield Measure("over the range", float(average > r.high), where=row.layer)
        means = counts.reshape(len(d.x), -1).mean(1) / T
        enough = len(d.x) > 1 and means.std(ddof=1) / np.sqrt(len(d.x)) <= (r.high - r.low) / 2
        yield Measure("cause missing or invented", float(bool(row.causes) == (inside and enough)), where=row.layer)
        theta, first = float(converted.scales[row.layer]), float(plain.scales[row.layer])
        if inside and theta != first:
            k = round(64 * np.log2(theta / first))
            nearer = _rounded(first * 2.0 ** ((k - np.sign(k)) / 64)) if abs(k) > 1 else first
            rate = (
                reference.run(Case(_with_threshold(converted.snn, row.layer, nearer), d.x, T)).counts[row.layer].mean()
                / T
            )
            yield Measure("a nearer threshold is inside", float(r.low <= rate <= r.high), where=row.layer)


@dataclass(frozen=True, eq=False)
class Jump(Content):
    """Units of one dense layer, all but some alike, and a range that their average jumps over between two thresholds.

    Parameters
    ----------
    drives : array [C]
        Constant current of each unit, dyadic.
    steps : int
    least, most : int
        Spikes of all units together in `steps` steps on either side of the jump.
    top, bottom : int
        ``top / bottom`` is the highest threshold that gives `most`.
    """

    drives: Array
    steps: int
    least: int
    most: int
    top: int
    bottom: int


@st.composite
def jumps(draw: st.DrawFn, /) -> Jump:
    """From below: one unit that fires in every step beside weak ones that begin to fire together; from above: units that all cease to fire in every step."""
    T, n = draw(st.integers(4, 12)), draw(st.integers(4, 20))
    if draw(st.booleans()):
        return Jump(np.ones(n), T, n * (T - 1), n * T, 2 * T, 2 * T - 1)
    power = draw(st.integers(6, 9))
    return Jump(np.array([1.0] + [2.0**-power] * (n - 1)), T, T, T + n - 1, 2 * T, 2**power)


@check("converter", jumps())
def jumped_range(d: Jump, subject: Oracle) -> Iterator[Measure]:
    """Where like units jump over the range, the threshold is the least one tried that leaves them below it, within a 64th of an octave of the jump: n(theta) = min(T, floor(T z / theta + 1/2)) turns from k - 1 to k at theta = T z / (k - 1/2) [Bu et al., ICLR 2022; derived from it]."""
    units, T = len(d.drives), d.steps
    layer = Layer("units", (Branch(Dense(d.drives[:, None])),), Relu())
    below, over = (Fraction(v, units * T) for v in (d.least, d.most))
    low, high = (float(below + share * (over - below)) for share in (Fraction(1, 4), Fraction(1, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = subject.convert(Network((1,), (layer,)), np.ones((3, 1)), mode="rate", target_rate=(low, high),
                                    form="balance", rate_steps=T)  # fmt: skip
    (row,) = converted.rates
    yield Measure("average off", abs(row.average - float(below)), 2.0**-40, where="units")  # a mean of a few integers
    yield Measure("no cause told", float(not row.causes), where="units")
    jump, theta = Fraction(d.top, d.bottom), Fraction(float(converted.scales["units"]))
    yield Measure("threshold at the jump or below it", float(theta <= jump), where="units")
    # a step is 2^(1/64); a threshold has 12 bits, so that each of the two is off by at most 2^-12 of itself
    step = (1 + 2.0**-12) / (1 - 2.0**-12) * 2 ** (1 / 64)
    yield Measure("distance to the jump", float(theta / jump), step, where="units")


DRAWS, BLAMED = 1500, 0.01  # pairs of sets, and the share of them that may be blamed


@check("operators", st.tuples(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), st.booleans()))
def same_distribution(drawn: tuple[int, int, int, bool], subject: Oracle) -> Iterator[Measure]:
    """Of two sets of one normal distribution at most 1 % are told to be unlike; with as many samples in both, the share is that of Student's t beyond its quantile at n - 1, exactly, its own degrees being 2 n - 2; sets that lie 10,000 standard deviations apart are always told [Student, Biometrika 6:1, 1908; Mickey & Brown, Ann. Math. Statist. 37:639, 1966]."""
    seed, n, m, alike = drawn
    sizes, rng, told = (n, n if alike else m), np.random.default_rng(seed), subject.operator("unlike")
    sets = [rng.normal(0.5, 1e-6, (DRAWS, k)) for k in sizes]
    means, errors = [v.mean(1) for v in sets], [v.std(1, ddof=1) / np.sqrt(v.shape[1]) for v in sets]

    def blames(shift: float, draws: int) -> int:
        """How many of the second sets are blamed, where the range is a point that only the first average is in."""
        return sum(told((means[0][i], errors[0][i], sizes[0]), (means[1][i] + shift, errors[1][i], sizes[1]),
                        means[0][i] - 1e-15, means[0][i] + 1e-15) == "unlike" for i in range(draws))  # fmt: skip

    blamed, place = blames(0.0, DRAWS), f"{sizes[0]} and {sizes[1]} samples"
    share = 2 * float(stats.t.sf(stats.t.isf(BLAMED / 2, n - 1), 2 * n - 2)) if alike else BLAMED
    # numbers that a binomial exceeds, or stays below, in one of 10^12 runs
    yield Measure("false blames", float(blamed), float(stats.binom.isf(1e-12, DRAWS, share)), where=place)
    least = float(stats.binom.ppf(1e-12, DRAWS, share)) if alike else 0.0
    yield Measure("blames too few", float(max(least - blamed, 0)), where=place)
    yield Measure("unlike data not told", float(20 - blames(1e-2, 20)), where=place)


def _rounded(theta: float) -> float:
    """Twelve bits, as the search promises."""
    fraction, exponent = np.frexp(theta)
    return float(np.ldexp(np.rint(np.ldexp(fraction, 12)), exponent - 12))


def _with_threshold(network: Network, name: str, theta: float) -> Network:
    size = np.asarray(theta)
    layers = tuple(
        replace(v, act=replace(v.act, theta=size, amplitude=size, v_init=size / 2)) if v.name == name else v  # type: ignore[type-var]
        for v in network.layers
    )
    return replace(network, layers=layers)


@st.composite
def ranged(draw: st.DrawFn, /) -> Conversion:
    """ANNs on signed samples whose range in every channel is a power of two, so that the map to [0, 1] is exact."""
    network = draw(layered(2, st.just(Relu()), st.sampled_from([(3,), (2, 4)])).filter(_unpadded))
    x = draw(dyadic((draw(st.integers(2, 5)), *network.input_shape), -8, 8))
    low = draw(dyadic((network.input_shape[0],), -8, 0)).reshape(-1, *(1,) * (len(network.input_shape) - 1))
    span = 2.0 ** draw(st.integers(1, 3))
    x = low + np.abs(x) % span
    x[0], x[1] = np.broadcast_to(low, x[0].shape), np.broadcast_to(low + span, x[0].shape)
    return Conversion(network, x, 4)


def _unpadded(network: Network) -> bool:
    return not any(any(map(np.any, getattr(b.op, "padding", ()))) or getattr(b.op, "transposed", False)
                   for v in network.layers for b in v.branches)  # fmt: skip


@check("converter", ranged())
def input_range(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """Signed inputs become those in [0, 1], and the first layer undoes that: W (high - low) u + W low + b = W x + b, bit for bit on dyadic ranges [substitution of x = low + (high - low) u]."""
    converted = subject.convert(d.network, d.x, unit_range=True)
    u = converted.entered(d.x)
    yield Measure("outside [0, 1]", float(max(-u.min(), u.max() - 1, 0)))
    yield Measure("range not used", float(abs(u.min()) + abs(u.max() - 1)))
    was, now = reference.forward(d.network, d.x), reference.forward(converted.ann, u)
    name = d.network.output.name
    yield Measure("output changed", float(np.abs(was[name] - now[name]).max()), where=name)
