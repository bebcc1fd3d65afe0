"""Norse as a subject: its feed-forward cells and layers, raw neurons for fingerprints, and the operators beside them.

Runs inside the library's own interpreter. `FAMILIES` says which class expresses which `Neuron`: all fire at ``>``, leak
before they integrate, scale the input by ``1 - leak`` and reset within the step. The current of `LIF` acts in its own
step, before it decays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..network import Shape
from ..trace import Case, Provenance, Record, Trace
from . import ANY, Families, Oracle, family_of, reproduced
from .norse_operators import DT, OPERATORS
from .torch_cells import Cell, Run, along, run_calls, run_cells

Tensor = Any
Node = Any

_FREE: dict[str, Any] = {"theta": ANY, "amplitude": ANY, "v_init": ANY, "fires": (">",)}
_LEAKY = {**_FREE, "leak": (0.5, 0.75, 0.25), "v_rest": ANY, "input_scaled": (True,)}  # without a leak, no input either
_HARD = {"reset": ("value",), "v_reset": ANY}
FAMILIES: Families = {
    "IAF": {**_FREE, **_HARD},
    "LIFBox": {**_LEAKY, **_HARD},
    "LIFBox(reset_method=reset_subtract)": _LEAKY,
    "LIF": {**_LEAKY, **_HARD, "syn_decay": ANY},  # tau_syn = dt is no filter
}

# name as a user writes it -> class, arguments of its parameters, nominal parameters; 500 / s at dt = 1 ms is 0.5
BOXES: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, float]]] = {
    "IAFCell": ("IAFCell", {}, {"theta": 1.0}),
    "IAF": ("IAF", {}, {"theta": 1.0}),
    "LIFBoxCell(tau_mem_inv=500)": ("LIFBoxCell", {}, {"theta": 1.0, "leak": 0.5}),
    "LIFBoxCell(tau_mem_inv=500, reset_method=reset_subtract)": (
        "LIFBoxCell", {"reset_method": "reset_subtract"}, {"theta": 1.0, "leak": 0.5}),
    "LIFBoxCell(tau_mem_inv=500, v_leak=0.25)": ("LIFBoxCell", {"v_leak": 0.25}, {"theta": 1.0, "leak": 0.5}),
    "LIFCell(tau_syn_inv=500, tau_mem_inv=250)": ("LIFCell", {}, {"theta": 1.0, "leak": 0.75, "syn_decay": 0.5}),
    "LIF(tau_syn_inv=500, tau_mem_inv=250)": ("LIF", {}, {"theta": 1.0, "leak": 0.75, "syn_decay": 0.5}),
    "LIFRefracCell(tau_syn_inv=500, tau_mem_inv=250)": (
        "LIFRefracCell", {}, {"theta": 1.0, "leak": 0.75, "syn_decay": 0.5}),
}  # fmt: skip
PARAMETERS = {"IAFCell": "IAF", "IAF": "IAF", "LIFBoxCell": "LIFBox", "LIFCell": "LIF", "LIF": "LIF",
              "LIFRefracCell": "LIF"}  # fmt: skip
WHOLE = ("IAF", "LIF")  # layers, which take all steps at once and tell the last state alone
UNREACHABLE = 2.0**100  # threshold of a neuron that never fires


def oracle() -> Oracle:
    """Simulator, operators and raw neurons."""
    return Oracle(
        "norse",
        version("norse"),
        simulator=simulate,
        operators={"box": box, **OPERATORS, **reproduced.operators("norse")},
        families=FAMILIES,
        boxes={name: nominal for name, (_, _, nominal) in BOXES.items()},
    )


def simulate(case: Case, record: Record = "full") -> Trace:
    """Trace of a case: by cells with potentials for ``"full"``, by layers that take all steps at once otherwise."""
    return run_cells(case, record, make, Provenance("norse", version("norse")), multi=record != "full")


def make(act: Neuron, shape: Shape, dtype: Any, multi: bool) -> Cell:
    """Cell of one layer; its state is handed from call to call, as the library's users do.

    Raises
    ------
    Unsupported
        A neuron that no class expresses; names the axis.
    """
    import norse.torch as norse
    import torch

    family = family_of(act, FAMILIES)
    parameter = partial(along, shape=shape, dtype=dtype)
    node = node_of(act, parameter, multi)
    # The potential before the reset is that of a twin in the same state which cannot fire.
    twin = node_of(replace(act, theta=UNREACHABLE), parameter)
    state: Any = None

    def initial(x: Tensor) -> Any:
        v = along(act.v_init, shape, dtype).expand(x.shape).clone()
        if family == "LIF":
            return norse.LIFFeedForwardState(v=v, i=torch.zeros_like(v))
        return (norse.IAFFeedForwardState if family == "IAF" else norse.LIFBoxFeedForwardState)(v=v)

    def cell(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        nonlocal state
        state = initial(x[0] if multi else x) if state is None else state
        peak = None if multi else twin(x, state)[1].v
        spikes, state = node((x, state)) if isinstance(node, norse.Lift) else node(x, state)
        return spikes, peak, None if multi else state.v

    return cell


def node_of(act: Neuron, parameter: Any, multi: bool = False, dt: float = 1.0) -> Node:
    """Build the library's neuron for `act`.

    Parameters
    ----------
    parameter : callable
        Turns a number or an array of shape () or (C,) into the tensor that the library is given.
    multi : bool
        The layer that takes all steps at once; a cell lifted over time where the library has no such layer.
    dt : float
        Time step in the unit of the time constants; the default counts these in steps.
    """
    import norse.torch as norse
    from norse.torch.functional.reset import reset_subtract, reset_value

    family = family_of(act, FAMILIES)
    given: dict[str, Any] = {"v_th": parameter(act.theta), "v_reset": parameter(act.v_reset)}
    if family == "IAF":
        return (norse.IAF if multi else norse.IAFCell)(norse.IAFParameters(**given), dt=dt)
    given |= {"tau_mem_inv": parameter((1 - act.leak) / dt), "v_leak": parameter(act.v_rest)}
    if family == "LIF":
        p = norse.LIFParameters(tau_syn_inv=parameter((1 - (act.syn_decay or 0.0)) / dt), **given)
        return (norse.LIF if multi else norse.LIFCell)(p, dt=dt)
    method = reset_subtract if act.reset == "subtract" else reset_value
    cell = norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=method, **given), dt=dt)
    return norse.Lift(cell) if multi else cell


def box(name: str, calls: Iterable[Array], params: Mapping[str, float]) -> tuple[Run, ...]:
    """Run a raw neuron of `BOXES` as `run_calls` has it; it keeps no state, each call begins without one."""
    node = _raw(name, params)
    whole = BOXES[name][0] in WHOLE
    return run_calls(calls, lambda x: (node(x)[0].numpy(), None) if whole else _steps(node, x))


def _raw(name: str, params: Mapping[str, float]) -> Node:
    import norse.torch as norse
    import torch
    from norse.torch.functional import reset

    kind, given, nominal = BOXES[name]
    spelled = {"theta": "v_th", "leak": "tau_mem_inv", "syn_decay": "tau_syn_inv"}
    values = {spelled[k]: v if k == "theta" else (1 - v) / DT for k, v in {**nominal, **params}.items()}
    arguments = {k: torch.tensor(v) for k, v in {**given, **values}.items() if k != "reset_method"}
    if "reset_method" in given:
        arguments["reset_method"] = getattr(reset, given["reset_method"])
    p = getattr(norse, f"{PARAMETERS[kind]}Parameters")(**arguments)
    return getattr(norse, kind)(norse.LIFRefracParameters(lif=p) if kind == "LIFRefracCell" else p)


def _steps(node: Node, x: Tensor) -> tuple[Array, Array]:
    spikes, v, state = [], [], None
    for current in x:
        out, state = node(current, state)
        spikes.append(out.numpy())
        v.append(getattr(state, "lif", state).v.numpy())
    return np.stack(spikes), np.stack(v)
