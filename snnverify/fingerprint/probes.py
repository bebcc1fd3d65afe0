"""Probes of a black box: runs of fresh units, and the smallest last input with which a unit fires.

Every number sent is a float32, so that a library that computes in float32 sees what was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..content import Array
from ..errors import SnnverifyError

# (inputs [T, N, 1] of consecutive calls on one fresh neuron, nominal parameters) -> spikes [T, N, 1] of each call, or
# the text of the exception that it raised
Box = Callable[[tuple[Array, ...], Mapping[str, float]], Sequence[Any]]
FAR = 2.0**12  # inputs beyond this many thresholds are not tried
_FAN = 32  # points a bisection tries at once


class Outside(SnnverifyError):
    """What a box did is nothing that a `Neuron` does; the message says what."""


def from_operator(operator: Callable[..., Any], name: str) -> Box:
    """Return box `name` of an oracle's operator ``box``, which answers each call with (spikes, potentials) or a text."""

    def box(calls: tuple[Array, ...], params: Mapping[str, float]) -> list[Any]:
        # an operator answers with what a message can hold: an exception's text stands in the place of its call
        return [a if isinstance(a, str) else a[0] for a in operator(name, calls, dict(params))]

    return box


def ask(box: Box, calls: Sequence[Array], params: Mapping[str, float]) -> list[Array | str]:
    """Return the number of spikes of each call, int64 [T, N], for inputs [T, N]; a text for a call that raised.

    Raises
    ------
    Outside
        Spikes of another shape, or that are no counts.
    """
    answers: list[Array | str] = []
    for x, answer in zip(calls, box(tuple(np.array(x[:, :, None], order="C") for x in calls), params), strict=True):
        if isinstance(answer, str):
            answers.append(answer)
            continue
        found = np.asarray(answer, float)
        if found.shape != (*x.shape, 1):
            raise Outside(f"it answers an input of shape {(*x.shape, 1)} with spikes of shape {found.shape}")
        if not np.array_equal(found, np.rint(found)) or found.min(initial=0) < 0:
            raise Outside(
                f"it emits {found[found != np.rint(found)][:1].tolist() or found.min()}, which counts no spikes"
            )
        answers.append(found[:, :, 0].astype(np.int64))
    return answers


def run(box: Box, x: Array, params: Mapping[str, float]) -> Array:
    """Return the spikes [T, N] of one call; `Outside` where it raises."""
    (answer,) = ask(box, (x,), params)
    if isinstance(answer, str):
        raise Outside(f"it raises {answer}")
    return answer


def sequences(prefixes: Sequence[Sequence[float]], last: Sequence[float] | Array, delay: int) -> Array:
    """Inputs [T, N]: each prefix, then its last input, then zeros up to a common T."""
    T = max(len(p) for p in prefixes) + 1 + delay
    x = np.zeros((T, len(prefixes)))
    for n, (p, value) in enumerate(zip(prefixes, last, strict=True)):
        x[: len(p), n], x[len(p), n] = p, value
    return x


def thresholds(
    box: Box, prefixes: Sequence[Sequence[float]], delay: int, params: Mapping[str, float], count: int = 1
) -> Array:
    """Return the smallest float32 after each prefix with which a unit emits `count` spikes.

    Parameters
    ----------
    box : Box
    prefixes : sequence of sequences of float
        Inputs of the steps before the one that is sought.
    delay : int
        Steps after which an input acts.
    params : mapping of str to float
    count : int

    Returns
    -------
    array [len(prefixes)]
        ``inf`` where no input does it, ``-inf`` where every input does.
    """
    far = FAR * params["theta"]
    low, high = (np.full(len(prefixes), _rank(np.float32(v))) for v in (-far, far))
    step = np.array([len(p) + delay for p in prefixes])

    def fires(ranks: Array) -> Array:
        points = ranks.shape[1]
        x = sequences([p for p in prefixes for _ in range(points)], _number(ranks).ravel(), delay)
        spikes = run(box, x, params)
        decisive = spikes[np.repeat(step, points), np.arange(x.shape[1])]
        return np.asarray(decisive.reshape(ranks.shape) >= count)

    never, always = ~fires(high[:, None])[:, 0], fires(low[:, None])[:, 0]
    while (high - low).max() > 1:
        part = np.arange(1, _FAN + 1) / (_FAN + 1)
        ranks = np.clip(
            low[:, None] + np.rint((high - low)[:, None] * part).astype(np.int64), low[:, None], high[:, None]
        )
        fired = fires(ranks)
        first = np.where(fired.any(1), fired.argmax(1), _FAN)
        edges = np.concatenate([low[:, None], ranks, high[:, None]], 1)
        rows = np.arange(len(low))
        low, high = edges[rows, first], edges[rows, first + 1]
    return np.where(always, -np.inf, np.where(never, np.inf, _number(high)))


def _rank(value: Any) -> int:
    """Place of a float32 among all float32, in order; 0 for 0."""
    bits = int(np.float32(value).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _number(rank: Array) -> Array:
    """Float64 with the value of the float32 at that place."""
    magnitude = np.abs(rank).astype(np.int32).view(np.float32).astype(float)
    return np.asarray(np.where(rank < 0, -magnitude, magnitude))
