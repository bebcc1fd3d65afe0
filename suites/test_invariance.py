"""What must not change a run."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("invariance.*"), ids=lambda c: c.name)
def test_invariance(check, verify):
    verify(check)
