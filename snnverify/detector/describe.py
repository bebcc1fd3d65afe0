"""From a model to its diagram."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..errors import ConfigError, DataError
from .blocks import SpikingActivation
from .diagram import Activity, Block, Branch, Diagram, Fork, Meeting, Module, Route, output_names
from .fidelity import device_of
from .flow import Flow, Item
from .letterbox import stride_of
from .memory import check_memory
from .trace import Call, Run, run
from .tree import EXIT, Parallel, Scope, scopes

SIDE = 64  # least side of a dummy image
# Words in torch's name of an operation -> the hardware building block that it takes; the first that is found.
KINDS = (
    ("upsample", "upsampling"), ("repeat_interleave", "upsampling"), ("conv", "convolution"), ("linear", "linear"),
    ("addmm", "linear"), ("matmul", "linear"), ("pool", "pool"), ("batch_norm", "norm"), ("layer_norm", "norm"),
    ("group_norm", "norm"), ("instance_norm", "norm"), ("silu", "SiLU"), ("relu", "ReLU"),
)  # fmt: skip
WEIGHTED = ("convolution", "linear")


def describe(
    model: nn.Module, image: Any = None, *, trace: bool = True, seed: int = 0, size: int | None = None, weights: str = "",
) -> Diagram:  # fmt: skip
    """Trace one forward pass of a copy of `model` and tell what ran, and how values flowed.

    Parameters
    ----------
    model : nn.Module
    image : array or tensor, optional
        Input of the traced pass, of the form that the model takes ([B, C, H, W] for the shipped family). Without it a dummy
        image is drawn, uniform in [0, 1), which the diagram says.
    trace : bool
        Without it every module is listed, and nothing is known of what would run.
    seed : int
        Of the dummy image.
    size : int, optional
        Side of the dummy image, a multiple of the model's stride; the smallest from 64 on by default.
    weights : str
        Where the weights are from, to be said in the diagram.

    Raises
    ------
    DataError
        An image that is no array of numbers, or that the model refuses.
    Unsupported
        A model that cannot be copied or run on the image; names the module.
    """
    if not trace:
        return _untraced(model, weights)
    if image is None and size is not None and size >= 1:
        check_memory(model, size, device=device_of(model), option="size")
    x, said = (_given(image, model), "a given input") if image is not None else dummy(model, seed, size)
    return _Describer(model, run(model, x), x).diagram(said, weights)


class _Describer:
    """A model and its run, by name."""

    def __init__(self, model: nn.Module, run: Run, image: torch.Tensor) -> None:
        self.model, self.run, self.image, self.flow = model, run, image, Flow(run)
        self.modules = dict(model.named_modules())
        self.names = {**self.flow.names, EXIT: ""}
        self.scopes = {s.call: s for s in scopes(self.flow, self._weight)}

    def diagram(self, said: str, weights: str) -> Diagram:
        root, outputs = self.run.calls[0], self.flow.outputs
        names = output_names(len(outputs))
        into = [(s, self.names[i]) for i in self._ordered() for s in map(self.names.__getitem__, self.flow.operands[i])]
        ends = [(self.names[i], name) for name, made in zip(names, outputs, strict=True) for i in made]
        elements = self._elements(0)
        return Diagram(
            type(self.model).__name__, True, said, weights, tuple(self.image.shape), root.outputs,
            _parameters(self.model, self.image), elements, tuple(dict.fromkeys(into + ends)),
            tuple(self._meetings()), tuple(self._statuses()), tuple(self._counts()), tuple(self._activities()), _versions(),
        )  # fmt: skip

    def _ordered(self) -> list[Item]:
        """Leaves in the order of execution."""
        began = {i: self.run.calls[i.call].began - 0.5 if not i.between else i.operation for i in self.flow.operands}
        return sorted(self.flow.operands, key=began.__getitem__)

    def _kinds(self, item: Item) -> set[str]:
        found = (next((kind for word, kind in KINDS if word in o.name), "") for o in self.flow.operations(item))
        return {kind for kind in found if kind}

    def _weight(self, item: Item) -> float:
        leaves = self.flow.leaves_within(item)
        return sum(bool(self._kinds(i) & set(WEIGHTED)) for i in leaves)

    def _elements(self, call: int) -> tuple[Block | Fork, ...]:
        scope = self.scopes[call]
        return tuple(self._element(e, scope) for e in scope.elements())

    def _element(self, e: Item | Parallel, scope: Scope) -> Block | Fork:
        if isinstance(e, Item):
            return self._block(e, scope)
        branches = (Branch(p.label, self.names[p.source], p.identity, tuple(self._element(i, scope) for i in p.elements))
                    for p in e.paths)  # fmt: skip
        return Fork(self.names[e.fork], self.names[e.join], tuple(branches))

    def _block(self, item: Item, scope: Scope) -> Block:
        name, unused = self.names[item], self.flow.unused(item)
        sources = tuple(self.names[s] for s in scope.sources[item])
        if item.between:
            o = self.run.operations[item.operation]
            kind, along = self.flow.join(item)
            named = kind not in ("", "memory")
            what, detail = (kind, along) if named else (o.name.rstrip("_"), o.detail)
            return Block(name, "operation", what, detail, sources, (o.shape,), join=kind, unused=unused)
        c = self.run.calls[item.call]
        m = self.modules[c.path]
        container = item.call in self.scopes
        active = not container and self._activation(item)
        role = "identity" if c.identity else "container" if container else "activation" if active else "module"
        join, along = ("", "") if container else self.flow.join(item)
        rate = c.rate if active else None
        inner = self._elements(item.call) if container else ()
        return Block(name, role, type(m).__name__, _detail(m) or along, sources, c.outputs, c.taken, c.given, rate, join,
                     unused, inner)  # fmt: skip

    def _meetings(self) -> Iterator[Meeting]:
        found = [(scope, join) for scope in self.scopes.values() for join in scope.joins.values()]
        when = {i: k for k, i in enumerate(self._ordered())}
        for scope, join in sorted((p for p in found if p[1].item in when), key=lambda p: when[p[1].item]):
            kind, detail = self.flow.join(join.item)
            if kind:
                inner = [tuple(i for i in p if i not in scope.entries) for p in join.paths]
                routes = tuple(Route(label, scope.identity(p), tuple(map(self.names.__getitem__, p)))
                               for label, p in zip(scope.labels(join), inner, strict=True))  # fmt: skip
                yield Meeting(self.names[join.item], kind, detail, self.names[join.fork], join.nested, routes)

    def _statuses(self) -> Iterator[Module]:
        calls: dict[str, list[Call]] = {}
        for c in self.run.calls:
            calls.setdefault(c.path, []).append(c)
        ran = set(calls) | self.run.touched
        for path, m in self.modules.items():
            mine = calls.get(path, [])
            if mine and all(c.identity for c in mine):
                status = "identity"
            elif any(c.index in self.flow.children for c in mine) or (not mine and _within(path, ran)):
                status = "container"
            else:
                status = "executed" if path in ran else "unexecuted"
            yield _module(self.model, path, m, status, len(mine))

    def _counts(self) -> Iterator[tuple[str, int]]:
        found: Counter[str] = Counter()
        for item in self.flow.operands:
            kind = self.flow.join(item)[0]
            if kind in ("add", "concatenate") and len(set(self.flow.operands[item])) > 1:
                found[{"add": "adds", "concatenate": "concatenations"}[kind]] += 1
            taken = None if item.between else self.run.calls[item.call].taken
            m = None if item.between else self.modules[self.run.calls[item.call].path]
            if isinstance(m, SpikingActivation):
                found["SiLU activations with memory" if m.act else "spiking activations"] += 1
                found["units with SiLU and memory" if m.act else "spiking neurons"] += self._units(item)
                continue
            for kind in self._kinds(item):
                by_input = f" of {taken or 'unclassed'} input" if kind in WEIGHTED else ""
                found[f"{PLURAL.get(kind, kind)}{by_input}"] += 1
        yield from sorted(found.items(), key=lambda p: (ORDER.index(p[0].split(" of ")[0]), p[0]))

    def _units(self, item: Item) -> int:
        """Values of one step of one image."""
        shapes = self.run.calls[item.call].outputs
        return prod(shapes[0][2:]) if shapes else 0

    def _activation(self, item: Item) -> bool:
        spiking = isinstance(self.modules[self.run.calls[item.call].path], SpikingActivation)
        return spiking or bool(self._kinds(item) & {"SiLU", "ReLU"})

    def _activities(self) -> Iterator[Activity]:
        for item in self._ordered():
            if item.between:
                continue
            c = self.run.calls[item.call]
            m = self.modules[c.path]
            if c.given and self._activation(item):
                yield Activity(self.names[item], _mode(m), self._units(item), c.given, c.rate)


PLURAL = {"convolution": "convolutions", "linear": "linear layers", "pool": "pools", "norm": "norms"}
ORDER = (
    "spiking activations", "spiking neurons", "SiLU activations with memory", "units with SiLU and memory", "convolutions",
    "linear layers", "adds", "concatenations", "pools", "norms", "upsampling", "SiLU", "ReLU",
)  # fmt: skip


def _untraced(model: nn.Module, weights: str) -> Diagram:
    def block(path: str, m: nn.Module) -> Block:
        children = tuple(block(f"{path}.{n}" if path else n, c) for n, c in m.named_children())
        return Block(path, "untraced", type(m).__name__, _detail(m), elements=children)

    return Diagram(
        type(model).__name__, False, "every module is listed, in the order of its definition; nothing ran", weights, (), (),
        _parameters(model, None), block("", model).elements or (block("", model),), (), (),
        tuple(_module(model, p, m, "untraced", 0) for p, m in model.named_modules()), (), (), _versions(),
    )  # fmt: skip


def _module(model: nn.Module, path: str, m: nn.Module, status: str, calls: int) -> Module:
    aliases = tuple(p for p, other in model.named_modules(remove_duplicate=False) if other is m and p != path)
    return Module(path, type(m).__name__, status, calls, sum(p.numel() for p in m.parameters(recurse=False)), aliases)


def _within(path: str, ran: set[str]) -> bool:
    return any(p.startswith(f"{path}.") for p in ran) if path else bool(ran)


def _detail(m: nn.Module) -> str:
    """Parameters of a module, in short."""
    if isinstance(m, SpikingActivation):
        c = m.constants
        return f"{_mode(m)}, T {c.steps}, threshold {c.threshold:g}, decay {c.decay:g}"
    pairs = [(getattr(m, f"in_{n}", None), getattr(m, f"out_{n}", None)) for n in ("channels", "features")]
    said = [f"{a} -> {b}" for a, b in pairs if a is not None and b is not None]
    for name, words, usual in (("kernel_size", "", None), ("stride", "stride ", 1), ("groups", "groups ", 1)):
        value = getattr(m, name, usual)
        numbers = value if isinstance(value, tuple) else (value,)
        # `Detect` has a stride, too: a tensor of one for each scale, which is none of a window
        if all(isinstance(n, int) for n in numbers) and any(n != usual for n in numbers):
            said.append(words + "x".join(map(str, numbers)))
    printed = ", ".join(said) or " ".join(m.extra_repr().split()).split(", eps=")[0]
    return printed if len(printed) <= 48 else f"{printed[:45]}..."


def _mode(m: nn.Module) -> str:
    if isinstance(m, SpikingActivation):
        inplace = bool(getattr(getattr(m, "actFun", None), "inplace", False))
        return ("SiLU in place" if inplace else "SiLU") if m.act else "binary"
    return type(m).__name__


def _parameters(model: nn.Module, image: torch.Tensor | None) -> tuple[tuple[str, str], ...]:
    """Global parameters: what the model's activations and attributes declare, and the input's channels."""
    activations = [m for m in model.modules() if isinstance(m, SpikingActivation)]
    constants = [m.constants for m in activations]
    modes = Counter(_mode(m) for m in activations)
    modes.update(type(m).__name__ for m in model.modules() if type(m).__module__ == "torch.nn.modules.activation"
                 and not any(m is c for a in activations for c in a.modules()))  # fmt: skip
    convolution = next((m for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
    channels = convolution.in_channels if convolution is not None else None
    if image is not None and image.dim() == 4:
        channels = image.shape[1]
    classes = next((getattr(model, n) for n in ("nc", "num_classes") if isinstance(getattr(model, n, None), int)), None)
    shown: tuple[tuple[str, Any], ...] = (
        ("time steps T", _all(c.steps for c in constants)), ("threshold", _all(f"{c.threshold:g}" for c in constants)),
        ("decay", _all(f"{c.decay:g}" for c in constants)), ("classes", classes), ("input channels", channels),
        ("activation", ", ".join(f"{kind} ({n})" for kind, n in modes.items()) or None),
    )  # fmt: skip
    return tuple((name, "not declared" if value is None else str(value)) for name, value in shown)


def _all(values: Any) -> str | None:
    return ", ".join(dict.fromkeys(map(str, values))) or None


def _given(image: Any, model: nn.Module) -> torch.Tensor:
    try:
        x = torch.as_tensor(image)
    except (TypeError, ValueError, RuntimeError) as e:
        raise DataError(f"image: a {type(image).__name__} that is no array of numbers; give [B, C, H, W]") from e
    return _placed(x, model)


def _placed(x: torch.Tensor, model: nn.Module) -> torch.Tensor:
    """On the model's device, and in its floating type."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)


def dummy(model: nn.Module, seed: int, size: int | None) -> tuple[torch.Tensor, str]:
    """Return an image that the model takes, uniform in [0, 1), and what is to be said of it."""
    stride = stride_of(model)
    side = size if size is not None else -(-SIDE // stride) * stride
    if side < 1:
        raise ConfigError(f"size = {size}: the side of an image is at least 1")
    convolution = next((m for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
    channels = convolution.in_channels if convolution is not None else 3
    x = torch.rand((1, channels, side, side), generator=torch.Generator().manual_seed(seed))
    said = f"a dummy image, uniform in [0, 1), seed {seed}: rates and classes of values are those of noise"
    return _placed(x, model), said


def _versions() -> tuple[tuple[str, str], ...]:
    return ("snnverify", __version__), ("torch", torch.__version__), ("python", platform.python_version())
