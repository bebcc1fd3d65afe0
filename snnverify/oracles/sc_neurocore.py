"""sc-neurocore as a subject: its torch cells, its scalar neurons, its NIR nodes, and what else it offers.

Runs inside the library's own interpreter. True semantics, found by running the classes against the exact reference:
every cell of ``training`` and every NIR node fires at ``>`` (the docstring of ``IFCell`` says ``>=``), every scalar
neuron at ``>=``. The cells reset by subtraction, the scalar neurons to a value, the NIR nodes either way. A leak comes
as ``1 - dt / tau``, which is dyadic for tau = 2 and 4, and from ``exp(-dt / tau)`` in the scalar neurons that solve
their equation exactly; those are boxes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..network import Shape
from ..trace import Case, Provenance, Record, Trace
from . import ANY, Families, Oracle, family_of, reproduced
from .torch_cells import Cell, along, run_cells

Tensor = Any
Node = Any
Step = Callable[[Array], tuple[Array, Array]]  # input [N, units] -> spikes, potential after the reset

EULER = (0.5, 0.75)  # leaks 1 - dt / tau that are exact for tau = 2 and 4
_FREE: dict[str, Any] = {"theta": ANY, "amplitude": ANY, "v_init": ANY}
_CELL = _FREE | {"fires": (">",)}
_NODE = _CELL | {"reset": ("subtract", "value"), "v_reset": ANY}
_LEAKY = {"leak": EULER, "input_scaled": ANY, "v_rest": ANY}
FAMILIES: Families = {
    "IFCell": _CELL,
    "LIFCell": _CELL | {"leak": ANY},
    "SynapticCell": _CELL | {"leak": ANY, "syn_decay": ANY},
    "LapicqueCell": _CELL | {"leak": EULER, "input_scaled": (True,)},
    "SCIFNode": _NODE,
    "SCLIFNode": _NODE | _LEAKY,
    "SCCubaLIFNode": _NODE | _LEAKY | {"syn_decay": (0.5,)},
    "StochasticLIFNeuron": _FREE | {"reset": ("value",), "v_reset": ANY} | _LEAKY,
    # it refuses a start or a reset at the threshold or above it, and thresholds of any size are drawn
    "PerfectIntegratorNeuron": _FREE | {"v_init": (-0.5, 0.0), "reset": ("value",), "v_reset": (0.0, -0.5)},
}


def oracle() -> Oracle:
    """Simulator, converter, operators and raw neurons of the installed version."""
    import sc_neurocore.training  # noqa: F401 - a missing library must show here

    from . import sc_neurocore_boxes, sc_neurocore_convert, sc_neurocore_operators

    provenance = Provenance("sc-neurocore", version("sc-neurocore"))
    return Oracle(
        "sc-neurocore",
        version("sc-neurocore"),
        simulator=partial(simulate, provenance),
        converter=sc_neurocore_convert.convert,
        operators={
            "box": sc_neurocore_boxes.box,
            "sc_convert_run": sc_neurocore_convert.sc_convert_run,
            "sc_input_spikes": sc_neurocore_convert.sc_input_spikes,
            "sc_kept_weights": sc_neurocore_convert.sc_kept_weights,
            **sc_neurocore_operators.OPERATORS,
            **reproduced.operators("sc_neurocore"),
        },
        families=FAMILIES,
        boxes={name: nominal for name, (_, _, nominal) in sc_neurocore_boxes.BOXES.items()},
    )


def simulate(provenance: Provenance, case: Case, record: Record = "full") -> Trace:
    """Trace of a case by the library's neurons, which take one step at a time."""
    return run_cells(case, record, make, provenance)


