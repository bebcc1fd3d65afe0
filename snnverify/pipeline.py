"""The main job: settings -> model and data -> conversion -> fidelity -> findings -> verdict."""

from __future__ import annotations

import copy
import math
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from . import zoo
from .checks import select
from .config import Settings
from .content import Array
from .convert import ConvertedNetwork, convert
from .convert.curves import Curve, side_by_side
from .convert.load import load_model
from .data import Dataset, check_labels, check_shape, load_data, shared_samples
from .errors import ConfigError, DataError
from .fidelity import ModelUnderTest, measure
from .findings import Finding
from .gate import REQUIRED, Verdict, judge
from .objects import last_line, nearest
from .oracles import get
from .run import run_model
from .stats import points
from .trace import Encoding

Progress = Callable[[str, int, int], None]  # stage, done, total
QUICK = 256  # evaluation samples of a first look
HELD_BACK = 1000  # at most so many evaluation samples, a tenth of them, calibrate where no other set is given
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
    """

    model: ModelUnderTest
    findings: tuple[Finding, ...]
    required: tuple[str, ...]
    verdict: Verdict
    facts: Mapping[str, str]
    curves: tuple[Curve, ...] = ()


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


@dataclass(frozen=True)
class _Subject:
    """A trained model with its data, before conversion."""

    name: str
    module: nn.Module
    calibration: Array
    x: Array
    y: Array
    numbers: Array  # of the samples in their source
    facts: Mapping[str, str]


def assess(settings: Settings, *, quick: bool = False, progress: Progress | None = None) -> Run:
    """Convert, measure and judge every model that the settings name.

    Parameters
    ----------
    settings : Settings
        Without a model, the two embedded ones.
    quick : bool
        A first look: few samples, T up to 16.
    progress : callable (stage, done, total), optional

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
    found = [assess_one(s, settings, progress) for s in subjects(settings, QUICK if quick else None)]
    return Run(tuple(found), provenance(settings, time.perf_counter() - started, quick))


def subjects(settings: Settings, limit: int | None = None) -> Iterator[_Subject]:
    """Models and data that the settings name."""
    if settings.model is None or ":" not in settings.model:
        names = embedded_names(settings.model)
        for option in ("weights", "data", "calibration"):
            if getattr(settings, option) is not None:
                raise ConfigError(f"{option} = {getattr(settings, option)!r}: it goes with a model of your own; name it as "
                                  "module:callable or path.py:callable")  # fmt: skip
        yield from (_embedded(name, limit) for name in names)
    else:
        yield _own(settings, limit)


def embedded_names(model: str | None) -> Sequence[str]:
    """Names of the embedded models that are meant; all of them by None, `ConfigError` where there is none."""
    if model is not None and model not in zoo.MODELS:
        hint = f"; write '{model}:callable'" if model.endswith(".py") else nearest(model, zoo.MODELS)
        raise ConfigError(f"model = {model!r}: neither 'module:callable' nor an embedded model{hint}")
    return tuple(zoo.MODELS) if model is None else (model,)


def _embedded(name: str, limit: int | None) -> _Subject:
    m = zoo.load_default(name)
    facts = {
        "model": f"{name}, embedded", "weights sha256": str(m.provenance.get("tensor_digest", "")),
        "data": "scikit-learn load_digits, held-out part", "input scaling": "x / 16",
        "calibration": f"the {len(m.train_x)} training images",
    }  # fmt: skip
    x, y = m.evaluation_x[:limit], m.evaluation_y[:limit]
    return _subject(name, m.module, m.train_x, x, y, np.arange(len(x)), facts)


def _own(settings: Settings, limit: int | None) -> _Subject:
    assert settings.model is not None
    if settings.data is None:
        raise ConfigError("data: labelled samples are needed; give --data FILE.npz, an IDX pair or module:callable")
    module, weights = load_model(settings.model, settings.weights, settings.root)
    data = _fitting(module, load_data(settings.data, root=settings.root))
    evaluated = np.ones(len(data), bool)
    if settings.calibration is not None:
        calibration: Array = _fitting(module, load_data(settings.calibration, root=settings.root)).x
        if calibration.shape[1:] != data.x.shape[1:]:
            raise DataError(f"calibration {settings.calibration!r}: samples of shape {calibration.shape[1:]}, those of data "
                            f"have {data.x.shape[1:]}; give both in the model's input shape")  # fmt: skip
        said = settings.calibration
    else:
        evaluated[_held_back(len(data), settings.seed)] = False
        calibration = data.x[~evaluated]
        said = f"{len(calibration)} samples of data, drawn by seed {settings.seed}, not evaluated"
    facts = {
        "model": settings.model, "weights": settings.weights or "as built", "weights sha256": weights,
        "data": data.source, "input scaling": data.scaling, "calibration": said,
    }  # fmt: skip
    if data.note:
        facts["data note"] = data.note
    chosen = np.flatnonzero(evaluated)
    if limit is not None:  # a first look at samples from everywhere: data are often sorted by class
        chosen = np.sort(np.random.default_rng(settings.seed).permutation(chosen)[:limit])
    name = settings.model.rsplit(":", 1)[-1]
    return _subject(name, module, calibration, data.x[chosen], data.y[chosen], data.first_sample + chosen, facts)


