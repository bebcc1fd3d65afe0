"""From a trained ANN to a spiking network: import, fold, calibrate, normalise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..activation import ClipFloor, Neuron, Relu
from ..content import Array, Content
from ..errors import ConfigError
from ..network import Network, per_channel
from ..simulate import MEMORY, simulate
from ..trace import Encoding, Record, Trace
from .analyze import LayerVerdict, analyze
from .calibrate import LayerStatistics, Mode, Population, calibrate, explicit
from .fold import fold
from .normalise import Form, MaxPool, spiking, with_pool_neurons
from .qcfs import QCFS, fine_tune, replace_relu
from .torch_import import from_torch

Readout = Literal["membrane", "count"]
TILE = 256


class ConversionWarning(UserWarning):
    """Something about a conversion that its user should know."""


@dataclass(frozen=True, eq=False)
class ConvertedNetwork(Content):
    """A spiking network, the ANN it comes from, and how they hang together.

    Parameters
    ----------
    ann, snn : Network
        The folded ANN and its conversion; layers of one name belong together.
    statistics : tuple of LayerStatistics
    units : mapping of layer to array
        What one unit of a layer's emitted values is worth in ANN units, () or (C,).
    readout : {"membrane", "count"}
        The output layer's accumulated input, or its spikes.
    options : mapping of str to str
        How it was converted.
    notes : tuple of str
        What a reader of the report should know.
    """

    ann: Network
    snn: Network
    statistics: tuple[LayerStatistics, ...]
    units: Mapping[str, Array]
    readout: Readout
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def thresholds(self) -> dict[str, Array]:
        """Threshold of every spiking layer, in the potential's unit."""
        return {v.name: np.asarray(v.act.theta) for v in self.snn.layers if isinstance(v.act, Neuron)}

    @property
    def scales(self) -> dict[str, Array]:
        """Activation in ANN units that a rate of 1 stands for, per spiking layer."""
        return {s.layer: s.threshold for s in self.statistics if s.layer in self.thresholds}

    def simulate(self, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
                 record: Record = "full", dtype: str = "float32", memory: int = MEMORY) -> Trace:  # fmt: skip
        """Trace of a batch, or of a single sample as a batch of one; `memory` is the budget beside what is recorded."""
        batch, _ = self._batched(x, encoding)
        return simulate(self.snn, batch, steps, encoding=encoding, seed=seed, record=record, dtype=dtype, memory=memory)

    def run(self, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
            dtype: str = "float32") -> Array:  # fmt: skip
        """Read-out per step in ANN units, [N, *output shape]; without N for a single sample.

        Runs tile by tile, so that nothing but the read-out grows with the number of samples.
        """
        batch, single = self._batched(x, encoding)
        axis = 1 if encoding == "spikes" else 0
        parts = []
        for start in range(0, max(batch.shape[axis], 1), TILE):
            part = batch[:, start : start + TILE] if axis else batch[start : start + TILE]
            trace = simulate(self.snn, part, steps, encoding=encoding, seed=seed, first_sample=start, dtype=dtype)
            parts.append(self.outputs(trace)[-1])
        y = np.concatenate(parts)
        return np.asarray(y[0] if single else y)

    def outputs(self, trace: Trace) -> Array:
        """Mean read-out per step in ANN units, [R, N, *output shape], at every step of ``trace.readout_at``."""
        name = self.snn.output.name
        steps = np.reshape(trace.readout_at, (-1,) + (1,) * (trace.readout.ndim - 1))
        return np.asarray(trace.readout / steps * per_channel(self.units[name], self.snn.shapes[name]))

    def classify(self, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0) -> Array:
        """Class of every sample: the arg max of the read-out; ties go to the lowest index."""
        return np.asarray(self.run(x, steps, encoding=encoding, seed=seed).argmax(-1))

    def calibration_report(self) -> tuple[dict[str, Any], ...]:
        """One row per layer: threshold; mean, maximum and 99.9 percentile of the rate that is asked for; units."""
        rows = []
        for s in self.statistics:
            top = float(np.max(s.threshold))
            rows.append({
                "layer": s.layer, "threshold": top, "mean_rate": s.mean / top, "max_rate": s.maximum / top,
                "p99.9_rate": s.p999 / top, "saturated": s.saturated, "dead_units": s.dead, "units": s.units,
            })  # fmt: skip
        return tuple(rows)

    def _batched(self, x: npt.ArrayLike, encoding: Encoding) -> tuple[Array, bool]:
        """Add the sample axis to a single sample (after the time axis of a given spike train)."""
        a = np.asarray(x)
        lead = 1 if encoding == "spikes" else 0
        single = a.ndim == len(self.snn.input_shape) + lead
        return (np.expand_dims(a, lead) if single else a), single


