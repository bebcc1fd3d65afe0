"""Operators of a kind: QCFS, quantisers, encoders, surrogate gradients."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("operators.*"), ids=lambda c: c.name)
def test_operators(check, verify):
    verify(check)
