"""Neurons of lava-nc: the process of a `Cuba` or `SigmaDelta` layer, with all samples of a batch in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activation import Cuba, SigmaDelta
from ..content import Array
from ..errors import Unsupported
from ..network import Shape, per_channel
from .lava_nc_run import Process, lava_shape, lay

EDGE = 1 << 23  # states have 24 bits
INT16 = 1 << 15
VARIABLES = {"LIF": ("v", None), "LIFReset": ("v", None), "LIFRefractory": ("v", None), "Delta": ("act", "act"),
             "SigmaDelta": ("act", "sigma"), "Sigma": ("sigma", "sigma")}  # fmt: skip
"""Process class -> its variables that are `Trace.v` and `Trace.v_peak`; what LIF was before its reset it does not keep."""


def process(where: str, act: Any, shape: Shape, samples: int, drive: Array | None, steps: int, reach: int) -> Process:
    """Build the process of one layer.

    Parameters
    ----------
    where : str
    act : Cuba or SigmaDelta
    shape : tuple of int
    samples : int
    drive : array [1 or steps, N, *shape], optional
        Bias mantissas that an input layer is driven with.
    steps : int
    reach : int
        Greatest magnitude of what a unit gets in one step, before the weight exponent.
    """
    return _sigma_delta(where, act, shape, samples) if isinstance(act, SigmaDelta) else \
        _cuba(where, act, shape, samples, drive, steps, reach)  # fmt: skip


def refractory(act: Any) -> bool:
    """Whether a layer needs the process that has refractory steps, which exists in floating point alone."""
    return isinstance(act, Cuba) and act.refractory > 1


def _cuba(where: str, act: Cuba, shape: Shape, samples: int, drive: Array | None, steps: int, reach: int) -> Process:
    from lava.proc.lif.process import LIF, LIFRefractory, LIFReset

    threshold, u_decay, v_decay = (one(where, act, name) for name in ("threshold", "current_decay", "voltage_decay"))
    if threshold >= 1 << 17:
        raise Unsupported(where, f"threshold = {threshold}: it has 17 bits", "scale weights and threshold down")
    own = np.broadcast_to(per_channel(act.bias, shape), (samples, *shape))
    biases = [own] if drive is None else [own] * act.delay + [own + x for x in drive]  # from the first step on
    biases, exponent = mantissas(where, biases, act.bias_exponent)
    keeps_to_24_bits(where, act, reach, max(float(np.abs(b).max()) for b in biases) * 2.0**exponent, steps)
    given = {"shape": lava_shape(shape, samples), "bias_mant": lay(biases[0]).astype(int), "bias_exp": exponent}
    if refractory(act):
        if {u_decay, v_decay} - {0, 4096} or act.reset_interval is not None:
            raise Unsupported(where, "LIFRefractory is a floating-point model without reset", "use decays 0 and 4096")
        given |= {"bias_mant": given["bias_mant"] * 2**exponent, "bias_exp": 0}
        return LIFRefractory(vth=64 * threshold, du=u_decay / 4096, dv=v_decay / 4096,
                             refractory_period=act.refractory - 1, **given)  # fmt: skip
    given |= {"vth": threshold, "du": u_decay - 1, "dv": v_decay}
    if act.reset_interval is None:
        made = LIF(**given)
    else:  # lava counts steps from 1
        made = LIFReset(reset_interval=act.reset_interval, reset_offset=act.reset_offset + 1, **given)
    drive_by_bias(made, biases)
    return made


def drive_by_bias(neuron: Process, biases: list[Array]) -> None:
    """Let a data loader write the bias mantissas [N, *shape] of all steps but the first, after each step."""
    from lava.proc.io.dataloader import StateDataloader

    if any(np.any(b != biases[0]) for b in biases[1:]):
        loader = StateDataloader(dataset=[(lay(b).astype(int), 0) for b in biases[1:]])
        loader.connect_var(neuron.bias_mant)


def mantissas(where: str, biases: list[Array], exponent: int) -> tuple[list[Array], int]:
    """Bias mantissas of 16 bits and their exponent: 0 where only the products ``b 2^exponent`` are integers."""
    if any(np.any(b != np.rint(b)) for b in biases):
        biases, exponent = [b * 2.0**exponent for b in biases], 0
    if any(np.any(b != np.rint(b)) or np.any(np.abs(b) >= INT16) for b in biases):
        raise Unsupported(where, "bias mantissas are integers of 16 bits", "use a greater bias_exponent, or scale down")
    return biases, exponent


def _sigma_delta(where: str, act: SigmaDelta, shape: Shape, samples: int) -> Process:
    from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta

    at: dict[str, Any] = {"shape": lava_shape(shape, samples)}
    if act.role == "sigma":
        return Sigma(**at)
    at |= {"vth": one(where, act, "threshold"), "cum_error": act.cum_error, "spike_exp": act.spike_exponent,
           "state_exp": act.state_exponent}  # fmt: skip
    if act.role == "delta":
        return Delta(**at)
    bias = lay(np.broadcast_to(per_channel(act.bias, shape), (samples, *shape))).astype(int)
    return SigmaDelta(bias=bias, act_mode=ActivationMode[act.activation.upper()], **at)


def one(where: str, act: Cuba | SigmaDelta, name: str) -> int:
    """Read a parameter that a process has once."""
    values = np.unique(np.asarray(getattr(act, name)))
    if len(values) > 1:
        raise Unsupported(where, f"{name} differs between channels: a process has one", "split the layer")
    return int(values[0])


def keeps_to_24_bits(where: str, act: Cuba, reach: int, bias: float, steps: int) -> None:
    """Refuse a layer whose states might leave 24 bits, where the library does another thing then than `act` asks for.

    The bound is the recurrence on magnitudes, every step with the greatest input `reach` and `bias`. A current that more
    than 2^24 may reach in one step is wrapped once and not into 24 bits (NC-3).
    """
    kept, arriving = "none" if refractory(act) else "wrap", 64 * int(np.ceil(reach * 2.0**act.weight_exponent))
    if act.overflow == kept:
        if kept == "wrap" and arriving > 2 * EDGE:
            raise Unsupported(where, "its input might exceed 2^24, which lava wraps only once", "scale weights down")
        return
    u_decay, v_decay = (int(np.min(d)) for d in (act.current_decay, act.voltage_decay))
    u = v = 0
    for _ in range(steps):
        u = u * (4096 - u_decay) // 4096 + arriving
        v = v * (4096 - v_decay) // 4096 + u + int(bias)
        if max(u, v) >= EDGE:
            raise Unsupported(where, f"overflow = {act.overflow!r}: states might leave 24 bits", f"use {kept!r}")
