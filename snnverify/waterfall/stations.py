"""The chain from a trained ANN to what is deployed, one change at a time; every station is a network that runs.

Notation: a layer with an activation has the value a, which the converter expects below the threshold theta. The chain is

    ann        the trained model as it is imported, every batch normalisation a layer of its own
    folded     the converter's ANN, normalisations written into weights and biases        a = max(z, 0)
    clipped    what no rate can exceed is cut                                             a = min(max(z, 0), theta)
    quantised  T steps tell T + 1 levels apart       a = theta / T clip(floor(z T / theta + v_0 / theta), 0, T)
    spiking    IF neurons with soft reset, constant input: that value by spikes, which arrive one after the other
    neuron     the conversion's own neuron: a hard reset, a leak
    encoded    the input as Bernoulli spikes
    weights    weights on a symmetric grid of few levels
    fixed      weights, biases, thresholds, potentials and inputs as multiples of 2^-F
    deployed   what is run in the end, where it is something else

of which the last five stand only where they change something. Between clipped and quantised lies what constant current
gives an IF neuron (Bu et al., ICLR 2022, eq. 10), between quantised and spiking therefore the unevenness of the spikes'
arrival, and nothing in a layer that sees the input alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from ..activation import Clip, ClipFloor, Neuron
from ..content import Array, Content
from ..convert import ConvertedNetwork
from ..convert.inputs import InputRange
from ..errors import ConfigError, Unsupported
from ..network import Network
from ..quantise import Grid, quantise
from ..trace import Encoding
from .fixed import MOST, fixed_point

ANALOG = "analog"
WORDS = {
    "ann": "trained ANN",
    "folded": "BN folded",
    "clipped": "clipped at threshold",
    "quantised": "T levels",
    "spiking": "spiking, constant input",
    "neuron": "the conversion's neuron",
    "encoded": "encoded input",
    "weights": "quantised weights",
    "fixed": "fixed point",
    "deployed": "as deployed",
}


@dataclass(frozen=True, eq=False)
class Deployment(Content):
    """What runs in the end, and how.

    Parameters
    ----------
    converted : ConvertedNetwork
    steps : int
        T.
    encoding : {"constant", "poisson"}
    grid : Grid or None
        Of the weights.
    fraction : int or None
        F, binary places of the fixed point.
    deployed : Network or None
        What is run, where it is not what all of this gives; with the conversion's layers, by name and shape.
    seed : int
        Of the encoding.
    """

    converted: ConvertedNetwork
    steps: int
    encoding: Encoding = "constant"
    grid: Grid | None = None
    fraction: int | None = None
    deployed: Network | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigError(f"steps = {self.steps}: at least 1")
        if self.fraction is not None and not 1 <= self.fraction <= MOST:
            raise ConfigError(f"fixed point = {self.fraction}: 1 ... {MOST} binary places")


@dataclass(frozen=True, eq=False)
class Station(Content):
    """One network of the chain, and how it is run.

    Parameters
    ----------
    key : str
        Of `WORDS`.
    network : Network
    run : {"analog", "constant", "poisson"}
        A forward pass, or a simulation with that encoding.
    inputs : InputRange or None
        How samples become those in [0, 1] that the network takes.
    places : int or None
        Binary places that samples are rounded to.
    """

    key: str
    network: Network
    run: str = ANALOG
    inputs: InputRange | None = None
    places: int | None = None

    def entered(self, x: Array) -> Array:
        """Return samples [N, *shape] in the user's units as the network takes them."""
        if self.inputs is not None:
            x = self.inputs.unit(np.asarray(x), clip=self.run == "poisson")
        return (
            x if self.places is None or self.run == "poisson" else np.rint(np.ldexp(x, self.places)) / 2.0**self.places
        )


