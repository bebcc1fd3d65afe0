"""Small modules in the style of other people's code, each with what an importer has to make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from ...convert.qcfs import QCFS


@dataclass(frozen=True)
class Entry:
    """A module, the shape of a sample, and (path, word of the message) where it must be refused."""

    name: str
    factory: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    refused: tuple[str, str] | None = None


class Calls(nn.Module):
    """Submodules by name, and a forward given as a function of (self, x)."""

    def __init__(self, run: Callable[..., object], **modules: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.run(self, x)


def conv_bn(i, o, k=3, relu=True, **kw):
    layers = [nn.Conv2d(i, o, k, bias=False, **kw), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def head(channels, size=1, classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size, classes))


class LeNet(nn.Module):
    """The tutorial's: functional pooling and ReLU, sizes multiplied by hand."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
        self.fc1, self.fc2 = nn.Linear(6 * 2 * 2, 10), nn.Linear(10, 3)

    def forward(self, x):
        x = F.avg_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.avg_pool2d(torch.relu(self.conv2(x)), 2)
        features = 1
        for s in x.size()[1:]:
            features *= s
        x = x.view(-1, features)
        x = F.dropout(F.relu(self.fc1(x)), 0.5, self.training)
        return self.fc2(x)


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = conv_bn(i, o, 1, relu=False, stride=stride) if stride != 1 or i != o else None

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class PreActBlock(nn.Module):
    """Normalise, activate, convolve; the sum is read by the next normalisation and by the next sum."""

    def __init__(self, c):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(c), nn.BatchNorm2d(c)
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        return self.conv2(F.relu(self.bn2(out))) + x


class InPlaceIdentity(nn.Module):
    """The classic slip: the in-place ReLU also changes the skip. What torch computes is what counts."""

    def __init__(self):
        super().__init__()
        self.bn, self.relu, self.conv = nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        h = self.bn(x)
        skip = h
        return self.conv(self.relu(h)) + skip


class DenseBlock(nn.Module):
    def __init__(self, c=2, growth=3, n=3):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(c + i * growth) for i in range(n))
        self.convs = nn.ModuleList(nn.Conv2d(c + i * growth, growth, 3, padding=1) for i in range(n))
        self.tail = nn.Sequential(nn.BatchNorm2d(c + n * growth), nn.ReLU(), nn.AvgPool2d(2), head(c + n * growth, 4))

    def forward(self, x):
        features = [x]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(F.relu(norm(torch.cat(features, 1)))))
        return self.tail(torch.cat(features, dim=1))


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleDict({
            "one": conv_bn(3, 2, 1),
            "three": nn.Sequential(conv_bn(3, 2, 1), conv_bn(2, 4, 3, padding=1)),
            "five": conv_bn(3, 3, 5, padding=2),
            "pool": nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_bn(3, 2, 1)),
        })  # fmt: skip
        self.fc = nn.Linear(11, 3)

    def forward(self, x):
        x = torch.cat([branch(x) for branch in self.branches.values()], dim=-3)
        return self.fc(x.mean((2, 3)))


class InvertedResidual(nn.Module):
    """Expand, depthwise, project without an activation."""

    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(conv_bn(c, 3 * c, 1), conv_bn(3 * c, 3 * c, 3, padding=1, groups=3 * c),
                                  conv_bn(3 * c, c, 1, relu=False))  # fmt: skip

    def forward(self, x):
        return x + self.body(x)


