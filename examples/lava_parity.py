"""Lava's implementations against the exact reference, and SpikingJelly's blocks against lava-dl's: docs/lava.md.

``python examples/lava_parity.py --out docs/lava.md`` needs the lava environment (`snnverify oracle install lava`). The first
table draws networks of integers that each implementation says it can hold, and compares every spike in every step with the
exact reference. The second states when SpikingJelly's spike train is Lava's: the same blocks, weights and inputs are given
to both, inside the conditions and outside of one at a time. Exit code 1 where something differs that must not, or
where a row compared no spike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from snnverify import reference
from snnverify.content import write_atomic
from snnverify.errors import SnnverifyError, Unsupported
from snnverify.fingerprint.present import markdown
from snnverify.oracles import Oracle, get
from snnverify.strategies import integer_cases, within
from snnverify.trace import Case

ORACLES = ("lava-neuron", "lava-block", "lava-exchange", "lava-nc", "lava-netx")
STEPS, SAMPLES, INPUTS, UNITS = 20, 4, 12, 10
PAGE = """# Lava: what agrees, and under which conditions

Made by `python examples/lava_parity.py --cases {cases} --out docs/lava.md` (seed {seed}). lava-dl 0.6.0, lava-nc 0.10.0,
SpikingJelly 0.0.0.0.14.

## Against the exact reference

Networks of integers drawn from what each implementation says it can hold; every spike of every layer in every step.
*refused*: not expressible after all, said by name.

{against}

## SpikingJelly's spike train is Lava's ...

... for Dense and Conv blocks with the same weights, threshold, decays and scale, where

1. the scale is a power of two (64 by default),
2. thresholds are multiples of 1 / scale,
3. weights are at most 254 / scale,
4. the neuron is a `CubaLIFNode`; nodes keep no state from a run before (`reset` them), and have no normalisation.

Chip and libraries then differ at most where a potential equals a threshold of 64 or more (4,096 mantissas), at which both
libraries fire in float32 and Loihi does not. Spike entries that differ between the two libraries, inside the conditions and
outside of one of them at a time:

{between}

The findings behind each line are in [findings.md](findings.md), LV- and LX-.
"""


def drawn(oracle: Oracle, cases: int, seed_value: int) -> list[Case]:
    """Cases within the families of an oracle."""
    found: list[Case] = []

    @seed(seed_value)
    @settings(max_examples=cases, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(integer_cases(depth=3))
    def collect(case: Case) -> None:
        found.append(case)

    with within(oracle.families):
        collect()
    rng = np.random.default_rng(seed_value)
    return [replace(case, x=busy(rng, case.network.input_shape), steps=2 * STEPS) for case in found[:cases]]


def busy(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Input spikes [T, N, *shape] at a random rate: drawn trains are short and quiet."""
    return (rng.random((2 * STEPS, SAMPLES, *shape)) < rng.uniform(0.1, 0.9)).astype(float)


def against_reference(oracle: Oracle, cases: int, seed_value: int) -> tuple[str, ...]:
    """Row of the first table."""
    refused = entries = spikes = differ = 0
    for case in drawn(oracle, cases, seed_value):
        try:
            exactly = reference.run(case)
            ours = oracle.run(case, "spikes")
        except Unsupported:
            refused += 1
            continue
        for name, s in exactly.spikes.items():
            entries, spikes = entries + s.size, spikes + int(s.sum())
            differ += int((ours.spikes[name] != s).sum())
    return oracle.name, str(cases), str(refused), f"{entries:,}", f"{spikes:,}", f"{differ:,}"


def parameters(rng: np.random.Generator, scale: int = 64) -> dict[str, Any]:
    """Decays of every kind, a threshold on the grid."""
    decays = [float(rng.choice([0.0, 1.0, rng.random(), rng.integers(0, 4097) / 4096])) for _ in range(2)]
    return {"threshold": float(rng.integers(1, 4 * scale)) / scale, "current_decay": decays[0],
            "voltage_decay": decays[1], "scale": scale, "delay_shift": False}  # fmt: skip


