"""The keyword-spotting example, on its made-up set: from WAV files to an audit of its own figures."""

import importlib.util
import json
import re
import subprocess
import sys
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
    energy = json.loads((tmp_path / "energy.json").read_text())["models"]["keyword_spotting.build"]
    totals = next(rows for name, rows in energy.items() if name == "Totals by convention")[0]
    assert here["synaptic operations an inference"] == f"{totals['synop'] / 40:,.0f}"
    assert totals["mac"] == 40 * 10 * 4040 * 512
    assert here["features"] == "40 x 101 MFCC"
    sent = next(rows for name, rows in energy.items() if name.startswith("Operations"))[-1]
    share = 100 * sent["spikes"] / 40 / 10 / (512 + 256 + 128)
    assert here["... at an average rate of"] == f"{share:.2f} %"
    hops = (sent["hops E-W"] + sent["hops N-S"]) / sent["spikes"]
    assert f"{hops:.1f} hops a spike on the many-core's mesh" in here["routing overhead"]
    (loihi,) = (
        r["SNN nJ"] for name, rows in energy.items() if name.startswith("Energy") for r in rows if r["model"] == "loihi"
    )
    routed = (3.0 * sent["hops E-W"] + 4.0 * sent["hops N-S"]) / 40 / 1e3  # Davies et al. 2018, Table 2, in nJ
    least = routed / (float(loihi.split(" - ")[1]) - routed)
    assert here["routing overhead"].startswith(f"{100 * least:.2f} to ")
    loihi = next(
        r["SNN nJ"] for name, rows in energy.items() if name.startswith("Energy") for r in rows if r["model"] == "loihi"
    )
    hop = [
        100 * e * totals["spike"] / 40 / (1e3 * float(loihi.split(" - ")[0])) for e in (3, 4)
    ]  # Davies et al. 2018, Table 2
    assert here["routing overhead"] == f"{hop[0]:.2f} to {hop[1]:.2f} % for each hop of every spike (Loihi)"
    figures = [v for claim in tomllib.loads((ROOT / "examples/claims/walkthrough.toml").read_text())["claim"]
               for v in ([claim["value"]] if isinstance(claim.get("value"), str) else claim.get("value", []))]  # fmt: skip
    theirs = " ".join(row[1] for row in table[2:])
    for v in figures:
        assert re.search(rf"(?<![\d.,]){re.escape(v)}(?![\d.,]*\d)", theirs), (
            f"the walkthrough's {v} has no counterpart"
        )
    claims = tomllib.loads((tmp_path / "claims.toml").read_text())
    assert {c["name"] for c in claims["claim"]} == {"weights", "neurons", "memory", "operations", "energy"}
    assert "5 consistent, 0 inconsistent, 0 unverifiable" in capsys.readouterr().out
    said = (tmp_path / "report.txt").read_text()
    for command in ("analyze", "calibrate", "stations", "map", "energy", "native"):
        assert f"$ snnverify {command} " in said


def test_a_folder_without_recordings_is_one_line(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / "examples/keyword_spotting.py"), "--data", str(tmp_path), "--out",
                           str(tmp_path / "out")], capture_output=True, text=True, cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"keyword_spotting: {tmp_path}: no WAV file; give a folder of label/*.wav or digit_speaker_i.wav\n"
    )
