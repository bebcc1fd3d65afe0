"""Rate encoding compiled: the generator of `kernels.encode.poisson`, number by number, without an object for each step."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .compiled import inlined, kernel, operation
from .encode import numbers

# Salmon et al., SC 2011: the multipliers of Philox 4x64 and what its key grows by, as numpy has them.
FIRST, SECOND = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
GOLDEN, ROOT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
ROUNDS = 10
UNIT = 2.0**-53  # of numbers in [0, 1) made of 53 random bits


@operation
def high(typing: Any, a: Any, b: Any) -> Any:
    """Upper 64 bits of the product of two words."""
    word = types.uint64

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(x, wide) for x in args))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return word(word, word), codegen


@inlined
def four(count: Any, step: Any, sample: Any, key: Any, other: Any) -> Any:
    """Four words of Philox 4x64 with counter (count, 0, step, sample)."""
    a, b, c, d = count, np.uint64(0), step, sample
    for _ in range(ROUNDS):
        a, b, c, d = high(SECOND, c) ^ b ^ key, SECOND * c, high(FIRST, a) ^ d ^ other, FIRST * a
        key, other = key + GOLDEN, other + ROOT
    return a, b, c, d


@kernel
def bernoulli(x: Any, first_step: Any, samples: Any, key: Any, other: Any, spikes: Any) -> None:
    """Draw spikes [T, N, U] of rates x [N, U]; rates of 0, four in a row, are not drawn for."""
    T, N, U = spikes.shape
    for n in range(N):
        sample = samples[n]
        for t in range(T):
            step = first_step + np.uint64(t)
            for u in range(0, U, 4):
                last = min(u + 4, U)
                some = False
                for i in range(u, last):
                    spikes[t, n, i] = False
                    some |= x[n, i] > 0
                if some:
                    words = four(np.uint64(u // 4 + 1), step, sample, key, other)
                    for i in range(u, last):
                        spikes[t, n, i] = (words[i - u] >> np.uint64(11)) * UNIT < x[n, i]


def poisson(x: Any, start: int, stop: int, seed: int, first_sample: int | Any) -> Any:
    """`kernels.encode.poisson`, the same train."""
    spikes = np.empty((stop - start, *x.shape), bool)
    step, key, other = (np.uint64(n & (2**64 - 1)) for n in (start, seed, seed >> 64))
    rates, drawn = np.ascontiguousarray(x).reshape(len(x), -1), spikes.reshape(*spikes.shape[:2], -1)
    bernoulli(rates, step, numbers(first_sample, len(x)), key, other, drawn)
    return spikes
