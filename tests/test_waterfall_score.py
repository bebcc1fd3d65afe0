"""The committed score on planted causes: its rows are what the diagnosis says, and the page is the command's."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from scipy.stats import binomtest

from snnverify.cli_explain import SCORE
from snnverify.report.waterfall import WORDS, score_tables
from snnverify.waterfall import Cause, faulty
from snnverify.waterfall import planted as plants
from snnverify.waterfall.score import answer, judge, passed_over

PAGE = (Path(__file__).parents[1] / "docs" / "scores-waterfall.md").read_text()
CHEAP = 6  # deployments of a family that are diagnosed again: those of one fault are drawn within seconds


def committed():
    """Rows of the committed score: family and number -> what was planted, what was named, whether that was all."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.split("## Every")[1].splitlines()]
    return {(r[0], int(r[1])): tuple(r[2:]) for r in rows if len(r) == 5 and r[1].isdigit()}


@pytest.mark.parametrize("family", ["nothing", "single causes", "unknown"])
def test_the_committed_score_is_what_the_diagnosis_says(family):
    """The page is the command's; any of its rows can be had alone, and these are."""
    seed = int(re.search(r"--score --seed (\d+)`", PAGE)[1])
    rows = {k: v for k, v in committed().items() if k[0] == family and k[1] < CHEAP}
    assert len(rows) == min(CHEAP, plants.SIZES[family])
    for (_, number), row in rows.items():
        found = answer(plants.subject(seed, family, number))
        assert (found.subject, found.said, "yes" if found.exact else "no") == row


def test_the_committed_score_is_of_all_families_and_adds_up():
    rows = committed()
    for family, size in plants.SIZES.items():
        mine = {number for f, number in rows if f == family}
        lacking = set(range(size)) - mine  # the page tells those that could not be planted
        assert mine <= set(range(size))
        assert all(re.search(rf"\b{family} {i} \({', '.join(plants.turn(11, family, i))}\)", PAGE) for i in lacking)
    assert sum(k[0] == "triples" for k in rows) >= 10
    assert {r[0].split(": ", 1)[1] for k, r in rows.items() if k[0] == "unknown"} == set(faulty.UNKNOWN)
    for family in plants.SIZES:
        exact = sum(row[2] == "yes" for k, row in rows.items() if k[0] == family)
        every = sum(k[0] == family for k in rows)
        assert re.search(rf"^\| {family} .*\| {exact} / {every} +\|$", PAGE, re.M)


def read_back(text):
    """Causes as a row of the page has them: name -> layer, empty where none is told."""
    said = [part.partition(" in ") for part in text.split(", ") if part != "nothing"]
    return {key if key in WORDS else "unexplained": layer if key in WORDS else "" for key, _, layer in said}


def test_the_committed_page_is_what_the_command_writes_of_its_rows():
    """Every answer is judged anew from what was planted and what was named; the writer makes the page of these."""
    answers = []
    for (family, number), (subject, said, _) in committed().items():
        planted, named = read_back(subject.split(": ", 1)[1]), read_back(said)
        found = tuple(Cause(key, layer, 0, ()) for key, layer in named.items())
        made = judge(SimpleNamespace(family=family, number=number, name=subject, planted=planted), found)
        answers.append(replace(made, said=said))
    table, every = score_tables(answers)
    page = SCORE.format(seed=11, table=table, every=every) + "\n" + passed_over(11, answers)
    assert page.rstrip() + "\n" == PAGE
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    for _, _, planted, named, limits, *_ in rows:
        if planted == "0":
            assert limits == "–"
            continue
        exact = binomtest(int(named), int(planted)).proportion_ci(0.95, "exact")
        assert limits == f"{100 * exact.low:.1f} ... {100 * exact.high:.1f}"
