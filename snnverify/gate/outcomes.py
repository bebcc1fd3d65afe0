"""What ANN and SNN answered to every sample: the figures from which all others of the gate follow."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..content import Array, Content
from ..errors import EvidenceError
from ..stats import Paired, from_predictions

TYPES = {"i": "<i4", "f": "<f8"}  # classes, outputs of a regression


@dataclass(frozen=True, eq=False)
class Outcomes(Content):
    """Answers of ANN and SNN to labelled samples.

    Parameters
    ----------
    steps : tuple of int
        T at which the SNN was read out, ascending.
    labels, ann : int array [N], or float array [N, outputs] of a regression
        What is right, and what the ANN says.
    snn : int array [T, N], or float array [T, N, outputs]
    """

    steps: tuple[int, ...]
    labels: Array
    ann: Array
    snn: Array

    @property
    def regression(self) -> bool:
        """Whether the targets are numbers, not classes."""
        return self.labels.dtype.kind == "f"

    def of(self, steps: int) -> Array:
        """What the SNN says at one T."""
        found: Array = self.snn[self.steps.index(steps)]
        return found

    def paired(self, steps: int, label: int | None = None) -> Paired:
        """Paired table of ANN and SNN at one T, of all samples or of one class."""
        kept = np.ones(len(self.labels), bool) if label is None else self.labels == label
        return from_predictions(self.labels[kept], self.ann[kept], self.of(steps)[kept])

    def losses(self, steps: int | None, error: str) -> Array:
        """Absolute or squared error of every sample, the mean over its outputs, float64 [N]; None is the ANN."""
        off = (self.ann if steps is None else self.of(steps)) - self.labels
        return np.asarray((np.abs(off) if error == "absolute" else off**2).mean(-1))


def to_tree(o: Outcomes) -> dict[str, Any]:
    """Outcomes as JSON: arrays as base64 of deflated little-endian values."""
    arrays = {name: getattr(o, name) for name in ("labels", "ann", "snn")}
    return {
        "T": list(o.steps),
        "kind": "regression" if o.regression else "classes",
        "shape": list(o.labels.shape),
        **{name: _packed(a) for name, a in arrays.items()},
    }


def _packed(a: Array) -> str:
    return base64.b64encode(zlib.compress(a.astype(TYPES[a.dtype.kind]).tobytes(), 9)).decode()


def from_tree(tree: Mapping[str, Any], where: str) -> Outcomes:
    """Read what `to_tree` wrote.

    Raises
    ------
    EvidenceError
        Damaged text, or another number of values than its shape says.
    """
    shape, steps = tuple(tree["shape"]), tuple(tree["T"])
    dtype = np.dtype(TYPES["f" if tree["kind"] == "regression" else "i"])
    wanted = {"labels": shape, "ann": shape, "snn": (len(steps), *shape)}
    if len(shape) != (2 if tree["kind"] == "regression" else 1) or min(shape, default=0) < 1 or not steps:
        raise EvidenceError(
            f"{where}: shape {list(shape)} at T = {list(steps)} holds no outcome; write the report anew"
        )
    arrays = {}
    for name, form in wanted.items():
        size = int(np.prod(form)) * dtype.itemsize
        try:  # never more than is expected: a few bytes can stand for gigabytes
            inflate = zlib.decompressobj()
            data = inflate.decompress(base64.b64decode(tree[name], validate=True), size + 1)
        except (binascii.Error, zlib.error, ValueError) as e:
            raise EvidenceError(f"{where}.{name}: damaged ({e}); write the report anew") from None
        if len(data) != size or not inflate.eof:
            raise EvidenceError(
                f"{where}.{name}: {len(data)} bytes for shape {form}, {size} are due; write the report anew"
            )
        arrays[name] = np.frombuffer(data, dtype).reshape(form).astype(dtype.newbyteorder("="))
        if not np.isfinite(arrays[name]).all():
            raise EvidenceError(f"{where}.{name}: NaN or infinity; write the report anew")
    return Outcomes(steps, **arrays)
