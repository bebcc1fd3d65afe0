"""Minimal cases of the findings on lava-nc 0.10.0: its processes and its runtime."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...content import Array
from ..lava_nc_run import run
from .refusal import Pair, unless_refused

WAIT = 2.0  # seconds in which a run of three small processes ends ten times over


def _graph(synapse: Any, neuron: Any, x: Array) -> tuple[Any, Any]:
    """Input [inputs, T] -> synapse -> neuron -> sink."""
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    sink = Sink(shape=neuron.s_out.shape, buffer=x.shape[-1])
    Source(data=x).s_out.connect(synapse.s_in)
    synapse.a_out.connect(neuron.a_in)
    neuron.s_out.connect(sink.a_in)
    return neuron, sink


def _state(neuron: Any, name: str, steps: int) -> Array:
    """Variable of a neuron after each step, [..., T]."""
    from lava.proc.io.sink import Read

    reader = Read(buffer=steps)
    reader.connect_var(getattr(neuron, name))
    return run(neuron, steps, {"state": reader}, {})["state"]


def _arriving(synapse: Any, x: Array) -> Array:
    """What a synapse sends in each step for an input [inputs, T], of one neuron."""
    from lava.proc.lif.process import LIF

    neuron, _ = _graph(synapse, LIF(shape=synapse.a_out.shape, vth=131071, du=4095, dv=4096), x)
    return _state(neuron, "u", x.shape[-1]).ravel() / 64


def raising_process() -> Pair:
    """A blocking run ends with an error when a process raises one (runtime.py: "Exception(s) occurred")."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import DelayDense
    from lava.proc.lif.process import LIF

    delayed = DelayDense(
        weights=np.ones((1, 1), int), delays=np.full((1, 1), 64)
    )  # 63 at most, or it raises in its run
    neuron, _ = _graph(delayed, LIF(shape=(1,), vth=10), np.ones((1, 4), int))
    neuron.run(condition=RunSteps(num_steps=4, blocking=False), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    end = time.monotonic() + WAIT
    while not (answered := any(port.probe() for port in neuron.runtime.service_to_runtime)) and time.monotonic() < end:
        time.sleep(0.01)
    raised = any(actor.exception is not None for actor in neuron.runtime._messaging_infrastructure.actors)
    neuron.runtime._is_started = False
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    return (raised, answered), (raised, True)


@unless_refused
def bias_of_17_bits() -> Pair:
    """A bias mantissa of 40000 (13 bits are documented) is refused or acts as what it is."""
    from lava.proc.lif.process import LIF

    neuron = LIF(shape=(1,), vth=131071, du=4095, dv=0, bias_mant=40000, bias_exp=0)
    return _state(neuron, "v", 1).ravel(), np.array([40000])


def wraps_once() -> Pair:
    """A current stays within 24 bits: 20 weights of 254 at exponent 7 make 41,615,360, which is 8,060,928 modulo 2^24."""
    from lava.proc.dense.process import Dense
    from lava.proc.lif.process import LIF

    synapse = Dense(weights=np.full((1, 20), 254), weight_exp=7)
    neuron, _ = _graph(synapse, LIF(shape=(1,), vth=131071, du=4095, dv=0), np.ones((20, 2), int))
    return _state(neuron, "u", 2).ravel(), np.array([0, (20 * 254 * 128 * 64 + 2**23 - 1) % 2**24 - 2**23 + 1])


def rounded_by_delay() -> Pair:
    """What arrives in one step is summed and then shifted, as Dense does: 1 + 1, late by 0 and 1, at exponent -1 is 1."""
    from lava.proc.dense.process import DelayDense

    synapse = DelayDense(weights=np.ones((1, 2), int), delays=np.array([[1, 0]]), weight_exp=-1)
    return _arriving(synapse, np.array([[1, 0, 0], [0, 1, 0]])), np.array([0, 0, 1])


def conv_exponent() -> Pair:
    """The effective weight is set to weight 2^weight_exp, as documented."""
    from lava.proc.conv.process import Conv

    return _arriving(Conv(weight=np.full((1, 1, 1, 1), 2), weight_exp=3), np.ones((1, 1, 1, 2), int)), np.array([0, 16])


def delta_at_threshold() -> Pair:
    """A delta encoder sends what is over its threshold, as documented: "s_out = delta if abs(delta) > vth else 0"."""
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.sdn.process import Delta

    encoder, sink = Delta(shape=(1,), vth=5), Sink(shape=(1,), buffer=2)
    Source(data=np.array([[5, 11]])).s_out.connect(encoder.a_in)
    encoder.s_out.connect(sink.a_in)
    return run(encoder, 2, {"s": sink}, {})["s"].ravel(), np.array([0, 11])


CASES: Mapping[str, Callable[[], Pair]] = {
    "NC-1": raising_process,
    "NC-2": bias_of_17_bits,
    "NC-3": wraps_once,
    "NC-4": rounded_by_delay,
    "NC-5": conv_exponent,
    "NC-6": delta_at_threshold,
}
