"""The tutorial's pictures and modes, in the report and in the example."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from report_runs import assessment, run_of

from snnverify import convert, zoo
from snnverify.activation import Neuron
from snnverify.convert.curves import MODES, Curve, side_by_side
from snnverify.report import looks, plots, render_text, tables, write
from snnverify.report.present import view
from snnverify.report.words import explain

pytestmark = pytest.mark.usefixtures("one_thread")
EXAMPLE = Path(__file__).parents[1] / "examples" / "mnist_tutorial.py"
MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"


def with_curves(*curves):
    """The report's own conversion gets 356 of 400 right at T = 1 (390 - 40 + 4 = 354) and 390 at T = 4."""
    a = assessment()
    return type(a)(a.model, a.findings, a.required, a.verdict, a.facts, curves)


def modes(steps=200):
    """Made-up curves: the k-th mode gets 10 k samples of 400 more right at T than at 0, up to 390."""
    every = tuple(range(1, steps + 1))
    return [Curve("mode", m, every, tuple(min(390, 10 * k * t) for t in every), 400) for k, m in enumerate(MODES, 1)]


def test_the_raster_is_that_of_the_closed_form():
    # IF from rest: after t steps of input x it has fired floor(v0 + x t) times, at most one a step
    x = np.linspace(-0.25, 1.25, 7)
    _, spikes = plots.responses(Neuron(v_init=0.5), x)
    assert spikes.shape == (128, 7)
    t = np.arange(1, 129)[:, None]
    assert np.array_equal(spikes.cumsum(0), np.clip(np.floor(0.5 + x * t), 0, t))


def test_input_and_raster_share_their_neurons():
    with looks.styled():
        figure = plots.raster(assessment(), {})
    left, right = figure.axes
    x = left.lines[0].get_xdata()
    assert (x[0], x[-1], len(x)) == (-0.2, 1.2, 36)
    marks = right.collections
    assert len(marks) == 36
    fired = [len(c.get_positions()) for c in marks]
    assert fired == sorted(fired)
    assert fired[0] == 0
    assert fired[-1] == 128
    assert left.get_ylim() == right.get_ylim()


def test_table_and_plot_of_modes():
    a = with_curves(*modes())
    frames = tables(run_of(a))
    frame = frames["curves"]
    assert len(frame) == 6 * 200 + 2
    first = frame[(frame["name"] == "1/2") & (frame["T"] == 4)].iloc[0]
    assert (first["right"], first["n"], first["percent"]) == (120, 400, 30.0)
    shown = view("curves", frames, "net")
    assert shown.headings == ["conversion", *(f"T = {t}" for t in (1, 4, 8, 16, 32, 64, 128, 200))]
    rows = {row[0]: row[1:] for row in shown.rows}
    assert list(rows) == ["this report", *MODES]
    assert rows["max"] == ("2.50", "10.00", "20.00", "40.00", "80.00", "97.50", "97.50", "97.50")
    assert rows["this report"][0] == "88.50"
    assert rows["this report"][-1] == "–"
    with looks.styled():
        figure = plots.curves(a, frames)
    lines = figure.axes[0].lines
    assert [line.get_label() for line in lines] == [*MODES, "ANN"]
    assert all(len(line.get_xdata()) == 200 for line in lines[:-1])
    assert plots.curves(assessment(), tables(run_of(assessment()))) is None


def test_every_face_shows_the_modes_and_only_where_they_were_asked_for(tmp_path):
    for name, a, wanted in (("with", with_curves(*modes(20)), True), ("without", assessment(), False)):
        run = run_of(a)
        folder = write(run, tmp_path / name)
        faces = [(folder / "index.html").read_text(), (folder / "report.md").read_text(), render_text(run)]
        assert [("Side by side" in face) for face in faces] == [wanted] * 3
        assert bool(list(folder.glob("plots/*-curves.png"))) is wanted
        assert len(list(folder.glob("plots/*-raster.png"))) == 1
        assert len((folder / "tables" / "curves.csv").read_text().splitlines()) == (1 + 6 * 20 + 2 if wanted else 1)


