"""Cases that versions 2.0.0 and 0.0.0.0.14 share: the converter's, and those of neurons, encoders and surrogates."""

from __future__ import annotations

from typing import Any

from .spikingjelly_ann2snn import CASES as ANN2SNN
from .spikingjelly_ann2snn import Case, batch


def gradient_at_minus_zero() -> tuple[Any, Any]:
    """-0.0 is 0.0: the gradient there is alpha too."""
    import torch
    from spikingjelly.activation_based import surrogate

    x = torch.tensor([0.0, -0.0], requires_grad=True)
    surrogate.FakeNumericalGradient(alpha=0.5)(x).sum().backward()
    return tuple(x.grad.tolist()), (0.5, 0.5)  # type: ignore[union-attr]


def gradient_of_sign_log_abs() -> tuple[Any, Any]:
    """A surrogate has a gradient, at 0 its alpha: the derivative of log(alpha |x| + 1)."""
    import torch
    from spikingjelly.activation_based import surrogate

    x = torch.zeros(1, requires_grad=True)
    surrogate.NonzeroSignLogAbs(alpha=1.0)(x).sum().backward()
    return float(x.grad), 1.0  # type: ignore[arg-type]


def gradient_of_piecewise_relu() -> tuple[Any, Any]:
    """The primitive x / (2 w) + 1/2 of w = 1 has the slope 1/2."""
    import torch
    from spikingjelly.activation_based import surrogate

    x = torch.full((1,), 0.5, requires_grad=True)
    surrogate.PiecewiseLeakyReLU(w=1.0, c=0.01)(x).sum().backward()
    return float(x.grad), 0.5  # type: ignore[arg-type]


def primitive_of_log_tailed_relu() -> tuple[Any, Any]:
    """Below 0 the primitive is alpha x: 0 for the default alpha."""
    from spikingjelly.activation_based import surrogate

    return float(surrogate.LogTailedReLU(spiking=False)(batch(-1))), 0.0


def gradient_in_eval_mode() -> tuple[Any, Any]:
    """A neuron's gradient is its surrogate's, in whatever mode the module is."""
    from spikingjelly.activation_based import neuron

    x = batch(0.9).requires_grad_()
    kinds = (neuron.IFNode, neuron.LIFNode)
    return tuple(kind().eval()(x).requires_grad for kind in kinds), (True, True)


def poisson_at_rate_zero() -> tuple[Any, Any]:
    """At rate 0 there is no spike, whatever is drawn; the 96766th number of this seed is exactly 0."""
    import torch
    from spikingjelly.activation_based import encoding

    torch.manual_seed(84)
    return float(encoding.PoissonEncoder()(torch.zeros(2**18)).sum()), 0.0


def long_logarithmic_latency() -> tuple[Any, Any]:
    """Over T = 90 steps 0, 1/2 and 1 spike in steps T - 1, log 2 rounded, and 0."""
    import torch
    from spikingjelly.activation_based import encoding

    encoder, x = encoding.LatencyEncoder(90, "log"), torch.tensor([0.0, 0.5, 1.0])
    return tuple(torch.stack([encoder(x) for _ in range(90)]).argmax(0).tolist()), (89, 1, 0)


def phase_in_double_precision() -> tuple[Any, Any]:
    """An encoder keeps the dtype of its input."""
    from spikingjelly.activation_based import encoding

    return str(encoding.WeightedPhaseEncoder(3)(batch(0.5, dtype="float64")).dtype), "torch.float64"


def another_batch_size() -> tuple[Any, Any]:
    """The output has the shape of its input, also after a call with more samples."""
    from spikingjelly.activation_based import neuron

    node = neuron.IFNode(v_reset=None)
    node(batch(0.5, 0.25))
    return tuple(node(batch(0.5)).shape), (1, 1)


def potential_that_is_set() -> tuple[Any, Any]:
    """A potential of 1/2 that the user sets and an input of 1/2 are the threshold 1: both units spike."""
    import torch
    from spikingjelly.activation_based import neuron

    node = neuron.IFNode(v_reset=None)
    node.v = torch.tensor(0.5)
    return tuple(node(batch(0.5, 0.5)).ravel().tolist()), (1.0, 1.0)


def soft_reset_of_klif() -> tuple[Any, Any]:
    """``v_reset = None`` is a soft reset; with tau = 2 and k = 1 the input 1 charges to 1/2: no spike."""
    from spikingjelly.activation_based import neuron

    return neuron.KLIFNode(v_reset=None)(batch(1)).item(), 0.0


def potential_that_is_kept() -> tuple[Any, Any]:
    """What a caller has been given does not change when the neuron is reset: 1/4 + 1/2 stays 3/4."""
    import torch
    from spikingjelly.activation_based import neuron

    node = neuron.IFNode(v_reset=None)
    node.set_reset_value("v", torch.full((1, 2), 0.25))
    node.reset()
    node(torch.full((1, 2), 0.5))
    kept = node.v
    node.reset()
    return tuple(kept.ravel().tolist()), (0.75, 0.75)


def reset_after_overflow() -> tuple[Any, Any]:
    """A hard reset after a spike goes to v_reset, whatever the potential was."""
    from spikingjelly.activation_based import neuron

    node, x = neuron.IFNode(v_threshold=65504.0), batch(40000, dtype="float16")
    spikes = (float(node(x)), float(node(x)))
    return (*spikes, float(node.v)), (0.0, 1.0, 0.0)


CASES: dict[str, Case] = {
    **ANN2SNN,
    "SJ-17": gradient_at_minus_zero,
    "SJ-19": poisson_at_rate_zero,
    "SJ-20": long_logarithmic_latency,
    "SJ-21": phase_in_double_precision,
    "SJ-23": potential_that_is_set,
    "SJ-26": potential_that_is_kept,
    "SJ-27": reset_after_overflow,
    "SJ14-21": gradient_of_sign_log_abs,
    "SJ14-22": gradient_of_piecewise_relu,
    "SJ14-23": primitive_of_log_tailed_relu,
    "SJ14-24": gradient_in_eval_mode,
    "SJ14-28": another_batch_size,
    "SJ14-29": soft_reset_of_klif,
}
