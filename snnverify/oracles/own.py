"""Our own simulator, converter and operators, as one subject among others."""

from __future__ import annotations

from typing import Any

from . import Oracle


def oracle() -> Oracle:
    """Everything that the package offers, under test."""
    from .. import __version__, stats
    from ..convert import convert, from_torch
    from ..convert.fold import fold, fold_batchnorm
    from ..exchange import from_nir, nir_export, nir_run, to_nir
    from ..gate import judge
    from ..kernels import encode
    from ..simulate import forward, run
    from ..trace import compare

    return Oracle(
        "snnverify",
        __version__,
        simulator=run,
        converter=convert,
        operators={
            "fold_batchnorm": fold_batchnorm,
            "fold": fold,
            "from_torch": from_torch,
            "forward": forward,
            "from_nir": from_nir,
            "to_nir": to_nir,
            "nir_run": nir_run,
            "nir_export": nir_export,
            "poisson": encode.poisson,
            "encode_poisson": lambda x, steps, seed: encode.poisson(x, 0, steps, seed, 0),
            "qcfs": _qcfs,
            "simulate": run,
            "compare": compare,
            "exact_upper": stats.exact_upper,
            "verdict": stats.verdict,
            "gate": judge,
        },
    )


def _qcfs(x: Any, levels: int, theta: float) -> Any:
    """Apply the trainable activation, in float64."""
    import torch

    from ..convert.qcfs import QCFS

    with torch.no_grad():
        return QCFS(levels, theta).double()(torch.from_numpy(x)).numpy()
