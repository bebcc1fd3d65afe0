"""lava-dl's CUBA neuron as a subject: slayer does the dynamics alone, torch the linear operations.

Runs inside lava's own interpreter. slayer counts in floats: 1 is 64 of Loihi's units in a weight or a threshold, 4096 in a
decay or a state. Its neuron acts on its input in the step in which that arrives; a layer's `delay` is a shift of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from ..activation import Cuba
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Layer, per_channel
from ..trace import Case, Provenance, Record, Trace
from . import ANY, Families, Oracle, family_of, reproduced
from .torch_cells import apply, trace_of

Tensor = Any
Node = Any
SCALE, STATE = 1 << 6, 1 << 12
EDGE, EXACT = 1 << 23, 1 << 24
TIES = (
    1 << 12
)  # mantissa from which on float32 loses the 0.01 / 4096 that makes slayer's comparison strict: finding LV-1
SHARED = ("threshold", "current_decay", "voltage_decay")  # of all neurons of one slayer module
FAMILIES: Families = {
    "cuba.Neuron": {
        "type": "Cuba",
        **dict.fromkeys((*SHARED, "bias", "delay", "axon_delay", "weight_exponent", "bias_exponent"), ANY),
        "overflow": ("refuse", "none"),
        "drive": ("current", "bias"),
    }
}


def oracle() -> Oracle:
    """Simulator of single neurons, and the findings about lava-dl."""
    found = version("lava-dl")
    return Oracle(
        "lava-neuron",
        found,
        simulator=partial(simulate, Provenance("lava-neuron", found)),
        operators=reproduced.operators("lava_slayer"),
        families=FAMILIES,
    )


def simulate(provenance: Provenance, case: Case, record: Record = "full") -> Trace:
    """Trace of an integer case."""
    return run_layers(case, record, FAMILIES, partial(fire, case), provenance)


def run_layers(
    case: Case,
    record: Record,
    families: Families,
    run: Callable[[Layer, Callable[[str], Tensor]], Any],
    provenance: Provenance,
) -> Trace:
    """Trace of an integer case, layer by layer over all steps.

    Parameters
    ----------
    case : Case
        ``constant`` or ``spikes`` encoding; activations are `Cuba` or None.
    families : Families
        What the library's neuron expresses.
    run : callable (layer, arriving) -> tensor [T, N, *shape], or (spikes, v_peak) of a layer with a `Cuba`
        ``arriving(source)`` gives the values of a source when they reach the layer, float64 [T, N, *shape].

    Raises
    ------
    Unsupported
        An activation that the library lacks, states that leave 24 bits (or, without bounds, the integers of float32).
    """
    import torch

    torch.set_num_threads(1)
    if case.encoding == "poisson":
        raise Unsupported("encoding = 'poisson'", "a library draws its own spikes", "give the spikes themselves")
    network, T = case.network, case.steps
    x = torch.tensor(case.x, dtype=torch.float64)
    values = {INPUT: x if case.encoding == "spikes" else x.expand(T, *x.shape)}
    kept: dict[str, dict[str, Array]] = {"spikes": {}, "v_peak": {}, "v": {}}
    with torch.no_grad():
        for layer in network.layers:
            act = layer.act
            if act is None:
                values[layer.name] = run(layer, values.__getitem__).double()
                continue
            if not isinstance(act, Cuba):
                raise Unsupported(layer.name, f"{type(act).__name__} is not a neuron of this library")
            _ = family_of(act, families)
            spikes, v_peak = run(layer, lambda source, by=act.delay: later(values[source], by))  # type: ignore[misc]
            values[layer.name] = handed_on(spikes, act.axon_delay).double()
            kept["spikes"][layer.name] = spikes.numpy().astype(np.uint8)
            kept["v_peak"][layer.name] = peak = np.rint(v_peak.double().numpy()).astype(np.int64)
            _without_ties(layer.name, act, peak)
            kept["v"][layer.name] = np.where(kept["spikes"][layer.name], 0, peak)
        readout = values[network.output.name].sum(0, keepdim=True)
    return trace_of(kept, readout.numpy(), T, record, provenance)


def _without_ties(where: str, act: Cuba, peak: Array) -> None:
    """Refuse potentials that meet a high threshold: the library fires there, the neuron of the specification does not."""
    theta = per_channel(act.threshold, peak.shape[2:])
    if np.any((peak == 64 * theta) & (theta >= TIES)):
        raise Unsupported(where, f"a potential meets its threshold, of {TIES} mantissas or more: the library fires there "
                          "(findings LV-1, LX-1)", "take a smaller threshold")  # fmt: skip


def later(x: Tensor, steps: int) -> Tensor:
    """``y[t] = x[t - steps]``, 0 before; x [T, ...]."""
    import torch

    return torch.cat([torch.zeros_like(x[:steps]), x[: max(len(x) - steps, 0)]])


def handed_on(spikes: Tensor, delays: Array | int) -> Tensor:
    """Spikes [T, N, C, ...] as late as slayer's axonal delay makes each channel."""
    import torch
    from lava.lib.dl.slayer.axon import Delay

    if not np.any(delays):
        return spikes
    T, N, C = spikes.shape[:3]
    axon = Delay()
    axon.delay.data = torch.tensor(np.broadcast_to(np.asarray(delays, np.float32), C).copy())
    axon.init = True
    flat = spikes.float().reshape(T, N, C, -1).permute(1, 3, 2, 0)  # it takes [N, C, T]
    late = axon(flat.reshape(-1, C, T)).reshape(flat.shape)
    return late.permute(3, 0, 2, 1).reshape(spikes.shape)


