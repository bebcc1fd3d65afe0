"""What a conversion kept: paired answers, how alike each activation's outputs are, and a sweep of the threshold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from ..content import Array
from ..errors import ConfigError, DataError, Unsupported
from ..gate import Requirement, Verdict, judge
from ..stats import exact_upper, from_predictions
from .binarize import activations
from .blocks import Detect
from .boxes import Precision, anchors_of, decode, detections, precision_of
from .samples import BATCH, Samples, batches
from .similarity import Sums

Progress = Callable[[str, int, int], None]
RESAMPLES = 200
LEVEL = 0.05
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)


@dataclass(frozen=True)
class Classified:
    """Answers of a classifier: true classes [N] and predicted ones [N]."""

    wanted: Array
    given: Array

    @property
    def scores(self) -> Mapping[str, float]:
        """Accuracy, a share."""
        return {"accuracy": float((self.wanted == self.given).mean())}


@dataclass(frozen=True)
class Detected:
    """Answers of a detector, matched to the boxes."""

    precision: Precision

    @property
    def scores(self) -> Mapping[str, float]:
        """MAP at IoU 0.5 and over 0.5:0.95, shares."""
        return dict(zip(("mAP@0.5", "mAP@0.5:0.95"), self.precision.ap(), strict=True))


Answers = Classified | Detected


@dataclass(frozen=True)
class Drop:
    """Drop of the first score from `before` to another net: its estimate, upper 95 % bound, and the gate's verdict."""

    drop: float
    upper: float
    verdict: Verdict
    b: int | None = None
    c: int | None = None


@dataclass(frozen=True)
class Alike:
    """One activation before and after.

    Parameters
    ----------
    name : str
        Module path.
    before, after : str
        What it is: ``silu`` or ``binary``.
    cosine : float
        Mean over samples of the cosine of its outputs over all steps and units.
    cka : float
        Linear CKA of its outputs' means over steps and places, in [0, 1] (Kornblith et al., ICML 2019, eq. 3); NaN where
        either does not vary from sample to sample.
    gap : float
        ``|after - before| / |before|`` over everything; NaN where `before` is all 0.
    rate_before, rate_after : float
        Mean output; of a binary unit spikes a step.
    """

    name: str
    before: str
    after: str
    cosine: float
    cka: float
    gap: float
    rate_before: float
    rate_after: float


def device_of(module: nn.Module) -> torch.device:
    """Where the first tensor of a module lies."""
    return next((t.device for t in (*module.parameters(), *module.buffers())), torch.device("cpu"))


def run(module: nn.Module, x: Array) -> Any:
    """Output for images [B, C, H, W], in the precision of the module's weights, without gradients."""
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    with torch.no_grad():
        return module(
            torch.as_tensor(np.array(x, order="C")).to(like)
        )  # a copy: a module may write into what it is given


def answers(module: nn.Module, samples: Samples, progress: Progress | None = None, stage: str = "judging") -> Answers:
    """Classify all samples, or find their boxes; one batch in memory at a time.

    Raises
    ------
    DataError
        An output that is not finite.
    Unsupported
        A net whose output is neither logits [B, classes] nor raw boxes.
    """
    module.eval()
    wanted, given = [], []
    detect = next((m for m in module.modules() if isinstance(m, Detect)), None)
    for done, (x, y) in enumerate(batches(samples)):
        output = run(module, x)
        parts = output if isinstance(output, (list, tuple)) else [output]
        if not all(isinstance(p, torch.Tensor) for p in parts):
            raise Unsupported("output", "it is neither logits nor raw boxes", "judge a classifier or a detector")
        if not all(torch.isfinite(p).all() for p in parts):
            raise DataError(f"output: NaN or infinity in the batch of sample {done * BATCH}; mend the weights")
        if samples.kind == "classes":
            wanted.append(y)
            given.append(output.argmax(1).cpu().numpy())
        else:
            assert detect is not None
            decoded = decode([p.float() for p in parts], anchors_of(detect), samples.size).cpu().numpy()
            wanted += y
            given += [detections(image) for image in decoded]
        if progress is not None:
            progress(stage, min((done + 1) * BATCH, len(samples)), len(samples))
    if samples.kind == "classes":
        return Classified(np.concatenate(wanted), np.concatenate(given))
    assert detect is not None
    return Detected(precision_of(wanted, given, detect.nc))


