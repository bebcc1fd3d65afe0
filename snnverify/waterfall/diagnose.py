"""Causes of a drop in accuracy, named from the stations alone.

A change is named where it costs right answers *significantly*: the exact paired test of `stats` rejects that it costs none,
at 5 % for all tests together (Bonferroni). T levels and the arrival of spikes are one cause, too few steps: both vanish
with T, and one may undo part of the other. They are judged together. Clipping is named by the layer in which it costs most.

**What was folded wrongly** is told apart by the first sums that differ. Every layer of the folded network is given the
values that the trained one has before it; so sums z' and z of a layer differ by what is wrong in this very layer. With
``r = z' - z`` per channel:

- ``r = beta``, and the folded layer has no bias there: a bias is lost; where it has another one, a bias is wrong, or in a
  layer with a batch normalisation its mean or its shift;
- ``r = alpha z + beta`` in a layer with a batch normalisation: variance, scale, or several of its parameters are wrong, as
  ``z = f u + o`` and ``z' = f' u + o'`` of one convolution's u give ``r = (f'/f - 1) z + o' - o f'/f``;
- anything else: unexplained.

"Equal" means within rounding: ``2^-53 (2 K + 6) S`` for K roundings of sums of absolute products S (Higham 2002, eq. 3.5),
which a least-squares fit of alpha and beta cannot exceed in the mean square by more than ``2 + |alpha|`` times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..bounds import absolute, depth
from ..content import Array, Content
from ..network import INPUT, Network, Scale
from ..stats import Paired, rejects
from .measure import Split, Waterfall, split
from .walk import onwards

ALPHA = 0.05
# A cause, and the stations that show it.
GROUPS: dict[str, tuple[str, ...]] = {
    "folding": ("folded",), "clipping": ("clipped",), "steps": ("quantised", "spiking"), "neuron": ("neuron",),
    "encoding": ("encoded",), "weights": ("weights",), "fixed point": ("fixed",), "unexplained": ("deployed",),
}  # fmt: skip
SAMPLES = 256  # whose sums are compared: a few hundred tell any affine difference


@dataclass(frozen=True, eq=False)
class Cause(Content):
    """What costs right answers.

    Parameters
    ----------
    key : str
        One of `GROUPS`; what was folded wrongly is "bias", "batch normalisation" or "unexplained".
    layer : str
        Empty where it is not one of layers.
    lost : int
        Right answers that it costs (of several layers folded wrongly, this one's share).
    stations : tuple of str
    """

    key: str
    layer: str
    lost: int
    stations: tuple[str, ...]


def significant(p: Paired, alpha: float) -> bool:
    """Tell whether a loss is no luck: the exact test rejects that the drop is 0 or below, at level `alpha`."""
    return p.b > p.c and rejects(Paired(p.n, p.c, p.b), Fraction(0), alpha)


def groups(w: Waterfall) -> dict[str, tuple[int, int]]:
    """First and last station of every cause that the chain has stations of."""
    at = {key: i for i, key in enumerate(w.keys)}
    return {cause: (at[keys[0]], at[keys[-1]]) for cause, keys in GROUPS.items() if keys[0] in at}


def causes(w: Waterfall, x: Array, first_sample: int | Array = 0) -> tuple[tuple[Cause, ...], dict[int, Split]]:
    """Name the causes of a drop, the costliest first, and tell how the changes that are named split over the layers.

    Parameters
    ----------
    w : Waterfall
    x : array [N, *shape]
        The samples that it was measured on.
    first_sample : int or int array [N]
    """
    found: list[Cause] = []
    parts: dict[int, Split] = {}
    present = groups(w)
    for key, (first, last) in present.items():
        if not significant(w.paired(first - 1, last), ALPHA / len(present)):
            continue
        for i in range(first, last + 1):
            if (part := split(w, i, x, first_sample)) is not None:
                parts[i] = part
        found += _of(w, key, first, last, parts, x)
    return tuple(sorted(found, key=lambda c: -c.lost)), parts


def _of(w: Waterfall, key: str, first: int, last: int, parts: Mapping[int, Split], x: Array) -> Iterator[Cause]:
    stations = w.keys[first : last + 1]
    lost = w.right(first - 1) - w.right(last)
    if key == "folding":
        by_layer = parts[first].lost()
        wrong = faults(w, x)
        yield from (Cause(kind, k, by_layer[k], stations) for k, kind in wrong.items())
        if not wrong:
            yield Cause("unexplained", "", lost, stations)
        return
    by_layer = parts[first].lost() if first == last and first in parts else {}
    where = (
        max(by_layer, key=lambda k: by_layer[k]) if by_layer and key in ("clipping", "weights", "unexplained") else ""
    )
    yield Cause(key, where, lost, stations)


def faults(w: Waterfall, x: Array) -> dict[str, str]:
    """Layers whose sums the folded network gets wrong: "bias", "batch normalisation" or "unexplained", by layer."""
    rows = np.unique(np.linspace(0, len(x) - 1, SAMPLES).astype(int))
    ann, folded = w.chain.stations[:2]
    values, z = onwards(ann.network, ann.entered(x[rows]), {})
    told = {k: values[k] for k in w.chain.scales}
    sizes = {k: np.abs(v) for k, v in told.items()}
    _, other = onwards(folded.network, folded.entered(x[rows]), told)
    reach = [onwards(absolute(s.network), np.abs(s.entered(x[rows])), sizes)[1] for s in (ann, folded)]
    found = {}
    for k in dict.fromkeys([*w.chain.scales, folded.network.output.name]):
        limit = sum(2.0**-53 * (2 * depth(s.network, k) + 6) * float(r[k].max())
                    for s, r in zip((ann, folded), reach, strict=True))  # fmt: skip
        kind = _kind(
            z[k], other[k], limit, _biases(folded.network, k), _normalised(ann.network, k, set(w.chain.scales))
        )
        if kind:
            found[k] = kind
    return found


def _kind(z: Array, other: Array, limit: float, bias: Array, normalised: bool) -> str:
    """What is wrong in sums [N, C, ...], if anything."""
    rows = [np.moveaxis(v, 1, 0).reshape(v.shape[1], -1) for v in (z, other - z)]
    off = np.abs(rows[1]).max(1) > limit
    if not off.any():
        return ""
    size, r = (v[off] for v in rows)
    mean = r.mean(1, keepdims=True)
    if np.all(np.sqrt(np.mean((r - mean) ** 2, axis=1)) <= 2 * limit):
        lost = np.all(np.broadcast_to(bias, off.shape)[off] == 0)
        return "bias" if lost or not normalised else "batch normalisation"
    centred = size - size.mean(1, keepdims=True)
    spread = np.maximum((centred**2).sum(1), np.finfo(float).tiny)
    slope = (centred * (r - mean)).sum(1) / spread
    rest = np.sqrt(np.mean((r - mean - slope[:, None] * centred) ** 2, axis=1))
    affine = bool(np.all(rest <= limit * (2 + np.abs(slope))))
    return "batch normalisation" if affine and normalised else "unexplained"


def _biases(network: Network, name: str) -> Array:
    """Sum of the biases of a layer's branches, () or (C,)."""
    return np.asarray(sum(np.asarray(0.0 if (b := getattr(branch.op, "bias", None)) is None else b)
                          for branch in network[name].branches))  # fmt: skip


def _normalised(ann: Network, name: str, ends: set[str]) -> bool:
    """Tell whether a batch normalisation lies between a layer's sum and the layers with a threshold before it."""
    todo = [name]
    while todo:
        for b in ann[todo.pop()].branches:
            if isinstance(b.op, Scale) and (b.op.bias is not None or np.any(np.asarray(b.op.factor) != 1)):
                return True
            if b.source != INPUT and b.source not in ends:
                todo.append(b.source)
    return False
