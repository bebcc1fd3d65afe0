"""SpikingJelly's exchange with Lava (``activation_based.lava_exchange`` of 0.0.0.0.14) as a subject.

Runs inside lava's own interpreter, the only one in which the module is whole. Its containers hold a synapse with weights on
the 8-bit grid and a `CubaLIFNode`; its converters make slayer neurons, synapses and blocks of SpikingJelly's modules.
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
from ..network import Conv, Dense, Layer, Op
from ..trace import Case, Provenance, Record, Trace
from . import ANY, ONE, Families, Oracle, lava_exchange_train, reproduced
from .lava_exchange_convert import (
    container,
    lava_blocks,
    lava_containers,
    lava_cuba,
    lava_synapse,
    refusals,
    synapse_of,
    turned,
)
from .lava_slayer import SCALE, SHARED, STATE, bounded, run_layers
from .lava_slayer_build import GEOMETRY
from .torch_cells import apply

Tensor = Any
Module = Any
FAMILIES: Families = {
    "CubaLIFNode": {"type": "Cuba", **dict.fromkeys(SHARED, ONE), "delay": ANY, "overflow": ("refuse", "none")}
}


def oracle() -> Oracle:
    """Simulator, converters and the tutorial's network."""
    found = version("spikingjelly")
    return Oracle(
        "lava-exchange",
        found,
        simulator=partial(simulate, Provenance("lava-exchange", found)),
        operators={
            "weights_8bit": quantize_8bit,
            "block": block,
            "lava_cuba": lava_cuba,
            "lava_synapse": lava_synapse,
            "lava_blocks": lava_blocks,
            "lava_containers": lava_containers,
            "to_nxt": lambda x: turned("TNX_to_NXT", x),
            "to_tnx": lambda x: turned("NXT_to_TNX", x),
            **lava_exchange_train.OPERATORS,
            **reproduced.operators("lava_exchange"),
        },
        families=FAMILIES,
    )


def simulate(provenance: Provenance, case: Case, record: Record = "full") -> Trace:
    """Trace of an integer case."""
    return run_layers(case, record, FAMILIES, partial(fire, case), provenance)


def fire(case: Case, layer: Layer, arriving: Callable[[str], Tensor]) -> Any:
    """Run one layer: a container, or where its synapse is none of the library's, sums in float64 and a node."""
    import torch

    network, act = case.network, layer.act
    if act is None or len(layer.branches) > 1 or not on_grid(layer.branches[0].op):
        summed = sum(apply(b.op, arriving(b.source), network.shapes[b.source], torch.float64) for b in layer.branches)
        if act is None:
            return summed
        run, x, unit = None, summed, SCALE
    else:
        run, x, unit = synapse_of(layer.branches[0].op, SCALE), arriving(layer.branches[0].source), 1
    assert isinstance(act, Cuba)
    x32 = (x / unit).float()
    if not torch.equal(x32.double() * unit, x):
        raise Unsupported(layer.name, "its input is not exact in float32", "give integers")
    values = (float(np.ravel(getattr(act, k))[0]) for k in SHARED)
    params = {k: v / u for k, v, u in zip(SHARED, values, (SCALE, STATE, STATE), strict=True)}
    node, kept = node_of(params)
    spikes = (node if run is None else container(run, node))(x32)
    current, voltage = (torch.stack(s) for s in zip(*kept, strict=True))
    bounded(layer.name, act, current.movedim(0, -1), voltage.movedim(0, -1), np.zeros(1))
    return spikes, voltage * STATE


def on_grid(op: Op) -> bool:
    """Whether a container multiplies with these weights, in mantissas, as they are."""
    if not isinstance(op, Dense | Conv) or op.bias is not None:
        return False
    if isinstance(op, Conv) and (op.transposed or op.weight.ndim != 4 or any(a != b for a, b in op.padding)):
        return False
    return bool(np.array_equal(quantize_8bit(op.weight / SCALE, SCALE) * SCALE, op.weight))


