"""sinabs as a subject: its IAF and LIF layers, ``from_model``, and what else it offers.

Runs inside the library's own interpreter. True semantics of its layers, found by running them against the exact
reference: the comparison is ``>=``; ``i <- a (i + I)``; the floor acts after the reset, which no trace can tell from
ours while the floor is at most 0 and at most where a reset goes. ``MembraneReset(r)`` with ``r != 0`` adds r in *every*
step to *every* neuron, so hard resets go to 0 alone. ``MembraneSubtract(0)`` is a neuron without reset. ``exp(-1 / tau)``
is rarely dyadic; with ``train_alphas=True`` the factor itself is a parameter, which is set to what the case asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from math import inf, log
from typing import Any

from ..activation import Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import Shape
from ..trace import Case, Provenance, Record, Trace
from . import ANY, Families, Oracle, family_of, reproduced
from .torch_cells import Cell, Run, along, run_calls, run_cells

Tensor = Any
Node = Any
RESETS = ("subtract", "value", "none")

_IAF: dict[str, Any] = dict.fromkeys(("theta", "amplitude", "v_init", "max_spikes", "v_floor"), ANY) | {"reset": RESETS}
FAMILIES: Families = {
    "IAF": _IAF,
    "LIF": _IAF | {"leak": ANY, "input_scaled": ANY},
    "LIF(tau_syn)": _IAF | {"leak": ANY, "input_scaled": ANY, "syn_decay": ANY, "syn_order": ("add-decay",)},
}

# name as a user writes it -> class, its arguments (callables of the activation module), nominal parameters.
# tau = 1.4427 is 1 / ln 2: the layer's factor exp(-1 / tau) is then 0.5 exactly.
_HALF = {"theta": 1.0, "leak": 0.5}
BOXES: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, float]]] = {
    "IAF": ("IAF", {}, {"theta": 1.0}),
    "IAF(spike_fn=SingleSpike)": ("IAF", {"spike_fn": "SingleSpike"}, {"theta": 1.0}),
    "IAF(spike_fn=MaxSpike(2))": ("IAF", {"spike_fn": ("MaxSpike", 2)}, {"theta": 1.0}),
    "IAF(spike_fn=SingleSpike, reset_fn=MembraneReset())": (
        "IAF", {"spike_fn": "SingleSpike", "reset_fn": ("MembraneReset",)}, {"theta": 1.0}),
    "IAF(reset_fn=MembraneReset())": ("IAF", {"reset_fn": ("MembraneReset",)}, {"theta": 1.0}),
    "IAF(reset_fn=MembraneReset(reset_value=0.25))": ("IAF", {"reset_fn": ("MembraneReset", 0.25)}, {"theta": 1.0}),
    "IAF(reset_fn=MembraneSubtract(subtract_value=0.5))": (
        "IAF", {"reset_fn": ("MembraneSubtract", 0.5)}, {"theta": 1.0}),
    "IAF(min_v_mem=-1.0)": ("IAF", {"min_v_mem": -1.0}, {"theta": 1.0}),
    "IAFSqueeze(batch_size)": ("IAFSqueeze", {}, {"theta": 1.0}),
    "LIF(tau_mem=1.4427)": ("LIF", {}, _HALF),
    "LIF(tau_mem=1.4427, norm_input=False)": ("LIF", {"norm_input": False}, _HALF),
    "LIF(tau_mem=1.4427, spike_fn=SingleSpike)": ("LIF", {"spike_fn": "SingleSpike"}, _HALF),
    "LIF(tau_mem=1.4427, tau_syn=1.4427)": ("LIF", {}, _HALF | {"syn_decay": 0.5}),
    "LIF(tau_mem=1.4427, tau_syn=1.4427, norm_input=False)": (
        "LIF", {"norm_input": False}, _HALF | {"syn_decay": 0.5}),
    "ALIF(tau_mem=1.4427, tau_adapt=1.4427)": ("ALIF", {"tau_adapt": 1 / log(2)}, _HALF),
}  # fmt: skip


def oracle() -> Oracle:
    """Simulator, converter, operators and raw neurons of the installed version."""
    import sinabs.layers  # noqa: F401 - a missing library must show here

    from . import sinabs_convert, sinabs_operators

    provenance = Provenance("sinabs", version("sinabs"))
    run = partial(simulate, provenance)
    return Oracle(
        "sinabs",
        version("sinabs"),
        simulator=run,
        converter=partial(sinabs_convert.convert, provenance),
        operators={
            "box": box,
            "simulate_steps": partial(run, multi=False),
            "simulate_squeezed": partial(run, squeezed=True),
            "normalize_weights": sinabs_convert.normalize_weights,
            **sinabs_operators.OPERATORS,
            **reproduced.operators("sinabs"),
        },
        families=FAMILIES,
        boxes={name: nominal for name, (_, _, nominal) in BOXES.items()},
    )


def simulate(
    provenance: Provenance, case: Case, record: Record = "full", *, multi: bool = True, squeezed: bool = False
) -> Trace:
    """Trace of a case by the library's layers: over time, step by step, or by the squeezed layers."""
    return run_cells(case, record, partial(make, squeezed), provenance, multi)


