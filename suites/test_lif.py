"""What a leak costs."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("lif.*"), ids=lambda c: c.name)
def test_lif(check, verify):
    verify(check)