@dataclass(frozen=True, eq=False)
class Chain(Content):
    """Stations in the order of the changes.

    Parameters
    ----------
    stations : tuple of Station
    scales : mapping of layer to array, () or (C,)
        Value of the ANN that a rate of 1 stands for, of every layer with a threshold, in the order of computation.
    worth : array, ()
        What the unit of the spiking read-out is in the ANN's.
    steps, seed : int
    """

    stations: tuple[Station, ...]
    scales: Mapping[str, Array]
    worth: Array
    steps: int
    seed: int = 0
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the stations."""
        return tuple(s.key for s in self.stations)


def chain(ann: Network, d: Deployment) -> Chain:
    """Return the stations between a trained ANN and a deployment.

    Parameters
    ----------
    ann : Network
        The trained model, nothing folded; what its layers with an activation are called, they are called in the conversion.
    d : Deployment

    Raises
    ------
    Unsupported
        No weight to put on a grid; a network whose layers with a threshold have other names or shapes.
    """
    c = d.converted
    scales = {v.name: c.scales[v.name] for v in c.snn.layers if v.name in c.scales}
    clipped = _acts(
        c.ann, {k: v.act if isinstance(v.act, ClipFloor) else Clip(scales[k]) for k, v in _named(c.ann, scales)}
    )
    levels = {k: ClipFloor(d.steps, scales[k], _start(c.snn, k)) for k in scales}
    plain = _acts(c.snn, {k: _plain(c.snn, k) for k in scales})
    stations = [
        Station("ann", ann),
        Station("folded", c.ann, inputs=c.inputs),
        Station("clipped", clipped, inputs=c.inputs),
        Station("quantised", _acts(c.ann, levels), inputs=c.inputs),
        Station("spiking", plain, "constant", c.inputs),
    ]

    def then(key: str, network: Network | None = None, **other: object) -> None:
        changed = stations[-1].network if network is None else network
        stations.append(replace(stations[-1], key=key, network=changed, **other))  # type: ignore[arg-type]

    if c.snn != plain:
        then("neuron", c.snn)
    if d.encoding != "constant":
        then("encoded", run=d.encoding)
    if d.grid is not None:
        then("weights", quantise(c.snn, d.grid).network)
    if d.fraction is not None:
        then("fixed", fixed_point(stations[-1].network, d.fraction), places=d.fraction)
    if d.deployed is not None and d.deployed != stations[-1].network:
        then("deployed", d.deployed)
    for s in stations:
        for k in scales:
            if c.snn.shapes[k] != s.network.shapes.get(k):
                raise Unsupported(k, f"the station {WORDS[s.key]!r} has no layer of this name and shape",
                                  "give networks whose layers correspond")  # fmt: skip
    worth = np.asarray(c.units[c.snn.output.name], float)
    return Chain(tuple(stations), scales, worth, d.steps, d.seed, _said(d))


def _named(network: Network, names: Mapping[str, Array]):  # type: ignore[no-untyped-def]
    return [(v.name, v) for v in network.layers if v.name in names]


def _acts(network: Network, acts: Mapping[str, object]) -> Network:
    """Return the network with other activations in some layers, its note left out."""
    layers = tuple(replace(v, act=acts[v.name]) if v.name in acts else v for v in network.layers)  # type: ignore[arg-type]
    return replace(network, layers=layers)


def _start(snn: Network, name: str) -> float:
    act = cast(Neuron, snn[name].act)
    return float(np.mean(np.asarray(act.v_init) / np.asarray(act.theta)))


def _plain(snn: Network, name: str) -> Neuron:
    """IF with soft reset, with the threshold, the value of a spike and the start of a layer's own neuron."""
    act = cast(Neuron, snn[name].act)
    return Neuron(theta=act.theta, amplitude=act.amplitude, v_init=act.v_init)


def _said(d: Deployment) -> dict[str, str]:
    """What each station changes, for people."""
    c = d.converted
    found = dict(WORDS) | {"quantised": f"{d.steps} levels", "spiking": f"spiking, T = {d.steps}"}
    found["clipped"] = f"clipped at {c.options.get('mode', 'threshold')}"
    unusual = ["reset to value"] * (c.options.get("reset") == "value")
    unusual += [f"leak {c.options['leak']}"] * (c.options.get("leak", "1") != "1")
    found["neuron"] = ", ".join(unusual) or WORDS["neuron"]
    found["encoded"] = f"{d.encoding} input"
    found["weights"] = f"weights {d.grid}" if d.grid else WORDS["weights"]
    found["fixed"] = f"fixed point, {d.fraction} binary places"
    return found
