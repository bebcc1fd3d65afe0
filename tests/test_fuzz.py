"""Every reader refuses damaged files in one line; `python tests/fuzz.py` gives them many more."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from fuzz import fuzz, made, mutate
from fuzz_readers import READERS


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_refused_in_one_line(reader):
    counts, wrong = fuzz(reader, inputs=40, seed=1)
    assert not wrong
    assert counts["read"] >= 1  # the valid file, at least
    assert counts["refused"] >= 10


def test_inputs_depend_on_seed_and_number_alone():
    assert made("claims", 3, 1) == made("claims", 3, 1) != made("claims", 3, 2)
    assert mutate(b"a = 1\n", np.random.default_rng(0), True) == mutate(b"a = 1\n", np.random.default_rng(0), True)


def test_the_figures_of_the_security_notes_are_of_every_reader_and_of_no_crash():
    """Every line is what the command prints; that of the quickest reader is asked for again."""
    page = (Path(__file__).parents[1] / "SECURITY.md").read_text()
    inputs, seed = map(int, re.search(r"python tests/fuzz\.py --inputs (\d+) --seed (\d+)", page).groups())
    line = re.compile(r"^ *(\w+) +(\d+) inputs: +(\d+) read, +(\d+) refused, +(\d+) wrong$", re.M)
    told = {name: tuple(map(int, figures)) for name, *figures in line.findall(page)}
    assert set(told) == set(READERS)
    for total, read, refused, wrong in told.values():
        assert (total, read + refused, wrong) == (inputs, inputs, 0)
    counts, wrong = fuzz("labels", inputs=inputs, seed=seed)
    assert told["labels"] == (inputs, counts["read"], counts["refused"], len(wrong))


def _planted(path):
    if path.read_bytes()[:1] == b"a":
        raise ZeroDivisionError("planted")
    os._exit(7)


def test_a_crash_is_told(monkeypatch):
    """An exception that is not ours, and a process that dies, are both found, and the rest is read all the same."""
    monkeypatch.setitem(READERS, "planted", (lambda: b"abc", "x", _planted))
    _, wrong = fuzz("planted", inputs=12, seed=0)
    assert len(wrong) == 12
    assert set(wrong.values()) == {"ZeroDivisionError: planted", "the process died (exit 7)"}
