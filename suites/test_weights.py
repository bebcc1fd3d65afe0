"""Weights and activations lie on their grids, and gradients go straight through them."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("weights.*"), ids=lambda c: c.name)
def test_weights(check, verify):
    verify(check)
