"""The models: the embedded ones, or yours (--model, --weights, --data, --calibration)."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("model.*"), ids=lambda c: c.name)
def test_model(check, verify_model):
    verify_model(check)


def test_gate(verify_gate):
    verify_gate()
