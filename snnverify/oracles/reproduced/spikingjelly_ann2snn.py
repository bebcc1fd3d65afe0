"""Cases about the converter ``ann2snn`` that versions 2.0.0 and 0.0.0.0.14 share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .refusal import unless_refused

Tensor = Any
Module = Any
Case = Callable[[], "tuple[Any, Any]"]
EPS = 2.0**-10  # of a batch normalisation; with a running variance of 1/4 - eps its factor is exactly 2


def identity(dtype: str = "float32") -> Module:
    """A linear layer of weight 1, and a ReLU."""
    import torch

    torch.set_num_threads(1)
    linear = torch.nn.Linear(1, 1, bias=False, dtype=getattr(torch, dtype))
    torch.nn.init.ones_(linear.weight)
    return torch.nn.Sequential(linear, torch.nn.ReLU())


def model(forward: Callable[[Any, Tensor], Tensor], **parts: Module) -> Module:
    """Module with a 1 x 1 convolution of weight 1, a batch normalisation of factor 2, a ReLU, and this forward pass."""
    import torch

    class Model(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(self, x)

    made = Model()
    conv, norm = torch.nn.Conv2d(1, 1, 1, bias=False), torch.nn.BatchNorm2d(1, eps=EPS)
    torch.nn.init.ones_(conv.weight)
    norm.register_buffer("running_var", torch.full((1,), 0.25 - EPS))
    for name, part in {"conv": conv, "norm": norm, "act": torch.nn.ReLU(), **parts}.items():
        made.add_module(name, part)
    return made.eval()


def batch(*values: float, axes: int = 1, dtype: str = "float32") -> Tensor:
    """One sample of one value for each number: [N, 1], [N, 1, 1, 1] for ``axes = 3``."""
    import torch

    return torch.tensor(values, dtype=getattr(torch, dtype)).reshape(-1, *(1,) * axes)


def convert(ann: Module, batches: Iterable[Tensor], **options: Any) -> Module:
    """Convert by the library's converter with its defaults, but for the options."""
    import torch
    from spikingjelly.activation_based import ann2snn

    loader = [(x, torch.zeros(len(x))) for x in batches]
    if not hasattr(ann2snn, "RateCodingRecipe"):
        return ann2snn.Converter(loader, **options)(ann)
    return ann2snn.Converter(ann2snn.RateCodingRecipe(loader, **options)).convert(ann)


def threshold(*batches: Tensor, **options: Any) -> float:
    """Threshold, in ANN units, that `identity` gets: the scale of the scaler behind its neuron."""
    scalers = [m for m in convert(identity(), batches, **options).modules() if hasattr(m, "scale")]
    return float(scalers[-1].scale)


def outputs(snn: Module, *inputs: Tensor) -> tuple[tuple[float, ...], ...]:
    """Output of every step, from a reset on."""
    import torch
    from spikingjelly.activation_based import functional

    functional.reset_net(snn)
    with torch.no_grad():
        return tuple(tuple(snn(x.clone()).ravel().tolist()) for x in inputs)


def mean(snn: Module, x: Tensor, steps: int) -> tuple[float, ...]:
    """Mean output over the steps at constant input."""
    return tuple(np.mean(outputs(snn, *[x] * steps), axis=0).tolist())


def neurons(snn: Module) -> int:
    """How many spiking modules there are."""
    return sum(hasattr(m, "v_threshold") for m in snn.modules())


def without_parameters() -> tuple[Any, Any]:
    """A ReLU alone is a network too: it becomes one neuron."""
    import torch

    return neurons(convert(torch.nn.Sequential(torch.nn.ReLU()), [batch(1)], mode="max")), 1


def maximum_of_batches() -> tuple[Any, Any]:
    """The maximum of a set hangs neither on its batches nor on their order."""
    x, one, eight = batch(4, 1, 1, 1), batch(1), batch(8)
    cut = tuple(threshold(*x.split(n)) for n in (4, 2, 1))
    return (*cut, threshold(eight, one), threshold(one, eight)), (4.0, 4.0, 4.0, 8.0, 8.0)


def percentile_rank() -> tuple[Any, Any]:
    """The 99.9th percentile of 999 zeros and 1000 has the rank 998.001: it is 0.001 of the way from 0 to 1000."""
    return threshold(batch(*[0] * 999, 1000), mode="99.9%"), 1.0


def live_layer() -> tuple[Any, Any]:
    """A layer with an activation above 0 gets a threshold above 0, also where its median is 0."""
    return threshold(batch(-1, -2, -3, 4), mode="50%") > 0, True


@unless_refused
def silent_layer() -> tuple[Any, Any]:
    """A layer that is silent on the calibration set is refused in words, or gets a threshold above 0."""
    return threshold(batch(-1)) > 0, True


@unless_refused
def nothing_to_convert() -> tuple[Any, Any]:
    """A conversion that replaces nothing is an error."""
    return f"{neurons(convert(identity()[:1], [batch(1)]))} neurons", "refused"


