"""Models and data that the settings name, before any conversion."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from .. import zoo
from ..config import Settings
from ..content import Array
from ..convert.load import load_model
from ..data import Dataset, check_shape, checked, load_data, shared_samples
from ..errors import ConfigError, DataError, Unsupported
from ..network import Network
from ..objects import last_line, nearest
from ..trace import Case, Encoding, first_of

HELD_BACK = 1000  # at most so many evaluation samples, a tenth of them, calibrate where no other set is given


@dataclass(frozen=True)
class Subject:
    """A trained model with its data, before conversion."""

    name: str
    module: nn.Module
    calibration: Array
    x: Array
    y: Array
    numbers: Array  # of the samples in their source
    facts: Mapping[str, str]

    @property
    def first_sample(self) -> int | Array:
        """By what an encoding draws the samples' trains; see `Case`."""
        return first_of(self.numbers)


def subjects(settings: Settings, limit: int | None = None, first: Collection[int] = ()) -> Iterator[Subject]:
    """Models and data that the settings name; of at most `limit` samples, and of those whose numbers are in `first`."""
    if settings.model is None or ":" not in settings.model:
        names = embedded_names(settings.model)
        for option in ("weights", "data", "calibration"):
            if getattr(settings, option) is not None:
                raise ConfigError(f"{option} = {getattr(settings, option)!r}: it goes with a model of your own; name it as "
                                  "module:callable or path.py:callable")  # fmt: skip
        yield from (_embedded(name, limit, first) for name in names)
    else:
        yield _own(settings, limit, first)


def embedded_names(model: str | None) -> Sequence[str]:
    """Names of the embedded models that are meant; all of them by None, `ConfigError` where there is none."""
    if model is not None and model not in zoo.MODELS:
        hint = f"; write '{model}:callable'" if model.endswith(".py") else nearest(model, zoo.MODELS)
        raise ConfigError(f"model = {model!r}: neither 'module:callable' nor an embedded model{hint}")
    return tuple(zoo.MODELS) if model is None else (model,)


def _embedded(name: str, limit: int | None, first: Collection[int]) -> Subject:
    m = zoo.load_default(name)
    facts = {
        "model": f"{name}, embedded", "weights sha256": str(m.provenance["digest"]),
        "data": "scikit-learn load_digits, held-out part", "input scaling": "x / 16",
        "calibration": f"the {len(m.train_x)} training images",
    }  # fmt: skip
    chosen = _chosen(np.arange(len(m.evaluation_x)), limit, first)
    return _with_facts(name, m.module, m.train_x, m.evaluation_x[chosen], m.evaluation_y[chosen], chosen, facts)


def _own(settings: Settings, limit: int | None, first: Collection[int]) -> Subject:
    assert settings.model is not None
    if settings.data is None:
        raise ConfigError("data: labelled samples are needed; give --data FILE.npz, an IDX pair or module:callable")
    module, weights = load_model(settings.model, settings.weights, settings.root)
    data = _fitting(module, load_data(settings.data, root=settings.root))
    outputs(module, data.x[:2], torch.float32, None)  # refused here, before a conversion refuses it in other words
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
        mixed = np.random.default_rng(settings.seed).permutation(chosen)
        chosen = _chosen(mixed, limit, [n - data.first_sample for n in first])
    where, _, called = settings.model.rpartition(":")
    name = f"{Path(where.removesuffix('.py').replace('.', '/')).name}.{called}"  # `build` alone is what many are called
    return _with_facts(name, module, calibration, data.x[chosen], data.y[chosen], data.first_sample + chosen, facts)


def _chosen(rows: Array, limit: int | None, first: Collection[int]) -> Array:
    """Of `rows`, in ascending order, at most `limit`: those in `first`, all of them, then those that stand first."""
    if limit is None:
        return np.sort(rows)
    wanted = np.isin(rows, list(first))
    rest = rows[~wanted][: max(0, limit - int(wanted.sum()))]
    return np.sort(np.concatenate([rows[wanted], rest]))


