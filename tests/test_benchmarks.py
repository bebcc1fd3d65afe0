"""The benchmark is right before it is fast: its loop, its judges, its dense bound, its table."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import accelerator, loop, machine, measure, nets, scaling, table, where
from benchmarks.__main__ import main
from benchmarks.judge import Agreement, agreement, judged
from snnverify import reference
from snnverify.errors import DataError, Unsupported
from snnverify.network import Branch, Conv, Cuba, Dense, Flatten, Layer, Network, Neuron, Pool, Scale
from snnverify.trace import Case

RNG = np.random.default_rng(5)
SPIKING = Neuron(theta=np.array([1.0, 0.5]), amplitude=np.array([1.0, 2.0]), v_init=0.25)


def weights(*shape):
    return np.rint(RNG.normal(0, 8, shape)) / 16


def little():
    """Convolution with stride and bias, a skip, pooling with a rest, flattening and an analog read-out."""
    network = Network((1, 7, 7), (
        Layer("a", (Branch(Conv(weights(2, 1, 3, 3), np.array([0.25, -0.125]), padding=((1, 1), (1, 1)))),), SPIKING),
        Layer("b", (Branch(Conv(weights(2, 2, 3, 3), padding=((1, 1), (1, 1))), "a"), Branch(Scale(0.5), "a")), SPIKING),
        Layer("pool", (Branch(Pool("average", (2, 2)), "b"),)),
        Layer("c", (Branch(Conv(weights(2, 2, 2, 3), stride=(1, 2)), "pool"),), SPIKING),
        Layer("flat", (Branch(Flatten(), "c"),)),
        Layer("out", (Branch(Dense(weights(3, 4), np.array([0.5, 0.0, -0.5])), "flat"),)),
    ))  # fmt: skip
    return Case(network, np.rint(16 * RNG.random((2, 1, 7, 7))) / 16, 6, kind="exact")


def integers():
    """Two layers of Loihi's neurons: decays, exponents, a bias, and their delays."""
    first = Cuba(threshold=20, current_decay=1024, voltage_decay=300, bias=np.array([3, -2, 0]), weight_exponent=-1)
    second = Cuba(threshold=9, current_decay=4096, voltage_decay=128, bias=1, bias_exponent=5, delay=2)
    network = Network((4,), (
        Layer("a", (Branch(Dense(np.rint(RNG.normal(0, 20, (3, 4))))),), first),
        Layer("b", (Branch(Dense(np.rint(RNG.normal(4, 20, (5, 3)))), "a"),), second),
    ))  # fmt: skip
    return Case(network, (RNG.random((30, 2, 4)) < 0.5).astype(float), 30, "spikes", kind="integer")


@pytest.mark.parametrize("make", [little, integers])
def test_the_loop_is_the_reference(make):
    case = make()
    ours, exactly = loop.run(case), reference.run(case)
    assert sum(int(s.sum()) for s in exactly.spikes.values()) > 50
    for name, s in exactly.spikes.items():
        assert 0 < s.mean() < 1
        np.testing.assert_array_equal(ours.spikes[name], s, name)
    np.testing.assert_array_equal(ours.readout, exactly.readout)


@pytest.mark.parametrize("make", [little, integers])
def test_the_judge_notices_a_wrong_unit(make):
    case = make()
    trace = loop.run(case)
    asked, wrong = judged(case, trace, np.random.default_rng(0))
    assert asked >= 8 * case.steps
    assert wrong == 0
    last = case.network.spiking[-1].name  # nothing that is judged reads its spikes
    flipped = replace(trace, spikes={**trace.spikes, last: 1 - trace.spikes[last]})
    assert judged(case, flipped, np.random.default_rng(0))[1] > 0


def test_the_loop_refuses_what_it_does_not_have():
    network = Network((2,), (Layer("a", (Branch(Scale(1.0)),), Neuron(leak=0.5)),))
    with pytest.raises(Unsupported, match="obvious loop"):
        loop.run(Case(network, np.ones((1, 2)), 2))


