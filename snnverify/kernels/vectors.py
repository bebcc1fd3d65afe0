"""Explicit vector operations for the kernels of the fused engine: the few lines that loops of numba cannot say.

Each is a function of LLVM's portable vectors (of 8 to 64 lanes), which LLVM lowers to whatever the processor has; arrays
are given with an offset in elements, and nothing is bounds-checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from .compiled import operation

# Registers of 64 bytes, and what moves marked lanes together in one instruction. Compiled code is kept by processor.
WIDE = bool(binding.get_host_cpu_features().get("avx512f", False))
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POSITIONS = [[b for b in range(8) if v >> b & 1] + [0] * (8 - v.bit_count()) for v in range(256)]


def _pointer(context: Any, builder: Any, array_type: Any, value: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, value).data
    return builder.gep(data, [offset])


def _load(builder: Any, pointer: Any, kind: Any, size: int) -> Any:
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=size)


_declared: Any = cgutils.get_or_insert_function
_global: Any = cgutils.global_constant


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """A vector of one number."""
    vector = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_I32, lanes), None))


@operation
def scatter(typing: Any, out: Any, targets: Any, to: Any, column: Any, weight: Any, at: Any, stride: Any, index: Any,
            factor: Any, n: Any, taps: Any, vectors: Any) -> Any:  # fmt: skip
    """``out[targets[to + k] + column + l] += sum_j factor[j] weight[at + stride index[j] + k V L + l]``.

    j runs over 0 ... n - 1 in order, k over the taps, l over V vectors of L lanes (64 bytes each). Sums stay in registers.
    Floats: fused multiply-adds from 0. `factor` None: additions alone.
    """
    K, V, L = taps.literal_value, vectors.literal_value, 512 // weight.dtype.bitwidth
    weighted = not isinstance(factor, types.NoneType)
    i = types.int64
    signature = types.void(out, targets, i, i, weight, i, i, index, factor, i, taps, vectors)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        element = context.get_value_type(weight.dtype)
        vector, size = ir.VectorType(element, L), weight.dtype.bitwidth // 8
        floats = isinstance(weight.dtype, types.Float)
        zero = ir.Constant(vector, [element(0)] * L)
        places = _pointer(context, builder, index, args[7], _I64(0))
        rows = _pointer(context, builder, weight, args[4], args[5])
        factors = _pointer(context, builder, factor, args[8], _I64(0)) if weighted else None
        name = f"llvm.fma.v{L}f{8 * size}"
        fma = _declared(builder.module, ir.FunctionType(vector, [vector] * 3), name) if floats else None

        before, loop, after = builder.block, builder.append_basic_block("events"), builder.append_basic_block("done")
        any_event = builder.icmp_signed(">", args[9], _I64(0))
        builder.cbranch(any_event, loop, after)
        builder.position_at_end(loop)
        j = builder.phi(_I64)
        j.add_incoming(_I64(0), before)
        sums = [builder.phi(vector) for _ in range(K * V)]
        row = builder.sext(builder.load(builder.gep(places, [j])), _I64)
        base = builder.gep(rows, [builder.mul(row, args[6])])
        f = splat(builder, builder.load(builder.gep(factors, [j])), L) if weighted else None
        totals = []
        for r, s in enumerate(sums):
            s.add_incoming(zero, before)
            w = _load(builder, builder.gep(base, [_I64(r * L)]), vector, size)
            if floats:
                total = builder.fadd(s, w) if f is None else builder.call(fma, [w, f, s])
            else:
                total = builder.add(s, w if f is None else builder.mul(w, f))
            totals.append(total)
        step = builder.add(j, _I64(1))
        j.add_incoming(step, builder.block)
        for s, total in zip(sums, totals, strict=True):
            s.add_incoming(total, builder.block)
        builder.cbranch(
            builder.icmp_signed("<", step, args[9]), loop, next_block := builder.append_basic_block("store")
        )
        builder.position_at_end(next_block)
        for k in range(K):
            q = builder.load(_pointer(context, builder, targets, args[1], builder.add(args[2], _I64(k))))
            where = _pointer(context, builder, out, args[0], builder.add(builder.sext(q, _I64), args[3]))
            for v in range(V):
                p = builder.bitcast(builder.gep(where, [_I64(v * L)]), vector.as_pointer())
                old = builder.load(p, align=size)
                t = totals[k * V + v]
                builder.store(builder.fadd(old, t) if floats else builder.add(old, t), p, align=size)
        builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return signature, codegen


@operation
def append(typing: Any, index: Any, n: Any, first: Any, bits: Any, at: Any) -> Any:
    """Write ``first + b`` for each bit b that is set in two bytes ``bits[at ...]`` to ``index[n ...]``; n and their number.

    Up to 16 entries from n on are overwritten.
    """
    i = types.int64
    signature = types.int64(index, i, i, bits, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = _load(builder, _pointer(context, builder, bits, args[3], args[4]), ir.IntType(16), 1)
        first32, n = builder.trunc(args[2], _I32), args[1]
        if WIDE:
            vector = ir.VectorType(_I32, 16)
            places = builder.add(ir.Constant(vector, list(range(16))), splat(builder, first32, 16))
            mask = builder.bitcast(word, ir.VectorType(ir.IntType(1), 16))
            kind = ir.FunctionType(vector, [vector, vector, mask.type])
            compress = _declared(builder.module, kind, "llvm.x86.avx512.mask.compress.v16i32")
            found = builder.call(compress, [places, ir.Constant(vector, ir.Undefined), mask])
            p = _pointer(context, builder, index, args[0], n)
            builder.store(found, builder.bitcast(p, vector.as_pointer()), align=4)
            return builder.add(n, _bits_set(builder, word))
        kind = ir.ArrayType(ir.ArrayType(_I8, 8), 256)
        table = builder.module.globals.get("snnverify.positions") or _global(
            builder.module, "snnverify.positions", ir.Constant(kind, _POSITIONS)
        )
        for byte in range(2):
            part = builder.and_(builder.lshr(word, ir.IntType(16)(8 * byte)), ir.IntType(16)(255))
            row = builder.gep(table, [_I64(0), builder.zext(part, _I64)])
            places = builder.zext(_load(builder, row, ir.VectorType(_I8, 8), 1), ir.VectorType(_I32, 8))
            found = builder.add(places, splat(builder, builder.add(first32, _I32(8 * byte)), 8))
            p = _pointer(context, builder, index, args[0], n)
            builder.store(found, builder.bitcast(p, found.type.as_pointer()), align=4)
            n = builder.add(n, _bits_set(builder, part))
        return n

    return signature, codegen


def _bits_set(builder: Any, word: Any) -> Any:
    """How many bits of an integer are set, as 64 bits."""
    wide = builder.zext(word, _I64)
    return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [_I64]), [wide])


def word_of(context: Any, builder: Any, array: Any, value: Any, at: Any) -> tuple[Any, Any, Any]:
    """Pointer to 64 numbers, their vector type, and the vector."""
    vector = ir.VectorType(context.get_value_type(array.dtype), 64)
    pointer = builder.bitcast(_pointer(context, builder, array, value, at), vector.as_pointer())
    return pointer, vector, builder.load(pointer, align=array.dtype.bitwidth // 8)


@operation
def plus(typing: Any, v: Any, at: Any, x: Any, of: Any) -> Any:
    """``v[at + u] += x[of + u]`` for 64 units."""
    signature = types.void(v, types.int64, x, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, _, old = word_of(context, builder, v, args[0], args[1])
        _, _, more = word_of(context, builder, x, args[2], args[3])
        builder.store(builder.fadd(old, more), pointer, align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@operation
def drain(typing: Any, x: Any, at: Any, base: Any, of: Any, sums: Any, u: Any, scale: Any) -> Any:
    """``x[at + u] = base[of + u] + sums[u] * scale`` for 64 units, and ``sums[u] = 0``."""
    i = types.int64
    signature = types.void(x, i, base, i, sums, i, scale)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to, vector, _ = word_of(context, builder, x, args[0], args[1])
        _, _, y = word_of(context, builder, base, args[2], args[3])
        room, kind, found = word_of(context, builder, sums, args[4], args[5])
        if isinstance(sums.dtype, types.Integer):
            found = builder.sitofp(found, vector)
        found = builder.fmul(found, splat(builder, args[6], 64))
        builder.store(builder.fadd(y, found), to, align=x.dtype.bitwidth // 8)
        builder.store(ir.Constant(kind, None), room, align=sums.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@operation
def weigh(typing: Any, x: Any, at: Any, factor: Any, of: Any, counts: Any) -> Any:
    """``x[at + c] += factor[of + c] * counts[of + c]`` for 16 channels; counts are uint8."""
    signature = types.void(x, types.int64, factor, types.int64, counts)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        size = x.dtype.bitwidth // 8
        vector = ir.VectorType(context.get_value_type(x.dtype), 16)
        p = builder.bitcast(_pointer(context, builder, x, args[0], args[1]), vector.as_pointer())
        f = _load(builder, _pointer(context, builder, factor, args[2], args[3]), vector, size)
        c = _load(builder, _pointer(context, builder, counts, args[4], args[3]), ir.VectorType(_I8, 16), 1)
        product = builder.fmul(f, builder.uitofp(c, vector))
        builder.store(builder.fadd(builder.load(p, align=size), product), p, align=size)
        return context.get_dummy_value()

    return signature, codegen


@operation
def integrate(typing: Any, v: Any, at: Any, x: Any, of: Any, theta: Any, u: Any, bits: Any, to: Any, stride: Any, steps: Any,
              strict: Any) -> Any:  # fmt: skip
    """All steps of 64 IF neurons with soft reset under the constant input ``x[of + u]``; bits go to ``bits[to + t stride]``.

    Potentials, inputs and thresholds stay in registers; each step is `plus`, `over` and `lower`.
    """
    i = types.int64
    signature = types.void(v, i, x, i, theta, i, bits, i, i, i, strict)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, vector, start = word_of(context, builder, v, args[0], args[1])
        _, _, current = word_of(context, builder, x, args[2], args[3])
        _, _, limit = word_of(context, builder, theta, args[4], args[5])
        into = _pointer(context, builder, bits, args[6], args[7])
        before, loop, done = builder.block, builder.append_basic_block("steps"), builder.append_basic_block("run")
        builder.branch(loop)  # a run has a step
        builder.position_at_end(loop)
        t, potential = builder.phi(_I64), builder.phi(vector)
        raised = builder.fadd(potential, current)
        fires = builder.fcmp_ordered(">" if strict.literal_value else ">=", raised, limit)
        left = builder.select(fires, builder.fsub(raised, limit), raised)
        builder.store(builder.bitcast(fires, _I64), builder.gep(into, [builder.mul(t, args[8])]))
        step = builder.add(t, _I64(1))
        for phi, first, after in ((t, _I64(0), step), (potential, start, left)):
            phi.add_incoming(first, before)
            phi.add_incoming(after, loop)
        builder.cbranch(builder.icmp_signed("<", step, args[9]), loop, done)
        builder.position_at_end(done)
        builder.store(left, pointer, align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@operation
def over(typing: Any, v: Any, at: Any, theta: Any, of: Any, strict: Any) -> Any:
    """Bits of ``v[at + u] >= theta[of + u]`` (``>`` where `strict`) for 64 units."""
    signature = types.uint64(v, types.int64, theta, types.int64, strict)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, _, x = word_of(context, builder, v, args[0], args[1])
        _, _, y = word_of(context, builder, theta, args[2], args[3])
        compare = builder.fcmp_ordered if isinstance(v.dtype, types.Float) else builder.icmp_signed
        return builder.bitcast(compare(">" if strict.literal_value else ">=", x, y), _I64)

    return signature, codegen


@operation
def lower(typing: Any, v: Any, at: Any, theta: Any, of: Any, bits: Any) -> Any:
    """``v[at + u] -= theta[of + u]`` for those of 64 units whose bit is set."""
    signature = types.void(v, types.int64, theta, types.int64, types.uint64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, _, old = word_of(context, builder, v, args[0], args[1])
        _, _, by = word_of(context, builder, theta, args[2], args[3])
        chosen = builder.bitcast(args[4], ir.VectorType(ir.IntType(1), 64))
        new = builder.select(chosen, builder.fsub(old, by), old)
        builder.store(new, pointer, align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@operation
def put(typing: Any, v: Any, at: Any, to: Any, bits: Any) -> Any:
    """``v[at + u] = to`` for those of 64 units whose bit is set."""
    signature = types.void(v, types.int64, v.dtype, types.uint64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, _, old = word_of(context, builder, v, args[0], args[1])
        chosen = builder.bitcast(args[3], ir.VectorType(ir.IntType(1), 64))
        new = builder.select(chosen, splat(builder, args[2], 64), old)
        builder.store(new, pointer, align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


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
        begin = _pointer(context, builder, bits, args[2], args[3])
        table = _pointer(context, builder, offsets, args[4], args[5])
        before, loop = builder.block, builder.append_basic_block("places")
        inside, following, done = (builder.append_basic_block(name) for name in ("inside", "next", "counted"))
        builder.cbranch(builder.icmp_signed(">", args[6], _I64(0)), loop, done)
        builder.position_at_end(loop)
        m, some, total = builder.phi(_I64), builder.phi(integer), builder.phi(vector)
        offset = builder.sext(builder.load(builder.gep(table, [m])), _I64)
        builder.cbranch(builder.icmp_signed("<", offset, _I64(0)), following, inside)
        builder.position_at_end(inside)
        word = _load(builder, builder.gep(begin, [builder.mul(offset, args[7])]), integer, 1)
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
        p = _pointer(context, builder, counts, args[0], args[1])
        builder.store(sums, builder.bitcast(p, vector.as_pointer()), align=1)
        return found if L == 64 else builder.zext(found, _I64)

    return signature, codegen
