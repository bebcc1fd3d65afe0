"""Exchange formats: what importers and exporters keep."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("exchange.*"), ids=lambda c: c.name)
def test_exchange(check, verify):
    verify(check)
