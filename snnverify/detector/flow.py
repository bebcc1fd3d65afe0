"""Which module's values reach which: the operations of a run gathered in leaves, and seen from within every call.

A *leaf* is a call that calls no other module, or an operation between calls. What only lays values out anew (``view``,
``permute`` ...) between calls is no leaf: its result is that of its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from .trace import IMAGE, ROOT, Operation, Run

LAYOUT = frozenset({
    "_reshape_alias", "_to_copy", "_unsafe_view", "alias", "clone", "contiguous", "detach", "expand", "expand_as", "flatten",
    "lift_fresh", "permute", "reshape", "squeeze", "t", "to", "transpose", "type_as", "unflatten", "unsqueeze", "view",
    "view_as",
})  # fmt: skip
# What torch calls an operation that joins values -> what it is called here; others keep torch's name.
JOINS = {
    "add": "add",
    "cat": "concatenate",
    "concat": "concatenate",
    "stack": "stack",
    "sub": "subtract",
    "mul": "multiply",
}


@dataclass(frozen=True)
class Item:
    """What is drawn as one thing within a call: a call (`call` its index) or an operation between calls (`operation`)."""

    call: int = -1
    operation: int = -1

    @property
    def between(self) -> bool:
        """Whether this is an operation between calls."""
        return self.operation >= 0


SOURCE = Item(operation=IMAGE)


class Flow:
    """A run, gathered in leaves.

    Attributes
    ----------
    operands : dict of Item to tuple of Item
        For every leaf its sources: of an operation one for each operand, repeated where an operand is; of a call each
        source once.
    outputs : tuple of tuple of Item
        For each tensor that the model returns, the leaves that made it.
    live : frozenset of int
        Operations that the output depends on.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        parents = {c.parent for c in run.calls}
        self.leaf_calls = frozenset(c.index for c in run.calls if c.index not in parents) - {ROOT}
        self.children: dict[int, list[int]] = {}
        for c in run.calls:
            self.children.setdefault(c.parent, []).append(c.index)
        self.live = frozenset(self._reaching(n for made in run.calls[ROOT].made for n in made))
        self._of_call: dict[int, list[Operation]] = {}
        for o in run.operations:
            self._of_call.setdefault(o.call, []).append(o)
        # what leads to no output and to no call, as a test of the input does, is left out
        drawn = self._reaching([*self.live, *(o.index for c in self.leaf_calls for o in self._of_call.get(c, []))])
        self.operands: dict[Item, tuple[Item, ...]] = {SOURCE: ()}
        for k in sorted(self.leaf_calls):
            self.operands[Item(call=k)] = self._taken_by_call(k)
        for o in run.operations[1:]:
            if o.call not in self.leaf_calls and o.name not in LAYOUT and o.index in drawn:
                self.operands[Item(operation=o.index)] = tuple(i for made in o.operands for i in self.leaves(made))
        self.outputs = tuple(self.leaves(made) for made in run.calls[ROOT].made)

    def leaves(self, made: Iterable[int]) -> tuple[Item, ...]:
        """Leaves whose values some operations hand on, each once."""
        found: dict[Item, None] = {}
        for n in made:
            o = self.run.operations[n]
            if o.call in self.leaf_calls:
                found[Item(call=o.call)] = None
            elif o.name in LAYOUT:
                found |= dict.fromkeys(self.leaves(k for each in o.operands for k in each))
            else:
                found[Item(operation=n)] = None
        return tuple(found)

    def unused(self, item: Item) -> bool:
        """Whether the output depends on nothing that happened in a call or operation."""
        if item.between:
            return item.operation not in self.live
        return not any(o.index in self.live for o in self._within(item.call))

    def join(self, item: Item) -> tuple[str, str]:
        """What a leaf does with values of several sources, and along which dimension; empty where it joins none.

        ``memory`` where one tensor that it takes was written by several.
        """
        if item.between:
            o = self.run.operations[item.operation]
            return _named(o) if len(o.operands) > 1 else ("memory", "") if len(self.operands[item]) > 1 else ("", "")
        origins: dict[int, set[Item]] = {}
        for o in self._of_call.get(item.call, []):
            each = [set().union(*(origins.get(n) or self.leaves([n]) for n in made)) for made in o.operands]
            origins[o.index] = set().union(*each)
            if len(each) > 1 and all(e < origins[o.index] for e in each):
                return _named(o)
            if any(len(self.leaves(k for k in made if k not in origins)) > 1 for made in o.operands):
                return "memory", ""
        return "", ""

    def items(self, scope: int) -> list[Item]:
        """What happened directly within a call, in order of execution."""
        calls = [(self.run.calls[c].began - 0.5, Item(call=c)) for c in self.children.get(scope, [])]
        operations = [(float(o.index), Item(operation=o.index)) for o in self._of_call.get(scope, [])]
        return [
            i for _, i in sorted([*calls, *((k, i) for k, i in operations if i in self.operands)], key=lambda p: p[0])
        ]

    def sources(self, item: Item, scope: int) -> tuple[Item, ...]:
        """What an item within a call takes values from: items of that call, or those of calls around it."""
        if item.between or item.call in self.leaf_calls:
            return tuple(self.seen(s, scope) for s in self.operands[item])
        return tuple(dict.fromkeys(self.seen(s, scope) for leaf in self.leaves_within(item)
                                   for s in self.operands[leaf] if not self._inside(s, item.call)))  # fmt: skip

    def exits(self, scope: int) -> tuple[Item, ...]:
        """Items whose values a call returns, one for each tensor that was made within it."""
        made = self.run.calls[scope].made
        return tuple(self.seen(i, scope) for each in made for i in self.leaves(each) if self._inside(i, scope))

    def seen(self, leaf: Item, scope: int) -> Item:
        """The item that holds a leaf, as it is seen from within a call: of that call, or of the nearest around it."""
        chain = [*self._chain(leaf)]
        around = scope
        while around != -1 and around not in chain:
            around = self.run.calls[around].parent
        at = chain.index(around) if around != -1 else len(chain)
        return leaf if at == 0 or (not leaf.between and at == 1 and chain[0] == leaf.call) else Item(call=chain[at - 1])

    def leaves_within(self, item: Item) -> Iterator[Item]:
        """Leaves of an item, in order of execution; a leaf itself."""
        if item.between or item.call in self.leaf_calls:
            yield item
        else:
            yield from (leaf for i in self.items(item.call) for leaf in self.leaves_within(i))

    def operations(self, leaf: Item) -> list[Operation]:
        """What ran in a leaf."""
        return [self.run.operations[leaf.operation]] if leaf.between else self._of_call.get(leaf.call, [])

    def _chain(self, leaf: Item) -> Iterator[int]:
        """Calls that a leaf ran in, innermost first; a call is in itself."""
        call = self.run.operations[leaf.operation].call if leaf.between else leaf.call
        while call != -1:
            yield call
            call = self.run.calls[call].parent

    def _inside(self, leaf: Item, call: int) -> bool:
        return call in self._chain(leaf)

    def _within(self, call: int) -> Iterator[Operation]:
        yield from self._of_call.get(call, [])
        for c in self.children.get(call, []):
            yield from self._within(c)

    def _taken_by_call(self, call: int) -> tuple[Item, ...]:
        mine = self._of_call.get(call, [])
        used = [o for o in mine if o.index in self.live] or mine
        made = (n for o in used for each in o.operands for n in each if self.run.operations[n].call != call)
        return tuple(dict.fromkeys(i for n in made for i in self.leaves([n])))

    def _reaching(self, made: Iterable[int]) -> set[int]:
        found: set[int] = set()
        waiting = list(made)
        while waiting:
            n = waiting.pop()
            if n not in found:
                found.add(n)
                waiting += [k for each in self.run.operations[n].operands for k in each]
        return found

    @cached_property
    def names(self) -> dict[Item, str]:
        """Of calls the module path, with ``:2`` from the second call on; of operations the path they ran in and theirs."""
        found = {SOURCE: "image"}
        for c in self.run.calls:
            found[Item(call=c.index)] = (c.path or "model") + (f":{c.number}" if c.number > 1 else "")
        numbers: dict[str, int] = {}
        for item in self.operands:
            if item.between and item != SOURCE:
                o = self.run.operations[item.operation]
                stem = f"{self.run.calls[o.call].path}/{o.name.rstrip('_')}"  # no module path holds a slash
                numbers[stem] = numbers.get(stem, 0) + 1
                found[item] = stem + (f":{numbers[stem]}" if numbers[stem] > 1 else "")
        return found


def _named(o: Operation) -> tuple[str, str]:
    name = o.name.rstrip("_")
    kind = JOINS.get(name, name)
    return kind, f"dim {o.detail or 0}" if kind in ("concatenate", "stack") else ""
