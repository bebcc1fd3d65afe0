"""Loihi's blocks and the conversions to them."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("blocks.*"), ids=lambda c: c.name)
def test_blocks(check, verify):
    verify(check)
