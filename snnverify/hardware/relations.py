"""Relations between the numbers of a report: formulas kept as data, evaluated in interval arithmetic."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce
from importlib.resources import files
from itertools import pairwise
from typing import Any

import tomllib

from .intervals import Interval, exactly

Value = Interval | Sequence[Interval]
_OPERATORS: Mapping[type[ast.operator], Callable[[Interval, Interval], Interval]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def _total(items: Sequence[Interval]) -> Interval:
    return reduce(operator.add, items, exactly(0))


def _products(items: Sequence[Interval]) -> Sequence[Interval]:
    return [a * b for a, b in pairwise(items)]


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "total": _total, "products": _products, "ceiling": Interval.ceiling, "floor": Interval.floor,
    "dot": lambda a, b: _total([x * y for x, y in zip(a, b, strict=True)]),
    "size": lambda a: exactly(len(a)), "rest": lambda a: a[1:], "hidden": lambda a: a[1:-1],
    "first": lambda a, n: a[: int(n.lo)],
}  # fmt: skip


@dataclass(frozen=True)
class Relation:
    """A formula over named arguments, the dimension it gives, those it takes, and why it holds."""

    name: str
    formula: str
    gives: str
    takes: Mapping[str, str]
    source: str

    def __call__(self, arguments: Mapping[str, Value]) -> Interval:
        """Evaluate; `ValueError` where lists do not match, `ZeroDivisionError` where a divisor can be 0."""
        found = _evaluate(ast.parse(self.formula, mode="eval").body, arguments)
        assert isinstance(found, Interval)
        return found


@cache
def relations() -> Mapping[str, Relation]:
    """All relations by name."""
    table = tomllib.loads((files(__package__) / "relations.toml").read_text())
    return {name: Relation(name, **entry) for name, entry in table.items()}


def _evaluate(node: ast.expr, names: Mapping[str, Value]) -> Any:
    """Value of a formula: numbers, names, + - * / and `FUNCTIONS`; nothing else can be written in one."""
    match node:
        case ast.Constant(value):
            return exactly(Fraction(str(value)))
        case ast.Name(name):
            return names[name]
        case ast.BinOp(left, op, right):
            return _OPERATORS[type(op)](_evaluate(left, names), _evaluate(right, names))
        case ast.Call(ast.Name(name), arguments):
            return FUNCTIONS[name](*(_evaluate(a, names) for a in arguments))
    raise TypeError(ast.dump(node))
