"""Board logs and the host's meters beside an estimate: what holds, what fails, and what nobody can tell."""

import json
import math

import numpy as np
import pytest

from snnverify.cli import main
from snnverify.errors import DataError
from snnverify.hardware.measured import Log, compare, meters, read_log

PRICED = """
version = "7"
[[table]]
name = "board"
platform = "ours"
grade = "measured"
source = "bench notes"
scope = "all"
pJ = { synop = 2, update = 0, spike = 0, mac = 2 }
"""


def board(tmp_path, *lines, head="sample,prediction,energy_uJ,latency_us"):
    file = tmp_path / "board.csv"
    file.write_text("\n".join([head, *lines]) + "\n")
    return file


def test_a_log_is_read_in_its_units(tmp_path):
    log = read_log(board(tmp_path, "0,3,1.5,200", "4,1,2.5,300"))
    assert (log.sample.tolist(), log.prediction.tolist()) == ([0, 4], [3, 1])
    np.testing.assert_allclose(log.energy, [1.5e-6, 2.5e-6])
    np.testing.assert_allclose(log.latency, [2e-4, 3e-4])


@pytest.mark.parametrize(
    ("head", "line", "said"),
    [
        ("sample,prediction,energy_uJ,latency_us", "0,3,nan,1", "line 2: energy_uJ = 'nan'"),
        ("sample,prediction,energy_uJ,latency_us", "0,3,0,1", "give a finite number > 0"),
        ("sample,prediction,energy_uJ,latency_us", "0,x,1,1", "prediction = 'x': give an integer"),
        ("sample,prediction,energy_uJ,latency_us", "0,3,1", "3 fields, the heading 4"),
        ("sample,prediction,energy_kJ,latency_us", "0,3,1,1", "'energy_kJ' is unknown.*did you mean"),
        ("sample,prediction,latency_us", "0,3,1", "0 columns of energy"),
        ("sample,prediction,energy_uJ,latency_us", "", "holds no sample"),
    ],
)
def test_a_bad_log_is_told_in_one_line(tmp_path, head, line, said):
    with pytest.raises(DataError, match=said):
        read_log(board(tmp_path, line, head=head))


def test_a_sample_stands_once(tmp_path):
    with pytest.raises(DataError, match="sample 0 stands there 2 times"):
        read_log(board(tmp_path, "0,3,1,1", "0,3,1,1"))


def test_a_comparison_by_hand():
    log = Log(np.arange(4), np.zeros(4, int), np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 1.0, 3.0, 2.0]))
    c = compare(log, np.array([1.0, 2.0, 3.0, 4.0]) / 2, np.array([1.0, 2.0, 3.0, 4.0]) / 2, 0.1)
    assert (c.measured, c.estimated, c.bias, c.spread) == (2.5, 1.25, 1.0, 0.0)
    assert c.correlation == pytest.approx(1)
    assert (c.p50, c.p99) == (2.0, 4.0)
    # Student's t of 3 degrees of freedom at 97.5 % is 3.182446 (any table); the standard deviation is sqrt(5 / 3)
    assert c.high - 2.5 == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-6)


@pytest.mark.parametrize(("ends", "said"), [((0.9, 1.1), "PASS"), ((2.0, 3.0), "FAIL"), ((1.0, 1.0), "INCONCLUSIVE")])
def test_an_estimate_holds_where_the_whole_interval_lies_in_its_range(ends, said):
    log = Log(np.arange(8), np.zeros(8, int), np.tile([0.99, 1.01], 4), np.ones(8))  # mean 1, interval about +-0.009
    low, high = (np.full(8, end) for end in ends)
    assert compare(log, low, high, 0.001).holds == said


@pytest.mark.parametrize(("ends", "said"), [
    ((0.9, 1.1), "INCONCLUSIVE"),  # what is missing may cost anything
    ((0.1, 0.2), "INCONCLUSIVE"),  # measured above: it may be what is missing
    ((2.0, 3.0), "FAIL"),  # measured below what the rest alone costs
    ((1.0, 1.0), "INCONCLUSIVE"),
])  # fmt: skip
def test_an_estimate_without_all_prices_is_a_lower_bound(ends, said):
    log = Log(np.arange(8), np.zeros(8, int), np.tile([0.99, 1.01], 4), np.ones(8))
    low, high = (np.full(8, end) for end in ends)
    found = compare(log, low, high, 0.2, {"mac": 7})
    assert (found.holds, found.unpriced) == (said, {"mac": 7})


