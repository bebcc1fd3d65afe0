"""What the package's own conversion of SiLU nets answers with, as operators of its oracle."""

from __future__ import annotations

from typing import Any


def operators() -> dict[str, Any]:
    """By name."""
    import numpy as np
    import torch

    from ..detector import compare
    from ..detector.binarize import binarize
    from ..detector.blocks import mem_update

    def unit(x: Any, constants: Any, act: bool = False, inplace: bool = False) -> Any:
        with torch.no_grad():
            return mem_update(act, inplace, constants)(torch.from_numpy(np.asarray(x))).numpy()

    return {"binarize": binarize, "spiking_unit": unit, "judged": compare.judged, "executed": compare.executed,
            "recurrence": compare.recurrence, "recorded": compare.recorded, "classed": compare.classed,
            "activity": compare.activity}  # fmt: skip
