"""Recorded truth: what the libraries gave, whether or not they are installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from hypothesis import strategies as st

from ..errors import Unsupported
from ..findings import Measure
from ..oracles import Oracle
from ..oracles.recorded import Golden, names, read, recorded_oracles
from ..trace import Case, Trace
from . import check
from .common import differences, same

ALL = st.just("every golden")  # they are few: all of them are tried, none is drawn


@cache
def goldens() -> tuple[tuple[str, Golden], ...]:
    """Return all that are accepted, by ``<oracle>/<case>``; damaged ones are `GoldenError`."""
    return tuple((f"{oracle}/{name}", read(oracle, name)[1]) for oracle in recorded_oracles() for name in names(oracle))


@check("simulator", ALL)
def reproduced(drawn: str, subject: Oracle) -> Iterator[Measure]:
    """Every spike, potential and read-out that was recorded of any library comes out again [golden/, confirmed by the reference: limit 0]."""
    ran: dict[Case, Trace | None] = {}  # several libraries recorded the same case
    for name, golden in goldens():
        if golden.case not in ran:
            try:
                ran[golden.case] = subject.run(golden.case)
            except Unsupported:
                ran[golden.case] = None
        if (trace := ran[golden.case]) is not None:
            yield replace(same(golden.case, trace, golden.trace, "spikes differ"), where=name)
            yield Measure("read-out differs", differences(trace.readout, golden.trace.readout), where=name)
            for part in ("v", "v_peak"):
                ours, theirs = getattr(trace, part), getattr(golden.trace, part)
                for layer in {*ours} & {*theirs}:  # some libraries do not tell them
                    yield Measure(f"{part} differs", differences(ours[layer], theirs[layer]), where=f"{name}, {layer}")
    if goldens() and not any(ran.values()):
        raise Unsupported(subject.name, "it expresses none of the cases that were recorded")
