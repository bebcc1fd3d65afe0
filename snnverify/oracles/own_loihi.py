"""Our own Loihi blocks and conversions as operators, by the names that lava's adapters also have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..content import Array
from ..errors import ConfigError


def operators() -> dict[str, Callable[..., Any]]:
    """Operators by name."""
    from .. import loihi

    return {
        "weights_8bit": loihi.quantize_8bit,
        "lava_cuba": loihi.lava_cuba,
        "lava_blocks": loihi.lava_blocks,
        "lava_synapse": lava_synapse,
        "to_nxt": loihi.to_nxt,
        "to_tnx": loihi.to_tnx,
        "loihi_weights": loihi.loihi_weights,
        "optimize_weights": loihi.optimize_weights,
        "block": block,
    }


def lava_synapse(op: Any, x: Array) -> Array:
    """Run the block's operation on x [T, N, *shape], its weights as they are (not quantised)."""
    from ..loihi import lava_op
    from ..simulate import apply

    y = apply(lava_op(op), x.reshape(-1, *x.shape[2:]))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def block(kind: str, params: Mapping[str, Any], weight: Array | None, x: Array) -> dict[str, Any]:
    """Run one block alone.

    Parameters
    ----------
    kind : {"dense", "conv", "pool", "flatten", "affine", "average"}
    params : mapping
        As of `loihi.blocks`; floats may be off the grid.
    weight : array or None
    x : array [T, N, *shape]
        Spikes, or whole numbers.

    Returns
    -------
    dict
        ``spikes`` as handed on (a step later with delay_shift); ``current`` and ``voltage`` (before the reset) as the
        neuron computes them, in mantissas times 64; all [T, N, *out]. ``weight``, ``threshold``, ``current_decay`` and
        ``voltage_decay`` are the mantissas used. Of affine ``spikes`` is the potential, or without dynamics the sum, as
        mantissas times 64. Without neurons: ``spikes`` alone, the values handed on.
    """
    from ..activation import Cuba
    from ..loihi import chain, named
    from ..loihi.blocks import NEVER
    from ..simulate import run
    from ..trace import Case

    shape = x.shape[2:]
    if kind == "average":
        params, x, shape = (
            {"inputs": int(np.prod(shape)), **params},
            x.reshape(*x.shape[:2], -1),
            (int(np.prod(shape)),),
        )
    network = chain(tuple(shape), [named(kind, params, weight)])
    act = network.output.act
    if act is None:
        return {"spikes": _analog(network, x) * (64 if kind == "affine" else 1)}
    if not isinstance(act, Cuba):
        raise ConfigError(f"block {kind!r}: its neurons are no Cuba")

    def traced(act: Cuba) -> tuple[Array, Array]:
        layers = (*network.layers[:-1], replace(network.output, act=act))
        trace = run(Case(replace(network, layers=layers), x, len(x), "spikes", kind="integer"))
        return trace.spikes["0"], trace.v_peak["0"]

    spikes, voltage = traced(replace(act, delay=0))
    # a potential that forgets all is the current itself
    _, current = traced(replace(act, delay=0, threshold=NEVER, voltage_decay=4096))
    if kind == "affine":
        spikes = voltage
    elif act.delay:
        spikes = np.concatenate([np.zeros_like(spikes[:1]), spikes[:-1]])
    op = network.output.branches[0].op
    return {
        "spikes": spikes, "current": current, "voltage": voltage,
        "weight": np.asarray(op.factor if kind == "pool" else op.weight, np.int64),  # type: ignore[union-attr]
        "threshold": act.threshold, "current_decay": act.current_decay, "voltage_decay": act.voltage_decay,
    }  # fmt: skip


def _analog(network: Any, x: Array) -> Array:
    from ..simulate import summed

    y = summed(network.output, {"input": x.reshape(-1, *x.shape[2:]).astype(float)})
    return y.reshape(*x.shape[:2], *y.shape[1:])
