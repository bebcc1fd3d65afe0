"""A benign and a ruinous conversion: digits classifiers with SiLU in their head alone, and everywhere, made binary.

Run, for tables of docs/binarize-fidelity.md (10 trainings, ten minutes on one core)::

    python examples/detector_digits.py --seeds 5 --markdown FILE

Both nets of `snnverify/detector/models` are trained on scikit-learn's 8x8 digits, 590 images; the other 1,207 judge. Every
repair is fitted on training images alone. ``--out FOLDER`` keeps the page of each net's first seed.
"""

import argparse
import shlex
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from snnverify.data import Dataset
from snnverify.detector.binarize import binarize
from snnverify.detector.model import Detector, described
from snnverify.detector.repairs import tuned
from snnverify.detector.samples import Classes, Samples, first
from snnverify.detector.study import Plan, Study, study
from snnverify.report.detector import html_study
from snnverify.report.detector_seeds import seeds_markdown, seeds_text
from snnverify.zoo.models import digits, split

MODELS = {"head-only SiLU": "digits", "all SiLU": "digits-silu"}
EPOCHS, RATE = 30, 4e-3


def samples() -> tuple[Samples, Samples]:
    """Training and judging images, [N, 1, 8, 8] in 0 ... 1."""
    x, y = digits()
    train, judge = (
        Classes(Dataset(np.ascontiguousarray(x[rows]), y[rows], "x / 16", f"scikit-learn digits, {name}"))
        for name, rows in zip(("training", "judging"), split(), strict=True)
    )
    return train, judge


def trained(model: str, seed: int, train: Samples, epochs: int = EPOCHS) -> torch.nn.Module:
    """Train one net from its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Detector(described(model))
    return tuned(net, train, epochs, RATE, seed)


def studies(model: str, seeds: int, epochs: int = EPOCHS, tune: int = 5, most: int = 10**6) -> list[Study]:
    """Train, convert and judge one net for each seed; on `most` images of either kind at most."""
    train, judge = (first(s, most) for s in samples())
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
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of each training ({EPOCHS})")
    parser.add_argument("--tune", type=int, default=5, help="epochs of the fine-tuning (5)")
    parser.add_argument("--images", type=int, default=10**6, help="images of either kind, at most (all)")
    parser.add_argument("--markdown", type=Path, help="page of all tables")
    parser.add_argument("--out", type=Path, help="folder for the page of each net, first seed")
    options = parser.parse_args()
    found = {name: studies(m, options.seeds, options.epochs, options.tune, options.images) for name, m in MODELS.items()}
    print(seeds_text(found))
    if options.markdown:
        options.markdown.write_text(seeds_markdown(found, shlex.join(["python", *sys.argv])))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, each in found.items():
            (options.out / f"{MODELS[name]}.html").write_text(html_study(each[0], f"digits, {name}"))


if __name__ == "__main__":
    main()
