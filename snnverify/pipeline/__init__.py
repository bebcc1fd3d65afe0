"""The main job: settings -> model and data -> conversion -> fidelity -> findings -> verdict."""

from __future__ import annotations

import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import torch

from ..checks import select
from ..config import Settings
from ..convert import ConvertedNetwork
from ..convert.curves import Curve, side_by_side
from ..data import check_labels
from ..errors import DataError, Unsupported
from ..fidelity import ModelUnderTest, measure
from ..findings import Finding
from ..gate import OF_CLASSES, REQUIRED, Verdict, policy
from ..gate import release as judged
from ..gate.limits import refuse_errors
from ..gate.policy import assignments
from ..kernels.blas import processor
from ..oracles import get
from ..run import run_model
from ..shards import HERE, Shards
from ..simulate import warm_up
from ..stats import points
from ..trace import Encoding
from .conversion import conversion as _convert
from .models import Subject, embedded_names, outputs, subjects
from .release import asked_of, energies, evidence, further, last_release, named, raw_of
from .waterfall import Explained, explained

__all__ = [
    "OF_CONSTANT_INPUT", "OF_SOFT_RESET", "Assessment", "Run", "assess", "assess_one", "embedded_names", "laws_of",
    "prepare", "provenance", "subjects",
]  # fmt: skip

Progress = Callable[[str, int, int], None]  # stage, done, total


