"""Explicit vector operations for the kernels of the fused engine: the few lines that loops of numba cannot say.

Each is a function of LLVM's portable vectors (of 8 to 64 lanes), which LLVM lowers to whatever the processor has; arrays
are given with an offset in elements, and nothing is bounds-checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POSITIONS = [[b for b in range(8) if v >> b & 1] + [0] * (8 - v.bit_count()) for v in range(256)]


def _pointer(context: Any, builder: Any, array_type: Any, value: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, value).data
    return builder.gep(data, [offset])


def _load(builder: Any, pointer: Any, kind: Any, size: int) -> Any:
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=size)


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    vector = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_I32, lanes), None))


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
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
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name) if floats else None

        before, loop, after = builder.block, builder.append_basic_block("events"), builder.append_basic_block("done")
        any_event = builder.icmp_signed(">", args[9], _I64(0))
        builder.cbranch(any_event, loop, after)
        builder.position_at_end(loop)
        j = builder.phi(_I64)
        j.add_incoming(_I64(0), before)
        sums = [builder.phi(vector) for _ in range(K * V)]
        row = builder.sext(builder.load(builder.gep(places, [j])), _I64)
        base = builder.gep(rows, [builder.mul(row, args[6])])
        f = _splat(builder, builder.load(builder.gep(factors, [j])), L) if weighted else None
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
        for s, total in zip(sums, totals):
            s.add_incoming(total, builder.block)
        builder.cbranch(builder.icmp_signed("<", step, args[9]), loop, next_block := builder.append_basic_block("store"))
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


@intrinsic  # type: ignore[untyped-decorator]
def append(typing: Any, index: Any, n: Any, first: Any, byte: Any) -> Any:
    """Write ``first + b`` for every bit b that is set in `byte` to ``index[n ...]`` (8 entries in all); the new n."""
    signature = types.int64(index, types.int64, types.int64, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        module = builder.module
        name = "snnverify.positions"
        table_type = ir.ArrayType(ir.ArrayType(_I8, 8), 256)
        table = module.globals.get(name) or cgutils.global_constant(module, name, ir.Constant(table_type, _POSITIONS))
        i = args[3]
        narrow = ir.VectorType(_I8, 8)
        places = _load(builder, builder.gep(table, [_I64(0), i]), narrow, 1)
        wide = builder.zext(places, ir.VectorType(_I32, 8))
        first32 = builder.trunc(args[2], _I32)
        found = builder.add(wide, _splat(builder, first32, 8))
        p = _pointer(context, builder, index, args[0], args[1])
        builder.store(found, builder.bitcast(p, found.type.as_pointer()), align=4)
        count = builder.call(module.declare_intrinsic("llvm.ctpop", [_I64]), [i])
        return builder.add(args[1], count)

    return signature, codegen


def _word(context: Any, builder: Any, array: Any, value: Any, at: Any) -> tuple[Any, Any, Any]:
    """Pointer to 64 numbers, their vector type, and the vector."""
    vector = ir.VectorType(context.get_value_type(array.dtype), 64)
    pointer = builder.bitcast(_pointer(context, builder, array, value, at), vector.as_pointer())
    return pointer, vector, builder.load(pointer, align=array.dtype.bitwidth // 8)


@intrinsic  # type: ignore[untyped-decorator]
def plus(typing: Any, v: Any, at: Any, x: Any, of: Any) -> Any:
    """``v[at + u] += x[of + u]`` for 64 units."""
    signature = types.void(v, types.int64, x, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, _, old = _word(context, builder, v, args[0], args[1])
        _, _, more = _word(context, builder, x, args[2], args[3])
        builder.store(builder.fadd(old, more), pointer, align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def over(typing: Any, v: Any, at: Any, theta: Any, of: Any, strict: Any) -> Any:
    """Bits of ``v[at + u] >= theta[of + u]`` (``>`` where `strict`) for 64 units."""
    signature = types.uint64(v, types.int64, theta, types.int64, strict)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, _, x = _word(context, builder, v, args[0], args[1])
        _, _, y = _word(context, builder, theta, args[2], args[3])
        return builder.bitcast(builder.fcmp_ordered(">" if strict.literal_value else ">=", x, y), _I64)

    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def lower(typing: Any, v: Any, at: Any, theta: Any, of: Any, bits: Any) -> Any:
    """``v[at + u] -= theta[of + u]`` for those of 64 units whose bit is set."""
    signature = types.void(v, types.int64, theta, types.int64, types.uint64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, _, old = _word(context, builder, v, args[0], args[1])
        _, _, by = _word(context, builder, theta, args[2], args[3])
        chosen = builder.bitcast(args[4], ir.VectorType(ir.IntType(1), 64))
        new = builder.select(chosen, builder.fsub(old, by), old)
        builder.store(new, pointer, align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def put(typing: Any, v: Any, at: Any, to: Any, bits: Any) -> Any:
    """``v[at + u] = to`` for those of 64 units whose bit is set."""
    signature = types.void(v, types.int64, v.dtype, types.uint64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, _, old = _word(context, builder, v, args[0], args[1])
        chosen = builder.bitcast(args[3], ir.VectorType(ir.IntType(1), 64))
        new = builder.select(chosen, _splat(builder, args[2], 64), old)
        builder.store(new, pointer, align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def tally(typing: Any, counts: Any, at: Any, bits: Any, byte: Any, lanes: Any) -> Any:
    """Add 1 to those entries of ``counts[at : at + lanes]`` (uint8) whose bit is set in ``bits[byte ...]``; those bits."""
    L = lanes.literal_value
    signature = types.int64(counts, types.int64, bits, types.int64, lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = _load(builder, _pointer(context, builder, bits, args[2], args[3]), ir.IntType(L), 1)
        vector = ir.VectorType(_I8, L)
        ones = builder.zext(builder.bitcast(word, ir.VectorType(ir.IntType(1), L)), vector)
        p = builder.bitcast(_pointer(context, builder, counts, args[0], args[1]), vector.as_pointer())
        builder.store(builder.add(builder.load(p, align=1), ones), p, align=1)
        return word if L == 64 else builder.zext(word, _I64)

    return signature, codegen
