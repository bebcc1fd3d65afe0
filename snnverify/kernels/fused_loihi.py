"""Loihi's integer neurons for the fused engine: a layer over some samples and steps, as `loihi.advance_cuba`.

Everything but the sums of weights is int64. The numpy form is `kernels.loihi`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activation import Cuba
from .arguments import CubaState, Images, Source, Weights
from .compiled import kernel
from .fused_dense import pictured, products
from .fused_synapse import from_bits
from .loihi import EDGE
from .vectors import over, put
from .vectors_loihi import beat, beyond, convey, decay

SHIFT, REFRACTORY, INTERVAL, OFFSET, OVERFLOW, DECAYS, CALM = range(7)
OVERFLOWS = ("none", "refuse", "wrap")


def settings(act: Cuba, calm: bool = False) -> Any:
    """Numbers, int64 [7], of a Cuba neuron that are the same in every unit; an interval of 0 is none; `calm` as `beat`."""
    interval = act.reset_interval or 0
    return np.asarray(
        [act.weight_exponent, act.refractory, interval, act.reset_offset, OVERFLOWS.index(act.overflow),
         np.any(np.asarray(act.current_decay) != 4096), calm], np.int64
    )  # fmt: skip


@kernel
def spiking(source: Any, weights: Any, out: Any, numbers: Any, units: Any, state: Any, bits: Any, kept: Any, room: Any,
            steps: int, first: int) -> int:  # fmt: skip
    """Run a layer of Cuba neurons; as `kernels.fused_layer.spiking`.

    Parameters
    ----------
    numbers : array
        Of `settings`.
    units, state : CubaUnits, CubaState
        Of int64.
    room : (index, x [64], zeros [64] and room for 64 more)
    first : int
        Number of the first step.

    Returns
    -------
    int
        0, or where a state left 24 bits and that is refused: 2 t + 2 for u in step t, 2 t + 3 for v.
    """
    source, weights, state = Source(*source), Weights(*weights), CubaState(*state)
    u_left, v_left, bias, theta = units
    after, peak = kept
    index, x, nothing = room
    right, left = max(-numbers[SHIFT], 0), 6 + max(numbers[SHIFT], 0)
    N, U = state.u.shape
    overflow, period = numbers[OVERFLOW], len(theta)
    for n in range(N):
        u, v, wait = state.u[n], state.v[n], state.wait[n]
        for t in range(steps):
            f = n * steps + t
            if numbers[INTERVAL] and (first + t - numbers[OFFSET]) % numbers[INTERVAL] == 0:
                for j in range(U):
                    u[j] = v[j] = 0
            from_bits(source, f * source.size, weights, out, index)
            late_u = late_v = np.uint64(0)
            k = 0
            for w in range(U // 64):
                a, f_at = 64 * w, f * U + 64 * w
                convey(x, out, a, right, left)
                decay(u, a, u_left, k, x, 0, nothing, 0)
                outside = beyond(u, a, EDGE)
                late_u |= outside
                if overflow == 2:
                    for j in range(a, a + 64):
                        u[j] -= ((u[j] + EDGE - 1) >> 24) << 24
                if numbers[REFRACTORY] > 1:
                    for j in range(64):
                        nothing[64 + j] = v[a + j]
                decay(v, a, v_left, k, u, a, bias, k)
                if numbers[REFRACTORY] > 1:
                    for j in range(64):
                        v[a + j] = v[a + j] if wait[a + j] == 0 else nothing[64 + j]
                        wait[a + j] = max(wait[a + j] - 1, 0)
                outside = beyond(v, a, EDGE)
                late_v |= outside
                if overflow == 2:
                    for j in range(a, a + 64):
                        v[j] = min(max(v[j], 1 - EDGE), EDGE - 1)
                if len(peak):
                    for j in range(64):
                        peak[f_at + j] = v[a + j]
                word = over(v, a, theta, k, True)
                put(v, a, 0, word)
                if numbers[REFRACTORY] > 1:
                    put(wait, a, numbers[REFRACTORY] - 1, word)
                bits[f * (U // 64) + w] = word
                k = k + 64 if k + 64 < period else 0
                if len(after):
                    for j in range(64):
                        after[f_at + j] = v[a + j]
            if overflow == 1 and (late_u or late_v):
                return 2 * (first + t) + (2 if late_u else 3)
    return 0


@kernel
def spiking_in_32_bits(source: Any, weights: Any, images: Any, out: Any, numbers: Any, units: Any, state: Any, bits: Any,
                       index: Any, steps: int, first: int) -> int:  # fmt: skip
    """`spiking` where no state or current can leave 32 bits, with a refractory time of 1, and nothing kept.

    `units` and `state` are int32.
    """
    source, weights, images, state = Source(*source), Weights(*weights), Images(*images), CubaState(*state)
    right, left = max(-numbers[SHIFT], 0), 6 + max(numbers[SHIFT], 0)
    u_left, v_left, bias, theta = units
    N, U = state.u.shape
    period, W, failed = len(theta), U // 64, 0
    for n in range(N):
        u, v = state.u[n], state.v[n]
        dense = pictured(images, source, n * steps, steps)
        span = images.span if dense else W
        for begin in range(0, W, span):
            end = min(begin + span, W)
            for t in range(steps):
                f = n * steps + t
                if numbers[INTERVAL] and (first + t - numbers[OFFSET]) % numbers[INTERVAL] == 0:
                    u[64 * begin : 64 * end] = 0
                    v[64 * begin : 64 * end] = 0
                if dense:
                    products(images, t, begin, end, out)
                else:
                    from_bits(source, f * source.size, weights, out, index)
                late_u = late_v = np.uint64(0)
                k = 64 * begin % period
                for w in range(begin, end):
                    a = 64 * w
                    if numbers[CALM]:
                        word, far_u, far_v = beat(
                            u, v, a, out, a, right, left, u_left, v_left, bias, theta, k, False, True
                        )
                    else:
                        word, far_u, far_v = beat(
                            u, v, a, out, a, right, left, u_left, v_left, bias, theta, k, True, False
                        )
                    bits[f * W + w] = word
                    late_u |= far_u
                    late_v |= far_v
                    k = k + 64 if k + 64 < period else 0
                if numbers[OVERFLOW] == 1 and (late_u or late_v):
                    code = 2 * (first + t) + (2 if late_u else 3)
                    failed = min(failed, code) if failed else code
                    break  # what follows is worth nothing, but other neurons may have failed before
        if failed:
            return failed
    return 0
