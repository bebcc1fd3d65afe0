"""A conversion judged whole: arms before, after, and after each repair, the layers between them, and the sweep."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import version
from typing import Any

import numpy.typing as npt
from torch import nn

from .. import __version__
from ..errors import ConfigError
from .binarize import activations
from .fidelity import THRESHOLDS, Alike, Answers, Drop, Progress, alike, answers, converted, paired, sweep
from .fidelity import with_threshold as threshold_set
from .int8 import to_int8
from .repairs import Changes, changes, recalibrated, tuned
from .samples import Samples, batches, first

REPAIRS = ("threshold", "bn", "tune", "int8")
CALIBRATION = 512  # most training samples on which a threshold is chosen, and ranges are measured


@dataclass(frozen=True)
class Arm:
    """One net on the samples.

    Parameters
    ----------
    name : str
    what : str
        What was done to which net.
    answers : Classified or Detected
    against : Drop or None
        Its drop from `before`; None for that itself.
    changed : Changes or None
        Tensors that differ from those of `before`; None for that, and where tensors are of other types.
    """

    name: str
    what: str
    answers: Answers
    against: Drop | None = None
    changed: Changes | None = None


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Parameters
    ----------
    margin : Fraction
        Greatest drop let through, a share.
    repairs : sequence of {"threshold", "bn", "tune", "int8"}
    epochs, lr, seed
        Of the fine-tuning; the seed is that of the resampling, too.
    thresholds : sequence of float
    resamples : int
    """

    margin: Fraction
    repairs: Sequence[str] = REPAIRS
    epochs: int = 5
    lr: float = 1e-3
    seed: int = 0
    thresholds: Sequence[float] = THRESHOLDS
    resamples: int = 200


@dataclass(frozen=True)
class Study:
    """All that was measured.

    Parameters
    ----------
    samples, train : str
        What judged, and what repairs were made with.
    arms : tuple of Arm
        ``before`` first, ``converted`` second.
    layers : tuple of Alike
    converted : tuple of str
        Activations that are SiLU before and binary after.
    swept : mapping of threshold to score
        On training samples.
    unswept : float
        Score of `before` on the same samples; NaN without a sweep.
    kinds : mapping of str to int
        Modules in the net, and units converted of each kind.
    constants : str
        T, threshold and decay of `before`.
    notes : tuple of str
    facts : mapping
        Digests and versions.
    """

    samples: str
    train: str
    arms: tuple[Arm, ...]
    layers: tuple[Alike, ...]
    converted: tuple[str, ...]
    swept: Mapping[float, float]
    unswept: float
    kinds: Mapping[str, int]
    constants: str
    notes: tuple[str, ...]
    facts: Mapping[str, str] = field(default_factory=dict)

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(a for a in self.arms if a.name == name)


def images(samples: Samples) -> Iterator[npt.ArrayLike]:
    """Unlabelled batches."""
    return (x for x, _ in batches(samples))


