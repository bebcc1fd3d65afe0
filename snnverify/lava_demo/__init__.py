"""SpikingJelly's Lava tutorial end to end: train a quantised spiking CNN, run it four ways, export it, read it back.

The path is that of ``spikingjelly/activation_based/examples/lava_mnist.py`` (0.0.0.0.14): two times a 3x3 convolution and
one of 2x2 with stride 2, two dense layers, IF neurons, weights on the 8-bit grid, Poisson spikes in, firing rates out.
Training runs in lava's interpreter; the evaluations see the very same spikes (NetX those of the first images), so that
their outputs may be compared one by one and not by accuracy alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from .. import __version__
from ..content import write_atomic
from ..errors import ConfigError, OracleError
from ..oracles import get
from .evaluation import evaluate, read_back, through_netx
from .training import STATE, Progress, Settings, read_data, train

__all__ = ["RESULTS", "STATE", "Settings", "demo"]
RESULTS = "results.json"


def demo(settings: Settings, command: str, progress: Progress, say: Callable[[str], None]) -> dict[str, Any]:
    """Do all of it, print a table, and return what `RESULTS` holds; key ``sound`` is the verdict.

    Raises
    ------
    ConfigError, DataError, Unavailable
        Before anything is trained or written; `ConfigError` also for a device that the trainer does not have.
    """
    exchange, netx = get("lava-exchange"), get("lava-netx")
    train_set, test_set = read_data(settings.data_dir, settings.seed, settings.limit)
    try:
        state, history = train(settings, exchange, train_set, progress)
    except OracleError as e:
        if settings.device == "cpu" or not any(word in str(e) for word in ("CUDA", "NVIDIA")):
            raise
        raise ConfigError(f"-device = {settings.device!r}: lava's interpreter sees no such device; use cpu") from e
    files = exchange.operator("csnn_files")(state, settings.training)
    for name, content in files.items():
        write_atomic(settings.out_dir / name, np.asarray(content, np.uint8).tobytes())
    network = exchange.operator("csnn_network")(state, settings.training)
    found, spikes = evaluate(settings, exchange, network, state, test_set, progress)
    chip, same = read_back(settings.out_dir / "net_la.net", network)
    through_netx(netx, chip, files["net_la.net"], spikes, test_set.y, progress, found)
    results = {
        "command": command,
        "options": {**asdict(settings), "out_dir": str(settings.out_dir)},
        "versions": {"snnverify": __version__, "numpy": np.__version__, **{o.name: o.version for o in (exchange, netx)}},
        "data": {part: {"source": d.source, "images": len(d), "sha256": d.digest}
                 for part, d in (("training", train_set), ("evaluation", test_set))},
        "history": history,
        "right": {k: {"right": n, "images": of, "accuracy": n / of} for k, (n, of) in found.right.items()},
        "differing": {k: {"differ": n, "of": of} for k, (n, of) in found.differing.items()},
        "remarks": found.remarks,
        "read back": same,
        "sound": found.sound and same,
    }  # fmt: skip
    write_atomic(settings.out_dir / RESULTS, json.dumps(results, indent=1) + "\n")
    say(f"{'':28} {'images':>7} {'right':>7} {'accuracy':>9}")
    for name, (n, of) in found.right.items():
        say(f"{name:28} {of:7} {n:7} {n / of:9.4f}")
    for name, (n, of) in found.differing.items():
        say(f"{name}: {n} of {of} differ")
    for line in found.remarks:
        say(line)
    say(f"net_la.net read back: {'the same network' if same else 'ANOTHER network'}")
    say(f"written: {settings.out_dir}: {', '.join([*files, RESULTS, STATE])}")
    return results
