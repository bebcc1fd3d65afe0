"""The MNIST example of `snnverify stations`: its network converts, and it says what it lacks."""

import runpy
from pathlib import Path

import pytest

from snnverify.convert import analyze
from snnverify.errors import ConfigError

EXAMPLE = Path(__file__).parents[1] / "examples" / "mnist_stations.py"


def test_it_converts_and_asks_for_its_data(monkeypatch):
    names = runpy.run_path(str(EXAMPLE))
    assert all(row.verdict != "unsupported" for row in analyze(names["build"](), (1, 28, 28)))
    monkeypatch.delenv("MNIST", raising=False)
    with pytest.raises(ConfigError, match="MNIST: set this environment variable"):
        names["trained"]()
