"""Before any conversion: what of a torch model converts exactly, what approximately, and what not at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from torch import fx, nn

from ..errors import NetworkError, SnnverifyError, Unsupported
from .drawing import Drawing, Value
from .fold import rewrite, why_stuck
from .graph import node_path, trace
from .operations import BATCH_NORM, Verdict, is_leaf, module_rule, refusal
from .torch_import import check_shape, draw, rule_of


@dataclass(frozen=True)
class LayerVerdict:
    """What the conversion keeps of one call of the model.

    Attributes
    ----------
    path : str
        Module path; for a functional call the path of the module it is in and the fx node name.
    operation : str
    verdict : {"exact", "approximate", "unsupported"}
    why : str
    remedy : str
        Empty where nothing needs to be done.
    inputs : int
        Values that it takes which depend on the model's input.
    """

    path: str
    operation: str
    verdict: Verdict
    why: str
    remedy: str = ""
    inputs: int = 1


def analyze(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> list[LayerVerdict]:
    """Judge every call of a model; the first problem does not hide the others.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    input_shape : tuple of int, optional
        Sample axes, channel first. Without it operations are judged by the table alone, not by their shapes.

    Returns
    -------
    list of LayerVerdict
        In the order of computation. Where the model cannot be traced, a row says why and one row per module follows.
    """
    rows = []
    if model.training:
        rows.append(LayerVerdict("model", "training mode", "exact", "it is converted as in eval mode",
                                 "call model.eval() before measuring its accuracy"))  # fmt: skip
    try:
        if input_shape is not None:
            check_shape(input_shape)
        root, graph = trace(model, None if input_shape is None else tuple(input_shape), is_leaf)
    except (Unsupported, NetworkError) as e:
        return [*rows, _refused("model", "tracing", e), *_by_module(model)]
    return rows + (_by_table(root, graph) if input_shape is None else _by_drawing(root, graph, tuple(input_shape)))


def _by_drawing(root: nn.Module, graph: fx.Graph, input_shape: tuple[int, ...]) -> list[LayerVerdict]:
    """Judge by drawing the network; a call that cannot be drawn gets a row, and a stand-in for its value."""
    refused: dict[fx.Node, SnnverifyError] = {}
    drawing, out = draw(root, graph, input_shape, refused.__setitem__)
    stuck = _stuck(drawing)
    rows = [
        _refused(node_path(node), node.meta["operation"], refused[node])
        if node in refused
        else _judged(node, root, stuck)
        for node in _calls(graph)
    ]
    if not isinstance(out, Value) or len(out.parts) > 1:
        what = "a concatenation" if isinstance(out, Value) else f"a {type(out).__name__}"
        rows.append(LayerVerdict("output", "output", "unsupported", f"forward returns {what}",
                                 "return one tensor, of one layer"))  # fmt: skip
    return _told_of_sharing(rows, graph)


def _by_table(root: nn.Module, graph: fx.Graph) -> list[LayerVerdict]:
    unseen = LayerVerdict("model", "input_shape", "approximate", "not given: neither shapes nor folding are judged",
                          "give input_shape")  # fmt: skip
    return [unseen, *_told_of_sharing([_judged(node, root, {}) for node in _calls(graph)], graph)]


def _by_module(model: nn.Module) -> list[LayerVerdict]:
    """One row per module that has a rule or no children; functional calls are not seen."""
    rows = []
    for path, module in model.named_modules():
        found, operation = module_rule(module), type(module).__name__
        if found is not None:
            rows.append(LayerVerdict(path, operation, found[0].verdict, found[0].why, found[0].remedy))
        elif not any(module.children()):
            rows.append(LayerVerdict(path, operation, "unsupported", *refusal(operation)))
    return rows


def _calls(graph: fx.Graph) -> list[fx.Node]:
    calls = ("call_module", "call_function", "call_method")
    return [node for node in graph.nodes if node.op in calls and node.meta["live"]]


def _judged(node: fx.Node, root: nn.Module, stuck: dict[str, tuple[str, str]]) -> LayerVerdict:
    path, operation = node_path(node), node.meta["operation"]
    found = rule_of(node, root)
    if found is None:
        return LayerVerdict(path, operation, "unsupported", *refusal(operation))
    rule = found[0]
    for name, (why, remedy) in stuck.items():
        if name.split(":")[0] == path:
            return LayerVerdict(path, operation, "unsupported", why, remedy)
    if rule is BATCH_NORM and node.op == "call_module" and found[1]["running_mean"] is None:
        return LayerVerdict(path, operation, "unsupported", "it has no running statistics", "train with them")
    return LayerVerdict(path, operation, rule.verdict, rule.why, rule.remedy)


def _stuck(drawing: Drawing) -> dict[str, tuple[str, str]]:
    """Reason and remedy for every layer that cannot be folded."""
    if not drawing.layers:
        return {}
    try:
        layers, stuck = rewrite(tuple(drawing.layers), dict(drawing.shapes), frozenset())
    except NetworkError:  # layers around a stand-in need not fit; the row of what it stands for says so
        return {}
    return {name: why_stuck(name, reader, layers) for name, reader in stuck.items()}


def _told_of_sharing(rows: list[LayerVerdict], graph: fx.Graph) -> list[LayerVerdict]:
    """Say of a module that is called more than once that each use is a layer of its own."""
    uses = Counter(node_path(node) for node in _calls(graph) if node.op == "call_module")
    live = [sum(n.meta["live"] for n in node.all_input_nodes) for node in _calls(graph)]
    live += [1] * (len(rows) - len(live))  # the row of the output
    rows = [replace(r, inputs=n) for r, n in zip(rows, live, strict=True)]
    return [
        replace(r, why=f"{r.why}; used {uses[r.path]} times, each use with a threshold of its own")
        if uses[r.path] > 1
        else r
        for r in rows
    ]


def _refused(path: str, operation: str, error: SnnverifyError) -> LayerVerdict:
    if isinstance(error, Unsupported):
        return LayerVerdict(error.where, operation, "unsupported", error.what, error.remedy)
    return LayerVerdict(path, operation, "unsupported", str(error))
