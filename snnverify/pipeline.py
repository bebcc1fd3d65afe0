"""The main job: settings -> model and data -> conversion -> fidelity -> findings -> verdict."""

from __future__ import annotations

import copy
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
from .convert.load import load_model
from .data import Dataset, check_labels, load_data, shared_samples
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
    """

    model: ModelUnderTest
    findings: tuple[Finding, ...]
    required: tuple[str, ...]
    verdict: Verdict
    facts: Mapping[str, str]


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
        for option in ("weights", "data", "calibration"):
            if getattr(settings, option) is not None:
                raise ConfigError(f"{option} = {getattr(settings, option)!r}: it goes with a model of your own; name it as "
                                  "module:callable or path.py:callable")  # fmt: skip
        yield from (_embedded(name, limit) for name in _names(settings.model))
    else:
        yield _own(settings, limit)


def _names(model: str | None) -> Sequence[str]:
    if model is not None and model not in zoo.MODELS:
        raise ConfigError(
            f"model = {model!r}: neither 'module:callable' nor an embedded model{nearest(model, zoo.MODELS)}"
        )
    return tuple(zoo.MODELS) if model is None else (model,)


def _embedded(name: str, limit: int | None) -> _Subject:
    m = zoo.load_default(name)
    facts = {
        "model": f"{name}, embedded", "weights sha256": str(m.provenance.get("tensor_digest", "")),
        "data": "scikit-learn load_digits, held-out part", "input scaling": "x / 16",
        "calibration": f"the {len(m.train_x)} training images",
    }  # fmt: skip
    return _subject(name, m.module, m.train_x, m.evaluation_x[:limit], m.evaluation_y[:limit], facts)


def _own(settings: Settings, limit: int | None) -> _Subject:
    assert settings.model is not None
    if settings.data is None:
        raise ConfigError("data: labelled samples are needed; give --data FILE.npz, an IDX pair or module:callable")
    module, weights = load_model(settings.model, settings.weights, settings.root)
    data = load_data(settings.data, limit=limit, root=settings.root)
    if settings.calibration is not None:
        calibration: Array = load_data(settings.calibration, root=settings.root).x
        said = settings.calibration
    else:
        calibration, data, said = _held_back(data)
    facts = {
        "model": settings.model, "weights": settings.weights or "as built", "weights sha256": weights,
        "data": data.source, "input scaling": data.scaling, "calibration": said,
    }  # fmt: skip
    if data.note:
        facts["data note"] = data.note
    return _subject(settings.model.rsplit(":", 1)[-1], module, calibration, data.x, data.y, facts)


def _held_back(data: Dataset) -> tuple[Array, Dataset, str]:
    """Take the first tenth of the data for calibration, out of the evaluation."""
    n = min(HELD_BACK, len(data) // 10)
    if n == 0:
        raise DataError(f"data: {len(data)} samples are too few to hold a tenth back; give --calibration")
    return data.x[:n], replace(data, x=data.x[n:], y=data.y[n:]), f"the first {n} samples of data, not evaluated"


def _subject(
    name: str, module: nn.Module, calibration: Array, x: Array, y: Array, facts: Mapping[str, str]
) -> _Subject:
    pairs = shared_samples(calibration, x) if calibration.shape[1:] == x.shape[1:] else np.zeros((0, 2), int)
    first = ", ".join(str(int(k)) for k in pairs[:5, 1])
    more = {
        "data digest": Dataset(x, y, "", "").digest, "samples": str(len(x)),
        "calibration samples": str(len(calibration)),
        "shared by calibration and evaluation": f"{len(pairs)} (evaluation {first}, ...)" if len(pairs) else "none",
    }  # fmt: skip
    return _Subject(name, module, calibration, x, y, {**facts, **more})


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
    return Assessment(model, tuple(findings), required, judge(paired, model.margin, findings, required), facts)


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
        done = [0]

        def tick(samples: int) -> None:
            done[0] += samples
            if progress is not None:
                progress(f"{subject.name}: {stage}", done[0], len(subject.x))

        return tick

    margin = points(settings.max_drop)
    logits = _logits(subject.module, subject.x, torch.float32, ticker("ANN"))
    check_labels(subject.y, logits.shape[1])
    converted = convert(subject.module, subject.calibration, mode=settings.mode, v_init=settings.v_init,
                        reset=settings.reset, input_shape=subject.x.shape[1:])  # type: ignore[arg-type]  # fmt: skip
    fidelity = measure(converted, subject.x, subject.y, logits, settings.timesteps, seed=settings.seed,
                       encoding=cast(Encoding, settings.encoding), progress=ticker("SNN"))  # fmt: skip
    try:
        exact, unit = _logits(subject.module, subject.x, torch.float64, None), 2.0**-53
    except DataError:  # a model that cannot run in float64 is compared in its own precision
        exact, unit = logits.astype(float), 2.0**-24
    model = ModelUnderTest(subject.name, converted, subject.x, exact, unit, fidelity, margin, settings.seed)
    return model, {**subject.facts, "network digest": converted.snn.digest}


def _logits(module: nn.Module, x: Array, dtype: torch.dtype, tick: Callable[[int], None] | None) -> Array:
    """Outputs of the trained model itself, in eval mode, on a copy."""
    model = copy.deepcopy(module).eval().to(dtype)
    rows = []
    with torch.no_grad():
        for start in range(0, len(x), 256):
            part = torch.tensor(x[start : start + 256], dtype=dtype)
            try:
                y = model(part)
            except Exception as e:
                raise DataError(
                    f"data of shape {x.shape}: the model cannot run on it ({last_line(e)}); check the shape"
                ) from e
            if not isinstance(y, torch.Tensor) or y.shape[0] != len(part) or y[0].ndim != 1:
                shape = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
                raise DataError(f"model output: {shape} for {len(part)} samples; a classifier returns [N, classes]")
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
