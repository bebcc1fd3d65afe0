"""From a trained ANN to a spiking network: import, fold, calibrate, normalise."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..activation import ClipFloor, Neuron, Relu
from ..content import Array
from ..errors import ConfigError
from ..network import Network
from ..trace import Encoding
from .analyze import LayerVerdict, analyze
from .calibrate import LayerStatistics, Mode, Population, calibrate, explicit
from .converted import ConversionWarning, ConvertedNetwork, Readout
from .fold import fold
from .inputs import InputRange, bare, unit_input
from .normalise import Form, MaxPool, spiking, with_pool_neurons
from .qcfs import QCFS, fine_tune, replace_relu
from .rates import LayerRates, Setting, Target, explained, measure_rates, sampled, search
from .torch_import import from_torch


def convert(
    model: nn.Module | Network,
    calibration: npt.ArrayLike | torch.Tensor | None = None,
    *,
    mode: str | float = "99.9%",
    v_init: str | float = "half",
    reset: Literal["subtract", "value"] = "subtract",
    form: Form = "normalise",
    fold_batchnorm: bool | Literal["ignore"] = True,
    population: Population = "all",
    per_channel: bool = False,
    readout: Literal["auto", "membrane", "count"] = "auto",
    input_shape: tuple[int, ...] | None = None,
    neuron: Neuron | None = None,
    batch_size: int = 64,
    maxpool: MaxPool = "refuse",
    pool_neurons: bool = False,
    leak: float = 1.0,
    target_rate: tuple[float, float] | None = None,
    rate_steps: int = 20,
    encoding: Encoding = "constant",
    seed: int = 0,
    unit_range: bool = False,
) -> ConvertedNetwork:
    """Convert a trained ANN to a spiking network.

    Parameters
    ----------
    model : nn.Module or Network
        Converted in eval mode; the caller's model is left as it is.
    calibration : array [N, *input_shape], optional
        Inputs that the activation statistics are taken from. Without it every threshold is 1, with a warning.
    mode : str or float
        ``"max"``, ``"99.9%"`` (a percentile), ``0.5`` or ``"1/2"`` (a fraction of the maximum), ``"channel-wise"``;
        ``"rate"``: of each layer the threshold nearest to 99.9 % whose average rate is in `target_rate`.
    v_init : {"half", "zero"} or float
        Initial potential as a fraction of the threshold, in [0, 1).
    reset : {"subtract", "value"}
        Soft or hard reset.
    form : {"normalise", "balance"}
        Weights normalised to threshold 1, or thresholds balanced and weights kept.
    fold_batchnorm : bool or "ignore"
        False keeps every batch normalisation as an analog layer; what it costs is noted. ``"ignore"`` forgets them, as
        a converter may that knows none: thresholds are those of the trained model, weights those without them.
    population : {"all", "positive"}
        Activations that the statistics are over: rectified outputs with their zeros, or above zero only.
    per_channel : bool
        One threshold for every channel.
    readout : {"auto", "membrane", "count"}
        The accumulated input of the output layer, or the spikes of neurons put there. ``auto``: membrane, or count where
        the ANN itself ends in a ReLU.
    input_shape : tuple of int, optional
        Needed only where neither the calibration nor a first linear layer tells it.
    neuron : Neuron, optional
        Template of the remaining semantics (comparison, leak, ...); its reset is overridden by `reset` alone.
    batch_size : int
        Calibration samples held at a time, at least 1; no threshold hangs on it.
    maxpool : {"refuse", "gate"}
        Max pooling is an error, or becomes a gate on the accumulated spikes of each window; see `network.Pool`.
    pool_neurons : bool
        A neuron after each average pooling of rectified values, calibrated as any other, as early converters put there
        (SpikingJelly 0.0.0.0.4). In the ANN it is a ReLU that changes nothing.
    leak : float
        Factor on the potential per step, in (0, 1]: 1 makes IF neurons, less LIF. What it costs: `lif`.
    target_rate : pair of float, optional
        Range of the average rate of every layer, in spikes per step; (0.05, 0.20) for ``mode="rate"``. Rates outside it
        are warned of with their likely causes.
    rate_steps : int
    encoding : {"constant", "poisson"}
    seed : int
        What rates are measured with.
    unit_range : bool
        Whether inputs are mapped to [0, 1] by the range of each channel in the calibration set, and back by the first
        layer's weights: for signed features under a rate code.

    Returns
    -------
    ConvertedNetwork

    Raises
    ------
    ConfigError
        An option out of range.
    Unsupported
        What cannot be expressed, by module path; or no activation to replace.
    """
    by_rate = str(mode).strip().lower() == "rate"
    chosen = Mode.parse("99.9%" if by_rate else mode, per_channel)
    target = Target.of(target_rate or (0.05, 0.20)) if by_rate or target_rate is not None else None
    start = _v_init(v_init)
    if reset not in ("subtract", "value"):
        raise ConfigError(f"reset = {reset!r}: one of subtract (soft), value (hard)")
    if not 0 < leak <= 1:
        raise ConfigError(f"leak = {leak}: a factor on the potential in (0, 1]; 1 is IF")
    if batch_size < 1:
        raise ConfigError(f"batch_size = {batch_size}: at least 1 sample")
    if population not in ("all", "positive"):
        raise ConfigError(f"population = {population!r}: one of all, positive")
    if fold_batchnorm not in (True, False, "ignore"):
        raise ConfigError(f"fold_batchnorm = {fold_batchnorm!r}: one of True, False, 'ignore'")
    x = None if calibration is None else _array(calibration)
    if x is None and (target or unit_range):
        raise ConfigError(f"{'target_rate' if target else 'unit_range'}: it needs a calibration set; give one")
    notes: list[str] = []
    inputs = InputRange.of(x) if unit_range and x is not None else None

    def prepared(network: Network) -> Network:
        if inputs is not None:
            network = unit_input(network, inputs)
        if pool_neurons:
            network = with_pool_neurons(network)
        return network

    if isinstance(model, Network):
        ann = used = prepared(fold(model) if fold_batchnorm else model)
    else:
        if model.training:
            notes.append("the model was in training mode; it was converted in eval mode")
        shape = input_shape or _shape_of(model, x)
        imported = from_torch(model, shape, fold_batchnorm=bool(fold_batchnorm))
        notes += [] if fold_batchnorm else _unfolded(model, imported)
        ann = used = prepared(imported)
        if fold_batchnorm == "ignore":
            used = prepared(from_torch(bare(model), shape))
            notes.append("batch normalisation ignored: this is not the trained model")
    if inputs is not None:
        assert x is not None
        x = inputs.unit(x)
        notes.append("inputs are mapped to [0, 1] by the range of each channel; the first layer's weights undo it")
    counted = _counts(ann, readout)
    fired = [v.name for v in ann.layers if isinstance(v.act, (Relu, ClipFloor)) or (counted and v is ann.output)]
    learned = {v.name: np.asarray(v.act.theta, float) for v in ann.layers if isinstance(v.act, ClipFloor)}
    if x is None:
        if len(learned) < len(fired):
            notes.append("no calibration set: every threshold is 1; give one unless activations lie in [0, 1]")
            warnings.warn(notes[-1], ConversionWarning, stacklevel=2)
        statistics = explicit({name: learned.get(name, np.ones(())) for name in fired}, ann)
    else:
        measured = calibrate(ann, x, chosen, population, learned, batch_size)
        statistics = {name: measured[name] for name in fired}
    silent = [s.layer for s in statistics.values() if s.dead == s.units]
    if silent and x is not None:
        notes.append(f"silent on the calibration set: {', '.join(silent)}; is it representative?")
    thresholds = {s.layer: s.threshold for s in statistics.values()}
    template = replace(neuron or Neuron(), reset=reset)
    if leak != 1:
        template = replace(template, leak=leak)
    how: dict[str, Any] = {"v_init": start, "neuron": template, "form": form, "maxpool": maxpool}
    rates: tuple[LayerRates, ...] = ()
    setting = Setting(rate_steps, encoding, seed)
    if target is not None:
        assert x is not None
        few = sampled(x, setting.seed)
        few = np.clip(few, 0, 1) if inputs is not None and setting.encoding == "poisson" else few
        if by_rate:
            thresholds = search(used, thresholds, few, target, setting, **how)
            measured = calibrate(ann, x, chosen, population, thresholds, batch_size)
            statistics = {name: measured[name] for name in fired}
        rates = measure_rates(spiking(used, thresholds, **how)[0], thresholds, few, setting)
        rates = explained(rates, target, used, ann, thresholds, statistics, few, setting, **how)
        missed = [r.said(target) for r in rates if r.causes]
        notes += missed
        for line in missed:
            warnings.warn(line, ConversionWarning, stacklevel=2)
    snn, units = spiking(used, thresholds, **how)
    options = {
        "mode": str(mode), "v_init": str(v_init), "reset": reset, "form": form, "population": population,
        "per_channel": str(chosen.per_channel), "fold_batchnorm": str(fold_batchnorm),
        "calibration_samples": str(0 if x is None else len(x)), "maxpool": maxpool, "pool_neurons": str(pool_neurons),
        "leak": f"{leak:g}", "unit_range": str(unit_range),
    }  # fmt: skip
    if target is not None:
        options["target_rate"] = f"{target.low:g} to {target.high:g}, T = {setting.steps}, {setting.encoding}"
    kind: Readout = "count" if counted else "membrane"
    return ConvertedNetwork(ann, snn, tuple(statistics.values()), units, kind, options, tuple(notes), rates, inputs)


def _v_init(value: str | float) -> float:
    names = {"half": 0.5, "zero": 0.0}
    try:
        start = names[value] if value in names else float(value)
    except (TypeError, ValueError):
        start = -1.0
    if not 0 <= start < 1:
        raise ConfigError(f"v_init = {value!r}: half, zero, or a fraction of the threshold in [0, 1)")
    return start


def _array(data: npt.ArrayLike | torch.Tensor) -> Array:
    return data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else np.asarray(data)


def _shape_of(model: nn.Module, x: Array | None) -> tuple[int, ...]:
    if x is not None:
        if x.ndim < 2:
            raise ConfigError(f"calibration of shape {x.shape}: [N, *shape]; give a single sample as x[None]")
        return tuple(x.shape[1:])
    first = next((m for m in model.modules() if not list(m.children()) and list(m.parameters())), None)
    if isinstance(first, nn.Linear):
        return (first.in_features,)
    raise ConfigError(
        "input_shape: neither a calibration set nor a first Linear layer tells it; give input_shape=(...)"
    )


def _unfolded(model: nn.Module, ann: Network) -> list[str]:
    """Say what keeping normalisations apart costs, where there are any."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    kept = [n for n, m in model.named_modules() if isinstance(m, kinds) and any(v.name == n for v in ann.layers)]
    cost = sum(int(np.prod(ann.shapes[n])) for n in kept)
    said = f"batch normalisation not folded ({', '.join(kept)}): {cost} analog multiply-adds per sample and step"
    return [said] if kept else []


def _counts(ann: Network, readout: str) -> bool:
    """Whether the output layer gets neurons whose spikes are counted."""
    if readout not in ("auto", "membrane", "count"):
        raise ConfigError(f"readout = {readout!r}: one of auto, membrane, count")
    rectified = isinstance(ann.output.act, (Relu, ClipFloor))
    if rectified and readout == "membrane":
        raise ConfigError("readout = 'membrane': the ANN ends in an activation, whose neurons count; use count or auto")
    return rectified or readout == "count"


__all__ = [
    "QCFS", "ConversionWarning", "ConvertedNetwork", "LayerStatistics", "LayerVerdict", "analyze", "calibrate",
    "convert", "fine_tune", "fold", "from_torch", "replace_relu", "spiking",
]  # fmt: skip
