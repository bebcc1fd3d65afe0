"""Minimal cases of the findings on sc-neurocore 3.16.0: ``QCFSActivation``, ``convert`` and ``ConvertedSNN.run``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .refusal import Pair, unless_refused


def _linear(*weights: float, bias: float | None = None) -> Any:
    """Linear layer of one input and an output for each weight."""
    import torch
    from torch import nn

    linear = nn.Linear(1, len(weights), bias=bias is not None)
    linear.weight.data = torch.tensor(weights).float().reshape(-1, 1)
    if bias is not None:
        nn.init.constant_(linear.bias, bias)
    return linear


def _model(*modules: Any) -> Any:
    """The modules in a row; a string is the name of one without arguments."""
    from torch import nn

    return nn.Sequential(*(getattr(nn, m)() if isinstance(m, str) else m for m in modules))


def _weights(model: Any, calibration: float | None = None) -> tuple[float, ...]:
    """Weights of the conversion, calibrated on one sample; those of layers with one unit."""
    import torch
    from sc_neurocore.conversion import convert

    made = convert(model, None if calibration is None else torch.full((1, 1), calibration))
    return tuple(float(w.item()) for w in made.weights)


def _rates(model: Any, x: float, steps: int, calibration: float | None = None) -> Any:
    """Output spikes per step."""
    import torch
    from sc_neurocore.conversion import convert

    data = None if calibration is None else torch.full((1, 1), calibration)
    return convert(model, data, T=steps).run(np.array([x])) / steps


def qcfs_forward() -> Pair:
    """QCFS of 4 levels and threshold 1 is floor(4 x + 1/2) / 4, as documented."""
    import torch
    from sc_neurocore.conversion import QCFSActivation

    return QCFSActivation(T=4)(torch.tensor([0.1, 0.2, 0.3, 0.6])).detach().numpy(), np.array([0, 0.25, 0.25, 0.5])


def qcfs_gradient() -> Pair:
    """The gradient of QCFS is passed straight through, as documented: 1 inside the clip."""
    import torch
    from sc_neurocore.conversion import QCFSActivation

    x: Any = torch.tensor([0.1, 0.2, 0.3, 0.6], requires_grad=True)
    QCFSActivation(T=4)(x).sum().backward()
    return x.grad.numpy(), np.ones(4)


def bias_over_time() -> Pair:
    """A bias acts in every step: the rate of 0.5 is 0.5."""
    model = _model(_linear(0, bias=0.5), "ReLU")
    return tuple(float(_rates(model, 0.0, T)[0]) for T in (4, 64, 512)), (0.5, 0.5, 0.5)


def bias_not_normalised() -> Pair:
    """Weight and bias 2 make an activation of 4, by which both are divided [Diehl et al. 2015]."""
    import torch
    from sc_neurocore.conversion import convert

    made = convert(_model(_linear(2, bias=2), "ReLU"), torch.ones(1, 1))
    return (float(made.weights[0].item()), float(made.biases[0].item())), (0.5, 0.5)


def logits_clipped() -> Pair:
    """Of the logits -2, -1, 2, 3 the last is the greatest."""
    from sc_neurocore.conversion import convert

    return int(convert(_model(_linear(1), "ReLU", _linear(-2, -1, 2, 3)), T=64).classify(np.ones(1))), 3


def calibration_worsens() -> Pair:
    """Calibrated on 1, the outputs for 1 are the logits 1 and 1.5 in the unit of the output's threshold: 2/3 of each."""
    found = _rates(_model(_linear(4), "ReLU", _linear(0.25, 0.375)), 1.0, 64, 1.0)
    return round(float(found[0] / found[1]), 1), 0.7


def input_encoding() -> Pair:
    """A sample's result does not hang on its place in the batch: three rows of 0.5 count alike."""
    from sc_neurocore.conversion import convert

    made, x = convert(_model(_linear(1), "ReLU"), T=16), np.full((3, 1), 0.5)
    return made.run(x).ravel(), np.concatenate([made.run(row) for row in x])


