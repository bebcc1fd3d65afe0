"""Recorded truth: what each library gave, checked where none of them is installed."""

import pytest

from snnverify import golden
from snnverify.checks import select


@pytest.mark.parametrize("check", select("golden.*"), ids=lambda c: c.name)
def test_golden(check, verify):
    verify(check)


@pytest.mark.parametrize("entry", golden.entries())
def test_recorded(entry):
    golden.verify_entry(entry)
