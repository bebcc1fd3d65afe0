"""ANN import: a torch module becomes a `Network` by its graph of calls, not by a list of classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from ..errors import NetworkError, SnnverifyError, Unsupported
from ..network import INPUT, Branch, Network, Scale, Shape
from .drawing import Drawing, Site, Value, start
from .fold import fold
from .graph import node_path, trace
from .operations import CALLS, Rule, is_leaf, module_rule, refusal

Refused = Callable[[fx.Node, SnnverifyError], None]


def from_torch(model: nn.Module, input_shape: tuple[int, ...], *, fold_batchnorm: bool = True) -> Network:
    """Import a trained torch ANN; its values equal those of the model in eval mode.

    Parameters
    ----------
    model : nn.Module
        Takes one tensor and returns one. It is copied: its parameters and its train/eval flags stay as they are.
    input_shape : tuple of int
        Sample axes, channel first: (C,), (C, L) or (C, H, W).
    fold_batchnorm : bool
        False keeps every batch normalisation (and constant offset) as an analog layer of its own.

    Returns
    -------
    Network
        float64 parameters. A layer is named by the module path of its activation (of the linear operation where it has
        none), by the path and the fx node name for a functional call, with ``:2`` ... where a module is used again.

    Raises
    ------
    Unsupported
        Names the module path, the operation and what to do. Nothing is dropped silently.
    NetworkError
        The model does not run on `input_shape`; weights hold NaN or infinity; ``var + eps <= 0``.
    """
    check_shape(input_shape)
    root, graph = trace(model, tuple(input_shape), is_leaf)
    drawing, out = draw(root, graph, tuple(input_shape))
    if not isinstance(out, Value):
        raise Unsupported(
            "output", f"forward returns a {type(out).__name__}", "wrap the model so that forward returns one tensor"
        )
    if len(out.parts) > 1:
        raise Unsupported(
            "output",
            f"a concatenation of {', '.join(out.parts)}",
            "end the model in a linear layer or a 1x1 convolution",
        )
    name = out.parts[0]
    if name == INPUT:
        name = drawing.add("output", (Branch(Scale(1.0), INPUT),))
    network = Network(tuple(input_shape), drawing.upto(name), note=f"imported from {type(model).__name__}")
    return fold(network, frozenset() if fold_batchnorm else frozenset(drawing.separate))


def check_shape(input_shape: Shape) -> None:
    """Refuse what is not the shape of a sample."""
    if not 1 <= len(input_shape) <= 3 or any(not isinstance(n, int) or n < 1 for n in input_shape):
        raise NetworkError(f"input_shape = {input_shape!r}: sizes of one sample, (C,), (C, L) or (C, H, W)")


def draw(root: nn.Module, graph: fx.Graph, input_shape: Shape, refused: Refused | None = None) -> tuple[Drawing, Any]:
    """Draw every call of a traced graph as layers.

    Parameters
    ----------
    root, graph
        As `trace` returns them.
    input_shape : tuple of int
    refused : callable, optional
        Told of every node that cannot be drawn; the drawing goes on with a stand-in for its value. None raises.

    Returns
    -------
    drawing : Drawing
    output : Value, or whatever else forward returns
    """
    drawing = start(input_shape)
    values: dict[fx.Node, Any] = {}
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node.op == "output":
            return drawing, fx.node.map_arg(node.args[0], values.__getitem__)
        if node.op == "placeholder":
            values[node] = Value((INPUT,))
            continue
        try:
            values[node] = _value(node, drawing, root, values)
            _write(node, values, order)
        except SnnverifyError as e:
            if refused is None:
                raise
            refused(node, e)
            values[node] = _stand_in(drawing, node_path(node), node.meta["example"])
    raise AssertionError("a traced graph ends in its output")


def rule_of(node: fx.Node, root: nn.Module) -> tuple[Rule, dict[str, Any]] | None:
    """Rule of a call and the arguments that the called module holds; None where the table has none."""
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        found = module_rule(module)
        return None if found is None else (found[0], {name: getattr(module, name) for name in found[1]})
    rule = CALLS.get(node.target)
    return None if rule is None else (rule, {})


def _value(node: fx.Node, drawing: Drawing, root: nn.Module, values: dict[fx.Node, Any]) -> Any:
    """Value of a call: a constant where it does not depend on the input, else what its handler draws."""
    example = node.meta["example"]
    if not node.meta["live"]:
        return example
    path, operation = node_path(node), node.meta["operation"]
    found = rule_of(node, root)
    if found is None:
        raise Unsupported(path, *(f"{operation}: {refusal(operation)[0]}", refusal(operation)[1]))
    rule, held = found
    args: Any = fx.node.map_arg(node.args, values.__getitem__)
    kwargs: Any = fx.node.map_arg(node.kwargs, values.__getitem__)
    batch = next(iter(values)).meta["example"]  # the placeholder comes first
    tensor = isinstance(example, torch.Tensor)
    site = Site(
        drawing, path, operation,
        shape=tuple(example.shape[1:]) if tensor else (),
        whole_batch=tensor and example.ndim > 0 and len(example) == len(batch),
        same_type=tensor and example.dtype == batch.dtype,
    )  # fmt: skip
    try:
        bound = inspect.signature(rule.build).bind(site, *args, **held, **kwargs)
    except TypeError as e:
        raise site.refuse(
            f"its arguments ({e})", "call it with the arguments that the table of operations knows"
        ) from e
    try:
        return rule.build(*bound.args, **bound.kwargs)
    except NetworkError as e:
        raise NetworkError(f"{path}: {e}") from e


def _write(node: fx.Node, values: dict[fx.Node, Any], order: dict[fx.Node, int]) -> None:
    """Give every name of a tensor that the call wrote to the new value, as torch does."""
    for target in node.meta["written"]:
        if not target.meta["live"]:
            raise Unsupported(
                node_path(node), f"{node.meta['operation']} writes to a parameter or buffer", "keep no state in forward"
            )
        old = values[target]
        for other in list(values):
            if other is node or not other.meta["live"] or _storage(other) != _storage(target):
                continue
            if values[other] == old and _storage(node) == _storage(target):
                values[other] = values[node]
            elif any(order[user] > order[node] for user in other.users):
                raise Unsupported(
                    node_path(node), f"{node.meta['operation']} writes in place to a value that {other.name} views",
                    "use the form that is not in place",
                )  # fmt: skip


def _storage(node: fx.Node) -> int | None:
    example = node.meta["example"]
    return example.untyped_storage().data_ptr() if isinstance(example, torch.Tensor) else None


def _stand_in(drawing: Drawing, name: str, example: Any) -> Any:
    """A value of the shape that torch gave it, from no layer."""
    if isinstance(example, (tuple, list)):
        return tuple(_stand_in(drawing, name, e) for e in example)
    if not isinstance(example, torch.Tensor):
        return example
    name = drawing.free(name)
    drawing.shapes[name] = tuple(example.shape[1:])
    return Value((name,))
