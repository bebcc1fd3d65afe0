"""Laws of converting SiLU detectors to binary spikes."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("detector.*"), ids=lambda c: c.name)
def test_detector(check, verify):
    verify(check)
