"""What the package's own conversion of SiLU nets answers with, as operators of its oracle."""

from __future__ import annotations

from typing import Any


def operators() -> dict[str, Any]:
    """By name."""
    import numpy as np
    import torch

    from ..detector import behave, blocks, executed, readiness, verify
    from ..detector.binarize import binarize
    from ..detector.blocks import mem_update

    def unit(x: Any, constants: Any, act: bool = False, inplace: bool = False) -> Any:
        with torch.no_grad():
            return mem_update(act, inplace, constants)(torch.from_numpy(np.asarray(x))).numpy()

    def block(x: Any, constants: Any, inplace: bool, stride: int) -> Any:
        """A residual block whose residual path adds nothing and whose shortcut, where it has weights, passes all on."""
        found = blocks.BasicBlock_2(x.shape[2], x.shape[2], 3, stride, True, constants).double().eval()
        for m in found.modules():
            if isinstance(m, blocks.mem_update):
                m.actFun.inplace = inplace
            if isinstance(m, torch.nn.BatchNorm3d):
                m.eps = 0.0
                torch.nn.init.ones_(m.weight)
        torch.nn.init.zeros_(found.residual_function[5].bn.weight)  # type: ignore[union-attr, arg-type]
        if len(found.shortcut):
            torch.nn.init.dirac_(found.shortcut[2].weight)  # type: ignore[arg-type]
        with torch.no_grad():
            return found(torch.from_numpy(x)).numpy()

    laws = {law.__name__: law for law in behave.LAWS}

    def judged(name: str, pair: Any) -> Any:
        return verify.judge(laws[name], pair, "drawn")

    def broken(module: Any, c: Any) -> list[str]:
        return [m.name for m in behave.runs_on(module, c.threshold, c.decay, c.steps, "") if not m.kept]

    return {"binarize": binarize, "spiking_unit": unit, "spiking_block": block, "law": judged, "broken": broken,
            "recurrence": executed.recurrence, "recorded": lambda pair: pair.ran,
            "activity": readiness.activity}  # fmt: skip
