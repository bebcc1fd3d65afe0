"""SpikingJelly as a subject: 2.0.0 and 0.0.0.0.14 through one adapter, the version read at run time.

Runs inside the library's own interpreter. Its neurons (``activation_based.neuron``) do the dynamics; which class
expresses which `Neuron` is the table `families`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import Conv, Op, Shape
from ..trace import Case, Provenance, Record, Trace
from . import ANY, Families, Oracle, family_of, reproduced
from .torch_cells import Cell, Run, along, run_calls, run_cells, weighted

Tensor = Any
Node = Any
UNREACHABLE = 2.0**100  # threshold of a node that never fires; 2^100 times no spike is 0 in float32 too
LAVA = "lava_exchange.CubaLIFNode"
RESETS = (0.0, 0.25, -0.5)  # where a hard reset goes in the families whose leak must go there as well
Calls = tuple[Array, ...]

# name as a user writes it -> class, its arguments, nominal parameters
BOXES: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, float]]] = {
    "IFNode": ("IFNode", {}, {"theta": 1.0}),
    "IFNode(v_reset=None)": ("IFNode", {"v_reset": None}, {"theta": 1.0}),
    "LIFNode(tau=2.0)": ("LIFNode", {}, {"theta": 1.0, "leak": 0.5}),
    "LIFNode(tau=2.0, decay_input=False)": ("LIFNode", {"decay_input": False}, {"theta": 1.0, "leak": 0.5}),
    "LIFNode(tau=2.0, v_reset=None)": ("LIFNode", {"v_reset": None}, {"theta": 1.0, "leak": 0.5}),
    "ParametricLIFNode(init_tau=2.0)": ("ParametricLIFNode", {}, {"theta": 1.0, "leak": 0.5}),
    "KLIFNode(tau=2.0, v_reset=None)": ("KLIFNode", {"v_reset": None}, {"theta": 1.0, "leak": 0.5}),
    "KLIFNode(tau=2.0)": ("KLIFNode", {}, {"theta": 1.0, "leak": 0.5}),
    "SimpleIFNode": ("SimpleIFNode", {}, {"theta": 1.0}),
    "SimpleLIFNode(tau=2.0, decay_input=True)": ("SimpleLIFNode", {"decay_input": True}, {"theta": 1.0, "leak": 0.5}),
    "HalfThresholdIFNode": ("HalfThresholdIFNode", {}, {"theta": 1.0}),
    "ActivationAwareIFNode": ("ActivationAwareIFNode", {}, {"theta": 1.0}),
    "CUBALIFNode": ("CUBALIFNode", {}, {"theta": 0.5, "leak": 0.75, "syn_decay": 0.5}),
    "ILIFNode": ("ILIFNode", {}, {"theta": 1.0, "leak": 0.25}),
    "TernaryIFNode": ("TernaryIFNode", {}, {"theta": 1.0}),
    "QIFNode": ("QIFNode", {}, {"theta": 1.0}),
    "EIFNode": ("EIFNode", {}, {"theta": 1.0}),
    "STBIFNode": ("STBIFNode", {"level": 8}, {"theta": 1.0}),
    "lava_exchange.CubaLIFNode": (LAVA, {}, {"theta": 1.0, "leak": 0.75, "syn_decay": 0.5}),
}


def oracle() -> Oracle:
    """Simulator, converter, operators and raw neurons of the installed version."""
    from spikingjelly.activation_based import neuron

    from . import spikingjelly_convert, spikingjelly_operators

    found = version("spikingjelly")
    modern = hasattr(neuron, "CUBALIFNode")
    name = "spikingjelly" if modern else f"spikingjelly-{found}"
    known = families(modern)
    boxes = {box_name: nominal for box_name, (kind, _, nominal) in BOXES.items() if _class(kind)}
    return Oracle(
        name,
        found,
        simulator=partial(simulate, known, Provenance(name, found)),
        converter=partial(spikingjelly_convert.convert, Provenance(name, found)),
        operators={
            "box": box,
            **spikingjelly_operators.operators(modern),
            **({"operations": operations} if modern else {}),
            **reproduced.operators("spikingjelly" if modern else "spikingjelly_both"),
        },
        families=known,
        boxes=boxes,
    )


def families(modern: bool) -> Families:
    """Neuron classes and what they express.

    A LIF leaks to where a hard reset goes, and to 0 with a soft one: one family for each such place. ``leak = 1`` is
    `IFNode`; KLIFNode rectifies the potential before it fires, which is ``v_floor = 0``.
    """
    free: dict[str, Any] = dict.fromkeys(("theta", "amplitude", "v_init"), ANY)
    leaky = {**free, "leak": ANY, "input_scaled": (True, False)}
    found: dict[str, dict[str, Any]] = {"IFNode": {**free, "reset": ("subtract", "value"), "v_reset": ANY}}
    for kind, axes in (("LIFNode", leaky), ("KLIFNode", {**leaky, "v_floor": (0.0,)})):
        if modern or kind == "LIFNode":
            found[f"{kind}(v_reset=None)"] = {**axes, "reset": ("subtract",), "v_reset": ANY}
        for v in RESETS:
            found[f"{kind}(v_reset={v})"] = {**axes, "reset": ("value",), "v_reset": (v,), "v_rest": (v,)}
    if modern:
        cuba = {**free, "leak": ANY, "syn_decay": (0.5, 0.75, 0.0)}
        found["CUBALIFNode"] = {**cuba, "reset": ("subtract", "value"), "v_reset": ANY}
    return found


def simulate(known: Families, provenance: Provenance, case: Case, record: Record = "full") -> Trace:
    """Trace of a case: step by step with potentials for ``"full"``, in the multi-step form otherwise."""
    return run_cells(case, record, partial(make, known), provenance, multi=record != "full")


def make(known: Families, act: Neuron, shape: Shape, dtype: Any, multi: bool) -> Cell:
    """Cell of one layer: a node, or a node for each channel where the thresholds differ.

    Raises
    ------
    Unsupported
        A neuron that no class expresses; names the axis.
    """
    import torch

    _ = family_of(_canonical(act), known)
    thetas = np.ravel(act.theta)
    nodes = [node_of(act, float(theta), multi) for theta in thetas]
    twins = [] if multi else [node_of(act, UNREACHABLE, multi) for _ in thetas]
    axis = 2 if multi else 1
    started = False

    def start(x: Tensor) -> None:
        first = x[0] if multi else x
        v = along(act.v_init, shape, dtype).expand(first.shape).contiguous()
        for node, part in zip(nodes, _split(v, len(nodes), 1), strict=True):
            node.v = part.contiguous()

    def cell(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        nonlocal started
        if not started:
            start(x)
            started = True
        parts = _split(x, len(nodes), axis)
        # The potential before the reset is that of a twin in the same state which cannot fire.
        peaks = [_peak(twin, node, part) for twin, node, part in zip(twins, nodes, parts, strict=False)]
        spikes = torch.cat([node(part) for node, part in zip(nodes, parts, strict=True)], axis)
        v = torch.cat([node.v_seq if multi else node.v for node in nodes], axis)
        return spikes, torch.cat(peaks, axis) if peaks else None, v

    return cell


def _canonical(act: Neuron) -> Neuron:
    """Put representatives in place of what the families list only some values of."""
    if act.syn_decay is not None:
        return replace(act, syn_decay=0.5)
    if act.leak == 1 and act.v_floor is None:
        return replace(act, v_rest=0.0)
    hard = act.reset == "value" and (act.v_rest == act.v_reset or act.leak == 1)
    return replace(act, v_rest=0.0, v_reset=0.0) if hard else act


def _split(x: Tensor, parts: int, axis: int) -> tuple[Tensor, ...]:
    return (x,) if parts == 1 else x.split(1, axis)


def _peak(twin: Node, node: Node, x: Tensor) -> Tensor:
    for name, value in node.named_memories():
        setattr(twin, name, value)
    twin(x)
    return twin.v


def node_of(act: Neuron, theta: float, multi: bool = False) -> Node:
    """Build the library's neuron for `act`; in the multi-step form it keeps its potentials and infers."""
    from spikingjelly.activation_based import neuron

    given: dict[str, Any] = {"v_threshold": theta, "v_reset": float(act.v_reset) if act.reset == "value" else None}
    if act.syn_decay is not None:
        node = neuron.CUBALIFNode(c_decay=float(act.syn_decay), v_decay=float(act.leak), **given)
    elif act.leak == 1 and act.v_floor is None and not act.input_scaled:
        node = neuron.IFNode(**given)
    else:
        kind = neuron.LIFNode if act.v_floor is None else neuron.KLIFNode
        node = kind(tau=_tau(act.leak), decay_input=act.input_scaled, **given)
    if multi:
        node.step_mode, node.store_v_seq = "m", True
        node.eval()  # version 0.0.0.0.14 runs other code than in training
    return node


