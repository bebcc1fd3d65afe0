"""The accuracy gate keeps its error rates."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("statistics.*"), ids=lambda c: c.name)
def test_statistics(check, verify):
    verify(check)
