"""Stochastic rate encoding from a counter-based generator.

Each (seed, absolute sample, step) owns its own counter of the Philox generator (Salmon et al., SC 2011): neither how a
batch is split nor a longer run changes what a sample draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def poisson(x: Array, start: int, stop: int, seed: int, first_sample: int | Array) -> Array:
    """Bernoulli spikes: a unit fires in a step with probability ``x``.

    Parameters
    ----------
    x : array [N, *shape]
        Probabilities in [0, 1].
    start, stop : int
        Steps ``start ... stop - 1`` of the run.
    seed : int
    first_sample : int or int array [N]
        Number of ``x[0]`` in its data set, from which the others count on; or the number of each.

    Returns
    -------
    bool array [stop - start, N, *shape]
    """
    spikes = np.empty((stop - start, *x.shape), bool)
    for n, sample in enumerate(numbers(first_sample, len(x))):
        for t in range(start, stop):
            # The generator counts up in the lowest word; sample and step sit in words it never reaches.
            counter = np.array([0, 0, t, sample], np.uint64)
            draw = np.random.Generator(np.random.Philox(key=seed, counter=counter)).random(x.shape[1:])
            spikes[t - start, n] = draw < x[n]
    return spikes


def numbers(first_sample: int | Array, n: int) -> Array:
    """Numbers of `n` samples in their data set, uint64 [n]."""
    if isinstance(first_sample, np.ndarray):
        return first_sample.astype(np.uint64)
    return np.uint64(first_sample) + np.arange(n, dtype=np.uint64)


def of_rows(first_sample: int | Array, rows: slice) -> int | Array:
    """`first_sample` of some of the samples."""
    return first_sample[rows] if isinstance(first_sample, np.ndarray) else first_sample + (rows.start or 0)


def fastest() -> Callable[[Array, int, int, int, int | Array], Array]:
    """`poisson`, compiled where numba can be imported; the same train."""
    try:
        from .fused_encode import poisson as compiled
    except ImportError:  # numba is a dependency, but not every machine has one
        return poisson
    return compiled
