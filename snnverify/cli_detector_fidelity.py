"""Command fidelity, and quantize of a detector's weights: what a conversion to binary spikes kept; thin."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .content import write_atomic
from .errors import ConfigError

Add = Callable[[Callable[..., int], str, str], ArgumentParser]
REPAIRS = ("threshold", "bn", "tune", "int8")


def register(add: Add) -> None:
    """Add the command."""
    p = add(_fidelity, "fidelity", "Judge a SiLU net against its conversion to binary spikes, and repairs of that.")
    p.add_argument("--before", type=Path, required=True, metavar="W", help="weights before the conversion")
    p.add_argument("--after", type=Path, metavar="W", help="weights after it, as `snnverify binarize` writes them; without "
                   "them --before is converted here")  # fmt: skip
    p.add_argument("--model", metavar="M", help="that builds the net, for files of tensors alone: module:callable, a "
                   "shipped description or a YAML file")  # fmt: skip
    options(p)
    p.add_argument("--repairs", nargs="+", default=list(REPAIRS), choices=(*REPAIRS, "none"),
                   help="which to try: a threshold, batch norms measured anew, fine-tuning, static INT8 (all)")  # fmt: skip
    p.add_argument("--epochs", type=int, default=5, help="of the fine-tuning (5)")
    p.add_argument("--lr", type=float, default=1e-3, help="its learning rate (0.001)")
    p.add_argument("--seed", type=int, default=0, help="of fine-tuning and resampling (0)")
    p.add_argument("--resamples", type=int, default=200, help="draws of images for the bound of mAP (200)")
    p.add_argument("--json", type=Path, metavar="FILE", help="every number")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="the tables")
    p.add_argument("--html", type=Path, metavar="FILE", help="one page, with the plot")
    p.add_argument("--gate", action="store_true", help="make the verdict on the conversion the exit code")


def options(p: ArgumentParser) -> None:
    """Those of data and nets."""
    p.add_argument("--data", required=True, help="to judge by: data.yaml in the YOLO form for a detector; .npz, an IDX pair "
                   "or module:callable for a classifier")  # fmt: skip
    p.add_argument("--split", default="val", help="of data.yaml (val)")
    p.add_argument("--train", help="to repair and calibrate with: as --data; of data.yaml its train split by default")
    p.add_argument(
        "--img-size", type=int, default=640, metavar="S", help="side of the letterbox, a multiple of the stride (640)"
    )
    p.add_argument("--max-drop", default="1.0", help="greatest drop let through, percentage points (1.0)")
    p.add_argument("--device", choices=("cpu", "cuda"), help="cuda where there is one, else cpu")


def _fidelity(*, before: Path, after: Path | None, repairs: list[str], epochs: int, lr: float, seed: int, resamples: int,
              json: Path | None, markdown: Path | None, html: Path | None, gate: bool, command: str,
              **given: Any) -> int:  # fmt: skip
    from .cli import Progress, _verdicts
    from .detector.opening import opened, pair
    from .detector.study import Plan, study
    from .report import detector as report
    from .stats import points

    for name, number in (("--epochs", epochs), ("--resamples", resamples)):
        if number < 1:
            raise ConfigError(f"{name} = {number}: at least 1")
    if not 0 < lr < float("inf"):
        raise ConfigError(f"--lr = {lr}: a finite rate > 0")
    if "none" in repairs and len(repairs) > 1:
        raise ConfigError(f"--repairs {' '.join(repairs)}: none stands alone")
    plan = Plan(points(given["max_drop"]), [r for r in REPAIRS if r in repairs], epochs, lr, seed, resamples=resamples)
    check_folders(json, markdown, html)
    nets, about = pair(before, after, given["model"], given["device"], _say)
    samples, train = opened(nets[0], given["data"], given["split"], given["train"], given["img_size"], _say)
    about["command"] = shlex.join(["snnverify", *sys.argv[1:]])
    with Progress() as progress:
        found = study(*nets, samples, train, plan, progress, about)
    title = f"{before.name} and {after.name if after else 'its conversion'}"
    for file, text in ((json, report.json_study), (markdown, lambda s: report.markdown_study(s, title)),
                       (html, lambda s: report.html_study(s, title))):  # fmt: skip
        if file is not None:
            write_atomic(file, text(found))
    print(report.render_study(found))
    code = _verdicts([("conversion", report.verdict_of(found))])
    return code if gate else 0


def quantize(*, weights: Path, out: Path | None, seed: int, **given: Any) -> int:
    """Put a net of the family on static INT8, and tell what that costs."""
    from .cli import Progress, _verdicts
    from .content import save
    from .detector.fidelity import answers, paired
    from .detector.int8 import to_int8
    from .detector.opening import net_of, on_device, opened
    from .detector.samples import first
    from .detector.study import CALIBRATION, images
    from .report.detector import render_int8
    from .stats import points

    margin = points(given["max_drop"])
    check_folders(out)
    device = on_device(given["device"], _say)
    net = net_of(weights, given["model"], _say).to(device)
    samples, train = opened(net, given["data"], given["split"], given["train"], given["img_size"], _say)
    if train is None:
        raise ConfigError("--train: static INT8 measures its ranges on training samples; give some")
    for note in dict.fromkeys((*samples.notes, *train.notes)):
        _say(note)
    with Progress() as progress:
        before = answers(net, samples, progress, "float")
        on_grid, grids = to_int8(net, images(first(train, CALIBRATION)))
        after = answers(on_grid, samples, progress, "static INT8")
    drop = paired(before, after, margin, getattr(getattr(net, "constants", None), "steps", 1), seed=seed)
    if out is not None:
        save(grids, out)
    scores = {k: (v, after.scores[k]) for k, v in before.scores.items()}
    print(render_int8(weights.name, scores, grids, drop))
    if out is not None:
        print(f"written: {out}")
    _verdicts([("static INT8", drop.verdict)])
    return 0


def check_folders(*files: Path | None) -> None:
    """Refuse a file in a folder that is not there, before minutes of work."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise ConfigError(f"{file}: there is no folder {file.absolute().parent}; make it first")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