def convert(
    model: nn.Module | Network,
    calibration: npt.ArrayLike | torch.Tensor | None = None,
    *,
    mode: str | float = "99.9%",
    v_init: str | float = "half",
    reset: Literal["subtract", "value"] = "subtract",
    form: Form = "normalise",
    fold_batchnorm: bool = True,
    population: Population = "all",
    per_channel: bool = False,
    readout: Literal["auto", "membrane", "count"] = "auto",
    input_shape: tuple[int, ...] | None = None,
    neuron: Neuron | None = None,
    batch_size: int = 64,
    maxpool: MaxPool = "refuse",
    pool_neurons: bool = False,
) -> ConvertedNetwork:
    """Convert a trained ANN to a spiking network.

    Parameters
    ----------
    model : nn.Module or Network
        Converted in eval mode; the caller's model is left as it is.
    calibration : array [N, *input_shape], optional
        Inputs that the activation statistics are taken from. Without it every threshold is 1, with a warning.
    mode : str or float
        ``"max"``, ``"99.9%"`` (a percentile), ``0.5`` or ``"1/2"`` (a fraction of the maximum), ``"channel-wise"``.
    v_init : {"half", "zero"} or float
        Initial potential as a fraction of the threshold, in [0, 1).
    reset : {"subtract", "value"}
        Soft or hard reset.
    form : {"normalise", "balance"}
        Weights normalised to threshold 1, or thresholds balanced and weights kept.
    fold_batchnorm : bool
        False keeps every batch normalisation as an analog layer; what it costs is noted.
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
    chosen = Mode.parse(mode, per_channel)
    start = _v_init(v_init)
    if reset not in ("subtract", "value"):
        raise ConfigError(f"reset = {reset!r}: one of subtract (soft), value (hard)")
    if batch_size < 1:
        raise ConfigError(f"batch_size = {batch_size}: at least 1 sample")
    if population not in ("all", "positive"):
        raise ConfigError(f"population = {population!r}: one of all, positive")
    x = None if calibration is None else _array(calibration)
    notes: list[str] = []
    if isinstance(model, Network):
        ann = fold(model) if fold_batchnorm else model
    else:
        if model.training:
            notes.append("the model was in training mode; it was converted in eval mode")
        ann = from_torch(model, input_shape or _shape_of(model, x), fold_batchnorm=fold_batchnorm)
        notes += [] if fold_batchnorm else _unfolded(model, ann)
    if pool_neurons:
        ann = with_pool_neurons(ann)
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
    snn, units = spiking(ann, thresholds, v_init=start, maxpool=maxpool,
                         neuron=replace(neuron or Neuron(), reset=reset), form=form)  # fmt: skip
    options = {
        "mode": str(mode), "v_init": str(v_init), "reset": reset, "form": form, "population": population,
        "per_channel": str(chosen.per_channel), "fold_batchnorm": str(fold_batchnorm),
        "calibration_samples": str(0 if x is None else len(x)), "maxpool": maxpool, "pool_neurons": str(pool_neurons),
    }  # fmt: skip
    kind: Readout = "count" if counted else "membrane"
    return ConvertedNetwork(ann, snn, tuple(statistics.values()), units, kind, options, tuple(notes))


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
