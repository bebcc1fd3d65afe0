"""Laws of a conversion of a real model, measured on its data. The gate requires most of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from .. import reference
from ..activation import ClipFloor, Neuron, Relu
from ..bounds import reach, rounding_limit
from ..content import Array
from ..errors import Unsupported
from ..fidelity import LayerFidelity, ModelUnderTest, measure
from ..findings import Measure
from ..network import INPUT, Network, per_channel
from ..simulate import MEMORY, forward, over_time, run, tiling
from ..trace import Case, Trace
from . import check

SAMPLES, UNITS = 2, 4  # of the evaluation set and of every layer, judged by the exact reference
AGREEMENT = 0.05  # a policy, not a law; `max_disagreement` sets another


@check("model")
def import_equals_torch(m: ModelUnderTest) -> Iterator[Measure]:
    """The imported and folded network gives the trained model's own outputs within rounding, which torch itself shows by the distance of its float32 and float64 outputs [a posteriori]."""
    name = m.converted.ann.output.name
    apart = 0.0
    for rows in _tiles(m):
        ours = forward(m.converted.ann, m.x[rows])[name]
        apart = max(apart, float(np.abs(ours.reshape(m.logits[rows].shape) - m.logits[rows]).max()))
    yield Measure("|difference|", apart, rounding_limit(m.unit, m.noise, m.logits), where=name)


def _tiles(m: ModelUnderTest) -> Iterator[slice]:
    size = tiling(m.converted.ann, len(m.x), 1, 8, 4 * MEMORY)[0]
    yield from (slice(start, start + size) for start in range(0, len(m.x), size))


@check("model")
def activations_replaced(m: ModelUnderTest) -> Iterator[Measure]:
    """Every activation of the ANN became a spiking neuron, and there is at least one [definition of a conversion]."""
    before = {v.name for v in m.converted.ann.layers if isinstance(v.act, Relu | ClipFloor)}
    after = {v.name for v in m.converted.snn.layers if isinstance(v.act, Neuron)}
    yield Measure("activations not replaced", float(len(before - after)))
    yield Measure("none to replace", float(not before))


@check("model")
def normalisation(m: ModelUnderTest) -> Iterator[Measure]:
    """The scaled weights give the ANN's own input of every layer, over its threshold [Rueckauer et al. 2017]."""
    # the ANN's sums are not clipped as those of spikes are
    over = max(1.0, *(layer.ann_max for layer in m.fidelity.layers))
    for layer in m.fidelity.layers:
        size, depth = reach(m.converted.snn, layer.layer, float(np.abs(m.x).max()))
        theta = float(np.min(m.converted.thresholds[layer.layer]))
        limit = 2.0**-53 * (2 * depth + 6) * size * over / theta
        yield Measure("|difference| / theta", layer.normalisation, limit, where=layer.layer)


def _where(m: ModelUnderTest, bound: str, why: str) -> list[LayerFidelity]:
    """Layers of which a law holds: its bound is a number."""
    layers = [layer for layer in m.fidelity.layers if np.isfinite(getattr(layer, bound))]
    if not layers:
        raise Unsupported(m.name, why)
    return layers


def _classifies(m: ModelUnderTest) -> None:
    if m.fidelity.regression:
        raise Unsupported(m.name, "its targets are numbers: it has no classes to agree on")


@check("model")
def first_layer_rate(m: ModelUnderTest) -> Iterator[Measure]:
    """Under constant current the first layer's rate lies within max(v, 1 - v)/T of clip(z / theta), v = V0 / theta [Bu et al., ICLR 2022]."""
    for layer in _where(m, "rate_limit", "it holds for constant current and soft reset alone"):
        yield Measure("|rate - clip(z)|", layer.error_max, layer.rate_limit, where=layer.layer)


@check("model")
def layer_identity(m: ModelUnderTest) -> Iterator[Measure]:
    """Theta r = W rbar_prev + b - (V_T - V_0) / T in every unit of every soft-reset layer, within rounding [Rueckauer et al. 2017]."""
    for layer in _where(m, "rounding", "it holds for soft reset without leak or floor alone"):
        yield Measure("residual / theta", layer.identity, layer.rounding, where=layer.layer)


@check("model")
def rate_error_explained(m: ModelUnderTest) -> Iterator[Measure]:
    """Every unit's rate error is at most what its inputs bring plus the potential left over [layer identity; clipping shrinks distances]."""
    for layer in _where(m, "rounding", "it holds for soft reset without leak or floor alone"):
        yield Measure("unexplained rate error", layer.unexplained, layer.rounding, where=layer.layer)


@check("model")
def agreement(m: ModelUnderTest) -> Iterator[Measure]:
    """ANN and SNN classify alike at the largest T, but for a stated share of the samples [policy: 5 % unless configured]."""
    _classifies(m)
    share = float((m.fidelity.snn[-1] != m.fidelity.ann).mean())
    yield Measure("share that differs", share, m.limits.get("model.agreement", AGREEMENT))


