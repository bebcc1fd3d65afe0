"""The drop in accuracy, change by change, and where samples part."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("waterfall.*"), ids=lambda c: c.name)
def test_waterfall(check, verify):
    verify(check)
