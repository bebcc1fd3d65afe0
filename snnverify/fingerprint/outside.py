"""Neurons that no `Neuron` explains, as plain loops: [T, N] inputs, threshold, generator -> [T, N] spikes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..content import Array

Simulate = Callable[[Array, float], Array]


def _run(x: Array, start: Array, step: Callable[[Array, Array, int], tuple[Array, Array]]) -> Array:
    """Run ``(state, input, t) -> (state, spikes)`` over the steps of x."""
    spikes, state = np.zeros(x.shape, np.int64), start
    for t in range(len(x)):
        state, spikes[t] = step(state, x[t], t)
    return spikes


def _refractory(rng: np.random.Generator) -> Simulate:
    hold = int(rng.integers(2, 4))

    def simulate(x: Array, theta: float) -> Array:
        def step(state: Array, i: Array, t: int) -> tuple[Array, Array]:
            v, wait = state
            v = np.where(wait > 0, v, v + i)
            s = (v >= theta) & (wait <= 0)
            return np.stack([np.where(s, 0.0, v), np.where(s, hold, wait - 1)]), s

        return _run(x, np.zeros((2, x.shape[1])), step)

    return simulate


def _adaptive(rng: np.random.Generator) -> Simulate:
    rise, decay = rng.uniform(0.1, 0.5), rng.uniform(0.5, 0.95)

    def simulate(x: Array, theta: float) -> Array:
        def step(state: Array, i: Array, t: int) -> tuple[Array, Array]:
            v, extra = state
            v = v + i
            s = v >= theta + extra
            return np.stack([v - s * theta, decay * extra + rise * s]), s

        return _run(x, np.zeros((2, x.shape[1])), step)

    return simulate


def _stochastic(rng: np.random.Generator) -> Simulate:
    def simulate(x: Array, theta: float) -> Array:
        def step(v: Array, i: Array, t: int) -> tuple[Array, Array]:
            v = v + i
            s = rng.random(len(v)) < 1 / (1 + np.exp(np.clip(-8 * (v / theta - 1), -50, 50)))
            return v - s * theta, s

        return _run(x, np.zeros(x.shape[1]), step)

    return simulate


def _quadratic(rng: np.random.Generator) -> Simulate:
    c = rng.uniform(0.1, 0.4)

    def simulate(x: Array, theta: float) -> Array:
        def step(v: Array, i: Array, t: int) -> tuple[Array, Array]:
            v = np.clip(v - c * v * np.abs(v) / theta, -8 * theta, 8 * theta) + i
            s = v >= theta
            return np.where(s, 0.0, v), s

        return _run(x, np.zeros(x.shape[1]), step)

    return simulate


def _saturating(rng: np.random.Generator) -> Simulate:
    ceiling = rng.uniform(1.5, 4.0)

    def simulate(x: Array, theta: float) -> Array:
        def step(v: Array, i: Array, t: int) -> tuple[Array, Array]:
            v = np.minimum(v + i, ceiling * theta)
            s = v >= theta
            return v - s * theta, s

        return _run(x, np.zeros(x.shape[1]), step)

    return simulate


def _compartments(rng: np.random.Generator) -> Simulate:
    a, b, c = rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.3)

    def simulate(x: Array, theta: float) -> Array:
        def step(state: Array, i: Array, t: int) -> tuple[Array, Array]:
            dendrite, soma = state
            dendrite, soma = a * dendrite + i + c * soma, b * soma + c * dendrite + i / 2
            s = soma >= theta
            return np.stack([dendrite, np.where(s, 0.0, soma)]), s

        return _run(x, np.zeros((2, x.shape[1])), step)

    return simulate


def _resonating(rng: np.random.Generator) -> Simulate:
    turn = rng.uniform(0.4, 1.2)
    spin = rng.uniform(0.7, 0.95) * np.exp(1j * turn)

    def simulate(x: Array, theta: float) -> Array:
        def step(z: Array, i: Array, t: int) -> tuple[Array, Array]:
            z = spin * z + i
            s = z.real >= theta
            return np.where(s, 1j * z.imag, z), s

        return _run(x, np.zeros(x.shape[1], complex), step)

    return simulate


def _accelerating(rng: np.random.Generator) -> Simulate:
    gain = rng.uniform(0.2, 0.6)

    def simulate(x: Array, theta: float) -> Array:
        def step(v: Array, i: Array, t: int) -> tuple[Array, Array]:
            v = v + i * (1 + gain * t)
            s = v >= theta
            return v - s * theta, s

        return _run(x, np.zeros(x.shape[1]), step)

    return simulate


def _bursting(rng: np.random.Generator) -> Simulate:
    every = int(rng.integers(2, 5))

    def simulate(x: Array, theta: float) -> Array:
        def step(state: Array, i: Array, t: int) -> tuple[Array, Array]:
            v, n = state
            v = v + i
            s = v >= theta
            n = n + s
            return np.stack([np.where(s & (n % every == 0), -theta, v - s * theta), n]), s

        return _run(x, np.zeros((2, x.shape[1])), step)

    return simulate


OUTSIDE: Mapping[str, Callable[[np.random.Generator], Simulate]] = {
    "refractory period": _refractory,
    "adaptive threshold": _adaptive,
    "stochastic spikes": _stochastic,
    "quadratic leak": _quadratic,
    "saturating potential": _saturating,
    "two compartments": _compartments,
    "resonator": _resonating,
    "gain that grows": _accelerating,
    "reset that varies": _bursting,
}
