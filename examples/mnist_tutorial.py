"""SpikingJelly's ann2snn tutorial on real MNIST: six modes over T, our converter and the library's on one trained network.

Run: ``python examples/mnist_tutorial.py --data FOLDER``, the IDX pair of MNIST in FOLDER, of which the last fifth evaluates;
``--model resnet`` takes a network with additive skips, ``--model digits`` the embedded one on scikit-learn's digits. The
library's part appears where the oracle is installed (``snnverify oracle install spikingjelly``).

The library's converted model is read back as a network, which our simulator runs on all samples; on a few the library
runs it itself, and the spikes of both are compared.
"""

import argparse
import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch import nn

from snnverify import convert, oracles, zoo
from snnverify.convert import ConvertedNetwork
from snnverify.convert.curves import MODES, MODES_STEPS, predictions
from snnverify.data import load_data
from snnverify.errors import SnnverifyError
from snnverify.simulate import simulate

SHOWN = (1, 2, 4, 8, 16, 32, 64, 128, MODES_STEPS)
CALIBRATION = 500  # training images that thresholds are taken from
OWN_SAMPLES = 10  # that the library itself runs: it records every spike


def tutorial_cnn() -> nn.Sequential:
    """Three blocks Conv-BN-ReLU-AvgPool of 32 channels, then Linear; input [N, 1, 28, 28]."""
    blocks = []
    for inputs in (1, 32, 32):
        blocks += [nn.Conv2d(inputs, 32, 3), nn.BatchNorm2d(32, eps=1e-3), nn.ReLU(), nn.AvgPool2d(2, 2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(32, 10))


class Block(nn.Module):
    """Two convolutions around which the input goes, through a 1x1 convolution where the channels change."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(2))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [N, outputs, H, W]."""
        y = self.relus[0](self.norms[0](self.one(x)))
        return self.relus[1](self.norms[1](self.two(y)) + self.skip(x))


def resnet() -> nn.Sequential:
    """A stem and three residual blocks with average pooling between them; input [N, 1, 28, 28]."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            stem=nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2)),
            block1=Block(8, 8), pool1=nn.AvgPool2d(2), block2=Block(8, 16), block3=Block(16, 16), pool3=nn.AvgPool2d(7),
            flatten=nn.Flatten(), fc=nn.Linear(16, 10),
        )
    )  # fmt: skip


MODELS = {"cnn": tutorial_cnn, "resnet": resnet}


def trained(name: str, x: np.ndarray, y: np.ndarray, epochs: int, seed: int = 0) -> nn.Sequential:
    """Train with Adam in batches of 64 from a seed; in eval mode at the end."""
    torch.manual_seed(seed)
    module = MODELS[name]()
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for part in np.split(rng.permutation(len(x)), range(64, len(x), 64)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(torch.from_numpy(x[part])), torch.from_numpy(y[part]))
            loss.backward()
            optimizer.step()
    return module.eval()


def subject(model: str, data: str | None, train: int, samples: int, epochs: int) -> tuple[nn.Module, Any, Any, Any]:
    """Trained model, calibration inputs, evaluation inputs and labels."""
    if model == "digits":
        m = zoo.load_default("digits_cnn")
        return m.module, m.train_x, m.evaluation_x[:samples], m.evaluation_y[:samples]
    if data is None:
        raise SystemExit("--data: the folder of the IDX pair is needed")
    d = load_data(data)
    x, start = d.x.reshape(-1, 1, 28, 28), len(d.x) * 4 // 5
    x_train, y_train = x[: min(train, start)], d.y[: min(train, start)]
    module = trained(model, x_train, y_train, epochs)
    return module, x_train, x[start : start + samples], d.y[start : start + samples]


def over_time(converted: ConvertedNetwork, x: np.ndarray, y: np.ndarray, steps: tuple[int, ...]) -> list[float]:
    """Accuracy at each T, in percent."""
    right = sum((predicted == y[rows]).sum(1) for rows, predicted in predictions(converted, x, steps))
    return [100 * float(k) / len(x) for k in right]


def compare(
    module: nn.Module,
    calibration: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    steps: tuple[int, ...],
    library: Any = None,
) -> Iterator[tuple[list[list[Any]], list[list[Any]]]]:
    """For each mode: rows of accuracy over T, and rows of every layer; v_init = 0, as the library's."""
    few = x[:OWN_SAMPLES]
    for mode in MODES:
        ours = convert(module, calibration, mode=mode, v_init="zero")
        half = convert(module, calibration, mode=mode)
        curves = [
            [mode, "ours, V0 = 1/2", *over_time(half, x, y, steps)],
            [mode, "ours, V0 = 0", *over_time(ours, x, y, steps)],
        ]
        told: list[list[Any]] = []
        if library is not None:
            made = library.converter(ours.ann, calibration, mode=mode, x=few, steps=steps[-1])
            theirs = ConvertedNetwork(ours.ann, made.snn, (), made.units, "membrane")
            curves.append([mode, library.name, *over_time(theirs, x, y, steps)])
            told = list(layers(mode, ours, theirs, made.trace, few, steps[-1]))
        yield curves, told


def layers(
    mode: str, ours: ConvertedNetwork, theirs: ConvertedNetwork, trace: Any, x: np.ndarray, steps: int
) -> Iterator[list[Any]]:
    """Thresholds in ANN units, mean rates, and how many spikes the library's own run and ours of the same network differ."""
    a, b = (simulate(c.snn, x, steps, record="spikes") for c in (ours, theirs))
    for layer in ours.snn.spiking:
        name = layer.name
        differ = int((b.spikes[name] != trace.spikes[name]).sum())
        yield [mode, name, float(np.max(ours.scales[name])), float(np.max(theirs.thresholds[name])),
               float(a.spikes[name].mean()), float(trace.spikes[name].mean()), differ, b.spikes[name].size]  # fmt: skip


def main() -> None:
    """Train, convert, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of an IDX pair")
    parser.add_argument("--model", choices=(*MODELS, "digits"), default="cnn")
    parser.add_argument("--train", type=int, default=4000, help="training images (4000)")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=200, help="evaluation images (200)")
    parser.add_argument("-T", "--timesteps", type=int, nargs="+", default=SHOWN, help="T that is shown")
    parser.add_argument("--oracle", default="spikingjelly")
    options = parser.parse_args()
    try:
        library = oracles.get(options.oracle)
        _ = library.version
    except SnnverifyError as e:
        library = None
        print(f"{options.oracle} is not compared: {e}\n")
    found = subject(options.model, options.data, options.train, options.samples, options.epochs)
    report(options.model, found, library, tuple(options.timesteps))


def report(model: str, found: tuple[nn.Module, Any, Any, Any], library: Any, steps: tuple[int, ...] = SHOWN) -> None:
    """Print the tables of one model."""
    module, calibration, x, y = found
    with torch.no_grad():
        ann = 100 * float(np.mean(module(torch.from_numpy(np.array(x))).argmax(1).numpy() == y))
    curves, told = [], []
    for accuracy, of_layers in compare(module, calibration[:CALIBRATION], x, y, steps, library):
        print(f"{accuracy[0][0]}: done", file=sys.stderr, flush=True)  # a mode takes a minute or so
        curves += accuracy
        told += of_layers
    print(f"{model}: ANN {ann:.2f} % on {len(x)} samples; accuracy in percent over T")
    print(tabulate(curves, ["mode", "converter", *(f"T = {t}" for t in steps)], floatfmt=".2f"))
    if told:
        print(f"\nLayers over {steps[-1]} steps of {OWN_SAMPLES} samples; differ: spikes of {library.name}'s own run of its "
              "network against ours")  # fmt: skip
        print(
            tabulate(told, ["mode", "layer", "threshold", "theirs", "rate", "theirs", "differ", "of"], floatfmt=".4f")
        )


if __name__ == "__main__":
    main()
