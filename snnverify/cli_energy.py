"""The part of the shell face about energy: thin, too."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import cli_calibrate, cli_hardware
from .errors import ConfigError, EvidenceError

Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]


def register(add: Add) -> None:
    """Add the command to the command line."""
    p = add(_energy, "energy", "Count the operations of an inference, estimate its energy, hold that to a measurement.")
    p.add_argument("model", nargs="?", help="as `snnverify report` takes it; without one, both embedded models")
    for option in ("weights", "data", "calibration"):
        p.add_argument(f"--{option}", help="as of `snnverify report`")
    p.add_argument("-T", "--steps", type=int, default=32, metavar="T", help="time steps (32)")
    p.add_argument("--mode", help="of the threshold calibration (99.9%%)")
    cli_calibrate.conversion(p)
    cli_calibrate.options(p)
    p.add_argument("--seed", type=int, help="of everything random (0)")
    p.add_argument("--samples", type=int, default=256, help="most samples that are counted (256)")
    p.add_argument("--table", nargs="+", default=[], metavar="NAME", help="energy models; all by default")
    p.add_argument("--energy-table", type=Path, metavar="FILE", help="TOML with figures of your own")
    p.add_argument("--connections", choices=("every", "nonzero"), default="every", help="that energies count (every)")
    p.add_argument("--constant-input", choices=("each step", "once"), default="each step",
                   help="how often an input that never changes is paid for (each step)")  # fmt: skip
    p.add_argument("--hops", metavar="N or TARGET", help="hops between cores: N for each spike, or those of "
                   "the mapping onto a target of `snnverify map`, on its mesh (none)")  # fmt: skip
    p.add_argument("--targets", type=Path, metavar="FILE", help="TOML with targets of your own, for --hops")
    p.add_argument("--precision", choices=cli_hardware.PRECISIONS, help="of weights in that mapping (int8)")
    p.add_argument("--counters", nargs="+", default=[], metavar="ORACLE", help="count again: spikingjelly neurobench")
    p.add_argument(
        "--measured", type=Path, metavar="FILE", help="board log: CSV with sample, prediction, energy_uJ, latency_us"
    )
    p.add_argument("--measure-host", action="store_true", help="measure our simulator on this machine (RAPL, NVML)")
    p.add_argument(
        "--tolerance",
        type=float,
        metavar="PERCENT",
        help="by which the mean may miss the estimate; a verdict, never PASS where the table does not price all",
    )
    p.add_argument("--max-drop", help="greatest accuracy drop of the measured predictions, percentage points (1.0)")
    for form in ("json", "csv", "markdown"):
        p.add_argument(f"--{form}", type=Path, metavar="FILE", help=f"write all tables there, as {form}")


MOST = 10_000  # hops of a spike


def _where(hops: str | None, targets: Path | None, precision: str | None) -> Any:
    """What `--hops` asks for: a number, a mapping onto a target, or nothing."""
    from .hardware.mesh import Onto, known
    from .hardware.targets import target

    number = hops is not None and hops.lstrip("+-").replace(".", "").isdecimal()
    for option in ("--targets",) * (targets is not None) + ("--precision",) * (precision is not None):
        if hops is None or number:
            raise ConfigError(f"{option}: of which target? --hops NAME")
    if hops is None:
        return None
    if not number:
        chip = target(hops, targets)
        known(chip)
        return Onto(chip, precision or "int8")
    if not hops.isdecimal() or int(hops) > MOST:
        raise ConfigError(f"--hops = {hops}: a whole number from 0 to {MOST:,}, or a target of `snnverify map`")
    return int(hops)


def _energy(
    *, command: str, steps: int, samples: int, table: list[str], energy_table: Path | None, connections: Any,
    constant_input: Any, hops: str | None, targets: Path | None, precision: str | None, counters: list[str],
    measured: Path | None, measure_host: bool, tolerance: float | None, json: Path | None, csv: Path | None,
    markdown: Path | None, **options: Any,
) -> int:  # fmt: skip
    from .hardware.counts import Convention
    from .hardware.energy import tables

    for name, value in (("-T", steps), ("--samples", samples)):
        if value < 1:
            raise ConfigError(f"{name} = {value}: at least 1")
    where = _where(hops, targets, precision)
    if tolerance is not None and not 0 <= tolerance < 100:
        raise ConfigError(f"--tolerance = {tolerance}: percent, from 0 to below 100")
    chosen, convention = tables(table, energy_table), Convention(connections, constant_input)
    named = [t for t in chosen if t.name in table] if table else list(chosen)
    if tolerance is not None and measured is None and not measure_host:
        raise ConfigError("--tolerance: there is no measurement; give --measured FILE or --measure-host")
    if tolerance is not None and len(named) != 1:
        raise ConfigError("--tolerance: it holds one model to the measurement; name that one with --table NAME")

    from .cli import Progress, _verdicts
    from .config import merge, read_config
    from .content import write_atomic
    from .gate import Verdict
    from .hardware.measured import idle, read_log
    from .oracles import get
    from .pipeline import energy as work
    from .pipeline import provenance
    from .report import energy as report

    log = None if measured is None else read_log(measured)
    settings = merge(options, read_config())
    for name in counters:
        get(name)
    if log is not None and settings.model is None:
        raise ConfigError("--measured: whose log is it? name the model, such as digits_mlp")
    models: dict[str, dict[str, Any]] = {}
    verdicts, digests = [], {}
    with Progress() as progress:
        for e in work.assess_energy(settings, steps, samples, where, progress, log):
            found: dict[str, Any] = report.energy_tables(e, chosen, convention)
            if counters:
                found["Counted again, on the first samples"] = work.counters(e, settings, tuple(counters))
            logs = [("", log)] if log is not None else []
            if measure_host:
                logs += _host(work.simulated(e, settings), e.subject.numbers, tolerance is not None and not logs)
            for meter, taken in logs:
                share = None if tolerance is None or idle(meter) else tolerance / 100
                judged = {t.name: work.held_to(e, taken, t, convention, share) for t in named}
                agree = float((e.snn_classes[work.places(e.subject.numbers, taken)] == taken.prediction).mean())
                shown = report.measured_tables(e, judged, agree)
                by = f" ({meter}{', idle: the simulator runs on the processor' * idle(meter)})" if meter else ""
                found |= {f"{title}{by}": rows for title, rows in shown.items()}
                if not meter:
                    verdicts.append((f"{e.subject.name}: accuracy", work.accuracy(e, taken, settings.max_drop)))
                verdicts += [(f"{e.subject.name}: estimate {name} holds within {tolerance:g} %{report.bound(e, c)}",
                              Verdict(c.holds, ())) for name, c in judged.items() if c.holds]  # fmt: skip
            models[e.subject.name] = found
            digests[f"{e.subject.name}: data digest"] = e.subject.facts["data digest"]
    about = provenance(settings, 0.0, False) | {
        "T": str(steps),
        "energy tables": ", ".join(f"{t.name} {t.version}" for t in chosen),
        **digests,
    }
    about.pop("seconds")
    written = {**models, "energy models": {"Energy models": report.model_records(chosen)}}
    if json:
        write_atomic(json, report.as_json(written, about))
    if csv:
        write_atomic(csv, report.as_csv(written))
    if markdown:
        write_atomic(markdown, "\n".join(f"## {n}\n\n{report.draw(t, 'github')}" for n, t in written.items()))
    for name, found in models.items():
        print(f"{name}\n{'=' * len(name)}\n{report.draw(found)}")
    print(report.scope(chosen))
    for name, verdict in verdicts:
        for r in verdict.requirements:
            print(f"[{r.outcome}] {name}: {r.detail}")
    return _verdicts(verdicts) if verdicts else 0


def _host(work: Callable[[int], int], numbers: Any, judged: bool) -> list[tuple[str, Any]]:
    """Logs of this machine's meters, samples by their numbers; what is missing is an error where none can be judged."""
    import sys
    from dataclasses import replace

    from .hardware.measured import idle, meters, on_host

    found, missing = meters()
    for line in missing:
        print(line, file=sys.stderr)
    if not found:
        raise EvidenceError(f"--measure-host: this machine has no energy meter ({'; '.join(missing)}); measure elsewhere, "
                            "and give the log with --measured FILE")  # fmt: skip
    if judged and all(map(idle, found)):
        raise EvidenceError("--tolerance: all meters are of GPUs, which idle while the simulator runs on the processor; "
                            "give the log of a board with --measured FILE")  # fmt: skip
    few = numbers[:32]
    return [(name, replace(on_host(work, len(few), meter), sample=few)) for name, meter in found.items()]
