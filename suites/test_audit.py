"""The audit of published claims."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("audit.*"), ids=lambda c: c.name)
def test_audit(check, verify):
    verify(check)
