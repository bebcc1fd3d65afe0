"""What the reader of checkpoints knows of each class: which attributes make it, what stands below it, how it is made.

Everything is made on torch's ``meta`` device, so that sizes in a hostile file take no memory before stored tensors have
met them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from . import blocks
from .blocks import Constants
from .model import Detector
from .pickled import Call, Instance

NEEDED: Any = object()
Attributes = Mapping[str, Any]


def whole(value: Any) -> int:
    """A whole number."""
    if type(value) is not int or abs(value) >= 2**31:
        raise ValueError("it is no whole number")
    return value


def number(value: Any) -> float | int:
    """A finite number."""
    if type(value) not in (int, float) or not abs(value) < float("inf"):
        raise ValueError("it is no finite number")
    return value  # type: ignore[no-any-return]


def flag(value: Any) -> bool:
    """True or false, or 1 or 0, as some nets have it."""
    if type(value) not in (bool, int) or value not in (0, 1):
        raise ValueError("it is neither true nor false")
    return bool(value)


def text(value: Any) -> str:
    """A text."""
    if type(value) is not str:
        raise ValueError("it is no text")
    return value


def size(value: Any) -> int | list[int]:
    """A whole number, or one for each axis."""
    return [whole(n) for n in value] if isinstance(value, (tuple, list)) else whole(value)


def indices(value: Any) -> list[int]:
    """A list of whole numbers."""
    if not isinstance(value, (tuple, list)):
        raise ValueError("it is no list of indices")
    return [whole(n) for n in value]


def scale(value: Any) -> float | int | list[float | int]:
    """A number, or one for each axis."""
    return [number(n) for n in value] if isinstance(value, (tuple, list)) else number(value)


def plain(value: Any, depth: int = 0) -> Any:
    """Mappings, lists, texts and numbers; what JSON holds."""
    if depth > 20:
        raise ValueError("it is nested too deep")
    if isinstance(value, Mapping) and not isinstance(value, (Call, Instance)):
        return {str(k): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v, depth + 1) for v in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ValueError(f"it holds a {type(value).__name__}")


def optional(reader: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What `reader` reads, or nothing."""
    return lambda value: None if value is None else reader(value)


def constants(value: Any) -> dict[str, Any]:
    """T, threshold and decay, where the family that the checkpoint is of has them as an object."""
    held = asdict(value) if isinstance(value, Constants) else value
    if isinstance(value, Instance) and value.kind.endswith(".Constants"):
        held = value.state
    if not isinstance(held, Mapping) or set(held) != {"steps", "threshold", "decay"}:
        raise ValueError("it holds other things than steps, threshold and decay")
    found = {"steps": whole(held["steps"]), "threshold": number(held["threshold"]), "decay": number(held["decay"])}
    Constants(**found)  # type: ignore[arg-type]
    return found


def names(value: Any) -> list[str]:
    """Names of classes, as a list or by number."""
    listed = [value[k] for k in sorted(value)] if isinstance(value, Mapping) else value
    if not isinstance(listed, (tuple, list)):
        raise ValueError("it is no list of names")
    return [text(n) for n in listed]


def _shell(cls: type[nn.Module], **attributes: Any) -> Any:
    """An instance without children and tensors: those of the checkpoint are put in."""
    module: Any = cls.__new__(cls)
    nn.Module.__init__(module)
    vars(module).update(attributes)
    return module


def _tuples(a: Attributes) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in a.items()}


@dataclass(frozen=True)
class Kind:
    """One class.

    Parameters
    ----------
    make : callable
        (attributes, names of its own tensors) -> module without children, tensors on ``meta``.
    attributes : mapping
        Name -> (reader, value where there is none). A reader raises ValueError with the reason.
    children : mapping, optional
        Name -> kinds that may stand there; without it, anything may.
    absent : tuple of str
        Children that need not be there.
    held : callable
        Node -> what is wrong with it, or nothing.
    """

    make: Callable[[Attributes, frozenset[str]], nn.Module]
    attributes: Mapping[str, tuple[Callable[[Any], Any], Any]] = field(default_factory=dict)
    children: Mapping[str, tuple[str, ...]] | None = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    held: Callable[[Mapping[str, Any]], str] = lambda node: ""


