"""Small torch models that a Network cannot say: shared modules, functional forms, in-place operations, training mode.

Operator ``convert_model(name)`` converts one with the library and runs both, so that a check can ask whether the
conversion is the model's or is refused. All numbers are dyadic, and the thresholds that calibration finds are the very
activations: every converted output must equal the model's in each of its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..content import Array
from ..errors import Unsupported

Tensor = Any
Module = Any
STEPS = 8
EPS = 2.0**-10  # of a batch normalisation; with a running variance of 1/4 - eps its factor is exactly 2


def convert_model(name: str) -> Mapping[str, Array]:
    """Convert a model by the library's converter with its defaults.

    Parameters
    ----------
    name : str
        A key of `MODELS`.

    Returns
    -------
    mapping
        ``ann`` and ``snn``: output of the model in eval mode before the conversion, and mean output of the converted
        one over `STEPS` steps, [N, C]; ``training``: whether each module of the caller's model is in training mode
        afterwards, as it was given; ``independent``: mean output of the converted model once the caller's
        weights are 0; ``neurons``: how many spiking modules the converted model has.

    Raises
    ------
    Unsupported
        The library refuses the model.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, x = MODELS[name](torch), _input(torch)
    with torch.no_grad():
        ann = model.eval()(x.clone()).numpy().copy()
        model.train()
        try:
            converted = _convert(model, [(x.clone(), torch.zeros(len(x)))]).eval()
        except (ValueError, NotImplementedError) as e:
            raise Unsupported("ann2snn", str(e)) from e
        training = np.array([m.training for m in model.modules()])
        model.eval()
        snn, neurons = _mean(converted, x), _neurons(converted)
        for p in model.parameters():
            p.zero_()
        return {"ann": ann, "snn": snn, "training": training, "independent": _mean(converted, x),
                "neurons": np.array(neurons)}  # fmt: skip


def _convert(model: Module, batches: Any) -> Module:
    from spikingjelly.activation_based import ann2snn

    if hasattr(ann2snn, "RateCodingRecipe"):
        return ann2snn.Converter(ann2snn.RateCodingRecipe(batches)).convert(model)
    return ann2snn.Converter(batches)(model)


def _neurons(converted: Module) -> int:
    return sum(hasattr(m, "v_threshold") for m in converted.modules())


def _mean(converted: Module, x: Tensor) -> Array:
    from spikingjelly.activation_based import functional

    functional.reset_net(converted)
    mean: Array = (sum(converted(x.clone()) for _ in range(STEPS)) / STEPS).numpy()
    return mean


def _input(torch: Any) -> Tensor:
    """Two samples of one channel and one pixel: the rectified values are 0 and a threshold."""
    return torch.tensor([[[[1.0]]], [[[-1.0]]]])


def _model(torch: Any, forward: Callable[[Any, Tensor], Tensor], activation: Any = None) -> Module:
    """Module with a convolution, a batch normalisation of factor 2, an activation, and this forward pass."""

    class Model(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(1, 1, 1, bias=False)
            self.conv.weight.data.fill_(1.0)
            self.norm = torch.nn.BatchNorm2d(1, eps=EPS)
            self.norm.running_var.fill_(0.25 - EPS)
            self.act = torch.nn.ReLU() if activation is None else activation

        def forward(self, x: Tensor) -> Tensor:
            return forward(self, x).flatten(1)

    return Model()


def _residual_in_place(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    z = m.act(y)
    return z + y


MODELS: Mapping[str, Callable[[Any], Module]] = {
    "plain": lambda t: _model(t, lambda m, x: m.act(m.norm(m.conv(x)))),
    "unfolded norm": lambda t: _model(t, lambda m, x: m.act(m.norm(m.act(m.conv(x))))),
    "shared activation": lambda t: _model(t, lambda m, x: m.act(m.norm(m.act(x)))),
    "shared convolution": lambda t: _model(t, lambda m, x: m.act(m.norm(m.conv(m.act(m.conv(x)))))),
    "shared convolution and norm": lambda t: _model(t, lambda m, x: m.act(m.norm(m.conv(m.act(m.norm(m.conv(x))))))),
    "skip": lambda t: _model(t, _residual_in_place),
    "in-place skip": lambda t: _model(t, _residual_in_place, t.nn.ReLU(inplace=True)),
    "functional relu": lambda t: _model(t, lambda m, x: t.nn.functional.relu(m.conv(x))),
    "method relu": lambda t: _model(t, lambda m, x: m.conv(x).relu()),
    "leaky relu": lambda t: _model(t, lambda m, x: m.act(m.conv(x)), t.nn.LeakyReLU()),
    "relu6": lambda t: _model(t, lambda m, x: m.act(m.conv(x)), t.nn.ReLU6()),
    "functional dropout": lambda t: _model(t, lambda m, x: t.nn.functional.dropout(m.act(m.conv(x)), 0.5, m.training)),
    "dropout": lambda t: _model(t, lambda m, x: m.act(m.conv(x)), t.nn.Sequential(t.nn.ReLU(), t.nn.Dropout(0.5))),
}  # fmt: skip
