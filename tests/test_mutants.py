"""The table of mutants is in order; `snnverify mutants` runs it (CI does)."""

import ast
from collections import Counter

import pytest

from snnverify.errors import ConfigError
from snnverify.mutation import ROOMS, mutants

ALL = mutants()


def test_at_least_forty_and_a_quarter_by_strangers_to_the_checks():
    authors = Counter(m.author for m in ALL)
    assert sum(authors.values()) >= 40
    strangers = sum(n for author, n in authors.items() if author.startswith("blind"))
    assert strangers >= sum(authors.values()) / 4


def test_names_are_unique():
    assert max(Counter(m.name for m in ALL).values()) == 1


@pytest.mark.parametrize("mutant", ALL, ids=lambda m: m.name)
def test_patch_applies_and_compiles(mutant):
    assert mutant.family in ROOMS
    assert mutant.bug
    for path, text in mutant.sources().items():
        ast.parse(text, path)


def test_unknown_name_is_an_error():
    with pytest.raises(ConfigError, match="no such mutant"):
        mutants(["no-such-*"])