@unless_refused
def input_out_of_range() -> Pair:
    """Inputs outside the documented [0, 1] are refused, or give the ANN's 1 and 0.5."""
    below = _rates(_model(_linear(-1), "ReLU"), -1.0, 8)
    return (float(below[0]), float(_rates(_model(_linear(0.25), "ReLU"), 2.0, 8)[0])), (1.0, 0.5)


@unless_refused
def dropped_batchnorm() -> Pair:
    """A batch normalisation of mean 10 acts or is refused: 1 - 10 is below 0."""
    from torch import nn

    norm: Any = nn.BatchNorm1d(1)
    nn.init.constant_(norm.running_mean, 10.0)
    return _rates(_model(_linear(1), norm, "ReLU").eval(), 1.0, 8), np.zeros(1)


@unless_refused
def dropped_layers() -> Pair:
    """Layers that cannot be converted are refused."""
    from sc_neurocore.conversion import convert
    from torch import nn

    model = _model(nn.Conv1d(1, 1, 2), "ReLU", nn.AvgPool1d(2), "Flatten", _linear(1), "Sigmoid")
    return f"{len(convert(model).weights)} weights", "refused"


def convolution_fails() -> Pair:
    """A network with Conv2d layers, which are documented, runs."""
    from sc_neurocore.conversion import convert
    from torch import nn

    return convert(_model(nn.Conv2d(1, 2, 1), "ReLU"), T=4).run(np.ones((1, 1, 2, 2))).shape, (1, 2, 2, 2)


@unless_refused
def thresholds_misplaced() -> Pair:
    """Thresholds sit at the layers whose activations they are: 0.5 at the second linear layer, 2 at the third."""
    return _weights(_model(_linear(1), _linear(1), "ReLU", _linear(4), "ReLU"), 0.5), (1.0, 2.0, 1.0)


@unless_refused
def qcfs_misplaced() -> Pair:
    """The threshold of a QCFS activation, 4, sits at its layer."""
    from sc_neurocore.conversion import QCFSActivation

    return _weights(_model(_linear(1), "ReLU", _linear(4), QCFSActivation(T=4, theta=4.0))), (1.0, 1.0)


@unless_refused
def order_of_registration() -> Pair:
    """Layers are run in the order of the forward pass: 1, then 10."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out, self.hidden = _linear(10), _linear(1)

        def forward(self, x: Any) -> Any:
            return self.out(torch.relu(self.hidden(x)))

    return _weights(Model()), (1.0, 10.0)


@unless_refused
def shared_linear() -> Pair:
    """A layer that is used twice acts twice."""
    linear = _linear(1)
    return _weights(_model(linear, "ReLU", linear, "ReLU")), (1.0, 1.0)


def model_changed() -> Pair:
    """Converting changes nothing in the model."""
    import torch
    from sc_neurocore.conversion import convert
    from torch import nn

    norm: Any = nn.BatchNorm1d(1)
    convert(_model(_linear(1), norm, "ReLU"), torch.tensor([[0.0], [1.0]]))
    return int(norm.num_batches_tracked), 0


@unless_refused
def nothing_to_convert() -> Pair:
    """A conversion that replaces nothing is an error."""
    return f"{len(_weights(_model(_linear(1))))} layer", "refused"


CASES: Mapping[str, Callable[[], Pair]] = {
    "SC-1": qcfs_forward,
    "SC-2": qcfs_gradient,
    "SC-3": bias_over_time,
    "SC-4": bias_not_normalised,
    "SC-5": logits_clipped,
    "SC-6": calibration_worsens,
    "SC-7": input_encoding,
    "SC-8": input_out_of_range,
    "SC-9": dropped_batchnorm,
    "SC-10": dropped_layers,
    "SC-11": convolution_fails,
    "SC-12": thresholds_misplaced,
    "SC-13": qcfs_misplaced,
    "SC-14": order_of_registration,
    "SC-15": shared_linear,
    "SC-16": model_changed,
    "SC-17": nothing_to_convert,
}