def _norm(cls: type[nn.BatchNorm3d]) -> Callable[[Attributes, frozenset[str]], nn.Module]:
    def make(a: Attributes, _: frozenset[str]) -> nn.Module:
        module = cls.__new__(cls)
        nn.BatchNorm3d.__init__(module, a["num_features"], **{k: v for k, v in a.items() if k != "num_features"})
        return module

    return make


def _memory(a: Attributes, _: frozenset[str]) -> nn.Module:
    held = None if a["constants"] is None else Constants(**a["constants"])
    return _shell(blocks.mem_update, act=a["act"], constants=held)  # type: ignore[no-any-return]


def _detect(a: Attributes, _: frozenset[str]) -> nn.Module:
    module = _shell(blocks.Detect, **{k: a[k] for k in ("nc", "no", "nl", "na")})
    module.register_buffer("anchors", torch.empty(a["nl"], a["na"], 2))
    if a["stride"] is not None:
        module.stride = torch.tensor(a["stride"], device="cpu")
    return module  # type: ignore[no-any-return]


def _detector(a: Attributes, _: frozenset[str]) -> nn.Module:
    held = None if a["constants"] is None else Constants(**a["constants"])
    return _shell(Detector, **{**a, "constants": held})  # type: ignore[no-any-return]


def _only_space(node: Mapping[str, Any]) -> str:
    a = node["attributes"]
    for name, neutral in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        depth = a[name][0] if isinstance(a[name], list) else a[name]
        if depth != neutral:
            return f"{name} = {a[name]} pools over time or channels, not in space alone"
    return ""


def _shortcut(node: Mapping[str, Any]) -> str:
    first = next(iter(node["children"]["shortcut"]["children"].values()), {"kind": "nn.MaxPool3d"})
    return "" if first["kind"] == "nn.MaxPool3d" else f"its shortcut begins with {first['kind']}, not with the pooling"


def _detects(node: Mapping[str, Any]) -> str:
    a, maps = node["attributes"], node["children"]["m"]["children"].values()
    outputs = [m["attributes"].get("out_channels") for m in maps]
    if a["no"] != a["nc"] + 5 or outputs != [a["no"] * a["na"]] * a["nl"]:
        return f"{a['nc']} classes, {a['na']} anchors, {a['nl']} scales do not give the channels {outputs}"
    return ""


def _graph(node: Mapping[str, Any]) -> str:
    """Every block takes what earlier ones have kept: the wiring, as `Detector.forward` follows it."""
    blocks_of = node["children"]["model"]["children"]
    needed = set()
    for at, (name, block) in enumerate(blocks_of.items()):
        source, i = block["attributes"].get("f"), block["attributes"].get("i")
        sources = source if isinstance(source, list) else [source]
        if i != at or any(type(j) is not int or not -at <= j < at for j in sources if (at, j) != (0, -1)):
            return f"block {name}: i = {i}, f = {source}, which is no earlier block"
        if isinstance(source, list) != (block["kind"] in ("Concat", "Detect")) or source == []:
            return (
                f"block {name} ({block['kind']}): f = {source}, one index of a block, or a list of them where it joins"
            )
        needed |= {j % at for j in sources if j != -1}
    lost = sorted(needed - set(node["attributes"]["save"]))
    return (
        f"its save = {node['attributes']['save']} lacks {lost}, which later blocks take"
        if lost or not blocks_of
        else ""
    )


