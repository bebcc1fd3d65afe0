"""Laws of the conversion itself."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("conversion.*"), ids=lambda c: c.name)
def test_conversion(check, verify):
    verify(check)
