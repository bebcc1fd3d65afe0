"""Minimal cases of the findings on Norse 1.1.0: its neurons, their states, surrogate gradients and encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from . import norse_nir
from .refusal import Pair


def _slope(method: str, at: float, alpha: float) -> float:
    """Return the gradient of a threshold function, to 4 digits."""
    import torch
    from norse.torch.functional.threshold import threshold

    x = torch.tensor([at], requires_grad=True)
    return round(torch.autograd.grad(threshold(x, method, alpha).sum(), x)[0].item(), 4)


def states_of_the_caller() -> Pair:
    """A call leaves its arguments alone: from 0.1 a step ends at 0.9 * 0.1 + 0.1, however often."""
    import norse.torch as norse
    import torch

    net = norse.SequentialState(norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.tensor(9.0))))
    _, states = net(torch.ones(1, 1))
    net(torch.ones(1, 1), states)
    return round(net(torch.ones(1, 1), states)[1][0].v.item(), 4), 0.19


def lifted_chain() -> Pair:
    """Behind a neuron that is silent (0.45, 0.675 below 1) a neuron without input is silent, its threshold 0.1."""
    import norse.torch as norse
    import torch

    lifted = []
    for theta in (1.0, 0.1):
        p = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(theta))
        lifted.append(norse.Lift(norse.LIFBoxCell(p)))
    out = norse.SequentialState(*lifted)(torch.full((2, 1, 1), 0.9))[0]
    return (out[0] if isinstance(out, tuple) else out).detach().numpy().ravel(), np.zeros(2)


def shared_default() -> Pair:
    """A forward pass changes no default: v_reset of all neurons that are built later needs no gradient."""
    import norse.torch as norse
    import torch

    norse.IAFCell()(torch.ones(1, 1))
    return norse.IAFParameters().v_reset.requires_grad, False


def number_as_potential() -> Pair:
    """A parameter may be a number, as of the other neurons: 1.25 from v_reset = 0.25 is above 1."""
    import norse.torch as norse
    import torch

    return norse.IAF(norse.IAFParameters(v_reset=0.25))(torch.ones(1, 1, 1))[0].item(), 1.0


def leak_of_each_unit() -> Pair:
    """A layer takes the parameters that its cell takes: a v_leak of each unit, without input no spike."""
    import norse.torch as norse
    import torch

    p = norse.LIFParameters(v_leak=torch.tensor([0.0, 0.5]))
    return norse.LIF(p)(torch.zeros(1, 1, 2))[0].detach().numpy(), np.zeros((1, 1, 2))


def optimizable_parameters() -> Pair:
    """Neuron parameters can be optimized, as documented: a module names them among its own."""
    import norse.torch as norse
    import torch

    tau = torch.nn.Parameter(torch.tensor(100.0))
    return len(list(norse.LIFCell(norse.LIFParameters(tau_mem_inv=tau)).parameters())), 1


def super_spike() -> Pair:
    """SuperSpike of the cited paper is 1 / (1 + alpha |x|)^2: 1 / 51^2 at x = 0.5 for alpha = 100."""
    return _slope("super", 0.5, 100.0), 0.0004


def documented_primitives() -> Pair:
    """The derivatives at 0 of 1/2 + tanh(k x) / 2 and of 1/2 + x / (2 sqrt(x^2 + k^2)) are k / 2 and 1 / (2 k)."""
    return (_slope("tanh", 0.0, 100.0), _slope("circ", 0.0, 100.0)), (50.0, 0.005)


def all_steps() -> Pair:
    """The spikes of all time steps are returned, as documented: shape [T, N, U]."""
    import torch
    from norse.torch.functional import lif

    state = lif.LIFState(*(torch.zeros(1, 2) for _ in range(3)))
    spikes = lif.lif_step_integral(torch.ones(5, 1, 2), state, torch.eye(2), torch.zeros(2, 2))[0]
    return np.array(spikes.shape), np.array([5, 1, 2])


def adjoint_method() -> Pair:
    """Every method that a neuron offers runs: no spike without input."""
    import norse.torch as norse
    import torch

    spikes = norse.LIF(norse.LIFParameters(method="adjoint"))(torch.zeros(2, 1, 1))[0]
    return spikes.detach().numpy(), np.zeros((2, 1, 1))


def default_in_double() -> Pair:
    """An input of 1 for one step of 1 ms at a time constant of 10 ms gives 0.1 in float64, to 12 digits."""
    import norse.torch as norse
    import torch

    return round(norse.LIFBoxCell()(torch.ones(1, 1, dtype=torch.float64))[1].v.item(), 12), 0.1


def scale_of_each_sample() -> Pair:
    """The scale "can also be set for each individual sample": 0 with scale 1 is the example of the documentation."""
    import torch
    from norse.torch import population_encode

    code = population_encode(torch.tensor([0.0, 0.5, 1.0]), 3, scale=torch.tensor([1.0, 2.0, 3.0]))
    return np.round(code[0].double().numpy(), 4), np.array([1, 0.8825, 0.6065])


CASES: Mapping[str, Callable[[], Pair]] = {
    "NORSE-12": states_of_the_caller,
    "NORSE-13": lifted_chain,
    "NORSE-14": shared_default,
    "NORSE-15": number_as_potential,
    "NORSE-16": optimizable_parameters,
    "NORSE-17": super_spike,
    "NORSE-18": documented_primitives,
    "NORSE-19": all_steps,
    "NORSE-20": adjoint_method,
    "NORSE-21": default_in_double,
    "NORSE-22": scale_of_each_sample,
    "NORSE-28": leak_of_each_unit,
    **norse_nir.CASES,
}
