"""What a peer's process answers: `prepare` a network, then `turn`s of timed calls, without building and the wire."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from snnverify.content import Array
from snnverify.oracles import Oracle
from snnverify.trace import Case


@dataclass
class Model:
    """A network ready to run.

    Parameters
    ----------
    call : callable
        One whole run, from a state at rest: what is timed.
    spikes : callable
        A run again: the spikes of every layer, [T, N, *shape].
    counts : callable, optional
        Spikes of every layer over all steps, [N, *shape], of the very call that is timed.
    seconds : callable, optional
        One run, timed by itself, where a call does more than run.
    """

    call: Callable[[], Any]
    spikes: Callable[[], Mapping[str, Array]]
    counts: Optional[Callable[[], Mapping[str, Array]]] = None  # noqa: UP045 - evaluated under Python 3.10
    seconds: Optional[Callable[[], float]] = None  # noqa: UP045


Build = Callable[[Case, str, int], Model]


def peer(name: str, version: str, build: Build) -> Oracle:
    """Oracle of a peer.

    Parameters
    ----------
    build : callable (case, engine, threads) -> Model
    """
    models: dict[str, Model] = {}

    def prepare(case: Case, engine: str, threads: int, told: bool = True) -> dict[str, Any]:
        """Build the model and run it: seconds of both; with `told` its counts, and its spikes as bits."""
        models.pop(engine, None)
        start = time.perf_counter()
        model = build(case, engine, threads)
        built = time.perf_counter()
        model.call()
        first = time.perf_counter()
        found: dict[str, Any] = {"build": built - start, "first": first - built}
        if told:
            found["counts"] = dict(model.counts()) if model.counts else {}
            found["spikes"] = {k: (np.packbits(s != 0), s.shape) for k, s in model.spikes().items()}
        models[engine] = model
        return found

    def turn(engine: str, seconds: float, most: int) -> tuple[float, ...]:
        """Times of calls, at least one and as many as fill the `seconds`, after one that does not count; or of `most`."""
        model = models[engine]
        gc.collect()
        gc.disable()
        try:
            if most > 1:
                timed(model)
            times = [timed(model)]
            while sum(times) < seconds and len(times) < most:
                times.append(timed(model))
        finally:
            gc.enable()
        return tuple(times)

    return Oracle(name, version, operators={"prepare": prepare, "turn": turn})


def timed(model: Model) -> float:
    """Seconds of a call."""
    if model.seconds is not None:
        return model.seconds()
    start = time.perf_counter()
    model.call()
    return time.perf_counter() - start
