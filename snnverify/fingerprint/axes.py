"""The axes of a fingerprint: their names, values a reader can compare, and what else an axis might have been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..activation import Neuron
from ..content import Content

UNDECIDED = "undecided"
MOOT = "-"  # the axis cannot show in this neuron
# axis -> heading; all but the last two are fields of Neuron
AXES: Mapping[str, str] = {
    "fires": "comparison",
    "reset": "reset",
    "v_reset": "reset value",
    "reset_delay": "reset delay",
    "max_spikes": "spikes a step",
    "v_floor": "floor",
    "leak": "leak",
    "v_rest": "leak target",
    "order": "order",
    "input_scaled": "input scaled",
    "v_init": "initial potential",
    "syn_decay": "synaptic decay",
    "syn_order": "synaptic order",
    "delay": "input delay",
    "between_calls": "state between calls",
    "new_batch": "state, new batch size",
}
OF_NEURON = tuple(axis for axis in AXES if axis not in ("between_calls", "new_batch"))
REAL = ("v_reset", "v_floor", "leak", "v_rest", "v_init", "syn_decay")


@dataclass(frozen=True, eq=False)
class Decided(Content):
    """One axis of a fingerprint: the value, or `UNDECIDED`, or `MOOT`; the probe that decided it, and what it showed.

    A real value holds within ``within``.
    """

    axis: str
    value: str
    probe: str = ""
    evidence: str = ""
    within: float = 0.0


@dataclass(frozen=True, eq=False)
class Fingerprint(Content):
    """What a box does, axis by axis.

    Parameters
    ----------
    name : str
    nominal : mapping of str to float
        Parameters that the box was built with.
    axes : tuple of Decided, in the order of `AXES`
    note : str
        Why nothing could be decided, where that is so.
    """

    name: str
    nominal: Mapping[str, float]
    axes: tuple[Decided, ...]
    note: str = ""

    def __getitem__(self, axis: str) -> str:
        """Value of an axis."""
        return next(d.value for d in self.axes if d.axis == axis)


def moot(neuron: Neuron, axis: str) -> bool:
    """Whether no input can show the value of an axis, by the recurrence in the docstring of `Neuron`."""
    a = neuron
    no_leak, no_memory = a.leak == 1, a.leak == 0
    return {
        "v_reset": a.reset != "value" or (no_memory and a.reset_delay == 0),
        "reset_delay": a.reset == "none" or (a.reset == "subtract" and no_leak),
        "v_rest": no_leak,
        "order": no_leak,
        "input_scaled": no_leak or no_memory,
        "v_init": no_memory,
        "v_floor": no_memory,
        "syn_order": a.syn_decay is None,
    }.get(axis, False)


def shown(value: Any) -> str:
    """Short text of an axis' value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def value_of(neuron: Neuron, axis: str) -> str:
    """Value of an axis of a neuron as a fingerprint shows it."""
    value = getattr(neuron, axis)
    if axis == "max_spikes" and value is None:
        return "unlimited"
    return MOOT if moot(neuron, axis) else shown(value)


def others(neuron: Neuron, axis: str) -> list[Neuron]:
    """Neurons that differ from this one in one axis alone: every other value, or two of them for a real one."""
    value, step = getattr(neuron, axis), float(neuron.theta) / 4
    options: dict[str, tuple[Any, ...]] = {
        "fires": (">=", ">"), "reset": ("subtract", "value", "none"), "reset_delay": (0, 1), "max_spikes": (1, 2, None),
        "order": ("leak-integrate", "integrate-leak"), "input_scaled": (False, True), "delay": (0, 1),
        "syn_order": ("decay-add", "add-decay"), "leak": (1.0, 0.75), "syn_decay": (None, 0.75),
        "v_floor": (None, 0.0, -4 * step),
    }  # fmt: skip
    tried = options[axis] if axis in options else (0.0, value + step, value - step)
    return [replace(neuron, **{axis: v}) for v in tried if v != value]
