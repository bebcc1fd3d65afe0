"""From measured thresholds to neurons: every assignment of the axes whose parameters solve the measurements.

All is first solved in inputs: ``w = (theta - v) / gain`` is the distance to the threshold as an input feels it, so that
a step is ``w <- leak w + q - i``, a hard reset ``w = w_reset``, a soft one ``w <- w + theta / gain``. Measured numbers
are exactly such distances. Only then does each way to scale an input (`gain`) give potentials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..activation import Neuron
from ..content import Array
from .certain import Candidate
from .measure import Measured
from .probes import FAR

FINE = 2.0**-10  # a real parameter that is not known within this is not known
_SLACK = 4.0  # on first-order error bounds


@dataclass(frozen=True)
class Value:
    """A solved number: its columns are the solution, then that with each measurement moved by its error."""

    columns: Array

    @property
    def at(self) -> float:
        """The solution."""
        return float(self.columns[0])

    @property
    def error(self) -> float:
        """Sum of what each measurement's error does to it."""
        return float(np.abs(self.columns[1:] - self.columns[0]).sum())

    def near(self, other: float) -> bool:
        """Whether it may be this number."""
        return bool(abs(self.at - other) <= _SLACK * self.error + 1e-12)


def fixed(number: float, like: Array) -> Array:
    """Columns of an exact number."""
    return np.full_like(like, number)


def snap(columns: Array, known: tuple[float, ...], grid: float) -> Array:
    """Return the known number, or the multiple of `grid`, that the solution cannot be told from; else the solution."""
    value = Value(columns)
    for number in (*known, round(value.at / grid) * grid):
        if value.error < FINE and value.near(number):
            return fixed(number, columns)
    return columns


@dataclass(frozen=True)
class Linear:
    """Decays of a hypothesis, and what follows from them, in columns: ``w <- leak w + q - i``."""

    leak: Array
    decay: Array | None
    q: Array
    error: float


@dataclass(frozen=True)
class Solution:
    """A neuron that solves the measurements.

    Parameters
    ----------
    key : tuple
        Its axes that take no numbers, so that solutions at other nominal parameters can be matched.
    neuron : Candidate
        Parameters that cannot be told from a round number are that number, exactly.
    loose : Candidate
        The same with every parameter as uncertain as it was measured.
    unknown : tuple of str
        Axes whose value cannot show in this neuron.
    """

    key: tuple[object, ...]
    neuron: Candidate
    loose: Candidate
    unknown: tuple[str, ...] = ()


def neurons(m: Measured, nominal: Mapping[str, float]) -> list[Solution]:
    """Return every neuron that solves the measurements."""
    z = np.repeat(m.last[:, None], 1 + len(m.last), 1)
    with np.errstate(invalid="ignore"):
        z[:, 1:] += np.diag(m.error)
    found: list[Solution] = []
    with np.errstate(all="ignore"):
        for linear in _linear(m, z, nominal):
            for reset in _resets(m, z, linear):
                found += list(_gains(m, z, linear, *reset))
    return found


def _linear(m: Measured, z: Array, nominal: Mapping[str, float]) -> Iterator[Linear]:
    """Decays from how inputs fade: after one step by leak + decay, after two by leak^2 + leak decay + decay^2."""
    y = np.array([p[0] for p in m.prefixes[1:4]])
    if not np.all(np.isfinite(z[1:4, 0])) or not np.all(np.isfinite(z[9:12, 0])):
        return
    r1, r1_near = ((z[1] - z[k]) / (y[k - 1] - y[0]) for k in (3, 2))
    r2, r2_near = ((z[9] - z[k]) / (y[k - 9] - y[0]) for k in (11, 10))
    if not Value(r1 - r1_near).near(0.0) or not Value(r2 - r2_near).near(0.0):
        return  # not linear
    product_ = r1**2 - r2
    pairs: list[tuple[Array, Array | None]] = []
    if Value(product_).near(0.0):
        pairs += [(r1, None), (fixed(0.0, r1), r1)]
    half, root = r1 / 2, np.sqrt(np.maximum((r1 / 2) ** 2 - product_, 0.0))
    if Value(product_).at > 0:
        pairs += [(half + root, half - root), (half - root, half + root)]
    leak, decay = nominal.get("leak"), nominal.get("syn_decay")
    if leak is not None and decay is not None and Value(r1).near(leak + decay) and Value(product_).near(leak * decay):
        pairs.insert(0, (fixed(leak, r1), fixed(decay, r1)))
    known = tuple(v for v in (leak, decay, 0.0, 1.0) if v is not None)
    seen: set[tuple[float, float]] = set()
    for lam, b in pairs:
        error = max(Value(lam).error, 0.0 if b is None else Value(b).error)  # before it is rounded
        lam = snap(lam, known, 2.0**-6)
        if b is not None:
            b = snap(r1 - lam if Value(lam).error == 0 else b, known, 2.0**-6)
            lam = snap(r1 - b, known, 2.0**-6) if Value(b).error == 0 else lam
        key = (round(float(lam[0]), 5), -1.0 if b is None else round(float(b[0]), 5))
        inside = 0 <= lam[0] <= 1 and (b is None or 0 < b[0] < 1)
        if not inside or key in seen or max(Value(lam).error, 0.0 if b is None else Value(b).error) > 0.05:
            continue
        seen.add(key)
        fades = r1 if Value(lam).error else lam + (0.0 if b is None else b)
        q = z[1] + fades * y[0] - lam * z[0]
        if lam[0] == 1 and not Value(q).near(0.0):
            continue  # a drift
        yield Linear(lam, b, fixed(0.0, q) if lam[0] == 1 else q, max(error, Value(r1).error))


