"""Parts of a run at work in threads: numpy, BLAS and compiled kernels hold no lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(work: Callable[[slice], slice], parts: Sequence[slice], threads: int) -> Iterator[slice]:
    """Work on the parts, in threads; yield each that is done, in order."""
    if min(threads, len(parts)) == 1:
        yield from map(work, parts)
        return
    waiting = [_pool(threads).submit(work, part) for part in parts]
    try:
        for future in waiting:
            yield future.result()
    finally:  # Ctrl-C waits for the parts at work, not for the others
        for future in waiting:
            future.cancel()
        wait(waiting)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that wait from run to run: to start them takes as long as a small run."""
    return ThreadPoolExecutor(threads, "snnverify")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of them
