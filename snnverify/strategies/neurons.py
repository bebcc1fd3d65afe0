"""Arrays and neurons on the dyadic grid, narrowed to what a subject's neuron classes express."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..activation import Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import Shape
from ..oracles import ANY, Families

GRID = 3  # weights, inputs and thresholds are k / 2^GRID: coarse, so that ties with the threshold are common
DEFAULTS = {f.name: f.default for f in fields(Neuron)}
# Axes that act only beside another one: value that a neuron gets where they are idle, and when they are.
IDLE: dict[str, tuple[Any, Callable[[Mapping[str, Any]], bool]]] = {
    "v_reset": (0.0, lambda a: a["reset"] != "value"),
    "v_rest": (0.0, lambda a: a["leak"] == 1),
    "order": ("leak-integrate", lambda a: a["leak"] == 1),
    "input_scaled": (False, lambda a: a["leak"] == 1),
    "syn_order": ("decay-add", lambda a: a["syn_decay"] is None),
}
_FAMILIES: ContextVar[Families | None] = ContextVar("families", default=None)


@contextmanager
def within(families: Families) -> Iterator[None]:
    """Draw, inside, only neurons that one of these classes of a subject can express (all without one)."""
    token = _FAMILIES.set(families)
    try:
        yield
    finally:
        _FAMILIES.reset(token)


def restricted() -> bool:
    """Tell whether a subject's own neuron classes bound what is drawn."""
    return bool(_FAMILIES.get())


def families_of(kind: str) -> list[Mapping[str, Any]] | None:
    """Classes of the subject that express activations of this type; None where nothing bounds what is drawn.

    Raises
    ------
    Unsupported
        The subject has none of this type: no draw would ever fit.
    """
    families = _FAMILIES.get()
    if not families:
        return None
    found = [f for f in families.values() if f.get("type", "Neuron") == kind]
    if not found:
        raise Unsupported(kind, "none of the subject's neuron classes is one")
    return found


def dyadic(shape: Shape, low: int = -8, high: int = 8, grid: int = GRID) -> st.SearchStrategy[Array]:
    """Arrays of ``k / 2^grid`` with k in [low, high]."""
    # every entry is drawn on its own: hypothesis would fill most of an array with one value, and silent cases show little
    return hnp.arrays(np.int16, shape, elements=st.integers(low, high), fill=st.nothing()).map(lambda k: k / 2.0**grid)


@st.composite
def neurons(draw: st.DrawFn, /, **fixed: Any) -> Neuron:
    """Neurons over every semantic axis, dyadic; keyword arguments fix an axis to a value or to a strategy.

    Inside `within`, neurons of the subject's own classes alone.
    """
    families = families_of("Neuron")
    family = None if families is None else draw(st.sampled_from(families))
    axes: dict[str, Any] = {
        "theta": st.integers(1, 12).map(lambda k: k / 2.0**GRID),
        "amplitude": st.sampled_from([1.0, 0.5, 2.0]),
        "v_init": st.integers(-4, 8).map(lambda k: k / 2.0**GRID),
        "fires": st.sampled_from([">=", ">"]),
        "reset": st.sampled_from(["subtract", "value", "subtract", "value", "none"]),
        "v_reset": st.sampled_from([0.0, 0.25, -0.5]),
        "reset_delay": st.sampled_from([0, 1]),
        "max_spikes": st.sampled_from([1, 1, 2, None]),
        "v_floor": st.sampled_from([None, None, 0.0, -0.5]),
        "leak": st.sampled_from([1.0, 1.0, 0.5, 0.75]),
        "v_rest": st.sampled_from([0.0, 0.0, 0.25]),
        "input_scaled": st.booleans(),
        "syn_decay": st.sampled_from([None, None, 0.5]),
        "syn_order": st.sampled_from(["decay-add", "add-decay"]),
        "delay": st.sampled_from([0, 0, 0, 1]),
        "order": st.sampled_from(["leak-integrate", "integrate-leak"]),
    }
    drawn = {k: draw(_narrowed(s, fixed, k, family)) for k, s in axes.items()}
    return Neuron(**(drawn | {k: default for k, (default, idle) in IDLE.items() if k not in fixed and idle(drawn)}))


def _narrowed(strategy: st.SearchStrategy[Any], fixed: Mapping[str, Any], axis: str, family: Any) -> Any:
    """Strategy of one axis: what the law fixes and the subject's neuron class can express."""
    wanted = fixed.get(axis, strategy)
    wanted = wanted if isinstance(wanted, st.SearchStrategy) else st.just(wanted)
    legal = ANY if family is None else family.get(axis, (DEFAULTS[axis],))
    if legal == ANY:
        return wanted
    return wanted.filter(lambda v: v in legal) if axis in fixed else st.sampled_from(legal)
