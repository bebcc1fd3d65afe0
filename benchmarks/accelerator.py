"""``python -m benchmarks.accelerator``: what a torch form of our kernels gives on a GPU, with the copies there and back.

The form is that of the fused engine: layer by layer, all steps of a layer in one product, what hangs on a constant input
computed once, counts alone handed back. Its spikes are held to the obvious loop's before anything is timed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from tabulate import tabulate

from snnverify.content import Array
from snnverify.errors import ConfigError, SnnverifyError, Unsupported
from snnverify.network import INPUT, Conv, Dense, Flatten, Neuron, Op, Pool, Scale
from snnverify.simulate import run
from snnverify.simulate.parallel import cores
from snnverify.trace import Case

from . import loop
from .judge import Agreement, agreement
from .nets import NETS, Subject, scaled

F = torch.nn.functional
SUBJECTS = ("mlp", "cnn", "residual", "digits")
REPEATS = 20
Trains = dict[str, torch.Tensor]


def form(case: Case, device: torch.device) -> Callable[[torch.Tensor], Trains]:
    """Spikes of every layer, bool [T, N, *shape], as a function of a constant input [N, *shape] on the device.

    Raises
    ------
    Unsupported
        Neurons that `benchmarks.loop` does not have either, integers, or given spikes.
    """
    if case.encoding != "constant" or case.kind == "integer":
        raise Unsupported(INPUT, f"{case.encoding} input, {case.kind} case", "take a net with constant input in floats")
    for layer in case.network.spiking:
        loop.known(layer)
    ready = {id(b): prepared(b.op, device) for v in case.network.layers for b in v.branches}
    numbers = {v.name: tuple(spread(tensor(a, device), len(case.network.shapes[v.name])) for a in constants(v.act))
               for v in case.network.spiking}  # fmt: skip

    def spikes(x: torch.Tensor) -> Trains:
        values, found = {INPUT: x[None]}, {}  # [1 or T, N, *shape]: what is constant has one step
        for layer in case.network.layers:
            total = sum((ready[id(b)](values[b.source]) for b in layer.branches[1:]),
                        ready[id(layer.branches[0])](values[layer.branches[0].source]))  # fmt: skip
            if layer.act is None:
                values[layer.name] = total
                continue
            theta, amplitude, v = numbers[layer.name]
            train = torch.empty((case.steps, *total.shape[1:]), dtype=torch.bool, device=device)
            for t in range(case.steps):
                v = v + total[min(t, len(total) - 1)]
                torch.ge(v, theta, out=train[t])
                v = v - train[t] * theta
            found[layer.name] = train
            values[layer.name] = train * amplitude
        return found

    return spikes


def prepared(op: Op, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """An operation on values [T, N, *shape], its weights on the device."""
    if isinstance(op, Flatten):
        return lambda v: v.flatten(2)
    if isinstance(op, Scale):
        factor, offset = tensor(op.factor, device), tensor(0 if op.bias is None else op.bias, device)
        return lambda v: v * spread(factor, v.ndim - 2) + spread(offset, v.ndim - 2)
    if isinstance(op, Pool):
        if op.kind != "average" or any(op.padding):
            raise Unsupported("Pool", f"{op} has no form here", "average pooling without padding")
        return lambda v: folded(v, lambda y: F.avg_pool2d(y, op.kernel, op.stride))
    weight, bias = tensor(op.weight, device), None if op.bias is None else tensor(op.bias, device)
    if isinstance(op, Dense):
        return lambda v: F.linear(v, weight, bias)
    return convolution(op, weight, bias)


def convolution(op: Conv, weight: torch.Tensor, bias: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """A convolution over two axes, padded alike on both sides."""
    padding = [before for before, _ in op.padding]
    if op.transposed or weight.ndim != 4 or padding != [after for _, after in op.padding]:
        raise Unsupported("Conv", "transposed, of one axis or padded unevenly: no form here", "two axes, even padding")
    return lambda v: folded(v, lambda y: F.conv2d(y, weight, bias, op.stride, padding, op.dilation, op.groups))


def folded(v: torch.Tensor, call: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The call on steps and samples as one axis."""
    y: torch.Tensor = call(v.flatten(0, 1)).unflatten(0, v.shape[:2])
    return y


def constants(act: object) -> tuple[Array | float, ...]:
    """Threshold, amplitude and first potential."""
    assert isinstance(act, Neuron)
    return act.theta, act.amplitude, act.v_init


