"""Modules that must be refused, with the path and a word of the message."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .modules import SEQ, Calls, Entry


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        h = self.fc(x)
        return h if h.sum() > 0 else -h


class PerPosition(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 2, 4, 4))

    def forward(self, x):
        return F.relu(x + self.position)


def hooked():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[0].register_forward_hook(lambda _m, _i, out: out * 2)
    return model


REFUSED = (
    Entry("gelu", lambda: SEQ(nn.Linear(4, 4), nn.GELU()), (4,), ("1", "GELU")),
    Entry("silu nested", lambda: SEQ(nn.Linear(4, 4), SEQ(nn.Linear(4, 4), nn.SiLU())), (4,), ("1.1", "SiLU")),
    Entry("functional gelu", lambda: SEQ(Calls(lambda m, x: F.gelu(m.fc(x)), fc=nn.Linear(4, 4))), (4,), ("0.gelu", "gelu")),
    Entry("softmax", lambda: SEQ(nn.Linear(4, 4), nn.Softmax(1)), (4,), ("1", "argmax")),
    Entry("layer norm", lambda: SEQ(nn.Linear(4, 4), nn.LayerNorm(4)), (4,), ("1", "BatchNorm")),
    Entry("leaky", lambda: SEQ(nn.Linear(4, 4), nn.LeakyReLU()), (4,), ("1", "negative")),
    Entry("relu6", lambda: SEQ(nn.Linear(4, 4), nn.ReLU6()), (4,), ("1", "ceiling")),
    Entry("clamp with a ceiling", lambda: Calls(lambda m, x: m.fc(x).clamp(0, 6), fc=nn.Linear(4, 4)), (4,),
          ("clamp", "ceiling")),
    Entry("tanh", lambda: Calls(lambda m, x: m.fc(x).tanh(), fc=nn.Linear(4, 4)), (4,), ("tanh", "firing rate")),
    Entry("attention", lambda: Calls(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(4, 1)), (3, 4),
          ("a", "attention")),
    Entry("lstm", lambda: Calls(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(4, 4)), (3, 4), ("rnn", "recurrent")),
    Entry("interpolate", lambda: Calls(lambda m, x: F.interpolate(m.c(x), scale_factor=2), c=nn.Conv2d(1, 1, 1)), (1, 3, 3),
          ("interpolate", "ConvTranspose2d")),
    Entry("slicing", lambda: Calls(lambda m, x: m.fc(x[:, :2]), fc=nn.Linear(2, 2)), (4,), ("getitem", "slicing")),
    Entry("reflect padding", lambda: SEQ(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")), (1, 5, 5),
          ("0", "reflect")),
    Entry("bn without statistics", lambda: SEQ(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)), (3,),
          ("1", "track_running_stats")),
    Entry("control flow", lambda: SEQ(Branching()), (4,), ("0", "control flow")),
    Entry("batch size", lambda: Calls(lambda m, x: m.fc(x) / (x.size(0) * 2), fc=nn.Linear(2, 2)), (2,), ("model", "batch")),
    Entry("division by the batch", lambda: Calls(lambda m, x: m.fc(x) / x.size(0), fc=nn.Linear(2, 2)), (2,),
          ("truediv", "batch")),
    Entry("hook", hooked, (4,), ("0", "hook")),
    Entry("two inputs", lambda: nn.Bilinear(2, 2, 2), (2,), ("model", "2 inputs")),
    Entry("two outputs", lambda: Calls(lambda m, x: (m.a(x), x), a=nn.Linear(2, 2)), (2,), ("output", "tuple")),
    Entry("a concatenation as output", lambda: Calls(lambda m, x: torch.cat([m.a(x), x], 1), a=nn.Linear(2, 2)), (2,),
          ("output", "concatenation")),
    Entry("gate", lambda: Calls(lambda m, x: m.a(x) * m.b(x), a=nn.Linear(2, 2), b=nn.Linear(2, 2)), (2,),
          ("mul", "product")),
    Entry("per position", PerPosition, (2, 4, 4), ("add", "per channel")),
    Entry("bn before a padded conv", lambda: SEQ(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(
        2, 2, 3, padding=1)), (1, 4, 4), ("2", "fold_batchnorm=False")),
    Entry("bn before a transposed conv", lambda: SEQ(nn.ReLU(), nn.BatchNorm2d(1), nn.ConvTranspose2d(1, 1, 2, 2)),
          (1, 4, 4), ("1", "fold_batchnorm=False")),
    Entry("live dropout", lambda: Calls(lambda m, x: F.dropout(m.fc(x)), fc=nn.Linear(2, 2)), (2,), ("dropout", "training")),
    Entry("write through a view", lambda: Calls(lambda m, x: (lambda h, v: (v.relu_(), m.p(h))[1])(
        *(lambda h: (h, h.flatten(1)))(m.c(x))), c=nn.Conv2d(1, 1, 1), p=nn.Conv2d(1, 1, 1)), (1, 2, 2),
          ("relu_", "in place")),
    Entry("linear on the last axis", lambda: nn.Linear(4, 4), (3, 4), ("model", "last axis")),
    Entry("uneven adaptive pool", lambda: nn.AdaptiveAvgPool2d(2), (1, 5, 5), ("model", "divide")),
    Entry("ceil mode", lambda: nn.MaxPool2d(2, ceil_mode=True), (1, 5, 5), ("model", "ceil_mode")),
    Entry("half flatten", lambda: Calls(lambda m, x: x.flatten(2)), (2, 3, 3), ("flatten", "flatten(1)")),
    Entry("grouped over a concatenation", lambda: Calls(lambda m, x: m.g(torch.cat([m.a(x), m.a(x), m.b(x)], 1)),
        a=nn.Conv2d(1, 1, 1), b=nn.Conv2d(1, 2, 1), g=nn.Conv2d(4, 4, 1, groups=2)), (1, 2, 2), ("g", "spans")),
)  # fmt: skip
