"""lava-dl's CUBA blocks as a subject: synapse, quantisation and neuron are slayer's own.

Runs inside lava's own interpreter. Blocks run without ``delay_shift`` in the simulator, on inputs that are late by the
layer's `delay`, so that the trace is that of the chip step for step; operator `block` takes ``delay_shift`` as it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from ..activation import Cuba
from ..content import Array
from ..errors import Unsupported
from ..network import Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale
from ..trace import Case, Provenance, Record, Trace
from . import ANY, ONE, Families, Oracle, reproduced
from .lava_slayer import SCALE, SHARED, STATE, bounded, norm, run_layers, set_bias
from .lava_slayer_build import block, build, exported, quantize_8bit, states, synapses, unquantised, watch

Tensor = Any
FAMILIES: Families = {
    "block.cuba": {
        "type": "Cuba",
        **dict.fromkeys(SHARED, ONE),
        **dict.fromkeys(("bias", "delay", "axon_delay", "bias_exponent", "recurrent"), ANY),
        "overflow": ("refuse", "none"),
    }
}
LATEST = 62  # steps that a block's axonal delay reaches; it cuts what is longer


def oracle() -> Oracle:
    """Simulator of whole layers, blocks one by one, their quantisation, and files that they export."""
    found = version("lava-dl")
    return Oracle(
        "lava-block",
        found,
        simulator=partial(simulate, Provenance("lava-block", found)),
        operators={
            "block": block,
            "weights_8bit": quantize_8bit,
            "slayer_export": slayer_export,
            **reproduced.operators("lava_slayer_block"),
        },
        families=FAMILIES,
    )


def simulate(provenance: Provenance, case: Case, record: Record = "full") -> Trace:
    """Trace of an integer case."""
    return run_layers(case, record, FAMILIES, partial(fire, case), provenance)


def fire(case: Case, layer: Layer, arriving: Callable[[str], Tensor]) -> Any:
    """Run one layer as a block."""
    import torch

    network, act = case.network, layer.act
    kind, params, weight, source = plan(network, layer)
    if kind == "sum":  # its neurons are the next layer's, with which it is one block
        return torch.zeros(1)
    x = arriving(source)
    if not torch.equal(x.float().double(), x):
        raise Unsupported(layer.name, "its input is not exact in float32", "give integers")
    if act is None:
        made = build(kind, params, weight, **unquantised(weight))
        y = made(x.float().movedim(0, -1)).movedim(-1, 0)
        return (y * SCALE if kind == "affine" else y).reshape(*y.shape[:2], *network.shapes[layer.name])
    assert isinstance(act, Cuba)
    bias = np.ravel(act.bias)
    made = build(kind, params, weight, **unquantised(weight), **({"norm": norm(bias)} if np.any(bias) else {}))
    set_bias(made.neuron, bias, act.bias_exponent)
    if kind == "recurrent" and unquantised(*weight):
        for synapse in synapses(made):
            synapse.pre_hook_fx = None
    kept = watch(made)
    spikes = made(x.float().movedim(0, -1))
    current, voltage = states(kept)
    bounded(layer.name, act, current, voltage, bias)
    return spikes.movedim(-1, 0), (voltage * STATE).movedim(-1, 0)


def plan(network: Network, layer: Layer) -> tuple[str, dict[str, Any], Any, str]:
    """Kind of block, its parameters, weight in slayer's units, and source, of a layer; or ``"sum"`` for sums of windows.

    Raises
    ------
    Unsupported
        What no block holds, by name.
    """
    where, act = layer.name, layer.act
    if len(layer.branches) != 1:
        raise Unsupported(where, f"a block sees one source, this {len(layer.branches)}", "merge or drop branches")
    op, source = layer.branches[0].op, layer.branches[0].source
    if getattr(op, "bias", None) is not None:
        raise Unsupported(where, "a block's synapse has no bias", "give the neuron a bias, Cuba.bias")
    params = _neuron(where, act) if isinstance(act, Cuba) else {}
    if act is None:
        return *_analog(where, op, layer == network.output), source
    if isinstance(act, Cuba) and act.recurrent is not None:
        if not isinstance(op, Dense) or np.any(act.bias):
            raise Unsupported(where, "a recurrent block is dense and has no bias (finding LV-9)", "drop one of them")
        return "recurrent", params, (op.weight / SCALE, act.recurrent / SCALE), source
    if isinstance(op, Dense):
        return "dense", params, op.weight / SCALE, source
    if isinstance(op, Conv):
        if op.transposed or op.weight.ndim != 4 or any(a != b for a, b in op.padding):
            raise Unsupported(where, "a conv block is not transposed, over 2 axes, and padded alike on both sides")
        geometry = {"stride": op.stride, "padding": tuple(a for a, _ in op.padding), "dilation": op.dilation}
        return "conv", params | geometry | {"groups": op.groups}, op.weight / SCALE, source
    factor = 1.0
    if isinstance(op, Scale):
        factor, before = op.factor, network[source] if source != "input" else None  # type: ignore[assignment]
        if before is not None and before.act is None and len(before.branches) == 1:
            op, source = before.branches[0].op, before.branches[0].source
    if not isinstance(op, Pool) or op.kind != "sum" or np.ndim(factor):
        raise Unsupported(where, f"there is no block for {type(op).__name__} before its neurons",
                          "Dense, Conv, or sums of windows times one number")  # fmt: skip
    if isinstance(act, Cuba) and np.any(act.bias):
        raise Unsupported(where, "bias: a pool block has none", "set it to 0")
    shape = network.shapes[source]
    apart = op.stride == op.kernel and not any(op.padding)
    if (
        len(op.kernel) != 2
        or any(n % k for n, k in zip(shape[1:], op.kernel, strict=True))
        or not (apart or shape[0] == 1)
    ):
        raise Unsupported(where, f"a pool block sums windows that tile {shape}, not {op.kernel} (findings LV-3 to LV-5)",
                          "stride = kernel, no padding, sizes that the kernel divides")  # fmt: skip
    geometry = {"kernel": op.kernel, "stride": op.stride, "padding": op.padding}
    return "pool", params | geometry, float(factor) / SCALE, source


def _neuron(where: str, act: Cuba) -> dict[str, Any]:
    if np.max(act.axon_delay) > LATEST:
        raise Unsupported(where, f"axon_delay = {np.max(act.axon_delay)}: a block cuts it to {LATEST}")
    units = (SCALE, STATE, STATE)
    return {k: float(np.ravel(getattr(act, k))[0]) / u for k, u in zip(SHARED, units, strict=True)} | {
        "delay_shift": False
    }


def _analog(where: str, op: Op, last: bool) -> tuple[str, dict[str, Any], Any]:
    if isinstance(op, Flatten):
        return "flatten", {}, None
    if isinstance(op, Pool) and op.kind == "sum" and not last:
        return "sum", {}, None
    if isinstance(op, Dense) and last:
        groups, size = op.weight.shape[0], op.weight.shape[1] // op.weight.shape[0]
        if size and np.array_equal(op.weight, np.kron(np.eye(groups), np.full((1, size), 1 / size))):
            return "average", {"num_outputs": groups}, None
        neuron = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.0}
        return "affine", neuron | {"dynamics": False}, op.weight / SCALE
    raise Unsupported(where, f"there is no block for {type(op).__name__} without neurons", "end in a dense layer")


def slayer_export(network: Network) -> Array:
    """Bytes (uint8) of the NetX file that slayer's own ``export_hdf5`` writes for a chain of blocks."""
    import torch

    made = []
    for layer in network.layers:
        kind, params, weight, _ = plan(network, layer)
        if kind == "sum":
            continue
        if unquantised(*(weight if isinstance(weight, tuple) else (weight,))):
            raise Unsupported(layer.name, "weights off the block's 8-bit grid", "even weights, -256 ... 254")
        bias = np.ravel(layer.act.bias) if isinstance(layer.act, Cuba) else np.zeros(1)
        made.append(build(kind, params, weight, **({"norm": norm(bias)} if np.any(bias) else {})))
        if isinstance(layer.act, Cuba):
            if set_bias(made[-1].neuron, bias, layer.act.bias_exponent):
                raise Unsupported(layer.name, "a bias off its norm's 8-bit grid", "even biases, -254 ... 256")
            _delay(made[-1], layer.act, network.shapes[layer.name][0])
    with torch.no_grad():
        x = torch.zeros(1, *network.input_shape, 1)
        for part in made:  # a block knows its shape when it has run
            x = part(x)
    return exported(made)


def _delay(made: Any, act: Cuba, channels: int) -> None:
    import torch
    from lava.lib.dl.slayer.axon import Delay

    if np.any(act.axon_delay):
        made.delay = Delay(max_delay=LATEST)
        made.delay.delay.data = torch.tensor(np.broadcast_to(np.asarray(act.axon_delay, np.float32), channels).copy())
        made.delay.init = True
