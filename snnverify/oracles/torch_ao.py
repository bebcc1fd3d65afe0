"""PyTorch's own fake quantisation as a subject, a second implementation: ``--oracle snnverify.oracles.torch_ao:oracle``.

Its observers choose other scales (2 max |w| / 255), so it answers where it is given one: integers and values of
``torch.fake_quantize_*``, gradients of its learnable form (which passes them up to half a step beyond the last level),
affine activations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..content import Array
from ..errors import Unsupported
from . import Oracle

MOST = {"int8": 127, "int4": 7}


def oracle() -> Oracle:
    """Operators of the names that our own have."""
    import torch

    def weight(w: Array, scale: Array, precision: str) -> tuple[Array, Array]:
        q = _most(precision)
        s = torch.tensor(scale, dtype=torch.float32)
        given = torch.tensor(w, dtype=torch.float32)
        y = torch.fake_quantize_per_channel_affine(given, s, torch.zeros(len(s), dtype=torch.int32), 0, -q, q)
        return (y / s[:, None]).numpy().astype(np.int8), y.double().numpy()

    def gradient(w: Array, scale: Array, precision: str) -> tuple[Array, Array]:
        q = _most(precision)
        given = torch.tensor(w, dtype=torch.float32, requires_grad=True)
        s = torch.tensor(scale, dtype=torch.float32, requires_grad=True)
        zero = torch.zeros(len(s), requires_grad=True)
        y = torch._fake_quantize_learnable_per_channel_affine(given, s, zero, 0, -q, q, 1.0)
        y.sum().backward()
        assert given.grad is not None
        assert s.grad is not None
        return given.grad.double().numpy(), s.grad.double().numpy()

    def values(x: Array, scale: float, zero: int) -> Any:
        return torch.fake_quantize_per_tensor_affine(torch.tensor(x), scale, zero, 0, 255).numpy()

    operators: dict[str, Callable[..., Any]] = {
        "grid_weight": weight,
        "grid_gradient": gradient,
        "activation_values": values,
    }
    return Oracle("torch-ao", torch.__version__, operators=operators)


def _most(precision: str) -> int:
    if precision not in MOST:
        raise Unsupported("torch-ao", f"it has no {precision} weights")
    return MOST[precision]
