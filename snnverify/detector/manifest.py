"""What a result of `snnverify binarize` says of itself, and how it is written.

A state dict alone does not say which activation it belongs to: the same tensors run as SiLU and as spikes. The manifest
does: T, threshold, decay, reset, comparison, the variant of SiLU that was, each unit by path, digests of what went in and
came out.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from .. import __version__
from ..content import write_atomic
from ..errors import DataError
from .binarize import Statistics, Unit, activations, in_place, statistics
from .checkpoint import FORMAT, Opened, open_net
from .complete import complete
from .rebuild import describe, octets

RESET = "to zero where it fired, before the next step: mem[t] = decay * mem[t-1] * (1 - s[t-1]) + x[t], mem[0] = x[0]"
COMPARISON = "s = mem > threshold, strictly"
DECLARED = "the module's own: it declares the constants, and its code does the rest"


def manifest(
    opened: Opened, net: nn.Module, converted: Statistics, command: str = "", device: str = "cpu"
) -> dict[str, Any]:
    """Say what a converted net is, in JSON.

    Parameters
    ----------
    opened : Opened
        The net before, and where it comes from.
    net : torch.nn.Module
        The net after.
    converted : Statistics
    command : str
    device : str
        Where it was traced, if it was.
    """
    before, after = activations(opened.net), activations(net)
    now = {unit.now for unit in after.values()}
    own = all(unit.kind == "declared" for unit in after.values()) and bool(after)
    units = {path: _unit(unit, before.get(path, unit)) for path, unit in after.items()}
    memoryless = {path for path, unit in before.items() if isinstance(unit.module, nn.SiLU)}
    was = {u["inplace"] for path, u in units.items() if u["before"] == "silu" and path not in memoryless}
    constants = {k: {"value": v, "from": origin} for k, (v, origin) in opened.constants.items()}
    state = net.state_dict()
    return {
        "format": FORMAT,
        "activation": now.pop() if len(now) == 1 else "mixed" if now else "none",
        "T": constants["steps"], "threshold": constants["threshold"], "decay": constants["decay"],
        "reset": DECLARED if own else RESET,
        "comparison": DECLARED if own else COMPARISON,
        "inplace": {
            "value": None if not was else was.pop() if len(was) == 1 else "mixed",
            "meaning": "of units with a memory. true: the SiLU that was overwrote the potential, so that mem[t-1] was "
            "silu(mem[t-1]), and step 0 of its input; spikes do not",
        },
        "units": units,
        "statistics": {
            "checked": converted.checked, "kinds": dict(converted.kinds), "total": converted.total,
            "binary before": converted.binary, "nn.SiLU left": list(converted.left),
            "input overwritten before": list(converted.overwriting),
        },
        "source": dict(opened.source),
        "tensors": {
            "number": len(state), "dtypes": sorted({str(t.dtype).removeprefix("torch.") for t in state.values()}),
            "sha256": digest(state),
        },
        "versions": {
            "snnverify": __version__, "torch": str(torch.__version__), "numpy": np.__version__,
            "safetensors": safetensors.__version__, "python": platform.python_version(),
        },
        "device": device,
        "command": command,
    }  # fmt: skip


def _unit(unit: Unit, before: Unit) -> dict[str, Any]:
    held: Any = unit.module
    constants = (
        {} if isinstance(held, nn.SiLU) else {"threshold": held.constants.threshold, "decay": held.constants.decay}
    )
    return {"kind": before.kind, "before": before.now, "now": unit.now, **constants,
            "inplace": in_place(before.module)}  # fmt: skip


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 over name, dtype, shape and bytes of every tensor, in the order of the names (hex)."""
    h = hashlib.sha256()
    for name in sorted(state):
        t = state[name]
        h.update(f"{name} {str(t.dtype).removeprefix('torch.')} {list(t.shape)}\n".encode() + octets(t))
    return h.hexdigest()


def write(opened: Opened, net: nn.Module, said: Mapping[str, Any], target: str | os.PathLike[str]) -> list[Path]:
    """Write a net: configuration, tensors and manifest; the state dict as safetensors; the manifest as JSON, last.

    Parameters
    ----------
    opened : Opened
        The net before.
    net : torch.nn.Module
        The net that is written.
    said : mapping
        Its manifest.
    target : path
        Ends in ``.pt``; the others are named like it.

    Returns
    -------
    paths : list of Path
        Each whole, or not written.

    Raises
    ------
    DataError
        What was written is not read back equal: nothing is left then.
    """
    path = Path(target)
    configuration = describe(net).tree if "kind" in opened.configuration else dict(opened.configuration)
    state = {k: v.detach().cpu().contiguous().clone() for k, v in net.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "configuration": configuration, "tensors": state, "manifest": dict(said)}, buffer)
    _read_back(path, buffer.getvalue(), net, opened.configuration.get("model"))
    told = {"format": FORMAT, "configuration": json.dumps(configuration), "manifest": json.dumps(said)}
    contents = {path: buffer.getvalue(), path.with_suffix(".safetensors"): safetensors.torch.save(state, told)}
    files = {p.name: {"sha256": hashlib.sha256(content).hexdigest()} for p, content in contents.items()}
    contents[path.with_suffix(".json")] = (json.dumps({**said, "files": files}, indent=2) + "\n").encode()
    return [write_atomic(p, content) for p, content in contents.items()]


def save(net: nn.Module, path: str | os.PathLike[str], command: str = "") -> list[Path]:
    """Write a net of the family as it is, SiLU or spikes, in the form that `load` opens and `snnverify binarize` takes.

    Raises
    ------
    Unsupported
        A module outside the family; names it by its path.
    """
    found = describe(net)
    opened = Opened(net, found.tree, complete(found.tree, {}), {"taken": "a live module", "classes": found.classes})
    units = statistics(net)
    nothing = replace(units, kinds=dict.fromkeys(units.kinds, 0))
    return write(opened, net, manifest(opened, net, nothing, command), path)


def _read_back(path: Path, content: bytes, net: nn.Module, model: str | None) -> None:
    again = open_net(path, model=model, content=content).net
    x, y = net.state_dict(), again.state_dict()
    same = digest(x) == digest(y) and {p: u.now for p, u in activations(net).items()} == {
        p: u.now for p, u in activations(again).items()
    }
    if not same:
        raise DataError(f"{path}: what would be written is not read back equal; nothing was written, please report it")
