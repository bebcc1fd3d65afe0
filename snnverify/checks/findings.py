"""The minimal cases of the findings about a library: strict expected failures, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..findings import Measure
from ..oracles import Oracle
from . import check


@check("operators", st.just("every finding"))
def reproduced(drawn: str, subject: Oracle) -> Iterator[Measure]:
    """In the minimal case of every finding a library does what its documentation or the cited law says [docs/findings.md]."""
    case = subject.operator("defect")
    for name in subject.operator("defects")():
        measured, law = case(name)
        detail = f"{_short(measured)} against {_short(law)}"
        yield Measure("breaks the law", float(not _equal(measured, law)), where=name, detail=detail)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return np.shape(a) == np.shape(b) and bool(np.all(np.asarray(a) == np.asarray(b)))


def _short(value: Any) -> str:
    return " ".join(str(value).split())[:160]
