"""sc-neurocore's ``convert``, ``run`` and ``classify``, read back into our terms.

What the library builds, whatever the model: for every ``nn.Linear`` and ``nn.Conv2d``, in the order of
``model.modules()``, an IF neuron (``>=``, reset by subtraction, threshold 1), its last layer included; the potential
starts at 0, or at 1/2 where the model holds a QCFS activation. A step adds ``bias / T``, so a bias acts once in T steps.
The input is Bernoulli with ``RandomState(42)`` in every run. Nothing but these modules is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..activation import ClipFloor, Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Branch, Conv, Dense, Layer, Network, Op
from .conversion import Converted
from .sinabs_modules import build, is_chain, percentile_of, relu

Module = Any


def convert(
    network: Network,
    calibration: Array | None = None,
    *,
    x: Array | None = None,
    steps: int = 0,
    mode: str = "99.9%",
    **options: Any,
) -> Converted:
    """Conversion of a chain of dense layers or convolutions with ReLU or QCFS activations.

    Parameters
    ----------
    network : Network
    calibration : array [N, *input_shape], optional
        Without it every threshold is 1.
    x : array [N, *input_shape], optional
        In [0, 1]. Where given, the library's own run on it; it tells no spikes but the output's, summed over time, and
        its input is random: hence no trace. `sc_input_spikes` tells that input.
    steps : int
        T; where 0, the library's default: the levels of the first QCFS activation, else 16.
    mode : str
        "max" or a percentile such as "99.9%", the library's default.
    """
    if options:
        raise Unsupported("convert", f"it has no option {sorted(options)[0]!r}", "one of ['mode', 'steps']")
    if not is_chain(network) or not all(_documented(v.branches[0].op) for v in network.layers):
        raise Unsupported("convert", "documented for Linear and Conv2d layers in a row", "fold the network first")
    converted = _converted(network, calibration, steps, percentile_of(mode))
    snn, units = _read_back(network, converted, _scales(network, calibration, percentile_of(mode)))
    if x is None:
        return Converted(network, snn, units)
    counts = converted.run(np.asarray(x, float))
    return Converted(network, snn, units, None, counts[None] / converted.T * units[snn.output.name])


def sc_convert_run(
    network: Network, calibration: Array | None, x: Array, steps: int = 0, percentile: float = 99.9
) -> tuple[Array, Array]:
    """``convert``, then ``run`` and ``classify``, as the library's user calls them.

    Parameters
    ----------
    network : Network
        Dense layers with `Relu` (calibrated, or not where `calibration` is None) or `ClipFloor` (QCFS: never calibrated).
    calibration : array [N, n_input] or None
    x : array [N, n_input] or, unbatched, [n_input]
        In [0, 1].
    steps : int
        T; where 0, the library's default.

    Returns
    -------
    outputs : array [N, n_output] or [n_output]
        Output spikes per step times the output layer's threshold: ANN units, in [0, threshold].
    classes : array [N] or ()
    """
    converted = _converted(network, calibration, steps, percentile)
    x = np.asarray(x, float)
    unit = _scales(network, calibration, percentile)[len(network.layers) - 1]
    return converted.run(x) / converted.T * unit, np.asarray(converted.classify(x))


def sc_input_spikes(x: Array, steps: int) -> Array:
    """Spike train [T, N, n_input] that ``ConvertedSNN.run`` feeds its first layer with, for x [N, n_input].

    Told by the library itself: an identity network passes its input on, and a run of t steps draws what a longer one
    draws in its first t.
    """
    from sc_neurocore.conversion import ConvertedSNN

    x = np.asarray(x, float)
    eye = np.eye(x.shape[-1])
    counts = [ConvertedSNN([eye], [None], [1.0], t).run(x) for t in range(1, steps + 1)]
    return np.diff(np.stack(counts), axis=0, prepend=0 * counts[0][None])


def sc_kept_weights(network: Network, steps: int = 16) -> tuple[Array, ...]:
    """Weights that ``convert`` makes of *any* network; it looks at Linear and Conv2d and refuses nothing else."""
    return tuple(np.asarray(w) for w in _converted(network, None, steps, 99.9).weights)


def _documented(op: Op) -> bool:
    return isinstance(op, Dense) or (isinstance(op, Conv) and op.weight.ndim == 4 and not op.transposed)


def _converted(network: Network, calibration: Array | None, steps: int, percentile: float) -> Module:
    from sc_neurocore.conversion import convert as library

    model, data = _model(network, calibration)
    return library(model, data, T=steps or None, percentile=percentile)


def _model(network: Network, calibration: Array | None) -> tuple[Module, Any]:
    import torch

    data = None if calibration is None else torch.tensor(np.asarray(calibration, np.float32))
    return build(network, _activation).eval(), data


def _activation(layer: Layer) -> Module:
    from sc_neurocore.conversion import QCFSActivation

    if not isinstance(layer.act, ClipFloor):
        return relu(layer)
    if layer.act.shift != 0.5 or np.ndim(layer.act.theta):
        raise Unsupported(layer.name, "QCFS with a threshold for all channels and shift 1/2 alone")
    return QCFSActivation(T=layer.act.levels, theta=float(layer.act.theta))


def _read_back(network: Network, converted: Module, scales: Sequence[float]) -> tuple[Network, dict[str, Array]]:
    layers: list[Layer] = []
    source = INPUT
    for layer, weight, bias, theta in zip(
        network.layers, converted.weights, converted.biases, converted.thresholds, strict=True
    ):
        op, b = layer.branches[0].op, None if bias is None else np.asarray(bias, float) / converted.T
        assert isinstance(op, (Dense, Conv))
        new = Dense(np.asarray(weight, float), b) if isinstance(op, Dense) else _conv(op, weight, b)
        act = Neuron(theta=theta, v_init=converted.initial_membrane_fraction * theta)
        layers.append(Layer(layer.name, (Branch(new, source),), act))
        source = layer.name
    units = {layer.name: np.asarray(scale) for layer, scale in zip(layers, scales, strict=True)}
    return Network(network.input_shape, tuple(layers), network.note), units


def _conv(op: Conv, weight: Array, bias: Array | None) -> Conv:
    return Conv(np.asarray(weight, float), bias, op.stride, op.padding, op.dilation, op.groups)


def _scales(network: Network, calibration: Array | None, percentile: float) -> Sequence[float]:
    """Threshold of every layer before the library divided it out; the converted model does not keep it.

    Its own calibration tells it; layers without an activation of their own get 1, as in ``convert``.
    """
    from sc_neurocore.conversion.ann_to_snn import _compute_max_activations

    given = [float(v.act.theta) for v in network.layers if isinstance(v.act, ClipFloor)]
    if not given and calibration is not None:
        model, data = _model(network, calibration)
        given = _compute_max_activations(model, data, percentile)
    return [*given, *[1.0] * (len(network.layers) - len(given))]
