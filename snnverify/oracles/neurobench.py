"""NeuroBench as a subject: its counts of synaptic operations, of one layer at a time.

Runs inside the library's own interpreter, where snnTorch is too. It has no simulator; the values that a layer is given are
those of ours.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from ..content import Array
from ..network import Op
from . import Oracle, reproduced
from .torch_cells import weighted


def oracle() -> Oracle:
    """Operator ``operations`` and the findings."""
    return Oracle(
        "neurobench",
        version("neurobench"),
        operators={"operations": operations, **reproduced.operators("neurobench")},
    )


def operations(op: Op, x: Array, spikes: bool) -> dict[str, int]:
    """Operations of one operation on x [T, N, *shape] by ``SynapticOperations``, a step after the other.

    It tells spikes (-1, 0 and 1) from other values step by step: what is no spike, but looks like one in some step, is an
    accumulation there. So both kinds are added up, and told as the one that `spikes` says.
    """
    import torch

    module = torch.nn.Sequential(weighted(op))
    found = {"Effective_ACs": 0.0, "Effective_MACs": 0.0, "Dense": 0.0}
    for step in torch.tensor(x, dtype=torch.float32):
        for name, number in counted(module, step).items():
            found[name] += number * len(step)  # told per sample
    kind = "synops" if spikes else "macs"
    every = {} if spikes else {"macs_every": round(found["Dense"])}  # all values are ones there, spikes or not
    return {f"{kind}_nonzero": round(found["Effective_ACs"] + found["Effective_MACs"]), **every}


def counted(module: Any, x: Any) -> dict[str, float]:
    """What ``SynapticOperations`` says of one call of a model, per sample."""
    import torch
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    model, metric = TorchModel(module), SynapticOperations()
    model.register_hooks()
    with torch.no_grad():
        found = metric(model, model(x), (x, None))
    model.cleanup_hooks()
    return {str(k): float(v) for k, v in found.items()}
