"""What a network takes on a chip."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("mapping.*"), ids=lambda c: c.name)
def test_mapping(check, verify):
    verify(check)
