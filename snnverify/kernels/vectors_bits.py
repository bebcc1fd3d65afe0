"""Explicit operations on spikes as bits; see `vectors`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .compiled import operation
from .vectors import BYTES, WIDE, declared, load, pointer_to, splat

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POSITIONS = [[b for b in range(8) if v >> b & 1] + [0] * (8 - v.bit_count()) for v in range(256)]
_global: Any = cgutils.global_constant


@operation
def append(typing: Any, index: Any, n: Any, first: Any, bits: Any, at: Any, lanes: Any) -> Any:
    """Write ``first + b`` for each bit b set in 16 or 32 bits ``bits[at ...]`` to ``index[n ...]``; n and their number.

    Up to `lanes` entries from n on are overwritten.
    """
    i, L = types.int64, lanes.literal_value
    signature = types.int64(index, i, i, bits, i, lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole = load(builder, pointer_to(context, builder, bits, args[3], args[4]), ir.IntType(L), 1)
        return _listed(context, builder, index, args[:3], whole)

    return signature, codegen


@operation
def present(typing: Any, index: Any, n: Any, first: Any, values: Any, at: Any, stride: Any, frames: Any) -> Any:
    """As `append` for those of 16 numbers ``values[at + f stride ...]`` that are not 0 in all of some frames f."""
    i = types.int64
    signature = types.int64(index, i, i, values, i, i, frames)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        begin = pointer_to(context, builder, values, args[3], args[4])
        vector = ir.VectorType(context.get_value_type(values.dtype), 16)
        some = ir.Constant(ir.VectorType(ir.IntType(1), 16), None)
        for f in range(frames.literal_value):
            p = builder.gep(begin, [builder.mul(args[5], _I64(f))])
            x = load(builder, p, vector, values.dtype.bitwidth // 8)
            some = builder.or_(some, builder.fcmp_unordered("!=", x, ir.Constant(vector, None)))
        return _listed(context, builder, index, args[:3], builder.bitcast(some, ir.IntType(16)))

    return signature, codegen


def _listed(context: Any, builder: Any, index: Any, to: Any, whole: Any) -> Any:
    """Write the places of the bits of a word, plus ``to[2]``, to the array ``to[0]`` from ``to[1]`` on; where it ends."""
    L, kind = whole.type.width, context.get_value_type(index.dtype)
    at_once = min(L, 8 if not WIDE else 32 if BYTES and kind.width == 16 else 16)
    first, n = builder.trunc(to[2], kind), to[1]
    for begin in range(0, L, at_once):
        word = builder.trunc(builder.lshr(whole, whole.type(begin)), ir.IntType(at_once)) if at_once < L else whole
        listed = _places(builder, word, kind)
        listed = builder.add(listed, splat(builder, builder.add(first, kind(begin)), at_once))
        p = pointer_to(context, builder, index, to[0], n)
        builder.store(listed, builder.bitcast(p, listed.type.as_pointer()), align=kind.width // 8)
        n = builder.add(n, _bits_set(builder, word))
    return n


def _places(builder: Any, word: Any, kind: Any) -> Any:
    """Which bits of a word are set, as a vector of `kind` whose first lanes count."""
    lanes = word.type.width
    if lanes == 8:
        table_kind = ir.ArrayType(ir.ArrayType(_I8, 8), 256)
        table = builder.module.globals.get("snnverify.positions") or _global(
            builder.module, "snnverify.positions", ir.Constant(table_kind, _POSITIONS)
        )
        row = builder.gep(table, [_I64(0), builder.zext(word, _I64)])
        return builder.zext(load(builder, row, ir.VectorType(_I8, 8), 1), ir.VectorType(kind, 8))
    part = kind if BYTES else _I32  # lanes of 16 bits move with a later extension of the processor
    vector = ir.VectorType(part, lanes)
    mask = builder.bitcast(word, ir.VectorType(ir.IntType(1), lanes))
    signature = ir.FunctionType(vector, [vector, vector, mask.type])
    compress = declared(builder.module, signature, f"llvm.x86.avx512.mask.compress.v{lanes}i{part.width}")
    listed = builder.call(compress, [ir.Constant(vector, list(range(lanes))), ir.Constant(vector, ir.Undefined), mask])
    return listed if part.width == kind.width else builder.trunc(listed, ir.VectorType(kind, lanes))


def _bits_set(builder: Any, word: Any) -> Any:
    """How many bits of an integer are set, as 64 bits."""
    wide = builder.zext(word, _I64)
    return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [_I64]), [wide])


@operation
def tally(typing: Any, counts: Any, at: Any, bits: Any, start: Any, offsets: Any, of: Any, number: Any, unit: Any,
          lanes: Any) -> Any:  # fmt: skip
    """Count, for each of `lanes` units, in how many of `number` places its bit is set; the bits set in any of them.

    Place m begins at byte ``start + offsets[of + m] * unit`` of bits, and is left out where the offset is negative.
    The counts go to ``counts[at ...]``, uint8. Of more than 64 lanes the bits are not returned.
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
        seen, sums = builder.phi(integer), builder.phi(vector)
        for phi, none, all_of in ((seen, integer(0), any_bits), (sums, ir.Constant(vector, None), counted)):
            phi.add_incoming(none, before)
            phi.add_incoming(all_of, following)
        p = pointer_to(context, builder, counts, args[0], args[1])
        builder.store(sums, builder.bitcast(p, vector.as_pointer()), align=1)
        return _I64(0) if L > 64 else seen if L == 64 else builder.zext(seen, _I64)

    return signature, codegen