def paired(
    before: Answers, after: Answers, margin: Fraction, steps: int, resamples: int = RESAMPLES, seed: int = 0
) -> Drop:
    """Drop of the first score, and the gate on it.

    Of classes the bound is exact (`stats`). Of mAP it is the greater of two: the 95 % point of the drops over `resamples`
    draws of the images, the same for both nets (percentile bootstrap: approximate), and ``1 - 0.05^(1/n)``, the share of
    images that n samples can have missed altogether, so that few images never pass.

    Parameters
    ----------
    before, after : Classified or Detected
        On the same samples.
    margin : Fraction
        Greatest drop let through, a share.
    steps : int
        T, for the text.
    """
    if isinstance(before, Classified) and isinstance(after, Classified):
        p = from_predictions(before.wanted, before.given, after.given)
        return Drop(float(p.drop), exact_upper(p), judge({steps: p}, margin, (), required=()), p.b, p.c)
    assert isinstance(before, Detected)
    assert isinstance(after, Detected)
    n = before.precision.images
    drop = before.precision.ap()[0] - after.precision.ap()[0]
    drawn = [_resampled(p.precision, resamples, seed) for p in (before, after)]
    drops = [a - b for a, b in zip(*drawn, strict=True)]
    upper = max(float(np.quantile(drops, 1 - LEVEL, method="higher")), 1 - LEVEL ** (1 / n))
    outcome = "FAIL" if drop > margin else "PASS" if upper <= margin else "INCONCLUSIVE"
    detail = (
        f"drop {100 * drop:.2f} points of mAP@0.5 at T = {steps} (n = {n} images), upper 95 % bound {100 * upper:.2f} "
        f"({resamples} resamples), limit {float(100 * margin):g}"
    )
    return Drop(drop, upper, Verdict(outcome, (Requirement("mAP drop", outcome, detail),)))


@lru_cache(maxsize=2)
def _resampled(precision: Precision, resamples: int, seed: int) -> tuple[float, ...]:
    """First mAP of each drawn choice of images, the same choices for a seed; every arm asks for that of the net before."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return tuple(precision.ap(rng.integers(0, precision.images, precision.images))[0] for _ in range(resamples))


def alike(before: nn.Module, after: nn.Module, samples: Samples, progress: Progress | None = None) -> list[Alike]:
    """Compare the outputs of every activation of two nets on the same samples, each net running on its own activations.

    Raises
    ------
    ConfigError
        Nets whose activations have other names.
    """
    kinds = [activations(m) for m in (before, after)]
    if list(kinds[0]) != list(kinds[1]):
        odd = sorted(set(kinds[0]) ^ set(kinds[1]))[:3]
        raise ConfigError(f"--after: its activations are not those of --before ({', '.join(odd)}); give its conversion")
    sums = {name: Sums() for name in kinds[0]}
    held: list[dict[str, torch.Tensor]] = [{}, {}]
    hooks = [module.get_submodule(name).register_forward_hook(_keep(outputs, name))
             for module, outputs in zip((before, after), held, strict=True) for name in sums]  # fmt: skip
    try:
        for module in (before, after):
            module.eval()
        for done, (x, _) in enumerate(batches(samples)):
            for module in (before, after):
                run(module, x)
            for name, total in sums.items():
                if name not in held[0] or name not in held[1]:
                    raise Unsupported(name, "it did not run on the data", "leave it out of the net, or use it")
                total.add(held[0].pop(name), held[1].pop(name))
            if progress is not None:
                progress("layers", min((done + 1) * BATCH, len(samples)), len(samples))
    finally:
        for hook in hooks:
            hook.remove()
    return [Alike(name, kinds[0][name].now, kinds[1][name].now, *total.measures()) for name, total in sums.items()]


def _keep(outputs: dict[str, torch.Tensor], name: str) -> Any:
    def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        outputs[name] = output.clone()  # what comes next may write into it

    return hook


def converted(before: nn.Module, after: nn.Module) -> list[str]:
    """Paths of the activations that are SiLU before and binary after."""
    then, now = activations(before), activations(after)
    return [name for name, u in now.items() if u.now == "binary" and name in then and then[name].now == "silu"]


def with_threshold(module: nn.Module, names: Sequence[str], threshold: float) -> nn.Module:
    """A copy in which the named activations fire above another threshold; no tensor changes."""
    found = copy.deepcopy(module)
    for name in names:
        unit: Any = found.get_submodule(name)
        unit.constants = replace(unit.constants, threshold=threshold)
    return found


def sweep(module: nn.Module, names: Sequence[str], samples: Samples, thresholds: Sequence[float] = THRESHOLDS,
          progress: Progress | None = None) -> dict[float, float]:  # fmt: skip
    """First score of a net with each threshold in the named activations."""
    found = {}
    for done, threshold in enumerate(thresholds, 1):
        scores = answers(with_threshold(module, names, threshold), samples).scores
        found[threshold] = next(iter(scores.values()))
        if progress is not None:
            progress("threshold sweep", done, len(thresholds))
    return found
