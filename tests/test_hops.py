"""Hops through the whole job, and the samples that are counted: a log's first, each by its own number."""

import json

import numpy as np

from snnverify.activation import Neuron
from snnverify.cli import main
from snnverify.hardware.counts import Convention, count
from snnverify.hardware.measured import Log
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network
from snnverify.trace import Case


def test_hops_follow_the_precision_that_is_asked_for(tmp_path, capsys):
    """A unit of relu1 has 64 weights, 256 bits of int4 and 512 of int8: two fit a core of 512 bits, or one."""
    limit = 'weight_bits_per_core = { value = 512, source = "s", grade = "user" }\n'
    mesh = '[t.mesh]\ncolumns = 16\nrows = 16\ncores = 1\nsource = "s"\ngrade = "user"\n'
    (tmp_path / "t.toml").write_text(f'[t]\ntitle = "t"\n[t.limits]\n{limit}{mesh}')
    command = ["energy", "digits_mlp", "-T", "2", "--samples", "4", "--table", "loihi", "--hops", "t", "--targets",
               str(tmp_path / "t.toml"), "--json", str(tmp_path / "a.json")]  # fmt: skip
    cores = {}
    for precision in ("binary", "int4", None):
        assert main([*command, *(() if precision is None else ("--precision", precision))]) == 0
        (told,) = json.loads((tmp_path / "a.json").read_text())["models"]["digits_mlp"][
            "Mapping that packets and hops are of"
        ]
        cores[told["weights"]] = told["cores"]
    assert list(cores) == ["binary", "int4", "int8"]
    assert (cores["int4"], cores["int8"]) == (64 + 64 + 5, 128 + 64 + 10)  # fan-ins 64, 128, 64
    assert cores["binary"] < 64


def test_hops_are_paid_once_behind_a_flattening():
    from snnverify.pipeline import energy as work

    flat = Layer("flat", (Branch(Flatten(), "relay"),))
    out = Layer("out", (Branch(Dense(np.ones((1, 2))), "flat"),))
    relay = Layer("relay", (Branch(Conv(np.ones((1, 1, 1, 1)))),), Neuron())  # spikes in each step
    case = Case(Network((1, 1, 2), (relay, flat, out)), np.ones((1, 1, 1, 2)), 3)
    routes, _ = work._routes(case.network, 2)
    assert count(case, routes=routes).total(Convention())["hop"] == 2 * 6


def test_a_logs_samples_are_drawn_first_whatever_the_number_that_is_asked_for(tmp_path, capsys):
    numbers = (0, 40, 301)
    log = tmp_path / "board.csv"
    log.write_text("sample,prediction,energy_uJ,latency_us\n" + "".join(f"{n},3,1.{n},200\n" for n in numbers))
    command = ["energy", "digits_mlp", "-T", "2", "--table", "loihi", "--max-drop", "100", "--measured",
               str(log), "--json", str(tmp_path / "a.json"), "--samples"]  # fmt: skip
    for asked, counted in (("2", 3), ("5", 5)):
        assert main([*command, asked]) in (0, 1, 3)
        tables = json.loads((tmp_path / "a.json").read_text())["models"]["digits_mlp"]
        assert f"Operations of {counted} samples, T = 2" in tables
        (row,) = (r for title, t in tables.items() if title.startswith("Measured") for r in t)
        assert row["n"] == len(numbers)


def test_the_log_is_drawn_from_data_of_ones_own_by_its_numbers(tmp_path):
    from snnverify.config import Settings
    from snnverify.pipeline.models import subjects

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.random((40, 64)).astype(np.float32), y=rng.integers(0, 10, 40))
    np.savez(tmp_path / "c.npz", x=rng.random((10, 64)).astype(np.float32), y=rng.integers(0, 10, 10))
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Linear(64, 10))\n"
    )
    settings = Settings(model=f"{tmp_path}/net.py:build", data=f"{tmp_path}/d.npz", calibration=f"{tmp_path}/c.npz",
                        root=tmp_path)  # fmt: skip
    (plain,) = subjects(settings, 4)
    wanted = [n for n in range(40) if n not in plain.numbers][:3]
    (found,) = subjects(settings, 4, wanted)
    assert set(wanted) < set(found.numbers.tolist())
    assert len(found.numbers) == 4
    (more,) = subjects(settings, 2, wanted)
    assert more.numbers.tolist() == wanted


def test_a_samples_count_does_not_hang_on_which_others_are_drawn(tmp_path):
    """Poisson input: sample 31 costs what it costs among all, alone in a draw with a gap, and by a log's wish."""
    from snnverify.config import merge, read_config
    from snnverify.pipeline import energy as work

    settings = merge({"model": "digits_mlp", "encoding": "poisson", "seed": 3}, read_config())

    def costs(samples, numbers):
        log = Log(np.array(numbers), np.zeros(len(numbers), int), np.ones(len(numbers)), np.ones(len(numbers)))
        (e,) = work.assess_energy(settings, 4, samples, None, log=log)
        at = work.places(e.subject.numbers, log)
        return {k: v[at].tolist() for k, v in e.snn.per_sample(Convention()).items()}

    assert costs(40, [3, 31]) == costs(2, [3, 31])
    assert costs(40, [3, 31])["synop"][0] != costs(40, [3, 31])["synop"][1]


POOLED = """
import torch
from torch import nn

def build():
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        net[0].weight[:] = 1
        net[4].weight[:] = torch.tensor([[1.0], [-1.0]])
        net[4].bias[:] = 0
    return net
"""


def test_what_a_gate_hands_on_hops_too_through_the_whole_job(tmp_path, capsys):
    """Inputs 1, 1/2, 1/4, 0 in thresholds, from half of one, make floor(z 4 + 1/2) = 4, 2, 1, 0 spikes. Each hops to the
    gate's core, the next in the row, and the gate hands on the busiest unit's 4, which hop to the core of the read-out."""
    (tmp_path / "net.py").write_text(POOLED)
    x = np.array([[[[1, 0.5], [0.25, 0]]]] * 2, np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.zeros(2, int))
    (tmp_path / "t.toml").write_text(
        '[t]\ntitle = "t"\n[t.limits]\n[t.mesh]\ncolumns = 3\nrows = 1\ncores = 1\nsource = "s"\ngrade = "user"\n'
    )
    command = ["energy", f"{tmp_path}/net.py:build", "--data", f"{tmp_path}/d.npz", "--calibration", f"{tmp_path}/d.npz",
               "--mode", "max", "--maxpool", "gate", "-T", "4", "--table", "loihi", "--hops", "t", "--targets",
               f"{tmp_path}/t.toml", "--json", f"{tmp_path}/a.json"]  # fmt: skip
    assert main(command) == 0
    (tables,) = (
        t for name, t in json.loads((tmp_path / "a.json").read_text())["models"].items() if name == "net.build"
    )
    rows = next(rows for title, rows in tables.items() if title.startswith("Operations of 2 samples"))
    hops = {r["layer"]: (r["packets"], r["hops E-W"], r["hops N-S"]) for r in rows}
    assert sorted(hops.pop("all")) == [0, 22, 22]
    assert sorted(h for h in hops.values() if any(h)) == [(8, 8, 0), (14, 14, 0)]
