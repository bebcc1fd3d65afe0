"""Cases of NeuroBench 2.3.0: its synaptic operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _linear(inputs: int, outputs: int) -> Any:
    """Linear layer whose weights are all 1/2."""
    import torch

    layer = torch.nn.Linear(inputs, outputs, bias=False)
    layer.weight.data.fill_(0.5)
    return layer


def _accumulations(module: Any, *shape: int, dtype: str = "float32") -> float:
    import torch

    from ..neurobench import counted

    return counted(module, torch.ones(shape, dtype=getattr(torch, dtype)))["Effective_ACs"]


def _in_a_row(*modules: Any) -> Any:
    import torch

    return torch.nn.Sequential(*modules)


def large_layer() -> tuple[Any, Any]:
    """4097 spikes into 4097 units over weights of 1/2 are 4097^2 = 16,785,409 accumulations."""
    return _accumulations(_in_a_row(_linear(4097, 4097)), 1, 4097), 4097.0**2


def half_precision() -> tuple[Any, Any]:
    """100 spikes into 300 units are 30,000 accumulations, in whatever precision the weights are."""
    return _accumulations(_in_a_row(_linear(100, 300).bfloat16()), 1, 100, dtype="bfloat16"), 30_000.0


def recurrent_layer() -> tuple[Any, Any]:
    """What cannot be counted is an error or left out; it is not 0 operations."""
    import torch
    from neurobench.metrics.manager.workload_manager import WorkloadMetricManager
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.RNN(2, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.layer(x)[0]

    model, manager = TorchModel(Net()), WorkloadMetricManager([SynapticOperations])
    manager.register_hooks(model)
    manager.initialize_metrics()
    x = torch.ones(1, 3, 2)
    with torch.no_grad():
        found = manager.run_metrics(model, model(x), (x, torch.zeros(1)), 1, 1)
    manager.cleanup_hooks(model)
    return float(found["SynapticOperations"] == 0.0), 0.0


def transposed_convolution() -> tuple[Any, Any]:
    """2 channels of 4 x 4 spikes into 3 channels over kernels of 2 x 2 are 2 * 16 * 3 * 4 accumulations."""
    import torch

    return _accumulations(_in_a_row(torch.nn.ConvTranspose2d(2, 3, 2)), 1, 2, 4, 4), 384.0


def model_of_one_layer() -> tuple[Any, Any]:
    """Two spikes into three units are six accumulations, whether the layer lies in a Sequential or not."""
    return _accumulations(_linear(2, 3), 1, 2), 6.0


def shared_layer() -> tuple[Any, Any]:
    """A layer of 2 x 2 that two parts of a model share is run twice: 4 operations each time."""
    import torch

    from ..neurobench import counted

    layer = _linear(2, 2)
    found = counted(_in_a_row(_in_a_row(layer), _in_a_row(layer)), torch.ones(1, 2))
    return found["Dense"], 8.0


CASES: Mapping[str, Callable[[], tuple[Any, Any]]] = {
    "NB-1": large_layer,
    "NB-2": half_precision,
    "NB-3": recurrent_layer,
    "NB-4": transposed_convolution,
    "NB-5": model_of_one_layer,
    "NB-6": shared_layer,
}
