"""Minimal cases of the findings on Norse 1.1.0: its NIR importer and exporter."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...content import Array
from .graphs import graph, node, steps
from .refusal import Pair, unless_refused


def _weighted(neuron: Any) -> Any:
    """Graph of one unit behind a Linear node of weight 1."""
    import nir

    return graph({"w": nir.Linear(np.ones((1, 1), np.float32)), "n": neuron}, (1,), (1,))


def _imported(g: Any, x: Array, **given: Any) -> Array:
    """Outputs [T, ...] of the imported model for inputs x [T, N, ...] at the importer's step of 1 ms."""
    import norse.torch as norse
    import torch

    model, state, found = norse.from_nir(g, **given), None, []
    with torch.no_grad():
        for current in x:
            out, state = model(torch.from_numpy(current), state)
            found.append(out.numpy())
    return np.stack(found)


def _exported(*modules: Any, shape: tuple[int, ...]) -> Any:
    import norse.torch as norse
    import torch

    return norse.to_nir(norse.SequentialState(*modules), torch.zeros(shape))


def exported_time_constant() -> Pair:
    """NIR's tau is in seconds: 1 / (100 / s) = 10 ms, to 6 digits."""
    import norse.torch as norse
    import torch

    cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(100.0)))
    tau = _exported(torch.nn.Linear(1, 1), cell, shape=(1,)).nodes["1"].tau
    return round(float(tau), 6), 0.01


@unless_refused
def unknown_nodes() -> Pair:
    """Every node acts, or the graph is refused: 0.5 through a Scale of 3 is 1.5, above 1 in every step."""
    import nir

    g = graph({"s": nir.Scale(np.array([3.0], np.float32)), "n": node("IF")}, (1,), (1,))
    return _imported(g, steps(0.5, 0.5, 0.5)).ravel(), np.ones(3)


@unless_refused
def reset_potential() -> Pair:
    """After a spike at 2.5 / 2 the potential is v_reset = -1: then 0.75, then 1.625, which is above 1 again."""
    g = _weighted(node("LIF", tau=2e-3, v_reset=-1.0))
    return _imported(g, steps(2.5, 2.5, 2.5)).ravel(), np.array([1, 0, 1])


@unless_refused
def resistance() -> Pair:
    """The input is multiplied by r = 2: 1.5 is above 1 in every step."""
    g = _weighted(node("IF", r=2.0))
    return _imported(g, steps(0.75, 0.75, 0.75)).ravel(), np.ones(3)


@unless_refused
def rest_of_the_current() -> Pair:
    """v_leak is the membrane's: without input the current stays 0 and the potential v_leak = 0.5, below 0.75."""
    cuba = node("CubaLIF", tau_mem=2e-3, tau_syn=2e-3, v_leak=0.5, v_threshold=0.75, w_in=1.0)
    return _imported(_weighted(cuba), steps(*[0.0] * 4)).ravel(), np.zeros(4)


def reset_method() -> Pair:
    """The reset that was asked for acts: 2.5 - 1, then 3.25 - 1, then 1.125 is above 1 without input."""
    from norse.torch.functional.reset import reset_subtract

    found = _imported(_weighted(node("LIF", tau=2e-3)), steps(5, 5, 0, 0), reset_method=reset_subtract)
    return found.ravel(), np.array([1, 1, 1, 0])


def grouped_convolution() -> Pair:
    """A convolution of 2 channels in 2 groups, weights 1, kernel 2 x 2: 4 in each channel of ones [2, 2, 2]."""
    import nir

    conv = nir.Conv2d((2, 2), np.ones((2, 1, 2, 2), np.float32), 1, 0, 1, 2, np.zeros(2, np.float32))
    out = _imported(graph({"c": conv}, (2, 2, 2), (2, 1, 1)), np.ones((1, 1, 2, 2, 2), np.float32))
    return out.ravel(), np.array([4, 4])


def flattened_batch() -> Pair:
    """NIR's axes do not count the batch: 3 samples of [2, 2] are 3 outputs, each of which fires at 4."""
    import nir

    flat = nir.Flatten({"input": np.array([2, 2])}, 0, -1)
    nodes = {"f": flat, "w": nir.Linear(np.ones((1, 4), np.float32)), "n": node("IF")}
    return _imported(graph(nodes, (2, 2), (1,)), np.ones((1, 3, 2, 2), np.float32)), np.ones((1, 3, 1))


