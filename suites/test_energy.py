"""What an inference costs: counts and their energy."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("energy.*"), ids=lambda c: c.name)
def test_energy(check, verify):
    verify(check)
