"""Where two implementations part, and which axes of the semantics explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..activation import Neuron
from ..content import Array, Content
from ..errors import DataError
from ..fingerprint.axes import AXES, shown
from ..fingerprint.probes import Box, run
from ..network import Branch, Layer, Network, Scale
from ..oracles import Oracle
from ..simulate import run as simulate
from ..trace import Case, Divergence, Parting, Trace, compare
from .evidence import evidence
from .search import Change, explain

__all__ = [
    "Change", "Comparison", "Explained", "compare_boxes", "compare_oracles", "diagnose", "explained", "text", "trace_of",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Explained(Content):
    """One trace against the semantics that its network declares.

    Parameters
    ----------
    sets : tuple of tuples of Change
        All smallest sets of changed axes that explain every spike; ``((),)`` where the network's own semantics does.
    margin : float
        With ``((),)``: how far the closest spikes lie on the wrong side of the threshold, in thresholds; 0 where all
        is exact.
    """

    sets: tuple[tuple[Change, ...], ...]
    margin: float = 0.0

    @property
    def declared(self) -> bool:
        """Whether the network's own semantics explains the trace."""
        return () in self.sets


@dataclass(frozen=True, eq=False)
class Comparison(Content):
    """Two traces of one case.

    Parameters
    ----------
    names : tuple of two str
    divergence : Divergence
    first : tuple of Parting
        The earliest causal divergence of each layer that has one.
    a, b : Explained
    diagnosis : str
        One line: which axes differ, "rounding, margin m", "unexplained", or "the spikes agree".
    """

    names: tuple[str, str]
    divergence: Divergence
    first: tuple[Parting, ...]
    a: Explained
    b: Explained
    diagnosis: str


def compare_oracles(a: Oracle, b: Oracle, case: Case) -> Comparison:
    """Run both simulators on a case and diagnose where they part."""
    return diagnose(case, a.run(case, "full"), b.run(case, "full"), (a.name, b.name))


def compare_boxes(
    a: Box, b: Box, neuron: Neuron, nominal: Mapping[str, float], names: tuple[str, str] = ("a", "b"), seed: int = 0
) -> Comparison:
    """Run two boxes on the same inputs of every strength and diagnose where they part.

    Parameters
    ----------
    a, b : callable
        See `fingerprint.probes.Box`.
    neuron : Neuron
        What both are meant to be; its threshold is that of `nominal`.
    nominal : mapping of str to float
    names : tuple of two str
    seed : int
        Of the inputs.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.5, 1.5, (32, 48)) * np.linspace(0.25, 6.0, 48)
    grid = np.where(np.arange(48) % 2, 8, 128)  # coarse for ties, fine to tell a tie from a shift
    x = np.rint(x * grid) / grid * float(np.max(neuron.theta))
    case = Case(Network((1,), (Layer("unit", (Branch(Scale(1.0)),), neuron),)), x[:, :, None], 32, "spikes")
    sides = [trace_of(case, {"unit": run(box, x, nominal)[:, :, None]}) for box in (a, b)]
    return diagnose(case, sides[0], sides[1], names)


def trace_of(case: Case, spikes: Mapping[str, Array]) -> Trace:
    """Trace of spike trains alone, [T, N, *shape] by layer: what an importer that is no oracle can show.

    Raises
    ------
    DataError
        A spiking layer without a train, or one of another shape.
    """
    samples = case.x.shape[1 if case.encoding == "spikes" else 0]
    for layer in case.network.spiking:
        wanted = (case.steps, samples, *case.network.shapes[layer.name])
        found = spikes[layer.name].shape if layer.name in spikes else "none"
        if found != wanted:
            raise DataError(f"spikes of layer {layer.name!r}: {found}; give the train of every spiking layer, {wanted}")
    output = case.network.shapes[case.network.output.name]
    counts = {name: np.asarray(s).sum(0) for name, s in spikes.items()}
    return Trace(np.zeros((1, samples, *output)), (case.steps,), counts, {}, dict(spikes))


def diagnose(case: Case, a: Trace, b: Trace, names: tuple[str, str] = ("a", "b")) -> Comparison:
    """Tell where two traces of a case part and which axes explain it.

    Parameters
    ----------
    case : Case
        Its network is the base: what both were meant to simulate. Simulators and importers are served alike.
    a, b : Trace
        With the spikes of every spiking layer.
    names : tuple of two str
    """
    parted = compare(case.network, a if a.v_peak else replace(a, v_peak=_declared(case, a, b)), b)
    first: dict[str, Parting] = {}
    for p in parted.causal:
        first.setdefault(p.layer, p)
    if not parted.causal:
        same = Explained(((),))
        return Comparison(names, parted, (), same, same, "the spikes agree")
    sides = explained(case, a), explained(case, b)
    return Comparison(names, parted, tuple(first.values()), *sides, _words(sides, names))


def _declared(case: Case, *traces: Trace) -> dict[str, Array]:
    """Potentials of the case's own network before reset, while one of the traces has all of its spikes; NaN later."""
    own = simulate(case, "full")
    last = np.max([_together(own, trace) for trace in traces], axis=0)  # [N]
    known = np.arange(case.steps)[:, None] <= last
    return {
        name: np.where(known.reshape(known.shape + (1,) * (v.ndim - 2)), v, np.nan) for name, v in own.v_peak.items()
    }


def _together(a: Trace, b: Trace) -> Array:
    """First step in which a sample's spikes differ anywhere, T where they never do, [N]."""
    unlike = [(s != b.spikes[name]).reshape(*s.shape[:2], -1).any(-1) for name, s in a.spikes.items()]
    differ = np.any(unlike, axis=0)  # [T, N]
    return np.where(differ.any(0), differ.argmax(0), len(differ))


def explained(case: Case, trace: Trace) -> Explained:
    """Explain one trace by the semantics of the case's network, or by the smallest sets of axes that are changed."""
    seen = evidence(case, trace)
    sets = tuple(explain(seen))
    return Explained(sets, max((e.margin() for e in seen), default=0.0) if () in sets else 0.0)


def text(found: Comparison) -> str:
    """Return the comparison for a terminal: counts, the first divergence of each layer, the diagnosis."""
    d = found.divergence
    lines = [f"{' against '.join(found.names)}: {d.spikes_differ} of {d.spikes_compared} spike entries differ"]
    lines += [f"  {p}" for p in found.first]
    return "\n".join([*lines, f"diagnosis: {found.diagnosis}"])


def _words(sides: tuple[Explained, Explained], names: tuple[str, str]) -> str:
    if all(side.declared for side in sides):
        return f"rounding, margin {max(side.margin for side in sides):.2g}"
    parts = []
    for side, name in zip(sides, names, strict=True):
        if not side.sets:
            parts.append(f"{name} unexplained")
        elif not side.declared:
            options = [", ".join(f"{AXES[c.axis]} {shown(c.becomes)} (declared: {shown(c.was)})" for c in one)
                       for one in side.sets]  # fmt: skip
            parts.append(f"{name} has " + "; or ".join(options))
    return (
        "; ".join(parts)
        if any(side.sets for side in sides if not side.declared)
        else "unexplained: " + "; ".join(parts)
    )
