"""Cases of version 2.0.0: those that it shares with 0.0.0.0.14, and those of what is new in it."""

from __future__ import annotations

from typing import Any

from .refusal import unless_refused
from .spikingjelly_ann2snn import Case, batch, convert, model, threshold
from .spikingjelly_both import CASES as BOTH
from .spikingjelly_nir import CASES as NIR
from .spikingjelly_op_counter import CASES as OP_COUNTER


def large_layer() -> tuple[Any, Any]:
    """The percentile of 2^24 + 1 ones is 1."""
    import torch

    return threshold(torch.ones(2**24 + 1, 1), mode="99.9%"), 1.0


@unless_refused
def view_of_the_batch() -> tuple[Any, Any]:
    """Both step modes take the inputs of a converted model: 8 steps of [2, 4] viewed as [-1, 2] are 8 of [4, 2]."""
    import torch
    from spikingjelly.activation_based import functional

    x = torch.ones(2, 4)
    snn = convert(model(lambda m, x: m.act(x).view(-1, 2)), [x])
    functional.set_step_mode(snn, "m")
    return tuple(snn(x.expand(8, 2, 4)).shape), (8, 4, 2)


def qcfs_ties() -> tuple[Any, Any]:
    """QCFS of L = 4 levels and theta = 1 is floor(4 x + 1/2) / 4: 1/4 at x = 1/8, 3/4 at x = 5/8."""
    from spikingjelly.activation_based.ann2snn.qcfs import SignedQCFSSequenceEncoder

    encoder = SignedQCFSSequenceEncoder(batch(0.25).ravel(), 4)
    return tuple(encoder.encode(batch(0.125, 0.625)).sum(0).ravel().tolist()), (0.25, 0.75)


def gradient_in_eval_mode() -> tuple[Any, Any]:
    """A neuron's gradient is its surrogate's, in whatever mode the module is."""
    from spikingjelly.activation_based import neuron

    return neuron.ComplementaryLIFNode().eval()(batch(0.9).requires_grad_()).requires_grad, True


def another_batch_size() -> tuple[Any, Any]:
    """The output has the shape of its input, also after a call with more samples."""
    from spikingjelly.activation_based import neuron

    nodes = (neuron.SimpleIFNode(), neuron.SimpleLIFNode(2.0, True))
    for node in nodes:
        node(batch(0, 0, 0))
    return tuple(tuple(node(batch(0)).shape) for node in nodes), ((1, 1), (1, 1))


def start_of_a_hard_reset() -> tuple[Any, Any]:
    """An IF neuron that is reset to -1/2 starts there, in the pure-PyTorch class as in IFNode."""
    from spikingjelly.activation_based import neuron

    return tuple(float(kind(v_reset=-0.5).v) for kind in (neuron.IFNode, neuron.SimpleIFNode)), (-0.5, -0.5)


CASES: dict[str, Case] = {
    **BOTH,
    "SJ-4": large_layer,
    "SJ-14": view_of_the_batch,
    "SJ-16": qcfs_ties,
    "SJ-18": gradient_in_eval_mode,
    "SJ-22": another_batch_size,
    "SJ-24": start_of_a_hard_reset,
    **NIR,
    **OP_COUNTER,
}