@operation
def unfold(typing: Any, out: Any, at: Any, bits: Any, byte: Any, lanes: Any) -> Any:
    """Write 32 or 64 bits, those of ``bits[byte ...]``, as ``out[at ...]``, uint8."""
    i, L = types.int64, lanes.literal_value
    signature = types.void(out, i, bits, i, lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = load(builder, pointer_to(context, builder, bits, args[2], args[3]), ir.IntType(L), 1)
        flags = builder.zext(builder.bitcast(word, ir.VectorType(ir.IntType(1), L)), ir.VectorType(_I8, L))
        p = pointer_to(context, builder, out, args[0], args[1])
        builder.store(flags, builder.bitcast(p, flags.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, codegen


@operation
def gather(typing: Any, out: Any, at: Any, x: Any, of: Any, plane: Any, channels: Any, lanes: Any) -> Any:
    """Bit c of 16 pixels' words of 16 or 32 bits, from ``out[at]`` on: whether ``x[of + c plane + p]`` is not 0."""
    i, L = types.int64, lanes.literal_value
    signature = types.void(out, i, x, i, i, i, lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        begin = pointer_to(context, builder, x, args[2], args[3])
        vector, words = ir.VectorType(context.get_value_type(x.dtype), 16), ir.VectorType(ir.IntType(L), 16)
        before, loop, done = (
            builder.block,
            builder.append_basic_block("channels"),
            builder.append_basic_block("gathered"),
        )
        builder.branch(loop)  # a pixel has a channel
        builder.position_at_end(loop)
        c, so_far, bit = builder.phi(_I64), builder.phi(words), builder.phi(ir.IntType(L))
        lane = load(builder, builder.gep(begin, [builder.mul(c, args[4])]), vector, x.dtype.bitwidth // 8)
        unequal = builder.fcmp_unordered if isinstance(x.dtype, types.Float) else builder.icmp_unsigned
        some = unequal("!=", lane, ir.Constant(vector, None))
        more = builder.or_(so_far, builder.select(some, splat(builder, bit, 16), ir.Constant(words, None)))
        step = builder.add(c, _I64(1))
        for phi, first, after in ((c, _I64(0), step), (so_far, ir.Constant(words, None), more),
                                  (bit, bit.type(1), builder.shl(bit, bit.type(1)))):  # fmt: skip
            phi.add_incoming(first, before)
            phi.add_incoming(after, loop)
        builder.cbranch(builder.icmp_signed("<", step, args[5]), loop, done)
        builder.position_at_end(done)
        p = pointer_to(context, builder, out, args[0], args[1])
        builder.store(more, builder.bitcast(p, words.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, codegen
