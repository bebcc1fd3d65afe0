"""Loihi's integer neurons for the fused engine: a layer over some samples and steps, as `loihi.advance_cuba`.

Everything but the sums of weights is int64. The numpy form is `kernels.loihi`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activation import Cuba
from .compiled import kernel
from .fused_synapse import from_bits
from .loihi import EDGE
from .vectors import over, put
from .vectors_loihi import beyond, convey, decay

SHIFT, REFRACTORY, INTERVAL, OFFSET, OVERFLOW = range(5)
OVERFLOWS = ("none", "refuse", "wrap")


def settings(act: Cuba) -> Any:
    """Numbers, int64 [5], of a Cuba neuron that are the same in every unit; an interval of 0 is none."""
    interval = act.reset_interval or 0
    return np.asarray(
        [act.weight_exponent, act.refractory, interval, act.reset_offset, OVERFLOWS.index(act.overflow)], np.int64
    )


@kernel
def spiking(source: Any, weights: Any, out: Any, numbers: Any, units: Any, state: Any, bits: Any, steps: int, first: int,
            keep: Any, scratch: Any) -> int:  # fmt: skip
    """Run a layer of Cuba neurons; as `kernels.fused_layer.spiking`.

    Parameters
    ----------
    numbers : array
        Of `settings`.
    units : (4096 - current decay, 4096 - voltage decay, bias, 64 threshold), int64 arrays [U]
    state : (u, v, wait), int64 arrays [N, U]
    first : int
        Number of the first step.
    scratch : (index, x [64], zeros [64] and room for 64 more)

    Returns
    -------
    int
        0, or where a state left 24 bits and that is refused: 2 t + 2 for u in step t, 2 t + 3 for v.
    """
    _, sent, _, size, width, rows, zeros, windows = source
    pieces, ranges, targets, weight = weights
    index, x, nothing = scratch
    right, left = max(-numbers[SHIFT], 0), 6 + max(numbers[SHIFT], 0)
    u_left, v_left, bias, theta = units
    after, peak = keep
    U, overflow = len(theta), numbers[OVERFLOW]
    for n in range(len(state[0])):
        u, v, wait = state[0][n], state[1][n], state[2][n]
        for t in range(steps):
            f = n * steps + t
            if numbers[INTERVAL] and (first + t - numbers[OFFSET]) % numbers[INTERVAL] == 0:
                for j in range(U):
                    u[j] = v[j] = 0
            from_bits(sent, f * size, width, rows, zeros, windows, out, pieces, ranges, targets, weight, index)
            late_u = late_v = np.uint64(0)
            for w in range(U // 64):
                a, f_at = 64 * w, f * U + 64 * w
                convey(x, out, a, right, left)
                decay(u, a, u_left, a, x, 0, nothing, 0)
                outside = beyond(u, a, EDGE)
                late_u |= outside
                if overflow == 2:
                    for j in range(a, a + 64):
                        u[j] -= ((u[j] + EDGE - 1) >> 24) << 24
                if numbers[REFRACTORY] > 1:
                    for j in range(64):
                        nothing[64 + j] = v[a + j]
                decay(v, a, v_left, a, u, a, bias, a)
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
                word = over(v, a, theta, a, True)
                put(v, a, 0, word)
                if numbers[REFRACTORY] > 1:
                    put(wait, a, numbers[REFRACTORY] - 1, word)
                bits[f * (U // 64) + w] = word
                if len(after):
                    for j in range(64):
                        after[f_at + j] = v[a + j]
            if overflow == 1 and (late_u or late_v):
                return 2 * (first + t) + (2 if late_u else 3)
    return 0
