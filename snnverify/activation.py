"""Activations: the analog ones of an ANN, and neurons whose every time step is defined here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Union

import numpy as np

from .content import Array, Content, frozen
from .errors import NetworkError


@dataclass(frozen=True, eq=False)
class Relu(Content):
    """``y = max(x, 0)``."""


@dataclass(frozen=True, eq=False)
class Clip(Content):
    """``y = min(max(x, 0), theta)``: what the rate of a neuron tends to over many steps; `theta` is () or (C,)."""

    theta: Array | float = 1.0


@dataclass(frozen=True, eq=False)
class ClipFloor(Content):
    """QCFS: ``y = theta / L clip(floor(x L / theta + shift), 0, L)`` (Bu et al., ICLR 2022)."""

    levels: int
    theta: Array | float = 1.0
    shift: float = 0.5


@dataclass(frozen=True, eq=False)
class Neuron(Content):
    """A spiking neuron whose every time step is defined here; nothing is left to the simulator.

    One step, in this order (I is the summed input of the step, s the number of spikes of the step before)::

        current-based:    i <- syn_decay i + I                 (else i = I)
        syn_order "add-decay":  i <- syn_decay (i + I)
        delay = 1:        i of the step before acts below       (0 in the first step)
        order "leak-integrate":  v <- v_rest + leak (v - v_rest) + k i
        order "integrate-leak":  v <- v_rest + leak (v - v_rest + k i)
                          k = 1 - leak where input_scaled, else 1
        reset_delay = 1:  the reset (below) that the spikes of the step before ask for; a hard one loses the input
        v_floor:          v <- max(v, v_floor)
        v_peak            = v
        s                 = 1 if v >= theta (or > theta) else 0;  max_spikes = m > 1 or None: the greatest n <= m for
                            which v >= n theta (or > n theta)
        reset_delay = 0:  subtract: v <- v - s theta;  value: v <- v_reset where s > 0;  none: v stays
        output            = s amplitude

    Parameters
    ----------
    theta : array or float
        Threshold, > 0; unit of the membrane potential; shape () or (C,).
    amplitude : array or float
        Value that one spike hands on; shape () or (C,).
    v_init : array or float
        Potential before the first step; shape () or (C,).
    fires : {">=", ">"}
    reset : {"subtract", "value", "none"}
        Soft, hard or no reset.
    v_reset : float
        Where a hard reset goes.
    reset_delay : {0, 1}
        Whether the reset acts within the step of its spike or in the next one, after leak and input (as in snnTorch).
    max_spikes : int or None
        Greatest number of spikes in a step; None for no limit.
    v_floor : float or None
        Lower bound of the potential.
    leak : float
        Factor on the potential per step, in [0, 1]; 1 is IF.
    v_rest : float
        Where the potential leaks to.
    input_scaled : bool
        Whether the input is multiplied by ``1 - leak``.
    syn_decay : float or None
        Factor on the synaptic current per step; None where the input acts at once.
    syn_order : {"decay-add", "add-decay"}
        Whether the current decays before (norse, snnTorch) or after (sinabs) the input of the step is added.
    delay : {0, 1}
        Whether the current acts in its own step or in the next one (as in norse's LIF cell).
    order : {"leak-integrate", "integrate-leak"}
    """

    theta: Array | float = 1.0
    amplitude: Array | float = 1.0
    v_init: Array | float = 0.0
    fires: Literal[">=", ">"] = ">="
    reset: Literal["subtract", "value", "none"] = "subtract"
    v_reset: float = 0.0
    reset_delay: int = 0
    max_spikes: int | None = 1
    v_floor: float | None = None
    leak: float = 1.0
    v_rest: float = 0.0
    input_scaled: bool = False
    syn_decay: float | None = None
    syn_order: Literal["decay-add", "add-decay"] = "decay-add"
    delay: int = 0
    order: Literal["leak-integrate", "integrate-leak"] = "leak-integrate"

    def __post_init__(self) -> None:
        super().__post_init__()
        legal = {"fires": (">=", ">"), "reset": ("subtract", "value", "none"), "reset_delay": (0, 1), "delay": (0, 1),
                 "order": ("leak-integrate", "integrate-leak"), "syn_order": ("decay-add", "add-decay")}  # fmt: skip
        for name, values in legal.items():
            if getattr(self, name) not in values:
                raise NetworkError(f"Neuron.{name} = {getattr(self, name)!r}: one of {values}")
        if not np.all(np.asarray(self.theta) > 0):
            raise NetworkError(f"Neuron.theta = {self.theta}: a threshold is > 0")
        if not 0 <= self.leak <= 1:
            raise NetworkError(f"Neuron.leak = {self.leak}: a factor in [0, 1]; 1 is no leak")
        if self.syn_decay is not None and not 0 <= self.syn_decay < 1:
            raise NetworkError(f"Neuron.syn_decay = {self.syn_decay}: a factor in [0, 1), or None for no filter")
        if self.max_spikes is not None and self.max_spikes < 1:
            raise NetworkError(f"Neuron.max_spikes = {self.max_spikes}: at least 1, or None for no limit")

    @property
    def keeps_charge(self) -> bool:
        """Whether the charge balance holds: soft immediate reset, no leak, no floor, no synaptic filter."""
        return (
            self.reset == "subtract"
            and self.reset_delay == 0
            and self.leak == 1
            and self.v_floor is None
            and self.syn_decay is None
            and self.delay == 0
            and not self.input_scaled
        )


@dataclass(frozen=True, eq=False)
class Cuba(Content):
    """Loihi's integer neuron. Layers with it hold integer weights and see the values of their sources `delay` steps late.

    One step t, counted from 0, in this order (rz rounds toward zero; x is the sum of the branches of step t - delay, and
    ``recurrent`` times the layer's own spikes of step t - 1 in addition)::

        t = reset_offset mod reset_interval:  u = v = 0
        u <- rz(u (4096 - current_decay) / 4096) + 64 floor(x 2^weight_exponent)
        v <- rz(v (4096 - voltage_decay) / 4096) + u + bias 2^bias_exponent     (v stays in a refractory step)
        s  = v > 64 threshold;  v <- 0 where s
        hands on  s of axon_delay steps before

    With ``drive="bias"`` (input layers) x is a bias mantissa: it is added to v as ``x 2^bias_exponent`` and u gets none.
    Intel's recorded traces in the lava-dl 0.6.0 wheel show all of it but the exponents, refractory steps and overflow,
    which are those of lava-nc 0.10.0 (proc/lif/models.py, proc/dense/models.py).

    Parameters
    ----------
    threshold : array or int
        Mantissa, >= 0; shape () or (C,), as of every parameter below that may be an array.
    current_decay, voltage_decay : array or int
        12-bit decays, 0 ... 4096.
    bias : array or int
        Bias mantissa.
    delay : int
        Steps by which the layer's input lags its source; 1 on the chip, 0 between slayer blocks without delay_shift.
    axon_delay : array or int
        Steps by which the spikes of each channel reach the next layers later; 0 ... 62 on the chip.
    weight_exponent, bias_exponent : int
    refractory : int
        Loihi's refDelay, >= 1: the potential stays 0 for ``refractory - 1`` steps after the step of a spike; the current
        goes on.
    reset_interval, reset_offset : int
        Current and potential are cleared before the steps that are ``reset_offset`` modulo ``reset_interval`` (None: never).
    overflow : {"refuse", "wrap", "none"}
        Outside 24 bits: `Unsupported`; u wraps by 2^24 into (-2^23, 2^23] and v is cut to +-(2^23 - 1), as in lava-nc; or
        states have no bounds, as in slayer on a CPU.
    drive : {"current", "bias"}
    recurrent : array [C, C], optional
        Integer weights on the layer's own spikes of the step before; for layers of shape (C,).
    """

    threshold: Array | int
    current_decay: Array | int = 4096
    voltage_decay: Array | int = 0
    bias: Array | int = 0
    delay: int = 1
    axon_delay: Array | int = 0
    weight_exponent: int = 0
    bias_exponent: int = 6
    refractory: int = 1
    reset_interval: int | None = None
    reset_offset: int = 0
    overflow: Literal["refuse", "wrap", "none"] = "refuse"
    drive: Literal["current", "bias"] = "current"
    recurrent: Array | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("current_decay", "voltage_decay"):
            _integers(self, name, 0, 4096, "a 12-bit decay is 0 ... 4096", axes=1)
        _integers(self, "threshold", 0, MOST, "a mantissa, 0 ... 2^24", axes=1)
        _integers(self, "bias", -MOST, MOST, "an integer mantissa of at most 2^24; quantise it first", axes=1)
        _integers(self, "axon_delay", 0, LONGEST, "0 ... 2^16 steps", axes=1)
        _integers(self, "delay", 0, LONGEST, "0 ... 2^16 steps")
        _integers(self, "weight_exponent", -8, 7, "a 4-bit exponent is -8 ... 7")
        _integers(self, "bias_exponent", 0, 7, "a 3-bit exponent is 0 ... 7")
        _integers(self, "refractory", 1, LONGEST, "1, which blocks no step, ... 2^16")
        _integers(self, "reset_offset", -MOST, MOST, "a whole step")
        if self.reset_interval is not None:
            _integers(self, "reset_interval", 1, MOST, "at least 1 step, or None for no reset")
        _among(self, "overflow", ("refuse", "wrap", "none"))
        _among(self, "drive", ("current", "bias"))
        if self.recurrent is not None:
            _integers(self, "recurrent", -MOST, MOST, "integer weights; quantise them first", axes=2)
            if self.drive == "bias":
                raise NetworkError(
                    "Cuba.recurrent: weights act on the current, and a layer driven by its bias gets none"
                )


@dataclass(frozen=True, eq=False)
class SigmaDelta(Content):
    """Loihi's sigma-delta unit: it hands on integer changes of its activation, and its source's are summed up again.

    One step (x is the sum of the branches of step t - delay, S = spike_exponent + state_exponent)::

        role "delta":        act = x 2^S                                      (the encoder of an input layer)
        role "sigma-delta":  sigma <- sigma + x;  act = max(0, sigma + bias 2^S)     (without max for "unit")
        d = act - act of the step before + residue
        |d| >= threshold 2^S:  hands on floor(d / 2^state_exponent), residue <- 0;  else hands on 0, residue <- d
        role "sigma":        sigma <- sigma + x, and hands on sigma           (the decoder of an output layer)

    sigma and act have 24 bits; beyond those the run is refused. The vectors of the lava-dl 0.6.0 wheel (pilotnet_sdnn) show
    the recurrence; with ``cum_error`` it is the accumulated
    ``error <- error + d`` that is compared, and cleared where it sends and d is not 0 (lava-nc 0.10.0, proc/sdn/models.py).

    Parameters
    ----------
    threshold, bias : array or int
        Mantissas; shape () or (C,); ``threshold >= 0``.
    role : {"sigma-delta", "delta", "sigma"}
    activation : {"relu", "unit"}
    cum_error : bool
    spike_exponent, state_exponent : int
        Binary places of messages and, beyond those, of states.
    delay : int
    axon_delay : array or int
        As of `Cuba`.
    """

    threshold: Array | int = 0
    bias: Array | int = 0
    role: Literal["sigma-delta", "delta", "sigma"] = "sigma-delta"
    activation: Literal["relu", "unit"] = "relu"
    cum_error: bool = False
    spike_exponent: int = 6
    state_exponent: int = 6
    delay: int = 1
    axon_delay: Array | int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _integers(self, "threshold", 0, MOST, "a mantissa, 0 ... 2^24", axes=1)
        _integers(self, "bias", -MOST, MOST, "an integer mantissa of at most 2^24; quantise it first", axes=1)
        for name in ("spike_exponent", "state_exponent"):
            _integers(self, name, 0, 15, "0 ... 15 binary places")
        _integers(self, "axon_delay", 0, LONGEST, "0 ... 2^16 steps", axes=1)
        _integers(self, "delay", 0, LONGEST, "0 ... 2^16 steps")
        _among(self, "role", ("sigma-delta", "delta", "sigma"))
        _among(self, "activation", ("relu", "unit"))


MOST, LONGEST = 1 << 24, 1 << 16  # far beyond the chip's, and small enough that no product leaves 64 bits


def _integers(act: Content, name: str, low: int, high: int, what: str, axes: int = 0) -> None:
    """Keep a parameter as an int, or as an int64 array of up to `axes` axes; refuse all but integers between two bounds."""
    value = np.asarray(getattr(act, name))
    whole = value.dtype.kind in "iu" or (value.dtype.kind == "f" and bool(np.all(value == np.rint(value))))
    if not whole or value.ndim > axes or np.any(value < low) or np.any(value > high):
        raise NetworkError(f"{type(act).__name__}.{name} = {getattr(act, name)}: {what}")
    object.__setattr__(act, name, frozen(value, np.int64) if value.ndim else int(value))


def _among(act: Content, name: str, legal: tuple[str, ...]) -> None:
    if getattr(act, name) not in legal:
        raise NetworkError(f"{type(act).__name__}.{name} = {getattr(act, name)!r}: one of {legal}")


Integer = (Cuba, SigmaDelta)  # activations of integer arithmetic
Act = Union[Relu, Clip, ClipFloor, Neuron, Cuba, SigmaDelta, None]  # noqa: UP007
