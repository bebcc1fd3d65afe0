"""What is measured of a conversion, against a small net worked out by hand and plain numpy on the recorded traces."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from snnverify.activation import Relu
from snnverify.convert import QCFS, ConvertedNetwork, convert
from snnverify.errors import DataError
from snnverify.fidelity import Fidelity, measure, tiles
from snnverify.kernels import encode
from snnverify.network import INPUT, Branch, Dense, Layer, Network
from snnverify.stats import Paired

# Two inputs straight to two units; a third unit gets minus the first and never spikes. theta = 1, v_0 = 0:
# N(T) = clip(floor(x T), 0, T).
HAND = Network((2,), (
    Layer("r", (Branch(Dense(np.array([[1.0, 0], [0, 1], [-1, 0]]))),), Relu()),
    Layer("out", (Branch(Dense(np.array([[1.0, 0, 0], [0, 1, 0]]), None), "r"),)),
))  # fmt: skip
X = np.array([[4, 2], [2, 4], [2, 3], [0, 12], [6, 4], [3, 2], [2, 3], [0, 3.5]]) / 8
LABELS = np.array([0, 1, 1, 0, 1, 0, 0, 1])
ANN = [0, 1, 1, 1, 0, 0, 1, 1]
# counts at T = 4: (2,1) (1,2) (1,1) (0,4) (3,2) (1,1) (1,1) (0,1); at T = 2: (1,0) (0,1) (0,0) (0,2) (1,1) (0,0) (0,0) (0,0)
SNN = {2: [0, 1, 0, 1, 0, 0, 0, 0], 4: [0, 1, 0, 1, 0, 0, 0, 1]}


def by_hand() -> Fidelity:
    c = convert(HAND, [[1.0, 1.0]], mode="max", v_init="zero")
    return measure(c, X, LABELS, X, [4, 2, 4])


def test_predictions_ties_and_paired_tables_by_hand() -> None:
    f = by_hand()
    assert f.steps == (2, 4)
    assert f.ann.tolist() == ANN
    assert [row.tolist() for row in f.snn] == [SNN[2], SNN[4]]
    assert f.ties == (5, 3)  # (0,0), (1,1), (0,0), (0,0), (0,0) and (1,1), (1,1), (1,1)
    # only the ANN is right on samples 2 and 7 (at T = 2), only the SNN on sample 6
    assert f.paired(2) == Paired(8, 2, 1)
    assert f.paired(4) == Paired(8, 1, 1)
    assert [f.paired(2, label=y) for y in (0, 1)] == [Paired(4, 0, 1), Paired(4, 2, 0)]
    assert [f.paired(4, label=y) for y in (0, 1)] == [Paired(4, 0, 1), Paired(4, 1, 0)]


def test_the_layer_by_hand() -> None:
    (r,) = by_hand().layers
    n = 8 * 3  # entries: samples and units
    # rates x 4: 9 + 13 + 0 spikes. Clipped activations: 2.375 + 3.6875; what a rate misses is what the floor cuts.
    expected = {"rate": 22 / 4 / n, "ann_rate": 6.0625 / n, "error_mean": 0.5625 / n, "own": 0.5625 / n,
                "inherited": 0, "clipped": 0.5 / n,  # sample 3 asks for a rate of 1.5
                "left_over": (0.5625 + 0.5 + 2.375) / n,  # cut, over the threshold, and below zero in the silent unit
                "error_max": 0.1875,  # 3.5/8 against 1/4
                "identity": 0, "unexplained": 0, "normalisation": 0}  # fmt: skip
    assert {k: getattr(r, k) for k in expected} == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert (r.layer, r.dead, r.saturated, r.units) == ("r", 1, 1, 3)
    # |r - clip(x)| <= 1/T from v_0 = 0, which takes nothing but its rounding
    assert 0.25 < r.rate_limit == 0.25 + r.rounding < 0.2501
    assert by_hand().events == {
        "r": {"spikes": 22, "neuron_updates": 4 * 8 * 3, "synaptic_operations": 0},
        "out": {"spikes": 0, "neuron_updates": 0, "synaptic_operations": 22},  # each unit that spikes has one weight
    }


def built(*layers: nn.Module) -> nn.Module:
    model, generator = nn.Sequential(*layers), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "theta" not in name:
                p.copy_(torch.randn(p.shape, generator=generator) * (2 / max(p[0].numel(), 4)) ** 0.5)
    return model.double().eval()


def mlp(act: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    return built(nn.Linear(4, 12), act(), nn.Linear(12, 8), act(), nn.Linear(8, 3))


def cnn() -> nn.Module:
    return built(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU(), nn.Flatten(),
                 nn.Linear(5, 3))  # fmt: skip


def measured(
    model: nn.Module, shape: tuple[int, ...], n: int = 40, steps: tuple[int, ...] = (8, 32), encoding: str = "constant",
    seed: int = 0, **options: object,
) -> tuple[ConvertedNetwork, np.ndarray, np.ndarray, Fidelity]:  # fmt: skip
    x = np.random.default_rng(1).random((n, *shape))
    logits = model(torch.tensor(x)).detach().numpy()
    c = convert(model, x, **({"mode": "max"} | options))  # type: ignore[arg-type]
    labels = np.random.default_rng(2).integers(0, 3, n)
    return c, x, logits, measure(c, x, labels, logits, steps, encoding=encoding, seed=seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["normalise", "balance"])
@pytest.mark.parametrize("mode", ["max", "80%", "channel-wise"])
def test_a_network_of_two_layers_against_plain_numpy(form: str, mode: str) -> None:
    model, steps = mlp(), 32
    c, x, logits, f = measured(model, (4,), mode=mode, form=form)
    w1, b1, w2, b2 = (p.detach().numpy() for p in list(model.parameters())[:4])
    a1 = np.maximum(x @ w1.T + b1, 0)
    a2 = np.maximum(a1 @ w2.T + b2, 0)
    trace = c.simulate(x, steps)
    s1, s2 = (np.asarray(c.scales[k]) for k in ("1", "3"))
    r1, r2 = trace.counts["1"] / steps, trace.counts["3"] / steps
    given = {"1": (x @ w1.T + b1) / s1, "3": ((r1 * s1) @ w2.T + b2) / s2}  # in units of the threshold
    due = {"1": given["1"], "3": (a1 @ w2.T + b2) / s2}
    clip = lambda a: np.clip(a, 0, 1)  # noqa: E731
    for layer, r, a in zip(f.layers, (r1, r2), (a1 / s1, a2 / s2), strict=True):
        name = layer.layer
        theta = np.asarray(c.thresholds[name])
        left = (trace.v_end[name] - theta / 2) / theta / steps
        error = np.abs(r - clip(a))
        expected = {
            "rate": r.mean(), "ann_rate": clip(a).mean(), "error_mean": error.mean(), "error_max": error.max(),
            "own": np.abs(r - clip(given[name])).mean(), "left_over": np.abs(left).mean(),
            "inherited": np.abs(clip(given[name]) - clip(due[name])).mean(), "clipped": np.maximum(a - 1, 0).mean(),
            "dead": (r.max(0) == 0).sum(), "saturated": (r.max(0) == 1).sum(), "units": r.shape[1],
        }  # fmt: skip
        assert {k: getattr(layer, k) for k in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert layer.identity == pytest.approx(np.abs(r - given[name] + left).max(), abs=1e-12)
        assert layer.normalisation < 1e-14
        assert layer.error_mean <= layer.own + layer.inherited + 1e-15
    assert f.layers[1].inherited > 0.001  # the second layer does get something wrong from the first
    assert (f.layers[0].clipped > 1e-6) == (mode == "80%")  # a maximum is rounded to float32
    assert f.events == c.simulate(x, steps).events
    for row, t in zip(f.snn, f.steps, strict=True):
        assert row.tolist() == c.classify(x, t).tolist()
    assert f.ann.tolist() == logits.argmax(1).tolist()


@pytest.mark.parametrize("encoding", ["constant", "poisson"])
@pytest.mark.parametrize("form", ["normalise", "balance"])
@pytest.mark.parametrize("shape", [(4,), (1, 6, 6)], ids=["mlp", "cnn"])
def test_the_layer_identity_holds_within_its_bound(shape: tuple[int, ...], form: str, encoding: str) -> None:
    _, _, _, f = measured(mlp() if len(shape) == 1 else cnn(), shape, form=form, encoding=encoding, mode="channel-wise")
    assert len(f.layers) == 2
    for layer in f.layers:
        assert layer.identity <= layer.rounding < 1e-3
        assert layer.unexplained <= layer.rounding
        assert layer.identity > 0  # float32 does round
    limits = [layer.rate_limit for layer in f.layers]
    assert math.isnan(limits[1])  # the law of constant input is one of the first layer
    if encoding == "constant":
        assert 0.5 / 32 < limits[0] < 0.5 / 32 + 1e-3
        assert f.layers[0].error_max <= limits[0]
    else:
        assert math.isnan(limits[0])


def test_a_breach_of_the_identity_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulator that loses a thousandth of the threshold from every potential, and one that swallows a spike."""
    honest = tiles.simulate
    for spoil in (
        lambda t: replace(t, v_end={k: v - 1e-3 for k, v in t.v_end.items()}),
        lambda t: replace(t, counts={k: np.where(np.arange(v.shape[1]) == 2, v - 1, v) for k, v in t.counts.items()}),
    ):
        with monkeypatch.context() as m:
            m.setattr(tiles, "simulate", lambda *a, spoil=spoil, **k: spoil(honest(*a, **k)))
            _, _, _, f = measured(mlp(), (4,))
        assert all(layer.identity > layer.rounding for layer in f.layers)


