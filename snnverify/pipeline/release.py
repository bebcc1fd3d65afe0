"""From a run to the gate: what is asked of a release, and the evidence for it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from ..checks import Check, select
from ..config import Settings
from ..content import Array
from ..convert import ConvertedNetwork
from ..errors import ConfigError, Unavailable
from ..fidelity import ModelUnderTest
from ..findings import Finding
from ..gate import Evidence, Outcomes, Policy, policy
from ..gate.baseline import Baseline, read
from ..hardware.counts import Convention, analog_macs, count, joined
from ..hardware.energy import estimate, tables, unpriced
from ..kernels.encode import of_rows
from ..oracles import get
from ..run import run
from ..simulate import run as simulate
from ..trace import Case, Encoding

ENERGY_SAMPLES, TILE = 256, 16  # of the evaluation set, whose operations are counted where an energy is asked for


def asked_of(settings: Settings) -> dict[str, Any]:
    """What the settings ask of a release, as it is written; `ConfigError` where a name in it is unknown."""
    raw = raw_of(settings)
    refuse_unknown(policy(raw))
    return raw


def raw_of(settings: Settings) -> dict[str, Any]:
    """What the settings ask of a release, as it is written."""
    return {"max_drop": f"{settings.max_drop} points", **settings.gate}


def refuse_unknown(asked: Policy, measured: Container[str] = ()) -> None:
    """Refuse names that nobody knows: a slip of the pen, not a lack of evidence; energies that were measured are known."""
    for name in asked.max_energy:
        if name not in measured:
            with _field(f"max_energy.{name}", f"table = {name!r}"):
                tables([name], asked.energy_table)
    for name in asked.require_checks:
        with _field("require_checks", "check"):
            select(name)
    for name in asked.require_oracles:
        with _field("require_oracles", "oracle"), suppress(Unavailable):  # the gate says so
            get(name)


@contextmanager
def _field(key: str, inner: str) -> Iterator[None]:
    """Name a field of the gate as it is written, in the place of what it is called where it is looked up."""
    try:
        yield
    except ConfigError as e:
        said = str(e).removeprefix(inner).removeprefix(": ").replace("--energy-table FILE", 'energy_table = "FILE"')
        raise ConfigError(f"gate: {key}{'' if said.startswith(' = ') else ': '}{said}") from None


@lru_cache(maxsize=8)
def last_release(file: str | None) -> Baseline | None:
    """Read the file of the last release, where there is one."""
    return None if file is None else read(file)


def named(asked: Policy) -> tuple[Check, ...]:
    """Checks that a policy names."""
    return select(*asked.require_checks) if asked.require_checks else ()


@lru_cache(maxsize=8)
def further(
    checks: tuple[str, ...], oracles: tuple[str, ...], oracle: str, examples: int, seed: int
) -> tuple[Finding, ...]:
    """Findings of the checks that a policy names on the oracle under test and on those that it requires.

    An oracle that is required with no check named meets the checks of parity.
    """
    laws = [c for c in (select(*checks) if checks else ()) if c.kind != "model"]
    found = []
    for name in (oracle, *oracles):
        for c in laws or (select("parity.*") if name in oracles else []):
            try:
                found.append(run(c, get(name), examples=examples, seed_value=seed, asked_as=name))
            except Unavailable as e:
                found.append(Finding(c.name, name, "unavailable", c.claim, c.source, message=str(e)))
    return tuple(found)


def evidence(
    model: ModelUnderTest, findings: tuple[Finding, ...], energy: Mapping[str, tuple[float, float, str]], data: str
) -> Evidence:
    """What a measured model gives the gate to judge."""
    f, c = model.fidelity, model.converted
    outcomes = Outcomes(f.steps, f.labels, f.ann, f.snn)
    total = sum(events.get("synaptic_operations", 0) for events in f.events.values())
    macs = sum(analog_macs(c.snn, model.encoding != "constant", f.steps[-1]).values())
    return Evidence(
        model.name, {} if outcomes.regression else {t: f.paired(t) for t in f.steps}, findings, outcomes,
        {v.layer: v.rate for v in f.layers}, Fraction(total, len(f.labels)), Fraction(macs), energy, data, c.ann.digest,
        c.snn.digest,
    )  # fmt: skip


def energies(
    converted: ConvertedNetwork, x: Any, steps: int, encoding: str, seed: int, first_sample: int | Array, asked: Policy
) -> dict[str, tuple[float, float, str]]:
    """Energy per sample by each model that a policy names, pJ, the mean over the first `ENERGY_SAMPLES` samples."""
    if not asked.max_energy:
        return {}
    parts, n = [], min(len(x), ENERGY_SAMPLES)
    for start in range(0, n, TILE):
        rows = slice(start, min(start + TILE, n))
        numbers = of_rows(first_sample, rows)
        case = Case(converted.snn, x[rows], steps, cast(Encoding, encoding), seed, numbers, "float32")
        parts.append(count(case, simulate(case, "spikes"), None))
    per_sample = {k: Fraction(int(v), n) for k, v in joined(parts).total(Convention()).items()}
    chosen = [t for t in tables(list(asked.max_energy), asked.energy_table) if t.name in asked.max_energy]
    ranges = {t.name: (estimate(per_sample, t), ", ".join(unpriced(per_sample, t))) for t in chosen}
    return {name: (float(r.low), float(r.high), without) for name, (r, without) in ranges.items()}
