"""The waterfall and the parting of samples as operators of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..content import Array


def operators() -> dict[str, Callable[..., Any]]:
    """Operators by name.

    - ``waterfall(ann, x, labels, steps, options, deployment)``: `Waterfall` of the network's conversion, calibrated on x;
      options are those of `convert`, deployment the further fields of `Deployment`, ``precision`` for the grid among them;
    - ``waterfall_split(ann, x, labels, steps, options, deployment, key)``: `Split` of the change to that station, or None;
    - ``fixed_point(network, places)``; ``word(network, places, steps, x_max)``;
    - ``faults(ann, folded, x)``: what `diagnose.faults` says where a converter takes `folded` for the folded ANN;
    - ``part(ann, x, steps, options)``: the conversion and `Parted`.
    """
    return {"waterfall": _waterfall, "waterfall_split": _split, "fixed_point": _fixed, "word": _word, "faults": _faults,
            "part": _part}  # fmt: skip


def _deployment(ann: Any, x: Array, steps: int, options: dict[str, Any], given: dict[str, Any]) -> Any:
    from ..convert import convert
    from ..quantise import Grid
    from ..waterfall import Deployment

    precision = given.get("precision")
    more = {k: v for k, v in given.items() if k != "precision"}
    return Deployment(convert(ann, x, **options), steps, grid=Grid(precision) if precision else None, **more)


def _waterfall(ann: Any, x: Array, labels: Array, steps: int, options: dict[str, Any], given: dict[str, Any]) -> Any:
    from ..waterfall import waterfall

    return waterfall(ann, _deployment(ann, x, steps, options, given), x, labels)


def _split(
    ann: Any, x: Array, labels: Array, steps: int, options: dict[str, Any], given: dict[str, Any], key: str
) -> Any:
    from ..waterfall import split

    w = _waterfall(ann, x, labels, steps, options, given)
    return split(w, w.keys.index(key), x)


def _fixed(network: Any, places: int) -> Any:
    from ..waterfall.fixed import fixed_point

    return fixed_point(network, places)


def _word(network: Any, places: int, steps: int, x_max: float) -> int:
    from ..waterfall.fixed import word

    return word(network, places, steps, x_max)


def _faults(ann: Any, folded: Any, x: Array) -> dict[str, str]:
    import numpy as np

    from ..waterfall import waterfall
    from ..waterfall.diagnose import faults

    d = _deployment(folded, x, 1, {}, {})
    return faults(waterfall(ann, d, x, np.zeros(len(x), np.int64)), x)


def _part(ann: Any, x: Array, steps: int, options: dict[str, Any]) -> Any:
    from ..convert import convert
    from ..waterfall.parting import part

    made = convert(ann, x, **options)
    return made, part(made, x, steps)
