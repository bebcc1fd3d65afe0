"""Thresholds from the calibration set."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("calibration.*"), ids=lambda c: c.name)
def test_calibration(check, verify):
    verify(check)
