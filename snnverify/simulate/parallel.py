"""Parts of a run at work in threads: numpy, BLAS and compiled kernels hold no lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor


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
