"""Explicit vector operations on the integer states of Loihi's neurons; see `vectors`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .compiled import operation
from .vectors import splat, word_of


@operation
def convey(typing: Any, x: Any, sums: Any, u: Any, right: Any, left: Any) -> Any:
    """``x[j] = sums[u + j] >> right << left`` for 64 units, int64, and ``sums[u + j] = 0``."""
    i = types.int64
    signature = types.void(x, sums, i, i, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to, wide, _ = word_of(context, builder, x, args[0], ir.Constant(ir.IntType(64), 0))
        room, kind, found = word_of(context, builder, sums, args[1], args[2])
        found = builder.ashr(builder.sext(found, wide), splat(builder, args[3], 64))
        builder.store(builder.shl(found, splat(builder, args[4], 64)), to, align=8)
        builder.store(ir.Constant(kind, None), room, align=sums.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@operation
def decay(typing: Any, v: Any, at: Any, left: Any, of: Any, x: Any, x_at: Any, y: Any, y_at: Any) -> Any:
    """``v = rz(v left / 4096) + x + y`` for 64 units, int64: a shift rounds down, so negative products get 4095 first."""
    i = types.int64
    signature = types.void(v, i, left, i, x, i, y, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, vector, old = word_of(context, builder, v, args[0], args[1])
        factor, first, second = (
            word_of(context, builder, a, args[k], args[k + 1])[2] for a, k in ((left, 2), (x, 4), (y, 6))
        )
        product = builder.mul(old, factor)
        correction = builder.lshr(
            builder.ashr(product, ir.Constant(vector, [63] * 64)), ir.Constant(vector, [52] * 64)
        )  # 4095 where negative
        kept = builder.ashr(builder.add(product, correction), ir.Constant(vector, [12] * 64))
        builder.store(builder.add(builder.add(kept, first), second), pointer, align=8)
        return context.get_dummy_value()

    return signature, codegen


@operation
def beyond(typing: Any, v: Any, at: Any, edge: Any) -> Any:
    """Bits of ``not -edge <= v[at + j] < edge`` for 64 units, int64."""
    signature = types.uint64(v, types.int64, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, _, x = word_of(context, builder, v, args[0], args[1])
        shifted = builder.add(x, splat(builder, args[2], 64))
        span = splat(builder, builder.shl(args[2], ir.IntType(64)(1)), 64)
        return builder.bitcast(builder.icmp_unsigned(">=", shifted, span), ir.IntType(64))

    return signature, codegen
