"""Loihi's integer dynamics."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("quantized.*"), ids=lambda c: c.name)
def test_quantized(check, verify):
    verify(check)
