"""``sinabs.from_torch.from_model`` and ``sinabs.utils.normalize_weights``, read back into our terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..activation import Act, Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Branch, Layer, Network, Scale
from ..trace import Provenance, Trace
from .conversion import Converted
from .sinabs_modules import build, is_chain, percentile_of, read_back, relu

Module = Any
OPTIONS = {"spike_threshold", "spike_fn", "reset_fn", "min_v_mem", "bias_rescaling", "batch_size", "num_timesteps",
           "synops", "add_spiking_output", "input_shape"}  # fmt: skip


def convert(
    provenance: Provenance,
    network: Network,
    calibration: Array | None = None,
    *,
    x: Array | None = None,
    steps: int = 0,
    mode: str | None = None,
    shared_activation: bool = False,
    dtype: str = "float32",
    **options: Any,
) -> Converted:
    """Conversion by ``from_model``.

    Parameters
    ----------
    network : Network
        With ReLU activations.
    calibration : array [N, *input_shape], optional
        Used with `mode` alone; ``from_model`` knows no calibration.
    x, steps : array [N, *input_shape], int
        Where given, the converted model is run on x, constant over time.
    mode : str, optional
        "max" or a percentile such as "99.9%" for ``normalize_weights``, applied to the ANN before its conversion.
    shared_activation : bool
        One ``nn.ReLU`` for all layers, as many models have it.
    options
        ``spike_threshold``, ``spike_fn`` ("MultiSpike", "SingleSpike", int for MaxSpike), ``reset_fn``
        ("MembraneSubtract", "MembraneReset"), ``min_v_mem``, ``bias_rescaling``, ``batch_size``, ``num_timesteps``,
        ``synops``, ``add_spiking_output``, ``input_shape`` (bool): those of ``from_model``, its defaults where left out.
    """
    import torch
    from sinabs.from_torch import from_model

    torch.set_num_threads(1)
    if unknown := set(options) - OPTIONS:
        raise Unsupported("from_model", f"it has no option {sorted(unknown)[0]!r}", f"one of {sorted(OPTIONS)}")
    model = build(network, _shared() if shared_activation else relu, dtype).eval()
    if mode is not None:
        _normalize(network, model, calibration, percentile_of(mode), dtype)
    given = _given(options, network)
    if not {"batch_size", "num_timesteps"} & set(given):
        given["num_timesteps"] = steps or 1
    converted = from_model(model, **given)
    if options.get("add_spiking_output") and network.output.act is None:
        network, converted = _with_output(network, converted)
    spiking = converted.spiking_model
    snn = read_back(network, spiking, neuron_of)
    units = _units(network, snn)
    if x is None or not steps:
        return Converted(network, snn, units)
    trace = _run(snn, converted, np.asarray(x, dtype), steps, provenance)
    at = np.asarray(trace.readout_at).reshape(-1, *[1] * (trace.readout.ndim - 1))
    unit = np.asarray(units[network.output.name])
    return Converted(network, snn, units, trace, trace.readout * unit / at)


def neuron_of(layer: Layer, module: Module) -> Act:
    """Semantics of a converted activation, read from the library's layer; an activation that was kept stays."""
    from sinabs import activation, layers

    if not isinstance(module, layers.IAF):
        return layer.act
    spikes = {activation.SingleSpike: 1, activation.MultiSpike: None}
    most = module.spike_fn.max_num_spikes_per_bin if isinstance(module.spike_fn, activation.MaxSpike) \
        else spikes[module.spike_fn]  # fmt: skip
    hard = isinstance(module.reset_fn, activation.MembraneReset)
    return Neuron(
        theta=float(module.spike_threshold),
        v_init=_left_over(layer, module),
        reset="value" if hard else "subtract",
        v_reset=module.reset_fn.reset_value if hard else 0.0,
        max_spikes=most,
        v_floor=None if module.min_v_mem is None else float(module.min_v_mem),
    )


def normalize_weights(network: Network, x: Array, percentile: float = 99.0, dtype: str = "float32") -> Network:
    """The ANN with weights and biases as ``sinabs.utils.normalize_weights`` leaves them."""
    model = build(network, relu, dtype).eval()
    _normalize(network, model, x, percentile, dtype)
    return read_back(network, model, lambda layer, _: layer.act)


