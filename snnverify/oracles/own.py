"""Our own simulator, converter and operators, as one subject among others."""

from __future__ import annotations

from . import Oracle


def oracle() -> Oracle:
    """Everything that the package offers, under test."""
    from .. import __version__, convert, gate, simulate, stats
    from ..convert.fold import fold, fold_batchnorm
    from ..kernels import encode

    return Oracle(
        "snnverify",
        __version__,
        simulator=simulate.run,
        converter=convert.convert,
        operators={
            "fold_batchnorm": fold_batchnorm,
            "fold": fold,
            "forward": simulate.forward,
            "poisson": encode.poisson,
            "simulate": simulate.run,
            "exact_p": stats.exact_p,
            "exact_upper": stats.exact_upper,
            "verdict": stats.verdict,
            "gate": gate.judge,
        },
    )
