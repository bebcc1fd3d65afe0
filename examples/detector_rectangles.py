"""The same for boxes: a small detector on coloured rectangles, with SiLU in its head alone, and everywhere.

Run, for tables of docs/binarize-fidelity.md (10 trainings, some twelve minutes on one core)::

    python examples/detector_rectangles.py --seeds 5 --markdown FILE

The data set is generated in the YOLO form, `data.yaml`, images and labels, so that `snnverify fidelity` and `snnverify
quantize --quant-type static_int8` take it as it is.
"""

import argparse
import shlex
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from snnverify.detector.binarize import binarize
from snnverify.detector.generated import write_rectangles
from snnverify.detector.model import Detector
from snnverify.detector.repairs import tuned
from snnverify.detector.samples import Samples, open_samples
from snnverify.detector.study import Plan, Study, study
from snnverify.report.detector_seeds import seeds_markdown, seeds_text

SIZE, EPOCHS, RATE, RESAMPLES = 64, 12, 4e-3, 100
# One scale of 8 x 8 cells, whose anchors are the mean sides of `snnverify.detector.generated.KINDS`; SiLU in the head.
SMALL: dict[str, Any] = {
    "nc": 4, "channels": 3, "T": 5, "threshold": 0.5, "decay": 0.25, "anchors": [[18, 18, 32, 10, 10, 32, 24, 15]],
    "backbone": [
        [-1, 1, "Conv_1", [16, 3, 2]],
        [-1, 1, "BasicBlock_2", [16, 3, 2]],
        [-1, 1, "BasicBlock_2", [32, 3, 2]],
    ],
    "head": [
        [-1, 1, "Conv", [32, 1, 1, True]],
        [-1, 1, "Conv_A", [32, 1]],
        [[4], 1, "Detect", ["nc"]],
    ],
}  # fmt: skip


def everywhere(description: dict[str, Any]) -> dict[str, Any]:
    """The description with SiLU in every activation."""
    whole = dict(description)
    for part in ("backbone", "head"):
        whole[part] = [
            [source, number, name, [*[*given, 3, 1][:3], True] if name == "BasicBlock_2" else given]
            for source, number, name, given in description[part]
        ]
    return whole


MODELS = {"head-only SiLU": SMALL, "all SiLU": everywhere(SMALL)}


def trained(
    description: dict[str, Any], seed: int, data: Path, epochs: int = EPOCHS
) -> tuple[torch.nn.Module, Samples]:
    """Train one detector from its seed; the net and the images that it was trained on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Detector(description)
    train = open_samples(str(data), net, SIZE, "train")
    return tuned(net, train, epochs, RATE, seed, batch=16), train


def studies(
    name: str, seeds: int, data: Path, epochs: int = EPOCHS, tune: int = 5, resamples: int = RESAMPLES
) -> list[Study]:
    """Train, convert and judge one net for each seed."""
    found = []
    for seed in range(seeds):
        net, train = trained(MODELS[name], seed, data, epochs)
        judge = open_samples(str(data), net, SIZE)
        plan = Plan(Fraction(1, 100), epochs=tune, seed=seed, resamples=resamples)
        found.append(study(net, binarize(net)[0], judge, train, plan))
        print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each net (5)")
    parser.add_argument("--nets", nargs="+", choices=MODELS, default=list(MODELS), help="which to train (both)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of each training ({EPOCHS})")
    parser.add_argument("--tune", type=int, default=5, help="epochs of the fine-tuning (5)")
    parser.add_argument("--images", type=int, nargs=2, default=(192, 96), help="that train, that judge (192 96)")
    parser.add_argument("--data", type=Path, help="folder for the data set; a temporary one by default")
    parser.add_argument("--markdown", type=Path, help="page of all tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = write_rectangles(options.data or Path(temporary) / "rectangles", *options.images, (SIZE, SIZE))
        found = {name: studies(name, options.seeds, data, options.epochs, options.tune) for name in options.nets}
    print(seeds_text(found))
    if options.markdown:
        options.markdown.write_text(seeds_markdown(found, shlex.join(["python", *sys.argv])))


if __name__ == "__main__":
    main()
