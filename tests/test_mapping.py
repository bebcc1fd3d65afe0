"""The mapping: numbers by hand, targets of users, refusals by name, and what the command writes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snnverify import reference
from snnverify.cli import main
from snnverify.convert import convert
from snnverify.errors import ConfigError, DataError
from snnverify.exchange import PRESETS, from_nir, read_netx
from snnverify.hardware.mapping import place
from snnverify.hardware.mesh import routes, traffic
from snnverify.hardware.targets import Limit, Mesh, Target, target
from snnverify.loihi import blockers, lava_blocks
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Neuron, Scale
from snnverify.simulate import simulate
from snnverify.trace import Case

MINE = """
[mine]
title = "a chip of mine"
[mine.limits]
cores = { value = 2, source = "my data sheet", grade = "user" }
fan_in = { value = 100, source = "my data sheet", grade = "user" }
"""


def by_hand():
    """A kernel of 2 x 2 over 3 x 3 pixels in 2 channels, flattened into 3 units."""
    conv = Layer("conv", (Branch(Conv(np.ones((2, 1, 2, 2)))),), Neuron())
    flat = Layer("flat", (Branch(Flatten(), "conv"),))
    return Network((1, 3, 3), (conv, flat, Layer("fc", (Branch(Dense(np.ones((3, 8))), "flat"),), Neuron())))


def test_numbers_are_those_by_hand():
    chip = Target("t", "t", {"units_per_core": Limit(5, "s", "user"), "fan_in": Limit(7, "s", "user")})
    placed = place(by_hand(), chip, "int8")
    conv, fc = placed.needs
    assert (conv.units, conv.stored, conv.connections, conv.fan_in, conv.fan_out) == (2 * 2 * 2, 2 * 4, 8 * 4, 4, 3)
    assert (fc.units, fc.stored, fc.connections, fc.fan_in, fc.fan_out) == (3, 24, 24, 8, 0)
    assert [(c.layer, c.stop - c.start) for c in placed.cores] == [("conv", 5), ("conv", 3), ("fc", 3)]
    assert placed.least_cores == 3  # 11 units, 5 a core
    assert [c.output_axons for c in placed.cores] == [5, 3, 0]
    assert [(v.layer, v.limit, v.value, v.most) for v in placed.violations] == [("fc", "fan_in", 8, 7)]


def test_hops_are_those_by_hand():
    """Eight units on cores 0 to 2, what they reach on core 3: two columns of routers, so over and down, down, over."""
    limits = {"units_per_core": Limit(3, "s", "user")}
    chip = Target("t", "t", limits, Mesh(2, 2, 1, "s", "user"))
    found = routes(by_hand(), place(by_hand(), chip, "int8"), chip)
    assert found["conv"]["hops_ew"].ravel().tolist() == [1, 1, 1, 0, 0, 0, 1, 1]
    assert found["conv"]["hops_ns"].ravel().tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
    assert found["conv"]["packets"].ravel().tolist() == [1] * 8
    assert not any(found["fc"][kind].any() for kind in found["fc"])
    sent = traffic(found, {"conv": np.ones((2, 2, 2, 2), int), "elsewhere": np.ones((2, 9), int)})
    assert (sent.spikes, sent.packets, sent.hops_ew, sent.hops_ns) == (16, 16, 10, 12)
    assert sent.per_spike == 22 / 16
    small = Target("t", "t", limits, Mesh(2, 1, 1, "s", "user"))
    with pytest.raises(ConfigError, match="target 't': the network takes 4 cores, its mesh has 2"):
        routes(by_hand(), place(by_hand(), small, "int8"), small)


def test_a_spike_that_stays_in_its_core_makes_no_hop_and_one_to_two_cores_two_packets():
    """A router for both cores of fc, and the relay's core at another: the packets of either unit hop there twice."""
    relay = Layer("relay", (Branch(Scale(1.0)),), Neuron())
    net = Network((2,), (relay, Layer("fc", (Branch(Dense(np.ones((4, 2))), "relay"),), Neuron())))
    chip = Target("t", "t", {"units_per_core": Limit(2, "s", "user")}, Mesh(2, 1, 2, "s", "user"))
    found = routes(net, place(net, chip, "int8"), chip)["relay"]  # cores: relay, fc at one router; fc at the next
    assert (found["packets"].tolist(), found["hops_ew"].tolist(), found["hops_ns"].tolist()) == ([2, 2], [1, 1], [0, 0])


