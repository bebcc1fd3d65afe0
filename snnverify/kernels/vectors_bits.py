"""Explicit operations on spikes as bits; see `vectors`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .compiled import operation
from .vectors import WIDE, declared, load, pointer_to, splat

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POSITIONS = [[b for b in range(8) if v >> b & 1] + [0] * (8 - v.bit_count()) for v in range(256)]
_global: Any = cgutils.global_constant


@operation
def append(typing: Any, index: Any, n: Any, first: Any, bits: Any, at: Any) -> Any:
    """Write ``first + b`` for each bit b that is set in two bytes ``bits[at ...]`` to ``index[n ...]``; n and their number.

    Up to 16 entries from n on are overwritten.
    """
    i = types.int64
    signature = types.int64(index, i, i, bits, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = load(builder, pointer_to(context, builder, bits, args[3], args[4]), ir.IntType(16), 1)
        first32, n = builder.trunc(args[2], _I32), args[1]
        if WIDE:
            vector = ir.VectorType(_I32, 16)
            places = builder.add(ir.Constant(vector, list(range(16))), splat(builder, first32, 16))
            mask = builder.bitcast(word, ir.VectorType(ir.IntType(1), 16))
            kind = ir.FunctionType(vector, [vector, vector, mask.type])
            compress = declared(builder.module, kind, "llvm.x86.avx512.mask.compress.v16i32")
            found = builder.call(compress, [places, ir.Constant(vector, ir.Undefined), mask])
            p = pointer_to(context, builder, index, args[0], n)
            builder.store(found, builder.bitcast(p, vector.as_pointer()), align=4)
            return builder.add(n, _bits_set(builder, word))
        kind = ir.ArrayType(ir.ArrayType(_I8, 8), 256)
        table = builder.module.globals.get("snnverify.positions") or _global(
            builder.module, "snnverify.positions", ir.Constant(kind, _POSITIONS)
        )
        for byte in range(2):
            part = builder.and_(builder.lshr(word, ir.IntType(16)(8 * byte)), ir.IntType(16)(255))
            row = builder.gep(table, [_I64(0), builder.zext(part, _I64)])
            places = builder.zext(load(builder, row, ir.VectorType(_I8, 8), 1), ir.VectorType(_I32, 8))
            found = builder.add(places, splat(builder, builder.add(first32, _I32(8 * byte)), 8))
            p = pointer_to(context, builder, index, args[0], n)
            builder.store(found, builder.bitcast(p, found.type.as_pointer()), align=4)
            n = builder.add(n, _bits_set(builder, part))
        return n

    return signature, codegen


def _bits_set(builder: Any, word: Any) -> Any:
    """How many bits of an integer are set, as 64 bits."""
    wide = builder.zext(word, _I64)
    return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [_I64]), [wide])


@operation
def tally(typing: Any, counts: Any, at: Any, bits: Any, start: Any, offsets: Any, of: Any, number: Any, unit: Any,
          lanes: Any) -> Any:  # fmt: skip
    """Count, for each of `lanes` units, in how many of `number` places its bit is set; the bits set in any of them.

    Place m begins at byte ``start + offsets[of + m] * unit`` of bits, and is left out where the offset is negative.
    The counts go to ``counts[at ...]``, uint8.
    """
    L = lanes.literal_value
    i = types.int64
    signature = types.int64(counts, i, bits, i, offsets, i, i, i, lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integer, vector = ir.IntType(L), ir.VectorType(_I8, L)
        begin = pointer_to(context, builder, bits, args[2], args[3])
        table = pointer_to(context, builder, offsets, args[4], args[5])
        before, loop = builder.block, builder.append_basic_block("places")
        inside, following, done = (builder.append_basic_block(name) for name in ("inside", "next", "counted"))
        builder.cbranch(builder.icmp_signed(">", args[6], _I64(0)), loop, done)
        builder.position_at_end(loop)
        m, some, total = builder.phi(_I64), builder.phi(integer), builder.phi(vector)
        offset = builder.sext(builder.load(builder.gep(table, [m])), _I64)
        builder.cbranch(builder.icmp_signed("<", offset, _I64(0)), following, inside)
        builder.position_at_end(inside)
        word = load(builder, builder.gep(begin, [builder.mul(offset, args[7])]), integer, 1)
        ones = builder.zext(builder.bitcast(word, ir.VectorType(ir.IntType(1), L)), vector)
        more, larger = builder.or_(some, word), builder.add(total, ones)
        builder.branch(following)
        builder.position_at_end(following)
        any_bits, counted = builder.phi(integer), builder.phi(vector)
        for phi, skipped, added in ((any_bits, some, more), (counted, total, larger)):
            phi.add_incoming(skipped, loop)
            phi.add_incoming(added, inside)
        step = builder.add(m, _I64(1))
        for phi, first, after in (
            (m, _I64(0), step),
            (some, integer(0), any_bits),
            (total, ir.Constant(vector, None), counted),
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(after, following)
        builder.cbranch(builder.icmp_signed("<", step, args[6]), loop, done)
        builder.position_at_end(done)
        found, sums = builder.phi(integer), builder.phi(vector)
        for phi, none, all_of in ((found, integer(0), any_bits), (sums, ir.Constant(vector, None), counted)):
            phi.add_incoming(none, before)
            phi.add_incoming(all_of, following)
        p = pointer_to(context, builder, counts, args[0], args[1])
        builder.store(sums, builder.bitcast(p, vector.as_pointer()), align=1)
        return found if L == 64 else builder.zext(found, _I64)

    return signature, codegen


@operation
def unfold(typing: Any, out: Any, at: Any, bits: Any, byte: Any) -> Any:
    """Write 64 bits, those of ``bits[byte ...]``, as ``out[at ...]``, uint8."""
    i = types.int64
    signature = types.void(out, i, bits, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = load(builder, pointer_to(context, builder, bits, args[2], args[3]), _I64, 1)
        flags = builder.zext(builder.bitcast(word, ir.VectorType(ir.IntType(1), 64)), ir.VectorType(_I8, 64))
        p = pointer_to(context, builder, out, args[0], args[1])
        builder.store(flags, builder.bitcast(p, flags.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, codegen