def test_two_lines_at_least_are_asked_for_when_the_log_is_read(tmp_path):
    with pytest.raises(DataError, match="1 sample; at least 2"):
        read_log(board(tmp_path, "0,3,1,1"))


def test_a_gpu_that_idles_is_measured_and_not_judged(monkeypatch, capsys):
    joules = iter(range(10**6))
    for found, code in (({"NVML 0": lambda: float(next(joules))}, 2), ({"RAPL 0": lambda: float(next(joules))}, 3)):
        monkeypatch.setattr("snnverify.hardware.measured.meters", lambda found=found: (found, []))
        monkeypatch.setattr("snnverify.hardware.measured.on_host", lambda work, n, meter: Log(
            np.arange(n), np.array([work(i) for i in range(n)]), np.linspace(1, 2, n), np.ones(n)))  # fmt: skip
        command = ["energy", "digits_mlp", "-T", "4", "--samples", "4", "--table", "cmos45-fp32", "--measure-host"]
        assert main([*command, "--tolerance", "20"]) == code
        assert ("GPUs, which idle" in capsys.readouterr().err) == (code == 2)
        assert main(command) == 0
        assert ("NVML 0, idle" in capsys.readouterr().out) == (code == 2)


def test_what_the_host_lacks_is_said():
    found, missing = meters()
    assert found or len(missing) >= 2
    assert all(":" in line for line in missing)


def test_the_command_writes_every_form_and_judges_a_log(tmp_path, capsys):
    from snnverify import zoo

    model = zoo.load_default("digits_mlp")
    lines = [f"{i},{int(model.evaluation_y[i])},1.3,200" for i in range(24)]
    lines[0] = lines[0].replace("1.3", "1.31")
    out = {form: tmp_path / f"out.{form}" for form in ("json", "csv", "markdown")}
    options = [part for form, file in out.items() for part in (f"--{form}", str(file))]
    common = ["energy", "digits_mlp", "-T", "8", "--samples", "24", "--measured", str(board(tmp_path, *lines))]
    (tmp_path / "own.toml").write_text(PRICED)
    own = [*common, "--energy-table", str(tmp_path / "own.toml"), "--table", "board", "--max-drop", "50"]
    assert main([*own, "--tolerance", "1"]) == 1  # T = 8 costs far less than 1.3 uJ
    assert "verdict: FAIL digits_mlp: estimate board holds within 1 %\n" in capsys.readouterr().out
    common += ["--table", "loihi"]
    assert main([*common, *options, "--tolerance", "1", "--max-drop", "50"]) == 3  # its analog input has no price
    said = capsys.readouterr().out
    assert "holds within 1 %: the estimate is a lower bound, not priced: mac " in said
    assert "verdict: PASS digits_mlp: accuracy" in said
    document = json.loads(out["json"].read_text())
    assert document["provenance"]["energy tables"].startswith("loihi 1")
    assert "digits_mlp" in document["models"]
    assert out["csv"].read_text().startswith("model,table,row,column,value\n")
    assert "### Totals by convention" in out["markdown"].read_text()


def test_a_log_is_held_to_the_model_before_anything_is_counted(tmp_path, capsys, monkeypatch):
    from snnverify.pipeline import energy as work

    monkeypatch.setattr(work, "count", lambda *a: pytest.fail("it was counted"))
    for lines, said in ((("0,3,1,1", "99999,3,1,1"), "sample 99999 is none of the evaluation samples"),
                        (("0,3,1,1", "1,77,1,1"), "prediction = 77: the model has 10 outputs")):  # fmt: skip
        options = ["--table", "loihi", "--samples", "24", "--measured", str(board(tmp_path, *lines))]
        assert main(["energy", "digits_mlp", *options]) == 2
        assert said in capsys.readouterr().err
