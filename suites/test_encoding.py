"""Laws of the rate encoding."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("encoding.*"), ids=lambda c: c.name)
def test_encoding(check, verify):
    verify(check)
