"""Reading a torch module as a graph of calls (torch.fx), with an example value and shape at every node.

The graph is traced from an eval-mode deep copy on the CPU: the caller's model, its flags and its parameters stay as they
are. While the graph is drawn every call also runs on an example batch, so that ``x.shape`` is plain integers in the
user's ``forward``, calls that write in place are seen, and calls that do not depend on the input are constants.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from ..errors import ConfigError, NetworkError, Unsupported
from ..network import Shape

_BATCH = 2  # of the example; not 1, so that squeeze() keeps the batch axis
_ROOT = "model"
_TRACE_REMEDY = "write forward without branches on tensor values, or convert the part that has none"


class BatchSize(int):
    """The batch size: it may be handed to view and compared; arithmetic on it would bake the example's size in."""


def _no_arithmetic(_self: BatchSize, *_: object) -> None:
    raise TypeError("arithmetic on the batch size; a sample must not depend on how many there are")


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(BatchSize, f"__{_name}__", _no_arithmetic)
    setattr(BatchSize, f"__r{_name}__", _no_arithmetic)
setattr(BatchSize, "__neg__", _no_arithmetic)  # noqa: B010 - mypy refuses the assignment


class _Proxy(fx.Proxy):
    """A traced value whose shape is known, and whose in-place arithmetic stays in place."""

    @property
    def shape(self) -> Any:
        example = self.node.meta.get("example")
        if not isinstance(example, torch.Tensor):
            return fx.proxy.Attribute(self, "shape")
        sizes = tuple(example.shape)
        return (BatchSize(sizes[0]), *sizes[1:]) if self.node.meta["live"] and sizes else sizes

    def size(self, dim: int | None = None) -> Any:
        if not isinstance(self.node.meta.get("example"), torch.Tensor):
            return self.tracer.create_proxy("call_method", "size", (self,) if dim is None else (self, dim), {})
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> Any:
        known = isinstance(self.node.meta.get("example"), torch.Tensor)
        return len(self.shape) if known else self.tracer.create_proxy("call_method", "dim", (self,), {})

    @property
    def ndim(self) -> Any:
        return self.dim()

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


