"""What a checkpoint of the family does not say of itself, put into its tree; where each constant comes from is told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ..errors import ConfigError, Unsupported
from .blocks import Constants
from .rebuild import Node

_STORED = {"steps": "T", "threshold": "threshold", "decay": "decay"}
Origins = dict[str, tuple[Any, str]]


def complete(tree: Node, given: Mapping[str, Any]) -> Origins:
    """Put constants, and what `Detector` needs besides, where the source had none.

    Returns
    -------
    origins : mapping of str to (value, origin)
        ``steps``, ``threshold``, ``decay``; see `agreed`.

    Raises
    ------
    ConfigError, Unsupported
        As `agreed`; or some activations have constants that differ, and others have none.
    """
    nodes = [n for n in walk(tree) if "constants" in n["attributes"]]
    held = [n["attributes"]["constants"] for n in nodes if n["attributes"]["constants"] is not None]
    found = agreed(held, given, "checkpoint")
    for n in nodes:
        if n["attributes"]["constants"] is None:
            if any(value is None for value, _ in found.values()):
                raise Unsupported("the net", "some activations have constants that differ, and others have none")
            n["attributes"]["constants"] = {k: value for k, (value, _) in found.items()}
    if tree["kind"] == "Detector":
        _detector(tree["attributes"], tree["children"]["model"]["children"])
    return found


def agreed(held: list[dict[str, Any]], given: Mapping[str, Any], origin: str) -> Origins:
    """Each constant and its origin: what the net holds, else the option, else the family's default.

    Raises
    ------
    ConfigError
        An option that the net contradicts, or one out of range.
    Unsupported
        Activations of more than one T.
    """
    found: Origins = {}
    for key, default in asdict(Constants()).items():
        values, asked = {c[key] for c in held}, given.get(key)
        if values and asked is not None and values != {asked}:
            name = "timesteps" if key == "steps" else key
            listed = ", ".join(map(str, sorted(values)))
            raise ConfigError(f"--{name} {asked}: the {origin} says {listed}; leave the option out")
        if values:
            found[key] = (values.pop() if len(values) == 1 else None, origin)
        else:
            found[key] = (default, "assumed default") if asked is None else (asked, "option")
    if found["steps"][0] is None:
        raise Unsupported("the net", "its activations run on different T", "a net has one")
    Constants(**{k: v for k, (v, _) in found.items() if v is not None})
    return found


def _detector(a: dict[str, Any], layers: Mapping[str, Any]) -> None:
    """What the forward pass asks of a `Detector`, from what checkpoints of the family have."""
    first = next((n for layer in layers.values() for n in walk(layer) if n["kind"] == "Snn_Conv2d"), None)
    channels = a["yaml"].get("channels", a["yaml"].get("ch", first["attributes"]["in_channels"] if first else 3))
    a["yaml"] = {**a["yaml"], "channels": channels, **{_STORED[k]: v for k, v in a["constants"].items()}}
    a["nc"] = a["nc"] if a["nc"] is not None else int(a["yaml"].get("nc", len(a["names"] or [])))
    a["names"] = a["names"] or [str(i) for i in range(a["nc"])]
    if type(a["stride"]) is not int:
        reached: list[float] = []
        for at, layer in enumerate(layers.values()):
            source = layer["attributes"]["f"]
            sources = source if isinstance(source, list) else [source]
            before = max(reached[j] for j in sources) if at else 1.0
            reached.append(before * _factor(layer))
        a["stride"] = max(1, int(max(reached)))


def _factor(node: Mapping[str, Any]) -> float:
    """By how much a block shrinks its map."""
    a = node["attributes"]
    most = {k: max(v) if isinstance(v, list) else v for k, v in a.items() if k in ("stride", "scale", "scale_factor")}
    match node["kind"]:
        case "Snn_Conv2d" | "nn.MaxPool3d":
            return float(most["stride"])
        case "Upsample":
            return 1.0 / float(most["scale"])
        case "nn.Upsample":
            return 1.0 / float(most["scale_factor"] or 1)
        case "BasicBlock_2":
            return _factor(node["children"]["residual_function"])
    return math.prod(_factor(child) for child in node["children"].values())


def walk(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The node and all below it."""
    yield tree
    for child in tree["children"].values():
        yield from walk(child)
