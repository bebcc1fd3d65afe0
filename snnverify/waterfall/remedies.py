"""Remedies for each cause, as deployments that can be run: what is advised is tried, and its effect shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..content import Array
from ..convert import ConvertedNetwork
from ..network import Network
from ..quantise import Grid
from ..stats import Paired, from_predictions
from .diagnose import Cause
from .fixed import MOST
from .measure import Waterfall, tiles
from .stations import Deployment, chain
from .walk import values_of

Remake = Callable[..., ConvertedNetwork]  # converts the trained model anew, with some options changed


@dataclass(frozen=True)
class Remedy:
    """A way out that was tried.

    Parameters
    ----------
    cause : str
    words : str
        What was changed.
    right : int
        Right answers with it, of all samples.
    before, after : Paired
        Against what it mends (a negative drop is a gain), and against the trained ANN.
    """

    cause: str
    words: str
    right: int
    before: Paired
    after: Paired


def options(cause: Cause, d: Deployment, remake: Remake) -> Iterator[tuple[str, Deployment]]:
    """Yield what is advised against a cause, in words and as a deployment."""
    given = d.converted.options
    if cause.key == "clipping":
        if given.get("mode") != "max":
            yield "mode max", replace(d, converted=remake(mode="max"))
        if given.get("per_channel") != "True":
            yield "thresholds per channel", replace(d, converted=remake(per_channel=True))
    elif cause.key == "steps":
        yield from ((f"T = {k * d.steps}", replace(d, steps=k * d.steps)) for k in (2, 4))
    elif cause.key == "neuron":
        changes = {"reset": "subtract"} if given.get("reset") != "subtract" else {}
        changes |= {"leak": 1.0} if given.get("leak", "1") != "1" else {}  # type: ignore[dict-item]
        for key, value in changes.items():
            yield ("soft reset" if key == "reset" else "no leak"), replace(d, converted=remake(**{key: value}))
    elif cause.key == "encoding":
        yield "constant input", replace(d, encoding="constant")
        yield f"T = {4 * d.steps}", replace(d, steps=4 * d.steps)
    elif cause.key == "weights" and d.grid is not None:
        if not d.grid.per_channel:
            yield "a scale for each channel", replace(d, grid=replace(d.grid, per_channel=True))
        if d.grid.precision != "int8":
            yield "int8 weights", replace(d, grid=Grid("int8", d.grid.per_channel, d.grid.power_of_two))
    elif cause.key == "fixed point" and d.fraction is not None and d.fraction < MOST:
        more = min(MOST, d.fraction + 4)
        yield f"{more} binary places", replace(d, fraction=more)
    elif cause.key in ("bias", "batch normalisation"):
        yield "folded anew from the trained model", replace(d, converted=remake())
    elif "deployed" in cause.stations:
        yield "the network that the conversion gives", replace(d, deployed=None)
    elif cause.key == "unexplained":
        yield "converted anew from the trained model", replace(d, converted=remake())


def tried(
    w: Waterfall, cause: Cause, ann: Network, d: Deployment, remake: Remake, x: Array, first_sample: int | Array = 0
) -> tuple[Remedy, ...]:  # fmt: skip
    """Run what is advised against a cause, on the samples that the waterfall was measured on.

    Parameters
    ----------
    w : Waterfall
    cause : Cause
    ann : Network
        The trained model, as for `chain`.
    d : Deployment
        That `w` is of.
    remake : callable (**options) -> ConvertedNetwork
        Converts the trained model as the deployment's was, but for the options given.
    x : array [N, *shape]
    first_sample : int or int array [N]
    """
    found = []
    # Of a network that is no conversion's, nothing can be exchanged: what is mended is the station before it.
    mended = len(w.keys) - 2 if w.keys[-1] == "deployed" and "deployed" not in cause.stations else len(w.keys) - 1
    for words, other in options(cause, d, remake):
        of = chain(ann, replace(other, deployed=None))
        last = of.stations[-1]
        classes = np.concatenate([values_of(of, last, *tile)[0] for tile in tiles(x, first_sample)])
        before, after = (from_predictions(w.labels, w.classes[i], classes) for i in (mended, 0))
        found.append(Remedy(cause.key, words, int((classes == w.labels).sum()), before, after))
    return tuple(found)
