"""What the importer makes of other people's code: the corpus of `zoo.corpus`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from ..bounds import rounding_limit
from ..content import Content
from ..errors import Unsupported
from ..findings import Measure
from ..oracles import Oracle
from ..zoo.corpus import EQUAL, REFUSED, randomise, specimen
from . import check

PARTS = 6  # the corpus is judged in so many parts, each with random parameters


@dataclass(frozen=True, eq=False)
class Part(Content):
    """Every `PARTS`-th module of the corpus, and the seed of its parameters."""

    part: int
    seed: int


@check("operators", st.builds(Part, st.integers(0, PARTS - 1), st.integers(0, 1)))
def equals_torch(d: Part, subject: Oracle) -> Iterator[Measure]:
    """Every module of the corpus that imports gives torch's own output in float64, within rounding as torch's float32 shows it [a posteriori]."""
    for entry in EQUAL[d.part :: PARTS]:
        model, x, y, noise = specimen(entry, d.seed)
        network = subject.operator("from_torch")(model, entry.input_shape)
        ours = subject.operator("forward")(network, x)[network.output.name]
        apart = float(np.abs(ours - y).max()) if ours.shape == y.shape else np.inf
        yield Measure("|difference|", apart, rounding_limit(2.0**-53, noise, y), where=entry.name)


@check("operators", st.builds(Part, st.integers(0, PARTS - 1), st.just(0)))
def refuses_by_name(d: Part, subject: Oracle) -> Iterator[Measure]:
    """Every module of the corpus that cannot be expressed is refused by its module path, with the operation and a way out [nothing is dropped silently]."""
    from_torch = subject.operator("from_torch")
    for entry in REFUSED[d.part :: PARTS]:
        assert entry.refused is not None
        path, word = entry.refused
        try:
            from_torch(randomise(entry.factory()), entry.input_shape)
            yield Measure("was imported", 1.0, where=entry.name)
        except Unsupported as e:
            named = e.where == path and word in str(e) and bool(e.remedy)
            yield Measure("was refused by another name", float(not named), where=f"{entry.name}: {e}")
