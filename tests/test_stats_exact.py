"""Score, p-value and limit of the paired drop against enumeration of the trinomial and scipy's root of the likelihood."""

import functools
import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import optimize, stats

from snnverify.stats import (
    Paired,
    exact_p,
    exact_upper,
    points,
    rejects,
    tango_score,
    tango_upper,
    verdict,
)

ROUNDING = 1.3e-5  # what exact_p may lie above the p-value


def tables(n):
    """All (b, c) with b + c <= n; two arrays."""
    b, c = np.divmod(np.arange((n + 1) ** 2), n + 1)
    return b[b + c <= n], c[b + c <= n]


def trinomial(n, p10, p01):
    """Probability of every table of tables(n), by scipy's multinomial."""
    b, c = tables(n)
    rest = max(0.0, 1.0 - p10 - p01)
    return stats.multinomial.pmf(np.stack([b, c, n - b - c], axis=1), n, [p10, p01, rest])


def likelihood_score(b, c, n, delta):
    """Tango's Z with the restricted maximum found as the root of the log-likelihood's derivative, not by a formula."""
    high = (1 - abs(delta)) / 2

    def probabilities(r):
        return r + max(delta, 0.0), r + max(-delta, 0.0), 2 * (high - r)

    def slope(r):
        p10, p01, same = probabilities(r)
        return b / p10 + c / p01 - 2 * (n - b - c) / same

    first, last = high * 1e-13, high * (1 - 1e-13)
    if slope(first) <= 0:
        r = 0.0
    elif slope(last) >= 0:
        r = high
    else:
        r = optimize.brentq(slope, first, last, xtol=1e-16)
    p10, p01, _ = probabilities(r)
    return (b - c - n * delta) / np.sqrt(n * (p10 + p01 - delta**2))


@functools.cache
def likelihood_upper(b, c, n, alpha=0.05):
    """Tango's upper limit by that score."""
    if b == n:
        return 1.0
    z = stats.norm.isf(alpha)
    return optimize.brentq(lambda d: likelihood_score(b, c, n, d) + z, (b - c) / n + 1e-9, 1 - 1e-9, xtol=1e-14)


