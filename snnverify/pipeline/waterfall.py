"""The waterfall of a model on its data, its causes with the remedies tried, and where single samples part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from ..config import Settings
from ..content import Array
from ..convert import ConvertedNetwork, from_torch
from ..convert.curves import predictions
from ..data import check_labels
from ..errors import ConfigError
from ..quantise import Grid
from ..shards import HERE, Shards
from ..trace import Encoding
from ..waterfall import Cause, Deployment, Remedy, Split, Waterfall, causes, chain, measure, tried
from ..waterfall.fixed import word
from ..waterfall.parting import Parted, part
from .conversion import conversion
from .models import Subject, outputs, subjects

Progress = Callable[[str, int, int], None]
SHOWN = 2000  # samples of a class that are followed at most


@dataclass(frozen=True)
class Explained:
    """The waterfall of one model, and what follows.

    Parameters
    ----------
    name : str
    waterfall : Waterfall
    causes : tuple of Cause
        The costliest first.
    parts : mapping of station to Split
        How the changes that are named split over the layers.
    remedies : tuple of Remedy
        For every cause, if they were tried.
    width : int or None
        Bits that hold every potential in fixed point.
    facts : mapping of str to str
    """

    name: str
    waterfall: Waterfall
    causes: tuple[Cause, ...]
    parts: dict[int, Split]
    remedies: tuple[Remedy, ...]
    width: int | None
    facts: dict[str, str]


@dataclass(frozen=True)
class Bisected:
    """Samples of one model, by number in their source, with labels, and where they part."""

    name: str
    numbers: Array
    labels: Array
    parted: Parted
    why: str


def explain_all(
    settings: Settings, grid: Grid | None, fraction: int | None, remedies: bool = True, progress: Progress | None = None
) -> Iterator[Explained]:
    """Waterfall of every model that the settings name, at the largest of their T.

    Parameters
    ----------
    settings : Settings
    grid : Grid or None
        Of the weights.
    fraction : int or None
        Binary places of the fixed point.
    remedies : bool
        Whether remedies are tried.
    progress : callable (stage, done, total), optional

    Raises
    ------
    SnnverifyError
        Anything that cannot be read, run, converted or put on a grid.
    """
    for subject in subjects(settings):
        check_labels(subject.y, outputs(subject.module, subject.x[:2], torch.float32, None).shape[1])
        yield explained(subject, conversion(subject, settings), settings, grid, fraction, remedies, progress)


def explained(
    subject: Subject, made: ConvertedNetwork, settings: Settings, grid: Grid | None = None, fraction: int | None = None,
    remedies: bool = True, progress: Progress | None = None, shards: Shards = HERE,
) -> Explained:  # fmt: skip
    """Waterfall of one model with its conversion."""
    first = subject.first_sample
    d = Deployment(made, settings.timesteps[-1], cast(Encoding, settings.encoding), grid, fraction, seed=settings.seed)
    ann = from_torch(subject.module, subject.x.shape[1:], fold_batchnorm=False)
    of, done = chain(ann, d), [0]

    def tick(samples: int) -> None:
        done[0] += samples
        if progress is not None:
            progress(f"{subject.name}: waterfall", done[0], len(subject.x))

    w = measure(of, subject.x, subject.y, first_sample=first, progress=tick, shards=shards)
    named, parts = causes(w, subject.x, first)
    found: list[Remedy] = []
    for i, cause in enumerate(named if remedies else ()):
        found += tried(w, cause, ann, d, lambda **o: conversion(subject, settings, **o), subject.x, first)
        if progress is not None:
            progress(f"{subject.name}: remedies", i + 1, len(named))
    width = None
    if fraction is not None:
        last = of.stations[of.keys.index("fixed")]
        reach = 1.0 if settings.encoding == "poisson" else float(np.abs(last.entered(subject.x)).max())
        width = word(last.network, fraction, d.steps, reach)
    return Explained(subject.name, w, named, parts, tuple(found), width, dict(subject.facts))


def bisect(settings: Settings, sample: int | None = None, label: int | None = None) -> Iterator[Bisected]:
    """Follow one sample, the samples of a class, or those that the conversion loses, of every model.

    Parameters
    ----------
    settings : Settings
    sample : int, optional
        Its number in the data.
    label : int, optional
        A class.

    Raises
    ------
    ConfigError
        A sample or class that is not there.
    """
    for subject in subjects(settings):
        check_labels(subject.y, outputs(subject.module, subject.x[:2], torch.float32, None).shape[1])
        made = conversion(subject, settings)
        rows, why = _chosen(subject, made, settings, sample, label)
        steps, encoding = settings.timesteps[-1], cast(Encoding, settings.encoding)
        found = part(made, made.entered(subject.x[rows], encoding), steps, encoding=encoding, seed=settings.seed,
                     first_sample=subject.numbers[rows])  # fmt: skip
        yield Bisected(subject.name, subject.numbers[rows], subject.y[rows], found, why)


def _chosen(
    subject: Subject, made: ConvertedNetwork, settings: Settings, sample: int | None, label: int | None
) -> tuple[Array, str]:
    if sample is not None:
        rows = np.flatnonzero(subject.numbers == sample)
        if not len(rows):
            last = int(subject.numbers[-1])
            raise ConfigError(f"--sample {sample}: {subject.name} has the evaluation samples {int(subject.numbers[0])} ... "
                              f"{last}" + ("" if len(subject.x) > last - int(subject.numbers[0]) else
                                           ", without those that calibrate"))  # fmt: skip
        return rows, f"sample {sample}"
    if label is not None:
        rows = np.flatnonzero(subject.y == label)[:SHOWN]
        if not len(rows):
            known = np.unique(subject.y)
            raise ConfigError(f"--class {label}: no sample has it; {subject.name} has {known[0]} ... {known[-1]}")
        return rows, f"the {len(rows)} samples of class {label}"
    ann = outputs(subject.module, subject.x, torch.float32, None).argmax(1)
    encoding = cast(Encoding, settings.encoding)
    found = predictions(made, made.entered(subject.x, encoding), [settings.timesteps[-1]], encoding=encoding,
                        seed=settings.seed, first_sample=subject.first_sample)  # fmt: skip
    snn = np.concatenate([classes[0] for _, classes in found])
    rows = np.flatnonzero((ann == subject.y) & (snn != subject.y))[:SHOWN]
    if len(rows):
        return rows, f"the {len(rows)} samples that only the ANN gets right"
    return np.arange(min(SHOWN, len(subject.x))), "no sample is lost; these are all"
