"""Laws of IF/LIF dynamics."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("dynamics.*"), ids=lambda c: c.name)
def test_dynamics(check, verify):
    verify(check)
