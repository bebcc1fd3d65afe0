"""Cases of lava-dl 0.6.0's CUBA neuron."""

from __future__ import annotations

from typing import Any

from . import Cases


def neuron(threshold: float = 1.0, current_decay: Any = 1.0, voltage_decay: Any = 0.0, **more: Any) -> Any:
    """Slayer's CUBA neuron."""
    from lava.lib.dl.slayer.neuron import cuba

    return cuba.Neuron(threshold, current_decay, voltage_decay, **more)


def train(*values: float) -> Any:
    """One unit's input over time, [1, 1, T]."""
    import torch

    return torch.tensor(values).reshape(1, 1, -1)


def units(state: Any, scale: int = 1 << 12) -> tuple[float, ...]:
    """A state in Loihi's units."""
    return tuple((state.detach().double().flatten() * scale).tolist())


def tie_at_a_high_threshold() -> Any:
    """Loihi fires above its threshold, not at it: v = 64 for a threshold of 64 is no spike, as it is none of 63 for 63."""
    return tuple(int(neuron(theta)(train(theta))) for theta in (63.0, 64.0, 2048.0)), (0, 0, 0)


def current_beyond_float32() -> Any:
    """U and v are integers: 2^24 + 1 after an input of 2^24 and one of 1 without decay."""
    n = neuron(8000.0, 0.0, 1.0)
    return units(n.dynamics(train(4096.0, 1 / 4096))[0])[1], 2.0**24 + 1


def negative_threshold() -> Any:
    """A neuron that fires is reset: no input, no second spike; or the threshold is refused, which Loihi cannot hold."""
    n = neuron(-0.5)
    return (units(n.dynamics(train(1.0, 0.0))[1]), n.device_params["vThMant"] >= 0), ((4096.0, 0.0), True)


def decays_along_the_width() -> Any:
    """Individual decays are per channel: channel c of a feature map leaks as neuron c of a row does."""
    import torch

    n, row = (neuron(9.0, 1.0, (0.0, 0.5), shared_param=False) for _ in range(2))
    x = torch.zeros(1, 2, 1, 2, 2)
    x[..., 0] = 1.0
    for each, given in ((n, x), (row, x[:, :, 0, 0])):
        each(given)  # which draws the decays
        each.current_decay.data, each.voltage_decay.data = torch.full((2,), 4096.0), torch.tensor([0.0, 4096.0])
    return units(n.dynamics(x)[1][0, :, 0, 0, 1]), units(row.dynamics(x[:, :, 0, 0])[1][0, :, 1])


def bias_in_the_current() -> Any:
    """A state that persists does not change the dynamics: step by step is the same as all steps at once."""
    import torch
    from lava.lib.dl.slayer.neuron.norm import MeanOnlyBatchNorm

    found = []
    for chunk in (1, 3):
        n = neuron(9.0, 0.5, 0.0, norm=MeanOnlyBatchNorm, persistent_state=True).eval()
        n.norm.running_mean = torch.tensor([-0.5])  # a bias of 32 mantissas
        found.append(tuple(v for x in torch.split(torch.zeros(1, 1, 3), chunk, -1) for v in units(n.dynamics(x)[1])))
    return tuple(found), ((2048.0, 4096.0, 6144.0),) * 2


def exponent_of_the_norm() -> Any:
    """The exported weight exponent is that of the scale by which the block divides: 2^-3 here."""
    import torch
    from lava.lib.dl.slayer.neuron.norm import WgtScaleBatchNorm

    norm = WgtScaleBatchNorm(1).eval()
    divided = float(1 / norm(torch.ones(1, 1, 1)))
    return 2.0 ** float(norm.weight_exp[0]), divided


def threshold_of_another_scale() -> Any:
    """A threshold of 29 / 100 has the mantissa 29 at a scale of 100."""
    return neuron(0.29, scale=100).v_th_mant, 29


def states_of_another_scale() -> Any:
    """A weight of -242 mantissas on the grid of scale 100 adds -242 * 64 to the potential."""
    n = neuron(9.0, scale=100)
    import torch

    w = n.quantize_8bit(torch.tensor([[[-2.42]]]))
    return round(units(n.dynamics(w)[1], n.s_scale)[0]), -242 * 64


def decay_beyond_all() -> Any:
    """A decay is at most 4096, all of the current: none of 64 neurons with individual decays turns its current's sign."""
    import torch

    torch.manual_seed(0)
    n = neuron(9.0, 1.0, 0.0, shared_param=False)
    x = torch.zeros(1, 64, 2)
    x[..., 0] = 1.0
    return int((n.dynamics(x)[0] < 0).sum()), 0


CASES: Cases = {
    "LV-1": tie_at_a_high_threshold,
    "LV-2": current_beyond_float32,
    "LV-6": negative_threshold,
    "LV-7": decays_along_the_width,
    "LV-9": bias_in_the_current,
    "LV-17": exponent_of_the_norm,
    "LV-20": threshold_of_another_scale,
    "LV-21": states_of_another_scale,
    "LV-23": decay_beyond_all,
}
