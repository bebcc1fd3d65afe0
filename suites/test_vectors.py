"""Recorded Loihi: every value that Intel recorded, once `snnverify vectors fetch lava-dl` has fetched them."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("vectors.*"), ids=lambda c: c.name)
def test_vectors(check, verify):
    verify(check)
