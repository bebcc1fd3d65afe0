"""Is the accuracy that a conversion loses smaller than a margin? Exact paired non-inferiority.

Each of n samples is answered by the ANN and by the SNN. With b samples that only the ANN gets right and c that only the
SNN gets right, (b, c, n - b - c) is trinomial with the probabilities (p10, p01, 1 - p10 - p01). The drop is
``d = p10 - p01``, its estimate ``(b - c) / n``; all are shares of the samples (0.01 is one percentage point).

The null hypothesis is ``d >= margin``: a small sample cannot reject it, so too little data never passes.

Tango's score test (Statist. Med. 17:891, 1998) is asymptotic, and its real size exceeds the nominal one when few samples
are discordant. Here it only *orders* the tables; their probabilities are exact:

1. Tables are ordered by Tango's upper limit U at level alpha. ``R = {tables y: U(y) <= U(observed)}`` holds everything
   that speaks at least as clearly against a drop as what was seen. As the score ``Z(y; delta)`` falls in delta,
   R is ``{y: Z(y; u) <= -z_alpha}`` with ``u = U(observed)``: one inequality, whatever delta is tested.
2. R is closed under b - 1 and under c + 1 (Z grows in b and falls in c), so P(R) falls in p10 and grows in p01. Hence its
   supremum over all of ``d >= delta`` is reached on the boundary ``d = delta`` (Hsueh, Liu & Chen, Biometrics 57:478,
   2001; Sidik, Statist. Med. 22:265, 2003): lower p10, and where it is 0 raise p01. One nuisance parameter is left.
3. As R does not depend on delta and ``d >= delta`` shrinks with delta, the p-value falls in delta, so "p <= alpha" and
   "bound <= margin" are one statement, which an order by the score at each delta does not give. But for 4. the limit is
   Buehler's, the smallest of its level and its order (Lloyd & Moldovan, Statist. Med. 26:3369, 2007).
4. The nuisance is searched where the data allow it (Berger & Boos, JASA 89:1012, 1994): inside ``p10 <= Clopper-Pearson
   limit of b`` and ``p01 >= that of c``, together of level 1 - 1e-6, and 1e-6 is added to p. These two sides leave 2. and
   3. true and keep p growing in b and falling in c.
5. The supremum is bounded, not sampled: see `_supremum`. What is returned lies at or above the true p-value.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from .errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]

BERGER_BOOS = 1e-6  # probability that the nuisance lies where it is not searched; added to every p-value
TAIL = 1e-10  # probability of the discordances left out of a sum; added to every p-value
SLACK = 1e-5  # greatest distance between the p-value returned and the supremum, besides the two above
TIE = 1e-9  # scores closer than this are ties and belong to the region, which can only enlarge p
CHUNK = 1 << 19  # terms of a sum held in memory at once


@dataclass(frozen=True)
class Paired:
    """The paired table of two classifiers on the same samples.

    Parameters
    ----------
    n, b, c : int
        Samples; those that only the ANN, only the SNN gets right; n >= 1, b >= 0, c >= 0, b + c <= n (else ConfigError).
    """

    n: int
    b: int
    c: int

    def __post_init__(self) -> None:
        for name in ("n", "b", "c"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise ConfigError(f"{name} = {value!r} is not an integer; give a number of samples")
            object.__setattr__(self, name, operator.index(value))
        if self.n < 1:
            raise ConfigError(f"n = {self.n}: a paired table needs at least one sample")
        if min(self.b, self.c) < 0 or self.b + self.c > self.n:
            raise ConfigError(f"b = {self.b}, c = {self.c}: both must be >= 0 with b + c <= n = {self.n}")

    @property
    def drop(self) -> Fraction:
        """``(b - c) / n``, the observed drop as a share of the samples, exact."""
        return Fraction(self.b - self.c, self.n)


def from_predictions(y: npt.ArrayLike, ann: npt.ArrayLike, snn: npt.ArrayLike) -> Paired:
    """The paired table of predicted classes.

    Parameters
    ----------
    y, ann, snn : array_like of integers, shape [N]
        True classes and the classes predicted by the ANN and by the SNN, in the same order.

    Raises
    ------
    DataError
        If an array is empty, not one-dimensional, not of integers or not as long as y.
    """
    arrays = {"y": np.asarray(y), "ann": np.asarray(ann), "snn": np.asarray(snn)}
    true = arrays["y"]
    for name, a in arrays.items():
        if a.ndim != 1 or a.shape != true.shape or not a.size or a.dtype.kind not in "iu":
            raise DataError(f"{name}: shape {a.shape}, dtype {a.dtype}; give one class index (integer) per sample of y")
    ann_right, snn_right = arrays["ann"] == true, arrays["snn"] == true
    return Paired(true.size, int((ann_right & ~snn_right).sum()), int((snn_right & ~ann_right).sum()))


def points(value: str | float | Fraction) -> Fraction:
    """``value / 100``, exact: percentage points to a share of the samples.

    A float stands for the shortest decimal that names it, so 0.1 and "0.1" are both one thousandth. ConfigError if the
    value is no number within [0, 100], or above 0 but so small that its exact form would be huge.
    """
    try:
        number = value if isinstance(value, Fraction) else Decimal(str(value).strip())
        if not 0 <= number <= 100 or (isinstance(number, Decimal) and number and number.adjusted() < -30):
            raise ValueError
    except (InvalidOperation, ValueError):
        raise ConfigError(f"{value!r} percentage points: give a number between 0 and 100, such as 1.0") from None
    return Fraction(number) / 100 if number else Fraction(0)


def wilson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided Wilson score interval of the share ``k / n`` (Wilson, JASA 22:209, 1927)."""
    interval = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def tango_score(b: npt.ArrayLike, c: npt.ArrayLike, n: int, delta: float) -> Floats:
    """``Z = (b - c - n delta) / sqrt(n (p10 + p01 - delta^2))`` with p10, p01 of greatest likelihood at drop delta.

    Tango, Statist. Med. 17:891, 1998. The restricted maximum is the upper root of a quadratic, here written
    for the smaller one of p10 and p01, r, so that a negative delta is the mirror image of a positive one.

    b and c are integers in arrays of shapes that broadcast, delta lies in [-1, 1]. Z is below 0 where the observed drop is
    smaller than delta, and 0 where numerator and variance are both 0.
    """
    b, c = np.asarray(b, dtype=np.float64), np.asarray(c, dtype=np.float64)
    more, less = (b, c) if delta >= 0 else (c, b)
    size = abs(delta)
    half = size * (2 * n - more + less) - more - less
    root = np.sqrt(half**2 + 8 * n * less * size * (1 - size))
    with np.errstate(divide="ignore", invalid="ignore"):
        # the second form of the root avoids subtracting nearly equal numbers
        r = np.where(half > 0, 2 * less * size * (1 - size) / (half + root), (root - half) / (4 * n))
        top = b - c - n * delta
        return np.where(top == 0, 0.0, top / np.sqrt(n * (2 * r + size * (1 - size))))


