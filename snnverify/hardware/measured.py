"""Measurement: a board's log or the host's own meters, and what an estimate is worth beside it."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..content import Array
from ..errors import DataError
from ..objects import nearest

# columns that a log may have for each quantity, with the factor to joules or seconds
UNITS: Mapping[str, Mapping[str, float]] = {
    "energy": {"energy": 1, "energy_J": 1, "energy_mJ": 1e-3, "energy_uJ": 1e-6, "energy_nJ": 1e-9},
    "latency": {"latency": 1, "latency_s": 1, "latency_ms": 1e-3, "latency_us": 1e-6},
}
POWERCAP = Path("/sys/class/powercap")
LEAST = 2  # samples of which a spread can be told


@dataclass(frozen=True)
class Log:
    """What was measured of each sample: its number in the data, the class predicted, joules, seconds; arrays [n]."""

    sample: Array
    prediction: Array
    energy: Array
    latency: Array


@dataclass(frozen=True)
class Comparison:
    """An estimate beside a measurement of the same samples.

    Parameters
    ----------
    n : int
    measured, estimated : float
        Means, J; the estimate at the end of its range that is nearer.
    low, high : float
        95 % interval of the mean measured energy (Student's t).
    bias, spread : float
        Mean, and standard deviation, of ``measured / estimated - 1`` over the samples, the estimate as above.
    correlation : float
        Pearson's, of measured and estimated energies over the samples; NaN where either does not vary.
    p50, p99 : float
        Latency, s: the smallest value that half, and 99 %, of the samples keep.
    holds : str
        ``PASS``: the interval lies inside the estimate's range widened by the tolerance; ``FAIL``: outside of it;
        ``INCONCLUSIVE`` else; empty without a tolerance. Where operations are unpriced, the estimate is a lower bound:
        ``FAIL`` below it, ``INCONCLUSIVE`` elsewhere.
    unpriced : mapping of operation to int
        What occurs in these samples and the estimate leaves out.
    """

    n: int
    measured: float
    estimated: float
    low: float
    high: float
    bias: float
    spread: float
    correlation: float
    p50: float
    p99: float
    holds: str
    unpriced: Mapping[str, int] = field(default_factory=dict)


def read_log(path: str | Path) -> Log:
    """Board log: CSV with a heading and the columns ``sample``, ``prediction``, energy and latency; see `UNITS`.

    Raises
    ------
    DataError
        No such file; a column that is missing or unknown (names the nearest); a value that is no number of its kind (with
        the line); a sample twice; fewer than two samples.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError:
        raise DataError(
            f"measured {path}: no such file; give a CSV with sample, prediction, energy_uJ, latency_us"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"measured {path}: cannot be read ({e}); give a CSV file") from e
    head = [name.strip() for name in rows[0]] if rows else []
    columns = {"sample": "sample", "prediction": "prediction"}
    known = [*columns, *UNITS["energy"], *UNITS["latency"]]
    for name in head:
        if name not in known:
            raise DataError(f"measured {path}: column {name!r} is unknown{nearest(name, known)}")
    for kind, units in UNITS.items():
        found = [name for name in head if name in units]
        if len(found) != 1:
            raise DataError(f"measured {path}: {len(found)} columns of {kind}; give one of {', '.join(units)}")
        columns[kind] = found[0]
    for name in ("sample", "prediction"):
        if head.count(name) != 1:
            raise DataError(f"measured {path}: {head.count(name)} columns {name!r}; give one")
    values: dict[str, list[float]] = {kind: [] for kind in columns}
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(head):
            raise DataError(
                f"measured {path}: line {line} has {len(row)} fields, the heading {len(head)}; mend the line"
            )
        for kind, name in columns.items():
            values[kind].append(_number(path, line, name, row[head.index(name)], kind in UNITS))
    if not values["sample"]:
        raise DataError(f"measured {path}: it holds no sample; one line each below the heading")
    sample = np.array(values["sample"], np.int64)
    unique, times = np.unique(sample, return_counts=True)
    if times.max() > 1:
        raise DataError(f"measured {path}: sample {unique[times.argmax()]} stands there {times.max()} times; once each")
    if len(sample) < LEAST:
        raise DataError(f"measured {path}: {len(sample)} sample; at least {LEAST} are needed to tell a spread")
    energy, latency = (np.array(values[kind]) * units[columns[kind]] for kind, units in UNITS.items())
    return Log(sample, np.array(values["prediction"], np.int64), energy, latency)


def _number(path: str | Path, line: int, name: str, text: str, real: bool) -> float:
    try:
        value = float(text) if real else int(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0 or (real and value == 0) or (not real and value >= 2**63):
        rule = "a finite number > 0" if real else "an integer from 0 to 2^63 - 1"
        raise DataError(f"measured {path}: line {line}: {name} = {text.strip()!r}: give {rule}")
    return value


def compare(
    log: Log, low: Array, high: Array, tolerance: float | None = None, unpriced: Mapping[str, int] | None = None
) -> Comparison:
    """Hold an estimate to a measurement.

    Parameters
    ----------
    log : Log
    low, high : float array [n]
        Range of the estimate for the samples of the log, J.
    tolerance : float, optional
        Share by which the mean may lie outside that range.
    unpriced : mapping of operation to int, optional
        What occurs in these samples and has no figure in the estimate, which is then a lower bound: what is missing costs
        something, and nobody knows how much.

    Raises
    ------
    DataError
        Fewer than two samples; an estimate of 0.
    """
    if len(log.sample) < LEAST:
        raise DataError(f"measured: {len(log.sample)} sample; at least {LEAST} are needed to tell a spread")
    if not np.all(low > 0):
        raise DataError("estimate: 0 J for some sample; choose an energy table that prices what this network does")
    from scipy import stats

    n, mean = len(log.sample), float(log.energy.mean())
    half = float(stats.t.ppf(0.975, n - 1) * log.energy.std(ddof=1) / math.sqrt(n))
    ends = float(low.mean()), float(high.mean())
    near = low if mean < ends[0] else high if mean > ends[1] else np.clip(mean, *ends) / ends[0] * low
    ratio = log.energy / near - 1
    varies = log.energy.std() > 0 and near.std() > 0
    ordered = np.sort(log.latency)
    p50, p99 = (float(ordered[math.ceil(share * n / 100) - 1]) for share in (50, 99))
    holds = ""
    if tolerance is not None:
        floor, roof = ends[0] * (1 - tolerance), math.inf if unpriced else ends[1] * (1 + tolerance)
        inside, outside = floor <= mean - half and mean + half <= roof, mean + half < floor or mean - half > roof
        holds = "PASS" if inside and not unpriced else "FAIL" if outside else "INCONCLUSIVE"
    correlation = float(np.corrcoef(log.energy, near)[0, 1]) if varies else math.nan
    return Comparison(n, mean, float(near.mean()), mean - half, mean + half, float(ratio.mean()),
                      float(ratio.std(ddof=1)), correlation, p50, p99, holds, dict(unpriced or {}))  # fmt: skip


def idle(meter: str) -> bool:
    """Whether a meter sees none of what our simulator does, which runs on the processor alone."""
    return meter.startswith("NVML")


def meters() -> tuple[dict[str, Callable[[], float]], list[str]]:
    """Energy meters of this machine, functions that return joules since some moment; and what is missing, in words."""
    found: dict[str, Callable[[], float]] = {}
    missing = []
    for zone in sorted(POWERCAP.glob("intel-rapl:[0-9]*")):
        if zone.name.count(":") == 1:
            try:
                (zone / "energy_uj").read_text()
            except OSError as e:
                missing.append(f"RAPL {zone.name}: {zone / 'energy_uj'} cannot be read ({e.strerror}); it takes root")
                continue
            found[f"RAPL {zone.name}"] = _rapl(zone)
    if not list(POWERCAP.glob("intel-rapl:*")):
        missing.append(f"RAPL: {POWERCAP} has no intel-rapl zone (a virtual machine, or a processor without it)")
    try:
        import pynvml

        pynvml.nvmlInit()
        for i in range(pynvml.nvmlDeviceGetCount()):
            found[f"NVML {i}"] = _nvml(pynvml, pynvml.nvmlDeviceGetHandleByIndex(i))
    except ImportError:
        missing.append("NVML: pynvml is not installed; pip install nvidia-ml-py where there is an NVIDIA GPU")
    except Exception as e:  # of pynvml's own types
        missing.append(f"NVML: {e}")
    return found, missing


def _rapl(zone: Path) -> Callable[[], float]:
    """The counter wraps around at its range."""
    span, turns, last = int((zone / "max_energy_range_uj").read_text()) + 1, 0, 0

    def joules() -> float:
        nonlocal turns, last
        now = int((zone / "energy_uj").read_text())
        turns, last = turns + (now < last), now
        return (turns * span + now) * 1e-6

    return joules


def _nvml(pynvml: Any, handle: Any) -> Callable[[], float]:
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1e-3


def on_host(work: Callable[[int], int], samples: int, meter: Callable[[], float], least: float = 0.05) -> Log:
    """Measure ``work(n)``, which runs sample n and returns its class, on this machine's meter.

    Each sample is repeated for at least `least` seconds, because a meter steps once a millisecond; the energy is all that
    the meter sees, the idle machine's included.
    """
    predictions, energy, latency = [], [], []
    for n in range(samples):
        work(n)  # warm
        times, before, start = 0, meter(), time.perf_counter()
        while (spent := time.perf_counter() - start) < least or not times:
            predicted, times = work(n), times + 1
        predictions.append(predicted)
        energy.append((meter() - before) / times)
        latency.append(spent / times)
    return Log(np.arange(samples), np.array(predictions), np.array(energy), np.array(latency))
