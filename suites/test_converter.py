"""Laws that any converter can be asked."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("converter.*"), ids=lambda c: c.name)
def test_converter(check, verify):
    verify(check)
