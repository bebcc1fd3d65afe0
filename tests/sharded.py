"""Shared by the tests of shards: small pieces, and a report of many tiles."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import clear_samples

from snnverify import zoo
from snnverify.content import Content
from snnverify.convert import convert
from snnverify.fidelity import tiles

STEPS = (2, 8)
REPORT = ("report", "nets.py:build", "--data", "data.npz", "--calibration", "calibration.npz", "-T", 4, 8)


@dataclass(frozen=True, eq=False)
class Square(Content):
    value: int


def square(x):
    return Square(int(np.sum(x)) ** 2)


@pytest.fixture(scope="module")
def digits():
    """A conversion, samples, labels and logits."""
    m = zoo.load_default("digits_mlp")
    x, y = m.evaluation_x[:160], m.evaluation_y[:160]
    return convert(m.module, m.train_x[:200]), x, y, np.zeros((len(x), 10))


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 16)


@pytest.fixture
def many(project):
    """As `project`, with twelve tiles of samples."""
    names = {}
    exec((project / "nets.py").read_text(), names)
    x, y = clear_samples(names["build"](), 340)
    np.savez(project / "data.npz", x=np.tile(x, (10, 1))[:3000], y=np.tile(y, 10)[:3000])
    return project


def digests(folder):
    (found,) = json.loads((folder / "report.json").read_text())["assessments"]
    return found["digests"], found["paired"]
