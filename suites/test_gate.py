"""The release gate keeps its error rates, and no part of it hides another."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("gate.*"), ids=lambda c: c.name)
def test_gate(check, verify):
    verify(check)