class _Root(nn.Module):
    """Holds the model, so that a model that is one layer, or whose forward has defaults, is traced like any other."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> Any:
        return self.model(x)


class _Tracer(fx.Tracer):
    def __init__(self, is_leaf: Callable[[nn.Module], bool], example: torch.Tensor | None) -> None:
        super().__init__(autowrap_functions=())
        self._is_leaf, self._example, self._running = is_leaf, example, False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        self._running = True  # attributes as they are, not as proxies
        try:
            return self._is_leaf(m)
        finally:
            self._running = False

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._running:
            return forward(*args, **kwargs)
        path = module_path(self.path_of_module(m))
        try:
            return super().call_module(m, forward, args, kwargs)
        except (Unsupported, NetworkError):
            raise
        except Exception as e:  # whatever the user's forward raises under tracing
            raise Unsupported(path, f"its forward cannot be traced ({one_line(e)})", _TRACE_REMEDY) from e

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any) -> fx.Node:
        node = super().create_node(kind, target, args, kwargs, *rest, **named)
        depends = kind == "placeholder" or any(n.meta["live"] for n in node.all_input_nodes)
        node.meta["live"] = depends and not _reads_form(node)
        node.meta["operation"] = _operation(node, self.root)
        if self._example is not None and kind != "output":
            self._run(node)
        return node

    def _run(self, node: fx.Node) -> None:
        """Run one call on the examples; note which of its inputs it wrote to."""
        args, kwargs = (fx.node.map_arg(a, lambda n: n.meta["example"]) for a in (node.args, node.kwargs))
        inputs = [n for n in node.all_input_nodes if isinstance(n.meta["example"], torch.Tensor)]
        before = [n.meta["example"]._version for n in inputs]
        self._running = True
        try:
            node.meta["example"] = self._call(node, args, kwargs)
        except Exception as e:
            raise NetworkError(
                f"{node_path(node)}: {node.meta['operation']} fails on an input of shape {_shapes(inputs)}: {one_line(e)}; "
                "give the input_shape of one sample, channel first, that the model is made for"
            ) from e
        finally:
            self._running = False
        node.meta["written"] = [
            n for n, version in zip(inputs, before, strict=True) if n.meta["example"]._version != version
        ]

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "placeholder":
            return self._example
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.root)
        if node.op == "call_module":
            return self.root.get_submodule(str(node.target)).forward(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)


def eval_copy(model: nn.Module) -> nn.Module:
    """Return a deep copy in eval mode on the CPU, after refusing what a graph cannot show."""
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model = {model!r}: an nn.Module; wrap a function in one")
    for path, m in model.named_modules():
        if m._forward_hooks or m._forward_pre_hooks:
            raise Unsupported(
                path or _ROOT,
                "a forward hook is registered and a graph does not show what it does",
                "remove the hook (weight_norm: torch.nn.utils.parametrizations.weight_norm has none)",
            )
    parameters = [p for p in inspect.signature(model.forward).parameters.values() if p.default is p.empty]
    needed = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if len(needed) > 1:
        raise Unsupported(
            _ROOT,
            f"forward takes {len(needed)} inputs ({', '.join(needed)})",
            "wrap it so that forward takes one tensor",
        )
    try:
        return copy.deepcopy(model).eval().cpu()
    except Exception as e:
        raise Unsupported(
            _ROOT, f"it cannot be copied ({one_line(e)})", "convert a model that copy.deepcopy takes"
        ) from e


def trace(
    model: nn.Module, input_shape: Shape | None, is_leaf: Callable[[nn.Module], bool]
) -> tuple[nn.Module, fx.Graph]:
    """Trace an eval-mode copy of `model`.

    Parameters
    ----------
    model : nn.Module
    input_shape : tuple of int or None
        Sample axes, channel first; None draws the graph without example values.
    is_leaf : callable
        Whether a module is one node.

    Returns
    -------
    root : nn.Module
        Holds the copy; what the nodes' targets are attributes of.
    graph : fx.Graph
        ``node.meta``: "operation" (class of the module, name of the function, ``.method``), "live" (whether the value
        depends on the input; its shape and type do not), and with an `input_shape` "example" (the value on the example
        batch) and "written" (the input nodes that the call wrote to).

    Raises
    ------
    Unsupported
        A forward hook, several inputs, a model that cannot be copied or traced.
    NetworkError
        The model does not run on `input_shape`.
    ConfigError
        `model` is no module.
    """
    root = _Root(eval_copy(model))
    floating = [p.dtype for p in root.parameters() if p.is_floating_point()]
    example = None
    if input_shape is not None:
        example = torch.zeros((_BATCH, *input_shape), dtype=floating[0] if floating else torch.float32)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return root, _Tracer(is_leaf, example).trace(root)


def module_path(qualified: str) -> str:
    """Path of a module below the user's model; ``model`` for the model itself."""
    return qualified.removeprefix(_ROOT).removeprefix(".") or _ROOT


def node_path(node: fx.Node) -> str:
    """Module path of a module call; of any other call the path of the module it is in, then the fx node name."""
    if node.op == "call_module":
        return module_path(str(node.target))
    stack = node.meta.get("nn_module_stack")
    scope = module_path(next(reversed(stack.values()))[0]) if stack else _ROOT
    return node.name if scope == _ROOT else f"{scope}.{node.name}"


def _operation(node: fx.Node, root: nn.Module) -> str:
    if node.op == "call_module":
        return type(root.get_submodule(str(node.target))).__name__
    if node.op == "call_method":
        return f".{node.target}"
    return str(getattr(node.target, "__name__", node.target)) if node.op == "call_function" else node.op


def _reads_form(node: fx.Node) -> bool:
    """Whether a call reads a property that every input of the shape and type has in common."""
    if node.op == "call_method":
        return node.target in ("size", "dim")
    return node.target is getattr and node.args[1] in ("shape", "ndim", "dtype", "device")


def one_line(error: Exception) -> str:
    """Type and first line of an error's text."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _shapes(nodes: list[fx.Node]) -> str:
    return ", ".join(
        str(tuple(n.meta["example"].shape[1:] if n.meta["live"] else n.meta["example"].shape)) for n in nodes
    )
