"""The part of the shell face about the gate: thin, too."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from .content import check_folder
from .errors import ConfigError

Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]
SET = "KEY=VALUE of [tool.snnverify.gate], such as max_drop_at.8='5 points'; may be repeated"
DROP = "greatest accuracy drop let through: percentage points, or with a unit such as '1 %% relative'"
FORMS = ("json", "junit", "csv", "parquet")


def options(p: argparse.ArgumentParser) -> None:
    """Add what goes over the table of the gate."""
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="gate_set", help=SET)
    p.add_argument(
        "--baseline", metavar="FILE", help="last release, as `snnverify baseline` writes it; no worse than that"
    )


def register(add: Add) -> None:
    """Add the commands to the command line."""
    gate = add(_gate, "gate", "Judge a report: exit 0 pass, 1 fail, 3 inconclusive, 2 no evidence or bad usage.")
    gate.add_argument("report", type=Path, nargs="?", help="folder of a report")
    gate.add_argument("--gate-t", type=_positive, help="T that is judged; the largest by default")
    gate.add_argument("--max-drop", help=f"{DROP}; those of the report by default")
    options(gate)
    for form in FORMS:
        gate.add_argument(f"--{form}", type=Path, metavar="FILE", help=f"write the verdict there, as {form}")
    gate.add_argument("--summary", type=Path, metavar="FILE", help="write it there in Markdown; without it, appended to "
                      "$GITHUB_STEP_SUMMARY where that is set")  # fmt: skip
    gate.add_argument("--error-rates", action="store_true", help="no report: the gate's own false passes and power")
    gate.add_argument("--plot", type=Path, metavar="FILE", help="with --error-rates, the power curves as a picture")

    base = add(
        _baseline, "baseline", "Keep what the models of a report answered, for later releases to be compared with."
    )
    base.add_argument("report", type=Path, help="folder of the last release's report")
    base.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to be committed")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give an integer >= 1")
    return number


def assignments(gate_set: list[str], baseline: str | None) -> list[str]:
    """What the command line says of the gate, in one form."""
    import json

    return [*gate_set, *([f"baseline={json.dumps(baseline)}"] if baseline is not None else [])]


def _gate(
    *, report: Path | None, gate_t: int | None, max_drop: str | None, gate_set: list[str], baseline: str | None,
    summary: Path | None, error_rates: bool, plot: Path | None, command: str, **files: Path | None,
) -> int:  # fmt: skip
    for form, target in {**files, "summary": summary, "plot": plot}.items():
        check_folder(target, f"--{form}")
    if error_rates:
        return _error_rates(report, plot, files["csv"])
    if report is None or plot is not None:
        which = "gate: which report? give its folder; see `snnverify gate --help`"
        raise ConfigError(which if report is None else "--plot goes with --error-rates")
    from .cli import _coloured, _verdicts
    from .config import merge, read_config
    from .report.store import judge_again, other_limits
    from .report.verdicts import provenance_of, write_verdicts

    settings = merge({"gate": assignments(gate_set, baseline)}, read_config())
    verdicts = judge_again(report, at=gate_t, max_drop=max_drop, asked=settings.gate)
    drop, other = other_limits(report, gate_t, max_drop, settings.gate)
    said = {**provenance_of(report), "max drop": drop, **({"limits unlike the report's": other} if other else {})}
    write_verdicts(verdicts, said, {**files, "markdown": summary})  # before anything is printed: nobody may read it
    if summary is None and (appended := os.environ.get("GITHUB_STEP_SUMMARY")):
        from .report.verdicts import markdown

        with open(appended, "a", encoding="utf-8") as file:
            file.write(markdown(verdicts, said))
    if other:
        print(f"limits unlike the report's: {other}")
    for name, verdict in verdicts:
        for r in verdict.requirements:
            print(f"{_coloured(r.outcome):<12} {name}: {r.name}{': ' if r.detail else ''}{r.detail}")
    return _verdicts(verdicts)


def _baseline(*, report: Path, out: Path, command: str) -> int:
    from .content import write_atomic
    from .gate.baseline import to_text
    from .report import load
    from .report.verdicts import provenance_of

    check_folder(out, "--out")
    found = [s.evidence for s in load(report)]
    write_atomic(out, to_text(found, provenance_of(report)))
    for e in found:
        n = 0 if e.outcomes is None else len(e.outcomes.labels)
        print(f"{e.model}: {n} samples at T = {', '.join(map(str, e.steps))}, data {e.data[:12]}")
    print(f"baseline: {out}; commit it, and name it in [tool.snnverify.gate] or by --baseline")
    return 0


def _error_rates(report: Path | None, plot: Path | None, csv: Path | None) -> int:
    from .cli import Progress
    from .content import write_atomic
    from .gate import rates
    from .report.error_rates import csv_of, picture, text

    if report is not None:
        raise ConfigError(f"--error-rates: the gate's own, of no report; leave out {str(report)!r}")
    with Progress() as progress:
        table = rates.table(lambda done, todo: progress("error rates", done, todo))
    print(text(table))
    if csv is not None:
        write_atomic(csv, csv_of(table))
    if plot is not None:
        write_atomic(plot, picture())
    return 0 if all(row.kept for row in table) else 1