@unless_refused
def pooled_padding() -> Pair:
    """The padding of sum pooling is kept or refused: with padding 1 a window of 2 x 2 holds one corner of [2, 2]."""
    import nir

    two, corners = np.array([2, 2]), np.array([[3, 0], [0, 0]], np.float32)
    g = graph({"p": nir.SumPool2d(two, two, np.array([1, 1]))}, (1, 2, 2), (1, 2, 2))
    return _imported(g, corners[None, None, None])[0, 0, 0], corners


@unless_refused
def exported_reset_potential() -> Pair:
    """v_reset is written, or refused."""
    import norse.torch as norse
    import torch

    cell = norse.IAFCell(norse.IAFParameters(v_th=torch.ones(1), v_reset=torch.full((1,), 0.5)))
    linear = torch.nn.Linear(1, 1)
    return np.asarray(_exported(linear, cell, shape=(1,)).nodes["1"].v_reset), np.array([0.5])


@unless_refused
def exported_reset_method() -> Pair:
    """A reset by subtraction, which NIR cannot say, is refused."""
    import norse.torch as norse
    import torch
    from norse.torch.functional.reset import reset_subtract

    cell = norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=reset_subtract))
    _exported(torch.nn.Linear(1, 1), cell, shape=(1,))
    return "accepted", "refused"


@unless_refused
def unknown_modules() -> Pair:
    """A module is exported or refused: no node is None."""
    import norse.torch as norse
    import torch

    modules = torch.nn.Flatten(0), norse.IAFCell()
    return None in _exported(*modules, shape=(1, 2)).nodes.values(), False


def convolution_without_bias() -> Pair:
    """A convolution without bias is exported: its weight survives."""
    import norse.torch as norse
    import torch

    conv = torch.nn.Conv2d(1, 1, 1, bias=False)
    weight = _exported(conv, norse.IAFCell(), shape=(1, 2, 2)).nodes["0"].weight
    return np.asarray(weight), conv.weight.detach().numpy()


def written_convolution() -> Pair:
    """What is exported can be written to a file and read again."""
    import nir
    import norse.torch as norse
    import torch

    cell = norse.IAFCell(norse.IAFParameters(v_th=torch.ones(1, 2, 2)))
    buffer = io.BytesIO()
    nir.write(buffer, _exported(torch.nn.Conv2d(1, 1, 1), cell, shape=(1, 2, 2)))
    return len(nir.read(buffer).nodes), 4


def residual_sum() -> Pair:
    """Edges that meet are summed: b gets 0.375 and, in every second step, 1 from a, and fires at 1.75."""
    import nir

    def weight(w: float) -> Any:
        return nir.Linear(np.full((1, 1), w, np.float32))

    nodes = {"f1": weight(1.0), "a": node("IF"), "f2": weight(1.0), "b": node("IF"), "f3": weight(0.5)}
    edges = [("input", "f1"), ("f1", "a"), ("a", "f2"), ("f2", "b"), ("b", "output"), ("input", "f3"), ("f3", "b")]
    return _imported(graph(nodes, (1,), (1,), edges), steps(*[0.75] * 4)).ravel(), np.array([0, 1, 0, 1])


@unless_refused
def short_time_constant() -> Pair:
    """A tau of a quarter of the importer's step has the factor 1 - dt / tau = -3, which is refused."""
    _imported(_weighted(node("LIF", tau=2.5e-4)), steps(1.0))
    return "accepted", "refused"


CASES: Mapping[str, Callable[[], Pair]] = {
    "NORSE-1": exported_time_constant,
    "NORSE-2": unknown_nodes,
    "NORSE-3": reset_potential,
    "NORSE-4": resistance,
    "NORSE-5": rest_of_the_current,
    "NORSE-6": reset_method,
    "NORSE-7": grouped_convolution,
    "NORSE-8": flattened_batch,
    "NORSE-9": pooled_padding,
    "NORSE-10": exported_reset_potential,
    "NORSE-11": unknown_modules,
    "NORSE-23": residual_sum,
    "NORSE-24": short_time_constant,
    "NORSE-25": exported_reset_method,
    "NORSE-26": convolution_without_bias,
    "NORSE-27": written_convolution,
}