def _tau(leak: float) -> float:
    """``leak = 1 - 1 / tau``; tau is infinite where nothing leaks."""
    if leak == 0:
        raise Unsupported("leak = 0", "the library asks for tau > 1", "take a leak in (0, 1]")
    return 1 / (1 - leak) if leak < 1 else float("inf")


def operations(op: Op, x: Array, spikes: bool) -> dict[str, int]:
    """Operations of one operation on x [T, N, *shape], all steps at once, by ``op_counter``: over every connection.

    What it tells apart by the values, spikes (0 and 1) and others, is left out where it does not count as `spikes` says.
    Its MACs of a convolution include products with the padding: they are told where there is none.
    """
    import torch
    from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter, SynOpCounter

    layer, synops, macs = weighted(op), SynOpCounter(), MACCounter()
    values = torch.tensor(x, dtype=torch.float32).flatten(0, 1)
    with torch.no_grad(), DispatchCounterMode([synops, macs]):
        layer(values)
    padded = isinstance(op, Conv) and (op.transposed or any(map(any, op.padding)))
    told = {} if padded and not spikes else {"macs_every": int(macs.get_total())}
    return {"synops_every": int(synops.get_total()), **told}


def box(name: str, calls: Iterable[Array], params: Mapping[str, float]) -> tuple[Run, ...]:
    """Run a raw neuron of `BOXES` as `run_calls` has it."""
    node = _raw(name, {**BOXES[name][2], **params})

    def call(x: Tensor) -> Run:
        steps = [(node(current).numpy().copy(), _told(node)) for current in x]
        potentials = [v for _, v in steps if v is not None]
        v = np.stack(potentials) if len(potentials) == len(steps) else None
        return np.stack([s for s, _ in steps]), v

    return run_calls(calls, call)


