"""Parts of a run at work in threads: numpy, BLAS and compiled kernels hold no lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[slice], slice], parts: Sequence[slice], threads: int) -> Iterator[slice]:
    """Work on the parts, in this thread and in others; yield each that is done. Of several errors, the first part's."""
    left, done = deque(enumerate(parts)), deque[slice]()
    errors: dict[int, BaseException] = {}

    def next_part() -> bool:
        try:
            number, part = left.popleft()
        except IndexError:
            return False
        try:
            done.append(work(part))
        except Exception as e:
            errors[number] = e
            left.clear()
        return True

    def help_out() -> None:
        while next_part():
            pass

    helpers = min(threads, len(parts)) - 1
    waiting = [
        _pool(threads).submit(help_out) for _ in range(helpers)
    ]  # handing the work over takes time: one stays here
    try:
        while next_part():
            while done:
                yield done.popleft()
        for future in waiting:
            future.result()
            yield from done
            done.clear()
        yield from done
    finally:  # Ctrl-C waits for the parts at work, not for the others
        left.clear()
        wait(waiting)
    if errors:
        raise errors[min(errors)]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that wait from run to run: to start them takes as long as a small run."""
    return ThreadPoolExecutor(threads, "snnverify")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of them
