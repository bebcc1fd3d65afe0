"""Laws of converting SiLU detectors to binary spikes; on your own nets, too (--before, --after, --data, --img-size)."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("detector.*"), ids=lambda c: c.name)
def test_detector(check, verify):
    verify(check)


def test_pair(law_name, verify_pair):
    verify_pair(law_name)
