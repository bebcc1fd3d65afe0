"""Bounds of guaranteed level besides the paired one of `stats`: a share, a relative drop, a mean of bounded values."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from scipy import special, stats

from ..content import Array
from ..stats import Paired, exact_upper, needed, rejects

ANN = 0.1  # of alpha, what the unknown accuracy of the ANN takes in a relative drop
MOST = 10**7  # samples beyond which none are asked for


def share_lower(k: int, n: int, alpha: float) -> float:
    """Lower limit of a share at level ``1 - alpha`` from k of n (Clopper & Pearson, Biometrika 26:404, 1934)."""
    return float(special.betaincinv(k, n - k + 1, alpha)) if k else 0.0


def share_verdict(k: int, n: int, least: Fraction, alpha: float) -> str:
    """PASS: ``P(X >= k | n, least) <= alpha`` of the binomial; FAIL: k / n < least, exactly; else INCONCLUSIVE."""
    if Fraction(k, n) < least:
        return "FAIL"
    return "PASS" if float(stats.binom.sf(k - 1, n, float(least))) <= alpha else "INCONCLUSIVE"


def share_needed(k: int, n: int, least: Fraction, alpha: float) -> int | None:
    """About how many samples would pass at the same share, rounded down to whole samples; None if none would."""
    if Fraction(k, n) <= least:
        return None
    return _first(lambda m: share_verdict(k * m // n, m, least, alpha) == "PASS", n)


def relative_upper(p: Paired, ann: int, alpha: float) -> float:
    """Upper limit of ``(ANN - SNN) / ANN``, the drop relative to the ANN's accuracy, at level ``1 - alpha``.

    With probability ``1 - 0.9 alpha`` the drop is below its exact upper limit U, with ``1 - 0.1 alpha`` the ANN's accuracy
    above its lower limit A; by Bonferroni both hold at once with ``1 - alpha``, and then the relative drop is below U / A
    (below U where U is negative, because an accuracy is at most 1).
    """
    upper, lower = exact_upper(p, (1 - ANN) * alpha), share_lower(ann, p.n, ANN * alpha)
    return upper if upper <= 0 else upper / lower if lower > 0 else math.inf


def relative_verdict(p: Paired, ann: int, limit: Fraction, alpha: float) -> str:
    """FAIL: the observed relative drop is over the limit, exactly; PASS: `relative_upper` is at most the limit."""
    if p.b - p.c > limit * ann:
        return "FAIL"
    lower = Fraction(share_lower(ann, p.n, ANN * alpha))
    return "PASS" if rejects(p, limit * lower, (1 - ANN) * alpha) else "INCONCLUSIVE"


def relative_needed(p: Paired, ann: int, limit: Fraction, alpha: float) -> int | None:
    """About how many samples would pass at the same rates; None if none would."""
    if p.b - p.c >= limit * ann:
        return None
    guess = needed(p, limit * Fraction(ann, p.n), alpha, MOST)
    if guess is None:
        return None

    def passes(n: int) -> bool:
        scaled = Paired(n, -(-p.b * n // p.n), p.c * n // p.n)
        return relative_verdict(scaled, ann * n // p.n, limit, alpha) == "PASS"

    return _first(passes, guess)


def chance(errors: tuple[float, float], samples: tuple[int, int], alpha: float) -> float:
    """Greatest difference of two averages of one distribution that is left to chance, at level ``1 - alpha``, two-sided.

    ``t hypot(s_1, s_2)``, s the standard errors and t Student's quantile at ``min(n_1, n_2) - 1`` degrees of freedom. For
    normal averages its level is guaranteed whatever the two variances are (Mickey & Brown, Ann. Math. Statist. 37:639,
    1966: the Behrens-Fisher statistic lies between Student's t of that many and of ``n_1 + n_2 - 2``); infinite where a
    single sample tells no error.
    """
    freedom = min(samples) - 1
    return -float(special.stdtrit(freedom, alpha / 2)) * math.hypot(*errors) if freedom > 0 else math.inf


def mean_upper(d: Array, reach: float, alpha: float) -> float:
    """Upper limit of a mean from n independent values within [-reach, reach], at level ``1 - alpha``.

    ``mean + sqrt(2 V ln(2 / alpha) / n) + 7 (2 reach) ln(2 / alpha) / (3 (n - 1))``, V the sample variance: the empirical
    Bernstein bound of Maurer & Pontil (COLT 2009, theorem 4), one-sided as it is proved. It holds at every n and for
    every distribution within that range; Student's t holds for large n alone, and fails where an error is rare and large.
    """
    n = len(d)
    if n < 2:
        return reach
    return min(reach, _bernstein(float(np.mean(d)), float(np.var(d, ddof=1)), n, reach, alpha))


def _bernstein(mean: float, variance: float, n: int, reach: float, alpha: float) -> float:
    nats = math.log(2 / alpha)
    return mean + math.sqrt(2 * variance * nats / n) + 14 * reach * nats / (3 * (n - 1))


def mean_needed(d: Array, reach: float, limit: float, alpha: float) -> int | None:
    """Number of samples at which values of the same mean and variance would pass; None if none would."""
    mean, variance = float(np.mean(d)), float(np.var(d, ddof=1)) if len(d) > 1 else 0.0
    if mean >= limit:
        return None
    return _first(lambda n: _bernstein(mean, variance, n, reach, alpha) <= limit, max(2, len(d)))


def _first(passes: Callable[[int], bool], start: int) -> int | None:
    """A number of samples that passes while one less does not, found from `start` by doubling and bisection."""
    low, high = max(1, start // 2), max(2, start)
    while not passes(high):
        if high >= MOST:
            return None
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