def _fitting(module: nn.Module, data: Dataset) -> Dataset:
    """Give images the channel axis, or flatten them, where the model runs on that and not on the samples as they are."""
    shape = data.x.shape[1:]
    for wanted in (shape, (1, *shape), (math.prod(shape),)):
        x, note = check_shape(data.x[:2], wanted)
        try:
            _logits(module, x, torch.float32, None)
        except DataError:
            continue
        return replace(data, x=check_shape(data.x, wanted)[0], note=note or data.note)
    return data


def _held_back(n: int, seed: int) -> Array:
    """Indices of a tenth of n samples for calibration; drawn, because data are often sorted or periodic by class."""
    if n < 10:
        raise DataError(f"data: {n} samples are too few to hold a tenth back; give --calibration")
    return np.random.default_rng(seed).permutation(n)[: min(HELD_BACK, n // 10)]


def _subject(
    name: str, module: nn.Module, calibration: Array, x: Array, y: Array, numbers: Array, facts: Mapping[str, str]
) -> _Subject:
    """Add what is known of every model's data; `numbers` [N] are those of the evaluation samples in their source."""
    shared = numbers[shared_samples(calibration, x)[:, 1]]
    more = {
        "data digest": Dataset(x, y, "", "").digest, "samples": str(len(x)),
        "calibration samples": str(len(calibration)),
        "shared by calibration and evaluation": f"{len(shared)}: {_ranges(shared)}" if len(shared) else "none",
    }  # fmt: skip
    return _Subject(name, module, calibration, x, y, numbers, {**facts, **more})


def _ranges(numbers: Array, most: int = 20) -> str:
    """Increasing numbers as text, ``0-4, 7``; after `most` ranges only how many numbers more there are."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    said = [f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs[:most]]
    return ", ".join(said) + (f" and {sum(map(len, runs[most:]))} more" if len(runs) > most else "")


def assess_one(subject: _Subject, settings: Settings, progress: Progress | None = None) -> Assessment:
    """Convert, measure and judge one model."""
    model, facts = prepare(subject, settings, progress)
    checks = [c for c in select("model.*") if c.kind == "model"]
    findings = []
    for i, c in enumerate(checks):
        findings.append(run_model(c, model))
        if progress is not None:
            progress(f"{model.name}: checks", i + 1, len(checks))
    paired = {T: model.fidelity.paired(T) for T in model.fidelity.steps}
    required = laws_of(model.converted, settings.encoding)
    verdict = judge(paired, model.margin, findings, required)
    return Assessment(model, tuple(findings), required, verdict, facts, _curves(subject, settings, model, progress))


def _curves(
    subject: _Subject, settings: Settings, model: ModelUnderTest, progress: Progress | None
) -> tuple[Curve, ...]:
    return side_by_side(
        lambda **other: _convert(subject, settings, **other), model.converted, subject.x, subject.y, settings.timesteps,
        modes=settings.modes, encoding=cast(Encoding, settings.encoding), seed=settings.seed,
        first_sample=int(subject.numbers[0]), tick=lambda name, n: _ticker(f"{subject.name}: {name}", n, progress),
    )  # fmt: skip


def _convert(subject: _Subject, settings: Settings, **other: Any) -> ConvertedNetwork:
    options = {k: getattr(settings, k) for k in ("mode", "v_init", "reset", "maxpool", "pool_neurons")} | other
    return convert(subject.module, subject.calibration, input_shape=subject.x.shape[1:], **options)


def _ticker(stage: str, total: int, progress: Progress | None) -> Callable[[int], None]:
    """Add up the samples that are done, for a progress that is told of their sum."""
    done = [0]

    def tick(samples: int) -> None:
        done[0] += samples
        if progress is not None:
            progress(stage, done[0], total)

    return tick


def laws_of(converted: ConvertedNetwork, encoding: str) -> tuple[str, ...]:
    """Required checks: all of `gate.REQUIRED` but the laws that cannot hold for this reset or encoding."""
    without = OF_SOFT_RESET if converted.options["reset"] != "subtract" else set()
    without = without | (OF_CONSTANT_INPUT if encoding != "constant" else set())
    return tuple(name for name in REQUIRED if name not in without)


def prepare(
    subject: _Subject, settings: Settings, progress: Progress | None = None
) -> tuple[ModelUnderTest, Mapping[str, str]]:
    """Convert a model and measure its fidelity."""

    def ticker(stage: str) -> Callable[[int], None]:
        return _ticker(f"{subject.name}: {stage}", len(subject.x), progress)

    # What two samples and the options tell comes first: nobody waits for a data set to learn of a slip of the pen.
    margin = points(settings.max_drop)
    check_labels(subject.y, _logits(subject.module, subject.x[:2], torch.float32, None).shape[1])
    converted = _convert(subject, settings)
    logits = _logits(subject.module, subject.x, torch.float32, ticker("ANN"))
    fidelity = measure(converted, subject.x, subject.y, logits, settings.timesteps, seed=settings.seed,
                       encoding=cast(Encoding, settings.encoding), first_sample=int(subject.numbers[0]),
                       progress=ticker("SNN"))  # fmt: skip
    try:
        exact, unit = _logits(subject.module, subject.x, torch.float64, None), 2.0**-53
        noise = float(np.abs(exact - logits).max())
    except DataError:  # a model that cannot run in float64 is compared in its own precision
        exact, unit, noise = logits.astype(float), 2.0**-24, 0.0
    limits = {"model.agreement": float(points(settings.max_disagreement))}
    model = ModelUnderTest(subject.name, converted, subject.x, exact, unit, noise, fidelity, margin, settings.seed,
                           _command(settings), limits)  # fmt: skip
    return model, {**subject.facts, "network digest": converted.snn.digest}


def _command(settings: Settings) -> str:
    """Command that makes this report again."""
    named = {"--weights": settings.weights, "--data": settings.data, "--calibration": settings.calibration}
    given = [part for option, value in named.items() if value for part in (option, value)]
    steps = ["-T", *map(str, settings.timesteps)]
    options = ["--mode", settings.mode, "--v-init", str(settings.v_init), "--reset", settings.reset, "--encoding",
               settings.encoding, "--maxpool", settings.maxpool, "--max-drop", settings.max_drop, "--seed",
               str(settings.seed), *["--pool-neurons"] * settings.pool_neurons, *["--modes"] * settings.modes]  # fmt: skip
    return shlex.join(["snnverify", "report", *([settings.model] if settings.model else []), *given, *steps, *options])


def _logits(module: nn.Module, x: Array, dtype: torch.dtype, tick: Callable[[int], None] | None) -> Array:
    """Outputs of the trained model itself, in eval mode, on a copy."""
    model = copy.deepcopy(module).eval().to("cpu", dtype)
    rows = []
    with torch.no_grad():
        for start in range(0, len(x), 256):
            part = torch.tensor(x[start : start + 256], dtype=dtype)
            try:
                y = model(part)
            except Exception as e:
                raise DataError(f"data: the model cannot run on samples of shape {x.shape[1:]} ({last_line(e)}); "
                                "bring x to the shape it takes") from e  # fmt: skip
            if not isinstance(y, torch.Tensor) or y.ndim != 2 or len(y) != len(part):
                shape = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
                raise DataError(f"model output: {shape} for {len(part)} samples; a classifier returns [N, classes]")
            if not torch.isfinite(y).all():
                raise DataError("model output: NaN or infinity; scale the data as in training, and check the weights")
            rows.append(y.numpy())
            if tick is not None:
                tick(len(part))
    return np.concatenate(rows)


def provenance(settings: Settings, seconds: float, quick: bool) -> dict[str, Any]:
    """What is needed to run a report again."""
    return {
        "snnverify": get("snnverify").version, "python": platform.python_version(), "platform": platform.platform(),
        **{name: version(name) for name in LIBRARIES},
        "command": shlex.join(["snnverify", *sys.argv[1:]]) if sys.argv else "",
        "seed": str(settings.seed), "quick": str(quick), "max drop": f"{settings.max_drop} points",
        "T": ", ".join(map(str, settings.timesteps)), "encoding": settings.encoding,
        "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), "seconds": f"{seconds:.1f}",
    }  # fmt: skip
