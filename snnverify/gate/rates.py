"""The gate's own error rates: how often it lets through what it must not, and stops what it need not.

A release whose true drop is the margin or more must pass in at most a share ``alpha`` of data sets. That is enumerated: of
all paired tables (b, c) of n samples those that PASS are found by asking the gate itself, and their trinomial probabilities
are added. Beside it stand simulated releases, which share nothing with that sum but the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product

import numpy as np
from scipy import stats

from ..content import Array
from ..stats import Paired, rejects, verdict
from .forms import CONFIDENCES

SAMPLES = (100, 300, 1000)
MARGINS = (Fraction(1, 200), Fraction(1, 100), Fraction(2, 100), Fraction(5, 100))
MOST = 0.1  # greatest share of discordant samples that is looked at
RELEASES = 10_000
FALSE_ALARM = 1e-6  # probability that simulated releases of a sound gate miss their limit
LEFT_OUT = 1e-12  # probability of the tables that are not asked for; counted as passes


@dataclass(frozen=True)
class Row:
    """Error rates at one confidence, number of samples and margin.

    Parameters
    ----------
    confidence : float
    n : int
    margin : float
        Percentage points.
    false_pass : float
        Greatest probability of a PASS at a true drop of the margin, over the discordances.
    discordance : float
        Share of samples at which it is that.
    simulated : float
        Share of simulated releases there that pass.
    least, most : float
        What that share may be by binomial error alone.
    power : mapping of float to float
        Probability of a PASS without any true drop, by the share of samples that are discordant.
    """

    confidence: float
    n: int
    margin: float
    false_pass: float
    discordance: float
    simulated: float
    least: float
    most: float
    power: dict[float, float]

    @property
    def kept(self) -> bool:
        """Whether the level is kept, and the simulation agrees with the enumeration."""
        return self.false_pass <= 1 - self.confidence + 1e-12 and self.least <= self.simulated <= self.most


@lru_cache(maxsize=512)
def passing(n: int, margin: Fraction, alpha: float, most: int) -> Array:
    """Greatest b that passes for c = 0, ..., most; -1 where none does. The set has no holes: p grows in b, falls in c."""
    found, b = [], -1
    for c in range(most + 1):
        while b + 1 + c <= n and rejects(Paired(n, b + 1, c), margin, alpha):
            b += 1
        found.append(min(b, n - c))
    return np.array(found)


def pass_probability(n: int, margin: Fraction, drop: Array, discordance: Array, alpha: float) -> Array:
    """Probability of a PASS at true drops and shares of discordant samples (arrays that broadcast; ``drop <= discordance``).

    ``sum_c Bin(c; n, p01) BinomCDF(b_max(c); n - c, p10 / (1 - p01))``, and what is left out counts as a pass.
    """
    drop, discordance = np.broadcast_arrays(np.asarray(drop, float), np.asarray(discordance, float))
    p10, p01 = np.maximum((discordance + drop) / 2, 0), np.maximum((discordance - drop) / 2, 0)
    most = min(n, int(stats.binom.isf(LEFT_OUT, n, p01.max())) + 1)
    c = np.arange(most + 1)
    b_max = passing(n, margin, alpha, most)
    share = p10 / (1 - p01)
    terms = stats.binom.pmf(c, n, p01[..., None]) * stats.binom.cdf(b_max, n - c, share[..., None])
    return np.asarray(terms.sum(-1) + stats.binom.sf(most, n, p01))


def simulate(
    n: int, margin: Fraction, drop: float, discordance: float, alpha: float, releases: int, seed: int
) -> float:
    """Share of simulated releases that the gate lets through."""
    p10, p01 = (discordance + drop) / 2, (discordance - drop) / 2
    drawn = np.random.default_rng(seed).multinomial(n, (p10, max(p01, 0.0), 1 - p10 - max(p01, 0.0)), releases)
    tables, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
    passed = [verdict(Paired(n, int(b), int(c)), margin, alpha) == "PASS" for b, c in tables]
    return float(times[passed].sum() / releases)


def binomial_limits(probability: float, releases: int) -> tuple[float, float]:
    """Range that the share of `releases` draws leaves with a probability of `FALSE_ALARM` at most."""
    low, high = (
        stats.binom.ppf(FALSE_ALARM / 2, releases, probability),
        stats.binom.isf(FALSE_ALARM / 2, releases, probability),
    )
    return float(low) / releases, float(high) / releases


def table(progress: Callable[[int, int], None] | None = None) -> list[Row]:
    """Error rates at every confidence that is offered, and at usual numbers of samples and margins."""
    settings = list(product(CONFIDENCES, SAMPLES, MARGINS))
    rows = []
    for done, (confidence, n, margin) in enumerate(settings, 1):
        rows.append(_row(Fraction(confidence), n, margin, seed_of(confidence, n, margin)))
        if progress is not None:
            progress(done, len(settings))
    return rows


def seed_of(confidence: str, n: int, margin: Fraction) -> int:
    """Seed of the releases simulated for one row."""
    return int(1000 * Fraction(confidence)) * 10**6 + 100 * n + int(1000 * margin)


def _row(confidence: Fraction, n: int, margin: Fraction, seed: int) -> Row:
    alpha = float(1 - confidence)
    grid = np.linspace(float(margin), MOST, 400)
    at_margin = pass_probability(n, margin, np.array(float(margin)), grid, alpha)
    worst = int(at_margin.argmax())
    share = simulate(n, margin, float(margin), float(grid[worst]), alpha, RELEASES, seed)
    without = {
        psi: float(pass_probability(n, margin, np.array(0.0), np.array(psi), alpha)) for psi in (0.005, 0.02, 0.05)
    }
    return Row(float(confidence), n, float(100 * margin), float(at_margin[worst]), float(grid[worst]), share,
               *binomial_limits(float(at_margin[worst]), RELEASES), without)  # fmt: skip


def power_curves(
    margin: Fraction, discordance: float, alpha: float, samples: Sequence[int] = (*SAMPLES, 3000)
) -> Iterator[tuple[int, Array, Array]]:
    """For each number of samples: true drops [60] up to a little over the margin, and the probability of a PASS [60]."""
    drops = np.linspace(-min(discordance, float(margin)), min(1.4 * float(margin), discordance), 60)
    for n in samples:
        yield n, drops, pass_probability(n, margin, drops, np.array(discordance), alpha)
