"""Counts by hand, tables of energies, board logs, and the command."""

import json
from fractions import Fraction

import numpy as np
import pytest

from snnverify.activation import Neuron
from snnverify.cli import main
from snnverify.errors import ConfigError, DataError
from snnverify.hardware.counts import Convention, count, joined, static_synops
from snnverify.hardware.energy import estimate, quantised_mac, read, tables
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
