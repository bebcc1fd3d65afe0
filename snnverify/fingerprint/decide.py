"""The fingerprint of a black box: measure, solve, try every solution on many runs, keep what all survivors say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..activation import Neuron
from ..content import Array
from .axes import AXES, MOOT, OF_NEURON, REAL, UNDECIDED, Decided, Fingerprint, moot, others, shown, value_of
from .certain import Candidate, follow, refuted
from .measure import Measured, delay_of, measure
from .probes import Box, Outside, run, sequences
from .solve import FINE, Solution, neurons
from .state import between_calls, new_batch

STEPS, UNITS = 32, 192
Runs = Sequence[tuple[Array, Array]]  # inputs and observed spikes, [T, N]


def fingerprint(box: Box, nominal: Mapping[str, float], name: str = "") -> Fingerprint:
    """Decide each semantic axis of a neuron from its spikes alone.

    Thresholds (the smallest input that fires, to one float32) after chosen inputs are solved for the parameters under
    every assignment of the axes; each solution must then certainly agree with every spike of `UNITS` runs of `STEPS` steps,
    and with ties drawn on purpose. Where thresholds of several solutions differ in nothing but how potentials are
    scaled, the box is measured at twice its threshold too: initial, reset, rest and floor potentials are then the same.

    Parameters
    ----------
    box : callable
        See `probes.Box`; its parameter ``theta`` is varied.
    nominal : mapping of str to float
        ``theta``, and ``leak`` and ``syn_decay`` where the box has them. Best are dyadic numbers with ``leak``,
        ``1 - leak`` and ``syn_decay`` all different, such as 1, 3/4 and 1/2: ties are then exact, and no two axes do the
        same.
    name : str

    Returns
    -------
    Fingerprint
        An axis on which the survivors differ, or whose other values no probe refutes, is "undecided"; so is every
        axis of a box that no `Neuron` explains, with the reason in ``note``.
    """
    params = dict(nominal)
    state = [_whole(box, params, axis) for axis in ("between_calls", "new_batch")]
    try:
        solutions, runs = _survivors(box, params)
        decided = [_decide(axis, solutions, runs) for axis in OF_NEURON]
        note = ""
    except Outside as e:
        decided, note = [Decided(axis, UNDECIDED) for axis in OF_NEURON], str(e)
    return Fingerprint(name, params, (*decided, *state), note)


def _whole(box: Box, params: Mapping[str, float], axis: str) -> Decided:
    try:
        return {"between_calls": between_calls, "new_batch": new_batch}[axis](box, params)
    except Outside as e:
        return Decided(axis, UNDECIDED, evidence=str(e))


def _survivors(box: Box, params: Mapping[str, float]) -> tuple[list[Solution], Runs]:
    """Solutions that no run refutes, at least one, and the runs."""
    delay = delay_of(box, params)
    reason = "no neuron explains the smallest inputs that fire"
    for reach in (1.0, 0.25):
        m = measure(box, params, delay, reach)
        solved = neurons(m, params)
        if not solved:
            continue
        runs = [_ties(box, params, m), _varied(box, params, m)]
        if not np.array_equal(runs[1][1], run(box, runs[1][0], params)):
            raise Outside("the same inputs give other spikes a second time")
        alive = [s for found in solved for s in _kept(found, m, runs)]
        if alive:
            return _plainest(_nominal(_constant(box, params, delay, reach, alive), params)), runs
        reason = _wrong(solved[0], runs)
    raise Outside(reason)


def _ties(box: Box, params: Mapping[str, float], m: Measured) -> tuple[Array, Array]:
    """Runs that end on the smallest input that fires, and on its neighbour that does not."""
    known = [(p, w) for p, w in zip(m.prefixes, m.last, strict=True) if np.isfinite(w)]
    below = [float(np.nextafter(np.float32(w), np.float32(-np.inf))) for _, w in known]
    prefixes = [p for p, _ in known] * 2
    x = sequences(prefixes, [*(w for _, w in known), *below], m.delay)
    return x, run(box, x, params)


def _varied(box: Box, params: Mapping[str, float], m: Measured) -> tuple[Array, Array]:
    """Runs of constants, dyadic noise, sparse pulses, silence after a burst, and inputs of many thresholds."""
    rng = np.random.default_rng(0)
    unit = float(2.0 ** np.round(np.log2(max(m.theta, m.last[0]))))
    quarter = UNITS // 6
    shape = (STEPS, quarter)
    parts = [
        np.broadcast_to(np.linspace(-0.25, 2.0, quarter), shape),
        rng.uniform(-0.5, 1.5, shape),
        rng.normal(0.2, 1.0, shape) * (rng.random(shape) < 0.3) * 3,
        rng.uniform(0.0, 4.0, shape) * (np.arange(STEPS)[:, None] < rng.integers(1, STEPS, quarter)),
        rng.uniform(-12.0, 16.0, shape),
        rng.uniform(-2.0, 2.0, shape) + np.where(rng.random(quarter) < 0.5, 0.5, 0.0),
    ]
    x = np.rint(np.concatenate(parts, 1) * 8) / 8 * unit
    return x, run(box, x, params)


def _kept(found: Solution, m: Measured, runs: Runs) -> list[Solution]:
    """Return the solution under both comparisons, as far as it stands; with loose parameters where its round ones do not."""
    for candidate in (found.neuron, found.loose):
        if candidate is found.neuron and not _round(candidate, m, runs[0]):
            continue
        both = [replace(candidate, neuron=replace(candidate.neuron, fires=f)) for f in (">=", ">")]
        alive = [replace(found, neuron=c) for c in both if not any(refuted(c, x, s).any() for x, s in runs)]
        if alive:
            return alive
    return []


def _round(candidate: Candidate, m: Measured, ties: tuple[Array, Array]) -> bool:
    """Whether each threshold that the round parameters predict exactly was met, but for one rounding of float32."""
    x, s = np.array(ties[0]), ties[1]
    known = [(len(p), w) for p, w in zip(m.prefixes, m.last, strict=True) if np.isfinite(w)]
    for n, (at, _) in enumerate(known):
        x[at, n] = 0.0
    x, s = x[:, : len(known)], s[:, : len(known)]
    peaks, unsure = follow(candidate, x, s)
    a = candidate.neuron
    gain = (1 - a.leak if a.input_scaled else 1.0) * (a.leak if a.order == "integrate-leak" else 1.0)
    gain *= float(a.syn_decay or 0.0) if a.syn_order == "add-decay" else 1.0
    for n, (at, w) in enumerate(known):
        if unsure[at + m.delay, n] == 0:
            tie = (float(a.theta) - peaks[at + m.delay, n]) / gain
            if abs(w - tie) > 2.0**-23 * float(a.theta) / gain + float(np.spacing(np.float32(abs(tie)))):
                return False
    return True


def _constant(box: Box, params: Mapping[str, float], delay: int, reach: float, alive: list[Solution]) -> list[Solution]:
    """Return those whose other parameters stay where they are when a nominal one is changed, if any does; all else."""
    for name, value in params.items():
        if len({(s.key, s.neuron.neuron.leak) for s in alive}) == 1:
            break
        if name != "theta" and not 0 < value < 1:
            continue
        moved = dict(params) | {name: 2 * value if name == "theta" else (1 + value) / 2}
        try:
            again = neurons(measure(box, moved, delay, reach), moved)
        except Outside:
            continue
        alive = [s for s in alive if any(_stays(s, other, name, moved[name]) for other in again)] or alive
    return alive


def _stays(one: Solution, other: Solution, name: str, value: float) -> bool:
    """Whether two solutions differ in nothing but the parameter that was changed, and that one has followed."""
    followed = name == "theta" or abs(getattr(other.neuron.neuron, name) - value) <= other.loose.spread[name] + 1e-6
    return one.key == other.key and followed and all(_same(one.loose, other.loose, a) for a in REAL if a != name)


def _same(a: Candidate, b: Candidate, axis: str) -> bool:
    one, two = getattr(a.neuron, axis), getattr(b.neuron, axis)
    if one is None or two is None:
        return one is two
    return bool(abs(one - two) <= a.spread.get(axis, 0.0) + b.spread.get(axis, 0.0) + 1e-9)


def _nominal(alive: list[Solution], params: Mapping[str, float]) -> list[Solution]:
    """Return those with the kinds of decay, and their values, that the box was built with, if any has them; all else."""

    def fits(s: Solution) -> bool:
        a, spread = s.neuron.neuron, s.neuron.spread
        pairs = (("leak", a.leak, params.get("leak", 1.0)), ("syn_decay", a.syn_decay, params.get("syn_decay")))
        return all(v is None or n is None or abs(v - n) <= spread.get(axis, 0.0) + 1e-6 for axis, v, n in pairs)

    alive = [s for s in alive if (s.neuron.neuron.syn_decay is None) == ("syn_decay" not in params)] or alive
    return [s for s in alive if fits(s)] or alive


def _plainest(alive: list[Solution]) -> list[Solution]:
    """Sort so that the survivor with the fewest axes off their defaults comes first."""
    plain = Neuron()
    return sorted(alive, key=lambda s: sum(getattr(s.neuron.neuron, a) != getattr(plain, a) for a in OF_NEURON))


def _wrong(found: Solution, runs: Runs) -> str:
    for x, s in runs:
        where = np.argwhere(refuted(found.loose, x, s))
        if len(where):
            t, n = min(map(tuple, where.tolist()))
            return f"the neuron that explains its thresholds fails: {_trace(x, s, t, n)}"
    return "the neuron that explains its thresholds fails on ties"


def _trace(x: Array, s: Array, t: int, n: int) -> str:
    ins = ", ".join(f"{v:.9g}" for v in x[: t + 1, n])
    return f"inputs {ins} give spikes {' '.join(str(v) for v in s[: t + 1, n])}"


def _decide(axis: str, alive: list[Solution], runs: Runs) -> Decided:
    """Return the value on which all survivors agree, with the shortest run that refutes another value."""
    first = alive[0].neuron
    values = {value_of(s.neuron.neuron, axis) for s in alive}
    if axis in REAL and len(values) > 1 and all(_same(first, s.neuron, axis) for s in alive):
        values = {value_of(first.neuron, axis)}
    if len(values) > 1:
        return Decided(axis, UNDECIDED, evidence=f"no probe tells {' from '.join(sorted(values))}")
    (value,) = values
    if value == MOOT:
        return Decided(axis, MOOT, evidence="cannot show in this neuron")
    if any(axis in s.unknown for s in alive):
        return Decided(axis, UNDECIDED, evidence="at the floor, or below it")
    spread = max(s.neuron.spread.get(axis, 0.0) for s in alive)
    if spread > FINE:
        return Decided(axis, UNDECIDED, evidence=f"{value} within {spread:.2g} only")
    shortest: tuple[int, str, str] | None = None
    for other in others(first.neuron, axis):
        if moot(other, axis) and axis not in ("reset",):
            continue
        against = _against(replace(first, neuron=other), x_s=runs, what=f"{AXES[axis]} {shown(getattr(other, axis))}")
        if against is None:
            return Decided(axis, UNDECIDED, evidence=f"no probe tells {value} from {shown(getattr(other, axis))}")
        shortest = against if shortest is None or against[0] < shortest[0] else shortest
    return Decided(axis, value, *(shortest[1:] if shortest else ("", "")), spread)


def _against(candidate: Candidate, x_s: Runs, what: str) -> tuple[int, str, str] | None:
    """Return the shortest run that refutes a candidate: its length, its inputs, what came and what would have come."""
    best: tuple[int, str, str] | None = None
    for x, s in x_s:
        where = refuted(candidate, x, s)
        if where.any():
            t, n = divmod(int(where.ravel().argmax()), x.shape[1])
            if best is None or t < best[0]:
                ins = " ".join(f"{v:.9g}" for v in x[: t + 1, n])
                came = " ".join(str(v) for v in s[: t + 1, n])
                best = t, f"inputs {ins}", f"spikes {came}; {what} gives another last one"
    return best
