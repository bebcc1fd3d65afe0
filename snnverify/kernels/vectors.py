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
_FEATURES = binding.get_host_cpu_features()
WIDE, BYTES, DOTS = (bool(_FEATURES.get(name, False)) for name in ("avx512f", "avx512vbmi2", "avx512vnni"))
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
def copy(typing: Any, x: Any, at: Any, y: Any, of: Any) -> Any:
    """``x[at + u] = y[of + u]`` for 64 units."""
    signature = types.void(x, types.int64, y, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, _, _ = word_of(context, builder, x, args[0], args[1])
        _, _, loaded = word_of(context, builder, y, args[2], args[3])
        builder.store(loaded, pointer, align=x.dtype.bitwidth // 8)
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
        current = _taken(context, builder, sums, args[4], args[5], vector)
        current = builder.fmul(current, splat(builder, args[6], 64))
        builder.store(builder.fadd(y, current), to, align=x.dtype.bitwidth // 8)
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
def fire(
    typing: Any, v: Any, at: Any, base: Any, of: Any, sums: Any, u: Any, scale: Any, theta: Any, k: Any, strict: Any
) -> Any:
    """A step of 64 IF neurons with soft reset, in registers: `drain`, `plus`, `over`, `lower`; bits of those that fire."""
    i = types.int64
    signature = types.uint64(v, i, base, i, sums, i, scale, theta, i, strict)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, vector, old = word_of(context, builder, v, args[0], args[1])
        _, _, given = word_of(context, builder, base, args[2], args[3])
        _, _, limit = word_of(context, builder, theta, args[7], args[8])
        loaded = _taken(context, builder, sums, args[4], args[5], vector)
        current = builder.fadd(given, builder.fmul(loaded, splat(builder, args[6], 64)))
        raised = builder.fadd(old, current)
        fires = builder.fcmp_ordered(">" if strict.literal_value else ">=", raised, limit)
        left = builder.select(fires, builder.fsub(raised, limit), raised)
        builder.store(left, pointer, align=v.dtype.bitwidth // 8)
        return builder.bitcast(fires, _I64)

    return signature, codegen


def _taken(context: Any, builder: Any, sums: Any, value: Any, at: Any, vector: Any) -> Any:
    """64 sums as floats; what held them holds zeros."""
    room, kind, loaded = word_of(context, builder, sums, value, at)
    builder.store(ir.Constant(kind, None), room, align=sums.dtype.bitwidth // 8)
    return builder.sitofp(loaded, vector) if isinstance(sums.dtype, types.Integer) else loaded


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
def lift(typing: Any, x: Any, at: Any, factor: Any, of: Any, bits: Any, byte: Any) -> Any:
    """``x[at + u] += factor[of + u]`` for those of 64 units whose bit, from ``bits[byte]`` on, is set."""
    i = types.int64
    signature = types.void(x, i, factor, i, bits, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, vector, old = word_of(context, builder, x, args[0], args[1])
        _, _, by = word_of(context, builder, factor, args[2], args[3])
        chosen = load(
            builder, pointer_to(context, builder, bits, args[4], args[5]), ir.VectorType(ir.IntType(1), 64), 1
        )
        more = builder.select(chosen, by, ir.Constant(vector, None))
        builder.store(builder.fadd(old, more), pointer, align=x.dtype.bitwidth // 8)
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
def turn(typing: Any, out: Any, at: Any, row: Any, source: Any, of: Any, column: Any, add: Any, pixels: Any) -> Any:
    """``out[at + i row + j] = source[of + j column + i]`` for i, j = 0 ... 15, converted; added where `add`.

    `pixels` is 16, or 1: then ``out[at + i] = source[of + i]``.
    """
    i = types.int64
    signature = types.void(out, i, i, source, i, i, types.boolean, pixels)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to, begin = (pointer_to(context, builder, a, args[k], args[k + 1]) for a, k in ((out, 0), (source, 3)))
        rows = []
        for j in range(pixels.literal_value):
            p = builder.gep(begin, [builder.mul(args[5], _I64(j))])
            vector = ir.VectorType(context.get_value_type(source.dtype), 16)
            lanes = load(builder, p, vector, source.dtype.bitwidth // 8)
            rows.append(converted(context, builder, lanes, source.dtype, out.dtype))
        for _ in range(4 if len(rows) == 16 else 0):  # a perfect shuffle of rows and lanes, four times, turns 16 by 16
            halves = zip(rows[:8], rows[8:], strict=True)
            rows = [_interleaved(builder, a, b, start) for a, b in halves for start in (0, 8)]
        for k, lanes in enumerate(rows):
            p = builder.bitcast(builder.gep(to, [builder.mul(args[2], _I64(k))]), lanes.type.as_pointer())
            old = builder.load(p, align=out.dtype.bitwidth // 8)
            plus = builder.add if isinstance(out.dtype, types.Integer) else builder.fadd
            builder.store(builder.select(args[6], plus(old, lanes), lanes), p, align=out.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


def _interleaved(builder: Any, a: Any, b: Any, start: int) -> Any:
    """Eight lanes of two vectors of 16 in turn, from `start` on."""
    places = [lane + 16 * other for lane in range(start, start + 8) for other in (0, 1)]
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, 16), places))


def converted(context: Any, builder: Any, lanes: Any, kind: Any, to: Any) -> Any:
    """A vector of numbers of one kind as another that holds them."""
    vector = ir.VectorType(context.get_value_type(to), lanes.type.count)
    if vector == lanes.type:
        return lanes
    if isinstance(to, types.Float):
        return builder.fpext(lanes, vector) if isinstance(kind, types.Float) else builder.sitofp(lanes, vector)
    return builder.sext(lanes, vector) if kind.signed else builder.zext(lanes, vector)