@unless_refused
def max_pooling() -> tuple[Any, Any]:
    """The rate of a maximum is at most one spike in T over the maximum of the rates."""
    import torch

    def pooled(m: Any, x: Tensor) -> Tensor:
        return m.pool(m.act(m.conv(x)))

    snn = convert(model(pooled, pool=torch.nn.MaxPool2d((1, 2))), [batch(1, axes=3).expand(1, 1, 1, 2)])
    found = mean(snn, torch.tensor([[0.375, 0.625], [0.25, 0.375]]).reshape(2, 1, 1, 2), 100)
    return found, tuple(np.minimum(found, (0.635, 0.385)).tolist())


def saturated_unit() -> tuple[Any, Any]:
    """The unit at the maximum of the calibration set fires in each of 10 steps."""
    return sum(y > 0 for (y,) in outputs(convert(identity(), [batch(41)]), *[batch(41)] * 10)), 10


def double_precision() -> tuple[Any, Any]:
    """The threshold of a float64 model is the float64 activation, and so is the output of a spike."""
    x = batch(0.7, dtype="float64")
    return outputs(convert(identity("float64"), [x]), x), ((0.7,),)


@unless_refused
def shared_convolution() -> tuple[Any, Any]:
    """Where a convolution is called twice, folding changes no output: 1 -> 2 -> 4 with, 1 -> 1 -> 2 half with a norm."""
    twice = model(lambda m, x: m.act(m.norm(m.conv(m.act(m.norm(m.conv(x)))))))
    once = model(lambda m, x: m.act(m.norm(m.conv(m.act(m.conv(x))))))
    x = batch(1, axes=3)
    return tuple(mean(convert(ann, [x]), x, 8) for ann in (twice, once)), ((4.0,), (2.0,))


@unless_refused
def in_place_skip() -> tuple[Any, Any]:
    """After ``z = relu_(y)`` the skip carries the rectified y: relu(-1) + relu(-1) = 0."""
    import torch

    def skip(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return m.act(y) + y

    snn = convert(model(skip, act=torch.nn.ReLU(inplace=True)), [batch(1, axes=3)])
    return mean(snn, batch(-1, axes=3), 8), (0.0,)


@unless_refused
def empty_calibration() -> tuple[Any, Any]:
    """A calibration set without a sample has no maximum."""
    return f"threshold {threshold()}", "refused"


def tiny_threshold() -> tuple[Any, Any]:
    """Calibrated on 1e-40, every input of 1e-40 is one spike, and no input is none."""
    x, none = batch(1e-40), batch(0)
    tiny = float(np.float32(1e-40))
    return outputs(convert(identity(), [x]), x, none, none, x), ((tiny,), (0.0,), (0.0,), (tiny,))


@unless_refused
def other_activations() -> tuple[Any, Any]:
    """Every activation becomes a neuron: one of ``relu(conv(x))``, two of ``leaky(relu(conv(x)))``."""
    import torch

    functional = model(lambda m, x: torch.nn.functional.relu(m.conv(x)))
    leaky = model(lambda m, x: m.leaky(m.act(m.conv(x))), leaky=torch.nn.LeakyReLU())
    return tuple(neurons(convert(ann, [batch(1, axes=3)])) for ann in (functional, leaky)), (1, 2)


def dropout() -> tuple[Any, Any]:
    """In eval mode dropout is the identity: ones stay ones."""
    import torch

    torch.manual_seed(0)
    ann = model(lambda m, x: torch.nn.functional.dropout(m.act(m.conv(x)), 0.5, m.training)).train()
    x = batch(*[1] * 8, axes=3)
    return outputs(convert(ann, [x]).eval(), x), ((1.0,) * 8,)


def callers_model() -> tuple[Any, Any]:
    """Conversion leaves the caller's model in training mode, and changing that model leaves the converted one alone."""
    import torch

    ann, x = identity().train(), batch(4)
    snn = convert(ann, [x])
    modes = tuple(m.training for m in ann)
    torch.nn.init.constant_(ann[0].weight, 0.25)
    return (modes, *outputs(snn, x, x, x, x)), ((True, True), (4.0,), (4.0,), (4.0,), (4.0,))


@unless_refused
def momentum() -> tuple[Any, Any]:
    """A threshold made of the batches' maxima 8 and 1 lies between them."""
    found = threshold(batch(8), batch(1), momentum=5.0)
    return found, min(max(found, 1.0), 8.0)


CASES: dict[str, Case] = {
    "SJ14-33": without_parameters,
    "SJ-1": maximum_of_batches,
    "SJ-3": percentile_rank,
    "SJ-5": live_layer,
    "SJ-6": nothing_to_convert,
    "SJ-7": max_pooling,
    "SJ-8": saturated_unit,
    "SJ-9": double_precision,
    "SJ-10": shared_convolution,
    "SJ-12": in_place_skip,
    "SJ-13": empty_calibration,
    "SJ-28": tiny_threshold,
    "SJ14-3": silent_layer,
    "SJ14-15": other_activations,
    "SJ14-16": dropout,
    "SJ14-17": callers_model,
    "SJ14-19": momentum,
}