def tango_upper(p: Paired, alpha: float = 0.05) -> float:
    """Tango's one-sided upper limit of the drop at level ``1 - alpha``: the delta at which Z is ``-z_alpha``.

    Asymptotic: for reports and to order tables, not to judge by.
    """
    z = float(stats.norm.isf(_level(alpha)))
    if p.b == p.n:
        return 1.0  # the score is never below 0
    root = optimize.brentq(
        lambda delta: float(tango_score(p.b, p.c, p.n, delta)) + z, float(p.drop), 1 - 1e-15, xtol=1e-16, rtol=1e-15
    )
    return float(root)


def exact_p(p: Paired, delta: Fraction | float, alpha: float = 0.05) -> float:
    """Exact unconditional p-value of ``d >= delta``, rounded upwards by 1e-6 to 1.2e-5.

    Falls in delta and c, grows in b, but for that rounding. alpha only sets the order of the tables. ConfigError if delta
    is outside [-1, 1] or alpha outside (0, 0.5).
    """
    return _p_value(p, delta, alpha, None)


def rejects(p: Paired, delta: Fraction | float, alpha: float = 0.05) -> bool:
    """``exact_p(p, delta, alpha) <= alpha``, without the digits that do not matter to it."""
    return _p_value(p, delta, alpha, alpha) <= alpha


def exact_upper(p: Paired, alpha: float = 0.05) -> float:
    """Exact one-sided upper limit of the drop at level ``1 - alpha``: the smallest delta that is rejected.

    Found by bisection and rounded outwards, by at most 1e-6 and at most a thousandth of its distance to the observed drop,
    besides what the rounding of `exact_p` moves it: the value returned is rejected itself. 1 where nothing is rejected.
    """
    if p.b == p.n:
        return 1.0
    low, high, tolerance = -1.0, 1.0, min(1e-6, 1e-3 * (tango_upper(p, alpha) - float(p.drop)))
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (low, middle) if rejects(p, middle, alpha) else (middle, high)
    return high


