"""A checkpoint whose SiLU works in place runs as it was trained: held against the loop of such nets, written out here."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from snnverify.cli import main
from snnverify.data import Dataset
from snnverify.detector import load
from snnverify.detector.binarize import binarize, statistics
from snnverify.detector.fidelity import alike
from snnverify.detector.letterbox import stride_of
from snnverify.detector.model import Detector
from snnverify.detector.samples import Classes

T, THRESHOLD, DECAY = 5, 0.5, 0.25
HALF = 2.0**-26  # half the digits of float64: sums are taken in other orders, and nothing else may differ


class mem_update(nn.Module):  # noqa: N801
    """As trained: `mem` in step 0 is a view of the input."""

    kept = False  # a copy of step 0 in its place: not what was trained

    def __init__(self, act, inplace):
        super().__init__()
        self.act, self.actFun = act, nn.SiLU(inplace=inplace)

    def forward(self, x):
        old, spike, output = torch.zeros_like(x[0]), torch.zeros_like(x[0]), torch.zeros_like(x)
        for t in range(T):
            first = x[0].clone() if self.kept else x[0]
            mem = old * DECAY * (1 - spike.detach()) + x[t] if t else first
            spike = self.actFun(mem) if self.act else (mem > THRESHOLD).to(x.dtype)
            old = mem.clone()
            output[t] = spike
        return output


class Snn_Conv2d(nn.Conv2d):  # noqa: N801
    def forward(self, x):
        return torch.stack([super(Snn_Conv2d, self).forward(step) for step in x])


class BatchNorm3d1(nn.BatchNorm3d):
    pass


class BatchNorm3d2(nn.BatchNorm3d):
    pass


class batch_norm_2d(nn.Module):  # noqa: N801
    kind = BatchNorm3d1

    def __init__(self, c):
        super().__init__()
        self.bn = self.kind(c)

    def forward(self, x):
        return self.bn(x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4)


class batch_norm_2d1(batch_norm_2d):  # noqa: N801
    kind = BatchNorm3d2


class Conv_1(nn.Module):  # noqa: N801
    def __init__(self, c1, c2, k=1, s=1):
        super().__init__()
        self.conv, self.bn = Snn_Conv2d(c1, c2, k, s, k // 2, bias=False), batch_norm_2d(c2)

    def forward(self, x):
        return self.bn(self.conv(x))


class Conv_A(Conv_1):  # noqa: N801
    def __init__(self, c1, c2):
        super().__init__(c1, c2)
        self.act = nn.SiLU()

    def forward(self, x):
        return self.act(super().forward(x))


class BasicBlock_2(nn.Module):  # noqa: N801
    def __init__(self, c1, c2, s, inplace):
        super().__init__()
        self.residual_function = nn.Sequential(
            mem_update(True, inplace), Snn_Conv2d(c1, c2, 3, s, 1, bias=False), batch_norm_2d(c2),
            mem_update(True, inplace), Snn_Conv2d(c2, c2, 3, 1, 1, bias=False), batch_norm_2d1(c2))  # fmt: skip
        self.shortcut = nn.Sequential()
        if s != 1 or c1 != c2:
            self.shortcut = nn.Sequential(nn.MaxPool3d((1, s, s), (1, s, s)), mem_update(True, inplace),
                                          Snn_Conv2d(c1, c2, 1, bias=False), batch_norm_2d(c2))  # fmt: skip

    def forward(self, x):
        return self.residual_function(x) + self.other(x)

    def other(self, x):
        if not len(self.shortcut):
            return x
        return self.shortcut[1:](self.shortcut[0](x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4))


class Concat(nn.Module):
    def forward(self, xs):
        return torch.cat(xs, 2)


class Detect(nn.Module):
    def __init__(self, nc, anchors, ch):
        super().__init__()
        self.nc, self.no, self.nl, self.na = nc, nc + 5, len(anchors), len(anchors[0]) // 2
        self.register_buffer("anchors", torch.tensor(anchors).float().view(self.nl, -1, 2))
        self.m = nn.ModuleList(Snn_Conv2d(c, self.no * self.na, 1) for c in ch)

    def forward(self, xs):
        ys = [m(x).mean(0) for m, x in zip(self.m, xs, strict=True)]
        return [y.view(len(y), self.na, self.no, *y.shape[2:]).permute(0, 1, 3, 4, 2).contiguous() for y in ys]


class Model(nn.Module):
    """An identity shortcut, a pooled one, and a concatenation of what a block has written into by then."""

    def __init__(self, inplace):
        super().__init__()
        layers = [(Conv_1(3, 4, 3, 2), -1), (BasicBlock_2(4, 4, 1, inplace), -1), (BasicBlock_2(4, 4, 1, inplace), -1),
                  (Concat(), [-1, 1]), (BasicBlock_2(8, 4, 2, inplace), -1), (Conv_A(4, 4), -1),
                  (Detect(2, [[1, 2], [5, 6]], [8, 4]), [3, 5])]  # fmt: skip
        for i, (m, f) in enumerate(layers):
            m.i, m.f, m.type = i, f, type(m).__name__
        self.model, self.save = nn.Sequential(*[m for m, _ in layers]), [1, 3, 5]
        self.yaml = {"nc": 2, "ch": 3, "backbone": [], "head": []}
        self.names, self.nc, self.stride = ["a", "b"], 2, torch.tensor([2.0, 4.0])
        self.model[-1].stride = self.stride  # as every checkpoint with several scales has it

    def forward(self, x):
        x, ys = x.unsqueeze(0).repeat(T, 1, 1, 1, 1), []
        for m in self.model:
            if m.f != -1:
                x = [x if j == -1 else ys[j] for j in m.f]
            x = m(x)
            ys.append(x)
        return x


HEADS = tuple(f"model.{i}.residual_function.0" for i in (1, 2, 4))
IMAGE = torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def trained(path, inplace):
    """A net that has seen some images, in a checkpoint."""
    torch.manual_seed(0)
    net = Model(inplace).double().train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(2, 3, 16, 16).double())
    torch.save({"epoch": 1, "model": net.eval(), "ema": None}, path)
    return net


def furthest(a, b):
    return max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("inplace", [True, False])
def test_a_checkpoint_runs_as_it_was_trained(tmp_path, inplace, monkeypatch):
    original = trained(tmp_path / "w.pt", inplace)
    ours, image = load(tmp_path / "w.pt"), IMAGE.clone()
    with torch.no_grad():
        expected = original(image.clone())
        assert furthest(ours(image), expected) < HALF
        assert torch.equal(image, IMAGE)
        monkeypatch.setattr(mem_update, "kept", True)
        apart = furthest(original(image), expected)
    assert (
        apart > 1e-3 if inplace else apart == 0
    )  # what was trained is another function than one that spares the input


@pytest.mark.parametrize("inplace", [True, False])
def test_it_trains_on_as_it_did(tmp_path, inplace):
    original, gradients = trained(tmp_path / "w.pt", inplace).train(), []
    for net in (original, load(tmp_path / "w.pt").train()):
        sum(y.square().mean() for y in net(IMAGE)).backward()
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    assert furthest(gradients[1].values(), gradients[0].values()) < HALF


def test_a_conversion_tells_which_inputs_it_spares(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained("w.pt", True)
    trained("plain.pt", False)
    assert main(["binarize", "--weights", "w.pt", "plain.pt", "--img-size", "16"]) == 0
    said = capsys.readouterr().out
    line = ("3 SiLU in place overwrite step 0 of their residual block's input, which its shortcut takes "
            f"({', '.join(HEADS[:2])}, ...); spikes leave it as it is")  # fmt: skip
    assert said.count(line) == said.count("SiLU in place") == 1
    told, plain = (json.loads((tmp_path / f"{n}_binary.json").read_text()) for n in ("w", "plain"))
    assert told["statistics"]["input overwritten before"] == list(HEADS)
    assert plain["statistics"]["input overwritten before"] == []
    # the memoryless SiLU of Conv_A is not in place, and has no potential that could be overwritten
    assert (told["inplace"]["value"], plain["inplace"]["value"]) == (True, False)
    assert told["units"]["model.5.act"]["inplace"] is False
    main(["verify-binary", "w.pt", "w_binary.pt", "--img-size", "16"])
    said = capsys.readouterr().out
    assert line in said
    assert "pass         record" in said


def test_spikes_leave_the_input_alone(tmp_path):
    trained(tmp_path / "w.pt", True)
    net, found = binarize(load(tmp_path / "w.pt"))
    assert found.overwriting == HEADS
    assert statistics(net).overwriting == ()
    x = torch.rand(T, 1, 4, 4, 4, dtype=torch.float64)
    given = x.clone()
    with torch.no_grad():
        net.get_submodule("model.1")(given)
    assert torch.equal(given, x)


def test_layers_are_compared_by_what_they_gave_not_by_what_was_written_into_it():
    """The unit of a `Conv` gives a tensor whose step 0 the next block overwrites."""
    torch.manual_seed(0)
    blocks = [[-1, 1, "Conv", [4, 3, 2, True]], [-1, 1, "BasicBlock_2", [4, 3, 1, True]], [-1, 1, "Classify", [3]]]
    net = Detector({"nc": 3, "channels": 1, "backbone": blocks[:2], "head": blocks[2:]}).eval()
    for m in net.modules():
        if isinstance(m, nn.SiLU):
            m.inplace = True
    seen = []
    hook = net.get_submodule("model.0.act").register_forward_hook(lambda m, x, y: seen.append(float(y.double().mean())))
    x = np.random.default_rng(0).uniform(size=(4, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        net(torch.from_numpy(x))
    hook.remove()
    samples = Classes(Dataset(x, np.zeros(4, np.int64), "none", "drawn", 0))
    first = next(a for a in alike(net, net, samples) if a.name == "model.0.act")
    assert first.rate_before == pytest.approx(seen[0], rel=1e-6)


def test_strides_of_several_scales_are_a_tensor_and_are_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained("w.pt", False)
    assert main(["binarize", "--weights", "w.pt", "--img-size", "16"]) == 0
    assert "Detect" in (tmp_path / "w_binary.txt").read_text()
    for options in (["--no-trace"], ["--size", "16"]):
        assert main(["diagram", "w_binary.pt", *options]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(("told", "stride"), [
    (32, 32), (torch.tensor([8.0, 16.0, 32.0]), 32), ([8, 16], 16), ((4.0,), 4), (torch.tensor(2), 2), (None, 1), (0, 1),
    (torch.tensor([]), 1), (float("nan"), 1), (nn.Identity(), 1),
])  # fmt: skip
def test_a_stride_is_read_in_every_form_that_nets_have(told, stride):
    net = copy.copy(nn.Sequential())
    vars(net)["stride"] = told
    assert stride_of(net) == stride
    assert stride_of(nn.Sequential()) == 1
