"""Raw neurons of sc-neurocore with the library's own defaults, for fingerprints; several lie outside our model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import log
from typing import Any, Union

import numpy as np

from ..content import Array

Tensor = Any
Node = Any
Run = Union[str, tuple[Array, Union[Array, None]]]  # noqa: UP007 - evaluated at run time under Python 3.10
Step = Callable[[Array], tuple[Array, Array]]

_HALF = {"theta": 1.0, "leak": 0.5}
_SYN = _HALF | {"syn_decay": 0.5}
# name as a user writes it -> class, its arguments, nominal parameters. Where a class asks for a step and its default
# would scale the input, the step is 1; tau = 1.4427 is 1 / ln 2.
BOXES: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, float]]] = {
    "IFCell": ("IFCell", {}, {"theta": 1.0}),
    "LIFCell(beta=0.5)": ("LIFCell", {}, _HALF),
    "SynapticCell(alpha=0.5, beta=0.5)": ("SynapticCell", {}, _SYN),
    "LapicqueCell(tau=2.0)": ("LapicqueCell", {}, _HALF),
    "ALIFCell(beta=0.5)": ("ALIFCell", {}, _HALF),
    "SCIFNode": ("SCIFNode", {}, {"theta": 1.0}),
    "SCIFNode(reset_mode='subtract')": ("SCIFNode", {"reset_mode": "subtract"}, {"theta": 1.0}),
    "SCLIFNode(tau=2.0)": ("SCLIFNode", {}, _HALF),
    "SCLIFNode(tau=2.0, reset_mode='subtract')": ("SCLIFNode", {"reset_mode": "subtract"}, _HALF),
    "SCCubaLIFNode(tau_syn=2.0, tau_mem=2.0)": ("SCCubaLIFNode", {}, _SYN),
    "StochasticLIFNeuron(tau_mem=2.0)": ("StochasticLIFNeuron", {}, _HALF),
    "StochasticLIFNeuron(tau_mem=2.0, refractory_period=2)": (
        "StochasticLIFNeuron", {"refractory_period": 2}, _HALF),
    "HomeostaticLIFNeuron(tau_mem=2.0)": ("HomeostaticLIFNeuron", {}, _HALF),
    "FixedPointLIFNeuron(leak_k=128)": ("FixedPointLIFNeuron", {}, _HALF),
    "FixedPointLIFNeuron(leak_k=0, refractory_period=0)": (
        "FixedPointLIFNeuron", {"refractory_period": 0}, {"theta": 1.0}),
    "PerfectIntegratorNeuron(dt=1.0)": ("PerfectIntegratorNeuron", {"dt": 1.0}, {"theta": 1.0}),
    "LapicqueNeuron(tau=1.4427)": ("LapicqueNeuron", {}, _HALF),
    "KLIFNeuron(tau=1.4427)": ("KLIFNeuron", {}, _HALF),
    "ParametricLIFNeuron(a=0.0)": ("ParametricLIFNeuron", {}, _HALF),
    "McCullochPittsNeuron": ("McCullochPittsNeuron", {}, {"theta": 1.0}),
    "SigmaDeltaNeuron": ("SigmaDeltaNeuron", {}, {"theta": 1.0}),
    "TrueNorthNeuron(threshold=8)": ("TrueNorthNeuron", {}, {"theta": 1.0}),
}  # fmt: skip
# How a leak becomes the parameter of a class, and what a class calls its threshold where not v_threshold.
_TAUS = {"StochasticLIFNeuron": "tau_mem", "HomeostaticLIFNeuron": "tau_mem", "SCLIFNode": "tau",
         "SCCubaLIFNode": "tau_mem", "LapicqueCell": "tau"}  # fmt: skip
_THETAS = {"ParametricLIFNeuron": "threshold", "McCullochPittsNeuron": "theta", "TrueNorthNeuron": "threshold"}
_GRID = {"FixedPointLIFNeuron": 256, "TrueNorthNeuron": 8}  # integer neurons: units of one
_STATES = {"SynapticCell": 2, "ALIFCell": 2}


def box(name: str, calls: Iterable[Array], params: Mapping[str, float]) -> tuple[Run, ...]:
    """Consecutive calls of raw neurons, with the library's own defaults but for the nominal parameters.

    Cells of ``training`` hold no state: it is handed from call to call, as their user does. Of the scalar neurons and
    the NIR nodes, which know no batch, there is one for each unit or sample of the first call.

    Parameters
    ----------
    name : str
        One of `BOXES`.
    calls : iterable of array [T, N, U]
    params : mapping
        ``theta``, ``leak``, ``syn_decay``.

    Returns
    -------
    tuple of (spikes [T, N, U], potentials after the reset [T, N, U]), or the text of the exception
    """
    step: Step | None = None
    runs: list[Run] = []
    for call in calls:
        x = np.asarray(call, float)
        try:
            step = _stepper(name, params, x.shape[1:]) if step is None else step
            spikes, v = zip(*(step(row) for row in x))  # noqa: B905
            told = np.stack(v)
            runs.append((np.stack(spikes), None if np.isnan(told).any() else told))
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as e:
            runs.append(str(e))
    return tuple(runs)


def _stepper(name: str, params: Mapping[str, float], shape: tuple[int, ...]) -> Step:
    kind, fixed, _ = BOXES[name]
    if kind.endswith("Cell"):
        return _cell(kind, params, shape)
    if kind.startswith("SC"):
        return _node(kind, fixed, params, shape)
    return _scalar(kind, fixed, params, shape)


def _cell(kind: str, params: Mapping[str, float], shape: tuple[int, ...]) -> Step:
    import torch
    from sc_neurocore import training

    torch.set_num_threads(1)
    given = {"threshold": params["theta"]}
    if "leak" in params:
        given |= {"tau": 1 / (1 - params["leak"])} if kind in _TAUS else {"beta": params["leak"]}
    if "syn_decay" in params:
        given["alpha"] = params["syn_decay"]
    cell = getattr(training, kind)(**given)
    states = [torch.zeros(shape)] * _STATES.get(kind, 1)

    def step(x: Array) -> tuple[Array, Array]:
        s, *states[:] = cell(torch.tensor(x, dtype=torch.float32), *states)
        return s.numpy(), states[0 if kind == "ALIFCell" else -1].numpy()

    return step


def _node(kind: str, fixed: Mapping[str, Any], params: Mapping[str, float], shape: tuple[int, ...]) -> Step:
    import nir
    from sc_neurocore.nir_bridge import node_map

    one = np.ones(shape[1:])
    given = {"r": one, "v_threshold": params["theta"] * one}
    if "leak" in params:
        given |= {_TAUS[kind]: one / (1 - params["leak"]), "v_leak": 0 * one}
    if "syn_decay" in params:
        given["tau_syn"] = one / (1 - params["syn_decay"])
    primitive = {"SCIFNode": nir.IF, "SCLIFNode": nir.LIF, "SCCubaLIFNode": nir.CubaLIF}[kind]
    nodes = [getattr(node_map, kind).from_nir("node", primitive(**given), **fixed) for _ in range(shape[0])]

    def step(x: Array) -> tuple[Array, Array]:
        _same_size(len(nodes), len(x))
        return np.stack([n.forward(row) for n, row in zip(nodes, x)]), np.stack([n.v for n in nodes])  # noqa: B905

    return step


def _scalar(kind: str, fixed: Mapping[str, Any], params: Mapping[str, float], shape: tuple[int, ...]) -> Step:
    from sc_neurocore import neurons
    from sc_neurocore.neurons import models

    grid = _GRID.get(kind, 0)
    theta = params["theta"] * (grid or 1)
    given: dict[str, Any] = dict(fixed) | {_THETAS.get(kind, "v_threshold"): round(theta) if grid else theta}
    if kind in _TAUS:
        given[_TAUS[kind]] = 1 / (1 - params["leak"])
    elif kind in ("LapicqueNeuron", "KLIFNeuron"):
        given["tau"] = -1 / log(params["leak"])
    elif kind == "ParametricLIFNeuron":
        given["a"] = log(params["leak"] / (1 - params["leak"]))
    source = neurons if hasattr(neurons, kind) and not hasattr(models, kind) else models
    made: list[Node] = [getattr(source, kind)(**given) for _ in range(int(np.prod(shape)))]

    def one(neuron: Node, i: float) -> tuple[float, float]:
        if kind == "FixedPointLIFNeuron":
            s, v = neuron.step(round((1 - params.get("leak", 1.0)) * grid), grid, round(i * grid))
            return s, v / grid
        s = neuron.step(round(i * grid) if grid else i)
        told = getattr(neuron, {"SigmaDeltaNeuron": "sigma"}.get(kind, "v"), float("nan"))
        return s, told / (grid or 1)

    def step(x: Array) -> tuple[Array, Array]:
        _same_size(len(made), x.size)
        both = np.array([one(n, i) for n, i in zip(made, x.ravel().tolist())])  # noqa: B905
        return both[:, 0].reshape(x.shape), both[:, 1].reshape(x.shape)

    return step


def _same_size(neurons: int, inputs: int) -> None:
    """Raise what a user of neurons without a batch axis runs into."""
    if neurons != inputs:
        raise ValueError(f"{neurons} neurons, {inputs} inputs")