def _equals(name: str, value: Any, why: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda node: "" if node["attributes"][name] == value else f"{name} = {node['attributes'][name]!r}: {why}"


def _each(reader: Callable[[Any], Any], *attributes: str) -> dict[str, tuple[Callable[[Any], Any], Any]]:
    return dict.fromkeys(attributes, (reader, NEEDED))


_NORM = {
    **_each(whole, "num_features"), **_each(number, "eps"), "momentum": (optional(number), NEEDED),
    **_each(flag, "affine", "track_running_stats"),
}  # fmt: skip
_CONV = {
    **_each(whole, "in_channels", "out_channels"), **_each(size, "kernel_size", "stride", "padding", "dilation"),
    **_each(whole, "groups"), "padding_mode": (text, "zeros"),
}  # fmt: skip
_ACTS = ("mem_update", "nn.SiLU", "nn.Identity")
_PAIR = {"conv": ("Snn_Conv2d",), "bn": ("batch_norm_2d",)}

KINDS: dict[str, Kind] = {
    "Detector": Kind(
        _detector,
        {"yaml": (plain, {}), "constants": (optional(constants), None), "save": (indices, NEEDED),
         "stride": (optional(scale), None), "nc": (optional(whole), None), "names": (optional(names), None)},
        {"model": ("nn.Sequential",)}, held=_graph,
    ),
    "mem_update": Kind(
        _memory, {"act": (flag, False), "constants": (optional(constants), None)}, {"actFun": ("nn.SiLU",)}, ("actFun",),
        lambda node: "it emits SiLU and has no actFun" if node["attributes"]["act"] and not node["children"] else "",
    ),
    "Snn_Conv2d": Kind(
        lambda a, tensors: blocks.Snn_Conv2d(**_tuples(a), bias="bias" in tensors), _CONV,
        held=_equals("padding_mode", "zeros", "the family pads with zeros"),
    ),
    "BatchNorm3d1": Kind(_norm(blocks.BatchNorm3d1), _NORM),
    "BatchNorm3d2": Kind(_norm(blocks.BatchNorm3d2), _NORM),
    "batch_norm_2d": Kind(lambda a, _: _shell(blocks.batch_norm_2d), children={"bn": ("BatchNorm3d1",)}),
    "batch_norm_2d1": Kind(lambda a, _: _shell(blocks.batch_norm_2d1), children={"bn": ("BatchNorm3d2",)}),
    "Conv": Kind(lambda a, _: _shell(blocks.Conv), children={**_PAIR, "act": _ACTS}),
    "Conv_A": Kind(lambda a, _: _shell(blocks.Conv_A), children={**_PAIR, "act": _ACTS}),
    "Conv_1": Kind(lambda a, _: _shell(blocks.Conv_1), children=_PAIR),
    "BasicBlock_2": Kind(
        lambda a, _: _shell(blocks.BasicBlock_2),
        children={"residual_function": ("nn.Sequential",), "shortcut": ("nn.Sequential",)}, held=_shortcut,
    ),
    "Concat": Kind(
        lambda a, _: blocks.Concat(), {"d": (whole, 2)}, held=_equals("d", 2, "of [T, B, C, H, W] the channels are axis 2")
    ),
    "Upsample": Kind(lambda a, _: blocks.Upsample(a["scale"]), _each(whole, "scale")),
    "Sample": Kind(lambda a, _: _shell(blocks.Sample), children={"up": ("nn.Upsample",)}),
    "Detect": Kind(
        _detect, {**_each(whole, "nc", "no", "nl", "na"), "stride": (optional(scale), None)}, {"m": ("nn.ModuleList",)},
        held=_detects,
    ),
    "Classify": Kind(lambda a, _: _shell(blocks.Classify), children={"linear": ("nn.Linear",)}),
    "nn.Sequential": Kind(lambda a, _: nn.Sequential(), children=None),
    "nn.ModuleList": Kind(lambda a, _: nn.ModuleList(), children=None),
    "nn.SiLU": Kind(lambda a, _: nn.SiLU(**a), {"inplace": (flag, False)}),
    "nn.Identity": Kind(lambda a, _: nn.Identity()),
    "nn.Linear": Kind(
        lambda a, tensors: nn.Linear(**a, bias="bias" in tensors), _each(whole, "in_features", "out_features")
    ),
    "nn.MaxPool3d": Kind(
        lambda a, _: nn.MaxPool3d(**_tuples(a)),
        {**_each(size, "kernel_size", "stride", "padding", "dilation"), "ceil_mode": (flag, False)}, held=_only_space,
    ),
    "nn.Upsample": Kind(
        lambda a, _: nn.Upsample(**_tuples(a)),
        {"size": (optional(size), None), "scale_factor": (optional(scale), None), "mode": (text, NEEDED),
         "align_corners": (optional(flag), None)},
    ),
}  # fmt: skip
# Names that checkpoints have for the same class.
ALIASES = {"Model": "Detector", "DetectionModel": "Detector"}
