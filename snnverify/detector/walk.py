"""The data flow of the family, followed from a net's description alone: no module runs, and no torch is needed.

What a value is, is the affair of the operations: arrays (`simulate`) or classes of values (`readiness`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Unsupported

Node = Mapping[str, Any]
# "add", "mean over T", "mean over space", "image" and each kind of LEAVES -> operation on (path, node, value or values)
Operations = Mapping[str, Callable[[str, Node, Any], Any]]
LEAVES = (
    "Snn_Conv2d", "BatchNorm3d1", "BatchNorm3d2", "mem_update", "nn.SiLU", "nn.Identity", "nn.MaxPool3d", "nn.Upsample",
    "nn.Linear", "Concat", "Upsample",
)  # fmt: skip


def follow(tree: Node, operations: Operations, image: Any) -> Any:
    """Value that the last block gives; a list of them where it is a `Detect`.

    Parameters
    ----------
    tree : mapping
        Description of a `Detector` (`rebuild.describe`): ``kind``, ``attributes``, ``children``.
    operations : mapping
        What is done with values.
    image : Any
        Value of ``[B, C, H, W]``; operation ``image`` holds it for T steps.

    Raises
    ------
    Unsupported
        A description of anything else; names the module by its path.
    """
    if tree["kind"] != "Detector":
        raise Unsupported("the net", f"a {tree['kind']} is no whole detector or classifier of the family")
    kept: list[Any] = []
    y = operations["image"]("", tree, image)
    for name, block in tree["children"]["model"]["children"].items():
        sources = block["attributes"]["f"]
        taken = [y if j == -1 else kept[j] for j in (sources if isinstance(sources, list) else [sources])]
        y = _module(f"model.{name}", block, taken if isinstance(sources, list) else taken[0], operations)
        kept.append(y)
    return y


def _module(path: str, node: Node, x: Any, operations: Operations) -> Any:
    kind, below = node["kind"], node["children"]

    def child(name: str, value: Any) -> Any:
        return _module(f"{path}.{name}", below[name], value, operations)

    if kind in LEAVES:
        return operations[kind](path, node, x)
    if kind == "BasicBlock_2":
        return operations["add"](path, node, [child("residual_function", x), child("shortcut", x)])
    if kind == "Detect":
        scales = list(zip(below["m"]["children"], x, strict=True))
        each = [_module(f"{path}.m.{k}", below["m"]["children"][k], v, operations) for k, v in scales]
        return [operations["mean over T"](path, node, y) for y in each]
    if kind == "Classify":
        y = child("linear", operations["mean over space"](path, node, x))
        return operations["mean over T"](path, node, y)
    if kind in CHAINS:
        for name in CHAINS[kind] or below:
            x = child(name, x)
        return x
    raise Unsupported(path, f"what a {kind} does is not known here")


CHAINS: Mapping[str, tuple[str, ...]] = {
    "nn.Sequential": (), "Conv": ("conv", "bn", "act"), "Conv_A": ("conv", "bn", "act"), "Conv_1": ("conv", "bn"),
    "batch_norm_2d": ("bn",), "batch_norm_2d1": ("bn",), "Sample": ("up",),
}  # fmt: skip


def leaves(tree: Node, path: str = "") -> dict[str, Node]:
    """Every leaf of a description, by path."""
    if tree["kind"] in LEAVES:
        return {path: tree}
    found: dict[str, Node] = {}
    for name, node in tree["children"].items():
        found |= leaves(node, f"{path}.{name}" if path else name)
    return found