@check("model")
def accuracy_counts(m: ModelUnderTest) -> Iterator[Measure]:
    """The paired table, the two accuracies and the drop fit together at every T, over all classes [b - c = ANN right - SNN right]."""
    _classifies(m)
    f = m.fidelity
    for T, predicted in zip(f.steps, f.snn, strict=True):
        right = int((f.ann == f.labels).sum()), int((predicted == f.labels).sum())
        p = f.paired(T)
        yield Measure("drop off", float(abs(p.drop - Fraction(right[0] - right[1], len(f.labels)))), where=f"T = {T}")
        classes = [f.paired(T, int(k)) for k in np.unique(f.labels)]
        yield Measure(
            "classes do not add up", float(abs(sum(k.b for k in classes) - p.b) + abs(sum(k.n for k in classes) - p.n))
        )


@check("model")
def figures(m: ModelUnderTest) -> Iterator[Measure]:
    """Rates, errors, dead and saturated units of the layer table are those of a plain recount [definition of LayerFidelity]."""
    x, T = m.x[:16], m.fidelity.steps[-1]
    again = measure(m.converted, x, m.fidelity.labels[:16], m.logits[:16], (T,))
    counts, activations = (
        run(Case(m.converted.snn, x, T, dtype="float32"), "counts").counts,
        forward(m.converted.ann, x),
    )
    for layer in again.layers:
        rates = counts[layer.layer].astype(float) / T
        scale = per_channel(m.converted.scales[layer.layer], rates.shape[1:])
        target = np.clip(activations[layer.layer] / scale, 0, 1)
        expected = {
            "rate": rates.mean(), "ann_rate": target.mean(), "error_mean": np.abs(rates - target).mean(),
            "error_max": np.abs(rates - target).max(), "dead": (rates.max(0) == 0).sum(),
            "clipped": np.maximum(activations[layer.layer] / scale - 1, 0).mean(),
            "saturated": (rates.max(0) >= 1).sum(), "units": rates[0].size,
        }  # fmt: skip
        for name, value in expected.items():
            # the same numbers summed in another order, in float64
            yield Measure(
                f"{name} off",
                abs(getattr(layer, name) - float(value)),
                1e-12 * max(1, rates[0].size),
                where=layer.layer,
            )


@check("model")
def sampled_units(m: ModelUnderTest) -> Iterator[Measure]:
    """Random units of every layer, fed with the recorded spikes of their inputs, spike as the exact reference does [DESIGN 4; margins: Higham 2002, eq. 3.5]."""
    snn, T = m.converted.snn, m.fidelity.steps[-1]
    rng = np.random.default_rng(m.seed)
    rows = np.sort(rng.choice(len(m.x), min(SAMPLES, len(m.x)), replace=False))
    case = Case(snn, m.x[rows], T)  # in float64, where the bound is so narrow that a bug cannot hide in it
    trace = run(case)
    values = _emitted(snn, case, trace)
    for layer in snn.spiking:
        size, depth = reach(snn, layer.name, float(np.abs(case.x).max()))
        assert isinstance(layer.act, Neuron)
        for _ in range(UNITS):
            n = int(rng.integers(len(rows)))
            at = tuple(int(rng.integers(k)) for k in snn.shapes[layer.name])
            inputs = {b.source: values[b.source][:, n] for b in layer.branches}
            spikes, v, peak = reference.unit(case, layer.name, n, at, inputs)
            ours = np.array([s[(n, *at)] for s in trace.spikes[layer.name]])
            unlike = np.flatnonzero(ours != np.array(spikes))
            first = int(unlike[0]) if len(unlike) else T
            theta = float(
                np.ravel(per_channel(layer.act.theta, snn.shapes[layer.name]))[at[0] if np.ndim(layer.act.theta) else 0]
            )
            v_max = abs(float(np.max(np.abs(layer.act.v_init)))) + T * size + theta
            bound = 2.0**-53 * np.arange(1, T + 1) * ((depth + 1) * size + 2 * v_max) * 1.01
            apart = np.abs(np.array([float(p) for p in v[:first]]) - [s[(n, *at)] for s in trace.v[layer.name][:first]])
            where = f"{layer.name}{list(at)}"
            yield Measure("potential error / bound", float((apart / bound[:first]).max(initial=0)), 1.0, where=where)
            if first < T:
                margin = abs(float(peak[first]) - theta)
                yield Measure("margin of the first divergence", margin, float(bound[first]), where=where,
                              detail=f"step {first}, sample {n}, unit {at}: {int(ours[first])} against {spikes[first]}")  # fmt: skip


def _emitted(snn: Network, case: Case, trace: Trace) -> dict[str, Array]:
    """What every layer hands on in each step, [T, N, *shape] in float64; analog layers in float64 arithmetic."""
    values = {INPUT: np.broadcast_to(case.x, (case.steps, *case.x.shape))}
    for layer in snn.layers:
        if isinstance(layer.act, Neuron):
            amplitude = per_channel(layer.act.amplitude, snn.shapes[layer.name])
            values[layer.name] = trace.spikes[layer.name] * np.asarray(amplitude, float)
        else:
            given = {b.source: values[b.source].astype(float) for b in layer.branches}
            values[layer.name] = over_time(layer, given, case.steps, {})
    return values
