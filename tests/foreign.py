"""A detector in the style of checkpoints in the wild, as the text of a package that is not there when they are read.

Written from the family's semantics alone: constants are globals of a module, time is a Python loop, and the classes are
called what checkpoints call them.
"""

import json
import subprocess
import sys

PACKAGE = """
import torch
from torch import nn

T, THRESHOLD, DECAY = 5, 0.5, 0.25

class mem_update(nn.Module):
    def __init__(self, act=False, inplace=False):
        super().__init__()
        self.actFun = nn.SiLU(inplace=inplace)
        self.act = act
    def forward(self, x):
        out, mem, fired = torch.zeros_like(x), 0, 0
        for t in range(T):
            mem = x[t].clone() + (mem * DECAY * (1 - fired) if t else 0)
            fired = self.actFun(mem) if self.act else mem.gt(THRESHOLD).to(x.dtype)
            out[t] = fired
        return out

class Snn_Conv2d(nn.Conv2d):
    def __init__(self, *a, marker="b", **k):
        super().__init__(*a, **k)
        self.marker = marker
    def forward(self, x):
        return torch.stack([nn.functional.conv2d(x[t], self.weight, self.bias, self.stride, self.padding) for t in range(T)])

class BatchNorm3d1(nn.BatchNorm3d):
    pass

class BatchNorm3d2(nn.BatchNorm3d):
    pass

class batch_norm_2d(nn.Module):
    kind = BatchNorm3d1
    def __init__(self, c):
        super().__init__()
        self.bn = self.kind(c)
    def forward(self, x):
        return self.bn(x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4)

class batch_norm_2d1(batch_norm_2d):
    kind = BatchNorm3d2

class Conv_1(nn.Module):
    def __init__(self, c1, c2, k=1, s=1):
        super().__init__()
        self.conv = Snn_Conv2d(c1, c2, k, s, k // 2, bias=False)
        self.bn = batch_norm_2d(c2)
    def forward(self, x):
        return self.bn(self.conv(x))

class Conv(Conv_1):
    def __init__(self, *a):
        super().__init__(*a)
        self.act = mem_update(act=True)
    def forward(self, x):
        return self.act(self.bn(self.conv(x)))

class Conv_A(Conv_1):
    def __init__(self, *a):
        super().__init__(*a)
        self.act = nn.SiLU()
    def forward(self, x):
        return self.act(self.bn(self.conv(x)))

class BasicBlock_2(nn.Module):
    def __init__(self, c1, c2, k=3, s=1):
        super().__init__()
        self.residual_function = nn.Sequential(
            mem_update(), Snn_Conv2d(c1, c2, k, s, k // 2, bias=False), batch_norm_2d(c2),
            mem_update(), Snn_Conv2d(c2, c2, k, 1, k // 2, bias=False), batch_norm_2d1(c2))
        self.shortcut = nn.Sequential()
        if s != 1 or c1 != c2:
            self.shortcut = nn.Sequential(nn.MaxPool3d((1, s, s), stride=(1, s, s)), mem_update(),
                                          Snn_Conv2d(c1, c2, 1, bias=False), batch_norm_2d(c2))
    def forward(self, x):
        return self.residual_function(x) + self.shortcut(x)

class Sample(nn.Module):
    def __init__(self, size, scale_factor, mode):
        super().__init__()
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.up = nn.Upsample(size, scale_factor, mode=mode)
    def forward(self, x):
        return torch.stack([self.up(x[t]) for t in range(T)])

class Concat(nn.Module):
    def __init__(self, dimension=2):
        super().__init__()
        self.d = dimension
    def forward(self, xs):
        return torch.cat(xs, self.d)

class Detect(nn.Module):
    stride = None
    def __init__(self, nc, anchors, ch):
        super().__init__()
        self.nc, self.no, self.nl, self.na = nc, nc + 5, len(anchors), len(anchors[0]) // 2
        self.grid = [torch.zeros(1)] * self.nl
        self.anchor_grid = [torch.zeros(1).expand(2, 3)] * self.nl
        self.register_buffer("anchors", torch.tensor(anchors).float().view(self.nl, -1, 2))
        self.m = nn.ModuleList(Snn_Conv2d(c, self.no * self.na, 1) for c in ch)
        self.inplace = True
    def forward(self, xs):
        ys = [m(x).sum(0) / T for m, x in zip(self.m, xs)]
        return [y.view(len(y), self.na, self.no, *y.shape[2:]).permute(0, 1, 3, 4, 2).contiguous() for y in ys]

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.yaml = {"nc": 2, "ch": 3, "backbone": [[-1, 1, "Conv_1", [4, 3, 2]]], "head": []}
        self.yaml_file = "foreign.yaml"
        layers = [(Conv_1(3, 4, 3, 2), -1), (BasicBlock_2(4, 4), -1), (BasicBlock_2(4, 8, 3, 2), -1),
                  (Conv(8, 4, 1), -1), (Conv_A(8, 4, 1), -2), (Sample(None, 2, "nearest"), -1), (Concat(), [-1, 1]),
                  (Detect(2, [[1, 2, 3, 4], [5, 6, 7, 8]], [8, 4]), [6, 3])]
        for i, (m, f) in enumerate(layers):
            m.i, m.f, m.type, m.np = i, f, type(m).__name__, 1
        self.model, self.save = nn.Sequential(*[m for m, _ in layers]), [1, 2, 3, 6]
        self.names, self.inplace, self.hyp, self.nc = ["a", "b"], True, {"lr0": 0.01}, 2
        self.stride = torch.tensor([2.0, 4.0])
        self.model[-1].stride = self.stride
    def forward(self, image):
        x, ys = torch.stack([image] * T), []
        for m in self.model:
            if m.f != -1:
                x = ys[m.f] if isinstance(m.f, int) else [x if j == -1 else ys[j] for j in m.f]
            x = m(x)
            ys.append(x)
        return x
"""
WRITE = """
import json, sys, copy, argparse, pathlib, datetime
import numpy as np, torch
from foreignnet import Model, mem_update
from torch import nn
torch.manual_seed(0)
net = Model().eval()
g = torch.Generator().manual_seed(1)
for name, t in net.state_dict().items():  # k / 64: every sum is exact, in any order
    if t.is_floating_point() and "anchors" not in name:
        t.copy_(torch.randint(-40, 41, t.shape, generator=g) / 64)
for m in net.modules():
    if isinstance(m, nn.BatchNorm3d):
        m.eps = 0.0
        m.running_var.fill_(1.0)
ema = copy.deepcopy(net)
for t in ema.parameters():
    t.data += 1 / 64
code = {"epoch": 7, "best_fitness": np.float64(0.5), "updates": 3, "date": datetime.datetime.now().isoformat(),
        "opt": argparse.Namespace(weights=pathlib.Path("x.pt")), "wandb_id": None}
torch.save({**code, "model": copy.deepcopy(net).half(), "ema": copy.deepcopy(ema).half()}, "both.pt")
torch.save({**code, "model": net, "ema": None}, "model.pt")
torch.save(net, "bare.pt")
torch.save(net.state_dict(), "state.pt")
told = {}
for file, n in (("both.pt", copy.deepcopy(ema).half()), ("model.pt", net)):
    told[file] = {
        "modules": [p for p, _ in n.named_modules()],
        "routes": [[m.i, m.f] for m in n.model],
        "tensors": {k: [str(t.dtype), list(t.shape), t.numpy().tobytes().hex()] for k, t in n.state_dict().items()},
        "parameters": [k for k, _ in n.named_parameters()],
    }
image = torch.randint(0, 9, (2, 3, 16, 16), generator=g) / 8
binary = copy.deepcopy(net)
for m in list(binary.modules()):
    if isinstance(m, mem_update):
        m.act = False
    if type(m).__name__ == "Conv_A":
        m.act = mem_update()
with torch.no_grad():
    told["image"], told["silu"], told["binary"] = image.tolist(), *[[y.tolist() for y in n(image)] for n in (net, binary)]
json.dump(told, open("told.json", "w"))
"""


def write(folder):
    """Have another process write checkpoints and what is in them; the package stays in `folder`/code."""
    (folder / "code").mkdir()
    (folder / "code" / "foreignnet.py").write_text(PACKAGE)
    environment = {"PYTHONPATH": str(folder / "code"), "PATH": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", WRITE], cwd=folder, env=environment, check=True)
    return json.loads((folder / "told.json").read_text())