def study(
    before: nn.Module, after: nn.Module, samples: Samples, train: Samples | None, plan: Plan,
    progress: Progress | None = None, about: Mapping[str, str] = {},
) -> Study:  # fmt: skip
    """Run every arm.

    Parameters
    ----------
    before, after : nn.Module
        A net and its conversion; neither is changed.
    samples : Samples
        What judges.
    train : Samples or None
        What thresholds, batch norms, weights and ranges are fitted on; None: no repairs.
    plan : Plan
    progress : callable, optional
    about : mapping
        What else the provenance should say: digests of weights, the command.

    Raises
    ------
    ConfigError
        Nets that do not belong together, or an unknown repair.
    """
    unknown = [r for r in plan.repairs if r not in REPAIRS]
    if unknown:
        raise ConfigError(f"--repairs {unknown[0]}: one of {', '.join(REPAIRS)}, none")
    base = answers(before, samples, progress, "before")
    constants: Any = getattr(before, "constants", None)
    steps = constants.steps if constants is not None else 1
    names = converted(before, after)
    moved = changes(before, after)
    arms = [Arm("before", "the net as trained", base)]
    swept: dict[float, float] = {}
    unswept = float("nan")

    def add(name: str, what: str, net: nn.Module, changed: Changes | None) -> None:
        found = answers(net, samples, progress, name)
        drop = paired(base, found, plan.margin, steps, plan.resamples, plan.seed)
        arms.append(Arm(name, what, found, drop, changed))

    add("converted", f"{len(names)} of {len(activations(after))} activations from SiLU to binary", after, moved)
    layers = alike(before, after, first(samples, CALIBRATION), progress)
    made: Sequence[str] = plan.repairs if train is not None else ()
    if train is not None and names and "threshold" in made:
        few = first(train, CALIBRATION)
        swept = sweep(after, names, few, plan.thresholds, progress)
        unswept = next(iter(answers(before, few).scores.values()))
        own = _threshold(after, names)
        best = best_of(swept, own)
        net = threshold_set(after, names, best)
        add("threshold", f"converted units fire above {best:g}, the best of the sweep", net, changes(before, net))
    if train is not None and "bn" in made:
        net = recalibrated(after, train, progress)
        add("BN recalibrated", "means and variances measured anew on the converted net", net, changes(before, net))
    if train is not None and "tune" in made:
        recipe = f"{plan.epochs} epochs, rate {plan.lr:g}, seed {plan.seed}"
        for name, origin in (("fine-tuned", after), ("before, trained on", before)):
            net = tuned(origin, train, plan.epochs, plan.lr, plan.seed, progress=progress, stage=name)
            control = "; the control: what training alone gives" if origin is before else ""
            add(name, f"{'converted' if origin is after else 'before'}, {recipe}{control}", net, changes(before, net))
    if train is not None and "int8" in made:
        net, grids = to_int8(after, images(first(train, CALIBRATION)))
        what = f"static INT8 of the converted net: {len(grids.weights)} weights, {len(grids.ranges)} calibrated outputs"
        add("static INT8", what, net, None)
    return Study(
        str(samples), "" if train is None else str(train), tuple(arms), tuple(layers), tuple(names), swept,
        unswept, _kinds(before, names),
        "unknown" if constants is None else f"T = {constants.steps}, threshold {constants.threshold:g}, "
        f"decay {constants.decay:g}",
        _notes(samples, train, names), {**_facts(samples, train, plan), **about},
    )  # fmt: skip


def best_of(swept: Mapping[float, float], own: float) -> float:
    """Threshold of the greatest score; of equals the one that is nearest to `own`."""
    return max(swept, key=lambda t: (swept[t], -abs(t - own)))


def _threshold(net: nn.Module, names: Sequence[str]) -> float:
    """That of the first of the named units."""
    unit: Any = net.get_submodule(names[0])
    return float(unit.constants.threshold)


def _kinds(before: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """How many units of each kind were converted, and how many modules there are."""
    units = activations(before)
    counts = Counter(units[name].kind for name in names)
    return {"modules": sum(1 for _ in before.modules()), **counts}


def _notes(samples: Samples, train: Samples | None, names: Sequence[str]) -> tuple[str, ...]:
    notes = [*samples.notes]
    if train is None:
        notes.append("no training samples: nothing was repaired and no INT8 calibrated; give --train")
    else:
        notes += [n for n in train.notes if n not in notes]
        if shared := samples.shared(train):
            notes.append(
                f"{shared} of the {len(samples)} samples are training samples, too: what was trained is flattered"
            )
    if not names:
        notes.append("no activation is SiLU before and binary after: these nets show no conversion")
    return tuple(notes)


def _facts(samples: Samples, train: Samples | None, plan: Plan) -> dict[str, str]:
    libraries = ("torch", "numpy", "pillow", *(["pycocotools"] if samples.kind == "boxes" else []))
    return {
        "snnverify": __version__, "python": platform.python_version(),
        **{name: version(name) for name in libraries}, "seed": str(plan.seed),
        "data sha256": samples.digest, **({} if train is None else {"training data sha256": train.digest}),
    }  # fmt: skip
