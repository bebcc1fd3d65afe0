"""Checkpoints in the wild: read without executing them, rebuilt, proven equal; what cannot be is refused by its path."""

import copy
import importlib.util

import foreign
import pytest
import torch
from torch import nn

from snnverify.detector import load, save
from snnverify.detector.binarize import binarize
from snnverify.detector.boxes import anchors_of
from snnverify.detector.checkpoint import open_net
from snnverify.detector.model import Detector, described
from snnverify.detector.rebuild import build, describe, differences
from snnverify.detector.specimens import built
from snnverify.errors import ConfigError, DataError, Unsupported


@pytest.fixture(scope="module")
def wild(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wild")
    told = foreign.write(folder)
    assert importlib.util.find_spec("foreignnet") is None  # the code is not there when its checkpoints are read
    return folder, told


@pytest.mark.parametrize("file", ["both.pt", "model.pt"])
def test_a_checkpoint_in_the_wild_is_rebuilt_in_structure_and_bytes(wild, file):
    folder, told = wild
    opened = open_net(folder / file)
    net, expected = opened.net, told[file]
    assert [p for p, _ in net.named_modules()] == expected["modules"]
    assert [[m.i, m.f] for m in net.model] == expected["routes"]
    state = {k: [str(t.dtype), list(t.shape), t.numpy().tobytes().hex()] for k, t in net.state_dict().items()}
    assert state == expected["tensors"]
    assert [k for k, _ in net.named_parameters()] == expected["parameters"]
    assert opened.source["taken"] == ("its 'ema'" if file == "both.pt" else "its 'model'")
    assert opened.source["classes"]["foreignnet.mem_update"] == "mem_update"
    assert {"Detect.grid", "Detector.hyp", "Snn_Conv2d.marker"} <= set(opened.source["unused"])
    # anchors in the wild are in units of their map's cells
    assert anchors_of(net.model[-1]).tolist() == [[[2, 4], [6, 8]], [[20, 24], [28, 32]]]
    assert net.stride == 4  # two strides of 2 on the way to the coarsest map


def test_a_net_without_a_checkpoint_around_it_is_read_too(wild):
    folder, told = wild
    assert [p for p, _ in load(folder / "bare.pt").named_modules()] == told["model.pt"]["modules"]


def test_the_converted_net_gives_what_the_foreign_one_gives_as_spikes(wild):
    """Every number is k / 2^m and every sum exact, so that no order of summation can part them."""
    folder, told = wild
    net, statistics = binarize(load(folder / "model.pt"))
    assert statistics.kinds == {"mem_update": 1, "Conv.SiLU": 0, "Conv_A.SiLU": 1, "declared": 0}
    with torch.no_grad():
        ours = net(torch.tensor(told["image"]))
        before = load(folder / "model.pt")(torch.tensor(told["image"]))
    assert [y.tolist() for y in ours] == told["binary"]
    for y, other in zip(before, told["silu"], strict=True):
        torch.testing.assert_close(y, torch.tensor(other))
    assert told["binary"] != told["silu"]


def test_constants_come_from_the_option_or_the_default_and_it_is_told(wild):
    folder, _ = wild
    assert open_net(folder / "model.pt").constants["steps"] == (5, "assumed default")
    opened = open_net(folder / "model.pt", given={"steps": 3, "threshold": None, "decay": 0.125})
    assert opened.constants == {
        "steps": (3, "option"), "threshold": (0.5, "assumed default"), "decay": (0.125, "option"),
    }  # fmt: skip
    assert opened.net.constants.steps == 3
    assert opened.net.model[3].act.constants.decay == 0.125


def test_an_option_that_the_checkpoint_contradicts_is_refused(tmp_path):
    torch.save(Detector(described("digits")), tmp_path / "a.pt")
    assert open_net(tmp_path / "a.pt").constants["threshold"] == (0.5, "checkpoint")
    with pytest.raises(ConfigError, match=r"--threshold 0\.7: the checkpoint says 0\.5"):
        open_net(tmp_path / "a.pt", given={"threshold": 0.7})


def test_a_pickle_is_executed_with_both_flags_alone(wild, tmp_path):
    folder, told = wild
    for flags in ({"code": folder / "code"}, {"trust": True}):
        with pytest.raises(ConfigError, match="both or neither"):
            open_net(folder / "both.pt", **flags)
    opened = open_net(folder / "both.pt", code=folder / "code", trust=True)
    assert opened.source["read"] == "its pickle was executed"
    assert [str(t.dtype) for t in opened.net.state_dict().values()] == [
        t[0] for t in told["both.pt"]["tensors"].values()
    ]
    with pytest.raises(ConfigError, match="no such folder"):
        open_net(folder / "both.pt", code=tmp_path / "none", trust=True)


def test_a_state_dict_needs_to_be_told_its_net(wild, tmp_path):
    folder, _ = wild
    with pytest.raises(DataError, match="--model"):
        open_net(folder / "state.pt")
    net = Detector(described("digits")).half()
    torch.save({"state_dict": net.state_dict()}, tmp_path / "s.pt")
    again = open_net(tmp_path / "s.pt", model="digits").net
    assert {k: t.dtype for k, t in again.state_dict().items()} == {k: t.dtype for k, t in net.state_dict().items()}
    with pytest.raises(DataError, match="do not fit --model resnet10"):
        open_net(tmp_path / "s.pt", model="resnet10")


# Refusals by module path


def spoilt(net, path, **attributes):
    vars(net.get_submodule(path)).update(attributes)
    return net


class Foreign(nn.Module):
    pass


def replaced(net, path, module):
    parent, _, name = path.rpartition(".")
    net.get_submodule(parent)._modules[name] = module
    return net


REFUSED = {
    "a class outside the family": (lambda n: replaced(n, "model.3.act", nn.ReLU()), r"model\.3\.act: no class .*ReLU"),
    "a user's class": (lambda n: replaced(n, "model.2", Foreign()), r"model\.2: no class of the family: .*\.Foreign"),
    "a plain convolution": (lambda n: replaced(n, "model.3.conv", nn.Conv2d(1, 1, 1)), r"model\.3\.conv: no class"),
    "a norm of two axes": (lambda n: replaced(n, "model.3.bn", nn.BatchNorm2d(1)), r"model\.3\.bn: no class"),
    "another norm": (lambda n: replaced(n, "model.3.bn", n.model[1].residual_function[5]), r"model\.3\.bn: a Conv of"),
    "an activation elsewhere": (lambda n: replaced(n, "model.3.conv", nn.SiLU()), r"model\.3\.conv: a Conv of the family"),
    "a fused block": (lambda n: delattr(n.model[3], "bn") or n, r"model\.3: a Conv without bn"),
    "padding": (lambda n: spoilt(n, "model.3.conv", padding_mode="reflect"), r"model\.3\.conv: padding_mode = 'reflect'"),
    "pooling over time": (lambda n: spoilt(n, "model.2.shortcut.0", kernel_size=2), r"model\.2\.shortcut\.0: kernel_size"),
    "an act that is text": (lambda n: spoilt(n, "model.3.act", act="yes"), r"model\.3\.act: its attribute act"),
    "a route forwards": (lambda n: spoilt(n, "model.2", f=4), r"block 2: i = 2, f = 4"),
    "no route": (lambda n: vars(n.model[2]).pop("f") and n, r"block 2: i = 2, f = None"),
    "a route that is not kept": (lambda n: spoilt(n, "model.4", f=1), r"its save = \[\] lacks \[1\]"),
    "groups of nothing": (lambda n: spoilt(n, "model.3.conv", groups=0), r"model\.3\.conv: it cannot be made"),
    "another shape": (lambda n: spoilt(n, "model.3.conv", in_channels=7), r"model\.3\.conv\.weight: a tensor of"),
    "a huge shape": (lambda n: spoilt(n, "model.3.conv", in_channels=2**30), r"model\.3\.conv"),
    "a forward of its own": (lambda n: spoilt(n, "model.3", forward=1), r"model\.3: forward is code of its own"),
    "a hook": (lambda n: n.model[3]._forward_hooks.update({1: "x"}) or n, r"model\.3: _forward_hooks is code"),
    "itself inside": (lambda n: replaced(n, "model.2", n), "nested too deep, or holds itself|more than"),
    "NaN": (lambda n: n.model[3].conv.weight.data.fill_(torch.nan) is not None and n, r"model\.3\.conv\.weight holds NaN"),
    "two T": (lambda n: spoilt(n, "model.3.act", constants=type(n.constants)(4)), "different T"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_rebuilt_is_refused_by_its_path(tmp_path, name):
    spoil, words = REFUSED[name]
    torch.save({"model": spoil(Detector(described("digits")))}, tmp_path / "a.pt")
    with pytest.raises((Unsupported, DataError), match=words) as e:
        open_net(tmp_path / "a.pt")
    assert "\n" not in str(e.value)


def test_modules_that_stand_below_one_another_twice_are_not_followed_for_ever(tmp_path):
    net = nn.Sequential(nn.SiLU())
    for _ in range(40):  # 2^40 paths
        net = nn.Sequential(net, net)
    torch.save(net, tmp_path / "a.pt")
    with pytest.raises(DataError, match="more than 65536 modules"):
        open_net(tmp_path / "a.pt")


def test_a_net_that_is_rebuilt_wrongly_is_noticed(tmp_path, monkeypatch):
    """The proof compares: a builder that loses a bit, or swaps two blocks, does not pass."""
    from snnverify.detector import checkpoint

    torch.save(Detector(described("digits")), tmp_path / "a.pt")

    def flipped(tree, tensors):
        net = build(tree, tensors)
        net.model[3].conv.weight = nn.Parameter(net.model[3].conv.weight + 1)
        return net

    def swapped(tree, tensors):
        net = build(tree, tensors)
        net.model[1].residual_function[0].act = True
        return net

    for wrong, words in (
        (flipped, r"model\.3\.conv\.weight: other bytes"),
        (swapped, r"model\.1\.residual_function\.0: attr"),
    ):
        monkeypatch.setattr(checkpoint, "build", wrong)
        with pytest.raises(DataError, match=words):
            open_net(tmp_path / "a.pt")


def test_describe_and_build_are_inverse_on_shipped_nets():
    for name in ("digits", "digits-silu", "resnet10"):
        net = Detector(described(name)).eval()
        found = describe(net)
        again = build(found.tree, found.tensors)
        assert repr(again) == repr(net)
        assert again.save == net.save
        assert again.stride == net.stride


def shared():
    """A net in which one activation stands at two paths, and one block at two."""
    net = built(described("digits"), 0)
    block = net.model[1].residual_function
    block[3] = block[0]
    net.model[4].bn = net.model[3].bn
    return net


def test_a_module_that_stands_at_two_paths_is_one_module_again(tmp_path):
    torch.save({"model": shared()}, tmp_path / "w.pt")
    net = open_net(tmp_path / "w.pt").net
    assert net.model[1].residual_function[3] is net.model[1].residual_function[0]
    assert net.model[4].bn is net.model[3].bn
    assert net.model[2].residual_function[3] is not net.model[2].residual_function[0]
    save(net, tmp_path / "again.pt")
    again = load(tmp_path / "again.pt")
    assert again.model[4].bn is again.model[3].bn


def test_sharing_that_is_lost_or_made_up_is_a_difference():
    net, other = shared(), shared()
    other.model[4].bn = copy.deepcopy(net.model[3].bn)
    assert not differences(describe(net), describe(shared()))
    for a, b in ((net, other), (other, net)):
        parted = differences(describe(a), describe(b))
        assert [line for line in parted if line.startswith("model.4.bn: same ")]
    found = describe(net)
    found.tree["children"]["model"]["children"]["4"]["children"]["bn"]["same"] = "nowhere"
    with pytest.raises(DataError, match="the same as 'nowhere', where no module stood before"):
        build(found.tree, found.tensors)
    found = describe(net)
    found.tensors["model.4.bn.bn.weight"] = found.tensors["model.4.bn.bn.weight"] + 1
    with pytest.raises(
        DataError, match=r"model\.4\.bn\.bn\.weight: the module is that of model\.3\.bn, and the tensor another"
    ):
        build(found.tree, found.tensors)
