"""The main job: settings -> model and data -> conversion -> fidelity -> findings -> verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .fidelity import ModelUnderTest
from .findings import Finding
from .gate import Verdict


@dataclass(frozen=True)
class Assessment:
    """Everything that a report says of one model.

    Parameters
    ----------
    model : ModelUnderTest
    findings : tuple of Finding
    verdict : Verdict
        Judged at the largest T.
    facts : mapping of str to str
        Where model, weights, data and calibration come from, with digests and scaling; samples that calibration and
        evaluation share.
    """

    model: ModelUnderTest
    findings: tuple[Finding, ...]
    verdict: Verdict
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """One run of the main job.

    Parameters
    ----------
    assessments : tuple of Assessment
    provenance : mapping of str to str
        Versions, command, seed, platform, start and duration, by name.
    """

    assessments: tuple[Assessment, ...]
    provenance: Mapping[str, Any]