def make(squeezed: bool, act: Neuron, shape: Shape, dtype: Any, multi: bool) -> Cell:
    """Cell of one layer; `Unsupported` where no layer of the library does what `act` says."""
    import torch

    family = family_of(act, FAMILIES)
    if act.v_floor is not None and act.v_floor > 0:
        raise Unsupported(family, f"v_floor = {act.v_floor}: min_v_mem acts after the reset", "use a floor <= 0")
    layer: Node = None

    def cell(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        nonlocal layer
        over = x.unsqueeze(0) if not multi else x
        if layer is None:
            layer = layer_of(act, shape, dtype, over.shape[1] if squeezed else 0)
            layer.init_state_with_shape((over.shape[1], *shape))
            layer.v_mem.data = (torch.zeros(over.shape[1:], dtype=dtype) + along(act.v_init, shape, dtype)).clone()
        given = over.transpose(0, 1)
        s = layer(given.flatten(0, 1)).unflatten(0, given.shape[:2]) if squeezed else layer(given)
        s, v = s.transpose(0, 1).to(dtype), layer.recordings["v_mem"].transpose(0, 1)
        return (s, None, v) if multi else (s[0], None, v[0])

    return cell


def layer_of(act: Neuron, shape: Shape, dtype: Any, batch: int = 0, exact: bool = True) -> Node:
    """The library's layer that does what `act` says; the squeezed one for a batch size.

    Its leak is a parameter where `exact`; else it has the time constant ``-1 / ln leak``, as most users build it.
    """
    import torch
    from sinabs import activation, layers

    given: dict[str, Any] = {
        "spike_threshold": along(act.theta, shape, dtype),
        "spike_fn": {1: activation.SingleSpike, None: activation.MultiSpike}.get(
            act.max_spikes, activation.MaxSpike(act.max_spikes)
        ),
        "reset_fn": {"subtract": activation.MembraneSubtract(), "value": activation.MembraneReset(),
                     "none": activation.MembraneSubtract(0.0)}[act.reset],
        "min_v_mem": act.v_floor,
        "record_states": True,
    }  # fmt: skip
    suffix, squeeze = ("Squeeze", {"batch_size": batch}) if batch else ("", {})
    if act.leak == 1 and act.syn_decay is None and not act.input_scaled:
        return getattr(layers, f"IAF{suffix}")(**given, **squeeze).to(dtype)
    tau_mem, tau_syn = _tau(act.leak), None if act.syn_decay is None else _tau(act.syn_decay)
    made = getattr(layers, f"LIF{suffix}")(
        tau_mem=tau_mem, tau_syn=tau_syn, train_alphas=exact, norm_input=act.input_scaled, **given, **squeeze
    ).to(dtype)
    if not exact:
        return made
    with torch.no_grad():
        made.alpha_mem.fill_(act.leak)
        if act.syn_decay is not None:
            made.alpha_syn.fill_(act.syn_decay)
    return made


def _tau(factor: float) -> float:
    """Time constant, in steps, of a factor per step in [0, 1]."""
    return -1 / log(factor) if 0 < factor < 1 else inf * factor if factor else 0.0


def box(name: str, calls: Iterable[Array], params: Mapping[str, float]) -> tuple[Run, ...]:
    """Consecutive calls of a raw layer, with the library's own defaults but for the nominal parameters.

    Parameters
    ----------
    name : str
        One of `BOXES`.
    calls : iterable of array [T, N, U]
    params : mapping
        ``theta``, ``leak`` (then ``tau_mem = -1 / ln leak``), ``syn_decay``.

    Returns
    -------
    tuple of (spikes [T, N, U], potentials after the reset [T, N, U]), or the text of the exception
    """
    layer: Node = None

    def call(steps: Tensor) -> Run:
        nonlocal layer
        x = steps.float().transpose(0, 1)
        layer = _raw(name, params, len(x)) if layer is None else layer
        s = layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]) if name.startswith("IAFSqueeze") else layer(x)
        return s.transpose(0, 1).numpy(), layer.recordings["v_mem"].transpose(0, 1).numpy()

    return run_calls(calls, call)


def _raw(name: str, params: Mapping[str, float], batch: int) -> Node:
    from sinabs import activation, layers

    kind, fixed, _ = BOXES[name]
    given: dict[str, Any] = {"spike_threshold": params["theta"], "record_states": True}
    for key, tau in (("leak", "tau_mem"), ("syn_decay", "tau_syn")):
        if key in params:
            given[tau] = _tau(params[key])
    for key, value in fixed.items():
        if isinstance(value, tuple):
            make_fn: Callable[..., Any] = getattr(activation, value[0])
            given[key] = make_fn(*value[1:])
        else:
            given[key] = getattr(activation, value) if isinstance(value, str) else value
    if kind == "IAFSqueeze":
        given["batch_size"] = batch
    return getattr(layers, kind)(**given)
