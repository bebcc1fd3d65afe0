"""The verdict of the accuracy gate, the samples it asks for, and what it is fed with, against hand-made numbers."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from snnverify.errors import ConfigError, DataError
from snnverify.stats import Paired, exact_p, from_predictions, needed, points, verdict, wilson


def test_the_drop_is_compared_exactly():
    assert 0.803 - 0.783 > 0.02  # floats
    p = Paired(1000, 20, 0)
    assert p.drop == Fraction(803, 1000) - Fraction(783, 1000) == points("2.0")
    assert verdict(p, points("2.0")) == "INCONCLUSIVE"
    assert verdict(Paired(1000, 21, 0), points("2.0")) == "FAIL"
    assert verdict(Paired(1000, 21, 1), points("2.0")) == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("p", "margin", "expected"),
    [
        (Paired(100, 0, 0), "0", "INCONCLUSIVE"),  # equal is no proof of not worse
        (Paired(100, 1, 0), "0", "FAIL"),
        (Paired(100, 0, 20), "0", "PASS"),
        (Paired(100, 0, 20), "-1/20", "PASS"),
        (Paired(100, 0, 20), "-3/20", "INCONCLUSIVE"),
        (Paired(100, 0, 20), "-1/4", "FAIL"),
        (Paired(1, 0, 0), "1/100", "INCONCLUSIVE"),
        (Paired(1, 1, 0), "1/100", "FAIL"),
        (Paired(1, 0, 0), "1", "PASS"),
        (Paired(3, 3, 0), "1", "INCONCLUSIVE"),
    ],
)
def test_verdicts_at_the_edges(p, margin, expected):
    assert verdict(p, Fraction(margin)) == expected


@pytest.mark.parametrize(
    ("p", "margin", "expected"),
    [
        (Paired(360, 1, 0), "1", 628),
        (Paired(360, 0, 0), "1", 299),
        (Paired(100, 2, 3), "1", 400),
        (Paired(50, 0, 2), "2", None),
    ],
)
def test_needed_is_the_first_pass(p, margin, expected):
    """By trying every n; 299 is the first n with 0.99^n <= 5 %."""

    def tried(n):
        b, c = Fraction(p.b * n, p.n), Fraction(p.c * n, p.n)
        return verdict(Paired(n, b.__ceil__(), c.__floor__()), points(margin)) == "PASS"

    first = next(n for n in itertools.count(1) if tried(n))
    assert needed(p, points(margin)) == first
    assert expected in (None, first)


def test_needed_gives_up():
    assert needed(Paired(100, 2, 1), points("1")) is None  # the drop is the margin
    assert needed(Paired(100, 3, 1), points("1")) is None
    assert needed(Paired(360, 0, 0), points("1"), limit=298) is None
    assert needed(Paired(360, 0, 0), points("1"), limit=299) == 299
    assert needed(Paired(1000, 20, 11), points("1"), limit=5000) is None
    assert needed(Paired(100, 0, 0), Fraction(0), limit=1000) is None


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("1.0", Fraction(1, 100)),
        (" 0.1 ", Fraction(1, 1000)),
        (0.1, Fraction(1, 1000)),  # the float itself is a little more than one tenth
        (np.float64(0.3), Fraction(3, 1000)),
        (2, Fraction(1, 50)),
        ("1e-2", Fraction(1, 10_000)),
        (Fraction(1, 3), Fraction(1, 300)),
        ("0", Fraction(0)),
        ("0e-999999999", Fraction(0)),
        (100, Fraction(1)),
    ],
)
def test_points_are_exact(value, share):
    assert points(value) == share
    assert type(points(value)) is Fraction


@pytest.mark.parametrize(
    "value",
    [
        "nan",
        float("nan"),
        "inf",
        float("-inf"),
        "-0.1",
        -1.0,
        "100.1",
        1e3,
        Fraction(101),
        "1 %",
        "",
        "one",
        "1e-999999999",
    ],
)
def test_points_refuse(value):
    with pytest.raises(ConfigError, match="percentage points: give a number between 0 and 100"):
        points(value)


def test_wilson_by_its_formula():
    k, n, z = 783, 1000, 1.959963984540054
    centre, half = (k + z**2 / 2) / (n + z**2), z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    assert wilson(k, n) == pytest.approx((centre - half, centre + half), abs=1e-12)
    assert wilson(0, 10)[0] == 0


def test_table_of_predictions():
    y, ann, snn = [0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 0, 0], [0, 0, 0, 3, 0, 1]
    assert from_predictions(y, ann, snn) == Paired(6, 2, 1)
    assert Paired(6, 2, 1).drop == Fraction(1, 6)


@pytest.mark.parametrize(
    ("y", "ann", "snn", "name"),
    [
        ([], [], [], "y"),
        ([0, 1], [0], [0, 1], "ann"),
        ([0, 1], [0, 1], [[0, 1]], "snn"),
        ([0, 1], [0, 1], [0.0, float("nan")], "snn"),
    ],
)
def test_predictions_that_do_not_fit(y, ann, snn, name):
    with pytest.raises(DataError, match=f"^{name}: shape"):
        from_predictions(y, ann, snn)


@pytest.mark.parametrize(
    "counts", [(0, 0, 0), (5, -1, 0), (5, 0, -1), (5, 3, 3), (5.0, 1, 1), (5, True, 0), (5, 1, "1")]
)
def test_impossible_tables(counts):
    with pytest.raises(ConfigError) as caught:
        Paired(*counts)
    assert "\n" not in str(caught.value)


def test_counts_of_numpy_become_integers():
    p = Paired(np.int32(10), np.uint8(1), np.int64(3))
    assert (p, type(p.n), type(p.b)) == (Paired(10, 1, 3), int, int)
    assert p.drop == Fraction(-1, 5)


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1, float("nan")])
def test_levels_that_are_none(alpha):
    with pytest.raises(ConfigError, match="alpha"):
        verdict(Paired(10, 1, 1), points("1"), alpha)


@pytest.mark.parametrize("margin", [0.01, Fraction(2), Fraction(-2), "1.0"])
def test_margins_that_are_none(margin):
    for judge in (verdict, needed):
        with pytest.raises(ConfigError, match="margin"):
            judge(Paired(10, 1, 1), margin)
    with pytest.raises(ConfigError, match="delta"):
        exact_p(Paired(10, 1, 1), 1.5)
