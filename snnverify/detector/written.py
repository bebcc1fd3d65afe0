"""Files of torch for checks of the reader: written by ``torch.save``, and read as torch itself reads them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ..content import Array
from ..errors import DataError
from .archive import read_archive
from .checkpoint import open_net
from .rebuild import octets
from .specimens import built

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]
DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")


def mapping(tensors: Sequence[Sequence[Any]], seed: int) -> bytes:
    """A mapping of tensors (dtype, shape, view), view being one of "", "turned", "part", "tied", "parameter"."""
    generator = torch.Generator().manual_seed(seed)
    held: dict[str, torch.Tensor] = {}
    for i, (dtype, shape, view) in enumerate(tensors):
        t = torch.randint(-100, 100, tuple(shape), generator=generator).to(getattr(torch, dtype))
        if view == "turned":
            t = t.transpose(0, -1) if t.dim() > 1 else t
        elif view == "part":
            t = t[1:] if t.dim() else t
        elif view == "tied" and held:
            t = next(reversed(held.values())).view_as(next(reversed(held.values())))
        elif view == "parameter" and t.is_floating_point():
            t = nn.Parameter(t)
        held[f"t{i}"] = t
    return _saved(held)


def whole(description: Mapping[str, Any], seed: int, half: bool) -> bytes:
    """A detector with all of its code's names, pickled as a checkpoint beside an older one."""
    net = built(description, seed)
    return _saved({"epoch": 3, "model": built(description, seed + 1), "ema": net.half() if half else net})


def by_torch(content: bytes) -> Tensors:
    """What torch's own reader of weights makes of a mapping."""
    return _bytes_of(torch.load(io.BytesIO(content), weights_only=True))


def by_reader(content: bytes) -> Tensors:
    """What `archive` makes of it."""
    archive = read_archive("drawn.pt", content)
    if not isinstance(archive.value, dict):
        raise DataError("drawn.pt: no mapping of tensors")
    return _bytes_of({k: archive.tensor(v) for k, v in archive.value.items()})


def executed(content: bytes) -> nn.Module:
    """The net that torch makes of a file whose code is trusted: it is our own."""
    return torch.load(io.BytesIO(content), weights_only=False)["ema"].eval()  # type: ignore[no-any-return]


def opened(content: bytes) -> nn.Module:
    """The net that `checkpoint` makes of it, without running it."""
    return open_net("drawn.pt", content=content).net


def told(net: nn.Module) -> dict[str, Any]:
    """Structure and tensors of a net by path: what it prints of itself, its routes, and every tensor."""
    held: Any = net
    routes = {f"model.{k}": (m.i, m.f) for k, m in held.model.named_children()}
    acts = {p: (m.act, m.constants) for p, m in net.named_modules() if hasattr(m, "constants") and p}
    about = {
        "": repr(net),
        "save": sorted(set(held.save)),
        "stride": held.stride,
        "nc": held.nc,
        "names": list(held.names),
    }
    named = {"parameters": [p for p, _ in net.named_parameters()]}
    return {**about, **named, **routes, **acts, **_bytes_of(net.state_dict())}


def outputs(net: nn.Module, x: Array) -> list[Array]:
    """What a net gives for an image, in its own dtype."""
    dtype = next(net.parameters()).dtype
    with torch.no_grad():
        y = net(torch.as_tensor(x).to(dtype))
    return [np.asarray(part.float()) for part in (y if isinstance(y, (list, tuple)) else [y])]


def _bytes_of(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {k: (str(t.dtype).removeprefix("torch."), tuple(t.shape), octets(t)) for k, t in tensors.items()}


def _saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
