"""Minimal cases of the findings on snnTorch 1.0.0: its NIR importer and exporter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...content import Array
from .graphs import graph, node, steps
from .refusal import Pair, unless_refused


def _weighted(neuron: Any, weight: float = 1.0, units: int = 1) -> Any:
    """Graph of a neuron node behind a Linear node, which multiplies."""
    import nir

    return graph(
        {"w": nir.Linear(np.eye(units, dtype=np.float32) * np.float32(weight)), "n": neuron}, (units,), (units,)
    )


def _imported(g: Any, x: Array) -> Array:
    """Outputs [T, ...] of the imported model for inputs x [T, N, ...]."""
    import torch
    from snntorch.import_nir import import_from_nir

    model = import_from_nir(g)
    found = []
    with torch.no_grad():
        for current in x:
            out = model(torch.from_numpy(current))
            while isinstance(out, tuple):  # with the state of the graph, and with the neuron's
                out = out[0]
            found.append(out.numpy())
    return np.stack(found)


def _exported(*modules: Any, shape: tuple[int, ...]) -> Any:
    import torch
    from snntorch.export_nir import export_to_nir

    return export_to_nir(torch.nn.Sequential(*modules), torch.zeros(1, *shape), ignore_dims=[0])


def _leaky(beta: float, units: int = 1, **given: Any) -> Any:
    """Build a neuron with parameters of the layer's shape: the exporter takes no others."""
    import snntorch
    import torch

    return snntorch.Leaky(beta=torch.full((units,), beta), threshold=torch.ones(units), init_hidden=True, **given)


def _linear(weight: Array) -> Any:
    import torch

    rows, columns = weight.shape
    module = torch.nn.Linear(columns, rows, bias=False)
    module.weight.data = torch.from_numpy(np.float32(weight))
    return module


def integrate_and_fire() -> Pair:
    """NIR's IF has no leak: 0.09375 a step is above 1 after 11 steps, 22, 33 and 44 of 50."""
    return _imported(_weighted(node("IF")), steps(*[0.09375] * 50)).sum(), 4.0


def chained() -> Pair:
    """Two IF nodes, one behind the other, run: 2 fires in both neurons where the second one's weight is 2."""
    import nir

    w = nir.Linear(np.array([[2.0]], np.float32))
    return _imported(
        graph({"w": w, "a": node("IF"), "v": w, "b": node("IF")}, (1,), (1,)), steps(1.0)
    ).ravel(), np.ones(1)


@unless_refused
def reset_potential() -> Pair:
    """After a spike the potential is v_reset = 0.5: decay 1/2 and input 0.8125 lift it to 1.0625, above 1."""
    g = _weighted(node("LIF", tau=2e-4, r=2.0, v_reset=0.5))
    return _imported(g, steps(*[0.8125] * 4)).ravel(), np.array([0, 1, 1, 1])


@unless_refused
def several_time_constants() -> Pair:
    """Units are kept or refused with their own tau: gains 1 and 1/2, decays 1/2 and 3/4."""
    g = _weighted(node("LIF", (2,), tau=[2e-4, 4e-4], r=2.0), units=2)
    law = np.array([[1, 0], [1, 1], [1, 0]])
    return _imported(g, steps(*[1.5] * 3, units=2))[:, 0], law


def flattened_batch() -> Pair:
    """NIR's axes do not count the batch: 3 samples of [2, 2] are 3 outputs."""
    import nir

    flat = nir.Flatten({"input": np.array([2, 2])}, 0, -1)
    w = nir.Linear(np.ones((1, 4), np.float32))
    g = graph({"f": flat, "w": w, "n": node("LIF", tau=1e-4)}, (2, 2), (1,))
    return _imported(g, np.ones((1, 3, 2, 2), np.float32)), np.ones((1, 3, 1))


