"""Sums of small counts times weights of 8 bits over all inputs of a pixel, active or not; see `vectors`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .compiled import operation
from .vectors import DOTS, declared, load, pointer_to, splat

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_LANES = ir.VectorType(_I32, 16)


@operation
def dots(typing: Any, out: Any, at: Any, stride: Any, counts: Any, of: Any, starts: Any, p: Any, offsets: Any, weight: Any,
         begin: Any, pixels: Any, vectors: Any) -> Any:  # fmt: skip
    """``out[at + m stride + l] = sum_kb counts[of + starts[p + m] + offsets[k] + b] weight[begin + 4 (16 V k + l) + b]``.

    m runs over M pixels, l over 16 V outputs, k over the offsets, b over the four bytes of a word: counts are uint8, weights
    int8, sums 32 bits, of which `out` keeps what it holds.
    """
    M, V, i = pixels.literal_value, vectors.literal_value, types.int64
    signature = types.void(out, i, i, counts, i, starts, i, offsets, weight, i, pixels, vectors)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        frame, first, table, rows = (
            pointer_to(context, builder, a, args[k], args[k + 1] if k != 7 else _I64(0))
            for a, k in ((counts, 3), (starts, 5), (offsets, 7), (weight, 8))
        )
        places = [builder.load(builder.gep(first, [_I64(m)])) for m in range(M)]
        pointers = [builder.gep(frame, [builder.sext(place, _I64)]) for place in places]
        size = context.make_array(offsets)(context, builder, args[7]).nitems
        before, loop, done = builder.block, builder.append_basic_block("words"), builder.append_basic_block("summed")
        builder.branch(loop)  # a kernel has a tap
        builder.position_at_end(loop)
        k = builder.phi(_I64)
        sums = [builder.phi(_LANES) for _ in range(M * V)]
        offset = builder.sext(builder.load(builder.gep(table, [k])), _I64)
        row = builder.gep(rows, [builder.mul(k, _I64(64 * V))])
        w = [load(builder, builder.gep(row, [_I64(64 * v)]), _LANES, 64) for v in range(V)]
        added = []
        for m in range(M):
            x = splat(builder, load(builder, builder.gep(pointers[m], [offset]), _I32, 1), 16)
            added += [_dot(builder, sums[m * V + v], x, w[v]) for v in range(V)]
        following = builder.add(k, _I64(1))
        for phi, then in zip((k, *sums), (following, *added), strict=True):
            phi.add_incoming(ir.Constant(phi.type, 0 if phi is k else None), before)
            phi.add_incoming(then, loop)
        builder.cbranch(builder.icmp_signed("<", following, size), loop, done)
        builder.position_at_end(done)
        to = pointer_to(context, builder, out, args[0], args[1])
        kind = ir.VectorType(context.get_value_type(out.dtype), 16)
        for r, total in enumerate(added):
            m, v = divmod(r, V)
            place = builder.gep(to, [builder.add(builder.mul(args[2], _I64(m)), _I64(16 * v))])
            if isinstance(out.dtype, types.Integer):
                total = total if kind == _LANES else builder.trunc(total, kind)
            else:
                total = builder.sitofp(total, kind)
            builder.store(total, builder.bitcast(place, kind.as_pointer()), align=out.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


def _dot(builder: Any, sums: Any, x: Any, w: Any) -> Any:
    """Sums of 32 bits and the products of four bytes each, unsigned by signed."""
    if DOTS:
        signature = ir.FunctionType(_LANES, [_LANES] * 3)
        return builder.call(declared(builder.module, signature, "llvm.x86.avx512.vpdpbusd.512"), [sums, x, w])
    for b in range(4):
        up, down, right = (ir.Constant(_LANES, [n] * 16) for n in (24 - 8 * b, 24, 8 * b))
        part = builder.and_(builder.lshr(x, right), ir.Constant(_LANES, [255] * 16))
        sums = builder.add(sums, builder.mul(part, builder.ashr(builder.shl(w, up), down)))
    return sums


@operation
def quadruples(typing: Any, counts: Any, at: Any, bits: Any, of: Any) -> Any:
    """Write the first four bits of each of 16 pixels, of 16 bits each from ``bits[of]`` on, as bytes ``counts[at ...]``."""
    i = types.int64
    signature = types.void(counts, i, bits, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        loaded = load(
            builder, pointer_to(context, builder, bits, args[2], args[3]), ir.VectorType(ir.IntType(16), 16), 1
        )
        four = builder.and_(builder.zext(loaded, _LANES), splat(builder, _I32(15), 16))
        # bit b goes to 8 b: by 7 b, which no other bit's copy reaches
        spread = builder.and_(
            builder.mul(four, splat(builder, _I32(0x204081), 16)), splat(builder, _I32(0x1010101), 16)
        )
        place = pointer_to(context, builder, counts, args[0], args[1])
        builder.store(spread, builder.bitcast(place, _LANES.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, codegen


@operation
def bits_set(typing: Any, bits: Any, at: Any) -> Any:
    """How many of 512 bits from ``bits[at]`` on are set."""
    signature = types.int64(bits, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = ir.VectorType(_I64, 8)
        loaded = load(builder, pointer_to(context, builder, bits, args[0], args[1]), words, 1)
        name, kind = "llvm.ctpop.v8i64", ir.FunctionType(words, [words])
        counts = builder.call(declared(builder.module, kind, name), [loaded])
        total = ir.FunctionType(_I64, [words])
        return builder.call(declared(builder.module, total, "llvm.vector.reduce.add.v8i64"), [counts])

    return signature, codegen
