"""Activations: the analog ones of an ANN, and neurons whose every time step is defined here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Union

import numpy as np

from .content import Array, Content
from .errors import NetworkError


@dataclass(frozen=True, eq=False)
class Relu(Content):
    """``y = max(x, 0)``."""


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
    """Loihi's integer neuron. Layers with it hold integer weights and see the spikes of their source one step late.

    One step (rz rounds toward zero), as Intel's recorded traces of the lava-dl 0.6.0 wheel show it::

        u <- rz(u (4096 - current_decay) / 4096) + 64 sum(w s_prev)
        v <- rz(v (4096 - voltage_decay) / 4096) + u + 64 bias
        s  = v > 64 threshold;  v <- 0 where s

    Parameters
    ----------
    threshold : int
        Mantissa, > 0.
    current_decay, voltage_decay : int
        12-bit decays, 0 ... 4096.
    bias : array or int
        Bias mantissa; shape () or (C,).
    delay : int
        Steps by which the layer's input lags its source; 1 on the chip.
    """

    threshold: int
    current_decay: int = 4096
    voltage_decay: int = 0
    bias: Array | int = 0
    delay: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("current_decay", "voltage_decay"):
            if not 0 <= getattr(self, name) <= 4096:
                raise NetworkError(f"Cuba.{name} = {getattr(self, name)}: a 12-bit decay is 0 ... 4096")
        if self.threshold < 1:
            raise NetworkError(f"Cuba.threshold = {self.threshold}: at least 1")
        if self.delay < 0:
            raise NetworkError(f"Cuba.delay = {self.delay}: at least 0 steps")


Act = Union[Relu, ClipFloor, Neuron, Cuba, None]  # noqa: UP007