def test_a_neuron_without_charge_balance_has_no_bound() -> None:
    for options in ({"reset": "value"}, {"neuron": replace(convert(HAND, X).snn["r"].act, leak=0.75)}):  # type: ignore[type-var]
        _, _, _, f = measured(mlp(), (4,), **options)
        assert all(math.isnan(layer.rounding) and math.isnan(layer.rate_limit) for layer in f.layers)


def test_quantised_activations_agree_with_the_first_layer_at_their_levels() -> None:
    _, _, _, f = measured(mlp(lambda: QCFS(8, 2.0)), (4,), steps=(8,))
    assert f.layers[0].error_max < 1e-6
    assert 0 < f.layers[0].rate_limit < 0.5 / 8 + 0.5 / 8 + 1e-4


def test_poisson_streams_of_many_samples_are_those_of_one_run() -> None:
    """300 samples are two tiles: the numbers that a sample draws must not start again."""
    c, x, _, f = measured(mlp(), (4,), n=300, steps=(4, 16), encoding="poisson", seed=5)
    trace = c.simulate(x, 16, encoding="poisson", seed=5)
    assert f.snn[1].tolist() == trace.readout[-1].argmax(1).tolist()
    assert {k: v for k, v in f.events.items() if k != INPUT} == trace.events  # a trace does not count the input's
    spikes = encode.poisson(x, 0, 16, 5, 0).sum((0, 1))
    fans = np.count_nonzero(c.snn.layers[0].branches[0].op.weight, axis=0)
    assert f.events[INPUT]["spikes"] == spikes.sum()
    assert f.events[INPUT]["synaptic_operations"] == (spikes * fans).sum()
    assert f.layers[0].rate == pytest.approx(trace.counts["1"].mean() / 16)
    assert f.layers[0].identity <= f.layers[0].rounding  # it holds for the very train that was drawn
    other = measured(mlp(), (4,), n=300, steps=(4, 16), encoding="poisson", seed=6)[3]
    assert (other.snn != f.snn).any()


