"""A network while it is drawn from a graph: layers so far, shapes, and what a traced value is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from ..activation import Act
from ..errors import Unsupported
from ..network import INPUT, Array, Branch, Layer, Op, Shape, output_shape
from .graph import BatchSize


@dataclass(frozen=True)
class Value:
    """An activation: the channel-wise concatenation of layers (most often of one)."""

    parts: tuple[str, ...]


@dataclass
class Drawing:
    """The layers drawn so far.

    Attributes
    ----------
    shapes : dict
        Sample shape of the input and of every layer.
    layers : list of Layer
    separate : set of str
        Layers that ``fold_batchnorm=False`` keeps: batch normalisations and constant offsets.
    """

    shapes: dict[str, Shape]
    layers: list[Layer] = field(default_factory=list)
    separate: set[str] = field(default_factory=set)

    def add(self, name: str, branches: tuple[Branch, ...], act: Act = None) -> str:
        """Append a layer; a name that is taken gets ``:2``, ``:3`` ... Returns the name."""
        name = self.free(name)
        self.shapes[name] = output_shape(branches[0].op, self.shapes[branches[0].source])
        self.layers.append(Layer(name, branches, act))
        return name

    def free(self, name: str) -> str:
        """Return `name`, numbered where it is taken."""
        number, free = 1, name
        while free in self.shapes:
            number += 1
            free = f"{name}:{number}"
        return free

    def upto(self, output: str) -> tuple[Layer, ...]:
        """Layers that `output` depends on, in order, `output` last."""
        wanted, kept = {output}, []
        for layer in reversed(self.layers):
            if layer.name in wanted:
                wanted.update(b.source for b in layer.branches)
                kept.append(layer)
        return tuple(reversed(kept))


@dataclass(frozen=True)
class Site:
    """Where a call stands: what an operation's handler draws on.

    Attributes
    ----------
    drawing : Drawing
    path : str
        Module path of the call; the name of the layers that it makes.
    operation : str
        What is called.
    shape : tuple of int
        Sample shape of the call's result, as torch gave it.
    whole_batch : bool
        Whether the result still has the example's batch axis.
    same_type : bool
        Whether the result has the model's floating type.
    """

    drawing: Drawing
    path: str
    operation: str
    shape: Shape
    whole_batch: bool
    same_type: bool

    def refuse(self, why: str, remedy: str) -> Unsupported:
        """Return the error that names this call."""
        return Unsupported(self.path, f"{self.operation}: {why}", remedy)

    def shape_of(self, x: Value) -> Shape:
        """Sample shape of a value."""
        shapes = [self.drawing.shapes[p] for p in x.parts]
        return (sum(s[0] for s in shapes), *shapes[0][1:])

    def slices(self, x: Value) -> Iterator[tuple[str, slice]]:
        """Each part with its place on the channel axis."""
        start = 0
        for p in x.parts:
            stop = start + self.drawing.shapes[p][0]
            yield p, slice(start, stop)
            start = stop

    def layer(self, branches: tuple[Branch, ...], act: Act = None) -> Value:
        """Draw one layer."""
        return Value((self.drawing.add(self.path, branches, act),))

    def each(self, x: Value, op: Op, act: Act = None) -> Value:
        """Draw one layer per part, all with the same operation."""
        return Value(tuple(self.drawing.add(self.path, (Branch(op, p),), act) for p in x.parts))


def activation(at: Site, x: object) -> Value:
    """Return `x` if it is an activation, else refuse."""
    if not isinstance(x, Value):
        raise at.refuse("the activation is not where the weights are expected", "call it as torch documents it")
    return x


def array(at: Site, weight: object) -> Array:
    """Return float64 values of a weight."""
    if not isinstance(weight, torch.Tensor):
        raise at.refuse("a weight is computed from the input", "use weights that are parameters")
    if not weight.is_floating_point():
        raise at.refuse(f"weights of type {weight.dtype}", "convert the float model, then quantise the Network")
    return np.array(weight.detach().to(torch.float64).cpu().numpy())


def channelwise(at: Site, value: object, shape: Shape) -> Array | float:
    """Read a constant beside an activation of sample `shape`: shape () or (C,), float64; refuse any other."""
    if isinstance(value, BatchSize):
        raise at.refuse("the batch size as a number", "a sample must not depend on how many there are")
    if isinstance(value, (bool, complex)) or not isinstance(value, (int, float, torch.Tensor)):
        raise at.refuse(f"an operand of type {type(value).__name__}", "use a number or a tensor per channel")
    if not isinstance(value, torch.Tensor):
        return float(value)
    a = np.array(value.detach().to(torch.float64).cpu().numpy())
    if a.size == 1:
        return float(a.reshape(()))
    full = (1,) * (len(shape) + 1 - a.ndim) + a.shape
    if full[:2] != (1, shape[0]) or math.prod(full) != shape[0]:
        raise at.refuse(
            f"a constant of shape {a.shape} beside samples of shape {shape}",
            f"give it one value per channel ({shape[0]})",
        )
    return a.reshape(-1)


def start(input_shape: Shape) -> Drawing:
    """Return an empty drawing that knows its input."""
    return Drawing({INPUT: input_shape})
