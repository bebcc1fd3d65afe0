"""Commands waterfall and explain: the drop split over its causes, and where single samples part; thin."""

from __future__ import annotations

import json as codec
import shlex
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import cli_calibrate
from .content import write_atomic
from .errors import ConfigError

Add = Callable[[Callable[..., int], str, str], ArgumentParser]
PRECISIONS = ("int8", "int4", "binary")
SCORE = """# Score on planted causes

Made by `snnverify waterfall --score --seed {seed}`. What is planted, and when it counts: [waterfall](waterfall.md).

{table}

A cause counts as missed where it is planted and not named, and as wrong where it is named and not planted; of one
that sits in a layer, the layer counts as well. What the diagnosis has no name for is right where it is *unexplained*.
95 %: Clopper and Pearson's two-sided limits of the share that is named, in percent; causes of one deployment are counted
as if they were drawn alone.

## Every deployment

{every}
"""


def register(add: Add) -> None:
    """Add the commands."""
    p = add(
        _waterfall, "waterfall", "Split the drop in accuracy over its causes, one change at a time, and try remedies."
    )
    _common(p)
    p.add_argument("--precision", choices=PRECISIONS, help="of the weights (float)")
    p.add_argument("--weights-per-channel", action="store_true", help="a scale of the weights for every output channel")
    p.add_argument("--power-of-two", action="store_true", help="scales of the weights are powers of two")
    p.add_argument("--fixed-point", type=int, metavar="F", help="binary places of weights, thresholds, inputs (none)")
    p.add_argument("--no-remedies", action="store_true", help="name remedies, but try none")
    p.add_argument("--markdown", type=Path, help="write the tables there as Markdown, too")
    p.add_argument("--score", action="store_true", help="score the naming on planted causes instead; minutes")

    p = add(_explain, "explain", "Where the SNN and the ANN part: the layer, the units, and what did it.")
    _common(p)
    one = p.add_mutually_exclusive_group()
    one.add_argument("--sample", type=int, metavar="I", help="number of one sample in the data")
    one.add_argument("--class", type=int, metavar="K", dest="label", help="all samples of a class; without either, "
                     "those that only the ANN gets right")  # fmt: skip


def _common(p: ArgumentParser) -> None:
    p.add_argument("model", nargs="?", help="module:callable or path.py:callable, or the name of an embedded model; without "
                   "one, both embedded models")  # fmt: skip
    p.add_argument("--weights", help="safetensors, or a state dict that torch reads with weights_only")
    p.add_argument("--data", help=".npz with x and y, an MNIST-style IDX pair, or module:callable")
    p.add_argument("--calibration", help="as --data; without it a tenth of the data is held back for it")
    p.add_argument(
        "-T", "--timesteps", type=int, metavar="T", help="number of time steps (the largest of the settings: 64)"
    )
    p.add_argument("--mode", help=cli_calibrate.MODE)
    cli_calibrate.conversion(p)
    cli_calibrate.options(p)
    p.add_argument("--seed", type=int, help="of everything random (0)")
    p.add_argument("--json", type=Path, help="write every number there, too")


def _settings(given: dict[str, Any]) -> Any:
    from .config import merge, read_config

    steps = given.pop("timesteps")
    if steps is not None and steps < 1:
        raise ConfigError(f"-T {steps}: at least 1 step")
    settings = merge(given, read_config())
    return replace(settings, timesteps=settings.timesteps[-1:] if steps is None else (steps,))


def _waterfall(
    *, precision: str | None, weights_per_channel: bool, power_of_two: bool, fixed_point: int | None, no_remedies: bool,
    json: Path | None, markdown: Path | None, score: bool, command: str, **given: Any,
) -> int:  # fmt: skip
    from .cli import Progress
    from .convert import ConversionWarning
    from .pipeline.waterfall import explain_all
    from .quantise import Grid
    from .report.waterfall import markdown_waterfall, render_waterfall, waterfall_record

    if score:
        rest = {**given, "precision": precision, "weights_per_channel": weights_per_channel, "power_of_two": power_of_two,
                "fixed_point": fixed_point, "no_remedies": no_remedies, "json": json}  # fmt: skip
        _refuse({name: value for name, value in rest.items() if name != "seed"})
        return _score(given["seed"] or 0, markdown)
    if precision is None and (weights_per_channel or power_of_two):
        raise ConfigError("--weights-per-channel, --power-of-two: they go with --precision")
    settings = _settings(given)
    grid = Grid(precision, weights_per_channel, power_of_two) if precision else None
    records, pages = [], []
    with Progress() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        for found in explain_all(settings, grid, fixed_point, not no_remedies, progress):
            print(render_waterfall(found))
            records.append(waterfall_record(found))
            pages.append(markdown_waterfall(found))
    _kept(json, records, settings)
    if markdown is not None:
        print(f"written: {write_atomic(markdown, chr(10).join(pages))}")
    return 0


def _refuse(given: dict[str, Any]) -> None:
    """Refuse what the score on planted causes does not go by."""
    names = {"model": f"MODEL {given['model']!r}", "timesteps": "-T"}
    there = [name for name, value in given.items() if value is not None and value is not False]
    if there:
        said = ", ".join(names.get(name, f"--{name.replace('_', '-')}") for name in there)
        raise ConfigError(f"--score: what is planted is drawn from --seed alone; leave out {said}")


def _score(seed: int, markdown: Path | None) -> int:
    from .cli import Progress
    from .report.waterfall import score_tables
    from .waterfall.score import passed_over, score

    with Progress() as progress:
        answers = score(seed, progress=progress)
    table, every = score_tables(answers)
    page = SCORE.format(seed=seed, table=table, every=every) + "\n" + passed_over(seed, answers)
    page = page.rstrip() + "\n"
    written = None if markdown is None else write_atomic(markdown, page)
    print(page)
    if written is not None:
        print(f"written: {written}")
    return 0


def _explain(*, sample: int | None, label: int | None, json: Path | None, command: str, **given: Any) -> int:
    from .convert import ConversionWarning
    from .pipeline.waterfall import bisect
    from .report.waterfall import bisected_record, render_bisected

    settings = _settings(given)
    records = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        for found in bisect(settings, sample, label):
            print(render_bisected(found))
            records.append(bisected_record(found))
    _kept(json, records, settings)
    return 0


def _kept(out: Path | None, records: list[dict[str, Any]], settings: Any) -> None:
    """Write the numbers with what is needed to get them again."""
    if out is None:
        return
    from .pipeline import provenance

    about = provenance(settings, 0.0, False)
    about.pop("seconds")
    about["command"] = shlex.join(["snnverify", *sys.argv[1:]])
    print(f"written: {write_atomic(out, codec.dumps({'provenance': about, 'models': records}, indent=2) + chr(10))}")
