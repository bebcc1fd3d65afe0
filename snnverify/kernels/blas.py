"""Matrix products whose bits do not depend on how many threads the BLAS library has been given."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """Take one thread of BLAS, until the context ends; for good where it is not entered.

    More threads split a product in other places, and what a tail kernel sums is rounded otherwise: with OpenBLAS 0.3.31,
    18 % of the entries of a float32 product [64, 50] x [50, 256] change from one thread to two.
    """
    limit: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # looks through all loaded libraries, which takes a millisecond


def processor() -> str:
    """Kind of the processor, on which the order of BLAS's and torch's sums depends."""
    try:
        from llvmlite.binding import get_host_cpu_name
    except ImportError:  # numba, which brings it, is not on every machine
        return platform.machine()
    return str(get_host_cpu_name())
