"""The exact scalar specification as a subject: it must keep the laws of dynamics too."""

from __future__ import annotations

from dataclasses import replace

from ..trace import Case, Record, Trace
from . import Oracle


def oracle() -> Oracle:
    """Simulator only."""
    from .. import __version__, reference

    def run(case: Case, record: Record = "full") -> Trace:
        trace = reference.run(case)
        kept: dict[str, object] = {} if record == "full" else {"v": {}, "v_peak": {}}
        return replace(trace, **kept, **({"spikes": {}} if record == "counts" else {}))  # type: ignore[arg-type]

    return Oracle("reference", __version__, simulator=run)
