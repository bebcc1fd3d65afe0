"""Batch normalisation is folded exactly, or refused."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("batchnorm.*"), ids=lambda c: c.name)
def test_batchnorm(check, verify):
    verify(check)
