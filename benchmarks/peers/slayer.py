"""lava-dl's slayer: CUBA blocks on a CPU, all steps at once; each sees its input a step late, as on the chip."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from snnverify.errors import Unsupported
from snnverify.network import Cuba
from snnverify.oracles import Oracle
from snnverify.trace import Case

from .common import Model, peer


def oracle() -> Oracle:
    """The peer."""
    return peer("slayer", version("lava-dl"), build)


def build(case: Case, engine: str, threads: int) -> Model:
    """Chain of blocks; the adapter `oracles.lava_slayer_block` says which and of what parameters."""
    import torch

    from snnverify.oracles.lava_slayer import norm, set_bias
    from snnverify.oracles.lava_slayer_block import plan
    from snnverify.oracles.lava_slayer_build import build as block
    from snnverify.oracles.lava_slayer_build import unquantised

    torch.set_num_threads(threads)
    chain, before = [], "input"
    for layer in case.network.layers:
        kind, params, weight, source = plan(case.network, layer)
        if source != before or kind not in ("flatten", "dense", "conv"):
            raise Unsupported(layer.name, "the benchmark runs chains of flat, dense and convolutional blocks in slayer")
        act, before = layer.act, layer.name
        bias = np.ravel(act.bias) if isinstance(act, Cuba) else np.zeros(1)
        options = {"norm": norm(bias)} if np.any(bias) else {}
        made = block(kind, params, weight, **({} if weight is None else unquantised(weight)), **options)
        if isinstance(act, Cuba):
            set_bias(made.neuron, bias, act.bias_exponent)
        chain.append((layer.name, made, act.delay if isinstance(act, Cuba) else 0))
    x = torch.from_numpy(np.moveaxis(case.x, 0, -1).astype(np.float32))

    @torch.no_grad()
    def run(kept: dict[str, Any]) -> Any:
        y = x
        for name, made, delay in chain:
            y = made(torch.cat([torch.zeros_like(y[..., :delay]), y[..., : y.shape[-1] - delay]], -1) if delay else y)
            if delay:
                kept[name] = y
        return y

    def spikes() -> dict[str, Any]:
        kept: dict[str, Any] = {}
        run(kept)
        return {k: s.movedim(-1, 0).numpy() for k, s in kept.items()}

    return Model(lambda: run({}), spikes)
