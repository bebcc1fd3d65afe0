"""Counts by hand, tables of energies, board logs, and the command."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest

from snnverify.activation import Neuron
from snnverify.cli import main
from snnverify.errors import ConfigError, DataError
from snnverify.hardware.counts import Convention, count, joined, static_synops
from snnverify.hardware.energy import estimate, quantised_mac, read, tables
from snnverify.hardware.measured import Log, compare, meters, read_log
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool
from snnverify.trace import Case

OWN = """
version = "7"
[[table]]
name = "board"
platform = "ours"
grade = "measured"
source = "bench notes"
scope = "all"
pJ = { synop = 2, update = [1, 1.5] }
"""


def relay(*layers, x, steps, **options):
    """Network whose first layer spikes wherever the input is 1."""
    shape = x.shape[1:]
    first = Layer("relay", (Branch(Conv(np.ones((1, 1, 1, 1)))),), Neuron())
    return Case(Network(shape, (first, *layers)), x, steps, **options)


def test_a_corner_has_four_connections_an_edge_six_and_the_middle_nine():
    # one spike in each pixel of 3 x 3, a kernel of 3 x 3 with padding 1: 4 corners, 4 edges, 1 middle
    conv = Layer("conv", (Branch(Conv(np.ones((1, 1, 3, 3)), padding=((1, 1), (1, 1))), "relay"),))
    case = relay(conv, x=np.ones((1, 1, 3, 3)), steps=2)
    found = count(case).layers
    assert found["conv"]["synops_every"].tolist() == [2 * (4 * 4 + 4 * 6 + 9)]
    assert found["relay"]["constant_every"].tolist() == [9]
    assert found["relay"]["updates"].tolist() == [18]


def test_what_an_average_pooling_hands_on_is_analog():
    pool = Layer("pool", (Branch(Pool("average", (2, 2)), "relay"),))
    flat = Layer("flat", (Branch(Flatten(), "pool"),))
    out = Layer("out", (Branch(Dense(np.array([[1.0], [0.0], [2.0]])), "flat"),))
    x = np.stack([np.ones((1, 2, 2)), np.zeros((1, 2, 2))])
    counts = count(relay(pool, flat, out, x=x, steps=5))
    assert counts.layers["pool"]["synops_every"].tolist() == [20, 0]
    assert counts.layers["flat"]["synops_every"].tolist() == [0, 0]
    assert counts.layers["out"]["macs_every"].tolist() == [15, 15]  # paid whether or not the value is 0
    assert counts.layers["out"]["macs_nonzero"].tolist() == [10, 0]
    assert counts.layers["out"]["synops_every"].tolist() == [0, 0]


def test_a_constant_input_is_paid_once_or_in_each_step():
    counts = count(relay(x=np.ones((3, 1, 1, 2)), steps=4))
    assert counts.total(Convention("every", "each step"))["mac"] == 3 * 2 * 4
    assert counts.total(Convention("every", "once"))["mac"] == 3 * 2


def test_an_input_of_spikes_is_accumulated_and_one_of_fractions_multiplied():
    x = np.array([[[1.0, 0.0]], [[1.0, 1.0]]])  # [T, N, 2]
    network = Network((2,), (Layer("out", (Branch(Dense(np.ones((3, 2)))),)),))
    binary = count(Case(network, x, 2, "spikes")).layers["out"]
    graded = count(Case(network, x / 2, 2, "spikes")).layers["out"]
    assert (binary["synops_every"].item(), binary["macs_every"].item()) == (9, 0)
    assert (graded["synops_every"].item(), graded["macs_every"].item(), graded["macs_nonzero"].item()) == (0, 12, 9)


def test_hops_are_those_of_the_mapping():
    case = relay(x=np.ones((1, 1, 1, 2)), steps=3)
    assert count(case, routes={"relay": {"hops": 2}}).layers["relay"]["hops"].item() == 12
    told = count(case, routes={"relay": {"packets": 4, "hops_ew": np.array([[[0, 5]]]), "hops_ns": 1}})
    assert {k: n for k, n in told.total(Convention()).items() if k[0] in "sh"} == {
        "synop": 0, "spike": 24, "hop": 0, "hop_ew": 15, "hop_ns": 6}  # fmt: skip
    assert count(case).total(Convention())["spike"] == 6  # without a mapping a packet for each
    with pytest.raises(ConfigError, match=r"routes of 'relai'.*did you mean 'relay'"):
        count(case, routes={"relai": {"hops": 1}})
    with pytest.raises(ConfigError, match=r"routes of 'relay': hop is none of .*did you mean 'hops'"):
        count(case, routes={"relay": {"hop": 1}})
    with pytest.raises(DataError, match="hops of 'relay': an integer >= 0"):
        count(case, routes={"relay": {"hops": -1}})


def test_samples_are_counted_apart_and_join():
    x = np.ones((2, 1, 1, 2))
    whole = count(relay(x=x, steps=2))
    parts = joined([count(relay(x=x[:1], steps=2)), count(relay(x=x[1:], steps=2))])
    assert whole == parts


def test_the_static_estimate_misses_where_rates_hang_on_the_place():
    conv = Layer("conv", (Branch(Conv(np.ones((1, 1, 3, 3)), padding=((1, 1), (1, 1))), "relay"),))
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1  # the middle alone: 9 connections, where the mean unit has 49 / 9
    case = relay(conv, x=x, steps=1)
    counts = count(case)
    assert counts.layers["conv"]["synops_every"].item() == 9
    assert static_synops(case.network, counts)["conv"] == Fraction(49, 9)


def test_a_file_brings_a_table_and_a_second_model_goes_beside_it(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    chosen = tables((), file)
    assert [t.name for t in chosen] == ["board", "cmos45-fp32", "cmos45-fp32-cache"]
    found = estimate({"synop": 10, "update": 4, "mac": 3}, chosen[0])
    assert (found.low, found.high) == (24, 26)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("synop = 2", "synops = 2", "synops is not a key.*did you mean 'synop'"),
        ("synop = 2", "synop = -1" + 400 * "0", r"more than 1e\+18 pJ"),
        ("synop = 2", "synop = -2", "none below 0"),
        ("synop = 2", "synop = nan", "cannot be read|a number of pJ"),
        ("[1, 1.5]", "[2, 1]", "lowest to highest"),
        ('grade = "measured"', 'grade = "sure"', "grade = 'sure': one of measured"),
        ('source = "bench notes"', "", "source = None: a text"),
        ('version = "7"', "", "version = None"),
        ('scope = "all"', 'scop = "all"', "scop is not a key.*did you mean 'scope'"),
        ("[[table]]", "[table", "cannot be read"),
        ("synop = 2", "hop_ew = 2", "pJ.hop_ew: give hop_ew and hop_ns together, or hop alone for both"),
        ("synop = 2", "hop = 2, hop_ew = 2, hop_ns = 2", "pJ.hop_ew: give hop_ew and hop_ns together"),
    ],
)
def test_a_bad_table_is_told_in_one_line(tmp_path, old, new, said):
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace(old, new))
    with pytest.raises(ConfigError, match=said) as e:
        read(file)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["loihi2", "Loihi 2", "akida", "AKD1500"])
def test_a_platform_without_a_source_is_refused(name):
    with pytest.raises(ConfigError, match=r"published no energy per operation.*--energy-table FILE"):
        tables([name])


def test_eight_bits_are_the_table_and_32_nearly_horowitz():
    (int8,) = (t for t in tables() if t.name == "cmos45-int8")
    assert quantised_mac(int8, 8).low == quantised_mac(int8, 8).high == Fraction(23, 100)
    # his 32-bit multiplier is 3.1 pJ: the product of widths says 3.2
    assert float(quantised_mac(int8, 32).high - Fraction(3, 100)) == pytest.approx(3.1, rel=0.04)


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


def test_a_target_without_a_mesh_is_refused_before_anything_is_read(monkeypatch, capsys):
    from snnverify.pipeline import energy as work

    monkeypatch.setattr(work, "subjects", lambda *a: pytest.fail("a model was read"))
    assert main(["energy", "digits_mlp", "--hops", "loihi2"]) == 2
    assert "its mesh is not known" in capsys.readouterr().err


def test_the_static_estimate_is_priced_as_the_counted_one(tmp_path):
    """SynOps of dense layers are mean rate x fan-out x T; those of convolutions are not, and the row says so."""
    out = tmp_path / "e.json"
    price = next(t for t in tables(["cmos45-fp32"]) if t.name == "cmos45-fp32").pJ["synop"]
    assert price.low == price.high
    common = ["-T", "4", "--samples", "8", "--table", "cmos45-fp32", "--json", str(out)]
    for name, more, dense in (("digits_mlp", [], True), ("digits_cnn", ["--pool-neurons"], False)):
        assert main(["energy", name, *common, *more]) == 0
        found = json.loads(out.read_text())["models"][name]
        rows = next(v for k, v in found.items() if k.startswith("Energy per inference"))
        counted, static = (float(rows[0][key]) for key in ("SNN nJ", "static nJ"))
        total = next(v for k, v in found.items() if k.startswith("Operations of"))[-1]
        assert (total["static"] == total["SynOps"]) == dense
        due = (total["static"] - total["SynOps"]) / 8 * float(price.low) * 1e-3
        assert static - counted == pytest.approx(due, abs=2e-3 * counted)  # four digits are printed of each


def test_a_pooling_with_neurons_is_counted_in_its_two_layers(tmp_path):
    out = tmp_path / "e.json"
    found = {}
    for more in ([], ["--pool-neurons"]):
        assert main(["energy", "digits_cnn", "-T", "4", "--samples", "8", *more, "--json", str(out)]) == 0
        rows = next(v for k, v in json.loads(out.read_text())["models"]["digits_cnn"].items() if "Operations" in k)
        found[len(more)] = rows[-1]
    assert found[0]["ANN MACs"] == found[1]["ANN MACs"]  # the trained model is the same
    assert found[1]["updates"] > found[0]["updates"]


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
    (tmp_path / "own.toml").write_text(OWN.replace("update = [1, 1.5]", "update = 0, spike = 0, mac = 2"))
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


BOARD = """version = "1"
[[table]]
name = "board"
platform = "a board"
grade = "measured"
source = "notes"
scope = "core supply"
pJ = { synop = 1.1 }
"""


@pytest.mark.parametrize(("text", "said"), [
    (BOARD.replace("1.1", "inf"), "table 1: pJ.synop = 'inf': a number of pJ"),
    (BOARD.replace("1.1", "nan"), "table 1: pJ.synop = 'nan': a number of pJ"),
    (BOARD.replace('"board"', '"loihi"'), "name = 'loihi': a shipped table has that name"),
    (BOARD + BOARD.partition("\n")[2], "table 2: name = 'board': table 1 has it"),
])  # fmt: skip
def test_a_table_of_the_users_own_is_held_to_its_form(tmp_path, capsys, text, said):
    (tmp_path / "t.toml").write_text(text)
    assert main(["energy", "digits_mlp", "--energy-table", str(tmp_path / "t.toml")]) == 2
    assert said in capsys.readouterr().err


def test_a_log_is_held_to_the_model_before_anything_is_counted(tmp_path, capsys, monkeypatch):
    from snnverify.pipeline import energy as work

    monkeypatch.setattr(work, "count", lambda *a: pytest.fail("it was counted"))
    for lines, said in ((("0,3,1,1", "99999,3,1,1"), "sample 99999 is none of the evaluation samples"),
                        (("0,3,1,1", "1,77,1,1"), "prediction = 77: the model has 10 outputs")):  # fmt: skip
        options = ["--table", "loihi", "--samples", "24", "--measured", str(board(tmp_path, *lines))]
        assert main(["energy", "digits_mlp", *options]) == 2
        assert said in capsys.readouterr().err


def test_inputs_are_counted_as_the_networks_take_them():
    """With a map to [0, 1] a signed sample costs what its mapped one does: of zeros none is a multiply-add."""
    from dataclasses import replace

    from snnverify.config import merge, read_config
    from snnverify.pipeline import energy as work
    from snnverify.pipeline.models import subjects

    (subject,) = subjects(merge({"model": "digits_mlp"}, read_config()), 8)
    signed = replace(subject, x=2 * subject.x - 1, calibration=2 * subject.calibration - 1)
    found = {}
    for given, asked in ((subject, {}), (signed, {"unit_range": True})):
        settings = merge({"model": "digits_mlp", **asked}, read_config())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(work, "subjects", lambda *a, given=given: [given])
            (e,) = work.assess_energy(settings, 4, 8, None)
        found[len(found)] = e.x
    low, high = subject.calibration.min((0, 2, 3)), subject.calibration.max((0, 2, 3))
    assert np.allclose(found[1], (found[0] - low) / (high - low), atol=1e-6)


def test_the_command_refuses_in_one_line(capsys):
    for options, said in (
        (["--table", "loihi2"], "no energy per operation of Loihi 2"),
        (["--tolerance", "5"], "there is no measurement"),
        (["--hops=-1"], "--hops = -1: a whole number from 0 to 10,000, or a target of `snnverify map`"),
        (["--hops", "10001"], "--hops = 10001: a whole number from 0 to 10,000"),
        (["--hops", "loihy1"], "no such target here, and --targets FILE brings others; did you mean 'loihi1'"),
        (["--hops", "loihi2"], "its mesh is not known; [loihi2.mesh] in --targets FILE tells it"),
        (["--hops", "3", "--targets", "t.toml"], "--targets: of which target? --hops NAME"),
        (["--precision", "int4"], "--precision: of which target? --hops NAME"),
        (["--hops", "2", "--precision", "int4"], "--precision: of which target? --hops NAME"),
    ):
        assert main(["energy", "digits_mlp", *options]) == 2
        assert said in capsys.readouterr().err