def make(act: Neuron, shape: Shape, dtype: Any, multi: bool) -> Cell:
    """Cell of one layer; `Unsupported` where no class of the library does what `act` says."""
    import torch

    family = family_of(act, FAMILIES)
    if family.endswith("Cell"):
        return _torch_cell(family, act, shape, dtype)
    step: Step | None = None

    def cell(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        nonlocal step
        if step is None:
            step = (_nodes if family.startswith("SC") else _scalars)(family, act, shape, len(x))
        s, v = step(x.reshape(len(x), -1).double().numpy())
        return torch.tensor(s, dtype=dtype).reshape(x.shape), None, torch.tensor(v, dtype=dtype).reshape(x.shape)

    return cell


def cell_of(family: str, act: Neuron, shape: Shape, dtype: Any) -> Node:
    """The torch cell that does what `act` says."""
    from sc_neurocore import training

    numbers = np.float32 if str(dtype).endswith("32") else np.float64
    given: dict[str, Any] = {"threshold": along(act.theta, shape, dtype).numpy()}
    if family in ("LIFCell", "SynapticCell"):
        given["beta"] = numbers(act.leak)
    if family == "SynapticCell":
        given["alpha"] = 0.0 if act.syn_decay is None else act.syn_decay
    if family == "LapicqueCell":
        given["tau"] = 1 / (1 - act.leak)
    return getattr(training, family)(**given).to(dtype)


def _torch_cell(family: str, act: Neuron, shape: Shape, dtype: Any) -> Cell:
    import torch

    node = cell_of(family, act, shape, dtype)
    states: list[Tensor] = []

    def cell(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if not states:
            states.extend([torch.zeros_like(x)] * (family == "SynapticCell"))
            states.append(torch.zeros_like(x) + along(act.v_init, shape, dtype))
        s, *states[:] = node(x, *states)
        return s.to(dtype), None, states[-1]  # the surrogates give float32 whatever they are given

    return cell


def per_unit(value: Any, shape: Shape) -> Array:
    """A parameter of shape () or (C,) for every unit of a sample, [units]."""
    a = np.asarray(value, float)
    return np.broadcast_to(a.reshape(a.shape + (1,) * (len(shape) - 1)) if a.ndim else a, shape).reshape(-1).copy()


def node_of(act: Neuron, shape: Shape) -> Node:
    """The NIR node that does what `act` says."""
    from sc_neurocore.nir_bridge import node_map

    family = family_of(act, {k: v for k, v in FAMILIES.items() if k.startswith("SC")})
    theta = per_unit(act.theta, shape)
    one = np.ones_like(theta)
    given: dict[str, Any] = {"name": "node", "n_neurons": len(theta), "v_threshold": theta, "v_reset": act.v_reset * one,
                             "reset_mode": "subtract" if act.reset == "subtract" else "reset"}  # fmt: skip
    if family == "SCIFNode":
        node = node_map.SCIFNode(r=one, **given)
    else:
        tau = one / (1 - act.leak)
        given |= {"v_leak": act.v_rest * one, "r": one if act.input_scaled else tau}
        if family == "SCLIFNode":
            node = node_map.SCLIFNode(tau=tau, **given)
        else:
            assert act.syn_decay is not None
            tau_syn = one / (1 - act.syn_decay)
            node = node_map.SCCubaLIFNode(tau_mem=tau, tau_syn=tau_syn, w_in=tau_syn, **given)
    node.v = per_unit(act.v_init, shape)
    return node


def _nodes(family: str, act: Neuron, shape: Shape, batch: int) -> Step:
    nodes = [node_of(act, shape) for _ in range(batch)]

    def step(x: Array) -> tuple[Array, Array]:
        return np.stack([n.forward(row) for n, row in zip(nodes, x)]), np.stack([n.v for n in nodes])  # noqa: B905

    return step


def _scalars(family: str, act: Neuron, shape: Shape, batch: int) -> Step:
    from sc_neurocore import neurons
    from sc_neurocore.neurons import models

    def one(theta: float, v_init: float) -> Node:
        given: Mapping[str, Any] = {"v_threshold": theta, "v_reset": act.v_reset}
        if family == "PerfectIntegratorNeuron":
            return models.PerfectIntegratorNeuron(v=v_init, dt=1.0, **given)
        tau, gain = 1 / (1 - act.leak), 1 - act.leak if act.input_scaled else 1.0
        made = neurons.StochasticLIFNeuron(tau_mem=tau, v_rest=act.v_rest, resistance=gain, noise_std=0.0, **given)
        made.v = v_init
        return made

    made = [[one(*unit) for unit in zip(per_unit(act.theta, shape).tolist(), per_unit(act.v_init, shape).tolist())]  # noqa: B905
            for _ in range(batch)]  # fmt: skip

    def step(x: Array) -> tuple[Array, Array]:
        s = [[u.step(i) for u, i in zip(row, given)] for row, given in zip(made, x.tolist())]  # noqa: B905
        return np.array(s), np.array([[u.v for u in row] for row in made])

    return step
