"""Minimal cases of the findings on sinabs 3.1.3: its layers, its helpers, its training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import sinabs_conversion, sinabs_nir
from .refusal import Pair, unless_refused


def _over_time(values: list[float], dtype: str = "float32") -> Any:
    """Input [1, T, 1] of one unit."""
    import torch

    return torch.tensor(values, dtype=getattr(torch, dtype)).reshape(1, -1, 1)


def reset_value() -> Pair:
    """A neuron is reset after it spiked, as documented: without input nothing spikes."""
    from sinabs import layers
    from sinabs.activation import MembraneReset

    return layers.IAF(reset_fn=MembraneReset(reset_value=0.25))(_over_time([0.0] * 6)).numpy().ravel(), np.zeros(6)


@unless_refused
def batch_size_change() -> Pair:
    """Samples are independent: two of zeros have the potential 0, whatever four others left (0 to 3, seed 0)."""
    import torch
    from sinabs import layers

    torch.manual_seed(0)
    layer = layers.IAF(spike_threshold=1000.0)
    layer(torch.arange(4.0).reshape(4, 1, 1))
    layer(torch.zeros(2, 1, 1))
    return layer.v_mem.numpy().ravel(), np.zeros(2)


def double_alpha() -> Pair:
    """In float64 the potential of 20 ones is the sum of exp(-k / 10), k = 0 ... 19, to 12 digits."""
    from sinabs import layers

    layer = layers.LIF(tau_mem=10.0, norm_input=False, spike_threshold=100.0)
    layer(_over_time([1.0] * 20, "float64"))
    return abs(layer.v_mem.item() - math.fsum(math.exp(-k / 10) for k in range(20))) < 1e-12, True


def double_threshold() -> Pair:
    """In float64 a spike at 0.15 takes the float64 threshold 0.1 away."""
    import torch
    from sinabs import layers

    layer = layers.IAF(spike_threshold=torch.tensor(0.1, dtype=torch.float64)).double()
    layer(_over_time([0.15], "float64"))
    return layer.v_mem.item(), 0.15 - 0.1


def multi_spike_quotient() -> Pair:
    """The spikes of a step are the most whose thresholds the potential holds: float32(15.9) < 159 float32(0.1)."""
    from sinabs import layers

    return layers.IAF(spike_threshold=0.1)(_over_time([float(np.float32(15.9))])).item(), 158.0


def heaviside_window() -> Pair:
    """The window is relative to the threshold, as documented: at threshold 2 the gradient begins at 2 (1 - 0.5)."""
    import torch
    from sinabs.activation import Heaviside

    grad = Heaviside(window=0.5)(torch.tensor([0.9, 1.1, 1.4, 1.6]), torch.tensor(2.0))
    return grad.numpy(), np.array([0, 0.5, 0.5, 0.5])


def relu_in_evaluation() -> Pair:
    """During evaluation mode the value is floored, as documented."""
    import torch
    from sinabs.layers import NeuromorphicReLU

    return NeuromorphicReLU(stochastic_rounding=True).eval()(torch.tensor([0.6, 1.5, 2.5])).numpy(), np.array([0, 1, 2])


def reset_states_helper() -> Pair:
    """reset_states resets the states of all spiking layers of a model, as documented: recurrent ones, and itself one."""
    import sinabs
    import torch
    from sinabs import layers

    recurrent = layers.IAFRecurrent(rec_connect=torch.nn.Linear(1, 1, bias=False), spike_threshold=9.0)
    model: Any = torch.nn.Sequential(recurrent)
    bare = layers.IAF(spike_threshold=9.0)
    for m in (model, bare):
        m(_over_time([3.0]))
        sinabs.reset_states(m)
    return (model[0].v_mem.item(), bare.v_mem.item()), (0.0, 0.0)


def compared_activations() -> Pair:
    """Rates are in one unit, and stay as they were returned: an input spike in each ms is 1000 Hz, one entry a name."""
    import torch
    from sinabs.from_torch import from_model

    network = from_model(sinabs_conversion.chain((0.5, None)), num_timesteps=4)
    rates = network.compare_activations(torch.ones(4, 1), name_list=["Input", "1"], compute_rate=True)[1]
    network.compare_activations(torch.ones(4, 1), name_list=["Input", "1"], compute_rate=True)
    return (float(rates[0].item()), len(rates)), (1000.0, 2)


CASES: Mapping[str, Callable[[], Pair]] = {
    "SIN-1": reset_value,
    "SIN-2": batch_size_change,
    **sinabs_conversion.CASES,
    **sinabs_nir.CASES,
    "SIN-25": reset_states_helper,
    "SIN-26": compared_activations,
    "SIN-27": heaviside_window,
    "SIN-28": relu_in_evaluation,
    "SIN-29": double_alpha,
    "SIN-30": double_threshold,
    "SIN-31": multi_spike_quotient,
}