def _told(node: Node) -> Array | None:
    v = getattr(node, "voltage_state", None)  # CubaLIFNode, whose v stays what it was
    v = getattr(node, "v", None) if v is None else v
    return None if v is None else v.numpy().copy()


def _raw(name: str, params: Mapping[str, float]) -> Node:
    kind, given, _ = BOXES[name]
    spelled: dict[str, Callable[[float], tuple[str, float]]] = {
        "theta": lambda v: ("v_threshold", float(v)),
        "leak": lambda v: ("tau", _tau(v)),
        **SPELLED.get(kind, {}),
    }
    return _class(kind)(**given, **dict(spelled[k](v) for k, v in params.items()))


# how a class spells its parameters where that is not v_threshold and tau
SPELLED: Mapping[str, Mapping[str, Callable[[float], tuple[str, float]]]] = {
    "ParametricLIFNode": {"leak": lambda v: ("init_tau", _tau(v))},
    "CUBALIFNode": {"leak": lambda v: ("v_decay", float(v)), "syn_decay": lambda v: ("c_decay", float(v))},
    "STBIFNode": {"theta": lambda v: ("q_threshold", float(v))},
    LAVA: {"leak": lambda v: ("voltage_decay", 1 - v), "syn_decay": lambda v: ("current_decay", 1 - v)},
}


def _class(kind: str) -> Any:
    """Class of ``activation_based.neuron``, or of the module that the name begins with; None without one."""
    module, _, name = kind.rpartition(".")
    return getattr(import_module(f"spikingjelly.activation_based.{module or 'neuron'}"), name, None)