def test_a_difference_counts_as_rounding_only_inside_the_bound():
    weight = np.array([[0.1, 0.2]])
    network = Network((2,), (Layer("a", (Branch(Dense(weight)),), Neuron()),))
    case = Case(network, np.array([[1.0, 1.0]]), 10, dtype="float32")
    trace = loop.run(case)  # 0.1 + 0.2 over ten steps: three spikes, the last by a potential that is 1 but for rounding
    assert agreement(case, trace, trace.spikes) == Agreement(0, 10)
    spikes = trace.spikes["a"]
    late, early = spikes.copy(), spikes.copy()
    late[9] ^= 1
    early[0] ^= 1
    assert agreement(case, trace, {"a": late}) == Agreement(1, 10, rounding=True)
    assert agreement(case, trace, {"a": early}) == Agreement(1, 10, rounding=False)
    exact = replace(case, kind="exact")
    assert not agreement(exact, trace, {"a": late}).counts


def test_multiply_adds_by_hand():
    # 64 samples: the first layer once, the others in each of 32 steps
    assert machine.multiply_adds(nets.mlp().case) == 64 * (784 * 512 + 32 * (512 * 256 + 256 * 10))
    # 16 samples, 3x3 kernels: 28x28 from 1 channel once; 14x14 and 7x7 from 32 channels in each of 32 steps
    per_step = (14 * 14 + 7 * 7) * 32 * 32 * 9
    assert machine.multiply_adds(nets.cnn().case) == 16 * (28 * 28 * 32 * 9 + 32 * per_step)
    case = integers()  # given spikes: no layer is constant
    assert machine.multiply_adds(case) == 2 * 30 * (4 * 3 + 3 * 5)
    assert machine.bound(case, 1e6) == pytest.approx(2 * 2 * 30 * 27 / 1e6)


def test_sums_that_float32_does_not_hold_are_refused():
    case = nets.mlp(True).case
    with pytest.raises(DataError, match="fewer steps"):
        nets.Subject("MLP", replace(case, steps=100_000))