class Squeeze(nn.Module):
    """Fire module of SqueezeNet, then a depthwise convolution and a linear layer over the concatenation."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.e1, self.e3 = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 3, padding=1)
        self.depthwise, self.classifier = nn.Conv2d(8, 16, 3, groups=8), nn.Linear(16 * 4, 3)

    def forward(self, x):
        x = F.relu(self.squeeze(x), inplace=True)
        x = torch.cat((self.e1(x).relu(), self.e3(x).relu_()), 1)
        x = torch.clamp(self.depthwise(x), min=0.0)
        return self.classifier(x.reshape(x.shape[0], -1))


class StandardisedConv(nn.Conv2d):
    """Weight standardisation: the weights are computed, from parameters alone."""

    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        w = w / (w.flatten(1).std(1).view(-1, 1, 1, 1) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Audio(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, 4, 8, stride=2, padding=3), nn.BatchNorm1d(4), nn.ReLU(), nn.AvgPool1d(2), nn.Dropout1d(0.2),
            nn.Conv1d(4, 6, 3, dilation=2, padding="same"), nn.BatchNorm1d(6), nn.ReLU(), nn.AdaptiveAvgPool1d(1),
        )  # fmt: skip
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        return self.fc(self.net(x).squeeze(-1))


class LayerScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.gamma = nn.Conv2d(2, 2, 3, padding=1), nn.Parameter(torch.tensor([0.3, -1.2]).view(1, 2, 1, 1))
        self.register_buffer("mean", torch.tensor([0.4, 0.5]).view(2, 1, 1))
        self.stem = nn.Conv2d(2, 2, 3)

    def forward(self, x):
        x = F.relu(self.stem((x - self.mean) / 0.25))
        return F.relu(0.5 * x + self.gamma * self.conv(x) - 1)


def weight_normed():
    return nn.Sequential(parametrizations.weight_norm(nn.Conv2d(1, 3, 3, padding=1)), nn.ReLU(), head(3, 16))


def shared():
    return Calls(
        lambda m, x: m.fc(m.act(m.same(m.act(m.same(x))))), same=nn.Linear(5, 5), act=nn.ReLU(), fc=nn.Linear(5, 2)
    )


def siamese_sum():
    return Calls(lambda m, x: m.out(sum([F.relu(m.a(x)), F.relu(m.b(x)), x])), a=nn.Linear(4, 4), b=nn.Linear(4, 4),
                 out=nn.Linear(4, 2))  # fmt: skip


def per_channel_qcfs():
    act = QCFS(4)
    act.theta = nn.Parameter(torch.tensor([0.7, 1.3, 2.1]).view(1, 3, 1, 1))
    return nn.Sequential(nn.Conv2d(1, 3, 3), act, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 4), QCFS(8, 1.5))


SEQ = nn.Sequential
EQUAL = (
    Entry("mlp", lambda: SEQ(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)), (6,)),
    Entry("inverted", lambda: Calls(lambda self, x: self.fc(F.relu(1 - self.a(x)) / 2 + 0.25 * x),
                                    a=nn.Linear(4, 4), fc=nn.Linear(4, 2)), (4,)),
    Entry("one linear", lambda: nn.Linear(4, 2), (4,)),
    Entry("identity", nn.Identity, (4,)),
    Entry("mlp bn", lambda: SEQ(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), (6,)),
    Entry("lenet", LeNet, (1, 14, 14)),
    Entry("resnet", lambda: SEQ(conv_bn(3, 4, padding=1), BasicBlock(4, 4), BasicBlock(4, 6, 2), nn.AdaptiveAvgPool2d(1),
                                head(6)), (3, 8, 8)),
    Entry("preact resnet", lambda: SEQ(nn.Conv2d(1, 3, 3), PreActBlock(3), PreActBlock(3), nn.BatchNorm2d(3), nn.ReLU(),
                                       nn.AdaptiveAvgPool2d((1, 1)), head(3)), (1, 8, 8)),
    Entry("in-place skip", InPlaceIdentity, (2, 5, 5)),
    Entry("densenet", DenseBlock, (2, 4, 4)),
    Entry("inception", Inception, (3, 6, 6)),
    Entry("mobilenet", lambda: SEQ(conv_bn(3, 4, stride=2), InvertedResidual(4), InvertedResidual(4), nn.Conv2d(4, 8, 1),
                                   nn.ReLU(), head(8, 9)), (3, 8, 8)),
    Entry("squeezenet", Squeeze, (3, 4, 4)),
    Entry("bottleneck", lambda: Calls(lambda m, x: F.relu(torch.add(m.body(x), x)), body=SEQ(
        conv_bn(4, 2, 1), conv_bn(2, 2, padding=1), conv_bn(2, 4, 1, relu=False))), (4, 5, 5)),
    Entry("audio 1d", Audio, (1, 32)),
    Entry("autoencoder", lambda: SEQ(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3, 2, 1, 1),
                                     nn.BatchNorm2d(3), nn.ReLU(), nn.ConvTranspose2d(3, 1, 2, dilation=2)), (1, 8, 8)),
    Entry("grouped transposed bn", lambda: SEQ(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6), nn.ReLU(),
                                               nn.ConvTranspose2d(6, 2, 3, padding=2, groups=2)), (4, 4, 4)),
    Entry("transposed 1d", lambda: SEQ(nn.ConvTranspose1d(2, 3, 4, 2, 1), nn.ReLU(), nn.Conv1d(3, 1, 3)), (2, 7)),
    Entry("bn after relu", lambda: SEQ(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 2), nn.ReLU(),
                                       nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.Flatten(), nn.BatchNorm1d(4),
                                       nn.Linear(4, 2)), (1, 6, 6)),
    Entry("bn first", lambda: SEQ(nn.BatchNorm1d(5), nn.Linear(5, 4), nn.ReLU(), nn.BatchNorm1d(4)), (5,)),
    Entry("bn through pool to two readers", lambda: Calls(
        lambda m, x: (lambda h: m.a(h.flatten(1)) + m.b(F.avg_pool2d(h, 3, 1, 1, count_include_pad=False).flatten(1)))(
            m.bn(F.relu(m.c(x)))), c=nn.Conv2d(1, 2, 3), bn=nn.BatchNorm2d(2), a=nn.Linear(32, 3),
        b=nn.Linear(32, 3)), (1, 6, 6)),
    Entry("bn before a grouped conv", lambda: SEQ(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.BatchNorm2d(4),
                                                  nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), head(6, 4)), (1, 4, 4)),
    Entry("bn before a max pool", lambda: SEQ(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(2),
                                              head(2, 4)), (1, 6, 6)),
    Entry("bn twice", lambda: SEQ(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False, eps=1e-2),
                                  nn.ReLU()), (1, 5, 5)),
    Entry("dilated", lambda: SEQ(nn.Conv2d(1, 3, 3, dilation=(2, 1)), nn.ReLU(), nn.Conv2d(3, 2, 3, stride=(2, 1))),
          (1, 9, 7)),
    Entry("grouped", lambda: SEQ(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1, groups=2)),
          (4, 5, 5)),
    Entry("same padding, even kernel", lambda: SEQ(nn.Conv2d(1, 2, (4, 3), padding="same"), nn.ReLU(),
                                                   nn.Conv2d(2, 2, 2, padding="valid")), (1, 6, 6)),
    Entry("global average by mean", lambda: Calls(lambda m, x: m.fc(m.c(x).relu().mean(dim=[-2, -1])), c=nn.Conv2d(1, 3, 3),
                                                  fc=nn.Linear(3, 2)), (1, 6, 6)),
    Entry("pooling at the border", lambda: SEQ(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(
        2, 1, 1, count_include_pad=False)), (1, 9, 9)),
    Entry("max pool", lambda: SEQ(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True),
                                  head(2)), (1, 6, 6)),
    Entry("adaptive pool", lambda: SEQ(nn.AdaptiveAvgPool2d((2, None)), nn.Conv2d(2, 2, 1), nn.ReLU()), (2, 6, 3)),
    Entry("shared modules", shared, (5,)),
    Entry("sum of a list", siamese_sum, (4,)),
    Entry("layer scale and input normalisation", LayerScale, (2, 6, 6)),
    Entry("weight norm", lambda: weight_normed().double(), (1, 4, 4)),
    Entry("weight standardisation", lambda: SEQ(StandardisedConv(2, 3, 3), nn.ReLU(), head(3, 4)).double(), (2, 4, 4)),
    Entry("qcfs", per_channel_qcfs, (1, 4, 4)),
    Entry("concatenation of flat parts", lambda: Calls(
        lambda m, x: m.fc(torch.cat([torch.flatten(m.a(x), 1), torch.cat([m.b(x).relu(), m.c(x)], 1).flatten(1)], 1)),
        a=nn.Conv2d(1, 2, 3), b=nn.Conv2d(1, 2, 2), c=nn.Conv2d(1, 1, 2), fc=nn.Linear(35, 2)), (1, 4, 4)),
    Entry("qcfs on a concatenation", lambda: Calls(
        lambda m, x: m.out(m.act(m.bn(torch.cat([m.a(x), m.b(x)], 1)))), a=nn.Linear(3, 2), b=nn.Linear(3, 4),
        bn=nn.BatchNorm1d(6), act=QCFS(4, 2.0), out=nn.Linear(6, 2)), (3,)),
)  # fmt: skip


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch normalisation statistics and affine parameters that are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    for m in model.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) and m.running_mean is not None:
            m.running_mean.normal_(generator=generator)
            m.running_var.uniform_(0.1, 3, generator=generator)
            for p in m.parameters():
                p.data.normal_(generator=generator)
    return model
