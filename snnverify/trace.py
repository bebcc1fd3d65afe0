"""Case, Trace, Provenance, and Divergence: how two traces part."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from .content import Array, Content
from .errors import ConfigError, DataError, NetworkError
from .network import INPUT, Network, Neuron, per_channel

Record = Literal["counts", "spikes", "full"]
Encoding = Literal["constant", "poisson", "spikes"]
Float = Literal["float32", "float64"]
Kind = Literal["exact", "rough", "integer"]


@dataclass(frozen=True, eq=False)
class Case(Content):
    """A network and its stimulus.

    Parameters
    ----------
    network : Network
    x : array
        [N, *input_shape]; for ``encoding="spikes"`` the user's own train [T, N, *input_shape].
    steps : int
        T >= 1.
    encoding : {"constant", "poisson", "spikes"}
        ``poisson`` draws Bernoulli spikes with probability x, which must lie in [0, 1].
    seed : int
        Of the stochastic encoding.
    first_sample : int or int array [N]
        Number of ``x[0]`` in its data set, from which the others count on; or the number of each, kept as the first one
        where they do. What a sample draws hangs on its number alone: neither on how a batch is split nor on what else is
        in it.
    dtype : {"float32", "float64"}
    kind : {"exact", "rough", "integer"}
        ``exact``: every intermediate is representable in `dtype`, so correct simulators agree bit for bit.
    """

    network: Network
    x: Array
    steps: int
    encoding: Encoding = "constant"
    seed: int = 0
    first_sample: int | Array = 0
    dtype: Float = "float64"
    kind: Kind = "rough"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, legal in (("encoding", Encoding), ("dtype", Float), ("kind", Kind)):
            if getattr(self, name) not in get_args(legal):
                raise ConfigError(f"{name} = {getattr(self, name)!r}: one of {', '.join(get_args(legal))}")
        for name, values in (("seed", [self.seed]), ("first_sample", np.ravel(self.first_sample).tolist())):
            for value in values:
                if not isinstance(value, int) or not 0 <= value < 2**64:
                    raise ConfigError(f"{name} = {value!r}: an integer from 0 to 2^64 - 1")
        if self.x.dtype.kind not in "biuf":
            raise DataError(f"x of dtype {self.x.dtype}: give real numbers")
        if not isinstance(self.steps, int) or self.steps < 1:
            raise DataError(f"steps = {self.steps}: a simulation has at least 1 time step, in whole steps")
        lead = 2 if self.encoding == "spikes" else 1
        if self.x.ndim != lead + len(self.network.input_shape) or self.x.shape[lead:] != self.network.input_shape:
            axes = "[T, N, *shape]" if lead == 2 else "[N, *shape]"
            raise DataError(f"x of shape {self.x.shape}: {axes} with shape {self.network.input_shape}")
        if lead == 2 and self.x.shape[0] != self.steps:
            raise DataError(f"x holds {self.x.shape[0]} steps, steps = {self.steps}: give as many")
        if self.x.shape[lead - 1] == 0:
            raise DataError(f"x of shape {self.x.shape}: there is no sample in it")
        told, samples = np.shape(self.first_sample), self.x.shape[lead - 1]
        if told not in ((), (samples,)):
            raise DataError(f"first_sample of shape {told}: {samples} samples need a number each, or one for the first")
        object.__setattr__(self, "first_sample", first_of(self.first_sample))
        if not np.all(np.isfinite(self.x)):
            raise DataError("x holds NaN or infinity: mend the input")
        if self.x.dtype.itemsize > 4 and np.abs(self.x).max() > np.finfo(self.dtype).max:
            raise DataError(f"x holds numbers beyond {self.dtype}'s: scale the input, or take dtype='float64'")
        if self.encoding == "poisson" and (self.x.min() < 0 or self.x.max() > 1):
            lo, hi = float(self.x.min()), float(self.x.max())
            raise DataError(f"x in [{lo:g}, {hi:g}]: poisson encoding takes rates in [0, 1]; scale the input first, or "
                            "convert with unit_range (--unit-range)")  # fmt: skip


def first_of(numbers: int | Array) -> int | Array:
    """The first of some samples' numbers where the others count on from it, else all of them; see `Case`."""
    if not isinstance(numbers, np.ndarray) or (np.diff(numbers) != 1).any():
        return numbers
    return int(numbers[0])