def fire(case: Case, layer: Layer, arriving: Callable[[str], Tensor]) -> Any:
    """Run one layer: sum its branches in float64, then slayer's neuron."""
    import torch

    shapes = case.network.shapes
    summed = sum(apply(b.op, arriving(b.source), shapes[b.source], torch.float64) for b in layer.branches)
    if layer.act is None:
        return summed
    assert isinstance(layer.act, Cuba)
    summed[: layer.act.delay] = 0  # before the first arrival what a branch adds counts as silent, too
    return cells(layer.name, layer.act, summed)


def cells(where: str, act: Cuba, summed: Tensor) -> Any:
    """Spikes and potentials before the reset [T, N, *shape] of slayer neurons on their summed input [T, N, *shape].

    One neuron for all channels, or one per channel where a parameter that slayer's neurons share differs between them.
    """
    import torch

    if act.drive == "bias":
        drive = summed * 2.0**act.bias_exponent
    else:
        drive = 64 * torch.floor(summed * 2.0**act.weight_exponent)
    x = (drive / STATE).float()
    if not torch.equal(x.double() * STATE, drive):
        raise Unsupported(where, "its summed input is no integer that float32 holds", "give integer weights and inputs")
    x = x.movedim(0, -1)
    shared = [np.ravel(getattr(act, name)) for name in SHARED]
    parts = max(map(len, shared))
    found = []
    for c, part in enumerate([x] if parts == 1 else x.split(1, 1)):
        threshold, current, voltage = (int(p[c if len(p) > 1 else 0]) for p in shared)
        params = {"threshold": threshold / SCALE, "voltage_decay": voltage / STATE}
        params["current_decay"] = 1.0 if act.drive == "bias" else current / STATE  # a bias has no current
        bias = np.ravel(act.bias)
        found.append(neuron_run(where, act, params, bias[c : c + 1] if parts > 1 and len(bias) > 1 else bias, part))
    return tuple(torch.cat(each, 1).movedim(-1, 0) for each in zip(*found, strict=True))


def neuron_run(where: str, act: Cuba, params: Mapping[str, float], bias: Array, x: Tensor) -> Any:
    """Spikes and potentials before the reset [N, *shape, T] of one slayer neuron on x [N, *shape, T]."""
    from lava.lib.dl.slayer.neuron import cuba

    node = cuba.Neuron(**params, scale=SCALE, norm=norm(bias))
    set_bias(node, bias, act.bias_exponent)
    current, voltage = node.dynamics(x)
    bounded(where, act, current, voltage, bias)
    return node.spike(voltage), voltage * STATE


def norm(bias: Array) -> Any:
    """Class that adds a bias to slayer's currents on their way into the potential; None where there is no bias."""
    from lava.lib.dl.slayer.neuron.norm import MeanOnlyBatchNorm

    return MeanOnlyBatchNorm if np.any(bias) else None


def set_bias(node: Node, bias: Array, exponent: int) -> bool:
    """Let a neuron with a `norm` add ``bias 2^exponent``; returns whether that lies off its 8-bit grid, and goes past it."""
    import torch

    if node.norm is None:
        return False
    node.eval()
    node.norm.running_mean = torch.tensor(-np.ravel(bias) * 2.0**exponent / STATE, dtype=torch.float32)
    past = not torch.equal(node.quantize_8bit(node.norm.running_mean), node.norm.running_mean)
    if past:
        node.norm.pre_hook_fx = lambda mean: mean
    return past


def bounded(where: str, act: Cuba, current: Tensor, voltage: Tensor, bias: Array) -> None:
    """Refuse states outside 24 bits, which slayer does not bound, and those that its float32 does not hold."""
    shift = np.reshape(np.ravel(bias) * 2.0**act.bias_exponent, (-1,) + (1,) * (current.ndim - 2))
    for state in (current.double().numpy() * STATE - shift, voltage.double().numpy() * STATE):
        if act.overflow == "refuse" and max(state.max(), -state.min() - 1) >= EDGE:
            raise Unsupported(where, "a state leaves 24 bits", "scale weights, bias or input down")
        if np.abs(state).max() >= EXACT:
            raise Unsupported(where, "a state reaches 2^24, which slayer keeps in float32 (finding LV-2)",
                              "scale weights, bias or input down")  # fmt: skip
