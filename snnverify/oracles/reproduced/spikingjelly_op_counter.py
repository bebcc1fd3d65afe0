"""Cases of SpikingJelly 2.0.0: its operation counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _synops(weight: list[list[float]], x: float, inference: bool = False) -> int:
    """What SynOpCounter says of a linear layer whose two inputs are x."""
    import torch
    from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter

    w, counter = torch.tensor(weight), SynOpCounter()
    layer = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
    layer.weight.data = w
    with torch.inference_mode() if inference else torch.no_grad(), DispatchCounterMode([counter]):
        layer(torch.full((1, w.shape[1]), x))
    return int(counter.get_total())


def weights_of_zero() -> tuple[Any, Any]:
    """Two spikes go over two connections, one of which has weight 0: as many operations whatever the other weighs."""
    return _synops([[1.0, 0.0]], 1.0), _synops([[2.0, 0.0]], 1.0)


def analog_input() -> tuple[Any, Any]:
    """Values of 1/2 are no spikes: no operation is driven by one."""
    return tuple(_synops([[w, w]], 0.5) for w in (1.0, 2.0)), (0, 0)


def inference_mode() -> tuple[Any, Any]:
    """Two spikes over two connections are two operations, in inference mode, too."""
    return _synops([[2.0, 2.0]], 1.0, inference=True), 2


CASES: Mapping[str, Callable[[], tuple[Any, Any]]] = {
    "SJ-40": weights_of_zero,
    "SJ-41": analog_input,
    "SJ-42": inference_mode,
}