@dataclass(frozen=True, eq=False)
class Provenance(Content):
    """Who made a trace."""

    oracle: str
    version: str
    python: str = field(default_factory=platform.python_version)
    numpy: str = np.__version__


@dataclass(frozen=True, eq=False)
class Trace(Content):
    """What a simulator did. Per layer arrays are time-major; spiking layers are named, analog ones are not.

    Parameters
    ----------
    readout : array
        [R, N, *output shape]: sum over the first ``readout_at[r]`` steps of the output layer's values (its spikes times
        their amplitude, or the analog values of a layer without activation).
    readout_at : tuple of int
        The steps; the last one is T.
    counts : mapping of layer to int array [N, *shape]
        Spikes (messages other than 0) over all T steps.
    v_end : mapping of layer to array [N, *shape]
        Potential after the last step (a delayed reset still to come).
    spikes : mapping of layer to array [T, N, *shape], empty unless recorded
        Number of spikes in each step, before any axonal delay; of a `SigmaDelta` layer the message, an integer.
    v, v_peak : mapping of layer to array [T, N, *shape], empty unless ``record="full"``
        Potential after step t, and before its reset; of a `SigmaDelta` layer the activation, and the sum before it.
    events : mapping of layer to mapping of str to int
        ``spikes``, ``neuron_updates``, ``synaptic_operations`` (each spike counts the non-zero weights of its fan-out,
        booked on the receiving layer; flattening renames spikes and costs nothing; a gate hands spikes on; what works on
        analog values, the input's or those of other pooling, is not counted).
    """

    readout: Array
    readout_at: tuple[int, ...]
    counts: Mapping[str, Array]
    v_end: Mapping[str, Array]
    spikes: Mapping[str, Array] = field(default_factory=dict)
    v: Mapping[str, Array] = field(default_factory=dict)
    v_peak: Mapping[str, Array] = field(default_factory=dict)
    events: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    provenance: Provenance | None = None

    @property
    def steps(self) -> int:
        """T."""
        return self.readout_at[-1]


@dataclass(frozen=True, eq=False)
class Parting(Content):
    """One causal divergence: a unit that differs although every spike before it, in its sample, agreed."""

    layer: str
    t: int
    n: int
    unit: tuple[int, ...]
    a: int
    b: int
    v_peak: float
    theta: float

    @property
    def margin(self) -> float:
        """Greatest ``|v_peak / theta - k|`` of the counts k in dispute, 1 for a single spike or none.

        Small for a rounding, large for a bug; NaN where potentials are unknown, infinite for a threshold of 0.
        """
        if self.theta == 0:
            return float("inf")
        low, high = sorted((self.a, self.b))
        return max(abs(self.v_peak / self.theta - k) for k in (low + 1, high))

    def __str__(self) -> str:
        where = f"layer {self.layer!r}, step {self.t}, sample {self.n}, unit {self.unit}"
        told = "" if np.isnan(self.v_peak) else f" at v = {self.v_peak:g}, margin {self.margin:.3g}"
        return f"{where}: {self.a} against {self.b} spikes{told}"


