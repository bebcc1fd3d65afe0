"""Every reader refuses damaged files in one line; `python tests/fuzz.py` gives them many more."""

import os

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
