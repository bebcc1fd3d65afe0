"""The same for boxes: a small ResNet-10 detector on coloured rectangles, with SiLU in its head alone, and everywhere.

Run, for tables of docs/binarize-fidelity.md (half an hour on one core)::

    python examples/detector_rectangles.py --seeds 3 --markdown FILE

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
from snnverify.detector.model import Detector, described
from snnverify.detector.repairs import tuned
from snnverify.detector.samples import Samples, open_samples
from snnverify.detector.study import Plan, Study, study
from snnverify.report.detector_seeds import seeds_markdown, seeds_text

SIZE, EPOCHS, RATE = 64, 40, 4e-3


def everywhere(description: dict[str, Any]) -> dict[str, Any]:
    """The description with SiLU in every activation."""
    whole = dict(description)
    for part in ("backbone", "head"):
        whole[part] = [
            [source, number, name, [*[*given, 3, 1][:3], True] if name == "BasicBlock_2" else given]
            for source, number, name, given in description[part]
        ]
    return whole


MODELS = {"head-only SiLU": described("resnet10"), "all SiLU": everywhere(described("resnet10"))}


def trained(
    description: dict[str, Any], seed: int, data: Path, epochs: int = EPOCHS
) -> tuple[torch.nn.Module, Samples]:
    """Train one detector from its seed; the net and the images that it was trained on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Detector(description)
    train = open_samples(str(data), net, SIZE, "train")
    return tuned(net, train, epochs, RATE, seed, batch=16), train


def studies(description: dict[str, Any], seeds: int, data: Path, epochs: int = EPOCHS, tune: int = 3) -> list[Study]:
    """Train, convert and judge one net for each seed."""
    found = []
    for seed in range(seeds):
        net, train = trained(description, seed, data, epochs)
        judge = open_samples(str(data), net, SIZE)
        found.append(study(net, binarize(net)[0], judge, train, Plan(Fraction(1, 100), epochs=tune, seed=seed)))
        print(f"seed {seed}: done", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each net (3)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of each training ({EPOCHS})")
    parser.add_argument("--images", type=int, nargs=2, default=(256, 128), help="that train, that judge (256 128)")
    parser.add_argument("--data", type=Path, help="folder for the data set; a temporary one by default")
    parser.add_argument("--markdown", type=Path, help="page of all tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = write_rectangles(options.data or Path(temporary) / "rectangles", *options.images)
        found = {name: studies(d, options.seeds, data, options.epochs) for name, d in MODELS.items()}
    print(seeds_text(found))
    if options.markdown:
        options.markdown.write_text(seeds_markdown(found, shlex.join(["python", *sys.argv])))


if __name__ == "__main__":
    main()