@dataclass(frozen=True, eq=False)
class Divergence(Content):
    """How two traces part.

    Parameters
    ----------
    causal : tuple of Parting
        In order of step; at least the first of each sample that differs.
    spikes_differ, spikes_compared : int
        Entries of the spike arrays.
    v_max : float
        Greatest difference of potentials while no spike of the sample differed; NaN where they are unknown.
    """

    causal: tuple[Parting, ...]
    spikes_differ: int
    spikes_compared: int
    v_max: float

    @property
    def first(self) -> Parting | None:
        """The earliest causal divergence."""
        return self.causal[0] if self.causal else None

    @property
    def margin(self) -> float:
        """Greatest margin of the causal divergences; 0 where the spikes agree."""
        return max((p.margin for p in self.causal), default=0.0)

    def __str__(self) -> str:
        if not self.causal:
            return f"{self.spikes_compared} spike entries agree, potentials within {self.v_max:g}"
        return f"{self.spikes_differ} of {self.spikes_compared} spike entries differ; first: {self.first}"


def compare(network: Network, a: Trace, b: Trace, limit: int = 1000) -> Divergence:
    """Tell where two traces of one case part.

    Parameters
    ----------
    network : Network
        Whose layers are compared; both traces hold spikes of every spiking layer.
    a, b : Trace
        Potentials are taken from `a` where recorded.
    limit : int
        Greatest number of causal divergences that are listed, the earliest.
    """
    never = np.iinfo(np.int64).max
    first_of: dict[str, Array] = {}  # layer or input -> [N] first step at which anything upstream of it differs
    partings: list[Parting] = []
    differ = compared = 0
    v_max = np.nan
    samples = a.readout.shape[1]
    first_of[INPUT] = np.full(samples, never)
    for layer in network.layers:
        upstream = np.min([first_of[br.source] for br in layer.branches], axis=0)
        if layer.act is None:
            first_of[layer.name] = upstream
            continue
        try:
            sa, sb = a.spikes[layer.name], b.spikes[layer.name]
        except KeyError:
            raise NetworkError(f"layer {layer.name!r}: both traces must hold its spikes; use record='spikes'") from None
        if sa.shape != sb.shape:
            raise NetworkError(f"layer {layer.name!r}: spikes of shape {sa.shape} against {sb.shape}")
        unlike = sa != sb
        differ, compared = differ + int(unlike.sum()), compared + unlike.size
        t_unit = np.where(unlike.any(0), unlike.argmax(0), never)  # [N, *shape]
        axes = tuple(range(1, t_unit.ndim))
        # A unit's own first difference is causal when nothing upstream of the sample differed up to that step.
        causal = (t_unit < never) & (t_unit < np.expand_dims(upstream, axes) if axes else t_unit < upstream)
        partings += _partings(network, layer.name, a, b, t_unit, causal, limit)
        first_of[layer.name] = np.minimum(upstream, t_unit.min(axis=axes) if axes else t_unit)
        if layer.name in a.v and layer.name in b.v:
            calm = np.arange(len(sa))[:, None] < first_of[layer.name][None]  # [T, N]
            gap = np.abs(np.asarray(a.v[layer.name], float) - np.asarray(b.v[layer.name], float))
            gap = gap.reshape(*calm.shape, -1).max(-1)[calm]
            v_max = np.fmax(v_max, gap.max()) if gap.size else v_max
    partings.sort(key=lambda p: p.t)
    return Divergence(tuple(partings[:limit]), differ, compared, float(v_max))


def _partings(
    network: Network, name: str, a: Trace, b: Trace, t_unit: Array, causal: Array, limit: int
) -> list[Parting]:
    act = network[name].act
    one = act.theta if isinstance(act, Neuron) else 64.0 * np.asarray(getattr(act, "threshold", 0))
    theta = np.broadcast_to(per_channel(one, network.shapes[name]), network.shapes[name])
    potentials = a.v_peak.get(name, b.v_peak.get(name))
    places = np.argwhere(causal)
    places = places[np.argsort(t_unit[causal], kind="stable")][:limit]
    found = []
    for n, *unit in places.tolist():
        at = (int(t_unit[(n, *unit)]), n, *unit)
        v = float("nan") if potentials is None else float(potentials[at])
        spikes = int(a.spikes[name][at]), int(b.spikes[name][at])
        found.append(Parting(name, at[0], n, tuple(unit), *spikes, v, float(theta[tuple(unit)])))
    return found