def of_stage(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    """Tell a stage's progress to whoever listens."""
    return None if progress is None else lambda done, total: progress(stage, done, total)


QUICK = 256  # evaluation samples of a first look
OF_SOFT_RESET = {"model.first_layer_rate", "model.layer_identity", "model.rate_error_explained"}
OF_CONSTANT_INPUT = {"model.first_layer_rate"}
LIBRARIES = ("numpy", "scipy", "torch", "hypothesis", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Assessment:
    """Everything that a report says of one model.

    Parameters
    ----------
    model : ModelUnderTest
    findings : tuple of Finding
    required : tuple of str
        Checks that the gate asks for: the laws that hold for this conversion.
    verdict : Verdict
        Judged at the largest T.
    facts : mapping of str to str
        Where model, weights, data and calibration come from, with digests and scaling; samples that calibration and
        evaluation share.
    curves : tuple of Curve
        Other conversions of the same network on the same data.
    asked : mapping
        What the gate asked for, as it is written.
    energy : mapping of str to (float, float, str)
        As in `gate.Evidence`.
    explained : Explained or None
        The waterfall at the largest T, where it was asked for.
    unsplit : str
        Why there is none although it was asked for; empty otherwise.
    """

    model: ModelUnderTest
    findings: tuple[Finding, ...]
    required: tuple[str, ...]
    verdict: Verdict
    facts: Mapping[str, str]
    curves: tuple[Curve, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    energy: Mapping[str, tuple[float, float, str]] = field(default_factory=dict)
    explained: Explained | None = None
    unsplit: str = ""


@dataclass(frozen=True)
class Run:
    """One run of the main job.

    Parameters
    ----------
    assessments : tuple of Assessment
    provenance : mapping of str to str
        Versions, command, seed, platform, start and duration, by name.
    """

    assessments: tuple[Assessment, ...]
    provenance: Mapping[str, Any]


def assess(settings: Settings, *, quick: bool = False, progress: Progress | None = None, shards: Shards = HERE) -> Run:
    """Convert, measure and judge every model that the settings name.

    Parameters
    ----------
    settings : Settings
        Without a model, the two embedded ones.
    quick : bool
        A first look: few samples, T up to 16.
    progress : callable (stage, done, total), optional
    shards : Shards
        Who computes what is streamed over the data, and where finished tiles are kept.

    Raises
    ------
    SnnverifyError
        Anything that cannot be read, run or converted, in one line.
    """
    started = time.perf_counter()
    if quick:
        settings = replace(
            settings, timesteps=tuple(t for t in settings.timesteps if t <= 16) or settings.timesteps[:1]
        )
    found = [assess_one(s, settings, progress, shards) for s in subjects(settings, QUICK if quick else None)]
    about = provenance(settings, time.perf_counter() - started, quick)
    return Run(tuple(found), {**about, "kernels loaded in": f"{warm_up():.1f} s of these"})


def assess_one(
    subject: Subject, settings: Settings, progress: Progress | None = None, shards: Shards = HERE
) -> Assessment:
    """Convert, measure and judge one model."""
    raw = asked_of(settings)
    asked = policy(raw)
    baseline = last_release(asked.baseline)
    model, facts = prepare(subject, settings, progress, shards)
    checks = [c for c in select("model.*") if c.kind == "model"]
    findings = []
    for i, c in enumerate(checks):
        findings.append(run_model(c, model))
        if progress is not None:
            progress(f"{model.name}: checks", i + 1, len(checks))
    findings += further(asked.require_checks, asked.require_oracles, settings.oracle, settings.examples, settings.seed)
    energy = energies(model.converted, model.x, model.fidelity.steps[-1], settings.encoding, settings.seed,
                      subject.first_sample, asked)  # fmt: skip
    laws = laws_of(model.converted, settings.encoding, model.fidelity.regression)
    required = tuple(dict.fromkeys((*laws, *(c.name for c in named(asked)))))
    known = evidence(model, tuple(findings), energy, facts["data digest"])
    verdict = judged(known, asked, required, baseline)
    curves = _curves(subject, settings, model, progress, shards)
    fallen, unsplit = None, ""
    if settings.waterfall and not model.fidelity.regression:
        try:
            fallen = explained(subject, model.converted, settings, progress=progress, shards=shards)
        except Unsupported as e:  # the verdict does not rest on it
            unsplit = str(e)
    return Assessment(model, tuple(findings), required, verdict, facts, curves, raw, energy, fallen, unsplit)


def _curves(
    subject: Subject, settings: Settings, model: ModelUnderTest, progress: Progress | None, shards: Shards
) -> tuple[Curve, ...]:
    if model.fidelity.regression:  # curves count what is right
        return ()
    return side_by_side(
        lambda **other: _convert(subject, settings, **other), model.converted, model.x, subject.y, settings.timesteps,
        modes=settings.modes, encoding=cast(Encoding, settings.encoding), seed=settings.seed,
        first_sample=subject.first_sample, shards=shards,
        tick=lambda n: _ticker(f"{subject.name}: curves", n, progress),
    )  # fmt: skip


def _ticker(stage: str, total: int, progress: Progress | None) -> Callable[[int], None]:
    """Add up the samples that are done, for a progress that is told of their sum."""
    done = [0]

    def tick(samples: int) -> None:
        done[0] += samples
        if progress is not None:
            progress(stage, done[0], total)

    return tick


def laws_of(converted: ConvertedNetwork, encoding: str, regression: bool = False) -> tuple[str, ...]:
    """Required checks: all of `gate.REQUIRED` but the laws that cannot hold for this reset, leak, encoding or task."""
    soft = converted.options["reset"] == "subtract" and converted.options["leak"] == "1"
    without = set() if soft else OF_SOFT_RESET
    without = without | (OF_CONSTANT_INPUT if encoding != "constant" else set()) | (OF_CLASSES if regression else set())
    return tuple(name for name in REQUIRED if name not in without)


def prepare(
    subject: Subject, settings: Settings, progress: Progress | None = None, shards: Shards = HERE
) -> tuple[ModelUnderTest, Mapping[str, str]]:
    """Convert a model and measure its fidelity."""

    def ticker(stage: str) -> Callable[[int], None]:
        return _ticker(f"{subject.name}: {stage}", len(subject.x), progress)

    # What two samples and the options tell comes first: nobody waits for a data set to learn of a slip of the pen.
    asked = policy(asked_of(settings))
    limit = asked.max_drop
    assert limit is not None
    if np.asarray(subject.y).dtype.kind != "f":
        refuse_errors(asked)
    check_labels(subject.y, outputs(subject.module, subject.x[:2], torch.float32, None).shape[1])
    converted = _convert(subject, settings)
    warm_up()
    logits = outputs(subject.module, subject.x, torch.float32, ticker("ANN"))
    x = converted.entered(subject.x, cast(Encoding, settings.encoding))
    fidelity = measure(converted, x, subject.y, logits, settings.timesteps, seed=settings.seed,
                       encoding=cast(Encoding, settings.encoding), first_sample=subject.first_sample,
                       progress=ticker("SNN"), shards=shards)  # fmt: skip
    try:
        exact, unit = outputs(subject.module, subject.x, torch.float64, None), 2.0**-53
        noise = float(np.abs(exact - logits).max())
    except DataError:  # a model that cannot run in float64 is compared in its own precision
        exact, unit, noise = logits.astype(float), 2.0**-24, 0.0
    right = int((fidelity.ann == fidelity.labels).sum())  # a relative limit in points, for the tables
    margin = limit.share * (Fraction(right, len(fidelity.labels)) if limit.relative else 1)
    limits = {"model.agreement": float(points(settings.max_disagreement))}
    model = ModelUnderTest(subject.name, converted, x, exact, unit, noise, fidelity, margin, settings.seed,
                           _command(settings), cast(Encoding, settings.encoding), limits)  # fmt: skip
    return model, {**subject.facts, "network digest": converted.snn.digest}


def _command(settings: Settings) -> str:
    """Command that makes this report again."""
    named = {"--weights": settings.weights, "--data": settings.data, "--calibration": settings.calibration}
    given = [part for option, value in named.items() if value for part in (option, value)]
    steps = ["-T", *map(str, settings.timesteps)]
    gate = {key: value for key, value in settings.gate.items() if key not in ("max_drop", "baseline")}
    given += [part for text in assignments(gate) for part in ("--set", text)]
    given += ["--baseline", settings.gate["baseline"]] if "baseline" in settings.gate else []
    options = ["--mode", settings.mode, "--v-init", str(settings.v_init), "--reset", settings.reset, "--encoding",
               settings.encoding, "--maxpool", settings.maxpool, "--max-drop",
               settings.gate.get("max_drop", settings.max_drop), "--max-disagreement", settings.max_disagreement, "--seed",
               str(settings.seed), *["--pool-neurons"] * settings.pool_neurons, *["--modes"] * settings.modes,
               *["--no-waterfall"] * (not settings.waterfall),
               *(["--leak", settings.leak] if settings.leak != "1" else []),
               *(["--target-rate", *settings.target_rate] if settings.target_rate else []),
               *["--per-channel"] * settings.per_channel, *["--unit-range"] * settings.unit_range]  # fmt: skip
    return shlex.join(["snnverify", "report", *([settings.model] if settings.model else []), *given, *steps, *options])


def provenance(settings: Settings, seconds: float, quick: bool) -> dict[str, Any]:
    """What is needed to run a report again."""
    return {
        "snnverify": get("snnverify").version, "python": platform.python_version(), "platform": platform.platform(),
        "processor": processor(), **{name: version(name) for name in LIBRARIES},
        "command": shlex.join(["snnverify", *sys.argv[1:]]) if sys.argv else "",
        "seed": str(settings.seed), "quick": str(quick), "max drop": raw_of(settings)["max_drop"],
        "T": ", ".join(map(str, settings.timesteps)), "encoding": settings.encoding,
        "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), "seconds": f"{seconds:.1f}",
    }  # fmt: skip
