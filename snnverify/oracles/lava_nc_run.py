"""A graph of lava-nc processes: samples side by side in it, one run, and the end of its operating-system processes.

Lava's arrays are ``(W, H, C)`` or ``(C,)`` with time last; ours ``[T, N, C, H, W]``. The samples of a batch are channels of
their own, ``N C`` of them, which no synapse connects: a start of the runtime (0.2 s) costs more than many neurons.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..content import Array
from ..errors import OracleError, Unsupported
from ..network import Shape

Process = Any
Port = Any
POLL = 0.001  # seconds


def lay(x: Array) -> Array:
    """[N, C, H, W] or [N, C] -> (W, H, N C) or (N C,)."""
    return x.transpose(*range(x.ndim - 1, 1, -1), 0, 1).reshape(*x.shape[:1:-1], -1)


def lay_train(x: Array) -> Array:
    """[T, N, *shape] -> an array of lava, time last."""
    return np.stack([lay(step) for step in x], -1)


def unlay(a: Array, samples: int, shape: Shape) -> Array:
    """Array of lava, time last -> [T, N, *shape]."""
    split = a.reshape(*shape[:0:-1], samples, shape[0], a.shape[-1])
    spatial = len(shape) - 1
    return split.transpose(spatial + 2, spatial, spatial + 1, *range(spatial - 1, -1, -1))


def lava_shape(shape: Shape, samples: int) -> Shape:
    """Shape of a lava process for a layer of `samples` samples."""
    if len(shape) not in (1, 3):
        raise Unsupported(f"shape {shape}", "the processes have one axis or three", "give a layer (C,) or (C, H, W)")
    return (*shape[:0:-1], samples * shape[0])


def run(anchor: Process, steps: int, probes: Mapping[Any, Process], models: Mapping[Any, Any]) -> dict[Any, Array]:
    """Run the graph that `anchor` belongs to; return the recorded ``data`` of each probe.

    Parameters
    ----------
    anchor : lava process
    steps : int
    probes : mapping of key to a ring buffer or reader
    models : mapping of process class to process model
        Exceptions from the choice of the fixed-point model.

    Raises
    ------
    OracleError
        A process ended with an exception. Lava's own blocking run would wait for it for good (NC-1).
    """
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=dict(models))
    try:
        anchor.run(condition=RunSteps(num_steps=steps, blocking=False), run_cfg=config)
        runtime = anchor.runtime
        while not all(port.probe() for port in runtime.service_to_runtime):
            _raise_dead(runtime)
            time.sleep(POLL)
        anchor.wait()
        found = {key: np.asarray(probe.data.get()) for key, probe in probes.items()}
        anchor.stop()
        return found
    except BaseException:
        if anchor.runtime is not None:
            anchor.runtime._is_started = False  # else its end, too, waits for processes that are gone
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        raise


def _raise_dead(runtime: Any) -> None:
    for actor in runtime._messaging_infrastructure.actors:
        if actor.exception is not None:
            raised, _ = actor.exception
            raise OracleError(f"a lava process raised {type(raised).__name__}: {raised}")
        if actor.exitcode not in (None, 0):
            raise OracleError(f"a lava process ended with exit code {actor.exitcode}")
