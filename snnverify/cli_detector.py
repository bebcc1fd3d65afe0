"""Command binarize: SiLU-trained spiking nets to binary spikes; thin."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ConfigError, SnnverifyError

Add = Callable[[Callable[..., int], str, str], ArgumentParser]


def register(add: Add) -> None:
    """Add the command."""
    p = add(_binarize, "binarize", "Convert SiLU activations of spiking nets to binary spikes; no tensor changes.")
    p.add_argument("--weights", nargs="+", type=Path, required=True, metavar="W", help="checkpoints of torch.save (whole "
                   "nets, read without executing them), results of this command, or state dicts with --model")  # fmt: skip
    p.add_argument("--output", type=Path, metavar="O", help="file (.pt) for one result, or a folder; beside each W, as "
                   "W_binary.pt, without it")  # fmt: skip
    p.add_argument("--diagram", type=Path, metavar="D", help="architecture diagram (.txt .json .mmd .svg .png): "
                   "W_binary.txt beside the result without it")  # fmt: skip
    p.add_argument("--device", choices=("cpu", "cuda"), help="of the traced image: cuda where there is one, else cpu")
    p.add_argument(
        "--data", metavar="data.yaml", help="in the YOLO form: its first val image is traced, not a dummy image"
    )
    p.add_argument("--img-size", type=int, default=640, metavar="S", help="side of the traced image, a multiple of the "
                   "stride (640)")  # fmt: skip
    p.add_argument("--no-trace", action="store_true", help="run nothing: the diagram lists every module, and says so")
    p.add_argument(
        "--code", type=Path, metavar="DIR", help="folder of the code that a pickle needs; with --trust-pickle"
    )
    p.add_argument("--trust-pickle", action="store_true", help="EXECUTE the pickle and that code; with --code")
    p.add_argument("--model", help="for files that hold tensors alone: module:callable, the name of a shipped description "
                   "or a YAML file")  # fmt: skip
    p.add_argument("--timesteps", type=int, metavar="T", help="for a file that does not say it (5)")
    p.add_argument("--threshold", type=float, help="for a file that does not say it (0.5)")
    p.add_argument("--decay", type=float, help="for a file that does not say it (0.25)")
    p.add_argument("--allow-none", action="store_true", help="a net in which nothing is converted is no error")


def _binarize(*, weights: list[Path], output: Path | None, diagram: Path | None, device: str | None, timesteps: int | None,
              threshold: float | None, decay: float | None, command: str, **options: Any) -> int:  # fmt: skip
    from .cli import Progress
    from .detector.batch import Settings, convert, plan, reason
    from .detector.opening import on_device

    if options["img_size"] < 1:
        raise ConfigError(f"--img-size {options['img_size']}: the side of an image is at least 1")
    if options["no_trace"] and options["data"]:
        raise ConfigError(f"--data {options['data']}: with --no-trace nothing runs; leave one of them out")
    jobs = plan(weights, output, diagram)
    given = {"steps": timesteps, "threshold": threshold, "decay": decay}
    place = str(on_device(device, _say))
    settings = Settings(place, given, command=shlex.join(["snnverify", *sys.argv[1:]]), **options)
    done, failed = 0, 0
    try:
        with Progress() as progress:
            for at, job in enumerate(jobs):
                progress("binarize", at, len(jobs))
                try:
                    for line in convert(job, settings):
                        progress.said(line)
                    done += 1
                except Exception as e:  # the others are not lost with it, whatever it is
                    if len(jobs) == 1 and isinstance(e, (SnnverifyError, OSError)):
                        raise
                    failed += 1
                    named = "" if isinstance(e, (SnnverifyError, OSError)) else f"{job.weights}: "
                    progress.line(f"snnverify: {named}{reason(e)}")
            progress("binarize", len(jobs), len(jobs))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{done} of {len(jobs)} finished; every file that was written is whole") from None
    if len(jobs) > 1:
        print(f"{done} of {len(jobs)} converted" + (f", {failed} failed" if failed else ""))
    return 2 if failed else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
