"""Our own simulator, converter and operators, as one subject among others."""

from __future__ import annotations

from . import Oracle


def oracle() -> Oracle:
    """Everything that the package offers, under test."""
    from .. import __version__, stats
    from ..convert import convert, from_torch
    from ..convert.fold import fold, fold_batchnorm
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
            "poisson": encode.poisson,
            "simulate": run,
            "compare": compare,
            "exact_upper": stats.exact_upper,
            "verdict": stats.verdict,
            "gate": judge,
        },
    )