def round_trip_without_leak() -> Pair:
    """An exported and imported neuron spikes as before: 1.5 a step is above 1 in each."""
    net = _exported(_linear(np.array([[1.5]])), _leaky(1.0, reset_mechanism="zero", reset_delay=False), shape=(1,))
    return _imported(net, steps(1.0, 1.0)).ravel(), np.ones(2)


@unless_refused
def round_trip_of_subtraction() -> Pair:
    """An exported and imported neuron spikes as before, or is refused: 2.5, then 2.5 / 2 + 0.875 - 1 = 1.125."""
    modules = _linear(np.array([[1.0]])), _leaky(0.5)
    return _imported(_exported(*modules, shape=(1,)), steps(2.5, 0.875)).ravel(), np.ones(2)


def documented_export() -> Pair:
    """The documented example, smaller: a Linear and a Leaky with numbers as parameters are exported."""
    import snntorch
    import torch
    from snntorch.export_nir import export_to_nir

    net = torch.nn.Sequential(torch.nn.Linear(2, 1), snntorch.Leaky(beta=0.5, init_hidden=True))
    return len(export_to_nir(net, torch.ones(1, 2)).nodes), 4


@unless_refused
def exported_padding() -> Pair:
    """The padding of average pooling is kept or refused."""
    import torch
    from snntorch.export_nir import _extract_snntorch_module

    pool = torch.nn.AvgPool2d(2, stride=2, padding=1)
    return np.array(_extract_snntorch_module(pool).padding), np.array([1, 1])


def recurrent_input() -> Pair:
    """A recurrent neuron whose recurrent weight is 0 is the feed-forward one: 2.5 a step is above 1."""
    import nir

    nodes = {"n.lif": node("LIF", tau=2e-4, r=2.0), "n.w": nir.Linear(np.zeros((1, 1), np.float32))}
    edges = [("input", "n.lif"), ("n.lif", "n.w"), ("n.w", "n.lif"), ("n.lif", "output")]
    return _imported(graph(nodes, (1,), (1,), edges), steps(2.5, 2.5, 2.5)).ravel(), np.ones(3)


@unless_refused
def short_time_constant() -> Pair:
    """A tau of a quarter of the importer's step has the factor 1 - dt / tau = -3, which is refused."""
    _imported(_weighted(node("LIF", tau=2.5e-5)), steps(1.0))
    return "accepted", "refused"


@unless_refused
def pooled_padding() -> Pair:
    """The padding of sum pooling is kept or refused: kernel 2 x 2, padding (1, 0) on ones [3, 3] sum to 2 and 4."""
    import nir

    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 1]), np.array([1, 0]))
    g, ones = graph({"p": pool}, (1, 3, 3), (1, 2, 2)), np.ones((1, 1, 1, 3, 3), np.float32)
    return _imported(g, ones)[0, 0, 0], np.array([[2, 2], [4, 4]])


def grouped_convolution() -> Pair:
    """A convolution of 2 channels in 2 groups, weights 1, kernel 2 x 2: 4 in each channel of ones [2, 2, 2]."""
    import nir

    conv = nir.Conv2d((2, 2), np.ones((2, 1, 2, 2), np.float32), 1, 0, 1, 2, np.zeros(2, np.float32))
    out = _imported(graph({"c": conv}, (2, 2, 2), (2, 1, 1)), np.ones((1, 1, 2, 2, 2), np.float32))
    return out.ravel(), np.array([4, 4])


CASES: Mapping[str, Callable[[], Pair]] = {
    "SNN-3": integrate_and_fire,
    "SNN-4": chained,
    "SNN-5": reset_potential,
    "SNN-6": several_time_constants,
    "SNN-7": flattened_batch,
    "SNN-8": round_trip_without_leak,
    "SNN-9": round_trip_of_subtraction,
    "SNN-10": documented_export,
    "SNN-11": exported_padding,
    "SNN-32": recurrent_input,
    "SNN-36": short_time_constant,
    "SNN-37": pooled_padding,
    "SNN-44": grouped_convolution,
}
