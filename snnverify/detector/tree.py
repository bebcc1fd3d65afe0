"""A run as a tree: sequences in the order of execution, and in them parallel paths from a fork to where they meet.

Paths are drawn side by side where they have nothing in common with one another and nothing of them is used elsewhere, which
is read off dominators; any other join names its sources and its fork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .flow import SOURCE, Flow, Item
from .trace import ROOT

EXIT = Item(call=-2)  # stands for what a call returns


@dataclass(frozen=True)
class Path:
    """One way from a fork to a join: what lies on it, nothing where the forked value itself reaches the join.

    Parameters
    ----------
    label : str
        ``residual path``, ``shortcut path`` or ``path n``.
    source : Item
        Where its values come from.
    elements : tuple
        Items and `Parallel` parts in order.
    identity : bool
        Nothing on it changes a value: no operation, or modules alone that returned what they were given.
    """

    label: str
    source: Item
    elements: tuple[Item | Parallel, ...]
    identity: bool


@dataclass(frozen=True)
class Parallel:
    """Paths side by side, from `fork` to `join`; `EXIT` for the call's results."""

    fork: Item
    join: Item
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Join:
    """Where values of several sources meet: the items of each path from the fork on; `nested` where drawn side by side."""

    item: Item
    fork: Item
    paths: tuple[tuple[Item, ...], ...]
    nested: bool


class Scope:
    """What happened within one call, as a graph whose root is what came in.

    Parameters
    ----------
    flow : Flow
    call : int
    weight : callable
        Of an item; of two paths that are added, the lighter is the shortcut.
    """

    def __init__(self, flow: Flow, call: int, weight: Callable[[Item], float]) -> None:
        self.flow, self.call, self.weight = flow, call, weight
        self.items = flow.items(call)
        self.sources = {i: flow.sources(i, call) for i in self.items}
        mine = set(self.items)
        self.entries = tuple(dict.fromkeys(s for i in self.items for s in self.sources[i] if s not in mine))
        # what a call is given is its root where that is one thing; else a root stands above all of it
        self.root = self.entries[0] if len(self.entries) == 1 else Item(call=call)
        self.sources[EXIT] = tuple(dict.fromkeys(flow.exits(call)))
        self.uses: dict[Item, list[Item]] = {}
        for item, sources in self.sources.items():
            for s in dict.fromkeys(sources):
                self.uses.setdefault(s, []).append(item)
        self._dominators = self._dominated()
        self.joins = {i: self._join(i) for i in [*self.items, EXIT] if len(self.sources[i]) > 1}

    def elements(self) -> tuple[Item | Parallel, ...]:
        """Return the tree of this call."""
        return self._sequence([*self.items, EXIT])

    def identity(self, items: Sequence[Item]) -> bool:
        """Whether items are calls alone that returned what they were given."""
        return all(not i.between and i.call >= 0 and self.flow.run.calls[i.call].identity for i in items)

    def _sequence(self, items: Sequence[Item]) -> tuple[Item | Parallel, ...]:
        inside: set[Item] = set()
        chosen: dict[Item, Join] = {}
        here = set(items)
        # the widest first: what lies within its paths is found again when they are drawn
        for join in sorted((j for i, j in self.joins.items() if i in here and j.nested), key=lambda j: -_size(j)):
            of_paths = {i for p in join.paths for i in p}
            if join.item not in inside and not of_paths & inside and of_paths <= here | set(self.entries):
                chosen[join.item] = join
                inside |= of_paths
        found: list[Item | Parallel] = []
        for i in items:
            if i in chosen:
                found.append(self._parallel(chosen[i]))
            if i not in inside and i != EXIT and i not in self.entries:
                found.append(i)
        return tuple(found)

    def _parallel(self, join: Join) -> Parallel:
        labels = self.labels(join)
        paths = []
        for label, items in zip(labels, join.paths, strict=True):
            entry = next((i for i in items if i in self.entries), join.fork)
            inner = [i for i in items if i not in self.entries]
            paths.append(Path(label, entry, self._sequence(inner), self.identity(inner)))
        return Parallel(join.fork, join.item, tuple(paths))

    def labels(self, join: Join) -> list[str]:
        """Residual and shortcut where two paths of unlike weight are added, else numbers."""
        weights = [(sum(map(self.weight, p)), len(p)) for p in join.paths]
        added = join.item != EXIT and join.item in self.flow.operands and self.flow.join(join.item)[0] == "add"
        if added and len(weights) == 2 and weights[0] != weights[1]:
            return ["shortcut path" if w == min(weights) else "residual path" for w in weights]
        return [f"path {k}" for k in range(1, len(weights) + 1)]

    def _join(self, item: Item) -> Join:
        """Fork of a join, the items of every path to it, and whether the paths can be drawn side by side."""
        fork = self._dominators[item]
        paths = [self._upto(s, fork) for s in self.sources[item]]
        union = set().union(*paths)
        apart = len(union) == sum(map(len, paths))
        private = all(u in union or u == item for i in union for u in self.uses.get(i, []))
        order = {i: k for k, i in enumerate([*self.entries, *self.items])}
        return Join(item, fork, tuple(tuple(sorted(p, key=order.__getitem__)) for p in paths), apart and private)

    def _upto(self, item: Item, fork: Item) -> set[Item]:
        """Items between a fork and an item, the item included."""
        found: set[Item] = set()
        waiting = [item]
        while waiting:
            i = waiting.pop()
            if i != fork and i != self.root and i not in found:
                found.add(i)
                waiting += self.sources.get(i, ())
        return found

    def _dominated(self) -> dict[Item, Item]:
        """Nearest item that every way from the root to an item goes through (Cooper, Harvey and Kennedy, 2001)."""
        depth, above = {self.root: 0}, {self.root: self.root}

        def meet(a: Item, b: Item) -> Item:
            while a != b:
                if depth[a] >= depth[b]:
                    a = above[a]
                else:
                    b = above[b]
            return a

        for i in [e for e in self.entries if e != self.root] + [*self.items, EXIT]:
            sources = [s for s in self.sources.get(i, ()) if s in depth]
            at = sources[0] if sources else self.root
            for s in sources[1:]:
                at = meet(at, s)
            above[i], depth[i] = at, depth[at] + 1
        return above


def _size(join: Join) -> int:
    return sum(map(len, join.paths))


def scopes(flow: Flow, weight: Callable[[Item], float]) -> Iterator[Scope]:
    """Yield every call that calls another, the model first."""
    waiting = [ROOT]
    while waiting:
        call = waiting.pop(0)
        if call not in flow.leaf_calls:
            yield Scope(flow, call, weight)
            waiting += flow.children.get(call, [])


__all__ = ["EXIT", "SOURCE", "Join", "Parallel", "Path", "Scope", "scopes"]
