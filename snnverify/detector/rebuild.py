"""A net as a tree of classes, attributes and named tensors, and the shipped family made from it again.

The same reading serves what a pickle holds (`pickled.Instance`) and a live module, because a module's pickled state is
its ``__dict__``. A net that is rebuilt is read once more, and both readings must be equal in structure and bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..errors import DataError, SnnverifyError, Unsupported
from .kinds import ALIASES, KINDS, NEEDED
from .pickled import Call, Instance

Node = dict[str, Any]
MOST = 1 << 16  # modules: a file whose parts stand below one another twice names 2^n of them in n lines
_ROUTE = ("i", "f")


@dataclass
class Description:
    """A net, described.

    Parameters
    ----------
    tree : mapping
        ``kind``, ``attributes``, ``parameters`` and ``buffers`` (names), ``children`` (trees by name); ``same``, the path
        where the very module stood before, of one that stands at several: JSON.
    tensors : mapping of str to torch.Tensor
        By path.
    classes : mapping of str to str
        Class in the source -> kind that it was taken for.
    unused : mapping of str to int
        ``Kind.attribute`` -> how often it was there; nothing of the rebuilt net depends on them.
    modules : int
        How many there are, by path.
    """

    tree: Node = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    unused: Counter[str] = field(default_factory=Counter)
    modules: int = 0
    places: dict[int, tuple[str, Any]] = field(
        default_factory=dict
    )  # by identity, which holds as long as the object does


def describe(net: Instance | nn.Module, tensor: Callable[[Any], torch.Tensor] = lambda value: value) -> Description:
    """Describe a net of the family.

    Parameters
    ----------
    net : Instance or torch.nn.Module
    tensor : callable
        Makes a tensor of what stands for one in the source.

    Raises
    ------
    Unsupported
        A class, an attribute or a hook that the family does not have; names the module by its path.
    DataError
        Tensors that are damaged, or a net that is nested without end.
    """
    found = Description()
    try:
        found.tree = _node(net, "", found, tensor)
    except RecursionError:
        raise DataError("the net is nested too deep, or holds itself") from None
    return found


def _node(net: Any, path: str, found: Description, tensor: Callable[[Any], torch.Tensor]) -> Node:
    where = path or "the net"
    source, state = _parts(net, where)
    name = ALIASES.get(source.rpartition(".")[2], source.rpartition(".")[2])
    name = f"nn.{name}" if source.startswith("torch.nn.modules.") else name
    kind = KINDS.get(name)
    if kind is None:
        raise Unsupported(where, f"no class of the family: {source}", "of such a net give the state_dict and --model")
    found.classes[source] = name
    found.modules += 1
    if found.modules > MOST:
        raise DataError(f"the net has more than {MOST} modules")
    for key, value in state.items():
        if not isinstance(key, str) or key == "forward" or (key.endswith("_hooks") and value):
            raise Unsupported(where, f"{key} is code of its own", "save the net without it")
    attributes = {key: _attribute(state, key, *rule, where, tensor) for key, rule in kind.attributes.items()}
    attributes |= {k: _attribute(state, k, _route, NEEDED, where, tensor) for k in _ROUTE if k in state}
    own = {part: _own(state, f"_{part}", path, found, tensor) for part in ("parameters", "buffers")}
    below = state.get("_modules", {})
    if not isinstance(below, Mapping) or any(type(k) is not str or not k or "." in k for k in below):
        raise Unsupported(where, "its children are no named modules")
    children = {k: _node(v, f"{path}.{k}" if path else k, found, tensor) for k, v in below.items() if v is not None}
    public = {k for k in state if k not in _ROUTE and not k.startswith("_") and k not in attributes and k != "training"}
    found.unused.update(f"{name}.{k}" for k in public)
    node = {"kind": name, "attributes": attributes, **own, "children": children}
    first = found.places.setdefault(id(net), (path, net))[0]
    if first != path:
        node["same"] = first
    _fits(node, where)
    return node


def _parts(net: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(net, Instance):
        return net.kind, net.state
    if isinstance(net, nn.Module):
        return f"{type(net).__module__}.{type(net).__qualname__}", vars(net)
    raise Unsupported(where, f"a {type(net).__name__} stands where a module belongs")


def _attribute(
    state: Mapping[str, Any], key: str, reader: Callable[[Any], Any], default: Any, where: str,
    tensor: Callable[[Any], torch.Tensor],
) -> Any:  # fmt: skip
    value = state.get(key, default)
    if value is NEEDED:
        raise Unsupported(where, f"it has no attribute {key}")
    try:
        if isinstance(value, (Call, torch.Tensor)):
            value = _numbers(tensor(value))
        return reader(value)
    except (ValueError, TypeError, AttributeError, KeyError) as e:
        if isinstance(e, DataError):
            raise
        raise Unsupported(where, f"its attribute {key}: {e}") from e


def _numbers(values: torch.Tensor) -> Any:
    if values.numel() > 64:
        raise ValueError(f"a tensor of {values.numel()} values")
    return values.tolist()


def _route(value: Any) -> int | list[int]:
    given = value if isinstance(value, list) else [value]
    if any(type(n) is not int for n in given):
        raise ValueError("it names no earlier block")
    return value  # type: ignore[no-any-return]


def _own(
    state: Mapping[str, Any], part: str, path: str, found: Description, tensor: Callable[[Any], torch.Tensor]
) -> list[str]:
    """Names of the tensors of one module; the tensors go into `found`."""
    held = state.get(part, {})
    if not isinstance(held, Mapping) or any(type(k) is not str for k in held):
        raise Unsupported(path or "the net", f"its {part} are no named tensors")
    for name, value in held.items():
        if value is not None:
            found.tensors[f"{path}.{name}" if path else name] = tensor(value).detach()
    return [name for name, value in held.items() if value is not None]


def _fits(node: Node, where: str) -> None:
    """Refuse children that the class does not have, or lacks."""
    kind, children = KINDS[node["kind"]], node["children"]
    if kind.children is not None:
        for name, child in children.items():
            if child["kind"] not in kind.children.get(name, ()):
                raise Unsupported(
                    f"{where}.{name}", f"a {node['kind']} of the family has no {child['kind']} there",
                    "of such a net give the state_dict and --model",
                )  # fmt: skip
        lacking = [n for n in kind.children if n not in children and n not in kind.absent]
        if lacking:
            raise Unsupported(where, f"a {node['kind']} without {', '.join(lacking)}", "save it before it is fused")
    wrong = kind.held(node)
    if wrong:
        raise Unsupported(where, wrong)


def build(tree: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """Make the net that a description is of, in eval mode, with the very tensors that are given.

    Raises
    ------
    Unsupported
        A part that cannot be made; names the module by its path.
    DataError
        Tensors that are missing, left over, or of another shape than the attributes say.
    """
    left = set(tensors)
    try:
        net = _build(tree, tensors, "", left, {})
    except RecursionError:
        raise DataError("the net is nested too deep") from None
    if left:
        raise DataError(f"tensors that belong to no module: {', '.join(sorted(left)[:4])}")
    return net.eval()


def _build(
    node: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], path: str, left: set[str], made: dict[str, nn.Module]
) -> nn.Module:
    where = path or "the net"
    if "same" in node:
        return _again(node["same"], tensors, path, left, made)
    try:
        kind, own = KINDS[node["kind"]], {k: list(node[k]) for k in ("parameters", "buffers")}
        given = node["attributes"]
        attributes = {k: _attribute(given, k, *rule, where, _refused) for k, rule in kind.attributes.items()}
        _fits({**node, "attributes": attributes}, where)
        with torch.device("meta"):
            module = kind.make(attributes, frozenset(own["parameters"]))
        vars(module).update({k: _attribute(given, k, _route, NEEDED, where, _refused) for k in _ROUTE if k in given})
        below = dict(node["children"])
    except SnnverifyError:
        raise
    except Exception as e:  # torch answers impossible attributes with many types
        raise Unsupported(where, f"it cannot be made ({type(e).__name__}: {str(e).splitlines()[0][:120]})") from e
    for part, names in own.items():
        slots: dict[str, torch.Tensor | None] = getattr(module, f"_{part}")
        if {k for k, v in slots.items() if v is not None} != set(names):
            raise DataError(
                f"{where}: its {part} are {', '.join(names) or 'none'}, a {node['kind']} has {', '.join(slots)}"
            )
        for name in names:
            at = f"{path}.{name}" if path else name
            if at not in tensors:
                raise DataError(f"{at}: the tensor is missing")
            stored, expected = tensors[at], slots[name]
            assert expected is not None
            if stored.shape != expected.shape or stored.is_floating_point() != expected.is_floating_point():
                raise DataError(
                    f"{at}: a tensor of {stored.dtype} {list(stored.shape)}, its module needs {list(expected.shape)}"
                )
            slots[name] = nn.Parameter(stored) if part == "parameters" else stored
            left.discard(at)
    for name, child in below.items():
        try:
            module.add_module(name, _build(child, tensors, f"{path}.{name}" if path else name, left, made))
        except (KeyError, TypeError) as e:
            raise Unsupported(where, f"its child {name!r} cannot be put in ({e})") from e
    made[path] = module
    return module


def _again(
    first: Any, tensors: Mapping[str, torch.Tensor], path: str, left: set[str], made: Mapping[str, nn.Module]
) -> nn.Module:
    """The module that stood at `first`, whose tensors here must be those there."""
    module = made.get(first) if isinstance(first, str) else None
    if module is None:
        raise DataError(f"{path}: the same as {first!r}, where no module stood before")
    for name in module.state_dict():
        here, there = tensors.get(f"{path}.{name}"), tensors[f"{first}.{name}"]
        if here is None or here.dtype != there.dtype or here.shape != there.shape or octets(here) != octets(there):
            raise DataError(f"{path}.{name}: the module is that of {first}, and the tensor another")
        left.discard(f"{path}.{name}")
    return module


def _refused(value: Any) -> torch.Tensor:
    raise ValueError(f"a {type(value).__name__} stands in it")


def differences(a: Description, b: Description) -> list[str]:
    """Where two descriptions part: classes, attributes, children, routes, sharing; tensors by dtype, shape, bytes."""
    found = list(_parted(a.tree, b.tree, ""))
    for path in dict.fromkeys([*a.tensors, *b.tensors]):
        x, y = a.tensors.get(path), b.tensors.get(path)
        if x is None or y is None:
            found.append(f"{path}: in one of both alone")
        elif x.dtype != y.dtype or x.shape != y.shape:
            found.append(f"{path}: {x.dtype} {list(x.shape)} and {y.dtype} {list(y.shape)}")
        elif octets(x) != octets(y):
            found.append(f"{path}: other bytes")
    return found


def _parted(a: Mapping[str, Any], b: Mapping[str, Any], path: str) -> list[str]:
    where = path or "the net"
    keys = [k for k in dict.fromkeys([*a, *b]) if k != "children"]
    found = [f"{where}: {k} {a.get(k)} and {b.get(k)}" for k in keys if a.get(k) != b.get(k)]
    if list(a["children"]) != list(b["children"]):
        return [*found, f"{where}: children {list(a['children'])} and {list(b['children'])}"]
    for name in a["children"]:
        found += _parted(a["children"][name], b["children"][name], f"{path}.{name}" if path else name)
    return found


def octets(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor's values, in order."""
    # into a new array: of a single element any stride counts as contiguous, and as bytes it does not
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().reshape(-1))
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
