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


def pointer_to(context: Any, builder: Any, array_type: Any, value: Any, offset: Any) -> Any:
    """Pointer to an entry of an array."""
    data = context.make_array(array_type)(context, builder, value).data
    return builder.gep(data, [offset])


def load(builder: Any, pointer: Any, kind: Any, size: int) -> Any:
    """What a pointer points to, taken as another kind."""
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=size)


declared: Any = cgutils.get_or_insert_function


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
        places = pointer_to(context, builder, index, args[7], _I64(0))
        rows = pointer_to(context, builder, weight, args[4], args[5])
        factors = pointer_to(context, builder, factor, args[8], _I64(0)) if weighted else None
        name = f"llvm.fma.v{L}f{8 * size}"
        fma = declared(builder.module, ir.FunctionType(vector, [vector] * 3), name) if floats else None

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
            w = load(builder, builder.gep(base, [_I64(r * L)]), vector, size)
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
            q = builder.load(pointer_to(context, builder, targets, args[1], builder.add(args[2], _I64(k))))
            where = pointer_to(context, builder, out, args[0], builder.add(builder.sext(q, _I64), args[3]))
            for v in range(V):
                p = builder.bitcast(builder.gep(where, [_I64(v * L)]), vector.as_pointer())
                old = builder.load(p, align=size)
                t = totals[k * V + v]
                builder.store(builder.fadd(old, t) if floats else builder.add(old, t), p, align=size)
        builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return signature, codegen


def word_of(context: Any, builder: Any, array: Any, value: Any, at: Any) -> tuple[Any, Any, Any]:
    """Pointer to 64 numbers, their vector type, and the vector."""
    vector = ir.VectorType(context.get_value_type(array.dtype), 64)
    pointer = builder.bitcast(pointer_to(context, builder, array, value, at), vector.as_pointer())
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
        p = builder.bitcast(pointer_to(context, builder, x, args[0], args[1]), vector.as_pointer())
        f = load(builder, pointer_to(context, builder, factor, args[2], args[3]), vector, size)
        c = load(builder, pointer_to(context, builder, counts, args[4], args[3]), ir.VectorType(_I8, 16), 1)
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
        into = pointer_to(context, builder, bits, args[6], args[7])
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