def test_what_a_gate_cost_is_said_with_numbers():
    # own accuracies 88.5 % at T = 1 and 97.5 % at T = 4
    ideal = Curve("maxpool", "ideal max", (1, 4), (374, 392), 400)
    without = Curve("pool_neurons", "without pool neurons", (1, 4), (354, 386), 400)
    said = explain(with_curves(ideal, without)).meaning
    assert "gate in the place of max pooling costs 0.50 points at T = 4, and costs 5.00 points at T = 1" in said
    assert "neuron after each average pooling gains 1.00 points at T = 4, against the same network without" in said


def test_modes_are_followed_over_every_step():
    m = zoo.load_default("digits_mlp")
    x, y = m.evaluation_x[:40], m.evaluation_y[:40]

    def make(mode):
        return convert(m.module, m.train_x[:100], mode=mode)

    found = side_by_side(make, make("max"), x, y, (4,), modes=True)
    assert [c.name for c in found] == list(MODES)
    assert all(c.steps == tuple(range(1, 201)) and len(c.right) == 200 for c in found)
    third = make("1/3")
    for T in (1, 7, 200):
        assert found[3].right[T - 1] == int((third.classify(x, T) == y).sum())


def test_report_of_modes_on_the_command_line(cli, tmp_path, unpainted):
    done = cli("report", "digits_mlp", "--quick", "--modes", "--out", tmp_path / "r")
    assert done.code == 0
    assert "1/5" in done.out
    curves = (tmp_path / "r" / "tables" / "curves.csv").read_text().splitlines()
    assert len(curves) == 1 + 6 * 200 + 3  # and the report's own at T = 4, 8, 16


def test_the_example_prints_both_tables(capsys):
    example = runpy.run_path(str(EXAMPLE))
    module, calibration, x, y = example["subject"]("digits", None, 0, 40, 0)
    example["report"]("digits", (module, calibration[:60], x, y), None, (4, 16))
    out = capsys.readouterr().out
    assert "digits: ANN " in out
    rows = [line.split() for line in out.splitlines() if "ours" in line]
    assert [row[0] for row in rows] == [m for m in MODES for _ in range(2)]
    assert all(0 <= float(cell) <= 100 for row in rows for cell in row[-2:])


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_networks_of_the_example_convert(name):
    example = runpy.run_path(str(EXAMPLE))
    torch.manual_seed(0)
    module = example["MODELS"][name]().eval()
    x = np.random.default_rng(0).uniform(size=(4, 1, 28, 28)).astype(np.float32)
    converted = convert(module, x, mode="max", v_init="zero")
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy()
    errors = [np.abs(converted.run(x, steps) - wanted).max() for steps in (16, 256)]
    assert errors[1] < errors[0] / 4
    if name == "resnet":
        sums = [v for v in converted.snn.layers if len(v.branches) == 2]
        assert len(sums) == 3


def test_the_example_trains_on_the_idx_files_and_repeats_itself():
    assert (MNIST / "t10k-images-idx3-ubyte.gz").is_file(), "the copy of MNIST beside the checkout is needed"
    example = runpy.run_path(str(EXAMPLE))
    module, calibration, x, y = example["subject"]("cnn", str(MNIST), 1024, 100, 3)
    assert (len(calibration), x.shape, x.max()) == (1024, (100, 1, 28, 28), 1.0)
    assert not {a.tobytes() for a in calibration} & {a.tobytes() for a in x}
    with torch.no_grad():
        assert float(np.mean(module(torch.tensor(x)).argmax(1).numpy() == y)) > 0.6
    one, two = (example["trained"]("cnn", x[:64], y[:64], 1) for _ in range(2))
    assert zoo.tensor_digest(one.state_dict()) == zoo.tensor_digest(two.state_dict())
