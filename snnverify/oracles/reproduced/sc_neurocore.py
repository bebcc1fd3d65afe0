"""Minimal cases of the findings on sc-neurocore 3.16.0: neurons, quantisers, pruning, encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from . import sc_neurocore_conversion, sc_neurocore_nir
from .refusal import Pair, unless_refused


def cell_at_threshold() -> Pair:
    """IFCell fires at v >= threshold, as documented."""
    import torch
    from sc_neurocore.training import IFCell

    return IFCell()(torch.ones(1), torch.zeros(1))[0].item(), 1.0


@unless_refused
def exported_codes() -> Pair:
    """Codes of 16 bits, which are documented, are 1 and -1/2 of 32767 (32767 / 2 to even)."""
    import torch
    from sc_neurocore.qat import QuantizedLinear

    layer = QuantizedLinear(2, 1, n_bits=16)
    layer.linear.weight.data = torch.tensor([[1.0, -0.5]])
    return layer.export_quantized()["weight_int"].numpy().astype(int).ravel(), np.array([32767, -16384])


def lsq_of_zeros() -> Pair:
    """A quantiser of 8 bits that has seen zeros quantises 0.5 to within 1/100."""
    import torch
    from sc_neurocore.qat import LSQQuantizer

    quantiser = LSQQuantizer(8)
    quantiser(torch.zeros(4))
    return abs(quantiser(torch.tensor([0.5])).item() - 0.5) < 0.01, True


def _lsq_step_gradient(value: float) -> float:
    """Gradient of the step 1 of 3 bits, without its scale 1 / sqrt(qmax n)."""
    import torch
    from sc_neurocore.qat import LSQQuantizer

    quantiser = LSQQuantizer(3)
    quantiser.step.data.fill_(1.0)
    quantiser._initialized.fill_(True)  # else the first input would set the step
    quantiser(torch.tensor([value])).sum().backward()
    return round(float(quantiser.step.grad) * 3**0.5, 5)


def lsq_at_the_ends() -> Pair:
    """The gradient of the step is qmax at v / s >= qmax and qmin at v / s <= qmin, as documented [Esser et al. 2020]."""
    return (_lsq_step_gradient(3.0), _lsq_step_gradient(-4.0)), (3.0, -4.0)


def _alpha_gradient(value: float) -> float:
    import torch
    from sc_neurocore.qat import PACTActivation

    module = PACTActivation(2, 3.0)
    module(torch.tensor([value])).sum().backward()
    return round(float(module.alpha.grad), 4)


def pact_gradient() -> Pair:
    """Alpha gets gradient where the input saturates the upper bound alone, as documented [Choi et al. 2018]."""
    return tuple(_alpha_gradient(v) for v in (0.4, 1.6, 4.0)), (0.0, 0.0, 1.0)


def pruned_ones() -> Pair:
    """Weights near 1 can be replaced with constant 1 gates, as documented: they stay."""
    from sc_neurocore.compression import prune_stochastic

    return prune_stochastic([np.array([[1.0, 0.5, 0.0]])])[0][0].ravel(), np.array([1.0, 0.5, 0.0])


def pruned_outputs() -> Pair:
    """Pruning keeps the classes: the last matrix has a row for each, also for one of weights 0."""
    from sc_neurocore.compression import prune_neurons

    last = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    return prune_neurons([np.eye(2), last])[0][-1].shape, last.shape


def fused_silence() -> Pair:
    """A layer that never fires hands on nothing: fused with the next one it lets no input through."""
    from sc_neurocore.snn_optimizer import LayerNode, SNNGraph, layer_fusion

    layers = [LayerNode(n, 1, 1, np.array([[w]]), "LIF", firing_rates=np.zeros(1)) for n, w in (("a", 0.5), ("b", 4.0))]
    graph = SNNGraph(layers)
    layer_fusion(graph)
    return float(graph.layers[0].weights.item()) if len(graph.layers) == 1 else 0.0, 0.0


def ste_zero() -> Pair:
    """A quantiser maps 0 to 0, also the asymmetric one."""
    import torch
    from sc_neurocore.qat import ste_quantize

    return round(ste_quantize(torch.tensor([-1.0, 0.0, 1.5]), 2, False)[1].item(), 4), 0.0


def population_of_sigma_delta() -> Pair:
    """A population fires what its neurons fire: -1 at a current of -2."""
    from sc_neurocore.network import Population

    return int(Population("SigmaDeltaNeuron", 1).step_all(np.array([-2.0]))[0]), -1


def sigma_delta_sign() -> Pair:
    """Signals of another sign, 0.3 and -0.3, have other trains."""
    from sc_neurocore.encoding.encoders import sigma_delta_encode

    up, down = (sigma_delta_encode(np.full(8, v)) for v in (0.3, -0.3))
    return "same train" if np.array_equal(up, down) else "other trains", "other trains"


def burst_of_zero() -> Pair:
    """The burst is int(x max_burst) spikes long: none for 0."""
    from sc_neurocore.encoding.encoders import burst_encode

    return int(burst_encode(np.zeros(1), 8).sum()), 0


def latency_of_zero() -> Pair:
    """A code by latency has one spike a value, the later the weaker."""
    from sc_neurocore.encoding.encoders import latency_encode

    return latency_encode(np.array([0.0, 0.5]), 8).sum(0), np.ones(2)


def _ones(value: int) -> int:
    """Ones in a full period of 255 steps."""
    from sc_neurocore.neurons import FixedPointBitstreamEncoder

    encoder = FixedPointBitstreamEncoder(data_width=8, seed_init=1)
    return sum(encoder.step(value) for _ in range(255))


def bitstream_density() -> Pair:
    """P(1) is x / (2^w - 1), as documented: x ones in a full period."""
    return tuple(_ones(x) for x in (1, 128, 255)), (1, 128, 255)


@unless_refused
def register_of_zero() -> Pair:
    """A seed that is 0 in the register's width is refused, as 0 is: the register would stand still."""
    from sc_neurocore.neurons import FixedPointLFSR

    register = FixedPointLFSR(width=8, seed=0x100)
    return tuple(register.step() for _ in range(3)), "refused"


def _period(width: int) -> int:
    from sc_neurocore.neurons import FixedPointLFSR

    register, period = FixedPointLFSR(width=width, seed=1), 1
    while register.step() != 1:
        period += 1
    return period


@unless_refused
def register_period() -> Pair:
    """A register of w bits has the period 2^w - 1, or its width is refused."""
    return (_period(7), _period(12)), (127, 4095)


CASES: Mapping[str, Callable[[], Pair]] = {
    **sc_neurocore_conversion.CASES,
    "SC-18": cell_at_threshold,
    "SC-19": exported_codes,
    "SC-20": lsq_of_zeros,
    "SC-21": lsq_at_the_ends,
    "SC-22": pact_gradient,
    "SC-23": pruned_ones,
    "SC-24": pruned_outputs,
    "SC-25": fused_silence,
    "SC-26": ste_zero,
    "SC-27": population_of_sigma_delta,
    "SC-28": sigma_delta_sign,
    "SC-29": burst_of_zero,
    "SC-30": bitstream_density,
    "SC-31": register_of_zero,
    "SC-32": register_period,
    **sc_neurocore_nir.CASES,
    "SC-37": latency_of_zero,
}
