"""The sum of the weight rows of active inputs, in registers, where most of a run's time goes; see `vectors`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .compiled import operation
from .vectors import declared, load, pointer_to, splat

AT_ONCE = 4  # rows of spikes that are added without a branch, whose way is foreseen amiss for every other pixel
_I32, _I64 = ir.IntType(32), ir.IntType(64)


@operation
def scatter(typing: Any, out: Any, targets: Any, to: Any, column: Any, weight: Any, at: Any, stride: Any, most: Any,
            index: Any, factor: Any, n: Any, taps: Any, vectors: Any) -> Any:  # fmt: skip
    """``out[targets[to + k] + column + l] += sum_j factor[j] weight[at + stride index[j] + k V L + l]``.

    j runs over 0 ... n - 1 in order, n a multiple of `AT_ONCE` without factors, k over the taps, l over V vectors of L lanes
    (64 bytes each of `out`). Sums stay in registers. Floats: fused multiply-adds from 0. `factor` None: additions alone.
    Weights of 8 bits: `most` rows at a time are added as bytes, which do not overflow with so few, and those sums to `out`,
    of 16 bits.
    """
    K, V, L = taps.literal_value, vectors.literal_value, 512 // out.dtype.bitwidth
    i = types.int64
    signature = types.void(out, targets, i, i, weight, i, i, i, index, factor, i, taps, vectors)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if weight.dtype.bitwidth == 8 and not isinstance(factor, types.NoneType):
            return context.get_dummy_value()  # never asked for: only spikes have weights of 8 bits
        element, sum_of = context.get_value_type(weight.dtype), context.get_value_type(out.dtype)
        places, size = pointer_to(context, builder, index, args[8], _I64(0)), weight.dtype.bitwidth // 8
        rows = pointer_to(context, builder, weight, args[4], args[5])
        factors = None if isinstance(factor, types.NoneType) else pointer_to(context, builder, factor, args[9], _I64(0))
        lanes = 64 // size
        registers = -(-K * V * L // lanes)

        def add(j: Any, sums: list[Any]) -> list[Any]:
            row = builder.load(builder.gep(places, [j]))
            row = builder.zext(row, _I64) if row.type.width < 64 else row
            base = builder.gep(rows, [builder.mul(row, args[6])])
            f = None if factors is None else splat(builder, builder.load(builder.gep(factors, [j])), lanes)
            added = []
            for r, s in enumerate(sums):
                w = load(builder, builder.gep(base, [_I64(r * lanes)]), s.type, size)
                added.append(_plus(builder, s, w, f))
            return added

        together = AT_ONCE if factors is None else 1

        def some(start: Any, sums: list[Any]) -> list[Any]:
            for j in range(together):
                sums = add(builder.add(start, _I64(j)), sums)
            return sums

        zero = [ir.Constant(ir.VectorType(element, lanes), None)] * registers
        wide = [ir.Constant(ir.VectorType(sum_of, L), None)] * (K * V)

        def group(start: Any, sums: list[Any]) -> list[Any]:
            left = builder.sub(args[10], start)
            stop = builder.add(start, builder.select(builder.icmp_signed("<", left, args[7]), left, args[7]))
            few = _loop(builder, start, stop, _I64(together), zero, some)
            return [builder.add(s, builder.sext(_lanes(builder, few, k * L, L), s.type)) for k, s in enumerate(sums)]

        totals = (
            _loop(builder, _I64(0), args[10], args[7], wide, group)
            if size == 1
            else _loop(builder, _I64(0), args[10], _I64(together), zero, some)
        )
        for k in range(K):
            q = builder.load(pointer_to(context, builder, targets, args[1], builder.add(args[2], _I64(k))))
            where = pointer_to(context, builder, out, args[0], builder.add(builder.sext(q, _I64), args[3]))
            for v in range(V):
                p = builder.bitcast(builder.gep(where, [_I64(v * L)]), wide[0].type.as_pointer())
                old = builder.load(p, align=out.dtype.bitwidth // 8)
                builder.store(_plus(builder, old, totals[k * V + v], None), p, align=out.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, codegen


@operation
def multiply(typing: Any, out: Any, at: Any, unit: Any, values: Any, of: Any, size: Any, weight: Any, begin: Any, index: Any,
             first: Any, n: Any, frames: Any, vectors: Any) -> Any:  # fmt: skip
    """``out[at + f unit + l] += sum_k values[of + f size + k] weight[begin + k V L + l]``, f over some frames.

    k runs over ``index[first ... first + n - 1]``. As `scatter`, but several frames share the loads of an input's weights.
    """
    F, V, L = frames.literal_value, vectors.literal_value, 512 // out.dtype.bitwidth
    i = types.int64
    signature = types.void(out, i, i, values, i, i, weight, i, index, i, i, frames, vectors)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        size, vector = out.dtype.bitwidth // 8, ir.VectorType(context.get_value_type(out.dtype), L)
        to, given, rows = (
            pointer_to(context, builder, a, args[k], args[k + 1]) for a, k in ((out, 0), (values, 3), (weight, 6))
        )
        places = pointer_to(context, builder, index, args[8], args[9])

        def add(j: Any, sums: list[Any]) -> list[Any]:
            k = builder.zext(builder.load(builder.gep(places, [j])), _I64)
            base = builder.gep(rows, [builder.mul(k, _I64(V * L))])
            w = [load(builder, builder.gep(base, [_I64(v * L)]), vector, size) for v in range(V)]
            added = []
            for f in range(F):
                x = builder.load(builder.gep(given, [builder.add(k, builder.mul(args[5], _I64(f)))]))
                x = splat(builder, x, L)
                added += [_plus(builder, sums[f * V + v], w[v], x) for v in range(V)]
            return added

        totals = _loop(builder, _I64(0), args[10], _I64(1), [ir.Constant(vector, None)] * (F * V), add)
        for r, total in enumerate(totals):
            f, v = divmod(r, V)
            where = builder.gep(to, [builder.add(builder.mul(args[2], _I64(f)), _I64(v * L))])
            p = builder.bitcast(where, vector.as_pointer())
            builder.store(builder.fadd(builder.load(p, align=size), total), p, align=size)
        return context.get_dummy_value()

    return signature, codegen


def _loop(builder: Any, start: Any, stop: Any, step: Any, values: list[Any], body: Any) -> list[Any]:
    """Carry `values` through ``body(j, values)`` for j = start, start + step, ... below `stop`; what they are then."""
    before, loop, after = builder.block, builder.append_basic_block("rows"), builder.append_basic_block("added")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, after)
    builder.position_at_end(loop)
    j = builder.phi(_I64)
    carried = [builder.phi(v.type) for v in values]
    carried_on = body(j, carried)
    following, last = builder.add(j, step), builder.block
    for phi, first, then in zip((j, *carried), (start, *values), (following, *carried_on), strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, last)
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
    builder.position_at_end(after)
    results = [builder.phi(v.type) for v in values]
    for phi, first, then in zip(results, values, carried_on, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, last)
    return results


def _plus(builder: Any, sums: Any, more: Any, factor: Any) -> Any:
    """``sums + factor * more``; `factor` None for 1."""
    if not isinstance(sums.type.element, ir.IntType):
        if factor is None:
            return builder.fadd(sums, more)
        size = {"float": 32, "double": 64}[str(sums.type.element)]
        name = f"llvm.fma.v{sums.type.count}f{size}"
        fma = declared(builder.module, ir.FunctionType(sums.type, [sums.type] * 3), name)
        return builder.call(fma, [more, factor, sums])
    return builder.add(sums, more if factor is None else builder.mul(more, factor))


def _lanes(builder: Any, vectors: list[Any], start: int, number: int) -> Any:
    """Some lanes of vectors that lie one after the other."""
    one, first = vectors[start // vectors[0].type.count], start % vectors[0].type.count
    places = ir.Constant(ir.VectorType(_I32, number), [first + k for k in range(number)])
    return builder.shuffle_vector(one, ir.Constant(one.type, ir.Undefined), places)
