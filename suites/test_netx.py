"""NetX files: written, read, and refused."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("netx.*"), ids=lambda c: c.name)
def test_netx(check, verify):
    verify(check)
