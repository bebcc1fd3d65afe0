"""Minimal cases of the findings on snnTorch 1.0.0: its neurons and their states."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...content import Array
from . import snntorch_nir, snntorch_training
from .refusal import Pair


def _run(node: Any, *inputs: float) -> tuple[Array, Array]:
    """Spikes and potentials of one unit, whose state is left to the neuron."""
    import torch

    told = [(node(torch.full((1, 1), x))[0].item(), node.mem.item()) for x in inputs]
    return np.array([s for s, _ in told]), np.array([v for _, v in told])


def _hidden() -> Any:
    """Build a neuron that sums its input and keeps the potential."""
    import snntorch

    return snntorch.Leaky(beta=1.0, threshold=10.0, init_hidden=True)


def residual_above_threshold() -> Pair:
    """Soft reset within the step: v <- v - theta s, so that 2.5 is worth two spikes."""
    import snntorch

    return _run(snntorch.Leaky(beta=1.0, reset_delay=False), 2.5, 0, 0), (
        np.array([1, 1, 0]),
        np.array([1.5, 0.5, 0.5]),
    )


def zero_reset() -> Pair:
    """U[t+1] = b U[t] + I[t+1] - R (b U[t] + I[t+1]), as documented: 0 in the step after a spike."""
    import snntorch

    node = snntorch.Leaky(beta=1.0, reset_mechanism="zero")
    return _run(node, 1.5, 0.25, 0.25, 0.25)[1], np.array([1.5, 0, 0.25, 0.5])


def recurrent_immediate_reset() -> Pair:
    """Every documented neuron runs with reset_delay=False from the states that it begins with; 1 is not above 1."""
    import snntorch
    import torch

    node = snntorch.RSynaptic(alpha=0.0, beta=1.0, all_to_all=False, V=0.0, reset_delay=False)
    return node(torch.ones(1, 1))[0].item(), 0.0


def inhibited_reset() -> Pair:
    """A neuron that is kept from firing keeps its charge: only who fires is reset."""
    import snntorch
    import torch

    node = snntorch.Leaky(beta=1.0, inhibition=True)
    node(torch.tensor([[1.5, 2.0]]))
    node(torch.zeros(1, 2))
    return node.mem.numpy(), np.array([[1.5, 1.0]])


def inhibited_graded_spikes() -> Pair:
    """A spike is worth graded_spikes_factor, as documented."""
    import snntorch
    import torch

    node = snntorch.Leaky(beta=1.0, inhibition=True, graded_spikes_factor=2.0)
    return node(torch.tensor([[1.5, 2.0]]))[0].numpy(), np.array([[0.0, 2.0]])


def spikes_in_double() -> Pair:
    """A network in float64 runs on float64 input: 1 and then 1 * 1 = 1 from the one unit that fires."""
    import snntorch
    import torch

    linear = torch.nn.Linear(1, 1, bias=False)
    linear.weight.data.fill_(1)
    net = torch.nn.Sequential(snntorch.Leaky(beta=0.5, init_hidden=True), linear).double()
    return net(torch.full((1, 1), 2.0, dtype=torch.float64)).item(), 1.0


def leak_in_double() -> Pair:
    """A leak of 0.9 given as a number is 0.9 in float64: 1 and then 0.9 + 1, to 12 digits."""
    import snntorch
    import torch

    node = snntorch.Leaky(beta=0.9, threshold=100.0)
    for _ in range(2):
        node(torch.ones(1, 1, dtype=torch.float64))
    return round(node.mem.item(), 12), 1.9


def lapicque_decay() -> Pair:
    """Beta is the decay rate of the potential, as documented: 1 becomes 0.5, to 4 digits."""
    import snntorch

    v = _run(snntorch.Lapicque(beta=0.5, reset_mechanism="none", threshold=100.0), 1.0, 0.0)[1]
    return np.round(v[1] / v[0], 4), 0.5


def lapicque_with_all_three() -> Pair:
    """Parameters are used or refused when the neuron is built, not at its first step: no spike at 0."""
    import snntorch

    return _run(snntorch.Lapicque(R=1.0, C=2.0, beta=0.5), 0.0)[0], np.zeros(1)


def parallel_leak_of_each_unit() -> Pair:
    """A beta of one value for each unit is the diagonal of the recurrent weights, as documented."""
    import snntorch
    import torch

    torch.manual_seed(0)
    node = snntorch.LeakyParallel(3, 3, beta=torch.tensor([0.5, 0.25, 0.75]))
    return torch.diagonal(node.rnn.weight_hh_l0).detach().numpy(), np.array([0.5, 0.25, 0.75])


def state_leaky_decay() -> Pair:
    """Beta is the decay rate of the potential, as documented: 1, 0.5, 0.25, to 4 digits."""
    import snntorch
    import torch

    v = snntorch.StateLeaky(beta=0.5, channels=1)(torch.tensor([1.0, 0, 0]).reshape(3, 1, 1))[1]
    return np.round(v.detach().double().numpy().ravel(), 4), np.array([1, 0.5, 0.25])


def state_leaky_graded_spikes() -> Pair:
    """A spike is worth graded_spikes_factor, as documented."""
    import snntorch
    import torch

    node = snntorch.StateLeaky(beta=0.5, channels=1, graded_spikes_factor=2.0)
    return node(torch.full((1, 1, 1), 3.0))[0].item(), 2.0


def reset_of_nested_modules() -> Pair:
    """utils.reset resets the neurons of a network, also those of its submodules."""
    import torch
    from snntorch import utils

    node = _hidden()
    net = torch.nn.Sequential(torch.nn.Sequential(node))
    net(torch.ones(1, 1))
    utils.reset(net)
    return node.mem.sum().item(), 0.0


def reset_of_a_copy() -> Pair:
    """utils.reset resets the neurons of a network, also of one that was copied."""
    import torch
    from snntorch import utils

    node = copy.deepcopy(_hidden())
    net = torch.nn.Sequential(node)
    net(torch.ones(1, 1))
    utils.reset(net)
    return node.mem.sum().item(), 0.0


def reset_of_another_network() -> Pair:
    """utils.reset(net) leaves other networks alone."""
    import torch
    from snntorch import utils

    other = _hidden()
    other(torch.ones(1, 1))
    utils.reset(torch.nn.Sequential(_hidden()))
    return other.mem.sum().item(), 1.0


def zeros() -> Pair:
    """SpikingNeuron.zeros is used to clear states to zero, as documented."""
    import snntorch
    import torch

    m = torch.ones(2)
    snntorch.Leaky.zeros(m)
    return m.numpy(), np.zeros(2)


def deleted_neurons() -> Pair:
    """A neuron that nothing refers to is freed."""
    import snntorch

    node = snntorch.Leaky(beta=0.5)
    alive = weakref.ref(node)
    del node
    gc.collect()
    return alive() is None, True


def changed_reset_mechanism() -> Pair:
    """A neuron whose reset_mechanism reads 'zero' loses its charge where one that reads 'subtract' keeps 0.75."""
    import snntorch

    node = snntorch.Leaky(beta=1.0)
    node.reset_mechanism = "zero"
    return _run(node, 1.75, 0.0)[1], np.array([1.75, 0])


def loaded_reset_mechanism() -> Pair:
    """The buffer reset_mechanism_val is loaded with a state_dict, and the neuron that has it behaves as it says."""
    import snntorch

    node = snntorch.Leaky(beta=1.0)
    node.load_state_dict(snntorch.Leaky(beta=1.0, reset_mechanism="zero").state_dict())
    return _run(node, 1.75, 0.0)[1], np.array([1.75, 0])


def given_state() -> Pair:
    """A given potential is the one that the step begins with, or is refused; (3,) broadcasts over (2, 3)."""
    import snntorch
    import torch

    _, v = snntorch.Leaky(beta=1.0, threshold=10.0)(torch.ones(2, 3), torch.full((3,), 5.0))
    return v.numpy(), np.full((2, 3), 6.0)


CASES: Mapping[str, Callable[[], Pair]] = {
    "SNN-1": residual_above_threshold,
    "SNN-2": zero_reset,
    "SNN-12": reset_of_nested_modules,
    "SNN-13": reset_of_another_network,
    "SNN-14": zeros,
    "SNN-15": deleted_neurons,
    "SNN-16": changed_reset_mechanism,
    "SNN-17": inhibited_reset,
    "SNN-18": given_state,
    "SNN-19": spikes_in_double,
    "SNN-20": lapicque_decay,
    "SNN-21": lapicque_with_all_three,
    "SNN-22": parallel_leak_of_each_unit,
    "SNN-23": state_leaky_decay,
    "SNN-33": recurrent_immediate_reset,
    "SNN-38": leak_in_double,
    "SNN-39": inhibited_graded_spikes,
    "SNN-40": state_leaky_graded_spikes,
    "SNN-41": reset_of_a_copy,
    "SNN-42": loaded_reset_mechanism,
    **snntorch_nir.CASES,
    **snntorch_training.CASES,
}