def weights(rng: np.random.Generator, scale: int = 64, most: float = 254.0) -> Any:
    """Weights off the grid, up to `most` mantissas."""
    return np.clip(rng.normal(0, 80, (UNITS, INPUTS)), -256, most).astype(np.float32) / scale


Draw = tuple[dict[str, Any], Any]
CONDITIONS = {
    "inside, scale 64": lambda rng: (parameters(rng), weights(rng)),
    "inside, scales 16, 32, 128, 256": lambda rng: (
        lambda s: (parameters(rng, s), weights(rng, s)))(int(rng.choice([16, 32, 128, 256]))),
    "inside, thresholds from 64 on": lambda rng: (
        parameters(rng) | {"threshold": float(rng.integers(64, 80)), "current_decay": 0.0, "voltage_decay": 0.0},
        np.minimum(weights(rng) + np.float32(1), np.float32(254 / 64))),
    "scale 100": lambda rng: (parameters(rng, 100), weights(rng, 100)),
    "threshold off the grid": lambda rng: (
        parameters(rng) | {"threshold": float(rng.uniform(0.02, 4))}, weights(rng)),
    "weights above 254 mantissas": lambda rng: (
        parameters(rng) | {"threshold": float(rng.integers(250, 1000)) / 64},
        np.where(rng.random((UNITS, INPUTS)) < 0.3, 300, 80 * rng.normal(size=(UNITS, INPUTS))).astype(np.float32) / 64),
}  # fmt: skip


def between_libraries(a: Oracle, b: Oracle, draws: int, seed_value: int) -> Iterator[tuple[str, ...]]:
    """Rows of the second table: blocks of the same parameters on the same spikes."""
    for name, draw in CONDITIONS.items():
        rng = np.random.default_rng(seed_value)
        differ = entries = spikes = 0
        for k in range(draws):
            params, weight = draw(rng)
            kind, shape = ("dense", (INPUTS,)) if k % 2 else ("conv", (3, 4, 4))
            weight = weight if k % 2 else weight.reshape(UNITS, 3, 2, 2)
            x = (rng.random((STEPS, SAMPLES, *shape)) < rng.uniform(0.1, 0.9)).astype(float)
            one, other = (np.asarray(o.operator("block")(kind, params, weight, x)["spikes"]) for o in (a, b))
            differ, entries, spikes = differ + int((one != other).sum()), entries + one.size, spikes + int(one.sum())
        yield name, str(draws), f"{entries:,}", f"{spikes:,}", f"{differ:,}", f"{100 * differ / max(entries, 1):.3f} %"


def main() -> int:
    """Print both tables, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument(
        "--cases", type=int, default=300, help="drawn networks per implementation, and blocks per condition"
    )
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path)
    given_ = parser.parse_args()
    rows = []
    for name in ORACLES:
        rows.append(against_reference(get(name), given_.cases, given_.seed))
        print(*rows[-1], flush=True)
    head = ["implementation", "cases", "refused", "spike entries", "spikes", "differ"]
    against = markdown(head, rows)
    both = list(between_libraries(get("lava-exchange"), get("lava-block"), given_.cases, given_.seed))
    between = markdown(["condition", "blocks", "spike entries", "spikes", "differ", "rate"], both)
    page = PAGE.format(cases=given_.cases, seed=given_.seed, against=against, between=between)
    print(page)
    if given_.out is not None:
        write_atomic(given_.out, page)
    wrong = [r for r in rows if r[-1] != "0"] + [r for r in both if r[0].startswith("inside") and r[4] != "0"]
    empty = [r for r in rows if "0" in r[3:5]] + [r for r in both if "0" in r[2:4]]  # which agree on nothing
    return 1 if wrong or empty else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except SnnverifyError as e:
        print(f"{Path(__file__).name}: {e}", file=sys.stderr)
        raise SystemExit(2) from None