def test_short_form_on_our_simulator(tmp_path, capsys):
    file, picture = tmp_path / "b.csv", tmp_path / "b.png"
    command = ["--short", "--nets", "mlp", "digits-dyadic", "--simulators", "snnverify", "--csv", str(file)]
    assert main([*command, "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "GFLOP/s" in shown
    assert "firing rates: fc0" in shown
    rows = list(csv.DictReader(file.open()))
    assert tuple(rows[0]) == table.COLUMNS
    assert {r["net"] for r in rows} == {"mlp", "digits-dyadic"}
    assert {r["spikes_equal"] for r in rows} == {"yes"}
    assert "numpy" in {r["engine"] for r in rows}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_wrong_spikes_of_ours_are_an_error(monkeypatch, capsys):
    case = nets.mlp(True).case
    trace = loop.run(case)
    name = case.network.spiking[0].name
    flipped = trace.spikes[name].copy()
    flipped.flat[0] ^= 1
    wrong = replace(trace, spikes={**trace.spikes, name: flipped})
    ours = [measure.Simulator(measure.OURS, measure.NUMPY)]

    def compare(*_):
        measure.prepare(measure.Peers(), ours, case, wrong, 1, print, lambda name: None)

    monkeypatch.setattr("benchmarks.__main__.compare", compare)
    assert main([]) == 1
    assert "numpy: 1 of" in capsys.readouterr().err


def test_form_for_an_accelerator_gives_the_loops_spikes(capsys):
    case = replace(little(), dtype="float32")
    device = torch.device("cpu")
    trains = accelerator.form(case, device)(torch.tensor(case.x, dtype=torch.float32))
    for name, s in loop.run(case).spikes.items():
        np.testing.assert_array_equal(trains[name].numpy(), s, name)
    with pytest.raises(Unsupported, match="integer case"):
        accelerator.form(integers(), device)
    assert accelerator.main(["--short", "--device", "cpu", "--nets", "mlp", "digits"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("torch, layer by layer") == shown.count(" yes") == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_an_accelerator_that_is_not_there(capsys):
    assert accelerator.main(["--short"]) == 2
    assert "--device cuda" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nets", "mpl"], "did you mean 'mlp'"),
        (["--simulators", "spiking"], "--simulators spiking"),
        (["--repeats", "0"], "--repeats = 0"),
        (["--scaling", "--nets", "pilotnet"], "take another net"),
    ],
)
def test_bad_options(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_ratio_of_other_spikes_does_not_count():
    def row(simulator, ms, counts):
        return table.Row("net", simulator, "numpy", (ms,), 2.0, {"numpy": 4.0, "mkl": 1.0}, "yes", counts, 0.0, 0.0)

    found = [row("snnverify", 2.0, True), row("quick", 1.0, False), row("slow", 9.0, True)]
    assert "4.50 x as fast as slow" in table.verdict(found)
    assert "(0.50)" in table.text(found)
    assert found[0].to_dense == 2.0  # against the better peak


def test_line_through_a_curve():
    curve = scaling.Curve("net", "numpy", "T", (1.0, 2.0, 4.0), (3.0, 5.0, 9.0))
    assert curve.fit == pytest.approx((2.0, 1.0))
    assert curve.off == pytest.approx(0.0, abs=1e-9)
    bent = scaling.Curve("net", "numpy", "T", (1.0, 2.0, 4.0), (1.0, 4.0, 16.0))
    assert bent.off > 0.3


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark of memory is Linux's")
def test_memory_of_a_run():
    def told(samples, steps, record, *short):
        command = [sys.executable, "-m", "benchmarks.scaling", "mlp", str(samples), str(steps), record, *short]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        return json.loads(ran.stdout)

    neurons, mib = 512 + 256 + 10, 2.0**20
    counts, full = told(4, 8, "counts", "short"), told(4, 8, "full", "short")
    # spikes, of a byte at least, and two potentials of four: for each neuron, sample and step
    assert full["trace MiB"] - counts["trace MiB"] >= neurons * 4 * 8 * (1 + 2 * 4) / mib
    brief, long = told(64, 128, "counts"), told(64, 512, "counts")
    assert long["trace MiB"] == brief["trace MiB"]
    # constant in T: not even the further steps' spikes as bits would have room
    assert long["peak MiB"] - brief["peak MiB"] < neurons * 64 * (512 - 128) / 8 / mib
    recorded = told(256, 128, "spikes")
    assert recorded["peak MiB"] <= 2 * recorded["trace MiB"]


@pytest.mark.parametrize("path", sorted((nets.ROOT / "benchmarks" / "peers").glob("*.py")), ids=lambda p: p.name)
def test_peers_are_python_310(path):
    import ast

    ast.parse(path.read_text(), feature_version=(3, 10))


@pytest.mark.parametrize("path", sorted((nets.ROOT / "benchmarks").rglob("*.py")), ids=lambda p: p.name)
def test_a_file_can_be_read_in_one_go(path):
    assert len(path.read_text().splitlines()) <= 350


def test_every_simulator_has_its_process():
    for s in measure.SIMULATORS:
        module = "ours" if s.name == measure.OURS else s.name
        assert (nets.ROOT / "benchmarks" / "peers" / f"{module}.py").is_file()


def test_the_parts_of_a_run_are_its_layers_and_what_lies_around_them(capsys):
    found = where.parts(nets.mlp(True).case, 3)
    assert set(found) == {"fc0", "fc1", "fc2", "counting", where.CHUNK, where.CALL}
    assert all(ms > 0 for part, ms in found.items() if part != where.CALL)
    assert main(["--profile", "--short", "--nets", "mlp"]) == 0
    assert "around layers" in capsys.readouterr().out
