"""The keyword-spotting example, on its made-up set: from WAV files to an audit of its own figures."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tomllib
import torch
from scipy.io import wavfile

from snnverify.convert.load import load_model

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
    assert (
        here["synapse memory at INT4"] == f"{weights / 2 / 1024:,.0f} KiB of 4,096 KiB on the many-core"
    )  # 64 cores of 64 KiB
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
    assert here["routing overhead"].startswith(f"{100 * least:.2f} ")
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


def heard(folder, labels, takes=24, seconds=0.1):
    """A tone for each label, in the layout of Speech Commands, each take by another speaker."""
    t = np.arange(int(8000 * seconds)) / 8000
    for i, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for take in range(takes):
            tone = np.sin(2 * np.pi * (300 + 80 * i + take) * t)
            wavfile.write(folder / label / f"speaker{take:03d}_nohash_0.wav", 8000, (tone * 2**14).astype(np.int16))


def test_speech_commands_have_as_many_classes_as_labels(example, tmp_path, monkeypatch):
    """Twelve labels: more than the digits' ten, so that the network has twelve outputs, by name for the commands."""
    heard(tmp_path / "words", [f"word{i:02d}" for i in range(12)])
    asked = []
    monkeypatch.setattr(example, "snnverify", lambda command: asked.append(command) or 2)
    with pytest.raises(SystemExit):
        example.main(["--data", str(tmp_path / "words"), "--out", str(tmp_path / "out"), "--epochs", "1"])
    ((command, spec, *_),) = asked
    assert (command, spec.rpartition(":")[2]) == ("analyze", "build12")
    model, _ = load_model(spec, tmp_path / "out" / "mlp.safetensors")
    assert model(torch.zeros(1, 40, 101)).shape == (1, 12)
    assert set(np.load(tmp_path / "out" / "train.npz")["y"]) == set(range(12))


@pytest.mark.parametrize(("options", "said"), [
    (["--data", "none"], "none: no such folder; give one of label/*.wav or digit_speaker_i.wav"),
    (["--data", "empty"], "empty: no WAV file; give a folder of label/*.wav or digit_speaker_i.wav"),
    (["--data", "one"], "one: its training files have one label; a classifier needs two"),
    (["--seed", "-1"], "seed = -1: an integer >= 0"), (["-T", "0"], "T = 0: an integer >= 1"),
    (["--native-epochs", "0"], "native-epochs = 0: an integer >= 1"),
])  # fmt: skip
def test_what_cannot_be_run_is_one_line_and_leaves_no_folder(tmp_path, options, said):
    heard(tmp_path / "one", ["yes"])
    (tmp_path / "empty").mkdir()
    line = [sys.executable, str(ROOT / "examples/keyword_spotting.py"), *options, "--out", "out"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"keyword_spotting: {said}\n")
    assert not (tmp_path / "out").exists()
