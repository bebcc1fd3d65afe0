"""The laws of a conversion to binary spikes on pairs that are right, and on pairs in which one thing is wrong."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from snnverify.cli import main
from snnverify.detector import save
from snnverify.detector.behave import LAWS
from snnverify.detector.binarize import binarize
from snnverify.detector.blocks import Constants, mem_update
from snnverify.detector.compare import Pair
from snnverify.detector.executed import executed, recurrence
from snnverify.detector.model import described
from snnverify.detector.specimens import built
from snnverify.detector.verify import images, judge

LAW = {law.__name__: law for law in LAWS}


def pair(name="digits-silu", change=lambda net: None):
    before = built(described(name), 0)  # its activations are alive
    after, _ = binarize(before)
    found = Pair(before, after, images(after, None, 8)[0], real=False)
    assert found.tree["kind"] == "Detector"  # described as it was, whatever then hides behind a class
    change(after)
    return found


def outcome(law, found):
    return judge(LAW[law], found, "drawn").outcome


@pytest.mark.parametrize("law", LAW)
def test_every_law_holds_of_a_conversion(law):
    found = judge(LAW[law], pair(), "drawn")
    assert found.outcome == "pass", found.explain()


def weight(net):
    with torch.no_grad():  # the last bit of one weight
        w = net.model[0].conv.weight.view(-1)
        w[0] = torch.nextafter(w[0], w[0] + 1)


class Soft(mem_update):
    """Subtracts the threshold where the family empties the potential."""

    def forward(self, x):
        mem, out = torch.zeros_like(x[0]), []
        for arriving in x:
            mem = mem * self.constants.decay + arriving
            out.append((mem > self.constants.threshold).to(x.dtype))
            mem = mem - out[-1] * self.constants.threshold
        return torch.stack(out)


class Graded(mem_update):
    """Emits its threshold where it fires."""

    def forward(self, x):
        return super().forward(x) * self.constants.threshold


def becomes(kind):
    def change(net):
        net.model[4].act = kind(False, constants=net.constants)

    return change


def attribute(name, value):
    return lambda net: setattr(net.model[1].residual_function[1], name, value)


@pytest.mark.parametrize(("law", "change"), [
    ("tensors", weight), ("tensors", lambda net: net.model[0].half()),
    ("structure", attribute("stride", (2, 2))), ("structure", lambda net: setattr(net.model[3].act, "act", True)),
    ("structure", lambda net: setattr(net.model[1].residual_function[0], "constants", Constants(5, 0.25, 0.25))),
    ("spikes", becomes(Graded)), ("constants", becomes(Soft)), ("simulation", becomes(Soft)),
    ("refusals", becomes(Soft)),  # it takes NaN and any number of steps
])  # fmt: skip
def test_one_wrong_thing_is_noticed(law, change):
    assert outcome(law, pair(change=change)) == "fail"


def test_a_silent_layer_is_dead_on_data():
    found = pair(change=lambda net: nn.init.constant_(net.model[4].bn.bn.bias, -1e3))
    found.real = True
    assert outcome("alive", found) == "fail"


@pytest.mark.parametrize("inplace", [False, True])
def test_recurrences_are_told_apart_by_their_outputs(inplace):
    assert recurrence(mem_update(True, inplace, Constants(3, 0.5, 0.5)))[0] == ("in-place" if inplace else "plain")


def test_probes_measure_constants():
    e = executed(mem_update(False, constants=Constants(3, 0.3, 0.125)))
    assert (e.steps, e.silent, e.fires, e.reset) == ((3,), 0.3, np.nextafter(0.3, 1), "zero")
    assert e.decay == pytest.approx(0.125, abs=2**-50)
    assert executed(Soft(False, constants=Constants(3, 0.5, 0.5))).reset == "subtract"


def test_a_pair_of_files(tmp_path, capsys):
    good = pair("digits")
    save(good.before, tmp_path / "b.pt")
    save(good.after, tmp_path / "a.pt")
    assert main(["verify-binary", str(tmp_path / "b.pt"), str(tmp_path / "a.pt"), "--img-size", "8"]) == 0
    assert "11 of 11 laws hold" in capsys.readouterr().out
    other = copy.deepcopy(good.after)
    weight(other)
    save(other, tmp_path / "c.pt")
    assert main(["verify-binary", str(tmp_path / "b.pt"), str(tmp_path / "c.pt"), "--img-size", "8"]) == 1
    assert "other bytes" in capsys.readouterr().out
