"""lava-dl's CUBA blocks one by one: built of parameters, watched while they run, exported.

Runs inside lava's own interpreter. Weights and thresholds are slayer's floats here: 1 is ``scale`` mantissas.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

from ..content import Array
from ..errors import ConfigError
from .lava_slayer import SCALE

Tensor = Any
Block = Any
NEURON = ("threshold", "current_decay", "voltage_decay", "scale")
GEOMETRY = {"conv": ("stride", "padding", "dilation", "groups"), "pool": ("stride", "padding", "dilation")}
_FILES = count()  # files in memory need names of their own


def build(kind: str, params: Mapping[str, Any], weight: Any, **options: Any) -> Block:
    """Block of slayer with a weight in slayer's units (1 is ``scale`` mantissas); what is no parameter is not given.

    Parameters
    ----------
    kind : {"dense", "conv", "pool", "flatten", "affine", "average", "recurrent"}
    params : mapping
        threshold, current_decay, voltage_decay, scale, delay_shift; stride, padding, dilation, groups; kernel, num_outputs;
        dynamics (affine).
    weight : array, float or None
        [out, in], [out, in / groups, kh, kw], or one number for all of a pooling window; of recurrent a pair [out, in],
        [out, out].
    """
    import torch
    from lava.lib.dl.slayer.block import cuba

    if kind == "flatten":
        return cuba.Flatten()
    if kind == "average":
        return cuba.Average(params["num_outputs"])
    neuron = {k: params[k] for k in NEURON if k in params} | {k: options.pop(k) for k in ("norm",) if k in options}
    given = {k: params[k] for k in GEOMETRY.get(kind, ()) if k in params} | options
    if kind == "affine":
        given |= {"dynamics": params["dynamics"]} if "dynamics" in params else {}
    else:
        given["delay_shift"] = params.get("delay_shift", True)
    if kind == "pool":
        factor = 1.0 if weight is None else float(weight)
        return cuba.Pool(neuron, params["kernel"], weight_scale=factor, **given)
    if kind == "conv":
        w = torch.tensor(np.asarray(weight), dtype=torch.float32)[..., None]
        made = cuba.Conv(neuron, w.shape[1] * params.get("groups", 1), len(w), tuple(w.shape[2:4]), **given)
        made.synapse.weight.data = w
        return made
    if kind == "recurrent":
        given.pop("pre_hook_fx", None)  # which it would not heed: finding LV-8
    kinds = {"dense": cuba.Dense, "affine": cuba.Affine, "recurrent": cuba.Recurrent}
    if kind not in kinds:
        raise ConfigError(f"block = {kind!r}: one of dense, conv, pool, flatten, affine, average, recurrent")
    w, *recurrent = (torch.tensor(np.asarray(a), dtype=torch.float32)[..., None, None, None]
                     for a in (weight if kind == "recurrent" else (weight,)))  # fmt: skip
    made = kinds[kind](neuron, w.shape[1], len(w), **given)
    for synapse, a in zip(synapses(made), (w, *recurrent), strict=True):
        synapse.weight.data = a
    return made


def synapses(made: Block) -> tuple[Any, ...]:
    """Those of a block."""
    if hasattr(made, "recurrent_synapse"):
        return made.input_synapse, made.recurrent_synapse
    return (made.synapse,) if hasattr(made, "synapse") else ()


def watch(made: Block) -> list[tuple[Tensor, Tensor]]:
    """List into which a block's neuron puts its currents and potentials before the reset, call by call."""
    kept: list[tuple[Tensor, Tensor]] = []
    dynamics = made.neuron.dynamics

    def kept_dynamics(x: Tensor) -> tuple[Tensor, Tensor]:
        kept.append(dynamics(x))
        return kept[-1]

    made.neuron.dynamics = kept_dynamics
    return kept


def states(kept: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Currents and potentials [N, *shape, T] over all calls, in slayer's units."""
    import torch

    current, voltage = zip(*kept, strict=True)
    return torch.cat(current, -1), torch.cat(voltage, -1)


def block(kind: str, params: Mapping[str, Any], weight: Any, x: Array) -> dict[str, Any]:
    """What one block of slayer makes of x [T, N, *shape], in Loihi's units.

    Returns
    -------
    dict
        ``spikes`` [T, N, *out], what the block hands on (of affine its potential, or without dynamics its sum, in Loihi's
        units; of flatten and average its values); ``current`` and ``voltage`` (before the reset) int64 [T, N, *out], and
        ``weight`` int64, ``threshold``, ``current_decay``, ``voltage_decay``, where it has neurons.
    """
    import torch

    torch.set_num_threads(1)
    made = build(kind, params, weight)
    plain = getattr(made, "neuron", None) is None
    kept = [] if plain else watch(made)
    with torch.no_grad():
        y = made(torch.tensor(np.asarray(x), dtype=torch.float32).movedim(0, -1))
    if plain:
        return {"spikes": _timed(y)}
    scale, mantissa = made.neuron.s_scale, (1 << 18) - 1 if kind == "affine" else made.neuron.v_th_mant  # as exported
    found: dict[str, Any] = {"spikes": _integers(y, scale) if kind == "affine" else _timed(y).astype(np.uint8)}
    if kept:
        found |= dict(zip(("current", "voltage"), (_integers(s, scale) for s in states(kept)), strict=True))
    (synapse,) = synapses(made)
    hooked = made.neuron.quantize_8bit(synapse.weight, descale=True).detach().numpy()
    shape = hooked.shape[:2] if kind in ("dense", "affine") else hooked.shape[:-1]
    decays = {"current_decay": int(made.neuron.cx_current_decay), "voltage_decay": int(made.neuron.cx_voltage_decay)}
    return found | decays | {"weight": np.rint(hooked).astype(np.int64).reshape(shape), "threshold": mantissa}


def _timed(y: Tensor) -> Array:
    timed: Array = np.ascontiguousarray(y.movedim(-1, 0).numpy())
    return timed


def _integers(state: Tensor, scale: int) -> Array:
    return np.asarray(np.rint(_timed(state.double()) * scale), np.int64)


def quantize_8bit(weight: Array, scale: int) -> Array:
    """Weights on the 8-bit grid of a slayer neuron."""
    import torch
    from lava.lib.dl.slayer.neuron import cuba

    node = cuba.Neuron(1.0, 1.0, 0.0, scale=scale)
    return np.asarray(node.quantize_8bit(torch.tensor(np.asarray(weight), dtype=torch.float32)).numpy(), float)


def unquantised(*weights: Any) -> dict[str, None]:
    """Option by which a block takes weights off its 8-bit grid as they are; nothing for weights on it."""
    on_grid = all(np.array_equal(quantize_8bit(w, SCALE), np.asarray(w, float)) for w in weights if w is not None
                  and not isinstance(w, tuple))  # fmt: skip
    return {} if on_grid else {"pre_hook_fx": None}


def exported(blocks: Any) -> Array:
    """Bytes (uint8) of the file that blocks write, one group a block."""
    import h5py

    with h5py.File(f"slayer-{next(_FILES)}", "w", driver="core", backing_store=False) as file:
        for i, part in enumerate(blocks):
            part.export_hdf5(file.create_group(f"layer/{i}"))
        file.flush()
        return np.frombuffer(file.id.get_file_image(), np.uint8).copy()
