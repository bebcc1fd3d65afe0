"""An architecture diagram as values: what every view (text, JSON, Mermaid, picture) is drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """One thing in the diagram.

    Parameters
    ----------
    name : str
        Module path, ``:2`` from the second call on; of an operation between modules where it ran and its name:
        ``path/add``.
    role : {"module", "activation", "container", "identity", "operation", "untraced"}
    kind : str
        Class, or operation.
    detail : str
        Its parameters, in short.
    sources : tuple of str
        Where its values come from, of an operation one for each operand.
    shapes : tuple of shapes
        Of what it hands on.
    taken, given : str or None
        Classes of its input and output values on the traced image: ``silent``, ``binary``, ``integer`` or ``analog``.
    rate : float or None
        Of an activation whose values are all 0 or 1: their mean.
    join : str
        How it joins several sources (``add``, ``concatenate`` ...); empty where it does not.
    unused : bool
        It ran, and the model's output does not depend on it.
    elements : tuple
        What ran within it.
    """

    name: str
    role: str
    kind: str
    detail: str = ""
    sources: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    taken: str | None = None
    given: str | None = None
    rate: float | None = None
    join: str = ""
    unused: bool = False
    elements: tuple[Block | Fork, ...] = ()

    @property
    def only_joins(self) -> bool:
        """Whether this is an operation that joins values, and is drawn as a join and nothing else."""
        return self.role == "operation" and self.join == self.kind


@dataclass(frozen=True)
class Branch:
    """One path of a fork; `identity` where the value reaches the join as it is."""

    label: str
    source: str
    identity: bool
    elements: tuple[Block | Fork, ...]


@dataclass(frozen=True)
class Fork:
    """Parallel paths from `fork` to `join`; an empty join stands for the results of the call around it."""

    fork: str
    join: str
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Route:
    """One path to a join, as names from its fork on."""

    label: str
    identity: bool
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Meeting:
    """A join with its fork and paths; `nested` where the tree draws them side by side."""

    name: str
    kind: str
    detail: str
    fork: str
    nested: bool
    routes: tuple[Route, ...]


@dataclass(frozen=True)
class Module:
    """A module of the model, and what became of it: one of `STATUSES`."""

    path: str
    kind: str
    status: str
    calls: int
    parameters: int
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Activity:
    """What an activation gave on the traced image: class of its values, and their mean where they are spikes."""

    name: str
    kind: str
    units: int
    given: str
    rate: float | None


@dataclass(frozen=True)
class Diagram:
    """All that is drawn.

    Parameters
    ----------
    model : str
        Class of the model.
    traced : bool
        Whether a forward pass was traced; without one there are no shapes, edges, joins or activities.
    input : str
        What was traced, in words.
    weights : str
        Where the weights are from, in words; empty where nobody said so.
    shape : tuple of int
        Of the input.
    outputs : tuple of shapes
        Of what the model returns.
    parameters : tuple of (str, str)
        Global ones, by name.
    elements : tuple of Block or Fork
        The tree.
    edges : tuple of (str, str)
        Between leaves (calls that call no other module, operations between calls, ``image``, ``output`` or ``output n``):
        from which values reach which.
    joins : tuple of Meeting
    modules : tuple of Module
    counts : tuple of (str, int)
        Hardware building blocks that ran.
    activities : tuple of Activity
    versions : tuple of (str, str)
    """

    model: str
    traced: bool
    input: str
    weights: str
    shape: Shape
    outputs: tuple[Shape, ...]
    parameters: tuple[tuple[str, str], ...]
    elements: tuple[Block | Fork, ...]
    edges: tuple[tuple[str, str], ...]
    joins: tuple[Meeting, ...]
    modules: tuple[Module, ...]
    counts: tuple[tuple[str, int], ...]
    activities: tuple[Activity, ...]
    versions: tuple[tuple[str, str], ...]

    @property
    def blocks(self) -> Iterator[Block]:
        """Every block, in the order in which it is drawn."""
        return _blocks(self.elements)

    def summary(self) -> tuple[tuple[str, int], ...]:
        """Modules by status, calls, joins and parameters."""
        by = {s: sum(m.status == s for m in self.modules) for s in STATUSES if self.traced or s == "untraced"}
        shown = (
            {**by, "calls of modules": sum(m.calls for m in self.modules), "joins": len(self.joins)}
            if self.traced
            else by
        )
        return (("modules", len(self.modules)), *((k, n) for k, n in shown.items() if n or k != "untraced"),
                ("parameters", sum(m.parameters for m in self.modules)))  # fmt: skip


def output_names(number: int) -> list[str]:
    """Names of what a model returns: ``output``, or ``output 1`` ..."""
    return ["output"] if number == 1 else [f"output {k}" for k in range(1, number + 1)]


STATUSES = ("executed", "container", "identity", "unexecuted", "untraced")


def _blocks(elements: tuple[Block | Fork, ...]) -> Iterator[Block]:
    for e in elements:
        if isinstance(e, Block):
            yield e
            yield from _blocks(e.elements)
        else:
            for b in e.branches:
                yield from _blocks(b.elements)
