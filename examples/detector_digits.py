"""A benign and a ruinous conversion: digits classifiers with SiLU in their head alone, and everywhere, made binary.

Run, for tables of docs/binarize-fidelity.md (10 trainings each, ten minutes on one core)::

    python examples/detector_digits.py --seeds 5 --markdown FILE
    python examples/detector_digits.py --seeds 5 --mnist FOLDER --markdown FILE

Both nets of `snnverify/detector/models` are trained on scikit-learn's 8x8 digits, 590 images; the other 1,207 judge. With
``--mnist`` they halve their images twice, 28 to 14 to 7, and are trained on the first 2,000 of the IDX pair in that folder;
its last 2,000 judge. Every repair is fitted on training images alone. ``--out FOLDER`` keeps the page of each net's first
seed.
"""

import argparse
import shlex
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnverify.data import Dataset, load_data
from snnverify.detector.binarize import binarize
from snnverify.detector.model import Detector, described
from snnverify.detector.repairs import tuned
from snnverify.detector.samples import Classes, Samples, first
from snnverify.detector.study import Plan, Study, study
from snnverify.errors import SnnverifyError
from snnverify.report.detector import html_study
from snnverify.report.detector_seeds import seeds_markdown, seeds_text
from snnverify.zoo.models import digits, split

MODELS = {"head-only SiLU": "digits", "all SiLU": "digits-silu"}
EPOCHS, RATE = 30, 4e-3
MNIST_EPOCHS, MNIST_IMAGES = 5, 2000
STRIDES = (2, 2, 1)  # of the three blocks of a backbone on MNIST


def samples(mnist: Path | None = None) -> tuple[Samples, Samples]:
    """Training and judging images in 0 ... 1, [N, 1, 8, 8], or [N, 1, 28, 28] of MNIST."""
    if mnist is not None:
        whole = load_data(str(mnist))
        if len(whole) < 2 * MNIST_IMAGES:
            raise SystemExit(f"--mnist {mnist}: {len(whole)} images; {MNIST_IMAGES} train and as many judge")
        parts = f"0:{MNIST_IMAGES}", f"{len(whole) - MNIST_IMAGES}:{len(whole)}"
        train, judge = (load_data(f"{mnist}[{part}]") for part in parts)
        return tuple(Classes(replace(d, x=d.x.reshape(-1, 1, 28, 28))) for d in (train, judge))  # type: ignore[return-value]
    x, y = digits()
    train, judge = (
        Classes(Dataset(np.ascontiguousarray(x[rows]), y[rows], "x / 16", f"scikit-learn digits, {name}"))
        for name, rows in zip(("training", "judging"), split(), strict=True)
    )
    return train, judge


def description(model: str, mnist: bool = False) -> dict[str, Any]:
    """The shipped description; for MNIST with the strides that its larger images need."""
    found = dict(described(model))
    if mnist:
        rows = zip(found["backbone"], STRIDES, strict=True)
        found["backbone"] = [[s, n, name, [w[0], 3, stride, *w[3:]]] for (s, n, name, w), stride in rows]
    return found


def trained(model: str, seed: int, train: Samples, epochs: int = EPOCHS) -> torch.nn.Module:
    """Train one net from its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Detector(description(model, train.size == 28))
    return tuned(net, train, epochs, RATE, seed)


def studies(model: str, seeds: int, epochs: int = EPOCHS, tune: int = 5, most: int = 10**6,
            mnist: Path | None = None) -> list[Study]:  # fmt: skip
    """Train, convert and judge one net for each seed; on `most` images of either kind at most."""
    train, judge = (first(s, most) for s in samples(mnist))
    found = []
    for seed in range(seeds):
        net = trained(model, seed, train, epochs)
        plan = Plan(Fraction(1, 100), epochs=tune, seed=seed)
        found.append(study(net, binarize(net)[0], judge, train, plan))
        print(f"{model}, seed {seed}: done", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each net (5)")
    parser.add_argument("--epochs", type=int, help=f"of each training ({EPOCHS}; {MNIST_EPOCHS} on MNIST)")
    parser.add_argument("--tune", type=int, default=5, help="epochs of the fine-tuning (5)")
    parser.add_argument(
        "--mnist", type=Path, metavar="FOLDER", help="folder of an IDX pair of MNIST, instead of digits"
    )
    parser.add_argument("--images", type=int, default=10**6, help="images of either kind, at most (all)")
    parser.add_argument("--markdown", type=Path, help="page of all tables")
    parser.add_argument("--out", type=Path, help="folder for the page of each net, first seed")
    options = parser.parse_args()
    epochs = options.epochs or (MNIST_EPOCHS if options.mnist else EPOCHS)
    try:
        found = {
            name: studies(m, options.seeds, epochs, options.tune, options.images, options.mnist)
            for name, m in MODELS.items()
        }
    except SnnverifyError as e:
        raise SystemExit(str(e)) from None
    print(seeds_text(found))
    if options.markdown:
        options.markdown.write_text(seeds_markdown(found, shlex.join(["python", *sys.argv])))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, each in found.items():
            (options.out / f"{MODELS[name]}.html").write_text(html_study(each[0], f"digits, {name}"))


if __name__ == "__main__":
    main()
