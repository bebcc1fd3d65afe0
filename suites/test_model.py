"""The models: the embedded ones, or yours (--model, --weights, --data, --calibration)."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("model.*"), ids=lambda c: c.name)
def test_model(check, verify_model):
    verify_model(check)


def test_gate(assessment):
    """The verdict of the release gate: accuracy drop and every required check."""
    verdict = assessment.verdict
    lines = [f"{r.outcome}: {r.name}: {r.detail}" for r in verdict.requirements if r.outcome != "PASS"]
    assert verdict.outcome == "PASS", "\n".join([f"{assessment.model.name}: {verdict.outcome}", *lines])
