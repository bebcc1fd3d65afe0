"""The gate's own error rates: against an enumeration of other make, and what the documentation says of them."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tomllib
from scipy import stats

from snnverify.gate import policy, rates
from snnverify.gate.forms import CONFIDENCES
from snnverify.report import error_rates
from snnverify.stats import Paired, verdict

PAGE = (Path(__file__).parents[1] / "docs" / "gate.md").read_text("utf-8")


def enumerated(n, margin, drop, discordance, alpha):
    """Every table judged, and scipy's multinomial."""
    p = ((discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance)
    tables = [(b, c, n - b - c) for b, c in product(range(n + 1), repeat=2) if b + c <= n]
    passed = [t for t in tables if verdict(Paired(n, t[0], t[1]), margin, alpha) == "PASS"]
    return float(stats.multinomial.pmf(passed, n, p).sum()) if passed else 0.0


@pytest.mark.parametrize(("n", "margin"), [(18, Fraction(1, 5)), (25, Fraction(1, 10))])
@pytest.mark.parametrize("confidence", CONFIDENCES[:2])
def test_the_probability_of_a_pass(n, margin, confidence):
    alpha = float(1 - Fraction(confidence))
    for drop, psi in ((float(margin), 0.3), (0.0, 0.1), (-0.05, 0.05)):
        told = float(rates.pass_probability(n, margin, np.array(drop), np.array(psi), alpha))
        assert told == pytest.approx(enumerated(n, margin, drop, psi, alpha), abs=1e-11)
        assert drop < margin or told <= alpha


def test_simulated_releases_come_to_the_same():
    n, margin, alpha = 60, Fraction(1, 10), 0.05
    told = float(rates.pass_probability(n, margin, np.array(0.02), np.array(0.08), alpha))
    low, high = rates.binomial_limits(told, 10_000)
    assert low <= rates.simulate(n, margin, 0.02, 0.08, alpha, 10_000, seed=3) <= high
    assert low > rates.binomial_limits(told - 0.1, 10_000)[1]  # the limits tell ten points apart


def test_a_row_that_is_not_kept_is_told():
    row = rates.Row(0.95, 100, 1.0, 0.051, 0.1, 0.05, 0.04, 0.06, {0.005: 0.1, 0.02: 0.1, 0.05: 0.1})
    assert not row.kept
    said = error_rates.text([row])
    assert "NO" in said
    assert "0 of 1 settings keep their level" in said
    assert "0.051" in error_rates.csv_of([row])


def test_the_page_says_what_the_command_says():
    """One row of the table, computed anew; the others are of the same run."""
    row = rates._row(Fraction("0.95"), 100, Fraction(5, 100), seed=rates.seed_of("0.95", 100, Fraction(5, 100)))
    (cells,) = error_rates.cells([row])
    line = next(v for v in PAGE.splitlines() if re.match(r"\|\s*95 \|\s*100 \|\s*5 \|", v))
    assert [v.strip() for v in line.strip("|").split("|")] == cells
    table = [line for line in PAGE.splitlines() if re.match(r"\|\s*9[0-9.]+ \|", line)]
    assert len(table) == len(CONFIDENCES) * len(rates.SAMPLES) * len(rates.MARGINS)
    assert all("yes" in line for line in table)


def test_the_tables_of_the_page_are_read():
    first, second = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    asked = tomllib.loads(first)["tool"]["snnverify"]["gate"]
    policy(asked)
    regression = tomllib.loads(second)["tool"]["snnverify"]["gate"]
    policy(regression)
    from snnverify.gate.forms import FORMS

    assert set(asked) | set(regression) == set(FORMS)


def test_the_picture_is_drawn():
    assert error_rates.picture(Fraction(1, 5), 0.3, 0.05, (10, 20)).startswith(b"\x89PNG")
