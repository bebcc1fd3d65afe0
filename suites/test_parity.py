"""Every oracle against the exact reference."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("parity.*"), ids=lambda c: c.name)
def test_parity(check, verify):
    verify(check)
