"""The part of the shell face about thresholds, rates and leaks: thin, too."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .content import write_atomic
from .errors import ConfigError

MODE = "max, NN.N%% (a percentile), a fraction of the maximum, channel-wise, rate (99.9%%)"
LEAK = ("layer", "lost", "IF stated", "LIF stated", "IF measured", "LIF measured")
RATES = ("layer", "threshold", "average", "99 %", "maximum", "saturated", "silent")
EXIT = {"kept": 0, "missed": 1, "undecided": 3}  # as of the gate
Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]


def options(parser: argparse.ArgumentParser, channels: bool = True) -> None:
    """Add the options of rates, leak and range; --per-channel of the thresholds where it means nothing else there."""
    parser.add_argument("--target-rate", nargs=2, metavar=("LOW", "HIGH"),
                        help="average rate of each layer, in spikes per step (with --mode rate 0.05 0.20)")  # fmt: skip
    parser.add_argument("--leak", help="LIF neurons whose potential keeps this share per step, such as 0.9 (1: IF)")
    if channels:
        parser.add_argument("--per-channel", action="store_true", default=None, help="a threshold for each channel")
    parser.add_argument("--unit-range", action="store_true", default=None,
                        help="map inputs to [0, 1] channel by channel; the first layer's weights undo it")  # fmt: skip


def conversion(p: argparse.ArgumentParser) -> None:
    """Add the options that every command has which converts a model as `report` does."""
    p.add_argument("--v-init", help="half, zero, or a fraction of the threshold (half)")
    p.add_argument("--reset", choices=("subtract", "value"), help="soft or hard reset (subtract)")
    p.add_argument("--encoding", choices=("constant", "poisson"), help="of the input (constant)")
    p.add_argument("--maxpool", choices=("refuse", "gate"), help="max pooling: an error, or a gate (refuse)")
    p.add_argument("--pool-neurons", action="store_true", default=None, help="a neuron after each average pooling")


def register(add: Add) -> None:
    """Add the command."""
    p = add(_calibrate, "calibrate", "Thresholds, the rates that come of them, what a leak costs, remedies: exit 0 range "
            "kept (on other data within what sampling explains) or none asked for, 1 missed, 3 undecided.")  # fmt: skip
    p.add_argument("model", nargs="?", help="module:callable, path.py:callable or an embedded model (digits_mlp)")
    p.add_argument("--weights", help="safetensors, or a state dict")
    p.add_argument("--data", help="labelled samples that accuracy and rates are measured on")
    p.add_argument("--calibration", help="as --data; without it a tenth of the data is held back for it")
    p.add_argument("--mode", help=MODE.replace("(99.9%%)", "(rate)"))
    options(p)
    p.add_argument("-T", "--steps", type=int, default=20, help="number of time steps (20)")
    p.add_argument("--longer", type=int, help="greater number that it is compared with (50; twice T from T = 50 on)")
    conversion(p)
    p.add_argument("--seed", type=int, help="of everything random (0)")
    p.add_argument("--json", type=Path, help="write all of it there, too")


def _calibrate(*, steps: int, longer: int | None, json: Path | None, command: str, **given: Any) -> int:
    from .cli import Progress
    from .config import merge, read_config
    from .convert import ConversionWarning
    from .pipeline.calibration import calibration

    if steps < 1:
        raise ConfigError(f"-T = {steps}: at least 1 step")
    given["mode"] = given["mode"] or "rate"
    given["model"] = given["model"] or read_config().model or "digits_mlp"
    settings = replace(merge(given, read_config()), timesteps=(steps,))
    with Progress() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)  # they are told below
        found = calibration(settings, longer, progress)
    if json is not None:
        import json as codec

        write_atomic(json, codec.dumps(asdict(found), indent=2, default=str) + "\n")
    print(_page(found))
    return EXIT[found.outcome]


def _page(found: Any) -> str:
    from .report import render_rows

    parts = [f"{found.facts['model']}: {found.facts['conversion']}"]
    for said, merges in (("rates on the calibration set, spikes per unit and step", False),
                         ("at the merges of skip connections", True)):  # fmt: skip
        rows = [_rates(r) for r in found.rates if r.merges == merges]
        parts += [f"{said}\n{render_rows(rows, RATES)}"] if rows else []
    parts += [f"warning: layer {r.layer}: {cause}" for r in (*found.rates, *found.elsewhere) for cause in r.causes]
    parts += [f"note: layer {r.layer}: {r.note}" for r in found.elsewhere if r.note]
    if found.leak:
        rows = [(c.layer, f"{100 * c.lost:.1f} %", *(f"{v:.4f}" for v in (c.stated_if, c.stated_lif, c.measured_if,
                c.measured_lif))) for c in found.leak]  # fmt: skip
        parts.append("what the leak costs: activations under the rheobase; average rate by the f-I curve, and measured\n"
                     + render_rows(rows, LEAK))  # fmt: skip
        parts.append("f-I curve: input in thresholds per step, rate without and with the leak\n"
                     + render_rows([[f"{v:.4g}" for v in row] for row in found.curve], ("input", "IF", "LIF")))  # fmt: skip
    rows = [
        (r.name, r.steps, f"{100 * r.right / r.samples:.2f} %", f"{100 * (r.right - found.ann_right) / r.samples:+.2f}",
         f"{r.rate:.4f}", "" if r.inside < 0 else f"{r.inside} of {r.layers}", f"{r.spikes:,.0f}")
        for r in found.remedies
    ]  # fmt: skip
    samples = found.remedies[0].samples
    parts.append(
        f"remedies, one at a time, on {samples} samples; the ANN has {100 * found.ann_right / samples:.2f} %\n"
        + render_rows(rows, ("conversion", "T", "accuracy", "points", "average rate", "in range", "spikes a sample"))
    )
    parts.append("\n".join(f"{k}: {v}" for k, v in found.facts.items() if k not in ("model", "conversion")))
    return "\n\n".join(parts)


def _rates(r: Any) -> tuple[str, ...]:
    return (r.layer, f"{r.threshold:.4g}", *(f"{v:.4f}" for v in (r.average, r.p99, r.maximum)),
            f"{100 * r.saturated:.2f} %", f"{r.silent} of {r.units}")  # fmt: skip
