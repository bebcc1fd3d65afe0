"""The exact scalar specification as a subject: it must keep the laws of dynamics too."""

from __future__ import annotations

import math
from dataclasses import replace

from ..errors import Unsupported
from ..network import Conv, Dense
from ..trace import Case, Record, Trace
from . import Oracle

LIMIT = 2**22  # products in exact fractions: some ten seconds


def oracle() -> Oracle:
    """Simulator, and single units of layers that are too large for it."""
    from .. import __version__, reference

    def run(case: Case, record: Record = "full") -> Trace:
        if (wanted := products(case)) > LIMIT:
            what = f"{wanted:,} products in exact fractions, more than {LIMIT:,}"
            raise Unsupported("reference", what, "ask for single units: operator 'unit'")
        trace = reference.run(case)
        kept: dict[str, object] = {} if record == "full" else {"v": {}, "v_peak": {}}
        return replace(trace, **kept, **({"spikes": {}} if record == "counts" else {}))  # type: ignore[arg-type]

    return Oracle("reference", __version__, simulator=run, operators={"unit": reference.unit})


def products(case: Case) -> int:
    """About as many products of a weight and a value as a run of the case takes."""
    shapes, samples = case.network.shapes, case.x.shape[1 if case.encoding == "spikes" else 0]
    each: list[int] = [math.prod(shapes[layer.name]) * math.prod(b.op.weight.shape[1:])
            for layer in case.network.layers for b in layer.branches if isinstance(b.op, (Dense, Conv))]  # fmt: skip
    return int(case.steps * samples * sum(each))
