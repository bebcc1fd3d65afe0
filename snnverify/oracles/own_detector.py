"""What the package's own conversion of SiLU nets answers with, as operators of its oracle."""

from __future__ import annotations

from typing import Any


def operators() -> dict[str, Any]:
    """By name."""
    import numpy as np
    import torch

    from ..detector import behave, executed, readiness, verify
    from ..detector.binarize import binarize
    from ..detector.blocks import mem_update

    def unit(x: Any, constants: Any, act: bool = False, inplace: bool = False) -> Any:
        with torch.no_grad():
            return mem_update(act, inplace, constants)(torch.from_numpy(np.asarray(x))).numpy()

    laws = {law.__name__: law for law in behave.LAWS}

    def judged(name: str, pair: Any) -> Any:
        return verify.judge(laws[name], pair, "drawn")

    def broken(module: Any, c: Any) -> list[str]:
        return [m.name for m in behave.runs_on(module, c.threshold, c.decay, c.steps, "") if not m.kept]

    return {"binarize": binarize, "spiking_unit": unit, "law": judged, "broken": broken, "recurrence": executed.recurrence,
            "recorded": lambda pair: pair.ran, "activity": readiness.activity}  # fmt: skip