def test_tables_of_the_classes_add_up() -> None:
    _, _, _, f = measured(mlp(), (4,), n=300, steps=(1, 2, 8))
    for t in (1, 2, 8):
        whole, parts = f.paired(t), [f.paired(t, label=y) for y in range(3)]
        assert (whole.n, whole.b, whole.c) == tuple(sum(getattr(p, k) for p in parts) for k in "nbc")
        snn = f.snn[f.steps.index(t)]
        accuracies = [(a == f.labels).sum() for a in (f.ann, snn)]
        assert whole.b - whole.c == accuracies[0] - accuracies[1]
    assert f.paired(1).b > f.paired(8).b


def test_predictions_are_those_of_the_conversion_where_no_weights_follow_the_last_threshold() -> None:
    """With a threshold per channel, the classes of a globally averaged activation count in different units."""
    model = built(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[0].weight.mul_(torch.tensor([1.0, 4, 0.25]).reshape(3, 1, 1, 1))
    c, x, logits, f = measured(model, (1, 6, 6), steps=(256,), mode="channel-wise")
    assert f.snn[0].tolist() == c.classify(x, 256).tolist()
    assert (f.snn[0] == logits.argmax(1)).mean() > 0.95


def test_progress_and_refusals() -> None:
    c, x, logits, _ = measured(mlp(), (4,), n=300, steps=(1,))
    done: list[int] = []
    measure(c, x, np.zeros(300, int), logits, [2], progress=done.append)
    assert (sum(done), len(done) > 1) == (300, True)
    broken = copy.copy(logits)
    broken[7, 1] = np.nan
    for bad in (logits[:5], logits[:, 0], broken, np.full_like(logits, np.inf)):
        with pytest.raises(DataError, match=r"model output of shape .*: \[N, classes\] of finite numbers"):
            measure(c, x, np.zeros(300, int), bad, [2])
