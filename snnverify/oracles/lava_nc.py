"""lava-nc as a subject: its fixed-point processes on the CPU, built from a `Network` one by one, and its weight grids.

Runs inside the library's own interpreter. Ring buffers are the source and the sinks; a synapse sends what it received in
the step before, which is ``delay=1``. `FAMILIES` says which process expresses which layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from ..activation import Cuba, Integer, SigmaDelta
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Dense, Layer, Network, Scale, per_channel
from ..trace import Case, Provenance, Record, Trace
from . import ANY, ONE, Families, Oracle, reproduced
from .lava_nc_neurons import VARIABLES, process, refractory
from .lava_nc_run import Port, Process, lava_shape, lay_train, run, unlay
from .lava_nc_synapses import BITS, Path, connect, path, reach
from .lava_nc_trace import handed_over

MOST = 4_000_000  # entries of a synapse that joins the samples of a batch
_SHARED = dict.fromkeys(("threshold", "current_decay", "voltage_decay"), ONE)  # a process has them once
_CUBA = {"type": "Cuba", **_SHARED, "overflow": ("wrap", "refuse", "none"),
         **dict.fromkeys(("bias", "axon_delay", "weight_exponent", "bias_exponent", "recurrent"), ANY)}  # fmt: skip
_GRADED = {"type": "SigmaDelta", "threshold": ONE,
           **dict.fromkeys(("cum_error", "spike_exponent", "state_exponent", "axon_delay"), ANY)}  # fmt: skip

FAMILIES: Families = {
    "LIF": _CUBA,
    "LIF(bias_mant=input)": {**_CUBA, "delay": (0, 1), "drive": ("bias",)},
    "LIFReset": {**_CUBA, "reset_interval": ANY, "reset_offset": ANY},
    "LIFRefractory": {**_CUBA, "current_decay": (0, 4096), "voltage_decay": (0, 4096), "refractory": ANY,
                      "weight_exponent": tuple(range(8))},
    "Delta": {**_GRADED, "role": ("delta",), "delay": (0, 1)},
    "SigmaDelta": {**_GRADED, "bias": ANY, "activation": ("relu", "unit")},
    "Sigma": {"type": "SigmaDelta", "role": ("sigma",), "axon_delay": ANY},
}  # fmt: skip


def oracle() -> Oracle:
    """Simulator and operators of the installed version."""
    found = version("lava-nc")
    return Oracle(
        "lava-nc",
        found,
        simulator=partial(simulate, Provenance("lava-nc", found)),
        operators={
            "loihi_weights": loihi_weights,
            **reproduced.operators("lava_nc"),
        },
        families=FAMILIES,
    )


def simulate(provenance: Provenance, case: Case, record: Record = "full") -> Trace:
    """Trace of a case; the samples run side by side, as many as fit into one synapse of `MOST` entries."""
    if case.encoding == "poisson":
        raise Unsupported("encoding = 'poisson'", "a library draws its own spikes", "give the spikes themselves")
    network, T = case.network, case.steps
    x = case.x if case.encoding == "spikes" else case.x[None]
    paths = {layer.name: [] if _by_bias(layer) else [path(network, layer.name, b) for b in layer.branches]
             for layer in network.spiking}  # fmt: skip
    at_once = _at_once(network, paths)
    parts = [_batch(network, paths, x[:, n : n + at_once], T, record == "full") for n in range(0, x.shape[1], at_once)]
    kept = {what: {name: np.concatenate([p[what, name] for p in parts], 1) for w, name in parts[0] if w == what}
            for what in ("spikes", "v", "v_peak")}  # fmt: skip
    return handed_over(network, kept, record, T, provenance)


def _by_bias(layer: Layer) -> bool:
    return getattr(layer.act, "drive", "current") == "bias"


def _at_once(network: Network, paths: Mapping[str, list[Path]]) -> int:
    entries = [1]
    for layer in network.spiking:
        for p in paths[layer.name]:
            late = int(np.max(getattr(_act(network, p.source), "axon_delay", 0))) + 1
            entries.append(p.op.weight.size * late if isinstance(p.op, Dense) else 1)
        if isinstance(layer.act, Cuba) and layer.act.recurrent is not None:
            entries.append(layer.act.recurrent.size)
    return max(1, int((MOST / max(entries)) ** 0.5))


def _act(network: Network, source: str) -> Any:
    return None if source == INPUT else network[source].act


def _batch(
    network: Network, paths: Mapping[str, list[Path]], x: Array, T: int, full: bool
) -> dict[tuple[str, str], Array]:
    """Build the graph for x [T or 1, N, *shape], run it, and return (what, layer) -> [T, N, *shape]."""
    from lava.proc.io.sink import Read, RingBuffer
    from lava.proc.lif.models import PyLifRefractoryModelFloat
    from lava.proc.lif.process import LIFRefractory

    samples = x.shape[1]
    neurons: dict[str, Process] = {}
    probes: dict[tuple[str, str], Process] = {}
    ports = _Ports(network, x, T, neurons)
    for layer in network.layers:
        if not isinstance(layer.act, Integer):
            if layer.act is not None:
                raise Unsupported(layer.name, f"{type(layer.act).__name__} is none of the library's processes")
            continue
        shape = network.shapes[layer.name]
        neuron = neurons[layer.name] = _neuron(network, layer, paths[layer.name], x, T)
        if not _by_bias(layer):
            _synapses(network, layer, paths[layer.name], ports, neuron, samples)
        sink = RingBuffer(shape=lava_shape(shape, samples), buffer=T)
        neuron.s_out.connect(sink.a_in)
        probes["spikes", layer.name] = sink
        for what, variable in zip(("v", "v_peak"), VARIABLES[type(neuron).__name__], strict=True):
            if full and variable is not None:
                reader = probes[what, layer.name] = Read(buffer=T)
                reader.connect_var(getattr(neuron, variable))
    found = run(next(iter(neurons.values())), T, probes, {LIFRefractory: PyLifRefractoryModelFloat})
    kinds = {name: np.uint8 if isinstance(network[name].act, Cuba) else np.int32 for name in neurons}
    return {
        (what, name): unlay(a, samples, network.shapes[name]).astype(kinds[name] if what == "spikes" else np.int64)
        for (what, name), a in found.items()
    }


class _Ports:
    """Output port of each layer, and of the input: a ring buffer that is made when it is first asked for."""

    def __init__(self, network: Network, x: Array, T: int, neurons: Mapping[str, Process]) -> None:
        self.network, self.x, self.T, self.neurons = network, x, T, neurons
        self.source: Process = None

    def __getitem__(self, name: str) -> Port:
        from lava.proc.io.source import RingBuffer

        if name != INPUT:
            return self.neurons[name].s_out
        if self.source is None:
            if np.any(self.x != np.rint(self.x)):
                raise Unsupported(INPUT, "messages are integers", "quantise the input, or drive the layer by its bias")
            self.source = RingBuffer(data=lay_train(self.x).astype(int))  # of one step: it turns round
        return self.source.s_out

    def graded(self, name: str) -> bool:
        """Whether what a layer hands on is more than 0 or 1."""
        if name == INPUT:
            return bool(np.any((self.x != 0) & (self.x != 1)))
        return isinstance(_act(self.network, name), SigmaDelta)


def _neuron(network: Network, layer: Layer, paths: list[Path], x: Array, T: int) -> Process:
    act: Any = layer.act
    shape, drive = network.shapes[layer.name], None
    if _by_bias(layer):
        (op,) = [b.op for b in layer.branches] if len(layer.branches) == 1 else (None,)
        if not isinstance(op, Scale) or layer.branches[0].source != INPUT or act.delay > 1:
            raise Unsupported(layer.name, "a bias can be driven by the scaled input alone, 0 or 1 steps late")
        drive = x * per_channel(op.factor, shape)
        drive = drive if op.bias is None else drive + per_channel(op.bias, shape)
    return process(layer.name, act, shape, x.shape[1], drive, T, reach(act, paths, x))


def _synapses(network: Network, layer: Layer, paths: list[Path], ports: _Ports, neuron: Process, samples: int) -> None:
    act: Any = layer.act
    recurrent = getattr(act, "recurrent", None)
    alone = len(paths) == 1 and recurrent is None
    exponent, places = getattr(act, "weight_exponent", 0), 0
    if refractory(act):
        places = 6  # the floating-point model neither shifts what it receives nor rounds it
    for p in paths:
        source = network.shapes[p.source]
        if act.delay == 0:
            if not alone or not p.plain or exponent or places:
                raise Unsupported(layer.name, "delay = 0: every synapse takes a step", "use delay=1")
            ports[p.source].connect(neuron.a_in)
        elif act.delay == 1:
            delay = np.asarray(getattr(_act(network, p.source), "axon_delay", 0))
            connect(layer.name, p, ports[p.source], source, samples, neuron.a_in, exponent, places, delay, alone,
                    ports.graded(p.source))  # fmt: skip
        else:
            raise Unsupported(layer.name, f"delay = {act.delay}: a synapse takes one step", "use delay=1")
    if recurrent is not None:
        own, shape = Path(layer.name, Dense(recurrent)), network.shapes[layer.name]
        connect(layer.name, own, neuron.s_out, shape, samples, neuron.a_in, exponent, places, np.asarray(0),
                alone, False)  # fmt: skip


def loihi_weights(mantissa: Array, bits: int, sign_mode: str | None) -> Array:
    """What a Dense process really multiplies with: its mantissas, clipped and cut to `bits` bits for the sign mode."""
    from lava.utils.weightutils import SignMode, clip_weights, determine_sign_mode, truncate_weights

    weights = np.asarray(mantissa)
    sign = SignMode[sign_mode.upper()] if sign_mode else determine_sign_mode(weights)
    return np.asarray(truncate_weights(clip_weights(weights, sign, BITS), sign, bits))
