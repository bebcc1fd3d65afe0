"""The mapping: numbers by hand, targets of users, refusals by name, and what the command writes."""

import numpy as np
import pytest

from snnverify.cli import main
from snnverify.errors import ConfigError, DataError
from snnverify.hardware.mapping import place
from snnverify.hardware.targets import Limit, Target, target
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Neuron

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
    (MINE.replace('source = "my data sheet", ', "", 1), "source is missing"),
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
    assert "relu1.bias" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(common) == 0
    assert nir.stat().st_size