@pytest.mark.parametrize("delta", [-0.4, -0.01, 0.005, 0.03, 0.3])
def test_score_is_that_of_the_restricted_likelihood(delta):
    n = 37
    got = tango_score(*tables(n), n, delta)
    expected = [likelihood_score(b, c, n, delta) for b, c in zip(*tables(n), strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_score_at_no_drop_is_mcnemar():
    assert tango_score(9, 4, 100, 0.0) == pytest.approx((9 - 4) / np.sqrt(9 + 4))
    assert tango_score(0, 0, 100, 0.0) == 0


def test_score_is_monotone_below_zero():
    """What the order of the tables rests on: Z grows in b, falls in c and in delta."""
    n = 25
    deltas = np.linspace(-0.98, 0.98, 99)
    b, c = np.indices((n + 1, n + 1))
    z = np.stack([np.where(b + c <= n, tango_score(b, np.minimum(c, n - b), n, d), np.nan) for d in deltas])
    below, known = z < 0, np.isfinite(z)
    assert (np.diff(z, axis=1) > -1e-12)[below[:, :-1] & known[:, 1:]].all()
    assert (np.diff(z, axis=2) < 1e-12)[below[:, :, :-1] & known[:, :, 1:]].all()
    assert (np.diff(z, axis=0) < 0)[below[1:]].all()


@pytest.mark.parametrize(("n", "b", "c"), [(360, 1, 0), (360, 0, 0), (1200, 12, 9), (50, 3, 20), (10_000, 300, 280)])
def test_tango_upper_by_the_likelihood(n, b, c):
    assert tango_upper(Paired(n, b, c)) == pytest.approx(likelihood_upper(b, c, n), abs=1e-7)


def test_360_images_cannot_decide_one_point():
    p = Paired(360, 1, 0)
    assert tango_upper(p) == pytest.approx(0.0124, abs=5e-5)
    # at p01 = 0, where the supremum lies, the table is binomial and the limit that of Clopper and Pearson
    limit = stats.binomtest(1, 360).proportion_ci(0.90, method="exact").high
    assert exact_upper(p) == pytest.approx(limit, abs=3e-6)
    assert verdict(p, points("1.0")) == "INCONCLUSIVE"
    assert verdict(Paired(1000, 1, 0), points("1.0")) == "PASS"


@pytest.mark.parametrize("n", [1, 10, 360])
def test_no_discordance_is_the_rule_of_three(n):
    assert exact_upper(Paired(n, 0, 0)) == pytest.approx(1 - 0.05 ** (1 / n), abs=2e-5)
    assert exact_upper(Paired(n, 0, 0)) > 1 - 0.05 ** (1 / n)


@pytest.mark.parametrize(("n", "delta", "discordance", "size"), [(200, 0.03, 0.03, 0.059), (100, 0.01, 0.05, 0.055)])
def test_tango_is_not_exact(n, delta, discordance, size):
    """Why the gate does not judge by Tango: its false passes, enumerated, exceed 5 %. The exact test keeps to it."""
    probability = trinomial(n, (discordance + delta) / 2, (discordance - delta) / 2)
    passes = tango_score(*tables(n), n, delta) <= -stats.norm.isf(0.05)
    assert probability[passes].sum() == pytest.approx(size, abs=5e-4)
    assert probability[passing(n, Fraction(str(delta)))].sum() <= 0.05


def passing(n, margin):
    """Which of tables(n) PASS, found along the border: less c asks for less b, so each row starts at the one before."""
    border = []
    for c in range(n + 1):
        b = border[-1] if border else 0
        while b + c <= n and verdict(Paired(n, b, c), margin) == "PASS":
            b += 1
        border.append(b)
    b, c = tables(n)
    return b < np.array(border)[c]


def test_the_border_holds_all_passes():
    n, margin = 14, points("20")
    each = [verdict(Paired(n, b, c), margin) == "PASS" for b, c in zip(*tables(n), strict=True)]
    np.testing.assert_array_equal(passing(n, margin), each)
    assert any(each)


@pytest.mark.parametrize(
    ("n", "margin"), [(20, "20"), (60, "0"), (60, "5"), (100, "1"), (100, "3"), (150, "2"), (200, "1.5"), (200, "3")]
)
def test_false_passes_at_the_margin_are_five_percent_at_most(n, margin):
    """Size of the gate by enumerating every table, at the margin and beyond it, over the discordance."""
    share = points(margin)
    passes, m = passing(n, share), float(share)
    for p01 in np.r_[np.geomspace(1e-4, (1 - m) / 2, 30), 0.0]:
        for d in (m, 1.3 * m + 0.002):
            if 2 * p01 + d <= 1:
                assert trinomial(n, p01 + d, p01)[passes].sum() <= 0.05


def test_the_exact_test_is_not_merely_cautious():
    passes = passing(100, points("3"))
    assert max(trinomial(100, q + 0.03, q)[passes].sum() for q in (0.0, 0.01, 0.03, 0.1)) > 0.04


@pytest.mark.parametrize(
    ("n", "b", "c"), [(1, 0, 0), (1, 0, 1), (8, 0, 0), (8, 2, 1), (15, 1, 6), (15, 4, 4), (15, 14, 0), (15, 0, 15)]
)
@pytest.mark.parametrize("delta", ["-0.5", "-0.05", "0", "0.02", "0.11", "0.4", "0.95"])
def test_exact_p_is_the_double_sum(n, b, c, delta):
    """Every table's upper limit by the likelihood, their probabilities by the multinomial, the nuisance by a dense grid."""
    d = float(delta)
    upper = np.array([likelihood_upper(*table, n) for table in zip(*(v.tolist() for v in tables(n)), strict=True)])
    region = upper <= likelihood_upper(b, c, n) + 1e-9
    p10_max = stats.binomtest(b, n).proportion_ci(1 - 1e-6, method="exact").high
    p01_min = stats.binomtest(c, n).proportion_ci(1 - 1e-6, method="exact").low
    low, high = max(0.0, -d, p01_min), min((1 - d) / 2, p10_max - d)
    grid = np.linspace(low, high, 400) if low <= high else []
    brute = max((trinomial(n, q + d, q)[region].sum() for q in grid), default=0.0)
    got = exact_p(Paired(n, b, c), Fraction(delta))
    assert min(1.0, brute + 1e-6) - 1e-12 <= got <= min(1.0, brute + ROUNDING + 1e-5)


@pytest.mark.parametrize(
    ("n", "b", "c", "delta"), [(1200, 3, 1, 0.005), (1200, 40, 31, 0.018), (900, 5, 60, -0.04), (1200, 0, 2, 0.001)]
)
def test_exact_p_is_a_sum_over_c(n, b, c, delta):
    """The same region summed the other way: c is Bin(n, p01), b given c is Bin(n - c, p10 / (1 - p01))."""
    p = Paired(n, b, c)
    rows = np.arange(n + 1)
    inside = tango_score(
        rows[:, None], np.minimum(rows, n - rows[:, None]), n, tango_upper(p)
    ) <= 1e-9 - stats.norm.isf(0.05)
    most = (inside & (rows[:, None] + rows <= n)).sum(axis=0) - 1  # b from 0 up to here, for each c
    high = stats.binomtest(b, n).proportion_ci(1 - 1e-6, method="exact").high
    low = max(0.0, -delta, stats.binomtest(c, n).proportion_ci(1 - 1e-6, method="exact").low)
    some = rows[rows <= 400]  # none of these p01 gives more

    def probability(q):
        cdf = stats.binom.cdf(most[some], n - some, (q + delta) / (1 - q))
        return (stats.binom.pmf(some, n, q) * cdf).sum(axis=-1)

    q = np.linspace(low, high - delta, 300)
    peak = probability(q[:, None]).argmax()
    around = q[max(peak - 1, 0)], q[min(peak + 1, q.size - 1)]
    top = -optimize.minimize_scalar(
        lambda at: -probability(at), bounds=around, method="bounded", options={"xatol": 1e-12}
    ).fun
    top = max(top, *probability(np.array(around)[:, None]))
    assert top + 1e-6 - 1e-11 <= exact_p(p, delta) <= top + ROUNDING


def test_a_decision_is_that_of_the_p_value():
    for p, delta in itertools.product((Paired(50, 1, 0), Paired(300, 9, 7)), np.linspace(-0.1, 0.2, 40)):
        assert rejects(p, delta) == (exact_p(p, delta) <= 0.05)


def test_upper_is_monotone_and_consistent():
    n = 12
    limit = {(b, c): exact_upper(Paired(n, b, c)) for b, c in zip(*(v.tolist() for v in tables(n)), strict=True)}
    for (b, c), value in limit.items():
        assert value >= limit.get((b - 1, c), -1) - 2e-6
        assert value <= limit.get((b, c - 1), 1) + 2e-6
        assert value > (b - c) / n or b == n
        if b < n:
            assert exact_p(Paired(n, b, c), Fraction(value)) <= 0.05 < exact_p(Paired(n, b, c), value - 4e-6) + ROUNDING
    assert limit[(12, 0)] == 1
    assert exact_p(Paired(n, 12, 0), Fraction(1)) == 1


def test_p_falls_in_the_drop_that_is_tested():
    """Ordered by the score at each drop instead, the p-value of this very table rises from 0.20 to 0.29 on the way."""
    values = [exact_p(Paired(40, 3, 3), d) for d in np.linspace(-1, 1, 250)]
    assert (np.diff(values) <= ROUNDING).all()
    assert values[0] == 1
    assert values[-1] == 1e-6


def test_alpha_is_obeyed():
    p = Paired(500, 2, 1)
    assert exact_upper(p, 0.01) > exact_upper(p, 0.05) > exact_upper(p, 0.2)
    assert exact_p(p, exact_upper(p, 0.01), 0.01) == pytest.approx(0.01, abs=1e-4)