def _normalize(network: Network, model: Module, x: Array | None, percentile: float, dtype: str) -> None:
    import torch
    from sinabs.utils import normalize_weights as normalize

    if x is None:
        raise Unsupported("normalize_weights", "it needs sample data", "give a calibration set")
    rectified = [k for k, layer in enumerate(network.layers) if layer.act is not None]
    if any(len(network.layers[k].branches) > 1 for k in rectified):
        raise Unsupported("normalize_weights", "one parameter layer an activation", "use a chain")
    names = [f"layer{k}_0" for k in rectified], [f"layer{k}_act" for k in rectified]
    normalize(model, torch.tensor(np.asarray(x, dtype)), names[1], names[0], percentile)


def _shared() -> Callable[[Layer], Module]:
    made: list[Module] = []

    def activation(layer: Layer) -> Module:
        if not made:
            made.append(relu(layer))
        return made[0]

    return activation


def _given(options: Mapping[str, Any], network: Network) -> dict[str, Any]:
    import torch
    from sinabs import activation

    given = dict(options)
    if "spike_threshold" in given:
        given["spike_threshold"] = torch.tensor(float(given["spike_threshold"]))
    if "spike_fn" in given:
        fn = given["spike_fn"]
        given["spike_fn"] = activation.MaxSpike(fn) if isinstance(fn, int) else getattr(activation, fn)
    if "reset_fn" in given:
        given["reset_fn"] = getattr(activation, given["reset_fn"])()
    if given.pop("input_shape", False):
        given["input_shape"] = network.input_shape
    return given


def _with_output(network: Network, converted: Any) -> tuple[Network, Any]:
    """The network with the spiking layer that ``add_spiking_output`` appends."""
    if not is_chain(network):
        raise Unsupported("add_spiking_output", "it is for sequential models", "use a chain")
    last = network.output
    spiking = converted.spiking_model
    added = Layer("spike_output", (Branch(Scale(1.0), last.name),), Neuron())
    spiking._modules[f"layer{len(network.layers)}_act"] = spiking._modules.pop("spike_output")
    return replace(network, layers=(*network.layers, added)), converted


def _units(ann: Network, snn: Network) -> dict[str, Array]:
    """One spike of a layer is worth what its input is worth, its threshold, and what its weights were divided by."""
    units: dict[str, Array] = {INPUT: np.asarray(1.0)}
    for layer in snn.layers:
        worth = units[layer.branches[0].source]
        ours, theirs = (net[layer.name].branches[0].op for net in (ann, snn))
        for part in ("weight", "bias"):
            a, b = getattr(ours, part, None), getattr(theirs, part, None)
            if a is not None and b is not None and np.any(b):
                at = np.unravel_index(np.abs(a).argmax(), a.shape)
                worth = worth * np.asarray(np.float32(a[at]) / b[at])
                break
        units[layer.name] = worth * np.asarray(layer.act.theta) if isinstance(layer.act, Neuron) else worth
    del units[INPUT]
    return units


def _left_over(layer: Layer, module: Module) -> Any:
    """Potential that the library leaves in a layer before the first step: () or (C,)."""
    if not module.is_state_initialised():
        return 0.0
    v = module.v_mem.detach().double().numpy()
    v = v.reshape(*v.shape[:2], -1)
    if not np.all(v == v[:1, :, :1]):
        raise Unsupported(layer.name, "the potential left in it differs within a channel", "leave input_shape out")
    return v[0, :, 0]


def _run(snn: Network, converted: Any, x: Array, steps: int, provenance: Provenance) -> Trace:
    import torch

    spikes: dict[str, Array] = {}
    modules, hooks = dict(converted.spiking_model.named_children()), []

    def keep(name: str, module: Module, _: Any, out: Any) -> None:
        spikes[name] = out.unflatten(0, (len(x), steps)).transpose(0, 1).numpy().astype(np.int32)

    for k, layer in enumerate(snn.layers):
        if isinstance(layer.act, Neuron):
            hooks.append(modules[f"layer{k}_act"].register_forward_hook(partial(keep, layer.name)))
    shape = (len(x), steps, *snn.input_shape)
    with torch.no_grad():
        out = converted(torch.tensor(x)[:, None].expand(shape).flatten(0, 1)).unflatten(0, (len(x), steps))
    for hook in hooks:
        hook.remove()
    v_end = {layer.name: modules[f"layer{k}_act"].v_mem.numpy() for k, layer in enumerate(snn.layers)
             if isinstance(layer.act, Neuron)}  # fmt: skip
    return Trace(
        out.transpose(0, 1).cumsum(0).numpy(), tuple(range(1, steps + 1)),
        counts={k: s.sum(0, dtype=np.int64) for k, s in spikes.items()}, v_end=v_end, spikes=spikes,
        provenance=provenance,
    )  # fmt: skip
