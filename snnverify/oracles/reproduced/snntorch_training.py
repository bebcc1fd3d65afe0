"""Minimal cases of the findings on snnTorch 1.0.0: surrogate gradients, quantised states and encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...content import Array
from .refusal import Pair


def _slope(surrogate: Any, *points: float) -> Array:
    """Return the gradient at potentials above the threshold."""
    import torch

    u = torch.tensor(points, requires_grad=True)
    slope: Array = torch.autograd.grad(surrogate(u).sum(), u)[0].double().numpy()
    return slope


def sigmoid_far_below() -> Pair:
    """The documented derivative k exp(-k u) / (1 + exp(-k u))^2 is some 1e-42 at u = -4, to 6 digits 0."""
    from snntorch import surrogate

    return np.round(_slope(surrogate.sigmoid(), -4.0), 6), np.zeros(1)


def leaky_spike_operator() -> Pair:
    """Every documented surrogate gives a gradient: of LSO 1 above the threshold."""
    from snntorch import surrogate

    return _slope(surrogate.LSO(), 0.5), np.ones(1)


def escape_rate_window() -> Pair:
    """The documented k exp(-beta |U - 1|) is greatest where the potential U is the threshold 1, that is at u = 0."""
    from snntorch import surrogate

    return int(np.argmax(_slope(surrogate.spike_rate_escape(), -1.0, 0.0, 1.0))), 1


def sparse_window() -> Pair:
    """The documented 1 / (1 + k |u|)^2 for a potential U > B = 1, is 1 / 13.5^2 at U = 1.5, to 4 digits."""
    from snntorch import surrogate

    return np.round(_slope(surrogate.SFS(slope=25), 0.5), 4), np.array([0.0055])


def arcus_tangens() -> Pair:
    """The documented dS/dU = 1 / (pi (1 + (pi u alpha / 2)^2)) is 1 / pi at u = 0, to 4 digits."""
    from snntorch import surrogate

    return np.round(_slope(surrogate.atan(alpha=2.0), 0.0), 4), np.array([0.3183])


def triangular_above() -> Pair:
    """A spike grows with the potential: no surrogate falls, above the threshold either."""
    from snntorch import surrogate

    return bool(_slope(surrogate.triangular(), 0.5)[0] >= 0), True


def heaviside_at_threshold() -> Pair:
    """The documented gradient is 1 for U >= threshold, that is at u = 0 too."""
    from snntorch import surrogate

    return _slope(surrogate.heaviside(), 0.0), np.ones(1)


def detached_reset() -> Pair:
    """The reset is detached, as documented of mem_reset: d v_1 / d I_0 = beta, with or without delay."""
    import snntorch
    import torch

    found = []
    for delay in (True, False):
        node, x = snntorch.Leaky(beta=0.5, reset_delay=delay), torch.full((1, 1), 1.5, requires_grad=True)
        node(x)
        _, v = node(torch.zeros(1, 1))
        found.append(round(torch.autograd.grad(v.sum(), x)[0].item(), 4))
    return tuple(found), (0.5, 0.5)


def quantised_rest() -> Pair:
    """A neuron at rest without input stays there, whatever its state is quantised to."""
    import torch
    from snntorch.functional import quant

    return tuple(quant.state_quant(num_bits=b)(torch.zeros(1)).item() for b in (1, 2, 4, 8)), (0.0,) * 4


def latency_of_a_row() -> Pair:
    """A sample's spikes do not depend on the other samples of its batch."""
    import torch
    from snntorch import spikegen

    row, other = torch.tensor([[0.3, 0.5]]), torch.tensor([[0.02, 1.0]])
    alone, beside = (spikegen.latency(x, num_steps=9, normalize=True) for x in (row, torch.cat([row, other])))
    return beside[:, :1].argmax(0).numpy(), alone.argmax(0).numpy()


def target_rates() -> Pair:
    """Targets have the documented shape [steps, batch, classes]."""
    import torch
    from snntorch import spikegen

    targets = spikegen.targets_rate(torch.tensor([4]), num_classes=5, num_steps=5, correct_rate=0.25)
    return np.array(targets.shape), np.array([5, 1, 5])


CASES: Mapping[str, Callable[[], Pair]] = {
    "SNN-24": sigmoid_far_below,
    "SNN-25": leaky_spike_operator,
    "SNN-26": sparse_window,
    "SNN-27": arcus_tangens,
    "SNN-28": detached_reset,
    "SNN-29": quantised_rest,
    "SNN-30": latency_of_a_row,
    "SNN-31": target_rates,
    "SNN-34": triangular_above,
    "SNN-35": heaviside_at_threshold,
    "SNN-43": escape_rate_window,
}
