"""Shared by the tests of the faces: a small user's project, and the command line in this process."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from snnverify.cli import main
from snnverify.report import store

pytest_plugins = ["pytester"]

NETS = """
import torch
from torch import nn

def centred(net):  # so that each class comes up
    with torch.no_grad():
        net[-1].bias -= net.eval()(torch.rand(1000, 4)).mean(0)
    return net

def build():
    torch.manual_seed(5)
    return centred(nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3)))

def module():  # in training mode, with what behaves otherwise there
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3))
    net[1].running_mean.uniform_(-0.2, 0.2)
    return centred(net).train()

shared = module()

def untrained():
    return shared
"""


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys):
    """Run the command line in this process."""

    def call(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def unpainted(monkeypatch):
    """Figures are made but not drawn, for the tests that do not look at them."""
    monkeypatch.setattr(store, "png", lambda figure: b"")
    monkeypatch.setattr(store, "svg", lambda figure, salt: "<svg></svg>")


@pytest.fixture
def isolated(monkeypatch):
    """The search path is restored after the test, and nothing is compiled to disk."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def clear_samples(net, n, seed=0):
    """n samples that the ANN classifies with a clear lead, and its classes: only the conversion can lose them."""
    x = torch.tensor(np.random.default_rng(seed).uniform(size=(60 * n, 4)), dtype=torch.float32)
    with torch.no_grad():
        best = net.eval()(x).topk(2)
    rows = np.flatnonzero((best.values[:, 0] - best.values[:, 1]).numpy() > 0.1)[:n]
    assert len(rows) == n
    return x.numpy()[rows], best.indices[rows, 0].numpy()


@pytest.fixture
def project(tmp_path, monkeypatch, isolated, unpainted):
    """A folder with nets.py, 240 labelled samples that its model classifies without an error, and 100 to calibrate."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    names = {}
    exec(NETS, names)
    x, y = clear_samples(names["build"](), 340)
    np.savez(tmp_path / "data.npz", x=x[:240], y=y[:240])
    np.savez(tmp_path / "few.npz", x=x[:30], y=y[:30])
    np.savez(tmp_path / "calibration.npz", x=x[240:], y=y[240:])
    return tmp_path


@pytest.fixture(scope="module")
def one_thread():
    """On arrays this small threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
