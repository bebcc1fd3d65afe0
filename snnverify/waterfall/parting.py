"""Where the SNN and the ANN part on single samples: layer, units, and whether clipping, levels or arrival did it.

For a unit with the ANN's activation t and the SNN's rate r, both in thresholds, given the mean input that its neuron got
and due what the ANN's activations would have given, the error is a sum of four, exactly:

    r - t = clipping       min(t, 1) - t
          + inherited      clip(given) - clip(due)        earlier layers' errors; of the first layer, an encoded input's
          + quantisation   own, as far as |own| <= q      own = r - clip(given), q = max(v, 1 - v) / T, v = V_0 / theta
          + unevenness     own beyond q

q is what a constant current leaves (`snnverify list model.first_layer_rate`; Bu et al., ICLR 2022): a neuron that errs by
more got its spikes at the wrong time, and the excess lies in its potential, as ``own = given - clip(given) - (V_T - V_0) /
(T theta)`` by the layer identity (Rueckauer et al. 2017). Networks *part* in a unit where ``|r - t|`` is over q and
rounding: over what T levels of the ANN's very own activation explain. In the first such layer nothing before it has
parted, so what is inherited there are quantisation errors that add up, or the noise of an encoded input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..activation import ClipFloor, Neuron
from ..bounds import potential_error
from ..content import Array, Content
from ..convert import ConvertedNetwork
from ..fidelity.tiles import drives
from ..kernels import encode
from ..network import INPUT, per_channel
from ..simulate import forward, simulate, summed
from ..trace import Encoding
from .walk import onwards

PARTS = ("clipping", "inherited", "quantisation", "unevenness")
WORST = 8  # units that are listed of a layer


@dataclass(frozen=True, eq=False)
class UnitParting(Content):
    """One unit of one sample (its number in the batch): activation and rate in thresholds, and the four parts of r - t.

    ``left`` is the potential left over, ``(V_T - V_0) / theta``; ``activation`` the ANN's, in its own unit.
    """

    sample: int
    unit: tuple[int, ...]
    activation: float
    target: float
    rate: float
    left: float
    parts: Mapping[str, float]

    @property
    def error(self) -> float:
        """R - t."""
        return self.rate - self.target


@dataclass(frozen=True, eq=False)
class LayerParting(Content):
    """One layer on some samples.

    Parameters
    ----------
    layer : str
    bound : float
        q and rounding, in thresholds.
    parted, units : int
        Units of all samples together that err by more, and all.
    samples : int array [N]
        Units that part in each sample.
    parts : mapping of str to float
        Sum of the sizes of each part over the units that part.
    worst : tuple of UnitParting
        Those with the greatest errors.
    classes : int array [N]
        Classes with the rates of this layer, and of those before it, in the place of the ANN's activations.
    """

    layer: str
    bound: float
    parted: int
    units: int
    samples: Array
    parts: Mapping[str, float]
    worst: tuple[UnitParting, ...]
    classes: Array

    @property
    def cause(self) -> str:
        """The greatest part; empty where nothing parts."""
        return max(PARTS, key=lambda k: self.parts[k]) if self.parted else ""


@dataclass(frozen=True, eq=False)
class Parted(Content):
    """Samples, layer by layer.

    Parameters
    ----------
    layers : tuple of LayerParting
        Spiking layers in the order of computation.
    ann, snn : int array [N]
        Classes.
    steps : int
    encoding : str
    """

    layers: tuple[LayerParting, ...]
    ann: Array
    snn: Array
    steps: int
    encoding: str

    @property
    def first(self) -> LayerParting | None:
        """The first layer in which a unit parts."""
        return next((v for v in self.layers if v.parted), None)

    def first_in(self, n: int) -> LayerParting | None:
        """The first layer in which a unit of sample `n` parts."""
        return next((v for v in self.layers if v.samples[n]), None)

    def turns(self, n: int) -> str:
        """Layer with whose rates the class of sample `n` becomes the SNN's for good; empty where ANN and SNN agree.

        The read-out of the SNN adds up what the last layer sent, so with all layers' rates the class is the SNN's, but
        for ties within rounding.
        """
        if self.ann[n] == self.snn[n]:
            return ""
        kept = [i for i, v in enumerate(self.layers) if v.classes[n] != self.snn[n]]
        at = kept[-1] + 1 if kept else 0
        return self.layers[min(at, len(self.layers) - 1)].layer


def part(
    converted: ConvertedNetwork, x: Array, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
    first_sample: int | Array = 0,
) -> Parted:  # fmt: skip
    """Follow samples through the ANN and its conversion.

    Parameters
    ----------
    converted : ConvertedNetwork
    x : array [N, *shape]
        As the networks take them (`ConvertedNetwork.entered`).
    steps : int
        T.
    encoding, seed, first_sample
        See `simulate`.
    """
    snn, ann = converted.snn, converted.ann
    train = encode.fastest()(x, 0, steps, seed, first_sample) if encoding == "poisson" else x
    drawn: Encoding = "spikes" if encoding == "poisson" else encoding
    trace = simulate(snn, train, steps, encoding=drawn, dtype="float64")
    analog = forward(ann, x) | {INPUT: np.asarray(x, float)}
    rates = {k: v / steps for k, v in trace.counts.items()}
    given = train.mean(0) if encoding == "poisson" else x
    means, wanted = (drives(converted, v, rates, analog, steps, "constant", 0, 0)[i] for i, v in enumerate((given, x)))
    told: dict[str, Array] = {}
    found = []
    for layer in snn.spiking:
        name, shape = layer.name, snn.shapes[layer.name]
        assert isinstance(layer.act, Neuron)
        theta, v_init = (per_channel(p, shape) for p in (layer.act.theta, layer.act.v_init))
        scale = per_channel(converted.scales[name], shape)
        target = np.maximum(analog[name], 0) / scale
        got, due = (np.clip(summed(layer, values) / theta, 0, 1) for values in (means, wanted))
        start = np.broadcast_to(v_init / theta, shape)
        q = float(np.maximum(start, 1 - start).max()) / steps
        own = rates[name] - got
        act = ann[name].act
        grain = np.minimum(target, 1) - due if isinstance(act, ClipFloor) else 0.0  # a QCFS layer's own levels
        levels = np.clip(own, -q, q)
        parts = {
            "clipping": np.minimum(target, 1) - target, "inherited": got - due, "quantisation": levels - grain,
            "unevenness": own - levels,
        }  # fmt: skip
        error = rates[name] - target
        x_max = max(1.0, float(np.abs(x).max()))
        # a rate is off by the rounding of its potential over theta T; float32's bound covers float64, in which this runs
        rounding = potential_error(snn, name, steps, x_max) / (steps * float(np.min(layer.act.theta)))
        bound = q + rounding + (max(act.shift, 1 - act.shift) / act.levels if isinstance(act, ClipFloor) else 0.0)
        over = np.abs(error) > bound
        axes = tuple(range(1, over.ndim))
        left = (trace.v_end[name] - v_init) / theta
        told[name] = rates[name] * scale
        values, _ = onwards(ann, x, told)
        found.append(LayerParting(
            name, bound, int(over.sum()), over.size, over.sum(axes),
            {k: float(np.abs(v)[over].sum()) for k, v in parts.items()},
            _worst(error, over, analog[name], target, rates[name], left, parts),
            values[ann.output.name].reshape(len(x), -1).argmax(-1),
        ))  # fmt: skip
    classes = analog[ann.output.name].reshape(len(x), -1).argmax(-1)
    return Parted(tuple(found), classes, converted.outputs(trace)[-1].reshape(len(x), -1).argmax(-1), steps, encoding)


def _worst(
    error: Array, over: Array, analog: Array, target: Array, rate: Array, left: Array, parts: Mapping[str, Array]
) -> tuple[UnitParting, ...]:
    size = np.where(over, np.abs(error), -1.0)
    order = np.argsort(-size, axis=None, kind="stable")[: min(WORST, int(over.sum()))]
    found = []
    for at in zip(*np.unravel_index(order, size.shape), strict=True):
        n, *unit = (int(k) for k in at)
        here = (n, *unit)
        found.append(UnitParting(
            n, tuple(unit), float(analog[here]), float(target[here]), float(rate[here]), float(left[here]),
            {k: float(v[here]) for k, v in parts.items()},
        ))  # fmt: skip
    return tuple(found)
