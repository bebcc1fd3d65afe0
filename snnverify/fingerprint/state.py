"""What a box keeps between calls: decided by comparing runs with runs, without any model of the neuron."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..content import Array
from .axes import UNDECIDED, Decided
from .probes import Box, ask, run

_STEPS = 12


def between_calls(box: Box, params: Mapping[str, float]) -> Decided:
    """Decide whether a second call of the same shape goes on where the first one ended."""
    first, second = _inputs(params, 96), _inputs(params, 96)[::-1]
    value, shown = _second(box, params, first, second)
    return Decided("between_calls", value, f"a run of {2 * _STEPS} steps in two calls of {_STEPS}", shown)


def new_batch(box: Box, params: Mapping[str, float]) -> Decided:
    """Decide what a second call with fewer and with more samples does."""
    wide = _inputs(params, 96)
    found = {}
    found["96 samples, then 64"] = _second(box, params, wide, wide[::-1, :64])
    found["64 samples, then 96"] = _second(box, params, wide[:, :64], wide[::-1])
    values = {value for value, _ in found.values()}
    evidence = "; ".join(f"{name}: {shown}" for name, (_, shown) in found.items())
    return Decided("new_batch", values.pop() if len(values) == 1 else UNDECIDED, "; ".join(found), evidence)


def _second(box: Box, params: Mapping[str, float], first: Array, second: Array) -> tuple[str, str]:
    """What became of the state in a second call, and how it showed."""
    _, answer = ask(box, (first, second), params)
    if isinstance(answer, str):
        return "error", f"the second call raises {answer.splitlines()[-1][:120] if answer else 'an error'}"
    both = min(first.shape[1], second.shape[1])
    fresh = run(box, second, params)
    whole = run(box, np.concatenate([first[:, :both], second[:, :both]]), params)[_STEPS:]
    if np.array_equal(fresh[:, :both], whole):
        return UNDECIDED, "a fresh start gives the same spikes"
    if np.array_equal(answer, fresh):
        return "reset", "its spikes are those of a fresh start"
    if np.array_equal(answer[:, :both], whole) and np.array_equal(answer[:, both:], fresh[:, both:]):
        return "kept", "its spikes are those of one long run"
    again = ask(box, (first, second), params)[1]
    if isinstance(again, str) or not np.array_equal(answer, again):
        return UNDECIDED, "the same inputs give other spikes a second time"
    return "mixed", "its spikes are neither those of a fresh start nor those of one long run"


def _inputs(params: Mapping[str, float], units: int) -> Array:
    """Weak and strong drives, so that some unit holds a potential or a current when the first call ends."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-0.25, 1.0, (_STEPS, units)) * np.linspace(0.25, 6.0, units)[rng.permutation(units)]
    return np.asarray(np.rint(x * 8) / 8 * params["theta"])
