"""Command lava-demo: SpikingJelly's Lava tutorial from training to NetX."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ConfigError

Add = Callable[[Callable[..., int], str, str], ArgumentParser]


def register(add: Add) -> None:
    """Add the command to the command line; its options are the tutorial's, with its single dashes."""
    demo = add(
        _lava_demo, "lava-demo", "SpikingJelly's Lava tutorial: train a spiking CNN, run it four ways, export it."
    )
    demo.add_argument("-T", type=int, default=16, help="time steps (16)")
    demo.add_argument("-b", type=int, default=32, help="batch size (32)")
    demo.add_argument("-channels", type=int, default=16, help="channels of the convolutions (16)")
    demo.add_argument("-epochs", type=int, default=16, help="passes over the training images (16)")
    demo.add_argument("-lr", type=float, default=0.1, help="learning rate (0.1)")
    demo.add_argument("-data-dir", help="folder with MNIST's IDX files; scikit-learn's digits without it")
    demo.add_argument("-out-dir", type=Path, default=Path("lava-demo"), help="folder of what is saved (lava-demo)")
    demo.add_argument("-device", default="cpu", help="cpu, or cuda:0 where lava's interpreter has it (cpu)")
    demo.add_argument("--samples", type=int, default=4, help="images that run through NetX in lava-nc (4)")
    demo.add_argument("--limit", type=int, help="training images used (all)")
    demo.add_argument("--seed", type=int, default=0, help="of weights, order and spikes (0)")
    demo.add_argument("--resume", action="store_true", help="go on with the state in -out-dir")


def _lava_demo(*, command: str, **options: Any) -> int:
    from .cli import Progress
    from .config import read_config
    from .lava_demo import STATE, Settings, demo

    for name in ("T", "b", "channels", "epochs", "samples", "limit"):
        if options[name] is not None and options[name] < 1:
            dashes = "--" if name in ("samples", "limit") else "-"
            raise ConfigError(f"{dashes}{name} = {options[name]}: at least 1")
    if not 0 < options["lr"] < float("inf"):
        raise ConfigError(f"-lr = {options['lr']}: a finite rate > 0")
    if options["seed"] < 0:
        raise ConfigError(f"--seed = {options['seed']}: at least 0")
    if options["device"].split(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"-device = {options['device']!r}: cpu or cuda:0")
    read_config()  # the project's table of oracles
    settings = Settings(**options)
    typed = shlex.join(["snnverify", *sys.argv[1:]])
    try:
        with Progress() as progress:
            results = demo(settings, typed, progress, print)
    except KeyboardInterrupt:
        state = settings.out_dir / STATE
        if state.exists():
            print(f"\n{state} holds the last whole epoch; go on with --resume", file=sys.stderr)
        raise
    return 0 if results["sound"] else 1
