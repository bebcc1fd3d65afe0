"""PilotNet in integers: our simulator, slayer and netx on lava-nc, in one session on one machine.

``python benchmarks/lava_speed.py`` needs the vectors (`snnverify vectors fetch lava-dl`) and the lava environment
(`snnverify oracle install lava`). All run the vendor's network, without resets, on the spikes of its input layer under the
recorded image; their spikes are asserted to be the same. Times are medians of whole calls; a library's include building its
model and the way to its process and back, which a call of one step shows. All have one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy: as in the workers


from snnverify.errors import SnnverifyError
from snnverify.exchange.recordings import recordings
from snnverify.network import INPUT, Branch, Network
from snnverify.oracles import get
from snnverify.trace import Case

STEPS = 16


def pilotnet() -> Case:
    """PilotNet behind its input layer, on that layer's spikes: 16 steps of one image."""
    recording = recordings("pilotnet_lif")[0]
    first, *rest = (replace(v, act=replace(v.act, reset_interval=None, reset_offset=0)) if v.act else v  # type: ignore[type-var]
                    for v in recording.network.layers)  # fmt: skip
    alone, x = Network(recording.network.input_shape, (first,)), recording.x[:STEPS]
    image = Case(alone, x, STEPS, "spikes", kind="integer")
    spikes = get("snnverify").run(image, "spikes").spikes[first.name]
    rest[0] = replace(rest[0], branches=(Branch(rest[0].branches[0].op, INPUT),))
    return Case(Network(spikes.shape[2:], tuple(rest)), spikes.astype(float), STEPS, "spikes", kind="integer")


def median(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of the median call, and what it returned."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repeats", type=int, default=5, help="calls of each (5); netx, which is slow, is called once")
    repeats = parser.parse_args().repeats
    case = pilotnet()
    rate = case.x.mean()
    print(f"PilotNet, {STEPS} steps, {len(case.network.spiking)} layers, input rate {rate:.3f}")
    ours = get("snnverify")
    ours.run(case, "spikes")  # warm
    base, exactly = median(lambda: ours.run(case, "spikes"), repeats)
    print(f"{'snnverify':14} {base:8.3f} s")
    for name, calls in (("lava-neuron", repeats), ("lava-block", repeats), ("lava-netx", 1)):
        oracle = get(name)
        brief = replace(case, x=case.x[:1], steps=1)
        oracle.run(brief, "spikes")  # starts the worker
        wire, _ = median(lambda oracle=oracle, brief=brief: oracle.run(brief, "spikes"), 2)  # type: ignore[misc]
        seconds, trace = median(lambda oracle=oracle: oracle.run(case, "spikes"), calls)  # type: ignore[misc]
        differ = sum(int((trace.spikes[k] != s).sum()) for k, s in exactly.spikes.items())
        assert differ == 0, f"{name}: {differ} spikes differ"
        print(
            f"{name:14} {seconds:8.3f} s, {seconds / base:6.1f} x ours; one step, for the build and the way: {wire:.3f} s"
        )
    entries = sum(s.size for s in exactly.spikes.values())
    spikes = sum(int(s.sum()) for s in exactly.spikes.values())
    print(f"{entries:,} spike entries, {spikes:,} spikes, 0 differ")


if __name__ == "__main__":
    try:
        main()
    except SnnverifyError as e:
        print(f"{Path(__file__).name}: {e}", file=sys.stderr)
        raise SystemExit(2) from None
