"""THE simulator: Network + input -> Trace, by one of two engines: folded numpy products, or fused kernels.

`folded` serves everything everywhere. `fused` follows the spikes through compiled kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..activation import Clip, ClipFloor, Relu
from ..errors import ConfigError, DataError, Unsupported
from ..network import Array, Network, Pool
from ..trace import Case, Encoding, Record, Trace
from . import folded
from .folded import TILE, tiling
from .kept import forget
from .operations import activated, apply, exactly, fan_out, forward, over_time, summed
from .recorder import Recorder

__all__ = [
    "MEMORY",
    "TILE",
    "activated",
    "apply",
    "exactly",
    "fan_out",
    "forget",
    "forward",
    "over_time",
    "run",
    "simulate",
    "summed",
    "tiling",
    "warm_up",
]
MEMORY = 64 * 2**20
Progress = Callable[[int], None]
Engine = Literal["auto", "numpy", "fused"]


def simulate(
    network: Network, x: npt.ArrayLike, steps: int, *, encoding: Encoding = "constant", seed: int = 0,
    first_sample: int | Array = 0, dtype: str = "float32", record: Record = "counts",
    readout_at: Sequence[int] | None = None, memory: int = MEMORY, progress: Progress | None = None,
    engine: Engine = "auto", threads: int | None = None,
) -> Trace:  # fmt: skip
    """Run a spiking network on a batch.

    Parameters
    ----------
    network : Network
        Its activations are `Neuron`, `Cuba`, `SigmaDelta` or None.
    x : array [N, *input_shape], or [T, N, *input_shape] for ``encoding="spikes"``
    steps : int
        T.
    encoding : {"constant", "poisson", "spikes"}
        The input current itself at every step; Bernoulli spikes; the user's own train.
    seed : int
    first_sample : int or int array [N]
        Of the stochastic encoding; see `kernels.encode.poisson`.
    dtype : {"float32", "float64"}
        Of potentials and currents.
    record : {"counts", "spikes", "full"}
        What the trace keeps beside counts, read-out and last potentials.
    readout_at : sequence of int, optional
        Steps at which the accumulated read-out is kept; T is added.
    memory : int
        Budget for working arrays, bytes, of which one sample and one step take what they need. Recorded arrays come on top,
        and what is kept for the next run until `forget`: of up to eight networks, each for as long as it is there, the
        weights as the kernels take them; working arrays of up to four threads, for as long as their network is there; up to
        four blocks of 128 MiB that recorded arrays lay in.
    progress : callable, optional
        Called with the number of samples that are done.
    engine : {"auto", "numpy", "fused"}
        Both give the same bits on exact cases, and on others differ inside the rounding bound. ``auto`` takes ``fused``
        where numba can be imported and the network is one that its kernels hold.
    threads : int, optional
        As many as the process may use, if not said; no bit depends on them.

    Returns
    -------
    Trace

    Raises
    ------
    DataError
        `x` does not fit, or holds NaN or no real numbers; no step.
    ConfigError
        No such engine or record; a seed, steps, threads or a budget that cannot be.
    Unsupported
        An activation that does not spike.
    """
    try:
        x = np.asarray(x)
    except ValueError as e:
        raise DataError(f"x: {e}; give samples of one shape") from None
    case = Case(network, x, steps, encoding, seed, first_sample, dtype)  # type: ignore[arg-type]
    return run(case, record, readout_at=readout_at, memory=memory, progress=progress, engine=engine, threads=threads)


def run(
    case: Case, record: Record = "full", *, readout_at: Sequence[int] | None = None, memory: int = MEMORY,
    progress: Progress | None = None, head_start: Mapping[str, Array] | None = None, engine: Engine = "auto",
    threads: int | None = None,
) -> Trace:  # fmt: skip
    """`simulate` for a Case; `head_start` is what the sources of gates, [N, *shape], count as having handed on before."""
    network, steps = case.network, case.steps
    if record not in get_args(Record):
        raise ConfigError(f"record = {record!r}: one of {', '.join(get_args(Record))}")
    if engine not in get_args(Engine):
        raise ConfigError(f"engine = {engine!r}: one of {', '.join(get_args(Engine))}")
    for name, value in (("threads", 1 if threads is None else threads), ("memory", memory)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} = {value!r}: a whole number, at least 1")
    if not all(isinstance(t, (int, np.integer)) and 1 <= t <= steps for t in readout_at or ()):
        raise ConfigError(f"readout_at = {readout_at!r}: steps of a run, whole numbers in 1 ... {steps}")
    marks = tuple(sorted({*map(int, readout_at or ()), steps}))
    for layer in network.layers:
        pooled = any(isinstance(b.op, Pool) and b.op.kind == "max" for b in layer.branches)
        if pooled or isinstance(layer.act, (Relu, Clip, ClipFloor)):
            what = "max pooling" if pooled else type(layer.act).__name__
            raise Unsupported(layer.name, f"{what} does not spike", "convert the network first")
    samples = case.x.shape[1 if case.encoding == "spikes" else 0]
    out = Recorder(network, case, samples, marks, record)
    plan = _planned(case, engine, head_start) if engine != "numpy" else None
    if plan is not None:
        from . import fused

        fused.run(case, plan, out, samples, memory, threads, progress)
    else:
        folded.run(case, out, samples, memory, progress, head_start, threads)
    return out.trace()


@cache
def warm_up() -> float:
    """Load the fused engine's kernels for float32 on constant input, or compile them the first time.

    Returns
    -------
    float
        How many seconds the first call in this process took; 0 without numba.
    """
    try:
        from .fused import warm_up as load
    except ImportError:
        return 0.0
    return load()


def _planned(case: Case, engine: Engine, head_start: Mapping[str, Array] | None) -> Any:
    """The fused engine's plan of a case; None, or `Unsupported` where the engine was asked for, if it has none."""
    try:
        from .fused import plan as planned
    except ImportError as e:  # numba is a dependency, but not every machine has one
        if engine == "fused":
            raise ConfigError(f"engine = 'fused': {e}; pip install numba, or use engine = 'numpy'") from None
        return None
    try:
        if head_start:
            raise Unsupported("head_start", "the fused engine takes none", "use engine='numpy'")
        return planned(case)
    except Unsupported:
        if engine == "fused":
            raise
        return None
