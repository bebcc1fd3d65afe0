"""Explicit vector operations on the integer states of Loihi's neurons; see `vectors`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .compiled import operation
from .loihi import EDGE
from .vectors import splat, word_of


@operation
def convey(typing: Any, x: Any, sums: Any, u: Any, right: Any, left: Any) -> Any:
    """``x[j] = sums[u + j] >> right << left`` for 64 units, int64, and ``sums[u + j] = 0``."""
    i = types.int64
    signature = types.void(x, sums, i, i, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to, wide, _ = word_of(context, builder, x, args[0], ir.Constant(ir.IntType(64), 0))
        room, kind, loaded = word_of(context, builder, sums, args[1], args[2])
        arriving = builder.ashr(builder.sext(loaded, wide), splat(builder, args[3], 64))
        builder.store(builder.shl(arriving, splat(builder, args[4], 64)), to, align=8)
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


@operation
def beat(typing: Any, u: Any, v: Any, at: Any, sums: Any, of: Any, right: Any, left: Any, u_left: Any, v_left: Any,
         bias: Any, theta: Any, k: Any, decays: Any, calm: Any) -> Any:  # fmt: skip
    """A step of 64 neurons in 32 bits and in registers: `convey`, `decay` of u and of v, `beyond`, firing and reset.

    ``rz(a left / 4096)`` is ``(a >> 12) left + ((a & 4095) left + 4095 [a < 0]) >> 12``: no product leaves 32 bits for 12
    bits of `left`. Without `decays` currents last a step. `calm`: no state leaves 24 bits, nor its product 32. Bits of those
    that fire; whether any u, and any v, leaves 24 bits (not 0).
    """
    i = types.int64
    words: Any = types.UniTuple(types.uint64, 3)  # type: ignore[no-untyped-call]
    signature = words(u, v, i, sums, i, i, i, u_left, v_left, bias, theta, i, decays, calm)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        u_at, vector, current = word_of(context, builder, u, args[0], args[2])
        v_at, _, potential = word_of(context, builder, v, args[1], args[2])
        room, kind, loaded = word_of(context, builder, sums, args[3], args[4])
        u_kept, v_kept, base, limit = (
            word_of(context, builder, a, args[j], args[11])[2]
            for j, a in ((7, u_left), (8, v_left), (9, bias), (10, theta))
        )

        def every(number: int) -> Any:
            return ir.Constant(vector, [number] * 64)

        def kept(state: Any, part: Any) -> Any:
            low = builder.mul(state if calm.literal_value else builder.and_(state, every(4095)), part)
            low = builder.add(low, builder.and_(builder.ashr(state, every(31)), every(4095)))
            if calm.literal_value:
                return builder.ashr(low, every(12))
            return builder.add(builder.mul(builder.ashr(state, every(12)), part), builder.lshr(low, every(12)))

        def outside(state: Any) -> Any:
            if calm.literal_value:
                return ir.IntType(64)(0)
            shifted = builder.add(state, every(EDGE))
            return builder.bitcast(builder.icmp_unsigned(">=", shifted, every(2 * EDGE)), ir.IntType(64))

        shifts = [splat(builder, builder.trunc(args[j], ir.IntType(32)), 64) for j in (5, 6)]
        arriving = loaded if kind == vector else builder.sext(loaded, vector)
        arriving = builder.shl(builder.ashr(arriving, shifts[0]), shifts[1])
        builder.store(ir.Constant(kind, None), room, align=sums.dtype.bitwidth // 8)
        current = builder.add(kept(current, u_kept), arriving) if decays.literal_value else arriving
        if decays.literal_value:
            builder.store(current, u_at, align=4)
        potential = builder.add(builder.add(kept(potential, v_kept), current), base)
        fires = builder.icmp_signed(">", potential, limit)
        builder.store(builder.select(fires, every(0), potential), v_at, align=4)
        words = [builder.bitcast(fires, ir.IntType(64)), outside(current), outside(potential)]
        return context.make_tuple(builder, sig.return_type, words)

    return signature, codegen