def verdict(p: Paired, margin: Fraction, alpha: float = 0.05) -> Literal["PASS", "FAIL", "INCONCLUSIVE"]:
    """PASS: the drop is below the margin at level ``1 - alpha``; FAIL: the observed drop is above it; else INCONCLUSIVE.

    FAIL compares two Fractions; floats would say that 0.803 - 0.783 > 0.02. It claims no significance, and needs none:
    more samples at these rates bring the upper limit down to the observed drop, never below it, so a drop over the margin
    is not mended by more data. INCONCLUSIVE is: see `needed`.

    Parameters
    ----------
    p : Paired
    margin : Fraction
        Greatest acceptable drop, a share of the samples in [-1, 1] (see `points`); at 0 or below the SNN must be better.
        A float is a ConfigError: it is not the number that was meant.
    alpha : float
        Greatest probability, in (0, 0.5) (else ConfigError), of a PASS where the drop is the margin or more.
    """
    if p.drop > _share(margin):
        return "FAIL"
    return "PASS" if rejects(p, margin, alpha) else "INCONCLUSIVE"


def needed(p: Paired, margin: Fraction, alpha: float = 0.05, limit: int = 10**7) -> int | None:
    """Smallest number of samples at which the same rates would PASS; None if there is none up to the limit.

    n' samples are taken to show ``ceil(b n' / n)`` and ``floor(c n' / n)`` discordances. PASS is thus a saw-tooth in n':
    between two steps of b it can only be gained, at a step it may be lost. So the first tooth whose end passes is sought,
    starting from Tango's estimate, then the first n' inside it. Errors are those of `verdict`.
    """
    z = stats.norm.isf(_level(alpha))
    if p.drop >= _share(margin):
        return None

    def passes(n: int) -> bool:
        return rejects(Paired(n, -(-p.b * n // p.n), p.c * n // p.n), margin, alpha)

    step = Fraction(p.n, p.b) if p.b else Fraction(1)

    def end(tooth: int) -> int:
        return min(limit, math.floor(tooth * step))

    # Z grows as sqrt(n) at fixed rates
    guess = p.n * (z / float(tango_score(p.b, p.c, p.n, float(margin)))) ** 2
    low, high = 0, max(1, math.ceil(min(guess, limit) / step))
    while not passes(end(high)):
        if end(high) == limit:
            return None
        low, high = high, high + max(1, high // 16)
    teeth = range(low + 1, high + 1)
    tooth = teeth[bisect_left(teeth, True, key=lambda t: passes(end(t)), hi=len(teeth) - 1)]
    inside = range(end(tooth - 1) + 1, end(tooth) + 1)
    return inside[bisect_left(inside, True, key=passes, hi=len(inside) - 1)]


def _level(alpha: float) -> float:
    """Alpha, if it is a level; Z is monotone in b, c and delta where it is below 0, hence alpha < 1/2."""
    if not 0 < alpha < 0.5:
        raise ConfigError(f"alpha = {alpha!r}: give a level between 0 and 0.5, such as 0.05")
    return alpha


def _share(margin: Fraction) -> Fraction:
    """The margin, if it is an exact number within [-1, 1]."""
    if not isinstance(margin, (Fraction, int)) or not -1 <= margin <= 1:
        raise ConfigError(f"margin = {margin!r}: give a Fraction between -1 and 1, such as points('1.0')")
    return Fraction(margin)


def _p_value(p: Paired, delta: Fraction | float, alpha: float, level: float | None) -> float:
    """An upper bound of the p-value within `SLACK`, or, given a level, one that is on the same side of it."""
    if not -1 <= delta <= 1:
        raise ConfigError(f"delta = {delta!r}: a drop lies between -1 and 1, as a share of the samples")
    if p.b == p.n:
        return 1.0  # no table speaks louder for a drop: R is everything
    upper, shift, beta = tango_upper(p, alpha), float(delta), BERGER_BOOS / 2
    p10_max = special.betainccinv(p.b + 1, p.n - p.b, beta)
    p01_min = special.betaincinv(p.c, p.n - p.c + 1, beta) if p.c else 0.0
    low = max(0.0, p01_min - max(-shift, 0.0))
    high = min((1 - abs(shift)) / 2, p10_max - max(shift, 0.0))
    if low > high:
        return BERGER_BOOS
    allowance = BERGER_BOOS + TAIL
    goal = None if level is None else level - allowance
    found = _supremum(p.n, upper, float(stats.norm.isf(alpha)), shift, low, high, goal)
    return min(1.0, found + allowance)


def _supremum(n: int, upper: float, z: float, delta: float, low: float, high: float, goal: float | None) -> float:
    """An upper bound of ``max f(r)`` over low <= r <= high, at most `SLACK` above it; f(r) = P(R), r = min(p10, p01).

    Branch and bound. In a cell [l, r] of width h, f lies below the lesser of two bounds, so no peak can hide in it:

    - ``(f(l) + f(r) + n h) / 2``, as |f'| <= n: a small step dr in either probability alters one of the n samples with
      probability n dr at most, and as P(R) grows in p01 and falls in p10 the two effects have opposite signs;
    - ``max(f(l), f(r)) + I h^2 / 8``, as |f''| = |E[1_R (S^2 + S')]| <= E[S^2] = I, with S the score of the trinomial,
      E[S^2 + S'] = 0, S' <= 0, and I its Fisher information ``n (1 / p10 + 1 / p01 + 4 / (1 - p10 - p01))``.

    With a goal the search ends as soon as it is known on which side of it the result will be.
    """
    first, last = math.sqrt(low), math.sqrt(high)
    # r = t^2 makes the Fisher information of t nearly even: cells of a quarter of a standard error
    left = np.linspace(first, last, 2 + math.ceil(8 * math.sqrt(2 * n) * (last - first))) ** 2
    value = _probability(n, upper, z, delta, left)
    cells, best = np.stack([left[:-1], left[1:], value[:-1], value[1:], np.ones(value.size - 1)]), float(value.max())
    while True:
        left, right, f_left, f_right, bound = cells
        width = right - left
        with np.errstate(divide="ignore", invalid="ignore"):
            information = n * (1 / left + 1 / (left + abs(delta)) + 4 / np.maximum(1 - 2 * right - abs(delta), 0))
            curved = np.fmax(f_left, f_right) + information * width**2 / 8
        bound = np.fmin(np.minimum(bound, (f_left + f_right + n * width) / 2), curved)
        ceiling = max(best, float(bound.max()))
        if ceiling <= best + SLACK or (goal is not None and (ceiling <= goal or best > goal)):
            return best if goal is not None and best > goal else ceiling
        left, right, f_left, f_right, bound = (v[bound > best + SLACK] for v in (left, right, f_left, f_right, bound))
        middle = (np.sqrt(left) + np.sqrt(right)) ** 2 / 4
        value = _probability(n, upper, z, delta, middle)
        best = max(best, float(value.max()))
        cells = np.hstack([[left, middle, f_left, value, bound], [middle, right, value, f_right, bound]])


def _probability(n: int, upper: float, z: float, delta: float, r: Floats) -> Floats:
    """P(R) at each nuisance r, less at most `TAIL`: ``sum_k Bin(k; n, psi) BinomCDF(b_max(k); k, p10 / psi)``.

    k = b + c discordances follow Bin(n, psi), psi = p10 + p01, and b given k follows Bin(k, p10 / psi); b_max(k) is the
    greatest b with (b, k - b) in R. The sum runs over the k that Bernstein's inequality leaves a probability of 1 - `TAIL`.
    """
    p10 = r + max(delta, 0.0)
    psi = np.minimum(2 * r + abs(delta), 1.0)
    share = np.divide(p10, psi, out=np.zeros_like(r), where=psi > 0).clip(0, 1)
    nats = math.log(2 / TAIL)
    reach = nats / 3 + np.sqrt(nats**2 / 9 + 2 * nats * n * psi * (1 - psi))
    first = np.maximum(np.floor(n * psi - reach), 0).astype(np.int64)
    count = int(np.ceil(np.minimum(n * psi + reach, n) - first).max()) + 1
    ks = np.arange(int(first.min()), min(n, int(first.max()) + count) + 1)
    log_ways = special.gammaln(n + 1) - special.gammaln(ks + 1) - special.gammaln(n - ks + 1)
    b_max = _greatest_b(n, ks, upper, z)
    total = np.empty_like(r)
    for rows in np.array_split(np.arange(r.size), math.ceil(r.size * count / CHUNK)):
        wanted = first[rows, None] + np.arange(count)
        k = np.minimum(wanted, n)
        b, log_pmf = b_max[k - ks[0]], log_ways[k - ks[0]]
        log_pmf = log_pmf + special.xlogy(k, psi[rows, None]) + special.xlog1py(n - k, -psi[rows, None])
        terms = np.exp(log_pmf) * special.bdtr(np.maximum(b, 0), k, share[rows, None])
        total[rows] = terms.sum(axis=1, where=(wanted <= n) & (b >= 0))
    return total


def _greatest_b(n: int, k: npt.NDArray[np.int64], upper: float, z: float) -> Floats:
    """The greatest b for which the table (b, k - b) belongs to R, for each k; -1 where there is none."""
    inside, outside = np.full(k.shape, -1), k + 1  # Z grows in b at fixed k
    for _ in range(int(k[-1] + 2).bit_length()):
        middle = np.maximum((inside + outside) // 2, 0)
        belongs = tango_score(middle, k - middle, n, upper) <= TIE - z
        closed = outside - inside == 1
        inside, outside = np.where(belongs & ~closed, middle, inside), np.where(belongs | closed, outside, middle)
    return inside.astype(np.float64)