@pytest.mark.parametrize("name", ["loihi1", "loihi2", "many-core"])
def test_every_shipped_limit_has_a_source(name):
    assert all(limit.source and limit.grade for limit in target(name).limits.values())


def test_a_target_of_ones_own(tmp_path, capsys):
    (tmp_path / "t.toml").write_text(MINE)
    assert main(["map", "digits_mlp", "--target", "mine", "--targets", str(tmp_path / "t.toml"), "-T", "4"]) == 1
    out = capsys.readouterr().out
    assert "over the limit: relu2: fan in 128, at most 100" in out
    assert "over the limit: all: cores 3, at most 2" in out
    assert "spikes of the others that changed: 0" in out


@pytest.mark.parametrize(("text", "said"), [
    (MINE.replace("fan_in", "fanin"), "no such limit"), (MINE.replace("value = 2", "value = 0"), "at least 1"),
    (MINE.replace('source = "my data sheet", ', "", 1), "source is missing"), ("title = 3\n" + MINE, "title = 3: no target"),
])  # fmt: skip
def test_a_bad_target_is_named(tmp_path, text, said):
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        target("mine", tmp_path / "t.toml")


def test_unknown_targets_and_files(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'loihi"):
        target("loihi")
    with pytest.raises(DataError, match="no such file"):
        target("mine", tmp_path / "none.toml")


def test_what_a_format_cannot_say_leaves_no_file(tmp_path, capsys):
    nir, netx = tmp_path / "a.nir", tmp_path / "a.net"
    common = ["map", "digits_mlp", "--target", "loihi1", "-T", "4", "--samples", "20", "--nir", str(nir)]
    assert main([*common, "--netx", str(netx)]) == 2
    said = capsys.readouterr().err
    for blocker, way in (("bias of relu1, relu2, fc3", "bias=False"), ("v_init of relu1, relu2", "--v-init zero"),
                         ("reset of relu1, relu2", "--reset value")):  # fmt: skip
        assert f"{blocker}: " in said
        assert way in said
    assert not list(tmp_path.iterdir())
    assert main(common) == 0
    assert nir.stat().st_size


def test_what_a_format_cannot_say_is_told_before_the_work(tmp_path, capsys, monkeypatch):
    from snnverify.pipeline import mapped as work

    monkeypatch.setattr(work, "remove_dead", lambda *a: pytest.fail("it was run"))
    command = ["map", "digits_mlp", "--target", "many-core", "--netx", str(tmp_path / "a.net")]
    assert main(command) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_blockers_are_all_told_and_where_there_is_none_the_blocks_are_made():
    rng = np.random.default_rng(0)
    good = Neuron(theta=1.0, reset="value")
    chain = (Layer("a", (Branch(Dense(rng.uniform(-1, 1, (3, 2)))),), good),
             Layer("b", (Branch(Dense(rng.uniform(-1, 1, (2, 3))), "a"),)))  # fmt: skip
    assert blockers(Network((2,), chain)) == {}
    lava_blocks(Network((2,), chain))
    worse = replace(chain[0], act=replace(good, v_init=0.5, reset="subtract"),
                    branches=(Branch(Dense(np.ones((3, 2)), np.ones(3))),))  # fmt: skip
    found = blockers(Network((2,), (worse, chain[1])))
    assert {what: names for (what, _), names in found.items()} == {"bias": ("a",), "v_init": ("a",), "reset": ("a",)}
    heavy = replace(chain[0], branches=(Branch(Dense(np.full((3, 2), 9.0))),))
    ((what, _),) = blockers(Network((2,), (heavy, chain[1])))
    assert what.startswith("a.weight: ")


def test_the_map_says_whether_the_neurons_are_the_chips(capsys):
    for chip, said in (("loihi1", True), ("loihi2", True), ("many-core", False)):
        assert main(["map", "digits_mlp", "--target", chip, "-T", "4", "--samples", "20"]) == 0
        out = capsys.readouterr().out
        assert ("neuron model: not that of the target: bias of relu1, relu2, fc3" in " ".join(out.split())) == said


def test_the_artefact_has_the_precision_of_the_map(tmp_path):
    common = ["map", "digits_mlp", "--target", "many-core", "-T", "4", "--samples", "20", "--precision", "int4"]
    assert main([*common, "--nir", str(tmp_path / "a.nir")]) == 0
    read = from_nir(tmp_path / "a.nir", semantics=PRESETS["snnverify"])
    weights = [b.op.weight for v in read.layers for b in v.branches if hasattr(b.op, "weight")]
    assert len(weights) == 3
    assert all(7 < len(np.unique(w)) <= 15 for w in weights)  # -7 ... 7 times a scale, one end of them for certain


def test_a_file_of_targets_is_read_whole_whichever_is_asked_for(tmp_path, capsys):
    (tmp_path / "t.toml").write_text("title = 3\n")
    assert main(["map", "digits_mlp", "--target", "many-core", "--targets", str(tmp_path / "t.toml")]) == 2
    assert "t.toml: title = 3: no target; write a table [title]" in capsys.readouterr().err


CHAIN = """
import numpy as np, torch
from torch import nn

def build():
    rng = np.random.default_rng(3)
    net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
    with torch.no_grad():
        net[0].weight[:] = torch.tensor(rng.integers(-16, 17, (6, 4)) / 32)
        net[0].weight[0, 0] = 0.5
        net[2].weight[:] = torch.tensor(rng.integers(-16, 17, (3, 6)) / 32)
    return net
"""


def test_what_is_written_spikes_as_the_model_that_was_mapped(tmp_path, monkeypatch, isolated, capsys):
    """Weights lie on lava's grid of 1 / 32, and the calibration sample makes the threshold 1: nothing may round."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chain.py").write_text(CHAIN)
    rng, sample = np.random.default_rng(0), np.array([[2, 0, 0, 0]], np.float32)
    np.savez("data.npz", x=rng.integers(0, 2, (20, 4)).astype(np.float32), y=rng.integers(0, 3, 20))
    np.savez("one.npz", x=sample, y=np.array([0]))
    options = ["--mode", "max", "--v-init", "zero", "--reset", "value", "--seed", "7", "-T", "6", "--precision", "fp32"]
    written = ["--netx", "a.net", "--nir", "a.nir", "--json", "a.json"]
    model = ["map", "chain.py:build", "--data", "data.npz", "--calibration", "one.npz", "--target", "many-core"]
    assert main([*model, *options, *written]) == 0
    names = {}
    exec(CHAIN, names)
    meant = convert(names["build"]().eval(), sample, mode="max", v_init="zero", reset="value").snn
    x = (rng.random((12, 5, 4)) < 0.5).astype(float)
    want = reference.run(Case(meant, x, 12, "spikes"))
    assert want.spikes["1"].sum() > 10
    read = from_nir("a.nir", semantics=PRESETS["snnverify"])
    assert np.array_equal(simulate(read, x, 12, encoding="spikes", record="spikes").spikes["1"], want.spikes["1"])
    late = simulate(read_netx("a.net"), x, 12, encoding="spikes", record="spikes").spikes[
        "1"
    ]  # a chip's layer lags by 1
    assert not late[0].any()
    assert np.array_equal(late[1:], want.spikes["1"][:-1])

    told = json.loads((tmp_path / "a.json").read_text())
    assert told["provenance"]["seed"] == "7"
    assert {"snnverify", "numpy", "torch", "command"} <= set(told["provenance"])
    (mapped,) = told["models"]
    assert mapped["network digest"] == meant.digest
    said = capsys.readouterr()
    assert f"(data {mapped['data digest'][:16]})" in said.out
    assert "greatest weight error 0\n" in said.err
    assert [(v["layer"], v["units"], v["stored"]) for v in mapped["layers"]] == [("1", 6, 24), ("2", 3, 18)]
    assert (mapped["cores"], mapped["fits"], mapped["T"]) == (2, True, 6)


def test_a_mesh_of_ones_own(tmp_path, capsys):
    example = Path(__file__).parents[1] / "examples" / "my_target.toml"
    command = ["energy", "digits_mlp", "-T", "4", "--samples", "4", "--table", "loihi", "--hops", "mine", "--targets"]
    assert main([*command, str(example)]) == 0
    out = capsys.readouterr().out
    assert "3 of 4 x 4 routers, 1 core each" in out
    assert "hops E-W" in out.split("Totals")[0]
    (tmp_path / "t.toml").write_text(example.read_text().replace("mine.mesh", "mine.mehs"))
    assert main([*command, str(tmp_path / "t.toml")]) == 2
    assert "mehs: no such entry; one of title, limits, mesh" in capsys.readouterr().err


def test_the_map_tells_hops_where_there_is_a_mesh_and_says_where_there_is_none(tmp_path, capsys):
    common = ["map", "digits_mlp", "-T", "4", "--samples", "70", "--json", str(tmp_path / "a.json"), "--target"]
    assert main([*common, "many-core"]) == 0
    out = capsys.readouterr().out
    assert "hops: 1.00 a spike (E-W 1.00, N-S 0.00), in 1.00 packets" in out  # three layers on three cores in a row
    assert "3 of 8 x 8 routers, 1 core each (model: round figures" in " ".join(out.split())
    told = json.loads((tmp_path / "a.json").read_text())
    sent = told["models"][0]["traffic"]
    assert sent["spikes"] == sent["packets"] == sent["hops_ew"] > sent["hops_ns"] == 0
    assert told["target"]["mesh"]["columns"] == 8
    assert main([*common, "loihi2"]) == 0
    assert "hops: not known: target 'loihi2': its mesh is not known; [loihi2.mesh] in" in capsys.readouterr().out
    assert "its mesh is not known" in json.loads((tmp_path / "a.json").read_text())["models"][0]["traffic"]


def test_a_mesh_that_is_too_small_is_told_beside_the_map(tmp_path, capsys):
    mesh = 'columns = 1\nrows = 1\ncores = 2\nsource = "s"\ngrade = "user"\n'
    (tmp_path / "t.toml").write_text(f'[tiny]\ntitle = "t"\n[tiny.limits]\n[tiny.mesh]\n{mesh}')
    command = [
        "map",
        "digits_mlp",
        "-T",
        "2",
        "--samples",
        "4",
        "--target",
        "tiny",
        "--targets",
        str(tmp_path / "t.toml"),
    ]
    assert main(command) == 0
    assert "hops: not known: target 'tiny': the network takes 3 cores, its mesh has 2" in capsys.readouterr().out


def test_silent_neurons_are_those_of_all_samples_however_many_run_together(monkeypatch):
    from snnverify.hardware import dead

    case = Case(by_hand(), np.random.default_rng(0).random((7, 1, 3, 3)), 3, "poisson", 5, 11)
    ticks, whole = [], dead.remove_dead(case)
    monkeypatch.setattr(dead, "TILE", 2)
    parts = dead.remove_dead(case, lambda done, total: ticks.append((done, total)))
    assert ticks == [(n, 14) for n in (2, 4, 6, 7, 9, 11, 13, 14)]
    assert all(np.array_equal(parts.counts[k], whole.counts[k]) for k in ("conv", "fc"))
    assert (parts.silent, parts.changed) == (whole.silent, whole.changed)
