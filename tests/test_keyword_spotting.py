"""The keyword-spotting example, on its made-up set: from WAV files to an audit of its own figures."""

import importlib.util
import json
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("keyword_spotting", ROOT / "examples/keyword_spotting.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_figure_of_the_walkthrough_has_its_counterpart(example, tmp_path, capsys):
    assert example.main(["--out", str(tmp_path), "--epochs", "4", "--native-epochs", "1", "-T", "10"]) == 0
    table = [[c.strip() for c in line.split("|")[1:-1]] for line in (tmp_path / "figures.md").read_text().splitlines()]
    here = {figure: found for figure, _, found in table[2:]}
    assert all(here.values())
    weights = 4040 * 512 + 512 * 256 + 256 * 128 + 128 * 10
    assert here["weights"] == f"{weights:,}"
    assert here["layers of weights; neurons"] == f"4; {512 + 256 + 128 + 10}"
    assert here["synapse memory at INT4"] == f"{weights / 2 / 1024:,.0f} KiB"
    assert here["dead neurons; spikes of others that change without them"].endswith("; 0")
    energy = json.loads((tmp_path / "energy.json").read_text())["models"]["build"]
    totals = next(rows for name, rows in energy.items() if name == "Totals by convention")[0]
    assert here["synaptic operations an inference"] == f"{totals['synop'] / 40:,.0f}"
    assert totals["mac"] == 40 * 10 * 4040 * 512
    claims = tomllib.loads((tmp_path / "claims.toml").read_text())
    assert {c["name"] for c in claims["claim"]} == {"weights", "neurons", "memory", "operations", "energy"}
    assert "5 consistent, 0 inconsistent, 0 unverifiable" in capsys.readouterr().out
    said = (tmp_path / "report.txt").read_text()
    for command in ("analyze", "calibrate", "stations", "map", "energy", "native"):
        assert f"$ snnverify {command} " in said
