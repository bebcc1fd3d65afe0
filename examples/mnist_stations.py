"""A small CNN on real MNIST for `snnverify stations`, `quantize` and `native`: trained when it is asked for.

Run, with the IDX pair of MNIST's 10,000 test images in FOLDER::

    export MNIST=FOLDER
    snnverify stations examples/mnist_stations.py:trained --train "$MNIST[0:8000]" --data "$MNIST[8000:10000]" \
        --calibration "$MNIST[0:1000]"

Images 0 ... 7,999 train, the rest judge. The training is seeded and takes half a minute on one core.
"""

import os

import torch
from torch import nn

from snnverify.data import load_data
from snnverify.errors import ConfigError

EPOCHS, BATCH, RATE, TRAINED_ON = 6, 64, 4e-3, 8000


def build() -> nn.Sequential:
    """Conv-BN-ReLU-AvgPool twice, then Linear; untrained. Input [N, 1, 28, 28]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 10),
    )  # fmt: skip


def trained() -> nn.Sequential:
    """Train the network from its seed."""
    if "MNIST" not in os.environ:
        raise ConfigError("MNIST: set this environment variable to the folder of the IDX files")
    data = load_data(os.environ["MNIST"], limit=TRAINED_ON)
    x, y = torch.tensor(data.x).reshape(-1, 1, 28, 28), torch.tensor(data.y)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build().train()
        optimiser = torch.optim.Adam(net.parameters(), RATE)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(BATCH):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimiser.step()
            fall.step()
    return net.eval()
