"""Minimal cases of the findings on sinabs 3.1.3: ``from_model`` and ``normalize_weights``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .refusal import Pair, unless_refused


def chain(*weights: tuple[float, float | None], relu: Any = None) -> Any:
    """Linear layers of one unit, (weight, bias), each with a ReLU of its own or with `relu`."""
    from torch import nn

    modules = []
    for weight, bias in weights:
        linear = nn.Linear(1, 1, bias=bias is not None)
        nn.init.constant_(linear.weight, weight)
        if bias is not None:
            nn.init.constant_(linear.bias, bias)
        modules += [linear, relu or nn.ReLU()]
    return nn.Sequential(*modules)


def _module(forward: Callable[[Any, Any], Any], **parts: Any) -> Any:
    """Module with these parts and this forward pass."""
    from torch import nn

    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return forward(self, x)

    made = Model()
    for name, part in parts.items():
        made.add_module(name, part)
    return made


def _kinds(model: Any) -> tuple[str, ...]:
    return tuple(type(m).__name__ for m in model)


def _outputs(model: Any, x: float, steps: int, **options: Any) -> Any:
    """Output of the converted model in every step, at constant input."""
    import torch
    from sinabs.from_torch import from_model

    with torch.no_grad():
        return from_model(model, num_timesteps=steps, **options)(torch.full((steps, 1), x)).numpy().ravel()


def shared_relu() -> Pair:
    """Every ReLU is substituted, also where one module is used twice."""
    from sinabs.from_torch import from_model
    from torch import nn

    model = from_model(chain((1, None), (1, None), relu=nn.ReLU()), num_timesteps=1).spiking_model
    return _kinds(model), ("Linear", "IAFSqueeze", "Linear", "IAFSqueeze")


@unless_refused
def reused_relu() -> Pair:
    """Each use of an activation has neurons of its own: the second one sees 0.5 and 0.5, so it fires 0 and 1."""
    from torch import nn

    return _outputs(_module(lambda m, x: m.relu(0 * m.relu(x) + 0.5), relu=nn.ReLU()), 0.25, 2), np.array([0, 1])


def input_shape_leaves_potential() -> Pair:
    """A converted network starts at rest, whatever the options: 0.75 in one step is no spike."""
    return _outputs(chain((1, 0.75)), 0.0, 1, input_shape=(1,)), np.zeros(1)


@unless_refused
def silently_kept() -> Pair:
    """A model in which no activation can be substituted is refused."""
    from sinabs.from_torch import from_model
    from torch import nn

    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU6(), nn.MaxPool1d(2), nn.LeakyReLU(), nn.Sigmoid())
    return _kinds(from_model(model, num_timesteps=1).spiking_model), "refused"


@unless_refused
def spiking_output_never_run() -> Pair:
    """With add_spiking_output the output is spikes: 0.5 and 0.5 make 0 and 1."""
    from torch import nn

    out = nn.Linear(1, 1, bias=False)
    nn.init.constant_(out.weight, 0.5)
    model = _module(lambda m, x: m.out(m.relu(x)), relu=nn.ReLU(), out=out)
    return _outputs(model, 1.0, 2, add_spiking_output=True), np.array([0, 1])


def bias_rescaling() -> Pair:
    """Biases are divided by bias_rescaling, of whatever layer: 1 by 2."""
    from sinabs.from_torch import from_model
    from torch import nn

    layers: tuple[Any, ...] = nn.ConvTranspose2d(1, 1, 1), nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1)
    for layer in layers:
        nn.init.ones_(layer.bias)
    converted = from_model(nn.Sequential(*layers, nn.ReLU()), num_timesteps=1, bias_rescaling=2.0).spiking_model
    return tuple(m.bias.item() for m in list(converted)[:3]), (0.5, 0.5, 0.5)


def statistics_moved() -> Pair:
    """Converting changes no running statistic."""
    from sinabs.from_torch import from_model
    from torch import nn

    model = nn.Sequential(chain((1, 1))[0], nn.BatchNorm1d(1), nn.ReLU())
    converted = from_model(model, input_shape=(1,), batch_size=2, num_timesteps=2).spiking_model
    return round(converted[1].running_mean.item(), 6), 0.0


def _normalized(*weights: tuple[float, float]) -> tuple[Any, Any]:
    """The chain with the weights that normalize_weights leaves it, and its outputs for 1 and 3."""
    import torch
    from sinabs.utils import normalize_weights

    model, x, n = chain(*weights), torch.tensor([[1.0], [3.0]]), 2 * len(weights)
    normalize_weights(model, x, [str(k) for k in range(1, n, 2)], [str(k) for k in range(0, n, 2)], 100)
    return model, model(x).detach().numpy().ravel()


def normalized_biases() -> Pair:
    """Normalised outputs are those of the ANN over their maximum: 3 and 5 become 0.6 and 1 [Rueckauer et al. 2017]."""
    return np.round(_normalized((1, 1), (1, 1))[1].astype(float), 6), np.array([0.6, 1])


@unless_refused
def normalized_dead_layer() -> Pair:
    """A layer that is silent on the sample data keeps finite weights."""
    with np.errstate(divide="ignore"):
        return bool(np.isfinite(_normalized((-1, 0))[0][0].weight.item())), True


CASES: Mapping[str, Callable[[], Pair]] = {
    "SIN-3": shared_relu,
    "SIN-4": reused_relu,
    "SIN-5": input_shape_leaves_potential,
    "SIN-6": silently_kept,
    "SIN-7": spiking_output_never_run,
    "SIN-8": bias_rescaling,
    "SIN-9": normalized_biases,
    "SIN-10": normalized_dead_layer,
    "SIN-11": statistics_moved,
}
