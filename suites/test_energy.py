"""What an inference costs: counts and their energy; and a board's log (--measured, --energy-model, --tolerance)."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("energy.*"), ids=lambda c: c.name)
def test_energy(check, verify):
    verify(check)


def test_measured(verify_measured):
    verify_measured()
