"""Commands quantize, stations and native: weights on a grid, what that costs, and native training beside it; thin."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import cli_calibrate
from .errors import ConfigError

Add = Callable[[Callable[..., int], str, str], ArgumentParser]
PRECISIONS = ("int8", "int4", "binary")
SETTINGS = ("model", "weights", "data", "calibration", "mode", "seed", "max_drop", "target_rate", "leak", "unit_range",
            "v_init", "reset", "encoding", "maxpool", "pool_neurons")  # fmt: skip


def register(add: Add) -> None:
    """Add the commands."""
    p = add(_quantize, "quantize", "Put the weights of a converted network on a grid, and tell what that moves.")
    _common(p, judged="; static_int8: those for a classifier, for a detector data.yaml in the YOLO form",
            trained="; static_int8: to measure ranges on (of data.yaml its train split)")  # fmt: skip
    p.add_argument("--precision", choices=PRECISIONS, default="int8", help="of the weights (int8)")
    p.add_argument(
        "--fine-tune", choices=("scales", "weights"), help="train what, through the grid; not at all without it"
    )
    p.add_argument("--out", type=Path, help="file (.npz) for the network, its integers and its scales")
    p.add_argument("--quant-type", choices=("weights", "static_int8"), default="weights",
                   help="static_int8: weights and calibrated activations of a net that `snnverify binarize` takes "
                   "or writes, on --data (weights)")  # fmt: skip
    p.add_argument("--split", default="val", help="static_int8: of data.yaml, to judge by (val)")
    p.add_argument("--img-size", type=int, default=640, metavar="S", help="static_int8: side of the letterbox (640)")
    p.add_argument("--max-drop", help="static_int8: greatest drop let through, percentage points (1.0)")
    p.add_argument("--device", choices=("cpu", "cuda"), help="static_int8: cuda where there is one, else cpu")
    p.add_argument("--epochs", type=int, help="of fine-tuning: passes over the training samples (5)")
    p.add_argument("--lr", type=float, help="of fine-tuning: learning rate of weights and biases (0.001)")

    p = add(_stations, "stations", "Accuracy at each station: ANN, SNN, weights rounded after training, fine-tuned.")
    _common(p)
    p.add_argument("--precision", choices=PRECISIONS, nargs="+", default=list(PRECISIONS), help="of the weights (all)")
    p.add_argument("--seeds", type=int, default=5, help="fine-tunings, from --seed on (5)")
    p.add_argument("--epochs", type=int, default=5, help="passes over the training samples (5)")
    p.add_argument("--lr", type=float, default=1e-3, help="learning rate of weights and biases (0.001)")
    p.add_argument("--max-drop", help="greatest accuracy drop let through, percentage points (1.0)")
    p.add_argument("--out", type=Path, help="file (.json) for every number, with versions, seeds and data digests")

    p = add(_native, "native", "Train the same architecture as a spiking net, and hold the conversion against it.")
    _common(p, grid=False)
    p.add_argument("--seeds", type=int, default=1, help="native trainings, from --seed on (1)")
    p.add_argument("--epochs", type=int, default=60, help="passes over the training samples (60)")
    p.add_argument("--lr", type=float, default=1e-2, help="learning rate (0.01)")
    p.add_argument("--activity", type=float, default=1.0, help="what a mean rate of 1 costs in the loss (1.0)")
    p.add_argument("--out", type=Path, help="file (.json) for every number, with versions, seeds and data digests")


def _common(p: ArgumentParser, grid: bool = True, judged: str = "", trained: str = "") -> None:
    p.add_argument("model", nargs="?", help="module:callable or path.py:callable, or the name of an embedded model; without "
                   "one, both embedded models")  # fmt: skip
    p.add_argument("--weights", help="safetensors, or a state dict that torch reads with weights_only")
    p.add_argument(
        "--data", help="to judge by: .npz with x and y, an MNIST-style IDX pair, or module:callable" + judged
    )
    p.add_argument("--train", help="to fine-tune on: as --data, other samples" + trained)
    p.add_argument("--calibration", help="as --data; without it a tenth of the data is held back for it")
    steps = 32 if grid else 8
    p.add_argument("-T", "--timesteps", type=int, default=steps, metavar="T", help=f"time steps ({steps})")
    p.add_argument("--mode", help="of the thresholds: max, NN.N%% (a percentile) ... (99.9%%)")
    p.add_argument("--seed", type=int, help="of everything random (0)")
    cli_calibrate.conversion(p)
    cli_calibrate.options(p, channels=False)
    if grid:
        p.add_argument("--per-channel", action="store_true", help="a scale for every output channel")
        p.add_argument("--power-of-two", action="store_true", help="scales are powers of two")


def _settings(options: dict[str, Any]) -> Any:
    from .config import merge, read_config

    for name in ("epochs", "seeds", "timesteps"):
        if name in options and options[name] < 1:
            raise ConfigError(f"--{name} = {options[name]}: at least 1")
    if not 0 < options.get("lr", 1.0) < float("inf"):
        raise ConfigError(f"--lr = {options['lr']}: a finite rate > 0")
    if (out := options.get("out")) is not None and not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.absolute().parent}; make it first")
    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out}: it is a folder; name a file in it")
    given = {k: options[k] for k in SETTINGS if options.get(k) is not None}
    return merge({**given, "timesteps": [options["timesteps"]]}, read_config())


def _stations(**options: Any) -> int:
    from .cli import Progress
    from .pipeline.stations import tasks, visit
    from .quantise import Grid
    from .report.stations import render_stations, stations_record
    from .zoo.qat import Recipe

    settings = _settings(options)
    grids = [Grid(p, options["per_channel"], options["power_of_two"]) for p in options["precision"]]
    recipe = Recipe(epochs=options["epochs"], lr_weights=options["lr"])
    seeds = range(settings.seed, settings.seed + options["seeds"])
    records = []
    for task in tasks(settings, options["train"]):
        with Progress() as progress:
            rows = visit(task, grids, options["timesteps"], seeds, settings, recipe, progress)
        print(render_stations(task, rows, settings, options["timesteps"]))
        records.append(stations_record(task, rows, settings))
    return _kept(options["out"], records, settings)


def _quantize(**options: Any) -> int:
    if options["quant_type"] == "static_int8":
        return _static(**options)
    from .cli import Progress
    from .content import save
    from .pipeline.stations import quantised, tasks
    from .quantise import Grid
    from .report.stations import render_quantised
    from .zoo.qat import Recipe

    given = [name for name in ("epochs", "lr", "train") if options[name] is not None]
    options |= {name: usual for name, usual in (("epochs", 5), ("lr", 1e-3)) if options[name] is None}
    settings = _settings(options)
    if settings.weights is not None and settings.model is None:
        raise ConfigError(f"--weights {settings.weights}: name the model that they are of; or, of a net that `snnverify "
                          "binarize` takes or writes, add --quant-type static_int8")  # fmt: skip
    if given and options["fine_tune"] is None:
        raise ConfigError(f"--{given[0]}: it is of fine-tuning; say what is trained, --fine-tune scales or weights")
    grid = Grid(options["precision"], options["per_channel"], options["power_of_two"])
    recipe = Recipe(epochs=options["epochs"], lr_weights=options["lr"])
    chosen = list(tasks(settings, options["train"], needed=options["fine_tune"] is not None))
    if options["out"] is not None and len(chosen) > 1:
        raise ConfigError(f"--out {options['out']}: one file for one model; name it, such as {chosen[0].subject.name}")
    for task in chosen:
        with Progress() as progress:
            done = quantised(task, grid, options["fine_tune"], settings.seed, settings, recipe, progress)
        print(render_quantised(*done, options["timesteps"], settings))
        if options["out"] is not None:
            print(f"written: {save(done[-1], options['out'])}")
    return 0


def _static(*, weights: str | None, data: str | None, seed: int | None, out: Path | None,
            **options: Any) -> int:  # fmt: skip
    """Hand static INT8 of a spiking detector to its room."""
    from .cli_detector_fidelity import quantize

    told = [name for name in ("fine_tune", "per_channel", "power_of_two", "epochs", "lr") if options[name]]
    for name in (*told, *["precision"] * (options["precision"] != "int8")):
        raise ConfigError(f"--{name.replace('_', '-')}: it is of --quant-type weights; leave it out")
    for name, value in (("--weights", weights), ("--data", data)):
        if value is None:
            raise ConfigError(f"{name} is missing: static_int8 takes --weights W and --data, data.yaml for a detector")
    return quantize(weights=Path(str(weights)), data=data, out=out, seed=seed or 0, max_drop=options["max_drop"] or "1.0",
                    **{name: options[name] for name in ("model", "split", "train", "img_size", "device")})  # fmt: skip


def _native(**options: Any) -> int:
    from .cli import Progress
    from .pipeline.stations import against_native, tasks
    from .report.stations import native_record, render_native
    from .zoo.native import Recipe

    settings = _settings(options)
    if not 0 <= options["activity"] < float("inf"):
        raise ConfigError(f"--activity = {options['activity']}: finite and at least 0")
    recipe = Recipe(epochs=options["epochs"], lr=options["lr"], activity=options["activity"])
    records, alike = [], True
    for task in tasks(settings, options["train"]):
        with Progress() as progress:
            seeds = range(settings.seed, settings.seed + options["seeds"])
            found = against_native(task, options["timesteps"], seeds, settings, recipe, progress)
        print(render_native(task, found, options["timesteps"]))
        records.append(native_record(task, found))
        alike = alike and found.differ == 0
    return _kept(options["out"], records, settings) if alike else 1


def _kept(out: Path | None, records: list[dict[str, Any]], settings: Any) -> int:
    """Write the numbers with what is needed to get them again."""
    if out is not None:
        from .content import write_atomic
        from .pipeline import provenance

        about = provenance(settings, 0.0, False)
        about.pop("seconds")
        about["command"] = shlex.join(["snnverify", *sys.argv[1:]])
        print(f"written: {write_atomic(out, json.dumps({'provenance': about, 'models': records}, indent=2) + chr(10))}")
    return 0