def node_of(params: Mapping[str, float], **options: Any) -> tuple[Module, list[tuple[Tensor, Tensor]]]:
    """CubaLIFNode over all steps, and the list into which it puts current and potential before the reset of each step."""
    from spikingjelly.activation_based.lava_exchange import CubaLIFNode

    node = CubaLIFNode(params["current_decay"], params["voltage_decay"], params["threshold"],
                       scale=params.get("scale", SCALE), step_mode="m", **options)  # fmt: skip
    kept: list[tuple[Tensor, Tensor]] = []
    decide = node.neuronal_fire

    def kept_fire() -> Tensor:
        kept.append((node.current_state, node.voltage_state))
        return decide()

    node.neuronal_fire = kept_fire
    return node, kept


def quantize_8bit(weight: Array, scale: int) -> Array:
    """Weights on the 8-bit grid of the containers."""
    import torch
    from spikingjelly.activation_based.lava_exchange import quantize_8b

    return np.asarray(quantize_8b(torch.tensor(np.asarray(weight), dtype=torch.float32), scale).numpy(), float)


def block(kind: str, params: Mapping[str, Any], weight: Any, x: Array) -> dict[str, Any]:
    """What one container makes of x [T, N, *shape], as `lava_slayer_block.block` tells it; it has no ``delay_shift``."""
    import torch

    torch.set_num_threads(1)
    if kind not in ("dense", "conv", "pool", "flatten"):
        raise Unsupported(f"block {kind!r}", "the library has no container for it")
    if params.get("delay_shift", kind != "flatten"):
        raise Unsupported(
            "delay_shift = True", "a container's spikes come in the step of their input", "delay_shift = False"
        )
    given = torch.tensor(np.asarray(x), dtype=torch.float32)
    if kind == "flatten":
        return {"spikes": container(torch.nn.Flatten(), None)(given).numpy()}
    synapse = _synapse(kind, params, weight)
    with torch.no_grad(), refusals(f"block {kind!r}"):
        node, kept = node_of(params)
        made = container(synapse, node)
        spikes = made(given)
        current, voltage = (torch.stack(s) for s in zip(*kept, strict=True))
        pools = kind == "pool"  # whose weights of 1 are not quantised: finding LX-21
        mantissas = (synapse.weight * node.scale if pools else node.quantize_8bit(synapse.weight, descale=True)).numpy()
    states = {k: np.rint(s.double().numpy() * node.s_scale).astype(np.int64)
              for k, s in (("current", current), ("voltage", voltage))}  # fmt: skip
    decays = {k: int(torch.round(getattr(node, k))) for k in ("current_decay", "voltage_decay")}
    threshold = round(node._v_threshold * node.scale)
    return {"spikes": spikes.numpy().astype(np.uint8), **states, **decays, "threshold": threshold,
            "weight": np.rint(mantissas).astype(np.int64)}  # fmt: skip


def _synapse(kind: str, params: Mapping[str, Any], weight: Any) -> Module:
    import torch
    from spikingjelly.activation_based.lava_exchange import SumPool2d

    nn: Any = torch.nn
    geometry = {k: params[k] for k in GEOMETRY.get(kind, ()) if k in params}
    if kind == "pool":
        if weight is not None and float(weight) != 1:
            raise Unsupported("weight", "a container sums a window with weights of 1", "weight = 1")
        return SumPool2d(params["kernel"], **geometry)
    w = torch.tensor(np.asarray(weight), dtype=torch.float32)
    if kind == "dense":
        module = nn.Linear(w.shape[1], w.shape[0], bias=False)
    else:
        channels = w.shape[1] * params.get("groups", 1)
        module = nn.Conv2d(channels, w.shape[0], tuple(w.shape[2:]), bias=False, **geometry)
    module.weight.data = w
    return module
