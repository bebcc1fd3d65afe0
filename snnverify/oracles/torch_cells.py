"""What the torch libraries' adapters share: linear operations by torch, neurons by the library.

Runs inside the library's own interpreter. A layer's summed input is computed by ``torch.nn.functional``; what a time
step does with it is the library's business alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Union

import numpy as np

from ..content import Array
from ..errors import Unsupported
from ..network import INPUT, Conv, Dense, Flatten, Network, Neuron, Op, Pool, Scale, Shape
from ..trace import Case, Provenance, Record, Trace

Tensor = Any
# A cell takes the input of one step [N, *shape], or of all steps [T, N, *shape] where `multi`, and returns the spikes
# and, where the library tells them, the potentials before and after the reset.
Cell = Callable[[Tensor], "tuple[Tensor, Tensor | None, Tensor | None]"]
Make = Callable[[Neuron, Shape, Any, bool], Cell]
# Spikes [T, N, U] and potentials [T, N, U] (or None) of one call of a raw neuron, or the text of what it raised.
Run = Union[str, tuple[Array, Union[Array, None]]]  # noqa: UP007 - evaluated at run time under Python 3.10


def run_cells(case: Case, record: Record, make: Make, provenance: Provenance, multi: bool = False) -> Trace:
    """Trace of a case whose neurons are the library's.

    Parameters
    ----------
    case : Case
        ``constant`` or ``spikes`` encoding.
    record : {"counts", "spikes", "full"}
    make : callable (act, shape, torch dtype, multi) -> cell
        Builds one layer's neurons, with state of its own; raises `Unsupported` for an `act` the library lacks.
    provenance : Provenance
    multi : bool
        Whether the cells take all steps at once.
    """
    import torch

    torch.set_num_threads(1)
    if case.encoding == "poisson":
        raise Unsupported("encoding = 'poisson'", "a library draws its own spikes", "give the spikes themselves")
    network, T = case.network, case.steps
    dtype = getattr(torch, case.dtype)
    x = torch.tensor(case.x, dtype=dtype)
    x = x if case.encoding == "spikes" else x.expand(T, *x.shape)
    values: dict[str, Tensor] = {INPUT: x}
    kept: dict[str, dict[str, Any]] = {"spikes": {}, "v_peak": {}, "v": {}}
    with torch.no_grad():
        for layer in network.layers:
            summed = sum(apply(b.op, values[b.source], network.shapes[b.source], dtype) for b in layer.branches)
            if layer.act is None:
                values[layer.name] = summed
                continue
            if not isinstance(layer.act, Neuron):
                raise Unsupported(layer.name, f"{type(layer.act).__name__} is not a neuron of this library")
            cell = make(layer.act, network.shapes[layer.name], dtype, multi)
            outs = cell(summed) if multi else _stacked([cell(summed[t]) for t in range(T)])
            for name, out in zip(("spikes", "v_peak", "v"), outs, strict=True):
                if out is not None:
                    kept[name][layer.name] = out.detach().numpy().astype(np.int32 if name == "spikes" else case.dtype)
            values[layer.name] = outs[0] * along(layer.act.amplitude, network.shapes[layer.name], dtype)
        readout = values[network.output.name].sum(0, keepdim=True)
    return trace_of(kept, readout.numpy(), T, record, provenance)


def trace_of(
    kept: Mapping[str, Mapping[str, Array]], readout: Array, steps: int, record: Record, provenance: Provenance
) -> Trace:
    """Trace of the ``spikes``, ``v_peak`` and ``v`` that were kept of each layer, of which `record` asks for some."""
    return Trace(
        readout, (steps,),
        counts={k: s.sum(0, dtype=np.int64) for k, s in kept["spikes"].items()},
        v_end={k: a[-1] for k, a in kept["v"].items()},
        spikes=kept["spikes"] if record != "counts" else {},
        v=kept["v"] if record == "full" else {}, v_peak=kept["v_peak"] if record == "full" else {},
        provenance=provenance,
    )  # fmt: skip


def run_calls(calls: Iterable[Array], call: Callable[[Tensor], Run]) -> tuple[Run, ...]:
    """Run a raw neuron over consecutive inputs without any reset between them: operator ``box(name, calls, params)``.

    Parameters
    ----------
    calls : arrays [T, N, U]
        Their shapes may differ. ``params`` of the operator are nominal parameters that replace the box's own: ``theta``,
        ``leak``, ``syn_decay``.
    call : callable
        Feeds one input to the neuron, which keeps its state or not, as the library has it.

    Returns
    -------
    tuple
        For every call spikes [T, N, U] and potentials [T, N, U] (or None), or the text of the exception that it raised.
    """
    import torch

    torch.set_num_threads(1)
    found: list[Run] = []
    with torch.no_grad():
        for x in calls:
            try:
                found.append(call(torch.from_numpy(np.array(x))))
            except Exception as e:  # what a library raises here is what is asked for
                found.append(f"{type(e).__name__}: {e}")
    return tuple(found)


def along(value: Any, shape: Shape, dtype: Any) -> Tensor:
    """Parameter of shape () or (C,) as a tensor that broadcasts along the channel axis of a sample."""
    import torch

    a = torch.tensor(np.asarray(value, float), dtype=dtype)
    return a.reshape(a.shape + (1,) * (len(shape) - 1)) if a.ndim else a


def apply(op: Op, x: Tensor, shape: Shape, dtype: Any) -> Tensor:
    """Apply one linear operation to x [T, N, *shape]."""
    lead, folded = x.shape[:2], x.reshape(-1, *x.shape[2:])
    y = _linear(op, folded, shape, dtype)
    return y.reshape(*lead, *y.shape[1:])


def _linear(op: Op, x: Tensor, shape: Shape, dtype: Any) -> Tensor:
    import torch
    from torch.nn import functional as F

    def given(a: Any) -> Tensor:
        return None if a is None else torch.tensor(np.asarray(a, float), dtype=dtype)

    if isinstance(op, Flatten):
        return x.reshape(len(x), -1)
    if isinstance(op, Scale):
        y = x * along(op.factor, shape, dtype)
        return y if op.bias is None else y + along(op.bias, shape, dtype)
    if isinstance(op, Dense):
        return F.linear(x, given(op.weight), given(op.bias))
    axes = len(shape) - 1
    if isinstance(op, Conv):
        if op.transposed:
            f = (F.conv_transpose1d, F.conv_transpose2d)[axes - 1]
            y = f(x, given(op.weight), None, op.stride, 0, op.output_padding, op.groups, op.dilation)
            cropped: Any = (..., *(slice(a, n - b) for n, (a, b) in zip(y.shape[2:], op.padding, strict=True)))
            y = y[cropped]
            return y if op.bias is None else y + along(op.bias, y.shape[1:], dtype)
        x = F.pad(x, [p for pair in reversed(op.padding) for p in pair])
        return (F.conv1d, F.conv2d)[axes - 1](x, given(op.weight), given(op.bias), op.stride, 0, op.dilation, op.groups)
    if op.kind not in ("average", "sum"):
        raise Unsupported("Pool", f"{op.kind} pooling is none of the library's operations on spikes")
    if op.kind == "average":
        return (F.avg_pool1d, F.avg_pool2d)[axes - 1](x, op.kernel, op.stride, op.padding, False, op.count_include_pad)
    if axes == 1:  # a sum is an average with divisor 1, which torch has over two axes
        return _linear(replace(op, kernel=(1, *op.kernel), stride=(1, *op.stride), padding=(0, *op.padding)),
                       x.unsqueeze(2), (shape[0], 1, *shape[1:]), dtype).squeeze(2)  # fmt: skip
    return F.avg_pool2d(x, op.kernel, op.stride, op.padding, False, True, 1)


def _stacked(steps: list[tuple[Tensor, Tensor | None, Tensor | None]]) -> tuple[Tensor, ...]:
    import torch

    return tuple(None if parts[0] is None else torch.stack(list(parts)) for parts in zip(*steps, strict=True))


def chain(network: Network, neuron: Callable[[Neuron, Shape], Any]) -> list[tuple[str, Any]]:
    """Named torch modules of a chain of layers, in float32; `neuron` builds those of the library.

    A spiking layer's neuron has its name, the operation before it ``_op`` in addition.
    """
    modules, source = [], "input"
    for layer in network.layers:
        if len(layer.branches) != 1 or layer.branches[0].source != source:
            raise Unsupported(layer.name, "only a chain of layers is built for export")
        modules.append((f"{layer.name}_op", _module(layer.name, layer.branches[0].op)))
        if isinstance(layer.act, Neuron):
            modules.append((layer.name, neuron(layer.act, network.shapes[layer.name])))
        elif layer.act is not None:
            raise Unsupported(layer.name, f"{type(layer.act).__name__} is not a neuron of a library")
        source = layer.name
    return modules


def _module(where: str, op: Op) -> Any:
    import torch

    nn: Any = torch.nn
    if isinstance(op, Flatten):
        return nn.Flatten()
    if isinstance(op, Pool) and op.kind == "average" and len(op.kernel) == 2:
        return nn.AvgPool2d(op.kernel, op.stride, op.padding, count_include_pad=op.count_include_pad)
    if isinstance(op, Dense):
        module = nn.Linear(*reversed(op.weight.shape), bias=op.bias is not None)
    elif isinstance(op, Conv) and op.weight.ndim == 4 and not op.transposed and all(a == b for a, b in op.padding):
        padding = tuple(a for a, _ in op.padding)
        module = nn.Conv2d(*op.channels, op.weight.shape[2:], op.stride, padding, op.dilation, op.groups,
                           bias=op.bias is not None)  # fmt: skip
    else:
        raise Unsupported(where, f"{type(op).__name__} has no module that the library exports")
    module.weight.data = torch.tensor(op.weight, dtype=torch.float32)
    if op.bias is not None:
        module.bias.data = torch.tensor(op.bias, dtype=torch.float32)
    return module


def weighted(op: Op) -> Any:
    """Layer of torch, in float32, that is a weighted operation with symmetric padding."""
    import torch

    nn: Any = torch.nn
    if isinstance(op, Dense):
        layer = nn.Linear(*reversed(op.weight.shape), bias=op.bias is not None)
    elif isinstance(op, Conv) and all(a == b for a, b in op.padding):
        axes, pads = op.weight.ndim - 2, tuple(a for a, _ in op.padding)
        kind = getattr(nn, f"Conv{'Transpose' * op.transposed}{axes}d")
        extra = {"output_padding": op.output_padding} if op.transposed else {}
        layer = kind(*op.channels, op.weight.shape[2:], stride=op.stride, padding=pads, dilation=op.dilation,
                     groups=op.groups, bias=op.bias is not None, **extra)  # fmt: skip
    else:
        raise Unsupported(
            type(op).__name__, "operation counters know linear layers and convolutions of symmetric padding alone"
        )
    layer.weight.data = torch.tensor(op.weight, dtype=torch.float32)
    if op.bias is not None:
        layer.bias.data = torch.tensor(op.bias, dtype=torch.float32)
    return layer