def _resets(m: Measured, z: Array, linear: Linear) -> Iterator[tuple[str, int, Array | None]]:
    """Resets that explain the thresholds after a spike: kind, delay, and w_reset or theta / gain."""
    x = np.array([p[0] for p in m.prefixes[6:9]])[:, None]
    b = fixed(0.0, z[0]) if linear.decay is None else linear.decay
    if np.all(np.isinf(z[6:9, 0])):
        after = z[12:15] - linear.q + b * b * x  # leak w_reset, the input of the step after the spike being lost
        if _alike(after):
            yield "value", 1, after[0] / linear.leak if linear.leak[0] else None
        return
    if not np.all(np.isfinite(z[6:9, 0])):
        return
    after = z[6:9] - linear.q + b * x
    rest = after - linear.leak * (z[0] - x)
    if _alike(rest):
        if Value(rest[0]).near(0.0):
            yield "none", 0, None
        if not Value(rest[0]).near(0.0) or linear.leak[0] == 0:
            yield "subtract", 1, rest[0]
            yield "subtract", 0, rest[0] / linear.leak if linear.leak[0] else None
    if _alike(after):
        yield "value", 0, after[0] / linear.leak if linear.leak[0] else None


def _alike(rows: Array) -> bool:
    return all(Value(rows[0] - row).near(0.0) for row in rows[1:])


def _floor(m: Measured, z: Array, linear: Linear) -> tuple[bool, Array | None]:
    """Whether the thresholds from far below are explained, and the distance of the floor (None: there is none)."""
    y = np.array([p[0] for p in m.prefixes[4:6]])
    b = fixed(0.0, z[0]) if linear.decay is None else linear.decay
    free = z[0] - y[:, None]
    found = z[4:6] - linear.q + b * y[:, None]  # leak w
    if all(Value(found[k] - linear.leak * free[k]).near(0.0) for k in (0, 1)):
        return True, None
    floor = found[0] / linear.leak
    ok = Value(found[1] - linear.leak * np.minimum(free[1], floor)).near(0.0)
    return bool(ok and floor[0] < free[0][0]), floor


def _gains(m: Measured, z: Array, linear: Linear, reset: str, reset_delay: int, at: Array | None) -> Iterator[Solution]:
    """Candidates of each way to scale an input: gain = (1 - leak) leak decay, each factor where its axis asks for it."""
    lam, b, theta = linear.leak, linear.decay, m.theta
    explained, floor = (True, None) if lam[0] == 0 else _floor(m, z, linear)
    if not explained:
        return
    second = Value(np.append(m.second - z[0], m.second * (1 + m.error[0] / m.theta) - z[0, 0]))  # theta / gain
    leaky = 0 < lam[0] < 1
    start = None if lam[0] == 0 else (z[0] - linear.q) / lam
    if start is not None and m.delay:
        start = None if floor is not None and Value(start - floor).near(0.0) else (start - linear.q) / lam
    for scaled, last, adds in product((False, True), repeat=3):
        if ((scaled or last) and not leaky) or (adds and b is None):
            continue
        gain = np.ones_like(lam)
        for factor, used in ((1 - lam, scaled), (lam, last), (b, adds)):
            gain = gain * factor if used and factor is not None else gain
        if reset == "subtract" and at is not None and not Value(at * gain - theta).near(0.0):
            continue
        if m.most > 1 and not Value(second.columns * np.append(gain, gain[0]) - theta).near(0.0):
            continue
        real: dict[str, Array | None] = {
            "leak": lam, "syn_decay": b,
            "v_rest": theta - gain * linear.q / (1 - lam) if lam[0] < 1 else None,
            "v_init": None if start is None else theta - gain * start,
            "v_reset": theta - gain * at if reset == "value" and at is not None else None,
            "v_floor": None if floor is None else theta - gain * floor,
        }  # fmt: skip
        unknown: list[str] = []
        if floor is not None:  # what a floor hides at once is as good as the floor
            if start is None and lam[0]:
                real["v_init"] = real["v_floor"]
                unknown.append("v_init")
            if reset == "value" and reset_delay and at is not None and Value(at - floor).near(0.0):
                unknown.append("v_reset")
        raw = {k: Value(v) for k, v in real.items() if v is not None}
        exact = {k: Value(v.columns if k in ("leak", "syn_decay") else snap(v.columns, (0.0,), 2.0**-8))
                 for k, v in raw.items()}  # fmt: skip
        neuron = Neuron(
            theta=theta, reset=reset, reset_delay=reset_delay, input_scaled=scaled, delay=m.delay,  # type: ignore[arg-type]
            order="integrate-leak" if last else "leak-integrate", syn_order="add-decay" if adds else "decay-add",
            max_spikes=_most(m), **{k: v.at for k, v in exact.items()},  # type: ignore[arg-type]
        )  # fmt: skip
        key = (reset, reset_delay, scaled, last, adds, b is None, floor is None)
        spread, loose = ({k: _SLACK * v.error for k, v in values.items()} for values in (exact, raw))
        loose = {k: max(s, spread[k]) for k, s in loose.items()}
        loose |= {k: max(loose[k], _SLACK * linear.error) for k in ("leak", "syn_decay") if k in loose}
        yield Solution(key, Candidate(neuron, spread), Candidate(neuron, loose), tuple(unknown))


def _most(m: Measured) -> int | None:
    """Greatest number of spikes in a step; None where the largest input gives as many as it holds."""
    if m.most == 1:
        return 1
    held = (FAR * m.theta - m.last[0]) / (m.second - m.last[0]) + 1
    return None if m.most >= held * (1 - 2.0**-10) - 1 else m.most
