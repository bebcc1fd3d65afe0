"""What a tile costs in this process and on Dask's workers: seconds, and bytes that are sent.

python -m benchmarks.shards [--model digits_cnn] [--steps 64] [--tiles 40]
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
from distributed import LocalCluster

from snnverify import zoo
from snnverify.convert import convert
from snnverify.convert.curves import CurveTile
from snnverify.fidelity import measure
from snnverify.fidelity.tiles import size, tile
from snnverify.shards import Execute, Shards, cluster, here, run

EMPTY = 500


@contextmanager
def workers(n: int) -> Iterator[Execute]:
    """Executor of n workers of one thread each; 0 is this process."""
    if not n:
        yield here
        return
    with (
        LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0") as c,
        cluster.connected(c.scheduler_address) as execute,
    ):
        yield execute


def empty(number: int, threads: int | None = None) -> CurveTile:
    """Return at once: what is left is the cost of a task."""
    return CurveTile((number,))


def main() -> None:
    """Print a line for no worker, one and two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="digits_cnn")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--tiles", type=int, default=40)
    options = parser.parse_args()
    m = zoo.load_default(options.model)
    converted = convert(m.module, m.train_x)
    n = size(converted)
    x = np.resize(m.evaluation_x, (options.tiles * n, *m.evaluation_x.shape[1:]))
    y, logits = np.zeros(len(x), int), np.zeros((len(x), 10))
    part = {"x": x[:n], "converted": converted, "result": tile(converted, x[:n], (options.steps,), "constant", 0, 0)}
    print(f"{options.model}, {options.tiles} tiles of {n} samples, T = {options.steps}; serialised bytes:",
          ", ".join(f"{k} {len(pickle.dumps(v, 5))}" for k, v in part.items()))  # fmt: skip
    for w in (0, 1, 2):
        with workers(w) as execute:
            # imports and first calls are paid apart: a tile for each worker
            measure(converted, x[: 4 * n], y[: 4 * n], logits[: 4 * n], (1,), shards=Shards(execute))
            sent, began = psutil.net_io_counters().bytes_sent, time.perf_counter()
            found = measure(converted, x, y, logits, (options.steps,), shards=Shards(execute))
            seconds, sent = time.perf_counter() - began, psutil.net_io_counters().bytes_sent - sent
            began = time.perf_counter()
            run(empty, [{"number": k} for k in range(EMPTY)], CurveTile, Shards(execute))
            nothing = time.perf_counter() - began
        print(f"{w or 'no'} workers: {seconds / options.tiles * 1e3:.1f} ms and {sent / options.tiles:.0f} bytes sent a tile"
              f", {nothing / EMPTY * 1e3:.2f} ms an empty task; result {found.digest[:12]}")  # fmt: skip


if __name__ == "__main__":
    main()