def tensor(value: Array | float, device: torch.device) -> torch.Tensor:
    """A parameter as float32 on the device."""
    return torch.tensor(np.asarray(value), dtype=torch.float32, device=device)


def spread(value: torch.Tensor, axes: int) -> torch.Tensor:
    """A value of shape () or (C,) along the first of some sample axes."""
    return value.reshape(value.shape + (1,) * (axes - 1)) if value.ndim else value


def recorded(call: Callable[[torch.Tensor], Trains], x: torch.Tensor) -> Callable[[torch.Tensor], Trains]:
    """The calls as one CUDA graph, which leaves out the launch of each kernel."""
    held, graph = x.clone(), torch.cuda.CUDAGraph()
    beside = torch.cuda.Stream()
    with torch.cuda.stream(beside):  # libraries choose their algorithms before anything is recorded
        for _ in range(3):
            call(held)
    torch.cuda.current_stream().wait_stream(beside)
    with torch.cuda.graph(graph):
        found = call(held)

    def again(y: torch.Tensor) -> Trains:
        held.copy_(y)
        graph.replay()
        return found

    return again


def counted(call: Callable[[torch.Tensor], Trains], x: Array, device: torch.device) -> dict[str, Array]:
    """Counts of every layer, from and to this machine's memory."""
    trains = call(torch.from_numpy(x).to(device))
    return {k: s.sum(0).cpu().numpy() for k, s in trains.items()}


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median of calls that end with their result in this machine's memory."""
    call()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        spent.append(1e3 * (time.perf_counter() - start))
    return statistics.median(spent)


def measured(name: str, subject: Subject, device: torch.device, repeats: int, judged: bool) -> list[tuple[object, ...]]:
    """Rows of one net: ours and the forms on the device, with milliseconds and what their spikes are."""
    case = subject.case
    x, exact = np.array(case.x, np.float32), loop.run(case) if judged else None
    call = form(case, device)
    given = torch.from_numpy(x).to(device)
    forms = {"torch, layer by layer": call}
    if device.type == "cuda":
        forms["the same as one CUDA graph"] = recorded(call, given)
    ours = run(case, "counts", engine="auto")
    rows: list[tuple[object, ...]] = [
        (name, len(x), f"ours, {cores()} cores", milliseconds(lambda: run(case, "counts", engine="auto"), repeats), "")
    ]
    for title, made in forms.items():
        trains = {k: s.cpu().numpy().astype(np.uint8) for k, s in made(given).items()}
        told: Agreement | str = agreement(case, exact, trains) if exact else differing(ours.counts, trains)
        spent = milliseconds(lambda made=made: counted(made, x, device), repeats)  # type: ignore[misc]
        rows.append((name, len(x), f"{device.type}: {title}", spent, str(told)))
    return rows


def differing(ours: object, trains: dict[str, Array]) -> str:
    """How many counts are not ours."""
    counts: dict[str, Array] = dict(ours)  # type: ignore[call-overload]
    n = sum(int((counts[k] != s.sum(0, dtype=np.int64)).sum()) for k, s in trains.items())
    return f"{n} counts differ from ours" if n else "counts equal to ours"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    p.add_argument("--nets", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    p.add_argument("--device", default="cuda", help="of torch (cuda)")
    p.add_argument("--samples", type=int, default=512, help="of a second, larger batch (512)")
    p.add_argument("--tf32", action="store_true", help="products in TensorFloat-32: factors of 11 bits")
    p.add_argument("--short", action="store_true", help="small batches, single calls: correctness alone")
    options = p.parse_args(arguments)
    try:
        if options.device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"--device {options.device}: torch sees no such device here; take cpu")
        device = torch.device(options.device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
        title = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
        print(f"torch {torch.__version__} on {title}; {'TF32' if options.tf32 else 'float32'}; ours on {cores()} cores")
        rows = []
        for name in options.nets:
            subject, repeats = NETS[name](options.short), 1 if options.short else REPEATS
            rows += measured(name, subject, device, repeats, True)
            if not options.short:
                rows += measured(name, scaled(subject, samples=options.samples), device, 5, False)
    except SnnverifyError as e:
        print(f"benchmarks: {e}", file=sys.stderr)
        return 2
    print(tabulate(rows, ("net", "batch", "form", "median ms", "spikes equal"), floatfmt=".3f"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
