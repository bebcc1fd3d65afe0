"""Parts of a run at work in threads: numpy, BLAS and compiled kernels hold no lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(work: Callable[[slice], slice], parts: Sequence[slice], threads: int) -> Iterator[slice]:
    """Work on the parts, in threads; yield each that is done, in order."""
    if min(threads, len(parts)) == 1:
        yield from map(work, parts)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(work, parts)
    finally:  # Ctrl-C waits for the parts at work, not for the others
        pool.shutdown(cancel_futures=True)
