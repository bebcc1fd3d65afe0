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


def poisson(x: Array, start: int, stop: int, seed: int, first_sample: int) -> Array:
    """Bernoulli spikes: a unit fires in a step with probability ``x``.

    Parameters
    ----------
    x : array [N, *shape]
        Probabilities in [0, 1].
    start, stop : int
        Steps ``start ... stop - 1`` of the run.
    seed, first_sample : int
        ``x[0]`` is sample `first_sample` of its data set.

    Returns
    -------
    bool array [stop - start, N, *shape]
    """
    spikes = np.empty((stop - start, *x.shape), bool)
    for n in range(len(x)):
        for t in range(start, stop):
            # The generator counts up in the lowest word; sample and step sit in words it never reaches.
            counter = np.array([0, 0, t, first_sample + n], np.uint64)
            draw = np.random.Generator(np.random.Philox(key=seed, counter=counter)).random(x.shape[1:])
            spikes[t - start, n] = draw < x[n]
    return spikes


def fastest() -> Callable[[Array, int, int, int, int], Array]:
    """`poisson`, compiled where numba can be imported; the same train."""
    try:
        from .fused_encode import poisson as compiled
    except ImportError:  # numba is a dependency, but not every machine has one
        return poisson
    return compiled