def case_of(
    subject: Subject, network: Network, x: Array, settings: Settings, steps: int, rows: slice = slice(None)
) -> Case:
    """Case of some of a subject's samples, `x` as the networks take them."""
    encoding, numbers = cast(Encoding, settings.encoding), subject.numbers[rows]
    return Case(network, x[rows], steps, encoding, settings.seed, numbers, "float32")


def of_arrays(name: str, module: nn.Module, x: Array, y: Array, calibration: Array | None, *, seed: int = 0) -> Subject:
    """A model with data that are at hand; a tenth of them is held back where there is nothing to calibrate with.

    Parameters
    ----------
    x, y : arrays [N, *shape], [N]
    calibration : array [N, *shape] or None
    seed : int
        Of the draw of what is held back.

    Raises
    ------
    DataError
        Samples and labels that do not fit together, or too few samples to hold some back.
    """
    data = _fitting(module, checked(x, y, "dataset"))
    kept = np.ones(len(data), bool)
    if calibration is None:
        kept[_held_back(len(data), seed)] = False
        calibration = data.x[~kept]
    facts = {
        "model": type(module).__qualname__,
        "data": "given as arrays",
        "calibration": f"{len(calibration)} samples",
    }
    calibration = np.asarray(calibration, np.float32)
    return _with_facts(name, module.eval(), calibration, data.x[kept], data.y[kept], np.flatnonzero(kept), facts)


def _fitting(module: nn.Module, data: Dataset) -> Dataset:
    """Give images the channel axis, or flatten them, where the model runs on that and not on the samples as they are."""
    shape = data.x.shape[1:]
    for wanted in (shape, (1, *shape), (math.prod(shape),)):
        x, note = check_shape(data.x[:2], wanted)
        try:
            outputs(module, x, torch.float32, None)
        except DataError:
            continue
        return replace(data, x=check_shape(data.x, wanted)[0], note=note or data.note)
    return data


def _held_back(n: int, seed: int) -> Array:
    """Indices of a tenth of n samples for calibration; drawn, because data are often sorted or periodic by class."""
    if n < 10:
        raise DataError(f"data: {n} samples are too few to hold a tenth back; give --calibration")
    return np.random.default_rng(seed).permutation(n)[: min(HELD_BACK, n // 10)]


def _with_facts(
    name: str, module: nn.Module, calibration: Array, x: Array, y: Array, numbers: Array, facts: Mapping[str, str]
) -> Subject:
    """Add what is known of every model's data; `numbers` [N] are those of the evaluation samples in their source."""
    shared = numbers[shared_samples(calibration, x)[:, 1]]
    more = {
        "data digest": Dataset(x, y, "", "").digest, "samples": str(len(x)),
        "calibration samples": str(len(calibration)),
        "shared by calibration and evaluation": f"{len(shared)}: {_ranges(shared)}" if len(shared) else "none",
    }  # fmt: skip
    told = {key: fact for key, fact in facts.items() if fact}  # of weights as built there is no file, hence no digest
    return Subject(name, module, calibration, x, y, numbers, {**told, **more})


def _ranges(numbers: Array, most: int = 20) -> str:
    """Increasing numbers as text, ``0-4, 7``; after `most` ranges only how many numbers more there are."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    said = [f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs[:most]]
    return ", ".join(said) + (f" and {sum(map(len, runs[most:]))} more" if len(runs) > most else "")


def outputs(module: nn.Module, x: Array, dtype: torch.dtype, tick: Callable[[int], None] | None) -> Array:
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
            if isinstance(y, torch.Tensor) and y.shape == (len(part),):  # whatever the shape of the samples
                way = "a regression returns [N, outputs]: leave out the squeeze, or return y[:, None]"
                raise Unsupported("model output", f"{tuple(y.shape)} for {len(part)} samples", way)
            if not isinstance(y, torch.Tensor) or y.ndim != 2 or len(y) != len(part):
                shape = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
                raise DataError(f"model output: {shape} for {len(part)} samples; a classifier returns [N, classes], "
                                "a regression [N, outputs]")  # fmt: skip
            if not torch.isfinite(y).all():
                raise DataError("model output: NaN or infinity; scale the data as in training, and check the weights")
            rows.append(y.numpy())
            if tick is not None:
                tick(len(part))
    return np.concatenate(rows)
