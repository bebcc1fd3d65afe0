"""Findings about the libraries: each minimal case, expected to fail for as long as the library is as it is."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("findings.*"), ids=lambda c: c.name)
def test_findings(check, verify):
    verify(check)
