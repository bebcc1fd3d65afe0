"""The machine, its sgemm peak, and the dense bound: all multiply-adds of a network at that peak.

``python -m benchmarks.machine numpy 2`` (or ``mkl``, ``onednn``) prints the GFLOP/s of one library on 2 threads.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from snnverify.errors import Unavailable
from snnverify.network import INPUT, Conv, Dense, Op, Shape, output_shape
from snnverify.simulate.parallel import cores
from snnverify.trace import Case

SIZES = (512, 1024, 2048)  # of the square matrices
SECONDS = 0.5  # for each size
VECTORS = ("avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "asimd", "sve")
AVX512 = {"OPENBLAS_CORETYPE": "SkylakeX"}  # where OpenBLAS does not know a processor it falls back to AVX2
LIBRARIES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "numpy": ("numpy", {}), "numpy, AVX-512 kernels": ("numpy", AVX512), "torch mm": ("mkl", {}),
    "torch 1x1 convolution (oneDNN)": ("onednn", {}),
}  # fmt: skip


def described() -> list[str]:
    """Lines on processor, vectors, numpy and its BLAS."""
    from threadpoolctl import threadpool_info

    told = _cpuinfo()
    vectors = [v for v in VECTORS if v in told.get("flags", told.get("Features", "")).split()]
    blas: dict[str, Any] = next((i for i in threadpool_info() if "numpy" in i["filepath"]), {})
    library = " ".join(str(blas.get(key, "?")) for key in ("internal_api", "version"))
    model = told.get("model name") or platform.processor() or platform.machine()
    lines = [
        f"machine   {model}, {cores()} cores, {' '.join(vectors) or 'vector instructions unknown'}, {platform.system()}",
        f"software  Python {platform.python_version()}, numpy {np.__version__} on {library} with kernels for "
        f"{blas.get('architecture', '?')}",
    ]
    busy = os.getloadavg()[0]
    if busy > cores() / 2:
        lines.append(f"load      {busy:.1f} on {cores()} cores: others are at work, the times below mean little")
    return lines


def peaks(threads: int, short: bool = False) -> dict[str, float]:
    """Measure the sgemm peak, FLOP/s, of every library that is there, each in a fresh process."""
    found = {}
    flags = _cpuinfo().get("flags", "").split()
    for name, (library, variables) in LIBRARIES.items():
        if variables == AVX512 and "avx512f" not in flags:
            continue
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        command = [sys.executable, "-m", "benchmarks.machine", library, str(threads), *(["short"] if short else [])]
        ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **limits, **variables},
                             cwd=Path(__file__).parents[1])  # fmt: skip
        if ran.returncode == 0:
            found[name] = float(ran.stdout) * 1e9
    if "numpy" not in found:
        raise Unavailable("numpy: its sgemm peak could not be measured in a process of its own")
    return found


def multiply_adds(case: Case) -> int:
    """Multiply-adds of all dense and convolutional synapses over all samples and steps, as a matrix product does them.

    What hangs on a constant input alone is counted once. Padding counts; pooling and skips, which are no products, do not.
    """
    network, total = case.network, 0
    samples = case.x.shape[1 if case.encoding == "spikes" else 0]
    constant = {INPUT} if case.encoding == "constant" else set()
    for layer in network.layers:
        for b in layer.branches:
            total += samples * (1 if b.source in constant else case.steps) * products(b.op, network.shapes[b.source])
        if layer.act is None and all(b.source in constant for b in layer.branches):
            constant.add(layer.name)
    return total


def products(op: Op, shape: Shape) -> int:
    """Multiply-adds of one operation on one sample in one step."""
    if not isinstance(op, Dense | Conv):
        return 0
    fan_in = math.prod(op.weight.shape[1:])
    return fan_in * math.prod(output_shape(op, shape))


def bound(case: Case, peak: float) -> float:
    """Seconds of the dense bound: 2 FLOP a multiply-add, at `peak` FLOP/s."""
    return 2 * multiply_adds(case) / peak


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _product(library: str, n: int, threads: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, n)).astype(np.float32) for _ in range(2))
    if library == "numpy":
        out = np.empty((n, n), np.float32)
        return lambda: np.matmul(a, b, out=out)
    import torch

    torch.set_num_threads(threads)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    if library == "mkl":
        result = torch.empty(n, n)
        return lambda: torch.mm(ta, tb, out=result)
    image, kernel = ta.reshape(1, n, n, 1), tb.reshape(n, n, 1, 1)
    return lambda: torch.nn.functional.conv2d(image, kernel)


def main(library: str, threads: str, short: str = "") -> None:
    """Print GFLOP/s of the fastest of many products."""
    best = 0.0
    for n in SIZES[:1] if short else SIZES:
        call = _product(library, n, int(threads))
        call()
        end = time.perf_counter() + (0 if short else SECONDS)
        while True:
            start = time.perf_counter()
            call()
            now = time.perf_counter()
            best = max(best, 2 * n**3 / (now - start) / 1e9)
            if now > end:
                break
    print(best)


if __name__ == "__main__":
    main(*sys.argv[1:])
