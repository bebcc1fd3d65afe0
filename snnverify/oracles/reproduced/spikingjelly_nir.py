"""Cases about the importer of NIR graphs, which version 2.0.0 has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .graphs import graph
from .refusal import Pair, unless_refused


@unless_refused
def pooled_padding() -> Pair:
    """The padding of sum pooling is kept: with padding 1 a window of 2 x 2 holds one corner of [2, 2]."""
    import nir
    import torch
    from spikingjelly.activation_based import nir_exchange

    corners = np.array([[3, 0], [0, 0]], np.float32)
    read = graph({"p": nir.SumPool2d(*(np.full(2, k) for k in (2, 2, 1)))}, (1, 2, 2), (1, 2, 2))
    out = nir_exchange.import_from_nir(read)(torch.from_numpy(corners)[None, None])
    return (out[0] if isinstance(out, tuple) else out)[0, 0].numpy(), corners


CASES: Mapping[str, Callable[[], Pair]] = {"SJ-30": pooled_padding}
